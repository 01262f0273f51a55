"""Cassettes: files with recorded calls of language models, which are replayed without a call.

This package knows files and requests, and nothing of DSPy. ``hokusai_core.dspy_bridge.cassette_calls`` makes requests
and answers of calls.
"""

from __future__ import annotations

from hokusai_core.cassettes.cassette import RECORD_MODES, Cassette, RecordMode, cassette

__all__ = ["RECORD_MODES", "Cassette", "RecordMode", "cassette"]
