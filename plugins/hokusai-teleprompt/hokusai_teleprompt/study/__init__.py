"""The study around an optimizer: metered calls, checkpoints, evaluation."""

from __future__ import annotations
