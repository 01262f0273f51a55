"""What a reader ought to know of answers that a small model gives."""

from __future__ import annotations

from collections.abc import Callable

from hokusai_core.plugin_api import SignatureSpec

__all__ = ["notes_for"]


def notes_for(name: str) -> Callable[[SignatureSpec], tuple[str, ...]]:
    """Return what tells the notes on the answers to a signature.

    Args:
        name: name of the model.
    """

    def notes(spec: SignatureSpec) -> tuple[str, ...]:
        texts = [one for one in spec.outputs.values() if one.shape.involves("str") and not one.choices_from]
        found = []
        if texts:
            found.append(
                f"{name} has 135 million parameters: it is for choosing labels and for trying out pipelines. The texts "
                "that it writes read well and are often wrong; for texts that matter, name a larger model"
            )
        if "confidence" in spec.outputs:
            found.append(f"confidence is what {name} wrote, not a measured probability")
        return tuple(found)

    return notes
