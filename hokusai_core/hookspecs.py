"""The hooks that a plugin module may implement, with the policy of each group in its name.

``provide_*``
    The core asks for offers and collects them. Called once per executor, when an offer of that kind is first needed.
    A hook that raises loses what it offered; a bad item in a finished list is dropped alone. Either is recorded as a
    failure of its plugin, whose other hooks and all other plugins go on.
``on_*``
    The core tells what happened. Results are ignored; an error is counted and warned about once, and a hook that
    keeps failing is muted. Called on the thread of the execution: return quickly. Order is not promised.
``check_*``
    The core asks for consent. Raising stops the operation with that error.

Implementations take any subset of the arguments, by name. Mark them with ``from hokusai_core import hookimpl``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hokusai_core.markers import hookspec

if TYPE_CHECKING:
    from hokusai_core.components import Component
    from hokusai_core.events import ExecutionFinished, ExecutionStarted, FeedbackGiven, OptimizationFinished
    from hokusai_core.signatures import BaseSignature, SignatureSpec

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
}


class HokusaiSpecs:
    """Specifications of every hook. Subclass it for a plugin object whose signatures a type checker compares."""

    @hookspec
    def provide_signatures(self) -> Iterable[type[BaseSignature]]:
        """Offer signatures; together they are the plugin's pack.

        When: the first time that an executor lists or resolves signatures.
        Returns: signature classes. A bad one is quarantined alone; the others of the pack stay usable.
        Threads: called once, under a lock.
        Since: hook API 1.

        Example::

            @hookimpl
            def provide_signatures():
                return [SummarizeContract, FindClauses]
        """
        raise NotImplementedError  # a specification is never called; pluggy reads its name and arguments

    @hookspec
    def provide_language_models(self) -> Iterable[Component]:
        """Offer language-model providers; targets make a ``LanguageModelProvider``, without arguments. Since API 1."""
        raise NotImplementedError

    @hookspec
    def provide_caches(self) -> Iterable[Component]:
        """Offer persistent caches; targets make a ``Cache`` from keyword options of the store. Since API 1."""
        raise NotImplementedError

    @hookspec
    def provide_trackers(self) -> Iterable[Component]:
        """Offer trackers; targets make a ``Tracker`` from keyword options. Since API 1."""
        raise NotImplementedError

    @hookspec
    def provide_validators(self) -> Iterable[Component]:
        """Offer validators; targets make a ``Validator`` and take no arguments. All of them run. Since API 1."""
        raise NotImplementedError

    @hookspec
    def provide_optimizers(self) -> Iterable[Component]:
        """Offer optimizers; targets make an ``Optimizer`` from keyword options. Since API 1."""
        raise NotImplementedError

    @hookspec
    def provide_metrics(self) -> Iterable[Component]:
        """Offer metrics; targets make a ``Metric`` from keyword options. Since API 1."""
        raise NotImplementedError

    @hookspec
    def provide_feedback_stores(self) -> Iterable[Component]:
        """Offer feedback stores; targets make a ``FeedbackStore`` from keyword options. Since API 1."""
        raise NotImplementedError

    @hookspec
    def provide_backends(self) -> Iterable[Component]:
        """Offer batch backends; targets make a ``Backend`` from keyword options. Since API 1."""
        raise NotImplementedError

    @hookspec
    def provide_signature_sources(self) -> Iterable[Component]:
        """Offer places that signatures are registered from by address, such as ``models:/EmailDraft@champion``.

        The component's name is the scheme, the word before the colon. Targets take the address as ``uri`` and return a
        signature as ``BaseSignature.to_dict`` wrote it. Since API 1.
        """
        raise NotImplementedError

    @hookspec
    def provide_edition_sources(self) -> Iterable[Component]:
        """Offer places that know which signature stands in for another one, such as an optimized one that was promoted.

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

            @hookimpl
            def provide_edition_sources():
                target = "hokusai_teleprompt.promotion_source:PromotionSource"
                return [Component(name="promotions", target=target, summary="Signatures that were promoted")]
        """
        raise NotImplementedError

    @hookspec
    def provide_commands(self) -> Iterable[Component]:
        """Offer subcommands of ``hokusai``; targets are ``click.Command`` objects. Since API 1."""
        raise NotImplementedError

    @hookspec
    def on_execution_started(self, event: ExecutionStarted) -> None:
        """Hear that an execution passed input validation. Since API 1."""
        raise NotImplementedError

    @hookspec
    def on_execution_finished(self, event: ExecutionFinished) -> None:
        """Hear that an execution succeeded, from a cache or a language model. Since API 1."""
        raise NotImplementedError

    @hookspec
    def on_execution_failed(self, event: ExecutionFinished) -> None:
        """Hear that an execution failed after it had started. Since API 1."""
        raise NotImplementedError

    @hookspec
    def on_feedback_given(self, event: FeedbackGiven) -> None:
        """Hear that somebody rated an execution. Since API 1."""
        raise NotImplementedError

    @hookspec
    def on_optimization_finished(self, event: OptimizationFinished) -> None:
        """Hear that an optimization is over, whether or not it found something better. Since API 1."""
        raise NotImplementedError

    @hookspec
    def check_execution(self, signature: SignatureSpec, inputs: Mapping[str, Any]) -> None:
        """Refuse an execution by raising; called with bound inputs before anything is paid. Since API 1."""
        raise NotImplementedError
