"""The DSPy settings of a call. They do not leak into the host, and the host's own settings still apply."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from dspy import settings

__all__ = ["DEADLINE", "callbacks_active", "host_tracks_usage", "host_usage_tracker", "isolated"]

#: Key of ``dspy.settings`` under which engines find the deadline, as ``time.monotonic()`` tells it, or None.
DEADLINE = "hokusai_deadline"


def isolated(
    lm: Any, *, deadline: float | None = None, trace: list[Any] | None = None, **extra: Any
) -> AbstractContextManager[None]:
    """Return the context for one call.

    The process-wide trace and history lists of DSPy, which grow by some 4 kB a call, get nothing. Callbacks and usage
    trackers of the host stay in force.

    Args:
        lm: the language model.
        deadline: when the call must be over, as ``time.monotonic()`` tells it; engines read it as
            ``dspy.settings.get("hokusai_deadline")``.
        trace: where predictors write down their calls; None for nowhere. Some modules of DSPy cannot do without it.
        extra: further settings.
    """
    return settings.context(  # type: ignore[no-any-return]
        lm=lm,
        trace=trace,
        disable_history=True,
        warn_on_type_mismatch=False,  # inputs are checked before, and better
        send_stream=None,
        **{DEADLINE: deadline},
        **extra,
    )


def callbacks_active() -> bool:
    """Whether the host observes DSPy with callbacks, as ``mlflow.dspy.autolog`` does."""
    return bool(settings.callbacks)


def host_usage_tracker() -> Any:
    """Return the usage tracker that the host has opened around this call, or None."""
    return settings.usage_tracker


def host_tracks_usage() -> bool:
    """Whether DSPy shall put the usage of each program run on its prediction."""
    return bool(settings.track_usage)
