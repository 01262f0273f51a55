"""The validate stages: run validators on inputs and outputs, and ask ``check_execution`` hooks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hokusai_core.errors import InputError, PluginError
from hokusai_core.process import fork_callbacks, made_after_fork
from hokusai_core.redaction import printable_cause, scrubbed_error
from hokusai_core.results import Problem

if TYPE_CHECKING:
    from hokusai_core.cache_entry import CacheEntry
    from hokusai_core.execution.call_plan import CallPlan
    from hokusai_core.plugins import PluginManager
    from hokusai_core.protocols import Validator
    from hokusai_core.signatures import SignatureSpec

__all__ = ["ValidationStage"]


class ValidationStage:
    """Asks the validators and gates of an executor.

    Args:
        plugins: whose validators and ``check_execution`` hooks are asked.
        own: validators of the host.
    """

    def __init__(self, plugins: PluginManager, own: Sequence[Validator] = ()) -> None:
        self._plugins = plugins
        self._own = {f"validators[{number}] {type(one).__name__}": one for number, one in enumerate(own)}
        self._made: dict[str, Validator] | None = None
        self._transforms: Sequence[tuple[str, Callable[..., Any]]] | None = None
        self._has_gates = False
        #: Validators of parent processes; kept, as freeing one might free what the parent uses.
        self._inherited: list[Validator] = []
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        made = [one for name, one in (self._made or {}).items() if name not in self._own]
        if any(map(made_after_fork, made)):
            self._inherited += made
            self._made = None

    def _validators(self) -> dict[str, Validator]:
        made = self._made
        if made is None:
            made = self._made = {
                component.qualified_name: self._plugins.create("validator", component.qualified_name)
                for component in self._plugins.components("validator")
            } | self._own
        return made

    def inputs(self, plan: CallPlan, inputs: Mapping[str, Any]) -> None:
        """Return where an execution with these bound inputs may go on.

        Raises:
            InputError: validators object; carries every problem.
            PluginError: a validator failed.
            Exception: whatever a gate refuses with.
        """
        validators = self._made
        if validators is None:
            validators = self._validators()
        if self._transforms is None:  # now, as an execution that is under way outlives the closing of its executor
            self._transforms = self._plugins.callers("transform_outputs")
            self._has_gates = self._plugins.implements("check_execution")
        if validators:
            problems: list[Problem] = []
            for name, validator in validators.items():
                problems += self._asked(name, validator.validate_inputs, plan.spec, inputs)
            if problems:
                lines = "".join(f"\n  {problem}" for problem in problems)
                raise InputError(f"the inputs do not fit {plan.name}:{lines}", problems=problems, signature=plan.name)
        if self._has_gates:
            self._plugins.check("check_execution", signature=plan.spec, inputs=read_only_copy(inputs))

    def settle(
        self, plan: CallPlan, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Return the outputs of an answer as a result has them, and everything that is wrong with them.

        Raises:
            PluginError: a hook or validator failed.
        """
        # Settled as a stored answer would be read back, so that fresh and cached answers are the same.
        settled, found = plan.spec.codec.settle(inputs, outputs)
        if not found:
            settled = self.transform(plan, inputs, settled)
        return settled, [*found, *self.outputs(plan, inputs, settled)]

    def outputs(self, plan: CallPlan, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[Problem]:
        """Return everything that validators object to in typed outputs.

        Raises:
            PluginError: a validator failed.
        """
        problems: list[Problem] = []
        for name, validator in self._validators().items():
            problems += self._asked(name, validator.validate_outputs, plan.spec, inputs, outputs)
        return problems

    @property
    def transforms(self) -> bool:
        """Whether a plugin transforms outputs."""
        return bool(self._transforms)

    def transform(self, plan: CallPlan, inputs: Mapping[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        """Return outputs as ``transform_outputs`` hooks leave them.

        Raises:
            PluginError: a hook failed, or returned what does not fit the signature.
        """
        for name, call in self._transforms or ():
            outputs = self._transformed(name, call, plan.spec, inputs, outputs)
        return outputs

    def _transformed(
        self,
        name: str,
        call: Callable[..., Any],
        spec: SignatureSpec,
        inputs: Mapping[str, Any],
        outputs: dict[str, Any],
    ) -> dict[str, Any]:
        try:
            answers = call(signature=spec, inputs=read_only_copy(inputs), outputs=dict(read_only_copy(outputs)))
            if not answers:  # the hook returned None
                return outputs
            changed = answers[0]
            unknown = changed.keys() - outputs.keys()
            if unknown:
                raise ValueError(f"{', '.join(map(repr, sorted(unknown)))} is no output")
            typed, problems = spec.codec.settle(inputs, changed)
            if not problems:
                return typed
            raise ValueError("; ".join(map(str, problems)))
        except Exception as error:
            told = type(error).__name__ if spec.sensitive else scrubbed_error(error)
            failure = PluginError(
                f"transform_outputs of plugin {name!r} failed on {spec.name} ({told}); mend the plugin, or leave it "
                f"out: HOKUSAI_DISABLE_PLUGINS={name.partition(' ')[0]}"
            )
            failure.__cause__ = None if spec.sensitive else printable_cause(error)
        raise failure

    def accept(self, plan: CallPlan, inputs: Mapping[str, Any], entry: CacheEntry) -> bool:
        """Return whether validators let pass what an executor with other validators may have stored.

        Raises:
            PluginError: a validator failed.
        """
        return not self._validators() or not self.outputs(plan, inputs, plan.spec.codec.decode(entry.outputs))

    def _asked(
        self, name: str, ask: Callable[..., Sequence[Problem]], spec: SignatureSpec, *values: Mapping[str, Any]
    ) -> Sequence[Problem]:
        try:
            said = tuple(ask(spec, *map(read_only_copy, values)))  # a check must not change what it checks
            if all(isinstance(problem, Problem) for problem in said):
                return said
            raise TypeError("it must return a sequence of Problem")
        except Exception as error:
            # Going on would skip a check that the host relies on. The error may quote a sensitive value.
            told = type(error).__name__ if spec.sensitive else scrubbed_error(error)
            failure = PluginError(
                f"validator {name!r} failed on {spec.name} ({told}), and a check is never skipped; {self._remedy(name)}"
            )
            failure.__cause__ = None if spec.sensitive else printable_cause(error)
        raise failure

    def _remedy(self, name: str) -> str:
        if name in self._own:
            return "mend it, or leave it out of validators=..."
        owner = self._plugins.component("validator", name).owner
        return f"mend its plugin {owner}, or leave it out: HOKUSAI_DISABLE_PLUGINS={name.partition('/')[0]}"


def read_only_copy(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a copy, so that changes to it do not reach the originals. A value that cannot be copied stays itself."""
    try:
        return MappingProxyType(copy.deepcopy(dict(values)))
    except Exception:
        return MappingProxyType({name: _copied(value) for name, value in values.items()})


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:
        return value
