"""TargetSignature: the signature to optimize, and the original that it was made from."""

from __future__ import annotations

import os
from typing import Any

from attrs import frozen

from hokusai_core import BaseSignature, Executor
from hokusai_core.errors import OptimizationError
from hokusai_core.plugin_api import Artifact, SignatureSpec, read_artifact
from hokusai_core.types import RegisteredSignature
from hokusai_teleprompt.optimized_signature import OptimizedSignature

__all__ = ["TargetSignature", "find_target", "target_of"]


@frozen
class TargetSignature:
    """A signature that is optimized.

    Args:
        spec: the signature as it is now, the baseline of the comparison.
        name: the name of the original.
        base: the original. If ``spec`` is the result of an optimization, this is the signature that the first
            optimization started from, which is the one that is installed under the name.
    """

    spec: SignatureSpec
    name: str
    base: SignatureSpec


def find_target(executor: Executor, signature: Any) -> TargetSignature:
    """Return the signature that ``signature`` means.

    Args:
        executor: where names are looked up.
        signature: name, class, ``dspy.Signature`` class, text such as ``"question -> answer"``, or the path of a saved
            optimized signature.

    Raises:
        SignatureNotFoundError: no signature has this name.
        ArtifactError: the file cannot be used, or its original has changed.
        OptimizationError: it is a program.
    """
    if isinstance(signature, os.PathLike) or (isinstance(signature, str) and signature.endswith(".json")):
        artifact = read_artifact(signature)
        executor.signature(signature)  # raises if its original has changed
        return _of_artifact(artifact)
    if isinstance(signature, str) and "->" not in signature:
        return target_of(executor.signatures.resolve(signature))
    if isinstance(signature, type) and issubclass(signature, OptimizedSignature):
        return _of_artifact(signature.artifact)
    if isinstance(signature, type) and issubclass(signature, BaseSignature):
        for entry in executor.signatures.list():
            if entry.signature_class is signature:
                return target_of(entry)
        return TargetSignature(signature.spec, f"local/{signature.spec.name}", signature.spec)
    with Executor(plugins=(), cache_enabled=False, trackers=(), promotions=False) as scratch:
        name = getattr(signature, "__name__", "Signature")
        scratch.register_signature(name if name.isidentifier() else "Signature", signature)
        return target_of(scratch.signatures.list()[0])


def target_of(entry: RegisteredSignature) -> TargetSignature:
    """Return a registered signature as the target of an optimization.

    Raises:
        OptimizationError: it is a program.
    """
    if entry.program is not None:
        raise OptimizationError(
            f"{entry.qualified_name} is a program; only signatures can be optimized. Optimize the signatures in it"
        )
    artifact = getattr(entry.signature_class, "artifact", None)
    if isinstance(artifact, Artifact) and artifact.base_name == entry.qualified_name:  # it was promoted
        return TargetSignature(entry.spec, entry.qualified_name, artifact.base)
    return TargetSignature(entry.spec, entry.qualified_name, entry.spec)


def _of_artifact(artifact: Artifact) -> TargetSignature:
    return TargetSignature(artifact.spec, artifact.base_name, artifact.base)
