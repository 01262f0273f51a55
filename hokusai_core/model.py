"""LanguageModel: a language model with the adapter and the options that suit it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        demos: returns the few-shot examples that the model needs for a ``SignatureSpec`` that has none of its own, each
            a mapping of field name to value. They are part of the prompt and of the cache key. None for no demos.
    """

    lm: Any
    adapter: Any = None
    identity: str = ""
    notes: Callable[[Any], Sequence[str]] | None = field(default=None, eq=False)
    demos: Callable[[Any], Sequence[Mapping[str, Any]]] | None = field(default=None, eq=False)
