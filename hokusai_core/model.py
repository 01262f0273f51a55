"""LanguageModel: a language model with the adapter and the options that suit it."""

from __future__ import annotations

from typing import Any

from attrs import frozen

__all__ = ["LanguageModel"]


@frozen
class LanguageModel:
    """A DSPy language model, and the adapter and identity that go with it.

    Args:
        lm: a ``dspy.LM`` (any ``dspy.BaseLM``).
        adapter: the DSPy adapter that suits the model; None leaves the choice to the executor.
        identity: what tells this model from others in cache keys where its name does not say enough, such as a digest
            of its weights. Never a credential.
    """

    lm: Any
    adapter: Any = None
    identity: str = ""
