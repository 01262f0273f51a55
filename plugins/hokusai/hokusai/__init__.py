"""The batteries-included distribution: the documented import paths and the `hokusai` command."""

from __future__ import annotations

__all__: list[str] = []
