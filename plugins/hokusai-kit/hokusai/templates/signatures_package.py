"""Signatures for Hokusai."""

from __future__ import annotations

from acme_sample.signatures import AcmeSample

__all__ = ["AcmeSample"]
