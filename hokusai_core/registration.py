"""What ``register_signature`` takes, made into a signature class."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeGuard

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures import BaseSignature

if TYPE_CHECKING:
    from hokusai_core.plugins import PluginManager

__all__ = ["from_address", "is_address", "signature_class"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/\S+")


def is_address(x: Any) -> TypeGuard[str]:
    """Return whether ``x`` is an address, ``scheme:/...``; no text such as ``"question -> answer"`` looks like one."""
    return isinstance(x, str) and _ADDRESS.fullmatch(x) is not None


def from_address(plugins: PluginManager, uri: str) -> type[BaseSignature]:
    """Return the signature that a plugin finds at ``uri``.

    Raises:
        ComponentNotFoundError: no plugin knows addresses of that scheme.
        SignatureDefinitionError: what is there is no signature.
    """
    scheme = uri.partition(":")[0]
    return BaseSignature.from_dict(plugins.create("signature_source", scheme, uri=uri))


def signature_class(name: str, x: Any, signature: Any = None) -> tuple[type[BaseSignature], Any]:
    """Return the signature class that stands for ``x``, and the DSPy program that runs it or None.

    Args:
        name: name that it will be registered under.
        x: a ``BaseSignature`` class, a ``dspy.Signature`` class, a text such as ``"question -> answer: float"``, or a
            ``dspy.Module`` instance.
        signature: inputs and outputs of a ``dspy.Module`` that does not tell them itself, in any of the other forms.

    Raises:
        SignatureDefinitionError: it is none of these, or cannot be run.
    """
    if isinstance(x, type) and issubclass(x, BaseSignature):
        return x, None
    from hokusai_core import dspy_bridge

    if isinstance(x, str):
        return BaseSignature.from_spec(dspy_bridge.from_string(x, name)), None
    if dspy_bridge.is_signature(x):
        return BaseSignature.from_spec(dspy_bridge.from_dspy(x, name)), None
    if dspy_bridge.is_program(x):
        if signature is not None:
            cls, _ = signature_class(name, signature)
            return cls, x
        return BaseSignature.from_spec(dspy_bridge.spec_of_program(x, name)), x
    raise SignatureDefinitionError(
        f"{name}: cannot make a signature of {type(x).__name__}. Give a BaseSignature class, a dspy.Signature class, a "
        "text such as 'question -> answer', or a dspy.Module instance"
        + (" (an instance, not its class)" if isinstance(x, type) else "")
    )
