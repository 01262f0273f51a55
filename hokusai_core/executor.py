"""Executor: run signatures by name, with everything that makes a program of them."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from hokusai_core.batch.methods import BatchMethods
from hokusai_core.composition.methods import CompositionMethods
from hokusai_core.errors import ConfigurationError
from hokusai_core.execution.budget import Budget
from hokusai_core.execution.registration import register_signature
from hokusai_core.execution.services import make_services
from hokusai_core.execution.state import ExecutionState
from hokusai_core.plugins.failures import describe_error
from hokusai_core.runtime.deadline import Deadline
from hokusai_core.settings import UNSET, Config, ExecutionMode, SettingValue, Unset, parse_setting, read_settings

if TYPE_CHECKING:
    from hokusai_core.caching.explain import CacheExplanation
    from hokusai_core.events import FeedbackGiven, OptimizationFinished
    from hokusai_core.execution.state import CacheUse
    from hokusai_core.model import LanguageModel
    from hokusai_core.protocols import Tracker
    from hokusai_core.results import ExecutionResult
    from hokusai_core.signatures import RegisteredSignature

__all__ = ["Executor"]


class Executor(BatchMethods, CompositionMethods):
    """Runs signatures, one execution at a time or many, on any thread or event loop.

    Everything hangs off the executor: plugins, registered signatures, caches, trackers. Two executors in one process
    share nothing. Close it, or use it as a context manager.

    Args:
        lm: language model: a name (``"openai/gpt-5-mini"``, ``"local"``), a ``dspy.LM`` or a ``LanguageModel``. Left
            out, the first that is there: the host's ``dspy.settings.lm``, ``HOKUSAI_LM``, an embedded one.
        adapter: DSPy adapter for every call; left out, the model's own, the host's ``dspy.settings.adapter``, or the
            core's ``FastChatAdapter``.
        cache_enabled: whether answers are stored and served.
        cache: persistent cache behind the memory cache: a component's name, or an object that satisfies ``Cache``.
        cache_ttl: seconds for which a stored answer is served.
        cache_entries: answers that the memory cache holds at most.
        cache_bytes: bytes that the memory cache holds at most.
        namespace: part of every cache key, to keep tenants apart.
        timeout: seconds that bound one execution, retries included; None for no bound.
        max_workers: rows and tasks that run at the same time.
        retry_on_failure: whether failed calls are tried again.
        max_retries: tries after the first, where retries are on.
        requests_per_minute: language-model calls per minute and model.
        tokens_per_minute: tokens per minute and model.
        mode: see ``ExecutionMode``.
        trackers: names of tracker components, or trackers by name.
        plugins: the only plugins that are used.
        disable_plugins: plugins that are not even imported.
        strict_plugins: whether a plugin that fails is an error instead of a warning.
        extra_plugins: plugin modules or objects of the host's own, used beside the installed ones.
        prefer: short name -> ``pack/Name``, where several packs have a signature of that name.
        promotions: whether signatures that were promoted in this namespace stand in for their originals; left out,
            not where the executor is made in testing mode.
        feedback_store: where executions are kept for feedback: a component's name, or an object that satisfies
            ``FeedbackStore``; left out, the one that is installed.

    Every argument but ``lm``, ``adapter`` and ``extra_plugins`` can also be given as an environment variable
    (``HOKUSAI_TIMEOUT``); ``Executor.config`` shows where each value came from.

    Raises:
        ConfigurationError: an argument or variable has a value that cannot be used.

    Example:
        >>> with Executor(mode="testing", plugins=[]) as executor:
        ...     executor.register_signature("Greet", "name -> greeting")
        ...     executor.execute_signature("Greet", {"name": "Ada"})["greeting"]
        'Sample greeting'
    """

    #: Defaults that a subclass changes.
    defaults: Mapping[str, Any] = {}
    #: Names of caches and trackers that a subclass goes on without, after one warning, where they cannot be had.
    optional: frozenset[str] = frozenset()

    def __init__(
        self,
        *,
        lm: Any = None,
        adapter: Any = None,
        cache_enabled: bool | Unset = UNSET,
        cache: Any = UNSET,
        cache_ttl: float | Unset | None = UNSET,
        cache_entries: int | Unset = UNSET,
        cache_bytes: int | Unset = UNSET,
        namespace: str | Unset = UNSET,
        timeout: float | Unset | None = UNSET,
        max_workers: int | Unset = UNSET,
        retry_on_failure: bool | Unset = UNSET,
        max_retries: int | Unset = UNSET,
        requests_per_minute: float | Unset | None = UNSET,
        tokens_per_minute: float | Unset | None = UNSET,
        mode: ExecutionMode | str | Unset = UNSET,
        trackers: Sequence[str] | Mapping[str, Tracker] | Unset = UNSET,
        plugins: Sequence[str] | Unset | None = UNSET,
        disable_plugins: Sequence[str] | Unset = UNSET,
        strict_plugins: bool | Unset = UNSET,
        extra_plugins: Iterable[object] = (),
        prefer: Mapping[str, str] | Unset = UNSET,
        promotions: bool | Unset = UNSET,
        feedback_store: Any = UNSET,
    ) -> None:
        given_trackers = dict(trackers) if isinstance(trackers, Mapping) else None
        for name, tracker in (given_trackers or {}).items():
            if not callable(getattr(tracker, "record", None)):
                raise ConfigurationError(
                    f"trackers[{name!r}]: {type(tracker).__name__} is no Tracker: it has no record()"
                )
        arguments = {
            "cache_enabled": cache_enabled,
            "cache": cache,
            "cache_ttl": cache_ttl,
            "cache_entries": cache_entries,
            "cache_bytes": cache_bytes,
            "namespace": namespace,
            "timeout": timeout,
            "max_workers": max_workers,
            "retry_on_failure": retry_on_failure,
            "max_retries": max_retries,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "mode": mode,
            "trackers": trackers if given_trackers is None else tuple(given_trackers),
            "plugins": plugins,
            "disable_plugins": disable_plugins,
            "strict_plugins": strict_plugins,
            "prefer": prefer,
            "promotions": promotions,
            "feedback_store": feedback_store,
        }
        config = read_settings(arguments, defaults=self.defaults)
        #: What the executor's parts share. Internal: use the methods of the executor.
        self.services = make_services(
            config,
            lm=lm,
            adapter=adapter,
            trackers=given_trackers,
            extra_plugins=extra_plugins,
            optional=self.optional,
            environ=os.environ,
        )
        self.plugins = self.services.plugins
        self.signatures = self.services.signatures
        self.models = self.services.models
        # The idle threads of an executor that is never closed must end with it.
        weakref.finalize(self, self.services.threads.close)
        weakref.finalize(self, self.services.loop.close)

    # -- one execution ------------------------------------------------------------------------------------------

    def execute_signature(
        self,
        signature_name: Any,
        inputs: Mapping[str, Any],
        *,
        lm: Any = None,
        cache: CacheUse = "use",
        cache_ttl: float | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        retry_on_failure: bool | Unset = UNSET,
        max_retries: int | Unset = UNSET,
        collect_feedback: bool = False,
        tags: Mapping[str, str] | None = None,
        budget: Budget | None = None,
    ) -> ExecutionResult:
        """Run a signature and wait for its result.

        Args:
            signature_name: name (``"EmailDraft"``, ``"pack/EmailDraft"``), or a signature class.
            inputs: input field or alias -> value.
            lm: language model of this call, in place of the executor's.
            cache: ``"use"``; ``"refresh"`` to call and store the new answer; ``"off"``.
            cache_ttl: seconds for which the answer is served; left out, the signature's, else the executor's.
            timeout: seconds for the whole execution, retries included; None for no bound; left out, the executor's.
            retry_on_failure: whether a failed call is tried again; left out, the executor's.
            max_retries: tries after the first; giving it does not turn retries on.
            collect_feedback: keep this execution so that ``FeedbackCollector`` can take feedback on it.
            tags: free tags for trackers.
            budget: what the calls are charged to.

        Returns:
            The outputs as a mapping, and how they came about.

        Raises:
            SignatureNotFoundError: no such signature; names similar ones.
            InputError: the inputs do not fit; carries every problem, and nothing was called.
            LanguageModelUnavailable: there is no language model to call.
            DeadlineExceeded: the timeout passed; also a ``TimeoutError``.
            OutputError: the answer does not fit the signature.
            LanguageModelError: the language model failed.
            BudgetExceeded: the budget is spent.
            ClosedError: the executor was closed.
        """
        options = self.services.options.read(
            cache=cache,
            cache_ttl=cache_ttl,
            timeout=timeout,
            retry_on_failure=retry_on_failure,
            max_retries=max_retries,
            collect_feedback=collect_feedback,
            tags=tags,
            budget=budget,
        )
        return self.services.execute(signature_name, inputs, lm, options)

    async def aexecute_signature(
        self,
        signature_name: Any,
        inputs: Mapping[str, Any],
        *,
        lm: Any = None,
        cache: CacheUse = "use",
        cache_ttl: float | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        retry_on_failure: bool | Unset = UNSET,
        max_retries: int | Unset = UNSET,
        collect_feedback: bool = False,
        tags: Mapping[str, str] | None = None,
        budget: Budget | None = None,
    ) -> ExecutionResult:
        """Do as ``execute_signature`` on the running event loop; cancelling the coroutine cancels the call."""
        options = self.services.options.read(
            cache=cache,
            cache_ttl=cache_ttl,
            timeout=timeout,
            retry_on_failure=retry_on_failure,
            max_retries=max_retries,
            collect_feedback=collect_feedback,
            tags=tags,
            budget=budget,
        )
        return await self.services.aexecute(signature_name, inputs, lm, options)

    def check_inputs(self, signature_name: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Make every check on ``inputs`` that an execution makes before it calls a language model.

        Returns:
            The inputs as they would be used: by field name, converted, defaults filled in.

        Raises:
            SignatureNotFoundError: no such signature.
            InputError: the inputs do not fit; carries every problem.
        """
        services = self.services
        services.check_open()
        state = ExecutionState(services.plans.testing_plan(signature_name), services.options.default, Deadline())
        return services.pipeline.bind(state, inputs)

    def explain(self, signature_name: Any, inputs: Mapping[str, Any], *, lm: Any = None) -> CacheExplanation:
        """Tell what the cache would do with an execution: which key, hit or miss, and what a miss differs in.

        Args:
            signature_name: name or signature class.
            inputs: input field or alias -> value.
            lm: language model of this call, in place of the executor's; it is not called.

        Raises:
            SignatureNotFoundError: no such signature.
            InputError: the inputs do not fit; carries every problem.
            LanguageModelUnavailable: there is no language model, which is part of the key.
        """
        services = self.services
        services.check_open()
        state = ExecutionState(services.plan(signature_name, lm), services.options.default, Deadline())
        services.pipeline.bind(state, inputs)
        return services.pipeline.explain(state)

    # -- signatures ---------------------------------------------------------------------------------------------

    def register_signature(self, name: str, x: Any, replace: bool = False, *, signature: Any = None) -> None:
        """Make a signature of the host's own available under ``name``.

        Args:
            name: how it is called; ``local/NAME`` always works too.
            x: a ``BaseSignature`` class, a ``dspy.Signature`` class, a text such as ``"question -> answer: float"``, a
                ``dspy.Module`` instance, an optimized signature, the path of a file with a saved one, or an address
                that a plugin reads, such as ``"models:/EmailDraft@champion"``.
            replace: whether it may replace what has that name.
            signature: inputs and outputs of a ``dspy.Module`` that does not tell them itself.

        Raises:
            SignatureExistsError: the name is taken and ``replace`` is False.
            SignatureDefinitionError: the signature cannot be run; says why.
        """
        services = self.services
        services.check_open()
        register_signature(
            name,
            x,
            replace=replace,
            signature=signature,
            registry=services.signatures,
            plugins=services.plugins,
        )

    def signature(self, signature_name: Any) -> RegisteredSignature:
        """Return the signature that a name means, as data, with its owner and its qualified name.

        Args:
            signature_name: name, signature class, or file of an optimized signature.

        Raises:
            SignatureNotFoundError: no such signature; names similar ones.
        """
        self.services.check_open()
        return self.services.plans.testing_plan(signature_name).registered

    def list_signatures(self) -> list[str]:
        """Return the names of all signatures, sorted; qualified if a short name is not unique."""
        self.services.check_open()
        return list(self.services.signatures.names())

    # -- state --------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """Every setting with its value and source, and where the language model comes from."""
        values = dict(self.services.config.items())
        values["mode"] = SettingValue(self.mode, values["mode"].source)
        values["lm"] = SettingValue(self.models.describe(), self.models.source())
        return Config(values)

    @property
    def mode(self) -> ExecutionMode:
        """The mode; see ``ExecutionMode``."""
        return self.services.state.mode

    def set_mode(self, mode: ExecutionMode | str) -> None:
        """Change the mode; executions under way finish in theirs.

        Raises:
            ConfigurationError: no such mode.
        """
        self.services.state.mode = parse_setting("mode", mode)

    def stats(self) -> dict[str, Any]:
        """Return figures since the executor was made, as a JSON-able dict."""
        services = self.services
        return {
            **services.stats.snapshot(),
            "cache": None if services.cache is None else services.cache.stats(),
            "trackers": services.observers.statuses(),
            "tracker_failures": dict(services.observers.failures),
            "feedback": services.feedback.stats(),
        }

    def language_model(self, lm: Any = None) -> LanguageModel:
        """Return the language model that a call would use, and the adapter that would go with it.

        Args:
            lm: as for ``execute_signature``.

        Raises:
            LanguageModelUnavailable: there is none, or the one asked for cannot be had.
        """
        self.services.check_open()
        return self.services.plans.model(lm)

    def feedback_given(self, event: FeedbackGiven) -> None:
        """Tell trackers and ``on_feedback_given`` hooks that somebody rated an execution."""
        self.services.check_open()
        self.services.observers.feedback(event)

    def optimization_finished(self, event: OptimizationFinished) -> None:
        """Tell trackers and ``on_optimization_finished`` hooks that an optimization is over.

        What it came to was paid for, so a closed executor tells those that still listen, instead of raising.
        """
        self.services.observers.optimization(event)

    def flush(self, timeout: float | None = None) -> bool:
        """Deliver what trackers have accepted.

        Args:
            timeout: seconds to wait at most over all trackers, None for as long as it takes.

        Returns:
            Whether everything was delivered.
        """
        end = Deadline.after(timeout)
        return all(delivered for _, delivered in self.services.observers.flush_each(end.remaining))

    def close(self) -> None:
        """Flush and close trackers, caches and language models; calling it twice is harmless.

        Every part is closed, whatever the others raise.

        Raises:
            ExceptionGroup: of every error, each with a note that names the part.
        """
        self.services.close()

    async def aclose(self) -> None:
        """Async version of ``close``: it runs on a thread, so that the event loop goes on."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            self.close()
        except Exception as failure:
            _keep_first(error, failure)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            await self.aclose()
        except Exception as failure:
            _keep_first(error, failure)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} mode={self.mode.value} closed={self.services.state.closed}>"


def _keep_first(error: BaseException | None, failure: Exception) -> None:
    """Raise what closing failed with, unless the ``with`` block itself failed: its error comes first."""
    if error is None:
        raise failure
    errors = failure.exceptions if isinstance(failure, ExceptionGroup) else (failure,)
    for closing in errors:
        notes = "; ".join(getattr(closing, "__notes__", ()))
        error.add_note(f"closing the executor failed too: {describe_error(closing)} {notes}".rstrip())
