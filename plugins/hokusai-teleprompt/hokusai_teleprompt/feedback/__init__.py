"""Feedback: what people think of executions, kept, and made into examples."""

from __future__ import annotations
