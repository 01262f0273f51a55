"""Tracking of executions in a file of JSON lines."""

from __future__ import annotations

from hokusai_jsonl.tracker import JsonlTracker, read_lines

__all__ = ["JsonlTracker", "read_lines"]
