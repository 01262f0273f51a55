"""The entry point of the command: what must happen before other imports."""

from __future__ import annotations

import gc
import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of this process."""
    # Without it the library of remote models fetches a list of prices from the network while it is imported.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    # What is imported stays. Looking through it for garbage again and again takes a tenth of a short command's time.
    gc.disable()
    try:
        from hokusai.cli import run
    except KeyboardInterrupt:
        sys.stderr.write("hokusai: interrupted\n")
        raise SystemExit(130) from None
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()
    run()
