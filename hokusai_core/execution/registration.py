"""Registration: the forms in which a signature may be given, and their way into an executor's registry."""

from __future__ import annotations

import os
import re
from typing import Any, TypeGuard

from hokusai_core.artifacts import read_artifact
from hokusai_core.base_signature import BaseSignature
from hokusai_core.errors import AmbiguousSignatureError, SignatureDefinitionError, SignatureNotFoundError
from hokusai_core.model_parameters import checked_parameters
from hokusai_core.plugins.manager import PluginManager
from hokusai_core.signature_registry import SignatureRegistry
from hokusai_core.signatures.signature_string import from_string
from hokusai_core.signatures.strategy_choice import StrategyChoice

__all__ = ["from_address", "is_address", "is_file", "register_signature", "signature_class", "signature_from_file"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/\S+")


def is_file(signature: Any) -> bool:
    """Whether ``signature`` is the path of a saved signature and not the name of one."""
    return isinstance(signature, os.PathLike) or (isinstance(signature, str) and signature.endswith(".json"))


def signature_from_file(registry: SignatureRegistry, path: Any) -> type[BaseSignature]:
    """Return the optimized signature in a file.

    Args:
        registry: the signatures that the file may have been made from.
        path: the file.

    Raises:
        ArtifactError: the file cannot be used, or its original is installed and is not what it was.
    """
    artifact = read_artifact(path)
    try:
        entry = registry.resolve(artifact.base_name)
    except (SignatureNotFoundError, AmbiguousSignatureError):
        return artifact.signature  # made from a signature that only another program has; nothing to compare with
    if artifact.spec.fingerprint != entry.spec.fingerprint:
        artifact.check_base(entry.spec if entry.original is None else entry.original.spec)
    return artifact.signature


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
    if isinstance(x, str):
        return BaseSignature.from_spec(from_string(x, name)), None
    from hokusai_core import dspy_bridge

    if dspy_bridge.is_signature(x):
        return BaseSignature.from_spec(dspy_bridge.from_dspy(x, name)), None
    dspy_bridge.refuse_program(x, name)
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


def register_signature(
    name: str,
    x: Any,
    *,
    replace: bool,
    signature: Any,
    strategy: Any,
    parameters: Any,
    registry: SignatureRegistry,
    plugins: PluginManager,
) -> None:
    """Put a signature of the host's own into a registry; see ``Executor.register_signature``.

    Args:
        name: name to register it under.
        x: the signature in any form.
        replace: whether it may replace what has that name.
        signature: inputs and outputs of a ``dspy.Module`` that does not tell them itself.
        strategy: how it is answered, in place of what it declares; None leaves that as it is.
        parameters: parameters of the language model, in place of those that it declares; None leaves these.
        registry: where it is registered.
        plugins: asked for what an address means.

    Raises:
        SignatureExistsError: the name is taken and ``replace`` is False.
        SignatureDefinitionError: the signature cannot be run; says why.
    """
    if is_file(name):
        raise SignatureDefinitionError(f"name {name!r}: would be taken for a file; leave '.json' out")
    if is_file(x):
        x = signature_from_file(registry, x)
    elif is_address(x):
        x = from_address(plugins, x)
    cls, program = signature_class(name, x, signature)
    if strategy is not None:
        if program is not None:
            raise SignatureDefinitionError(
                f"{name}: a DSPy program answers in its own way; a strategy is for a signature"
            )
        try:
            chosen = StrategyChoice.of(strategy)
        except ValueError as error:
            raise SignatureDefinitionError(f"{name}: strategy: {error}") from None
        cls = BaseSignature.from_spec(cls.spec.evolve(strategy=chosen))
    if parameters is not None:
        try:
            cls = BaseSignature.from_spec(cls.spec.evolve(parameters=checked_parameters(parameters)))
        except ValueError as error:
            raise SignatureDefinitionError(f"{name}: parameters: {error}") from None
    registry.register(name, cls, replace=replace, program=program)
