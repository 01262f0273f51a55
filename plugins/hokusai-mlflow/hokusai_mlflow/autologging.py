"""autolog: tracks every execution of every executor in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from hokusai_core.plugin_api import process_trackers
from hokusai_mlflow.options import make_options

if TYPE_CHECKING:
    from hokusai_mlflow.options import Content

__all__ = ["autolog"]

_NAME: Final = "mlflow"


def autolog(
    disable: bool = False,
    *,
    sampling: float | None = None,
    tags: Mapping[str, str] | None = None,
    experiment: str | None = None,
    content: Content | None = None,
    **options: Any,
) -> None:
    """Track every execution of every executor in this process, also of executors that were made before.

    Inside ``with mlflow.start_run():`` what is executed is recorded in that run, and is there when the block is left.
    Outside, each executor has a run of its own. Calling it again replaces the options. DSPy's and MLflow's own settings
    are left alone.

    An executor that tracks anyway (``mlflow_tracking=True``, ``trackers=["mlflow"]``) takes over the options that are
    given here, and keeps its own run where none are. One that was handed a tracker, ``trackers={"mlflow": ...}``, goes
    on with that.

    Args:
        disable: undo it; executors that tracked before go on as they did.
        sampling: share of executions that get a trace, 0 to 1; the table and the metrics hold every execution.
        tags: tags of the executors' own runs.
        experiment: name of the experiment of the executors' own runs.
        content: ``metadata``, ``inputs``, ``outputs`` or ``both``.
        **options: further fields of ``TrackingOptions``.

    Raises:
        ConfigurationError: an option is unknown or has a value that cannot be used.

    Example::

        autolog(sampling=0.1)
        with mlflow.start_run():
            executor.execute_signature("EmailDraft", inputs)
    """
    if disable:
        process_trackers.remove(_NAME)
        return
    named = {"sampling": sampling, "tags": tags, "experiment": experiment, "content": content}
    given = {**options, **{name: value for name, value in named.items() if value is not None}}
    make_options(given)  # a mistake is reported here, not when an executor is made

    from hokusai_mlflow.tracker import MlflowTracker

    process_trackers.add(_NAME, lambda: MlflowTracker(**given), replace=bool(given))
