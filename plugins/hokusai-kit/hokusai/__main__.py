"""``python -m hokusai``: the command, for when its script is not on the path."""

from __future__ import annotations

from hokusai.start import main

if __name__ == "__main__":
    main()
