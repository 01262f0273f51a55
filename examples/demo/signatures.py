"""The signature of the demonstration: a class says what goes in and what comes out."""

from typing import Literal

from hokusai import BaseSignature, InputField, OutputField


class SortMail(BaseSignature):
    """Say what kind of mail this is."""

    body: str = InputField("The text of the mail")
    kind: Literal["Complaint", "Invoice", "Application"] = OutputField("The kind of mail")
