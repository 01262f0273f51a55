"""Optimizers, metrics and feedback: signatures that measurably improve."""

from __future__ import annotations

__all__: list[str] = []
