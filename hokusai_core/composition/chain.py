"""SignatureChain: a sequence of steps whose outputs are inputs of later steps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self

from hokusai_core.call_advice import method_advice
from hokusai_core.composition.chain_signature import signature_of_chain
from hokusai_core.composition.checker import resolve_chain
from hokusai_core.composition.definitions import (
    ChainDefinition,
    Step,
    checked_mapping,
    checked_step_parameters,
    checked_strategy,
    step_name,
)
from hokusai_core.composition.files import chain_of, read_chain
from hokusai_core.composition.initial_inputs import initial_fields
from hokusai_core.composition.mermaid import draw
from hokusai_core.errors import CompositionError

if TYPE_CHECKING:
    from hokusai_core.base_signature import BaseSignature
    from hokusai_core.execution.services import ExecutorServices
    from hokusai_core.signatures import FieldSpec

__all__ = ["SignatureChain"]


class HasServices(Protocol):
    """An ``Executor``."""

    @property
    def services(self) -> ExecutorServices:
        """The parts of the executor."""
        ...


class SignatureChain(ChainDefinition):
    """A sequence of steps. Each takes its inputs from the initial inputs and the outputs of earlier steps.

    A string in a mapping is a reference if it names an initial input or, as ``"Step.field"``, an output of an earlier
    step; any other string is a value. ``ref(...)`` and ``literal(...)`` say outright what is meant. Lists and dicts may
    hold ``ref(...)``.

    Declare the initial inputs with ``inputs``: a call that lacks one of them, or gives another, is then refused before
    a language model is called. Without a declaration the inputs of the call are the initial inputs, so a string that
    was meant as an input that the call lacks is taken as a value.

    Steps that do not need each other run at the same time. The whole chain is checked before the first call.

    Args:
        name: how the chain is called where it is tracked.
        inputs: names of the initial inputs; left out, the chain declares none.

    Example:
        >>> from hokusai_core import Executor
        >>> chain = SignatureChain(inputs=["report"])
        >>> _ = chain.add("Extract", {"text": "report", "what": "names and dates"})
        >>> _ = chain.add("Summarize", {"text": "Extract.facts"})
        >>> with Executor(mode="testing", plugins=[]) as executor:
        ...     executor.register_signature("Extract", "text, what -> facts")
        ...     executor.register_signature("Summarize", "text -> summary")
        ...     result = executor.execute_chain(chain, initial_inputs={"report": "Ada met Grace in 1952."})
        >>> result["summary"], result.steps["Extract"]["facts"]
        ('Sample summary', 'Sample facts')
    """

    def __init__(self, name: str = "", *, inputs: Iterable[str] | None = None) -> None:
        super().__init__(name, None if inputs is None else _input_names(inputs))

    def add(
        self,
        target: Any,
        mapping: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        strategy: Any = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Self:
        """Add a step.

        Args:
            target: a signature's name or class, a ``SignatureChain`` or a ``ConditionalPipeline``.
            mapping: input field -> reference or value; left out, the initial inputs that the target knows.
            name: how later steps refer to it; left out, the signature's short name.
            strategy: how the signature is answered in this step: the name of a strategy, or a mapping of ``name`` and
                its options. It goes before the strategy of the call.
            parameters: parameters of the language model in this step, such as ``{"temperature": 0}``. They go before
                those of the call.

        Returns:
            The chain, so that calls can be strung together.

        Raises:
            CompositionError: the name is taken or missing, or the mapping is not one.
        """
        step = step_name(target, name)
        if step in self._steps:
            raise CompositionError(f"the chain has a step {step!r} already; give this one another with name='...'")
        if target is self:
            raise CompositionError("a chain cannot be a step of itself")
        chosen = checked_strategy(step, strategy)
        given = checked_step_parameters(step, parameters)
        for what, value in (("a strategy is", chosen), ("parameters are", given)):
            if value and not isinstance(target, (str, type)):
                raise CompositionError(f"step {step!r}: {what} for a signature, not for a {type(target).__name__}")
        self._steps[step] = Step(step, target, checked_mapping(step, mapping), chosen, given)
        return self

    def check(
        self, executor: HasServices, initial_inputs: Mapping[str, Any] | Iterable[str] | None = None
    ) -> frozenset[str]:
        """Check the whole chain without running it, and return the names of the initial inputs that it uses.

        Args:
            executor: whose signatures the steps name.
            initial_inputs: the inputs, or only their names; without them, strings that name no step are left alone.

        Raises:
            CompositionError: listing every problem.
        """
        return resolve_chain(self, executor.services.plans, initial_inputs).used_inputs()

    def initial_fields(self, executor: HasServices) -> tuple[FieldSpec, ...]:
        """Return the initial inputs as fields, with the types of the inputs of steps that take them.

        Args:
            executor: whose signatures the steps name.

        Raises:
            CompositionError: the chain has a fault; lists every problem.
        """
        return initial_fields(resolve_chain(self, executor.services.plans, self.inputs))

    def to_signature(self, executor: HasServices, name: str = "") -> type[BaseSignature]:
        """Return a signature that takes the initial inputs and gives the outputs of the last step.

        The strategy ``chain`` of the plugin ``strategies`` answers it, by running the steps one after the other. The
        signature holds copies of the signatures of the steps, so it can be registered, optimized, saved, promoted and
        packed like any other. Programs and the functions of conditions are not in its file: they are found by the names
        under which program and chain are registered.

        Args:
            executor: whose signatures the steps name.
            name: name of the signature; left out, the name of the chain.

        Raises:
            CompositionError: the chain has a fault, or a step that cannot be written, such as one whose prompts show
                the nearest demos, or an asynchronous condition.
        """
        return signature_of_chain(self, executor.services.plans, name)

    def to_mermaid(self, initial_inputs: Iterable[str] = ()) -> str:
        """Return the chain as a Mermaid flowchart.

        Args:
            initial_inputs: names of the initial inputs; those that are declared, or named with ``ref(...)``, are known
                without.
        """
        return draw(self, initial_inputs)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a chain from a TOML or YAML file, which holds names and values only.

        Raises:
            CompositionError: naming the place of what is wrong.
        """
        return read_chain(cls, path)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make a chain from the content of such a file.

        Raises:
            CompositionError: naming the place of what is wrong.
        """
        return chain_of(cls, data)

    def __len__(self) -> int:
        return len(self._steps)

    def __getattr__(self, name: str) -> NoReturn:
        advice = method_advice("a chain", name).replace("execute_signature(name, {...})", "execute_chain(chain, {...})")
        raise AttributeError(advice or f"'SignatureChain' object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<SignatureChain {self.name}>"


def _input_names(inputs: Any) -> tuple[str, ...]:
    """Return the names of declared inputs."""
    names = tuple(inputs) if isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes)) else (None,)
    if not all(isinstance(name, str) and name for name in names):
        raise CompositionError(f"inputs={inputs!r}: expected the names of the initial inputs, such as ['report']")
    return tuple(dict.fromkeys(names))
