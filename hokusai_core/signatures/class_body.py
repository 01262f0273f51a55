"""ClassBody: the declarations in the body of one signature class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hokusai_core.signatures.fields import FieldDeclaration
from hokusai_core.signatures.spec import SignatureSpec

__all__ = ["ClassBody", "bodies", "body_of"]


class ClassBody:
    """What one class statement declared, kept until the signature is first used.

    Args:
        declared: field name -> declaration, in order.
        annotations: name -> annotation as written; None where the interpreter computes them on demand.
        local_names: names that string annotations mention and that exist where the class was defined.
    """

    __slots__ = ("annotations", "declared", "local_names", "resolved")

    def __init__(
        self,
        declared: dict[str, FieldDeclaration],
        annotations: Mapping[str, Any] | None,
        local_names: Mapping[str, Any],
    ) -> None:
        self.declared = declared
        self.annotations = annotations
        self.local_names = local_names
        self.resolved: dict[str, SignatureSpec] = {}


def body_of(cls: type) -> ClassBody:
    """Return the declarations of this class itself, without inherited ones."""
    body: ClassBody = vars(cls)["__signature_body__"]
    return body


def bodies(cls: type) -> list[tuple[type, ClassBody]]:
    """Return the classes that a signature class is made of, the oldest first, without ``BaseSignature``."""
    found = [(base, body_of(base)) for base in reversed(cls.__mro__) if "__signature_body__" in vars(base)]
    return found[1:]
