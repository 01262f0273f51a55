"""Plans: everything about a signature and a language model that is the same for every execution of the two."""

from __future__ import annotations

import threading
from collections import OrderedDict
from os import PathLike
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from hokusai_core.caching.keys import KeyScheme
from hokusai_core.errors import SignatureNotFoundError
from hokusai_core.improvement import is_file
from hokusai_core.registration import signature_class
from hokusai_core.signatures.registry import LOCAL, RegisteredSignature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hokusai_core.execution.models import ModelResolver
    from hokusai_core.model import LanguageModel
    from hokusai_core.signatures import BaseSignature, SignatureRegistry, SignatureSpec

__all__ = ["Plan", "PlanBook"]

#: Plans that are kept; one is a few kilobytes.
_KEPT = 512


@frozen(eq=False)
class Plan:
    """A signature and a language model, settled.

    Args:
        registered: the signature as the registry knows it.
        spec: the signature.
        name: its qualified name.
        model: the language model, None in testing mode.
        calls: calls the language model, None in testing mode.
        keys: makes cache keys, None in testing mode.
        model_name: name of the model for results and trackers.
        model_parameters: its parameters without credentials.
        parameters_seen: the model's live parameters when the plan was made; a plan is used only while they are equal.
        generation: generation of the registry when the plan was made.
        cache_ttl: seconds for which answers are served where the call does not say: the signature's, else the
            executor's.
        persist: whether answers may enter the persistent tier; not where an output is sensitive, as it would be
            written to disk in clear.
    """

    registered: RegisteredSignature
    spec: SignatureSpec = field(init=False)
    name: str = field(init=False)
    model: LanguageModel | None = None
    calls: Any = None
    keys: KeyScheme | None = None
    model_name: str = ""
    model_parameters: Mapping[str, Any] = field(factory=dict)
    parameters_seen: Any = None
    generation: int = 0
    cache_ttl: float | None = None
    persist: bool = True

    @spec.default
    def _spec(self) -> SignatureSpec:
        return self.registered.spec

    @name.default
    def _name(self) -> str:
        return self.registered.qualified_name


class PlanBook:
    """Makes plans and keeps them.

    Args:
        registry: where signatures come from.
        models: where language models come from.
        adapter: the executor's own DSPy adapter, or None.
        namespace: part of every cache key.
        cache_ttl: the executor's, in seconds.
        secret: returns the secret that sensitive inputs are hashed with.
        read_file: returns the optimized signature in a file.
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
    ) -> None:
        self._registry, self._models = registry, models
        self._adapter, self._namespace, self._secret = adapter, namespace, secret
        self._cache_ttl, self._read_file = cache_ttl, read_file
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self._lock = threading.Lock()
        self._bridge: Any = None

    def plan(self, signature: Any, lm: Any) -> Plan:
        """Return the plan for ``signature`` (a name or a signature class) with the language model of this call."""
        bridge = self._bridge
        if bridge is None:  # kept: an import statement costs as much as looking an answer up
            from hokusai_core import dspy_bridge

            bridge = self._bridge = dspy_bridge
        if type(signature) is not str:
            check_kind(signature)
        model = self._models.resolve(lm)
        adapter = self._adapter or model.adapter or bridge.host_adapter()
        key = (signature, id(model.lm), model.identity, id(adapter))
        plan = self._plans.get(key)
        if (
            plan is not None
            and plan.generation == self._registry.generation
            and bridge.has_parameters(model.lm, plan.parameters_seen)
        ):
            return plan
        plan = self._make(self._registered(signature), model, adapter)
        self._keep(key, plan)
        return plan

    def model(self, lm: Any) -> LanguageModel:
        """Return the language model of a call, with the adapter that would be used."""
        from hokusai_core import dspy_bridge

        model = self._models.resolve(lm)
        adapter = self._adapter or model.adapter or dspy_bridge.host_adapter() or dspy_bridge.FastChatAdapter()
        return evolve(model, adapter=adapter)

    def rehearsal(self, signature: Any) -> Plan:
        """Return the plan for testing mode: no language model, no cache."""
        if type(signature) is not str:
            check_kind(signature)
        key = (signature, "rehearsal")
        plan = self._plans.get(key)
        if plan is None or plan.generation != self._registry.generation:
            registered = self._registered(signature)
            plan = Plan(registered, generation=self._registry.generation)
            self._keep(key, plan)
        return plan

    def _registered(self, signature: Any) -> RegisteredSignature:
        if is_file(signature):
            signature = self._read_file(signature)
        if isinstance(signature, str):
            return self._registry.resolve(signature)
        for entry in self._registry.list():
            if entry.signature_class is signature:
                return entry
        cls, _ = signature_class(signature.__name__, signature)
        return RegisteredSignature(cls.__name__, f"{LOCAL.plugin}/{cls.__name__}", LOCAL, cls.spec, cls)

    def _make(self, registered: RegisteredSignature, model: LanguageModel, adapter: Any) -> Plan:
        from hokusai_core import dspy_bridge

        spec, generation = registered.spec, self._registry.generation
        calls = dspy_bridge.model_call(registered, model.lm, adapter)
        description = dspy_bridge.describe_model(model.lm, calls.adapter)
        parts = {
            "fingerprint": spec.fingerprint,
            "model": [description.name, model.identity, description.engine],
            "parameters": description.parameters,
            "adapter": description.adapter,
            "namespace": self._namespace,
        }
        sensitive = spec.sensitive & frozenset(spec.inputs)
        return Plan(
            registered,
            model=model,
            calls=calls,
            # Asked for only where it is needed: it opens the persistent cache.
            keys=KeyScheme(parts, sensitive, self._secret() if sensitive else b""),
            model_name=description.name,
            model_parameters=description.parameters,
            parameters_seen=dspy_bridge.live_parameters(model.lm),
            generation=generation,
            cache_ttl=self._cache_ttl if spec.cache_ttl is None else spec.cache_ttl,
            persist=not spec.sensitive & frozenset(spec.outputs),
        )

    def _keep(self, key: tuple[Any, ...], plan: Plan) -> None:
        with self._lock:
            self._plans[key] = plan
            while len(self._plans) > _KEPT:
                self._plans.popitem(last=False)


def check_kind(signature: Any) -> None:
    """Raise where ``signature`` is neither a name nor a class."""
    if not isinstance(signature, (str, type, PathLike)):
        raise SignatureNotFoundError(
            f"a signature is given by its name or as a class, not as {type(signature).__name__}; list_signatures() "
            "shows the names, register_signature() gives a name to a program"
        )
