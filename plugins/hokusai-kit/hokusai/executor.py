"""DSPyPipelineExecutor: the executor with the standard plugins switched on."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Unpack

from hokusai_core import Executor, Settings
from hokusai_core.errors import ConfigurationError
from hokusai_core.types import ExecutorOptions

if TYPE_CHECKING:
    from hokusai_core.types import OutcomeRecorded
    from hokusai_evaluate import Evaluation
    from hokusai_teleprompt import Promotion

__all__ = ["DSPyPipelineExecutor"]

_CACHE: Final = "diskcache"
_TRACKER: Final = "mlflow"


class DSPyPipelineExecutor(Executor):
    """An executor that keeps answers on disk, records in MLflow, and gives up after 30 seconds.

    It is ``Executor`` with other defaults: ``timeout=30``, ``max_workers=4``, ``cache="diskcache"`` and
    ``trackers=["mlflow"]``. An option that is left out is read from its environment variable, and without that has its
    default. The disk cache and the tracker are used if their plugins work; if one does not, a warning says why, and the
    executor goes on without it.

    Args:
        settings: settings that the host has made; then no environment variable is read.
        mlflow_tracking: True adds the tracker ``mlflow`` to the others, False leaves it out. Left out, it is the only
            tracker, unless ``trackers`` or ``HOKUSAI_TRACKERS`` name others.
        environ: environment to read in place of that of the process; ``{}`` for none.
        options: every other option of ``Executor``.

    Raises:
        ConfigurationError: an option or variable has a value that cannot be used.

    Example:
        >>> with DSPyPipelineExecutor(mode="testing", mlflow_tracking=False, cache=None) as executor:
        ...     executor.config["timeout"].value, executor.config["max_workers"].value
        (30.0, 4)
    """

    defaults: Mapping[str, Any] = {"timeout": 30, "max_workers": 4, "cache": _CACHE, "trackers": (_TRACKER,)}
    optional: frozenset[str] = frozenset({_CACHE, _TRACKER})

    def __init__(
        self,
        settings: Settings | None = None,
        /,
        *,
        mlflow_tracking: bool | None = None,
        environ: Mapping[str, str] | None = None,
        **options: Unpack[ExecutorOptions],
    ) -> None:
        if mlflow_tracking is not None:
            given = _named_trackers(settings, environ, options)
            options["trackers"] = _trackers(mlflow_tracking, given)
        super().__init__(settings, environ=environ, **options)

    def promote(self, name: str, optimized: Any, *, note: str = "", force: bool = False) -> Promotion:
        """Let an optimized signature replace the one of that name.

        The name means it from now on: here, and in every executor of this namespace that is made later, in any process
        of this user, unless that executor has ``promotions=False``.

        Args:
            name: name of a signature.
            optimized: what ``TelepromptFineTuner.compile`` returned, or the path of a file that it was saved to.
            note: the reason; kept in the history.
            force: promote it although it was not found to be better.

        Returns:
            The new entry of the history.

        Raises:
            SignatureNotFoundError: no such signature.
            ArtifactError: it was not found to be better, or was made from another signature.
            ConfigurationError: this executor does not use promotions.
        """
        entry: Promotion = _plugin("teleprompt", "promotions").promote(self, name, optimized, note=note, force=force)
        return entry

    def rollback(self, name: str, *, note: str = "", original: bool = False) -> Promotion:
        """Go back to what stood under that name before its latest promotion.

        Args:
            name: name of a signature.
            note: the reason; kept in the history.
            original: go back to the signature as it was before all promotions.

        Returns:
            The new entry of the history.

        Raises:
            SignatureNotFoundError: no such signature.
            ArtifactError: nothing was promoted for it, or what stood there before cannot be used; nothing is changed
                then.
            ConfigurationError: this executor does not use promotions.
        """
        entry: Promotion = _plugin("teleprompt", "promotions").rollback(self, name, note=note, original=original)
        return entry

    def promotions(self, name: str) -> list[Promotion]:
        """Return what was promoted for a signature and rolled back, the latest last.

        Raises:
            SignatureNotFoundError: no such signature.
            ConfigurationError: this executor does not use promotions.
        """
        entries: list[Promotion] = _plugin("teleprompt", "promotions").promotions(self, name)
        return entries

    def record_outcome(
        self,
        execution_id: str,
        name: str,
        value: float,
        *,
        higher_is_better: bool | None = None,
        source: str | None = None,
    ) -> OutcomeRecorded:
        """Store a number that was measured after an execution, such as whether an email was answered.

        The execution was made with ``collect_feedback=True``. The trackers of this executor get the outcome.

        Args:
            execution_id: ``result["execution_id"]``.
            name: what was measured, such as ``"reply_rate"`` or ``"minutes_saved"``.
            value: the number.
            higher_is_better: whether a higher number is better. None for what earlier outcomes of this name on the
                signature say; the first one is taken to be better where it is higher.
            source: the person, system or channel that measured it. All outcomes without a source count as one source.

        Raises:
            ExecutionNotFoundError: the execution is not kept.
            FeedbackError: an argument does not fit, or earlier outcomes of this name have the other direction.

        Example::

            result = executor.execute_signature("EmailDraft", inputs, collect_feedback=True)
            executor.record_outcome(result["execution_id"], "reply_rate", 1.0, source="mail server")
        """
        with _plugin("teleprompt", "outcomes").FeedbackCollector(executor=self) as collector:
            outcome: OutcomeRecorded = collector.record_outcome(
                execution_id, name, value, higher_is_better=higher_is_better, source=source
            )
        return outcome

    def evaluate(self, target: Any, data: Any = None, **options: Any) -> Evaluation:
        """Run a signature or chain on a data set and score what it gives.

        Args:
            target: name or class of a signature, a ``SignatureChain``, or the path of a file with one of them.
            data: rows with inputs and expected outputs, or the path of a JSONL or CSV file with them; None for the
                evaluation set that comes with the signature.
            **options: those of ``hokusai_evaluate.evaluate``, such as ``metric``, ``lm``, ``against``, ``by``,
                ``repeat``, ``sample`` and ``journal``, and those of ``execute_signature``.

        Returns:
            The scores with their intervals, the comparisons, and the rows; see ``hokusai_evaluate.Evaluation``.

        Raises:
            InputError: rows do not fit the signature; carries every problem, and nothing was called.
            ConfigurationError: an argument cannot be used, or the plugin is not installed.
            OptimizationError: a metric failed.
            LanguageModelError: the language model cannot be reached at all.

        Example::

            evaluation = executor.evaluate("ClassifyText", "tickets.jsonl", metric="accuracy", by="language")
            print(evaluation)
            assert all(gate.passed for gate in evaluation.check(min_score=0.9))
        """
        found: Evaluation = _plugin("evaluate", "evaluations").evaluate(self, target, data, **options)
        return found


def _plugin(name: str, what: str) -> Any:
    """Return the package of a plugin that a host which runs signatures and no more need not install.

    Args:
        name: the plugin.
        what: what needs it.

    Raises:
        ConfigurationError: it is not installed.
    """
    package = f"hokusai_{name}"
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        from hokusai_core.plugin_api import install_command  # only this error needs it

        command = install_command(f"hokusai-{name}")
        raise ConfigurationError(f"{what} need a plugin that is not installed: {command}") from None


def _named_trackers(settings: Settings | None, environ: Mapping[str, str] | None, options: ExecutorOptions) -> Any:
    """Return the trackers that are given, or that the settings or the environment name."""
    if "trackers" in options:
        return options["trackers"]
    if settings is None:
        settings = Settings.from_environment(os.environ if environ is None else environ)
    return settings.value("trackers")


def _trackers(tracking: bool, given: Any) -> Any:
    """Return the given trackers, with or without MLflow."""
    if isinstance(given, Mapping):
        if tracking and _TRACKER not in given:
            raise ConfigurationError(
                f"mlflow_tracking=True beside a mapping of trackers: put one under {_TRACKER!r} into it, or give names"
            )
        return given if tracking else {name: tracker for name, tracker in given.items() if name != _TRACKER}
    others = [name for name in given if name != _TRACKER]
    return [*others, _TRACKER] if tracking else others
