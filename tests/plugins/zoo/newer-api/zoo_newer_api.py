"""Was written for a newer hook contract."""

from __future__ import annotations

from hokusai_core import hookimpl

HOKUSAI_HOOK_API = 99
