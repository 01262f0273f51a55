"""DSPyPipelineExecutor: the executor with the standard plugins switched on."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from hokusai_core import UNSET, Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import read_settings
from hokusai_core.types import Unset

if TYPE_CHECKING:
    from hokusai_teleprompt import Promotion

__all__ = ["DSPyPipelineExecutor"]

_CACHE: Final = "diskcache"
_TRACKER: Final = "mlflow"


class DSPyPipelineExecutor(Executor):
    """An executor that keeps answers on disk, records in MLflow, and gives up after 30 seconds.

    It is ``Executor`` with other defaults: an argument that is left out is read from its environment variable, and
    without that has the default below. The disk cache and the tracker are used where their plugins work; where one
    does not, a warning says why, and the executor goes on without it.

    Args:
        cache_enabled: whether answers are stored and served; True.
        mlflow_tracking: True adds the tracker ``mlflow`` to the others, False leaves it out. Left out, it is the only
            tracker, unless ``trackers`` or ``HOKUSAI_TRACKERS`` name others.
        timeout: seconds that bound one execution, retries included; 30. None for no bound.
        max_workers: rows and tasks that run at the same time; 4.
        cache_ttl: seconds for which a stored answer is served; None, for as long as it is kept.
        lm: language model: a name (``"openai/gpt-5-mini"``, ``"local"``), a ``dspy.LM`` or a ``LanguageModel``.
        plugins: the only plugins that are used; None, for all of them.
        namespace: part of every cache key, to keep tenants apart; ``"default"``.
        options: every other argument of ``Executor``; ``cache`` is ``"diskcache"``, and None for memory only.

    Raises:
        ConfigurationError: an argument or variable has a value that cannot be used.

    Example:
        >>> with DSPyPipelineExecutor(mode="testing", mlflow_tracking=False, cache=None) as executor:
        ...     executor.config["timeout"].value, executor.config["max_workers"].value
        (30.0, 4)
    """

    defaults: Mapping[str, Any] = {"timeout": 30, "max_workers": 4, "cache": _CACHE, "trackers": (_TRACKER,)}
    optional: frozenset[str] = frozenset({_CACHE, _TRACKER})

    def __init__(
        self,
        cache_enabled: bool | Unset = UNSET,
        mlflow_tracking: bool | Unset = UNSET,
        timeout: float | Unset | None = UNSET,
        max_workers: int | Unset = UNSET,
        cache_ttl: float | Unset | None = UNSET,
        lm: Any = None,
        plugins: Sequence[str] | Unset | None = UNSET,
        namespace: str | Unset = UNSET,
        **options: Any,
    ) -> None:
        if mlflow_tracking is not UNSET:
            options["trackers"] = _trackers(bool(mlflow_tracking), options.get("trackers", UNSET))
        super().__init__(
            cache_enabled=cache_enabled,
            timeout=timeout,
            max_workers=max_workers,
            cache_ttl=cache_ttl,
            lm=lm,
            plugins=plugins,
            namespace=namespace,
            **options,
        )

    def promote(self, name: str, optimized: Any, *, note: str = "", force: bool = False) -> Promotion:
        """Let an optimized signature stand in for the one of that name.

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
        entry: Promotion = _teleprompt().promote(self, name, optimized, note=note, force=force)
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
        entry: Promotion = _teleprompt().rollback(self, name, note=note, original=original)
        return entry

    def promotions(self, name: str) -> list[Promotion]:
        """Return what was promoted for a signature and rolled back, the latest last.

        Raises:
            SignatureNotFoundError: no such signature.
            ConfigurationError: this executor does not use promotions.
        """
        entries: list[Promotion] = _teleprompt().promotions(self, name)
        return entries


def _teleprompt() -> Any:
    """Return the package with promotions, which a host that runs signatures and no more need not install.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        return importlib.import_module("hokusai_teleprompt")
    except ModuleNotFoundError as error:
        if error.name != "hokusai_teleprompt":
            raise
        raise ConfigurationError(
            "promotions need a plugin that is not installed: pip install hokusai-teleprompt"
        ) from None


def _trackers(tracking: bool, given: Any) -> Any:
    """Return the trackers that were given or that the environment names, with or without MLflow."""
    if isinstance(given, Mapping):
        if tracking and _TRACKER not in given:
            raise ConfigurationError(
                f"mlflow_tracking=True beside a mapping of trackers: put one under {_TRACKER!r} into it, or give names"
            )
        return given if tracking else {name: tracker for name, tracker in given.items() if name != _TRACKER}
    named: tuple[str, ...] = read_settings({"trackers": given}).value("trackers")
    others = [name for name in named if name != _TRACKER]
    return [*others, _TRACKER] if tracking else others
