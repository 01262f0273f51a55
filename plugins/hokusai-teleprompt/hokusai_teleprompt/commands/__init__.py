"""Commands of this plugin; ``hokusai`` mounts them."""

from __future__ import annotations
