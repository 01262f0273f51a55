"""Evaluations: run a signature on a data set, score its outputs, and compare it with others."""

from __future__ import annotations
