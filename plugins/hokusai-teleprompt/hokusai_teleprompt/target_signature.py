"""TargetSignature: the signature or program to optimize, and the original that it was made from."""

from __future__ import annotations

import os
from typing import Any

from attrs import evolve, frozen

from hokusai_core import BaseSignature, Executor, Settings, SignatureChain
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import (
    Artifact,
    Candidate,
    LanguageModel,
    ResolvedStrategy,
    SignatureRunner,
    SignatureSpec,
    predictor_states,
    read_artifact,
)
from hokusai_core.types import RegisteredSignature
from hokusai_teleprompt.optimized_signature import OptimizedSignature

__all__ = ["TargetSignature", "answered_by", "find_target", "target_of"]

_CHAIN_FILES = (".toml", ".yaml", ".yml")


@frozen
class TargetSignature:
    """A signature that is optimized.

    Args:
        spec: the signature to improve.
        name: the name of the original.
        base: the original. If ``spec`` is the result of an optimization, this is the signature that the first
            optimization started from, which is the one that is installed under the name.
        program: the ``dspy.Module`` that runs it; None for one call of the language model, or a strategy.
        strategy: the strategy that ``spec`` declares; None for one call, or a program.
        before: the signature as it is now, if ``spec`` has another strategy; None if ``spec`` is as it is now.
        settings: those of the executor.
    """

    spec: SignatureSpec
    name: str
    base: SignatureSpec
    program: Any = None
    strategy: ResolvedStrategy | None = None
    before: TargetSignature | None = None
    settings: Settings | None = None

    @property
    def as_it_is(self) -> TargetSignature:
        """The baseline of the comparison: the signature as it is now, with the strategy that it has now."""
        return self.before or self

    @property
    def has_module(self) -> bool:
        """Whether a module with predictors of its own runs it."""
        return self.program is not None or self.strategy is not None

    def runner(self, spec: SignatureSpec, model: LanguageModel) -> SignatureRunner:
        """Return what runs a version of the signature.

        Raises:
            ArtifactError: the version has states of other predictors than the module has.
        """
        return SignatureRunner(spec, model, self.strategy, self.program, self.settings)

    def current(self, module: Any) -> Candidate:
        """Return the present instructions and demos as a candidate.

        Args:
            module: the module of the program or strategy; None for one call of the language model.
        """
        spec = self.spec
        if module is None:
            return Candidate(spec.instructions, spec.demos, label="baseline", nearest_demos=spec.nearest_demos)
        return Candidate(spec.instructions, label="baseline", predictors=spec.predictors or predictor_states(module))


def find_target(executor: Executor, signature: Any) -> TargetSignature:
    """Return the signature that ``signature`` means.

    Args:
        executor: where names are looked up.
        signature: name, class, ``dspy.Signature`` class, text such as ``"question -> answer"``, ``dspy.Module``,
            ``SignatureChain``, or the path of a file with a chain or a saved optimized signature.

    Raises:
        SignatureNotFoundError: no signature has this name.
        ArtifactError: the file cannot be used, or its original has changed.
        SignatureDefinitionError: no file can hold it, such as a strategy with a function as its tool.
        CompositionError: the chain has a fault, or a step that no file can hold.
    """
    if isinstance(signature, (str, os.PathLike)) and str(signature).endswith(".json"):
        artifact = read_artifact(signature)
        executor.signature(signature)  # raises if its original has changed
        return _of_artifact(executor, artifact)
    if isinstance(signature, (str, os.PathLike)) and str(signature).endswith(_CHAIN_FILES):
        signature = SignatureChain.from_file(signature)
    if isinstance(signature, SignatureChain):
        signature = signature.to_signature(executor)
    if isinstance(signature, str) and "->" not in signature:
        return target_of(executor, executor.signatures.resolve(signature))
    if isinstance(signature, type) and issubclass(signature, OptimizedSignature):
        return _of_artifact(executor, signature.artifact, vars(signature).get("program"))
    if isinstance(signature, type) and issubclass(signature, BaseSignature):
        for entry in executor.signatures.list():
            if entry.signature_class is signature:
                return target_of(executor, entry)
        return _target(executor, signature.spec, f"local/{signature.spec.name}", signature.spec)
    with Executor(plugins=(), cache_enabled=False, trackers=(), promotions=False) as scratch:
        name = getattr(signature, "__name__", type(signature).__name__)
        scratch.register_signature(name if name.isidentifier() else "Signature", signature)
        return target_of(executor, scratch.signatures.list()[0])


def answered_by(executor: Executor, target: TargetSignature, strategy: Any) -> TargetSignature:
    """Return a target whose result declares another strategy; the baseline stays the signature as it is.

    Args:
        executor: knows the strategies.
        target: the signature.
        strategy: name of the strategy, or a mapping of ``name`` and its options.

    Raises:
        ConfigurationError: the signature is a program, or the strategy does not take these options.
        ComponentNotFoundError: there is no such strategy, tool or reward.
        SignatureDefinitionError: no file can hold the strategy, such as one with a function as its tool.
    """
    if target.program is not None:
        raise ConfigurationError(f"{target.name} is a DSPy program, which answers in its own way without a strategy")
    chosen = executor.strategy(BaseSignature.from_spec(target.spec), strategy=strategy)
    spec = target.spec.evolve(strategy=None if chosen is None else chosen.choice, predictors={})
    spec.to_dict()  # raises if no file can hold it, before anything is paid for
    return evolve(target, spec=spec, strategy=chosen, before=target)


def target_of(executor: Executor, entry: RegisteredSignature) -> TargetSignature:
    """Return a registered signature or program as the target of an optimization."""
    artifact = getattr(entry.signature_class, "artifact", None)
    if isinstance(artifact, Artifact) and artifact.base_name == entry.qualified_name:  # it was promoted
        return _target(executor, entry.spec, entry.qualified_name, artifact.base, entry.program)
    return _target(executor, entry.spec, entry.qualified_name, entry.spec, entry.program)


def _of_artifact(executor: Executor, artifact: Artifact, program: Any = None) -> TargetSignature:
    if artifact.spec.predictors and artifact.spec.strategy is None and program is None:
        program = executor.signatures.resolve(artifact.base_name).program  # a program is never imported
    return _target(executor, artifact.spec, artifact.base_name, artifact.base, program)


def _target(
    executor: Executor, spec: SignatureSpec, name: str, base: SignatureSpec, program: Any = None
) -> TargetSignature:
    strategy = None
    if spec.strategy is not None and program is None:
        strategy = executor.strategy(BaseSignature.from_spec(spec))
        settled = spec if strategy is None else spec.evolve(strategy=strategy.choice)
        spec, base = settled, settled if base is spec else base
        spec.to_dict()  # raises if no file can hold it, before anything is paid for
    return TargetSignature(spec, name, base, program, strategy, settings=executor.config)
