"""CallPlan: the prepared parts of an execution that depend only on the signature and the language model."""

from __future__ import annotations

import os
import secrets
import threading
import time
import weakref
from collections import OrderedDict
from contextlib import suppress
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from hokusai_core.cached_property import cached_property
from hokusai_core.caching.keys import KeyScheme
from hokusai_core.errors import (
    AmbiguousSignatureError,
    ArtifactError,
    ConfigurationError,
    HokusaiError,
    SignatureNotFoundError,
)
from hokusai_core.execution.model_policy import ModelPolicy, PolicyModel
from hokusai_core.execution.prompt_templates import make_template
from hokusai_core.execution.registration import is_file, signature_class
from hokusai_core.json_encoding import canonical_json
from hokusai_core.model_parameters import merged_parameters
from hokusai_core.process import fork_callbacks, fork_gate
from hokusai_core.signature_registry import LOCAL, RegisteredSignature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hokusai_core.base_signature import BaseSignature
    from hokusai_core.events import PromptTemplate
    from hokusai_core.execution.model_resolver import ModelResolver
    from hokusai_core.execution.strategy_resolver import ResolvedStrategy, StrategyResolver
    from hokusai_core.media import MediaPolicy
    from hokusai_core.model import LanguageModel
    from hokusai_core.signature_registry import SignatureRegistry
    from hokusai_core.signatures import SignatureSpec
    from hokusai_core.signatures.strategy_choice import StrategyChoice

__all__ = ["CallPlan", "CallPlanCache"]

#: Plans that are kept; one is a few kilobytes.
_KEPT = 512


@frozen(eq=False, slots=False)
class CallPlan:
    """A signature and a language model, settled.

    Args:
        registered: the signature as the registry knows it.
        spec: the signature.
        name: its qualified name.
        model: the language model, None in testing mode.
        calls: calls the language model, None in testing mode.
        keys: makes cache keys, None in testing mode.
        model_name: name of the model for results and trackers.
        model_parameters: its parameters without credentials, with those of executor, signature and call.
        parameters: parameters of the executor, the signature and the call, as the language model takes them.
        given_parameters: those of them that decide about answers, as they were given.
        parameters_seen: the model's live parameters when the plan was made; a plan is used only while they are equal.
        generation: generation of the registry when the plan was made.
        cache_ttl: seconds for which answers are served where the call does not say: the signature's, else the
            executor's.
        persist: whether answers may enter the persistent tier; not where an output is sensitive, as it would be
            written to disk in clear, and not those of programs whose code nothing tells from another version of it.
        strategy: how the signature is answered, None for one call of the language model or a program.
        notes: what a reader of the answers ought to know.
        program_seen: the state of the program when the plan was made; a plan is used only while it is equal.
        made_at: when it was made, as ``time.perf_counter()`` tells it.
    """

    registered: RegisteredSignature
    spec: SignatureSpec = field(init=False)
    name: str = field(init=False)
    model: LanguageModel | None = None
    calls: Any = None
    keys: KeyScheme | None = None
    model_name: str = ""
    model_parameters: Mapping[str, Any] = field(factory=dict)
    parameters: Mapping[str, Any] = field(factory=dict)
    given_parameters: Mapping[str, Any] = field(factory=dict)
    parameters_seen: Any = None
    generation: int = 0
    cache_ttl: float | None = None
    persist: bool = True
    program_seen: str = ""
    strategy: ResolvedStrategy | None = None
    notes: tuple[str, ...] = ()
    made_at: float = field(factory=time.perf_counter)

    @spec.default
    def _spec(self) -> SignatureSpec:
        return self.registered.spec

    @cached_property
    def prompt(self) -> PromptTemplate | None:
        """The prompt of the signature; None in testing mode, and where it is not answered by one request."""
        return None if self.calls is None else make_template(self.registered, self.calls, self.parameters)

    @property
    def strategy_name(self) -> str:
        """Name of the strategy, "" for none."""
        return "" if self.strategy is None else self.strategy.choice.name

    @name.default
    def _name(self) -> str:
        return self.registered.qualified_name


class CallPlanCache:
    """Makes plans and keeps them.

    Args:
        registry: where signatures come from.
        models: where language models come from.
        adapter: the executor's own DSPy adapter, or None.
        namespace: part of every cache key.
        cache_ttl: the executor's, in seconds.
        secret: returns the secret that sensitive inputs are hashed with.
        read_file: returns the optimized signature in a file.
        strategies: finds strategies.
        parameters: parameters of the executor for every language model.
        media: which pictures, sounds and files are taken.
        transforms: returns the names of the plugins that change outputs.
    """

    def __init__(
        self,
        registry: SignatureRegistry,
        models: ModelResolver,
        *,
        adapter: Any,
        namespace: str,
        cache_ttl: float | None,
        secret: Callable[[], bytes],
        read_file: Callable[[Any], type[BaseSignature]],
        strategies: StrategyResolver,
        parameters: Mapping[str, Any],
        media: MediaPolicy,
        transforms: Callable[[], list[str]] = list,
    ) -> None:
        #: Which pictures, sounds and files are taken.
        self.media = media
        self._registry, self._models = registry, models
        self._adapter, self._namespace, self._secret = adapter, namespace, secret
        self._cache_ttl, self._read_file, self._transforms = cache_ttl, read_file, transforms
        self._strategies, self._parameters = strategies, parameters
        self._plans: OrderedDict[tuple[Any, ...], CallPlan] = OrderedDict()
        #: Tells programs apart in cache keys, which share a signature but not what they make of it.
        self._tokens: weakref.WeakKeyDictionary[RegisteredSignature, str] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._bridge: Any = None
        #: Language models that were used before this process was forked, and those that have connected anew in it.
        self._used_before: dict[int, Any] = {}
        self._reconnected: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._clients_forgotten = False
        self._inherited: list[object] = []
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        for plan in self._plans.values():
            if plan.model is not None:
                self._used_before[id(plan.model.lm)] = plan.model.lm
        # The plans, too: the next call of each makes its language models connect anew.
        self._inherited.append(self._plans)
        self._plans, self._reconnected = OrderedDict(), weakref.WeakValueDictionary()
        self._clients_forgotten = False

    def plan(
        self,
        signature: Any,
        lm: Any,
        strategy: StrategyChoice | None = None,
        parameters: Mapping[str, Any] = MappingProxyType({}),
    ) -> CallPlan:
        """Return the plan of a call.

        Args:
            signature: name or signature class.
            lm: what ``ModelResolver.choose`` has returned for this call; of a policy the first model is taken.
            strategy: strategy of this call, in place of the one that the signature declares.
            parameters: parameters of the language model that this call gives.
        """
        bridge = self._bridge
        if bridge is None:  # kept: an import statement costs as much as looking an answer up
            with fork_gate:  # a child process could not go on with a module that is half imported
                from hokusai_core import dspy_bridge

            bridge = self._bridge = dspy_bridge
        named = signature if type(signature) is str and not signature.endswith(".json") else _edition(signature)
        own: Mapping[str, Any] = {}
        if isinstance(lm, (ModelPolicy, PolicyModel)):
            lm, own = self._first(lm)
        model = self._models.load(lm)
        adapter = self._adapter or model.adapter or bridge.host_adapter()
        said = canonical_json([own, parameters]) if own or parameters else b""
        key = (named, id(model.lm), model.identity, id(adapter), None if strategy is None else strategy.key, said)
        plan = self._plans.get(key)
        if (
            plan is not None
            and plan.generation == self._registry.generation
            and bridge.has_parameters(model.lm, plan.parameters_seen)
            and (not plan.program_seen or plan.program_seen == bridge.program_state(plan.registered.program))
        ):
            return plan
        generation = self._registry.generation  # before the signature is looked up: another may take its place
        with fork_gate:  # tables of signatures and of DSPy are filled under locks, which a child could not go on with
            registered = self._with_program(self._registered(signature))
            plan = self._make(registered, model, adapter, generation, strategy, own, parameters)
        self._keep(key, plan)
        return plan

    def strategy(self, signature: Any, asked: StrategyChoice | None) -> ResolvedStrategy | None:
        """Return how a signature is answered.

        Args:
            signature: name or signature class.
            asked: strategy of this call, None for the one that the signature declares.
        """
        return self.testing_plan(signature, asked).strategy

    def model(self, lm: Any) -> LanguageModel:
        """Return the language model of a call, with the adapter that would be used; of a policy the first model."""
        from hokusai_core import dspy_bridge

        chosen, own = self._first(self._models.choose(lm))
        model = self._models.load(chosen)
        if own:
            parameters = dspy_bridge.call_parameters(model.lm, merged_parameters(own))
            model = evolve(model, lm=model.lm.copy(**parameters))
        adapter = dspy_bridge.strict_adapter(self._adapter or model.adapter or dspy_bridge.host_adapter())
        if fork_callbacks.generation:
            self._reconnect(model.lm, adapter, None)
        return evolve(model, adapter=adapter)

    def _first(self, lm: Any) -> tuple[Any, Mapping[str, Any]]:
        """Return what ``ModelResolver.load`` takes, and the parameters that the model of a policy has."""
        if isinstance(lm, ModelPolicy):
            lm = lm.models[0]
        if not isinstance(lm, PolicyModel):
            return lm, {}
        settled = self._models.settled(lm)
        return self._models.choose(settled.lm), settled.parameters

    def testing_plan(self, signature: Any, strategy: StrategyChoice | None = None) -> CallPlan:
        """Return the plan for testing mode: no language model, no cache."""
        key = (_edition(signature), "testing", None if strategy is None else strategy.key)
        plan, generation = self._plans.get(key), self._registry.generation
        if plan is None or plan.generation != generation:
            registered = self._registered(signature)
            plan = CallPlan(registered, generation=generation, strategy=self._strategy(registered, strategy))
            self._keep(key, plan)
        return plan

    def _registered(self, signature: Any) -> RegisteredSignature:
        if is_file(signature):
            signature = self._read_file(signature)
        if isinstance(signature, str):
            return self._written_out(signature) if "->" in signature else self._registry.resolve(signature)
        for entry in self._registry.list():
            if entry.signature_class is signature:
                return entry
        cls, _ = signature_class(signature.__name__, signature)
        spec = self._strategies.settled(cls.spec)
        return RegisteredSignature(cls.__name__, f"{LOCAL.plugin}/{cls.__name__}", LOCAL, spec, cls)

    def _written_out(self, text: str) -> RegisteredSignature:
        """Return the signature that a text such as ``"question -> answer"`` is."""
        name = "StringSignature"
        cls, _ = signature_class(name, text)
        return RegisteredSignature(name, f"{LOCAL.plugin}/{name}", LOCAL, cls.spec, cls)

    def _with_program(self, registered: RegisteredSignature) -> RegisteredSignature:
        """Return a signature with the program that it gives instructions and demos for. No program is ever imported.

        Raises:
            ArtifactError: no program is registered under the name that the signature was made from.
        """
        spec, signature = registered.spec, registered.signature_class
        if not spec.predictors or spec.strategy is not None or registered.program is not None or signature is None:
            return registered
        artifact = vars(signature).get("artifact")
        name = spec.name if artifact is None else artifact.base_name
        program = vars(signature).get("program")
        if program is None:
            with suppress(SignatureNotFoundError, AmbiguousSignatureError):
                program = self._registry.resolve(name).program
        if program is None:
            raise ArtifactError(
                f"{spec.name} has instructions and demos for the predictors of a program, and no program is registered "
                f"as {name}; register one with executor.register_signature(name, module), or give it to "
                "load_optimized(path, program=module)"
            )
        return evolve(registered, program=program)

    def _strategy(self, registered: RegisteredSignature, asked: StrategyChoice | None) -> ResolvedStrategy | None:
        """Return the strategy of a call: the one that it asks for, else the one that the signature declares."""
        declared = registered.spec.strategy
        if registered.program is not None and (asked or declared) is not None:
            raise ConfigurationError(
                f"{registered.qualified_name} is a DSPy program, which answers in its own way; a strategy is for a "
                "signature"
            )
        if asked is None:
            return None if declared is None else self._strategies.resolve(declared)
        try:
            return self._strategies.resolve(asked.over(declared))
        except ValueError as error:
            if isinstance(error, HokusaiError):
                raise
            raise ConfigurationError(f"{registered.qualified_name}: {error}") from None

    def _make(
        self,
        registered: RegisteredSignature,
        model: LanguageModel,
        adapter: Any,
        generation: int,
        asked: StrategyChoice | None,
        own: Mapping[str, Any],
        given: Mapping[str, Any],
    ) -> CallPlan:
        from hokusai_core import dspy_bridge

        spec, program = registered.spec, registered.program
        _ = spec.binder, spec.codec  # worked out here, where no fork happens: they import modules
        if fork_callbacks.generation:
            self._reconnect(model.lm, adapter, program)
        strategy = self._strategy(registered, asked)
        shown = spec if program is not None else _with_demos(spec, model)
        calls = dspy_bridge.make_call(shown, program, model.lm, adapter, strategy, self.media)
        description = dspy_bridge.describe_model(model.lm, calls.adapter)
        parameters = merged_parameters(self._parameters, spec.parameters, given)
        # Where a provider keeps prompts decides about the price of an answer, and not about the answer.
        deciding = {name: value for name, value in parameters.items() if name != "prompt_cache"}
        own = merged_parameters(own)
        parts = {
            "fingerprint": shown.fingerprint,
            "model": [description.name, model.identity, description.engine],
            "parameters": {**description.parameters, **own, **deciding},
            "adapter": description.adapter,
            "namespace": self._namespace,
        }
        transforms = self._transforms()
        if transforms:
            parts["transforms"] = transforms
        if asked is not None and strategy is not None:  # a declared one is part of the fingerprint
            parts["strategy"] = strategy.choice.identity
        described, state = True, ""
        if program is not None:
            state, described = dspy_bridge.program_state(program), dspy_bridge.is_described(program)
            parts["program"] = [state, "" if described else self._token(registered)]
        sensitive = spec.sensitive & frozenset(spec.inputs)
        versioned = strategy is None or not strategy.unversioned
        keys = KeyScheme(parts, sensitive, self._secret, description.unshown) if versioned else None
        return CallPlan(
            registered,
            model=model,
            calls=calls,
            keys=keys,
            model_name=description.name,
            model_parameters={**description.parameters, **own, **parameters},
            parameters=dspy_bridge.call_parameters(model.lm, {**own, **parameters}),
            given_parameters=deciding,
            parameters_seen=dspy_bridge.live_parameters(model.lm),
            generation=generation,
            cache_ttl=self._cache_ttl if spec.cache_ttl is None else spec.cache_ttl,
            persist=described and not spec.sensitive & frozenset(spec.outputs),
            program_seen=state,
            strategy=strategy,
            notes=self._notes(spec, model),
        )

    def _notes(self, spec: SignatureSpec, model: LanguageModel) -> tuple[str, ...]:
        notes = () if model.notes is None else tuple(model.notes(spec))
        self._models.say(notes)
        return notes

    def _reconnect(self, lm: Any, adapter: Any, program: Any) -> None:
        """Let no call in a forked process use a connection that came through the fork.

        Raises:
            ForkError: a language model does not work in a forked process.
        """
        from hokusai_core import dspy_bridge

        with self._lock:
            if not self._clients_forgotten:
                self._inherited += dspy_bridge.forget_client_cache()
                self._clients_forgotten = True
            for one in dspy_bridge.language_models_of(lm, adapter, program):
                if self._reconnected.get(id(one)) is one:
                    continue
                held = dspy_bridge.forget_connections(one, inherited=self._used_before.get(id(one)) is one)
                if held:
                    self._inherited.append(held)
                self._reconnected[id(one)] = one

    def _token(self, registered: RegisteredSignature) -> str:
        with self._lock:
            return self._tokens.setdefault(registered, secrets.token_hex(8))

    def _keep(self, key: tuple[Any, ...], plan: CallPlan) -> None:
        with self._lock:
            self._plans[key] = plan
            while len(self._plans) > _KEPT:
                self._plans.popitem(last=False)


def _edition(signature: Any) -> Any:
    """Return what tells a signature from others: of a file, with what changes when it is written anew."""
    if type(signature) is not str:
        check_kind(signature)
    if not is_file(signature):
        return signature
    try:
        seen = os.stat(signature)
    except (OSError, ValueError):  # reading it says why
        return signature
    return signature, seen.st_ino, seen.st_mtime_ns, seen.st_size


def _with_demos(spec: SignatureSpec, model: LanguageModel) -> SignatureSpec:
    """Return a signature with the demos that the model needs for it, where it has none of its own."""
    demos = () if spec.demos or model.demos is None else tuple(model.demos(spec))
    return spec.evolve(demos=demos) if demos else spec


def check_kind(signature: Any) -> None:
    """Raise where ``signature`` is neither a name nor a class."""
    if not isinstance(signature, (str, type, PathLike)):
        raise SignatureNotFoundError(
            f"a signature is given by its name or as a class, not as {type(signature).__name__}; list_signatures() "
            "shows the names, register_signature() gives a name to a program"
        )
