"""Optimizers: those of DSPy as components, and two that make no language-model calls."""

from __future__ import annotations
