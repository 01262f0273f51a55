"""LanguageModel: a language model with the adapter and the options that suit it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import field, frozen

__all__ = ["LanguageModel"]


@frozen
class LanguageModel:
    """A DSPy language model, and the adapter and identity that go with it.

    Args:
        lm: a ``dspy.LM`` (any ``dspy.BaseLM``).
        adapter: the DSPy adapter that suits the model; None leaves the choice to the executor.
        identity: what tells this model from others in cache keys where its name does not say enough, such as a digest
            of its weights. Never a credential.
        notes: returns what a reader of an answer ought to know, given the ``SignatureSpec`` that is answered; a note is
            on the result, and is printed once in a process. None for no notes.
    """

    lm: Any
    adapter: Any = None
    identity: str = ""
    notes: Callable[[Any], Sequence[str]] | None = field(default=None, eq=False)
