"""Optimizers: those of DSPy as components, and two without calls."""

from __future__ import annotations
