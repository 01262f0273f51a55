"""The embedded model as a DSPy engine: one request in, one validated response out."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import dspy
from dspy.clients.engines.base import validate_request
from dspy.lm15 import (
    ConfigurationError,
    ContextLengthError,
    Message,
    Request,
    Response,
    ServerError,
    TextPart,
    TimeoutError,
    Usage,
    response_to_events,
)

from hokusai_core.errors import LanguageModelUnavailable, OutputError
from hokusai_core.plugin_api import install_command
from hokusai_local.generation import AnswerGenerator, NoValidAnswer
from hokusai_local.inference_sequence import Interrupted, ServerProblem, TooLong
from hokusai_local.interruption import Interruption
from hokusai_local.options import CONTEXT_VARIABLE, OVERFLOW_VARIABLE, EngineOptions
from hokusai_local.output_request import chat_messages
from hokusai_local.registry import Lease, process_registry
from hokusai_local.request_context import UnusableText
from hokusai_local.server import LlamaServer, ServerSettings
from hokusai_local.weights import Weights, prepare_shipped_weights, weights_at
from hokusai_local.workers import Workers

__all__ = ["DEADLINE_SETTING", "AsyncLlamaEngine", "LlamaEngine"]

#: Key of ``dspy.settings`` under which the caller leaves its deadline, a value of ``time.monotonic()``.
DEADLINE_SETTING = "hokusai_deadline"
# The key under which the executor puts what takes drafts of a text, where they are wanted.
DRAFT_SETTING = "hokusai_draft"


class LlamaEngine:
    """Runs a GGUF model inside this process.

    The model is loaded at the first request, shared with every other engine of the process that has the same options,
    and freed when the last of them is closed. A closed engine loads it again when it is next used. Safe to use from
    many threads; a copy is the same engine, and a pickle holds its options only.

    Args:
        options: how to load and ask the model.

    Example:
        >>> engine = LlamaEngine(EngineOptions(context=2048))
        >>> lm = dspy.LM("local/smollm2", engine=engine, async_engine=AsyncLlamaEngine(engine))  # doctest: +SKIP
    """

    #: Read by the executor: calls cost nothing, so a ceiling on cost lets them pass.
    free = True
    supports_function_calling = False
    supports_reasoning = False
    supports_response_schema = True
    #: Read by the executor: a call that it gives up at its deadline does not run on.
    stops_at_deadline = True
    supported_params = frozenset(
        {
            "frequency_penalty",
            "max_tokens",
            "presence_penalty",
            "response_format",
            "seed",
            "stop",
            "temperature",
            "top_k",
            "top_p",
        }
    )

    #: It hands out drafts of texts while it writes them.
    drafts = True

    def __init__(self, options: EngineOptions | None = None) -> None:
        self.options = options or EngineOptions()
        self._held: tuple[int, Lease] | None = None
        # DSPy repeats one request to get several answers: without a new seed each they would all be the same.
        self._seeds = itertools.count(1)

    def complete(self, request: Request) -> Response:
        """Return the model's answer to ``request``.

        Raises:
            dspy.lm15.ContextLengthError: where the prompt does not fit.
            dspy.lm15.TimeoutError: where the deadline in ``dspy.settings`` passed.
            OutputError: where a text repeats itself in all attempts that it has.
            dspy.lm15.ServerError: where no valid answer came out in the attempts that it has.
            dspy.lm15.UnsupportedFeatureError: where the request holds tools or anything but text.
            dspy.lm15.ConfigurationError: where the model cannot be loaded.
        """
        return self.complete_unless(request, threading.Event())

    def complete_unless(self, request: Request, cancelled: threading.Event) -> Response:
        """Like ``complete``, but stop early once ``cancelled`` is set."""
        validate_request(request)
        interruption = Interruption(dspy.settings.get(DEADLINE_SETTING), cancelled)
        messages = chat_messages(request)
        try:
            lease = self._lease(interruption)
            draft = dspy.settings.get(DRAFT_SETTING)
            generator = AnswerGenerator(lease.server, self.options, interruption, seed=next(self._seeds), draft=draft)
            answer = generator.answer(messages, request)
        except TooLong as error:
            raise ContextLengthError(_too_long(error, self.options)) from error
        except Interrupted as error:
            raise TimeoutError(f"the embedded model was stopped: {error}") from error
        except UnusableText as error:
            # Above temperature 0 the next try draws other words.
            raise OutputError(_unusable(error, request), retryable=bool(request.config.temperature)) from error
        except (NoValidAnswer, ServerProblem) as error:
            raise ServerError(f"the embedded model failed: {error}") from error
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(answer.text)]),
            finish_reason="stop" if answer.complete else "length",
            usage=Usage(
                input_tokens=answer.prompt_tokens,
                output_tokens=answer.output_tokens,
                cache_read_tokens=answer.reused_tokens,
            ),
            provider_data={"attempts": answer.attempts, **answer.details},
            adaptations=answer.adaptations,
        )

    def stream(self, request: Request) -> Iterator[Any]:
        """Yield the answer as events; it is validated first, so that it comes in one piece."""
        return iter(response_to_events(self.complete(request)))

    def count_tokens(self, request: Request) -> int:
        """Return how many tokens the prompt of ``request`` has; the model is loaded where that was not done yet."""
        return self.server().count_tokens(chat_messages(request))

    def close(self) -> None:
        """Give the model back; it is freed unless other engines use it. Calling it twice is harmless."""
        held, self._held = self._held, None
        if held and held[0] == os.getpid():
            held[1].release()

    def weights(self) -> Weights:
        """Return the weights that this engine runs, preparing the shipped ones where that was not done yet.

        Raises:
            LanguageModelUnavailable: where there are none.
        """
        return weights_at(Path(self.options.model)) if self.options.model else prepare_shipped_weights()

    def server(self) -> LlamaServer:
        """Return the loaded model, loading it where that was not done yet."""
        return self._lease(Interruption()).server

    def _lease(self, interruption: Interruption) -> Lease:
        if interruption.reason:
            raise TimeoutError(f"the embedded model was not asked: {interruption.reason}")
        held = self._held
        # In a forked child the lease is the parent's: its threads did not come along.
        if held is None or held[0] != os.getpid():
            # Two threads may both get here. The lease that loses is forgotten, and thereby released.
            try:
                held = self._held = (os.getpid(), self._new_lease())
            except LanguageModelUnavailable as error:
                raise ConfigurationError(str(error)) from error
        return held[1]

    def _new_lease(self) -> Lease:
        weights = self.weights()
        try:
            return process_registry().lease(ServerSettings.of(weights.path, self.options))
        except ImportError as error:
            raise LanguageModelUnavailable(
                f"llama.cpp is not installed: run `{install_command('xllamacpp')}`"
            ) from error
        except RuntimeError as error:
            mend = "replace it" if self.options.model else "delete it to have it prepared again"
            raise LanguageModelUnavailable(
                f"llama.cpp cannot load {str(weights.path)!r} with a context of {self.options.context:,} tokens: the "
                f"file is cut short, damaged or of an unknown architecture ({mend}), or there is too little memory "
                f"(lower {CONTEXT_VARIABLE}, or use a smaller model)"
            ) from error

    # A copy of a program shares its model; a saved or pickled one holds the options and finds the model again.
    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).load_state, (self.dump_state(),))

    def dump_state(self) -> dict[str, Any]:
        """Return the options as JSON-able data."""
        return self.options.to_dict()

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> Self:
        """Return an engine with the options that ``dump_state`` returned."""
        return cls(EngineOptions.build(state))


class AsyncLlamaEngine:
    """The same engine for event loops: requests run in threads of its own, and a cancelled one stops.

    One instance serves any number of event loops.

    Args:
        engine: the engine that does the work.
    """

    #: It hands out drafts of texts while it writes them.
    drafts = True

    def __init__(self, engine: LlamaEngine) -> None:
        self.engine = engine
        self._pool: tuple[int, Workers] | None = None

    async def complete(self, request: Request) -> Response:
        """Return the model's answer to ``request``; see ``LlamaEngine.complete``."""
        cancelled = threading.Event()
        context = contextvars.copy_context()
        work = self._threads().submit(partial(context.run, self.engine.complete_unless, request, cancelled))
        try:
            return cast("Response", await asyncio.wrap_future(work))
        except asyncio.CancelledError:
            # The thread cannot be interrupted; it looks at this after each token and frees the model for others.
            cancelled.set()
            raise

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """Yield the answer as events; see ``LlamaEngine.stream``."""
        for event in response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Give the model back; see ``LlamaEngine.close``."""
        self.close()

    def close(self) -> None:
        """Close from outside an event loop."""
        pool, self._pool = self._pool, None
        if pool and pool[0] == os.getpid():
            pool[1].close()
        self.engine.close()

    def _threads(self) -> Workers:
        pool = self._pool
        # Not the loop's default pool: calls that wait for the model would keep the host's own work from running there.
        if pool is None or pool[0] != os.getpid():
            pool = self._pool = (os.getpid(), Workers(self.engine.options.parallel + 1))
        return pool[1]

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).load_state, (self.dump_state(),))

    def dump_state(self) -> dict[str, Any]:
        """Return the options of the engine as JSON-able data."""
        return self.engine.dump_state()

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> Self:
        """Return an engine with the options that ``dump_state`` returned."""
        return cls(LlamaEngine.load_state(state))


def _unusable(error: UnusableText, request: Request) -> str:
    return (
        f"the text that {request.model} wrote is of no use: {error}. Ask for a shorter text, or name a larger model "
        "(lm=..., --lm, HOKUSAI_LM)"
    )


def _too_long(error: TooLong, options: EngineOptions) -> str:
    about = "about " if error.estimated else ""
    return (
        f"the prompt has {about}{error.asked:,} tokens, and the embedded model takes {error.room:,} beside the answer "
        f"(context {options.context:,}): shorten the longest input, set {OVERFLOW_VARIABLE}=truncate to have its "
        f"middle left out, raise {CONTEXT_VARIABLE}, or use a model with a larger context"
    )
