"""Where the feedback of an optimization comes from, and where the other executions are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError
from hokusai_teleprompt.feedback.collector import Feedback, FeedbackCollector, Moment
from hokusai_teleprompt.feedback.feedback_examples import feedback_items

__all__ = ["open_feedback"]


@contextmanager
def open_feedback(
    executor: Executor, feedback: Any, signature: str, since: Moment | None
) -> Iterator[tuple[list[Feedback], FeedbackCollector | None]]:
    """Return the feedback to learn from, and the store with all executions of the signature.

    Args:
        executor: names the store of a host.
        feedback: a ``FeedbackCollector``; what its ``get_feedback`` returned; None for all feedback in the store.
        signature: name of the signature.
        since: only executions that were started at this time or later; None for all.

    Returns:
        A context manager with the feedback and the store; None for a store that cannot be found.

    Raises:
        ConfigurationError: ``since`` is given with a list of feedback.
        FeedbackError: ``feedback`` or ``since`` cannot be used.
    """
    if feedback is not None and not isinstance(feedback, FeedbackCollector):
        if since is not None:
            raise ConfigurationError("since= chooses among kept executions; leave feedback= out, or give the collector")
        items = feedback_items(feedback)
        collector = _collector_of(executor, {item.store for item in items})
        try:
            yield items, collector
        finally:
            if collector is not None:
                collector.close()
        return
    collector = feedback or FeedbackCollector(executor=executor)
    try:
        items = collector.get_feedback(signature)
        if since is not None:
            recent = {kept.execution_id for kept in collector.executions(signature, since)}
            items = [item for item in items if item.execution_id in recent]
        yield items, collector
    finally:
        if feedback is None:
            collector.close()


def _collector_of(executor: Executor, paths: set[str]) -> FeedbackCollector | None:
    """Return the store that feedback was read from; that of the executor where the feedback does not tell."""
    if len(paths) != 1:
        return None
    path = paths.pop()
    collector = FeedbackCollector(path) if path else FeedbackCollector(executor=executor)
    file = getattr(collector.store, "path", None)
    return collector if file is None or Path(file).exists() else None
