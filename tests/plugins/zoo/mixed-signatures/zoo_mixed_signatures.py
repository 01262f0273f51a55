"""Has bad signatures among good ones."""

from __future__ import annotations

from hokusai_core import BaseSignature, InputField, OutputField, hookimpl


class Fine(BaseSignature):
    """Answer the question."""

    question: str = InputField("a question")
    answer: str = OutputField("its answer")


class Unknowable(BaseSignature):
    """Has a type that exists nowhere."""

    question: NoSuchType = InputField("a question")
    answer: str = OutputField("its answer")


class Empty(BaseSignature):
    """Has no fields."""


class Foreign:
    """Is no signature at all."""


@hookimpl
def provide_signatures():
    return [Unknowable, Fine, Empty, Foreign, "question -> answer"]
