"""DSPyPipelineExecutor: the executor with the standard plugins switched on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hokusai_core import UNSET, Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import read_settings
from hokusai_core.types import Unset

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
