"""A task that a small model cannot do without examples: its answer is the same kind for nearly every letter."""

from typing import Literal

from hokusai import BaseSignature, InputField, OutputField


class SortLetter(BaseSignature):
    """Say what kind of letter from the bookkeeping this is."""

    letter: str = InputField("The text of the letter")
    kind: Literal["invoice", "reminder", "credit note", "receipt"] = OutputField("The kind of letter")
