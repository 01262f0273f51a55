"""States its hook contract wrongly."""

from __future__ import annotations

from hokusai_core import hookimpl

HOKUSAI_HOOK_API = "one"
