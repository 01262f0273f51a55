"""Plans: everything about a signature and a language model that is the same for every execution of the two."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hokusai_core.caching.keys import KeyScheme

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hokusai_core.execution.models import ModelResolver
    from hokusai_core.model import LanguageModel
    from hokusai_core.signatures import RegisteredSignature, SignatureRegistry, SignatureSpec

__all__ = ["Plan", "PlanBook"]

#: Plans that are kept; one is a few kilobytes.
_KEPT = 512


@frozen(eq=False)
class Plan:
    """A signature and a language model, settled.

    Args:
        registered: the signature as the registry knows it.
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
    model: LanguageModel | None = None
    calls: Any = None
    keys: KeyScheme | None = None
    model_name: str = ""
    model_parameters: Mapping[str, Any] = field(factory=dict)
    parameters_seen: Any = None
    generation: int = 0
    cache_ttl: float | None = None
    persist: bool = True

    @property
    def spec(self) -> SignatureSpec:
        """The signature."""
        return self.registered.spec

    @property
    def name(self) -> str:
        """The signature's qualified name."""
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
    ) -> None:
        self._registry, self._models = registry, models
        self._adapter, self._namespace, self._secret = adapter, namespace, secret
        self._cache_ttl = cache_ttl
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self._lock = threading.Lock()

    def plan(self, signature: Any, lm: Any) -> Plan:
        """Return the plan for ``signature`` (a name or a signature class) with the language model of this call."""
        from hokusai_core import dspy_bridge

        model = self._models.resolve(lm)
        adapter = self._adapter or model.adapter or dspy_bridge.host_adapter()
        key = (signature, id(model.lm), id(adapter))
        plan = self._plans.get(key)
        if (
            plan is not None
            and plan.generation == self._registry.generation
            and plan.parameters_seen == dspy_bridge.live_parameters(model.lm)
        ):
            return plan
        plan = self._make(self._registry.resolve(signature), model, adapter)
        self._keep(key, plan)
        return plan

    def rehearsal(self, signature: Any) -> Plan:
        """Return the plan for testing mode: no language model, no cache."""
        key = (signature, "rehearsal")
        plan = self._plans.get(key)
        if plan is None or plan.generation != self._registry.generation:
            registered = self._registry.resolve(signature)
            plan = Plan(registered, generation=self._registry.generation)
            self._keep(key, plan)
        return plan

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
