"""The optimizers of DSPy, as components."""

from __future__ import annotations
