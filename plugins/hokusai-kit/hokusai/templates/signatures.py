"""The signatures of this pack."""

from hokusai_core import BaseSignature, InputField, OutputField

__all__ = ["AcmeSample"]


class AcmeSample(BaseSignature):
    """List what the text asks the reader to do.

    Take only what the text says. Keep its order.
    """

    version = "0.1.0"
    category = "analysis"
    tags = ("example",)

    text: str = InputField("The text to read")
    tone: str = InputField("How the answers should sound", default="brief")
    actions: list[str] = OutputField("One action each, as a command")
    urgent: bool = OutputField("Whether anything has to be done today")

    # Documentation and tests at once: in testing mode an execution with these inputs gives these outputs.
    examples = (
        {
            "inputs": {"text": "The meeting moves from Monday to Wednesday. Bring the signed contract."},
            "outputs": {"actions": ["Move the meeting to Wednesday", "Bring the signed contract"], "urgent": False},
        },
        {
            "inputs": {"text": "Water is off from noon today: fill what you need this morning.", "tone": "friendly"},
            "outputs": {"actions": ["Fill what you need this morning"], "urgent": True},
        },
    )
