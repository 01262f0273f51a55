"""Requests for batch services: the one request of an attempt, the client that submits it, and the answer's figures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from attrs import define
from dspy.clients.backend_selection import CLIENT_KEYS
from dspy.lm15 import LMRouter, Request, Response, RouterConfig

from hokusai_core.call_records import CallEstimate, CallRecord, Recorder
from hokusai_core.dspy_bridge.replay_lm import ReplayLM
from hokusai_core.errors import ConfigurationError
from hokusai_core.price_table import PriceTable

__all__ = ["EstimatingLM", "MeteredReplayLM", "batch_client", "for_service"]

#: The provider whose batch service is known, by the prefix of its models.
_PROVIDER: Final = "openai"
_TAKEN: Final = frozenset({"api_key", "api_base", "base_url", "timeout"})


@define(eq=False)
class _EstimateKeeper:
    """A gate that keeps the estimate of a call, and lets it through."""

    estimate: CallEstimate | None = None

    def before(self, estimate: CallEstimate) -> None:
        self.estimate = estimate

    async def abefore(self, estimate: CallEstimate) -> None:
        self.estimate = estimate

    def reserve(self, estimate: CallEstimate) -> None:
        self.estimate = estimate

    def charge(self, call: CallRecord) -> None: ...


class EstimatingLM(ReplayLM):
    """Raises ``RequestReady`` with the request, and keeps the estimate of its cost."""

    def __init__(self, lm: Any, parameters: Mapping[str, Any], prices: PriceTable | None) -> None:
        super().__init__(lm, parameters=parameters)
        self._keeper = _EstimateKeeper()
        self._gate, self._prices = self._keeper, prices

    @property
    def estimate(self) -> CallEstimate:
        """What is known of the call."""
        assert self._keeper.estimate is not None  # noqa: S101  # the gate is asked before the request is made
        return self._keeper.estimate


class MeteredReplayLM(ReplayLM):
    """Answers with a given response, and records it as the call that it was."""

    def __init__(self, lm: Any, response: Response, recorder: Recorder, prices: PriceTable | None) -> None:
        super().__init__(lm, response)
        self._recorder, self._prices = recorder, prices


def batch_client(lm: Any) -> Any:
    """Return the client of ``dspy.lm15`` for the batch service of a model's provider.

    Batch services take requests of the Responses API, also of models that are otherwise asked for chat completions.

    Args:
        lm: the language model.

    Raises:
        ConfigurationError: the model is not reached by such a client; says why.
    """
    prefix, _, name = lm.model.partition("/")
    if prefix != _PROVIDER or not name or not isinstance(getattr(lm, "_engine_spec", None), str):
        raise ConfigurationError(
            f"{lm.model} has no batch service that is known; choose a model 'openai/...', with api_base=... for "
            "another server of the same service"
        )
    other = sorted((CLIENT_KEYS & lm.kwargs.keys()) - _TAKEN)
    if other:
        raise ConfigurationError(f"{lm.model}: {', '.join(other)}: settings that no call of a batch service takes")
    base = lm.kwargs.get("api_base") or lm.kwargs.get("base_url")
    base = base or os.environ.get("OPENAI_API_BASE") or os.environ.get("OPENAI_BASE_URL")
    options: dict[str, Any] = {}
    if lm.kwargs.get("api_key"):
        options["api_keys"] = {_PROVIDER: lm.kwargs["api_key"]}
    if base:
        options["base_urls"] = {_PROVIDER: base}
    return LMRouter(RouterConfig(**options)).lm(f"{_PROVIDER}:{name}")


def for_service(request: Request) -> Request:
    """Return a request with the name of the model as the provider knows it."""
    return replace(request, model=request.model.removeprefix(f"{_PROVIDER}/"))
