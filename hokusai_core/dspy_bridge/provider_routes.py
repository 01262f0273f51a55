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
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import dspy
from attrs import define, evolve, field, frozen
from dspy.clients.engines.base import validate_request
from dspy.clients.engines.lm15_engine import AsyncLM15Engine, LM15Engine
from dspy.clients.errors import error_boundary
from dspy.clients.execution import _engine as choose_engine
from dspy.lm15 import AsyncLMRouter, CacheConfig, LMRouter, Message, Request, Response, TextPart, _binding_for

from hokusai_core.dspy_bridge.http_transports import AsyncTransport, DeadlineTransport
from hokusai_core.dspy_bridge.model_prices import estimated_cost
from hokusai_core.process import fork_callbacks

__all__ = ["Route", "aprovider_request", "known_route", "provider_request", "texts_of"]

#: Name under which the store of a language model holds its routes.
_STORED = "hokusai"
#: The batch or the host bounds how many calls are in flight. A lower bound here would make them wait for each other.
_MOST_CONNECTIONS = 65_536
#: Routes that are kept for one language model. Each combination of parameters needs one.
_MOST_ROUTES = 256
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PLAIN = (str, int, float, bool, type(None), CacheConfig)
_NO_PARAMETERS = frozenset({"messages", "model", "rollout_id"})


#: A system text and the turns of a conversation.
_Texts = tuple[str | None, tuple[Message, ...]]


@frozen(eq=False)
class Route:
    """How calls with the same parameters reach their provider.

    Args:
        client: DSPy's client for the provider; its ``complete`` is to be awaited on an event loop.
        template: a request; the messages of each call take the place of its own.
        provider: DSPy's name of the provider.
        price: returns the cost of an answer, and how it was worked out.
    """

    client: Any
    template: Request
    provider: str
    price: Callable[[Response, Request], tuple[float | None, dict[str, Any]]]

    def without_texts(self) -> Route:
        """Return this route with nothing of what was asked."""
        return evolve(self, template=replace(self.template, system=None, messages=(Message.user("-"),)))


@frozen(eq=False)
class _Choice:
    """The engine that DSPy chooses for a call, which is one of its own client.

    Args:
        engine: the engine.
        request: the request that DSPy would have it send.
        provider: DSPy's name of the provider.
        namespaces: where prices of a provider stand that the host has declared, None for any other.
        place: the process and the environment.
    """

    engine: Any
    request: Request
    provider: str
    namespaces: tuple[str, ...] | None
    place: Hashable

    @classmethod
    def of(cls, lm: Any, call: Any, *, asynchronous: bool) -> _Choice | None:
        engine, request, provider = choose_engine(lm, call, asynchronous)
        if not isinstance(engine, (LM15Engine, AsyncLM15Engine)) or request is None:
            return None
        with error_boundary(lm.model, provider=provider, unexpected=True):
            validate_request(request)
        resolution = engine.resolve(lm.model)
        binding = _binding_for(lm._providers, provider) if resolution.declared else None
        namespaces = None if binding is None else binding.metadata_namespaces
        return cls(engine, replace(request, model=resolution.model), provider, namespaces, _place(lm.model))

    def connect(self) -> tuple[Any, Any]:
        """Return a client for the provider and its transport."""
        name = f"{self.provider}:{self.request.model}"
        blocking = isinstance(self.engine, LM15Engine)
        router, transports = (LMRouter, DeadlineTransport) if blocking else (AsyncLMRouter, AsyncTransport)
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

    def route(self, chosen: _Choice) -> Route | None:
        """Return the route for what DSPy has chosen."""
        same = chosen.engine, chosen.place
        if same not in self.clients:
            self.clients.setdefault(same, chosen.connect())
        client, model, provider = self.clients[same][0], chosen.request.model, chosen.provider
        if not client.supports.complete:
            return None
        price = partial(estimated_cost, provider=provider, model=model, namespaces=chosen.namespaces)
        return Route(client, chosen.request, provider, price)

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


def provider_request(lm: Any, call: Any) -> tuple[Route, Request] | None:
    """Return the route of a blocking call and the request that it sends; None if the call goes through LiteLLM.

    Args:
        lm: the language model.
        call: a call as DSPy has prepared it.

    Raises:
        dspy.LMError: no client can take the call, or the credentials are missing.
    """
    wanted = _Wanted.of(lm, call, None)
    if wanted is None or wanted.known:
        return None if wanted is None else wanted.request()
    chosen = _Choice.of(lm, call, asynchronous=False)
    return wanted.take(None if chosen is None else wanted.routes.route(chosen))


async def aprovider_request(lm: Any, call: Any) -> tuple[Route, Request] | None:
    """Async version of ``provider_request``. Credentials and price lists are read on a thread."""
    wanted = _Wanted.of(lm, call, asyncio.get_running_loop())
    if wanted is None or wanted.known:
        return None if wanted is None else wanted.request()
    chosen = _Choice.of(lm, call, asynchronous=True)
    return wanted.take(None if chosen is None else await asyncio.to_thread(wanted.routes.route, chosen))


@frozen(eq=False)
class _Wanted:
    """What is looked for: the route of one call.

    Args:
        routes: where it is kept.
        key: its key; None if it cannot be kept.
        texts: the messages of the call; None if they are no texts, so that DSPy chooses anew.
    """

    routes: _Routes
    key: Hashable
    texts: _Texts | None

    @classmethod
    def of(cls, lm: Any, call: Any, loop: Any) -> _Wanted | None:
        if not _has_routes(lm):
            return None
        routes = lm._engine_store.setdefault((loop, _STORED), _Routes())
        return cls(routes, _key(lm, call.legacy), texts_of(call.legacy["messages"]))

    @property
    def known(self) -> bool:
        return self.key is not None and self.texts is not None and self.key in self.routes.known

    def request(self) -> tuple[Route, Request] | None:
        route = self.routes.known.get(self.key)
        if route is None or self.texts is None:
            return None
        return route, replace(route.template, system=self.texts[0], messages=self.texts[1])

    def take(self, route: Route | None) -> tuple[Route, Request] | None:
        if self.key is not None and self.texts is not None:
            self.routes.keep(self.key, None if route is None else route.without_texts())
        return None if route is None else (route, route.template)


def texts_of(messages: Sequence[Mapping[str, Any]]) -> _Texts | None:
    """Return the system text and the turns of messages that are texts; None for any others."""
    system, turns = None, messages
    if messages and messages[0].get("role") == "system":
        system, turns = messages[0].get("content"), messages[1:]
        if type(system) is not str or not system or len(messages[0]) != 2:
            return None
    made = []
    for turn in turns:
        content, role = turn.get("content"), turn.get("role")
        if type(content) is not str or not content or len(turn) != 2 or role not in ("user", "assistant"):
            return None
        made.append(Message(role=role, parts=(TextPart(content),)))
    return (system, tuple(made)) if made else None


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
            if kind is not dict and kind is not list and not hasattr(value, "model_json_schema"):
                return None
            try:
                value = json.dumps(value, sort_keys=True) if kind in (dict, list) else _schema_text(value)
            except (TypeError, ValueError):
                return None
        names.append(name)
        values.append(value)
        kinds.append(kind)  # True and 1 are equal, and only one of them is a temperature
    return (
        _place(lm.model),
        lm.model,
        lm.model_type,
        lm._engine_spec,
        tuple(names),
        tuple(values),
        tuple(kinds),
    )


_schemas: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def _schema_text(model: Any) -> str:
    """Return what a response format says that is a class of pydantic."""
    text = _schemas.get(model)
    if text is None:
        text = _schemas[model] = json.dumps([model.__name__, model.model_json_schema()], sort_keys=True)
    return text


def _place(model: str) -> Hashable:
    """Return what tells this process from others, and this environment from what it was before."""
    return fork_callbacks.generation, tuple(map(os.environ.get, _variables(model)))


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
