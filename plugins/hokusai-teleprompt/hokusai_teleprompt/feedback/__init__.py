"""Feedback on executions: collected, stored, and converted into examples."""

from __future__ import annotations
