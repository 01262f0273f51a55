"""StrategyResolver: turns a choice of a strategy into the strategy, with its tools, its reward and inner strategies."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from hokusai_core.errors import (
    ArtifactError,
    ComponentNotFoundError,
    CompositionError,
    ConfigurationError,
    PluginLoadError,
)
from hokusai_core.function_tool import FunctionTool
from hokusai_core.plugins.failures import frames_inside
from hokusai_core.protocols import Tool, protocol_problems
from hokusai_core.signatures.branch_conditions import InputCondition
from hokusai_core.signatures.strategy_choice import StrategyChoice
from hokusai_core.strategy_task import Reward, StrategyTask

if TYPE_CHECKING:
    from hokusai_core.plugins.manager import PluginManager
    from hokusai_core.protocols import Strategy, Validator
    from hokusai_core.signature_registry import RegisteredSignature
    from hokusai_core.signatures import SignatureSpec

__all__ = ["REFERENCE_FREE", "ResolvedStrategy", "StrategyResolver"]

#: Capability of a metric that scores outputs without an expected answer, so that it can be a reward.
REFERENCE_FREE = "reference_free"


@frozen(eq=False)
class ResolvedStrategy:
    """A strategy that is ready to build modules.

    Args:
        choice: name, options, and the versions of everything that takes part.
        strategy: the strategy.
        unversioned: tools and rewards without a version, so that nothing tells them from another version.
    """

    choice: StrategyChoice
    strategy: Strategy
    unversioned: tuple[str, ...] = ()


class StrategyResolver:
    """Finds strategies and their parts among the components of one executor.

    Args:
        plugins: the plugins that offer them.
        known: returns a registered signature by its qualified name, None for none.
    """

    def __init__(
        self, plugins: PluginManager, known: Callable[[str], RegisteredSignature | None] = lambda name: None
    ) -> None:
        self._plugins, self._known = plugins, known
        self._warned: set[str] = set()

    def settled(self, spec: SignatureSpec) -> SignatureSpec:
        """Return a signature whose declared strategy knows the versions of everything that takes part.

        Raises:
            HokusaiError: the strategy cannot be used; says why.
        """
        if spec.strategy is None:
            return spec
        return spec.evolve(strategy=self.resolve(spec.strategy).choice)

    def resolve(self, choice: StrategyChoice) -> ResolvedStrategy:
        """Return the strategy that a choice means.

        Raises:
            ComponentNotFoundError: there is no such strategy, tool or reward; lists those that there are.
            ConfigurationError: the strategy does not take these options.
            ArtifactError: a program or function that a file names is not registered, or is another one.
            PluginLoadError: the plugin that offers it failed.
        """
        found = _Parts(self._plugins, self._known)
        options = found.resolved(choice)
        strategy: Strategy = self._plugins.create("strategy", choice.name, **options)
        label = f"strategy {choice.name}"
        version = _version(label, strategy)
        if choice.version and (choice.version, choice.parts) != (version, tuple(found.parts)):
            raise ConfigurationError(
                f"{label}: the signature was saved with {_listing([(label, choice.version), *choice.parts])}, and "
                f"installed is {_listing([(label, version), *found.parts])}; its answers may be others. Install those "
                "versions, or save the signature again"
            )
        self._warn_of(choice.name, found.unversioned)
        settled = evolve(choice, version=version, parts=found.parts)
        return ResolvedStrategy(settled, strategy, tuple(found.unversioned))

    def _warn_of(self, name: str, unversioned: Iterable[str]) -> None:
        for part in unversioned:
            if part not in self._warned:
                self._warned.add(part)
                warnings.warn(
                    f"strategy {name}: {part} has no version, so answers are not cached. Give it one: "
                    "FunctionTool(function, version='1') for a tool, an attribute 'version' for a reward, a program or "
                    "the function of a condition",
                    stacklevel=frames_inside(),
                )


class _Parts:
    """The parts of one choice of a strategy."""

    def __init__(self, plugins: PluginManager, known: Callable[[str], RegisteredSignature | None]) -> None:
        self._plugins, self._known = plugins, known
        self.parts: list[tuple[str, str]] = []
        self.unversioned: list[str] = []

    def resolved(self, choice: StrategyChoice) -> dict[str, Any]:
        """Return the options of a choice, with the objects that they name."""
        options = dict(choice.options)
        if options.get("tools") is not None:
            options["tools"] = self._tools(_items(options["tools"]))
        if options.get("reward") is not None:
            options["reward"] = self._reward(options["reward"])
        if options.get("strategy") is not None:
            options["strategy"] = self._strategy(options["strategy"])
        if isinstance(options.get("strategies"), Mapping):
            options["strategies"] = {name: self._strategy(item) for name, item in options["strategies"].items()}
        if "steps" not in options:
            return options
        if isinstance(options.get("programs"), Mapping):
            options["programs"] = {step: self._program(step, item) for step, item in options["programs"].items()}
        if isinstance(options.get("conditions"), Mapping):
            options["conditions"] = {step: self._condition(step, item) for step, item in options["conditions"].items()}
        return options

    def _program(self, step: str, value: Any) -> Any:
        """Return the module of a step; no module is ever imported because a file names it."""
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ConfigurationError(f"step {step!r}: a program is {{'name': ..., 'fingerprint': ...}}")
        name, program = value["name"], getattr(value, "value", None)
        if program is None:
            entry = self._known(name)
            if entry is None or entry.program is None:
                raise ArtifactError(
                    f"step {step!r} is the program {name}, and no program is registered under that name; register it "
                    f"with executor.register_signature({name.rpartition('/')[2]!r}, module)"
                )
            if entry.program_fingerprint != value.get("fingerprint"):
                raise ArtifactError(
                    f"step {step!r} was made with another version of the program {name}, which now is "
                    f"{entry.spec.describe()}; make it again, or register the program that it was made with"
                )
            program = entry.program
        self._add(f"program {name}", str(getattr(program, "version", "") or ""))
        return program

    def _condition(self, step: str, value: Any) -> Callable[[Mapping[str, Any]], Any]:
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"branch {step!r}: its condition is no mapping")
        if "when" in value:
            try:
                return InputCondition.of(value["when"])
            except CompositionError as error:
                raise ConfigurationError(f"branch {step!r}: {error}") from None
        function = getattr(value, "value", None) or self._registered_function(step, value)
        self._add(f"condition {step}", str(getattr(function, "version", "") or ""))
        return function  # type: ignore[no-any-return]  # whatever was given as a condition can be called

    def _registered_function(self, step: str, value: Mapping[str, Any]) -> Any:
        """Return the function of a condition of the chain that is registered under the name in ``value``."""
        name = str(value.get("registered"))
        entry = self._known(name)
        original = None if entry is None else (entry.original or entry.signature_class)
        choice = None if original is None else original.spec.strategy
        for known in () if choice is None else choice.named_objects():
            if known == value:
                return known.value
        raise ArtifactError(
            f"the condition of branch {step!r} is a function, which no file holds; register the chain that has it: "
            f"executor.register_signature({name.rpartition('/')[2]!r}, chain)"
        )

    def _add(self, label: str, version: str) -> None:
        self.parts.append((label, version))
        if not version:
            self.unversioned.append(label)

    def _strategy(self, value: Any) -> Strategy:
        try:
            inner = StrategyChoice.of(value)
        except ValueError as error:
            raise ConfigurationError(f"option 'strategy': {error}") from None
        if inner is None or not inner.name:
            raise ConfigurationError("option 'strategy': name a strategy")
        strategy: Strategy = self._plugins.create("strategy", inner.name, **self.resolved(inner))
        label = f"strategy {inner.name}"
        self._add(label, _version(label, strategy))
        return strategy

    def _tools(self, values: list[Any]) -> dict[str, Tool]:
        tools: dict[str, Tool] = {}
        for name, tool in map(self._tool, values):
            if name in tools:
                raise ConfigurationError(f"option 'tools': there are two tools {name!r}; a model calls one by its name")
            tools[name] = tool
        return tools

    def _tool(self, value: Any) -> tuple[str, Tool]:
        if isinstance(value, str):
            component = self._plugins.component("tool", value)
            tool: Tool = self._plugins.create("tool", value)
            name, label = component.name, f"tool {component.qualified_name}"
            version = _version(label, tool)
        else:
            given: Any = FunctionTool(value) if not hasattr(value, "call") and callable(value) else value
            tool = given
            name = str(getattr(tool, "name", type(tool).__name__))
            label = f"tool {name}"
            if problems := protocol_problems(Tool, tool):
                raise ConfigurationError(f"{label}: {type(value).__name__} is no tool: {'; '.join(problems)}")
            version = tool.version
        if not name.isidentifier():
            raise ConfigurationError(
                f"{label}: a language model calls it by its name: use letters, digits and '_' only"
            )
        schema: Any = tool.parameters
        if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
            raise ConfigurationError(
                f"{label} has no schema: its attribute 'parameters' must be a JSON schema of type object, with "
                "'properties'"
            )
        self._add(label, version)
        return name, tool

    def _reward(self, value: Any) -> Reward:
        if isinstance(value, Reward):
            reward = value
        elif callable(value):
            name = getattr(value, "name", None) or getattr(value, "__qualname__", type(value).__qualname__)
            version = getattr(value, "version", "")
            reward = Reward(f"function {name}", str(version), lambda _task, inputs, outputs: value(inputs, outputs))
        elif isinstance(value, str):
            reward = self._named_reward(value)
        else:
            raise ConfigurationError(
                f"option 'reward': expected the name of a validator or metric, or a function of inputs and outputs, "
                f"not {type(value).__name__}"
            )
        self._add(f"reward {reward.name}", reward.version)
        return reward

    def _named_reward(self, name: str) -> Reward:
        validators = {item.name for item in self._plugins.components("validator")}
        kinds = [kind for kind in ("validator", "metric") if self._offers(kind, name)]
        if not kinds:
            free = [item.name for item in self._plugins.components("metric") if REFERENCE_FREE in item.capabilities]
            there = ", ".join(sorted({*validators, *free})) or "none"
            raise ComponentNotFoundError(f"there is no validator or metric {name!r} for a reward. Installed: {there}")
        if len(kinds) > 1:
            raise ConfigurationError(f"reward {name!r} is a validator and a metric; write plugin/name for one of them")
        component = self._plugins.component(kinds[0], name)
        version = "" if component.owner is None else component.owner.version
        label = f"{kinds[0]} {component.qualified_name}"
        made: Any = self._plugins.create(kinds[0], name)
        version = str(getattr(made, "version", "") or version)
        if kinds[0] == "validator":
            return Reward(label, version, _accepted_by(made), best=1.0)
        if REFERENCE_FREE not in component.capabilities:
            raise ConfigurationError(
                f"metric {name!r} compares with an expected answer, which a call does not have. A reward is a "
                f"validator, a function of inputs and outputs, or a metric with the capability {REFERENCE_FREE!r}"
            )
        sign = 1.0 if made.higher_is_better else -1.0
        best = max(sign * end for end in made.range)
        calls_model = hasattr(made, "using")
        return Reward(label, version, _scored_by(made, sign), best=best, calls_model=calls_model)

    def _offers(self, kind: str, name: str) -> bool:
        return any(name in (item.name, item.qualified_name) for item in self._plugins.components(kind))


def _accepted_by(validator: Validator) -> Any:
    """Return the share of acceptance: 1 without problems, less with each of them."""

    def score(task: StrategyTask, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
        return 1.0 / (1 + len(validator.validate_outputs(task.spec, inputs, outputs)))

    return score


def _scored_by(metric: Any, sign: float) -> Any:
    def score(task: StrategyTask, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
        used = metric
        if hasattr(metric, "using"):
            used = metric.using(lambda _judge: task.language_model(), task.spec.instructions)
        return sign * float(used.score({}, outputs, inputs))

    return score


def _items(value: Any) -> list[Any]:
    """Return the tools of an option: a list, one tool, or names with commas between them."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, Iterable):
        return list(value)
    return [value]


def _version(label: str, component: Any) -> str:
    version = component.version
    if not isinstance(version, str) or not version:
        raise PluginLoadError(f"{label}: its attribute 'version' must be a text that is not empty, not {version!r}")
    return version


def _listing(parts: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {version or 'without a version'}" for name, version in parts)
