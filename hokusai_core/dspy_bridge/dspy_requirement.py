"""Says what to install where DSPy is missing. The package imports this module before everything that needs DSPy."""

from __future__ import annotations

import importlib.util

from hokusai_core.errors import LanguageModelUnavailable

__all__: list[str] = []

try:
    _missing = importlib.util.find_spec("dspy") is None
except ModuleNotFoundError:
    _missing = True
if _missing:
    raise LanguageModelUnavailable(
        "DSPy is not installed, and language models are called with it. Install it: pip install 'dspy>=3.4.1,<3.5'"
    )
