"""Executor: run signatures by name, with everything that makes a program of them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

from hokusai_core.batch.methods import BatchMethods
from hokusai_core.composition.methods import CompositionMethods
from hokusai_core.errors import ConfigurationError
from hokusai_core.execution.options import ExecutionOptions
from hokusai_core.execution.registration import register_signature
from hokusai_core.execution.services import make_services
from hokusai_core.execution.state import ExecutionState
from hokusai_core.plugins.failures import describe_error
from hokusai_core.runtime.deadline import Deadline
from hokusai_core.settings import ExecutionMode, ExecutorOptions, Settings, SettingValue, parse_setting

if TYPE_CHECKING:
    from hokusai_core.caching.explain import CacheExplanation
    from hokusai_core.events import FeedbackGiven, OptimizationFinished
    from hokusai_core.model import LanguageModel
    from hokusai_core.results import ExecutionResult
    from hokusai_core.signatures import RegisteredSignature

__all__ = ["Executor"]


class Executor(BatchMethods, CompositionMethods):
    """Runs signatures, one execution at a time or many, on any thread or event loop.

    Everything hangs off the executor: plugins, registered signatures, caches, trackers. Two executors in one process
    share nothing. Close it, or use it as a context manager.

    Args:
        settings: settings that the host has made; then no environment variable is read. Left out, an option that is
            not given is read from its environment variable (``HOKUSAI_TIMEOUT``), and without that has its default.
        environ: environment to read in place of that of the process; ``{}`` for none.
        options: see ``ExecutorOptions``; they go before those of ``settings``.

    ``Executor.config`` shows where each value came from.

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
        settings: Settings | None = None,
        /,
        *,
        environ: Mapping[str, str] | None = None,
        **options: Unpack[ExecutorOptions],
    ) -> None:
        if settings is None:
            settings = Settings.from_environment(environ, **options)
        elif not isinstance(settings, Settings):
            raise ConfigurationError(
                f"Executor({settings!r}): expected Settings; options are keywords, such as Executor(lm=...)"
            )
        else:
            settings = settings.with_options(**options)
        #: What the executor's parts share. Internal: use the methods of the executor.
        self.services = make_services(settings.with_defaults(self.defaults), optional=self.optional)
        self.plugins = self.services.plugins
        self.signatures = self.services.signatures
        self.models = self.services.models
        # The idle threads of an executor that is never closed must end with it.
        weakref.finalize(self, self.services.threads.close)
        weakref.finalize(self, self.services.loop.close)

    # -- one execution ------------------------------------------------------------------------------------------

    def execute_signature(
        self, signature_name: Any, inputs: Mapping[str, Any], **options: Unpack[ExecutionOptions]
    ) -> ExecutionResult:
        """Run a signature and wait for its result.

        Args:
            signature_name: name (``"EmailDraft"``, ``"pack/EmailDraft"``), signature class, or file of a saved one.
            inputs: input field or alias -> value.
            options: see ``ExecutionOptions``.

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
        lm = options.pop("lm", None)
        return self.services.execute(signature_name, inputs, lm, self.services.options.read(**options))

    async def aexecute_signature(
        self, signature_name: Any, inputs: Mapping[str, Any], **options: Unpack[ExecutionOptions]
    ) -> ExecutionResult:
        """Async version of ``execute_signature``; cancelling the coroutine cancels the call."""
        lm = options.pop("lm", None)
        return await self.services.aexecute(signature_name, inputs, lm, self.services.options.read(**options))

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
    def config(self) -> Settings:
        """Every setting with its value and source, and where the language model comes from."""
        settings = self.services.settings
        return settings.shown_with(
            mode=SettingValue(self.mode, settings["mode"].source),
            lm=SettingValue(self.models.describe(), self.models.source()),
        )

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
