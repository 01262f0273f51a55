"""Routes to providers: DSPy's own choice of an engine, made once for equal calls and then kept.

For every call of a language model, DSPy chooses between its own client and LiteLLM, builds the request twice to find
out whether its client can carry it, reads the proxy variables and looks the price up: two thirds of the CPU that a call
costs. All of it depends only on the parameters, on the environment and on whether the messages are plain texts. So the
choice is DSPy's, and a route remembers it.

The clients of routes are kept in the language model's own store of engines. They are closed with the language model and
shared by its copies. No client is used in another process than the one that made it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import dspy
from attrs import define, field, frozen
from dspy._vendor.lm15.transports import StdlibAsyncTransport
from dspy.clients.engines.lm15_engine import AsyncLM15Engine, LM15Engine
from dspy.clients.execution import _engine as choose_engine
from dspy.lm15 import AsyncLMRouter, CacheConfig, LMRouter, Request, Response, _binding_for

from hokusai_core.dspy_bridge.deadline_transport import DeadlineTransport
from hokusai_core.dspy_bridge.model_prices import estimated_cost
from hokusai_core.process import fork_callbacks

__all__ = ["Route", "amake_route", "known_route", "make_route"]

#: Name under which the store of a language model holds its routes.
_STORED = "hokusai"
#: The batch or the host bounds how many calls are in flight. A lower bound here would make them wait for each other.
_MOST_CONNECTIONS = 65_536
#: Routes that are kept for one language model. Each combination of parameters needs one.
_MOST_ROUTES = 256
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PLAIN = (str, int, float, bool, type(None), CacheConfig)
_NO_PARAMETERS = frozenset({"messages", "model", "rollout_id"})


@frozen(eq=False)
class Route:
    """How calls with the same parameters reach their provider.

    Args:
        complete: makes a call with DSPy's client for the provider; to be awaited on an event loop.
        template: the request without its messages.
        provider: DSPy's name of the provider.
        price: returns the cost of an answer, and how it was worked out.
    """

    complete: Callable[[Request], Any]
    template: Request
    provider: str
    price: Callable[[Response, Request], tuple[float | None, dict[str, Any]]]


@frozen(eq=False)
class _Choice:
    """The engine that DSPy chooses for a call, which is one of its own client.

    Args:
        engine: the engine.
        request: the request that DSPy would have it send.
        provider: DSPy's name of the provider.
        namespaces: where prices of a provider stand that the host has declared, None for any other.
    """

    engine: Any
    request: Request
    provider: str
    namespaces: tuple[str, ...] | None

    @classmethod
    def of(cls, lm: Any, call: Any, *, asynchronous: bool) -> _Choice | None:
        engine, request, provider = choose_engine(lm, call, asynchronous)
        if not isinstance(engine, (LM15Engine, AsyncLM15Engine)) or request is None:
            return None
        resolution = engine.resolve(lm.model)
        binding = _binding_for(lm._providers, provider) if resolution.declared else None
        namespaces = None if binding is None else binding.metadata_namespaces
        return cls(engine, replace(request, model=resolution.model), provider, namespaces)

    def connect(self) -> tuple[Any, Any]:
        """Return a client for the provider and its transport."""
        name = f"{self.provider}:{self.request.model}"
        blocking = isinstance(self.engine, LM15Engine)
        router, transports = (LMRouter, DeadlineTransport) if blocking else (AsyncLMRouter, StdlibAsyncTransport)
        config = self.engine.config
        url = getattr(router(config).lm(name), "base_url", None)
        options = {**config.transport_kwargs(), "max_connections": _MOST_CONNECTIONS}
        if url:
            options |= {"proxy": _proxy_for(url), "trust_env": False}
        transport = transports(**options)
        return router(replace(config, timeouts=None, transport=transport)).lm(name), transport


@define(eq=False)
class _Routes:
    """The routes for one event loop, or those of blocking calls, and the clients that they use."""

    known: dict[Hashable, Route | None] = field(factory=dict)
    clients: dict[Hashable, tuple[Any, Any]] = field(factory=dict)

    def route(self, chosen: _Choice, key: Any) -> Route | None:
        """Return the route for what DSPy has chosen."""
        same = chosen.engine, *key[:2]
        if same not in self.clients:
            self.clients.setdefault(same, chosen.connect())
        client, model, provider = self.clients[same][0], chosen.request.model, chosen.provider
        if not client.supports.complete:
            return None
        price = partial(estimated_cost, provider=provider, model=model, namespaces=chosen.namespaces)
        return Route(client.complete, chosen.request, provider, price)

    def keep(self, key: Hashable, route: Route | None) -> None:
        if len(self.known) >= _MOST_ROUTES:
            self.known.clear()
        self.known[key] = route

    def close(self) -> None:
        """Close the connections of blocking calls."""
        for _, transport in self.clients.values():
            transport.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        for _, transport in self.clients.values():
            await transport.aclose()


def known_route(lm: Any, options: Mapping[str, Any], loop: Any = None) -> Route | None:
    """Return the route that equal calls of ``lm`` have taken; None if there was none, or if they have no route.

    Args:
        lm: the language model.
        options: its parameters, merged with those of the call.
        loop: the event loop; None for a blocking call.
    """
    routes: _Routes | None = lm._engine_store.get((loop, _STORED)) if _has_routes(lm) else None
    key = None if routes is None else _key(lm, options)
    return None if routes is None or key is None else routes.known.get(key)


def make_route(lm: Any, call: Any) -> Route | None:
    """Return the route for blocking calls like ``call``; None if they go through LiteLLM or must be chosen each time.

    Args:
        lm: the language model.
        call: a call as DSPy has prepared it, with texts as its messages.

    Raises:
        dspy.LMError: no client can take the call, or the credentials are missing.
    """
    key = _key(lm, call.legacy) if _has_routes(lm) else None
    if key is None:
        return None
    routes: _Routes = lm._engine_store.setdefault((None, _STORED), _Routes())
    if key not in routes.known:
        chosen = _Choice.of(lm, call, asynchronous=False)
        routes.keep(key, None if chosen is None else routes.route(chosen, key))
    return routes.known.get(key)


async def amake_route(lm: Any, call: Any) -> Route | None:
    """Async version of ``make_route``. Credentials and price lists are read on a thread."""
    key = _key(lm, call.legacy) if _has_routes(lm) else None
    if key is None:
        return None
    routes: _Routes = lm._engine_store.setdefault((asyncio.get_running_loop(), _STORED), _Routes())
    if key not in routes.known:
        chosen = _Choice.of(lm, call, asynchronous=True)
        routes.keep(key, None if chosen is None else await asyncio.to_thread(routes.route, chosen, key))
    return routes.known.get(key)


def _has_routes(lm: Any) -> bool:
    return isinstance(lm, dspy.LM) and lm._engine_spec in ("auto", "lm15")


def _key(lm: Any, options: Mapping[str, Any]) -> Hashable:
    """Return everything that DSPy's choice depends on; None if that is unknown."""
    names, values, kinds = [], [], []
    for name, value in options.items():
        if name in _NO_PARAMETERS:
            continue
        kind = type(value)
        if kind not in _PLAIN:
            if kind is not dict and kind is not list:
                return None
            try:
                value = json.dumps(value, sort_keys=True)
            except (TypeError, ValueError):
                return None
        names.append(name)
        values.append(value)
        kinds.append(kind)  # True and 1 are equal, and only one of them is a temperature
    return (
        fork_callbacks.generation,
        tuple(map(os.environ.get, _variables(lm.model))),
        lm.model,
        lm.model_type,
        lm._engine_spec,
        tuple(names),
        tuple(values),
        tuple(kinds),
    )


@lru_cache(maxsize=256)
def _variables(model: str) -> tuple[str, ...]:
    """Return the names of the environment variables that decide where the calls of a model go."""
    prefix = model.partition("/")[0].upper()
    own = (f"{prefix}_API_KEY", f"{prefix}_API_BASE", f"{prefix}_BASE_URL")
    return (*own, *_PROXIES, *(name.upper() for name in _PROXIES))


def _proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for ``url``, None for a direct connection."""
    target, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    return None if not proxy or proxy_bypass(target.hostname or "") else proxy
