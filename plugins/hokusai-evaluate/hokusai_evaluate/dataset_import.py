"""Make a data set of executions that people have rated and corrected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import REDACTED, ComponentChoice, FeedbackStore, KeptExecution, install_command

__all__ = ["feedback_store_of", "rows_of_feedback"]


def rows_of_feedback(store: FeedbackStore, signature: str, *, min_rating: int = 4) -> Iterator[dict[str, Any]]:
    """Yield a row for each execution whose right outputs people have given.

    A row has ``inputs``, ``outputs``, ``source``, ``execution_id``, and ``corrected``, the names of the outputs that a
    person has written. A free text that is not among them was rated high: it is one of many right ones, good as a demo,
    and no measure of other texts.

    Corrected outputs are right; the other outputs of a corrected execution are so if it was rated ``min_rating`` or
    higher. Without a correction, all outputs are right if all ratings of it are so high. Executions with redacted
    inputs are left out. Rows that contradict each other are all yielded; ``check_data`` names them.

    Args:
        store: the feedback store.
        signature: ``pack/Name``, or ``Name``.
        min_rating: the least rating of outputs that count as right.
    """
    for kept in store.read(signature=signature, rated=True):
        outputs = _right_outputs(kept, min_rating)
        if outputs and REDACTED not in kept.inputs.values():
            yield {
                "inputs": dict(kept.inputs),
                "outputs": outputs,
                "source": kept.current[-1].source,
                "execution_id": kept.execution_id,
                "corrected": sorted({name for given in kept.current for name in given.corrections}),
            }


def feedback_store_of(executor: Executor) -> Any:
    """Return the feedback store that an executor uses; the caller closes it.

    Raises:
        ConfigurationError: no plugin offers one.
    """
    chosen = executor.config.value("feedback_store")
    if chosen is not None and not isinstance(chosen, str | ComponentChoice):
        return chosen
    offered = executor.plugins.components("feedback_store")
    if chosen is None and not offered:
        raise ConfigurationError(f"there is no feedback store; {install_command('hokusai-teleprompt')} brings one")
    return executor.plugins.create("feedback_store", chosen or offered[0].qualified_name)


def _right_outputs(kept: KeptExecution, min_rating: int) -> dict[str, Any]:
    corrected = [given for given in kept.current if given.corrections]
    known = {name: value for name, value in kept.outputs.items() if value != REDACTED}
    if corrected:
        latest = max(corrected, key=lambda given: given.given_at)
        rest = known if latest.rating >= min_rating else {}
        return {**rest, **latest.corrections}
    return known if all(given.rating >= min_rating for given in kept.current) else {}
