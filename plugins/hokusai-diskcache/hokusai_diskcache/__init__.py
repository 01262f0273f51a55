"""A persistent cache of executions, shared by the processes of one machine."""

from __future__ import annotations

__all__: list[str] = []
