"""AcmeSample: counts the words of a text."""

from __future__ import annotations

from hokusai_core.plugin_api import FunctionTool

__all__ = ["AcmeSample"]


def count_words(text: str) -> int:
    """Return how many words a text has."""
    return len(text.split())


class AcmeSample(FunctionTool):
    """The function as a tool. The language model reads its docstring and the types of its arguments."""

    def __init__(self) -> None:
        super().__init__(count_words, name="acme_tool", version="1")
