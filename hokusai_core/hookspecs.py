"""The hooks that a plugin module may implement, in three groups.

``provide_*``: the core collects what plugins provide.
    Called once for an executor, when something of that kind is first needed, on the thread that needs it and under a
    lock. A hook that raises loses all that it provides; a bad item is left out alone. Either is recorded as a failure
    of the plugin, with cause and fix, and warned about once. Every other hook and plugin goes on. The target of a
    component is imported when the component is first used. A target that fails, or that makes an object without a
    method of its protocol, is a ``PluginLoadError`` that names plugin and method.

``on_*``: the core says what happened.
    Called on the thread of the execution, or on its event loop: return quickly. Results are ignored. An error is
    counted as a failure of the plugin and warned about once; the execution goes on. After ten failures in a row the
    hook of that plugin is no longer called.

``check_*``: the core asks for consent.
    Called on the thread of the execution, or on its event loop. A hook that raises stops the operation: its error
    reaches the caller, with a note that names the plugin, and the remaining plugins are not asked.

For every hook:
    An implementation takes any subset of the arguments, by name; later versions may add arguments. Plugins are called
    one at a time in the order of ``PluginManager.records``: those given in process first, then the installed ones by
    distribution and name. ``tryfirst`` and ``trylast`` change nothing and hook wrappers are refused, so that no plugin
    can change what another one says. Hooks exist since version 1 of the hook contract (``HOOK_API``), unless they say
    otherwise. A plugin that needs a newer version sets ``HOKUSAI_HOOK_API`` in its module.

The bodies raise ``NotImplementedError``, since pluggy calls implementations and never a specification. The examples are
plugin modules; a test loads each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.markers import hookspec

if TYPE_CHECKING:
    from hokusai_core.base_signature import BaseSignature
    from hokusai_core.components import Component
    from hokusai_core.events import (
        EvaluationFinished,
        ExecutionFinished,
        ExecutionStarted,
        FeedbackGiven,
        OptimizationFinished,
    )
    from hokusai_core.signatures import SignatureSpec

__all__ = ["COMPONENT_HOOKS", "HokusaiSpecs"]

#: Kind of component -> the hook that provides it.
COMPONENT_HOOKS: dict[str, str] = {
    "language_model": "provide_language_models",
    "cache": "provide_caches",
    "tracker": "provide_trackers",
    "validator": "provide_validators",
    "optimizer": "provide_optimizers",
    "metric": "provide_metrics",
    "feedback_store": "provide_feedback_stores",
    "backend": "provide_backends",
    "signature_source": "provide_signature_sources",
    "edition_source": "provide_edition_sources",
    "command": "provide_commands",
    "strategy": "provide_strategies",
    "tool": "provide_tools",
}


class HokusaiSpecs:
    """Specifications of every hook.

    A plugin is a module with functions, or an object with methods, that ``hookimpl`` marks. A plugin object may
    subclass this class; a type checker then compares its methods with the specifications.
    """

    @hookspec
    def provide_signatures(self) -> Iterable[type[BaseSignature]]:
        """Provide signatures; together they are the plugin's pack.

        Returns:
            Signature classes, as a list or by ``yield``. Their qualified names are ``plugin/Name``.

        Used: when an executor first lists or resolves signatures.

        Example::

            from hokusai_core import BaseSignature, InputField, OutputField, hookimpl

            class Greet(BaseSignature):
                name: str = InputField("Whom to greet")
                greeting: str = OutputField("One line")

            @hookimpl
            def provide_signatures():
                return [Greet]
        """
        raise NotImplementedError  # a specification is never called; pluggy reads its name and arguments

    @hookspec
    def provide_language_models(self) -> Iterable[Component]:
        """Provide language-model providers, which make models from names such as ``local``.

        Returns:
            ``Component`` records. The target makes a ``LanguageModelProvider`` and takes no arguments. A
            component with the capability ``embedded`` needs no key and no network; such a provider is used if
            no other model is configured.

        Used: when an execution names a provider (``lm="local"``), or no other model is configured.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_language_models():
                return [Component(name="acme", target="acme_models.provider:AcmeProvider",
                                  summary="Models of Acme")]
        """
        raise NotImplementedError

    @hookspec
    def provide_caches(self) -> Iterable[Component]:
        """Provide persistent caches, the tier behind the memory cache.

        Returns:
            ``Component`` records. The target makes a ``Cache`` from keyword options, each with a default.

        Used: when an executor is made whose setting ``cache`` is a name.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_caches():
                return [Component(name="redis", target="acme_redis.cache:RedisCache",
                                  summary="Answers in Redis")]
        """
        raise NotImplementedError

    @hookspec
    def provide_trackers(self) -> Iterable[Component]:
        """Provide trackers, which record executions.

        Returns:
            ``Component`` records. The target makes a ``Tracker`` from keyword options, each with a default.

        Used: when an executor is made whose setting ``trackers`` has names.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_trackers():
                return [Component(name="jsonl", target="acme_jsonl.tracker:JsonlTracker",
                                  summary="JSON lines")]
        """
        raise NotImplementedError

    @hookspec
    def provide_validators(self) -> Iterable[Component]:
        """Provide validators, which check inputs before a call and outputs after it.

        Returns:
            ``Component`` records. The target makes a ``Validator`` and takes no arguments. All validators of
            all plugins run.

        Used: at the first execution of an executor.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_validators():
                return [Component(name="no-secrets", target="acme_checks.secrets:NoSecrets",
                                  summary="Refuses passwords")]
        """
        raise NotImplementedError

    @hookspec
    def provide_optimizers(self) -> Iterable[Component]:
        """Provide optimizers, which search for better instructions and demos.

        Returns:
            ``Component`` records. The target makes an ``Optimizer`` from keyword options, each with a default.

        Used: when ``TelepromptFineTuner.compile`` chooses or names an optimizer.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_optimizers():
                return [Component(name="politely", target="acme_search.politely:Politely",
                                  summary="Asks politely")]
        """
        raise NotImplementedError

    @hookspec
    def provide_metrics(self) -> Iterable[Component]:
        """Provide metrics, which score outputs against examples.

        Returns:
            ``Component`` records. The target makes a ``Metric`` from keyword options, each with a default.

        Used: when a metric is named.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_metrics():
                return [Component(name="same_start", target="acme_metrics.start:SameStart",
                                  summary="First letters agree")]
        """
        raise NotImplementedError

    @hookspec
    def provide_feedback_stores(self) -> Iterable[Component]:
        """Provide feedback stores, which keep executions and the feedback on them.

        Returns:
            ``Component`` records. The target makes a ``FeedbackStore`` from keyword options, each with a
            default.

        Used: at the first execution with ``collect_feedback=True``.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_feedback_stores():
                return [Component(name="postgres", target="acme_feedback.store:PostgresStore",
                                  summary="Feedback in PostgreSQL")]
        """
        raise NotImplementedError

    @hookspec
    def provide_backends(self) -> Iterable[Component]:
        """Provide batch backends, which run the rows of a batch elsewhere.

        Returns:
            ``Component`` records. The target makes a ``Backend`` from keyword options, each with a default.

        Used: when ``execute_batch`` is given ``backend="name"``.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_backends():
                return [Component(name="ray", target="acme_ray.backend:RayBackend",
                                  summary="Rows on a Ray cluster")]
        """
        raise NotImplementedError

    @hookspec
    def provide_signature_sources(self) -> Iterable[Component]:
        """Provide signature sources, which load signatures by address.

        Returns:
            ``Component`` records. The name of the component is the scheme of its addresses: ``models`` for
            ``models:/EmailDraft@champion``. The target takes the address as ``uri`` and returns a signature as
            ``BaseSignature.to_dict`` writes it.

        Used: when ``register_signature`` is given an address.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_signature_sources():
                return [Component(name="models", target="acme_registry.source:read_signature",
                                  summary="A model registry")]
        """
        raise NotImplementedError

    @hookspec
    def provide_edition_sources(self) -> Iterable[Component]:
        """Provide edition sources, which find the signature that replaces another one, such as an optimized one.

        Targets make an ``EditionSource`` and take no arguments.

        When: the hook is called when an executor first lists, resolves or registers a signature. The source is made
        then, and asked once for each signature of each executor; ``SignatureRegistry.refresh`` asks it again.
        Threads: a source is made and asked under a lock, by one thread at a time.
        Order: none. Where two sources have an edition of one signature, that signature cannot be used until one of
        the two plugins is disabled; neither wins silently.
        Errors: a source that cannot be made is left out with a warning. A ``HokusaiError`` that it raises concerns
        the one signature: a warning says why, and the original is used. Any other error means that the source is
        broken: it is warned about and not asked again.
        Cost: listings ask for every installed signature, so keep imports small and answer from a file or from memory.
        Since: hook API 1.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_edition_sources():
                target = "hokusai_teleprompt.promotion_source:PromotionSource"
                return [Component(name="promotions", target=target, summary="Signatures that were promoted")]
        """
        raise NotImplementedError

    @hookspec
    def provide_commands(self) -> Iterable[Component]:
        """Provide subcommands of the command ``hokusai``.

        Returns:
            ``Component`` records. The target is a ``click.Command``, or names one; it is not called when the
            command is found. The name of the component is the name of the subcommand.

        Used: when ``hokusai`` lists or runs subcommands.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_commands():
                return [Component(name="cache", target="acme_cache.commands:cache",
                                  summary="Shows and clears the cache")]
        """
        raise NotImplementedError

    @hookspec
    def provide_strategies(self) -> Iterable[Component]:
        """Provide strategies, which are ways to answer a signature.

        Returns:
            ``Component`` records. The target makes a ``Strategy`` from keyword options.

        Used: when a signature that declares a strategy is found, or a call names one.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_strategies():
                return [Component(name="debate", target="acme_debate.strategy:Debate",
                                  summary="Two answers argue, a third one judges")]
        """
        raise NotImplementedError

    @hookspec
    def provide_tools(self) -> Iterable[Component]:
        """Provide tools, which strategies let a language model call.

        Returns:
            ``Component`` records. The target makes a ``Tool`` and takes no arguments. The name of the component is the
            name that the language model calls it by: letters, digits and ``_``.

        Used: when a strategy names them in its option ``tools``.

        Example::

            from hokusai_core.plugin_api import Component, hookimpl

            @hookimpl
            def provide_tools():
                return [Component(name="search", target="acme_search.tool:SearchTool",
                                  summary="Searches the handbook")]
        """
        raise NotImplementedError

    @hookspec
    def on_execution_started(self, event: ExecutionStarted) -> None:
        """Called when an execution has passed input validation.

        The persistent cache and the language model come next. An answer from the memory cache has no start.

        Args:
            event: signature and inputs, sensitive values redacted.

        Example::

            from hokusai_core.plugin_api import hookimpl

            @hookimpl
            def on_execution_started(event):
                print("started", event.signature)
        """
        raise NotImplementedError

    @hookspec
    def on_execution_finished(self, event: ExecutionFinished) -> None:
        """Called when an execution has succeeded, from a cache or a language model.

        Args:
            event: outputs, usage, cost and timings, sensitive values redacted; ``event.status`` is ``ok``.

        Example::

            from hokusai_core.plugin_api import hookimpl

            @hookimpl
            def on_execution_finished(event):
                print(event.signature, event.usage.total_tokens)
        """
        raise NotImplementedError

    @hookspec
    def on_execution_failed(self, event: ExecutionFinished) -> None:
        """Called when an execution has failed after it had started.

        Args:
            event: error, attempts and timings; ``event.status`` is not ``ok``.

        Example::

            from hokusai_core.plugin_api import hookimpl

            @hookimpl
            def on_execution_failed(event):
                print(event.signature, event.error_type)
        """
        raise NotImplementedError

    @hookspec
    def on_feedback_given(self, event: FeedbackGiven) -> None:
        """Called when a person or program has rated an execution.

        Args:
            event: the rating, and the id of the execution.

        Example::

            from hokusai_core.plugin_api import hookimpl

            @hookimpl
            def on_feedback_given(event):
                print(event.execution_id, event.rating)
        """
        raise NotImplementedError

    @hookspec
    def on_optimization_finished(self, event: OptimizationFinished) -> None:
        """Called when an optimization is over, whether or not it found something better.

        Args:
            event: scores, costs and the result.

        Example::

            from hokusai_core.plugin_api import hookimpl

            @hookimpl
            def on_optimization_finished(event):
                print(event.signature, event.promoted)
        """
        raise NotImplementedError

    @hookspec
    def on_evaluation_finished(self, event: EvaluationFinished) -> None:
        """Called when an evaluation is over.

        Args:
            event: scores, costs, and the first rows.

        Example::

            from hokusai_core.plugin_api import hookimpl

            @hookimpl
            def on_evaluation_finished(event):
                print(event.target, event.figures["systems"][0]["scores"])
        """
        raise NotImplementedError

    @hookspec
    def transform_outputs(
        self, signature: SignatureSpec, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Change the outputs of an execution, such as to redact or normalise them.

        Args:
            signature: the signature as data.
            inputs: a copy of the inputs, by field name.
            outputs: a copy of the outputs in their types, as the plugin before left them.

        Returns:
            All outputs, changed; None to leave them as they are. They are read by the table of types and checked
            against the constraints again. What does not fit is a ``PluginError``.

        Used: after a language model has answered and the answer fits, before validators, caches and trackers see it;
        on the thread of the execution or on its event loop, so return quickly. Plugins are asked in the order in which
        they were loaded. Stored answers are not changed again: which plugins change outputs is part of the cache key.

        Example::

            from hokusai_core.plugin_api import hookimpl

            @hookimpl
            def transform_outputs(signature, outputs):
                if "summary" in outputs:
                    return {**outputs, "summary": outputs["summary"].strip()}
        """
        raise NotImplementedError

    @hookspec
    def check_execution(self, signature: SignatureSpec, inputs: Mapping[str, Any]) -> None:
        """Raise to refuse an execution.

        Args:
            signature: the signature as data.
            inputs: the inputs by field name, converted, defaults filled in, sensitive values in
                clear. Do not change them.

        Used: after the inputs were validated, before a cache is read or a language model is paid; in testing mode too.

        Example::

            from hokusai_core.errors import ConfigurationError
            from hokusai_core.plugin_api import hookimpl

            @hookimpl
            def check_execution(signature, inputs):
                if signature.category == "legal":
                    raise ConfigurationError("legal signatures are switched off here")
        """
        raise NotImplementedError
