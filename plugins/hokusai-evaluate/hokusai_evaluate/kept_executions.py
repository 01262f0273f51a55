"""Kept executions: what trackers and feedback stores have of earlier executions, as rows that can be run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen

from hokusai_core import Executor
from hokusai_core.errors import ConfigurationError, SignatureNotFoundError
from hokusai_core.plugin_api import REDACTED, ComponentChoice, KeptExecution, OptimizationExample, SignatureSpec
from hokusai_evaluate.example_reader import input_key

__all__ = ["KeptRow", "KeptRows", "find_kept", "kept_sources", "rows_of"]

_HOW_TO_KEEP: Final = (
    "run with a tracker that keeps executions (HOKUSAI_TRACKERS=mlflow, or trackers=['jsonl'] of hokusai-jsonl), or "
    "with collect_feedback=True"
)


@frozen(eq=False)
class KeptRow:
    """An execution that can be run again.

    Args:
        execution: the execution.
        example: its inputs, and the outputs that an answer is compared with.
        corrected: whether these are outputs that a person has corrected; else those that were given.
    """

    execution: KeptExecution
    example: OptimizationExample
    corrected: bool


@frozen
class KeptRows:
    """The executions of one signature.

    Args:
        signature: its qualified name.
        rows: those that can be run again, the oldest first.
        left_out: reason -> how many cannot.
    """

    signature: str
    rows: tuple[KeptRow, ...]
    left_out: Mapping[str, int] = field(factory=dict)


def kept_sources(executor: Executor, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the trackers and feedback stores that can be searched, by name; the caller closes them.

    Args:
        executor: whose plugins offer them.
        names: names of trackers, and ``feedback`` for the feedback store; empty for those that are configured, else all
            that are installed.

    Raises:
        ConfigurationError: there are none; says how to keep executions.
        ComponentNotFoundError: there is no tracker of a name.
    """
    trackers = executor.config.value("trackers")
    given: dict[str, Any] = {}
    made: dict[str, Any] = {}
    if isinstance(trackers, Mapping):
        for name, one in trackers.items():
            if isinstance(one, ComponentChoice):
                made[name] = executor.plugins.create("tracker", one)
            else:
                given[name] = one
        trackers = ()
    if names:
        trackers = [name for name in names if name != "feedback"]
    elif not trackers and not given and not made:
        offered = executor.plugins.components("tracker")
        short = Counter(one.name for one in offered)
        trackers = [one.name if short[one.name] == 1 else one.qualified_name for one in offered]
    made |= {name: executor.plugins.create("tracker", name) for name in trackers if name not in made}
    if not names or "feedback" in names:
        made |= _feedback_store(executor)
    found = {name: source for name, source in {**given, **made}.items() if callable(getattr(source, "search", None))}
    for name, source in made.items():
        if name not in found:
            source.close()
    if not found:
        asked = f"{', '.join(names)} cannot be searched for executions" if names else "nothing here keeps executions"
        raise ConfigurationError(f"{asked}: {_HOW_TO_KEEP}")
    return found


def _feedback_store(executor: Executor) -> dict[str, Any]:
    chosen = executor.config.value("feedback_store")
    if chosen is not None and not isinstance(chosen, str | ComponentChoice):
        return {"feedback": chosen}
    offered = executor.plugins.components("feedback_store")
    if chosen is None and not offered:
        return {}
    return {"feedback": executor.plugins.create("feedback_store", chosen or offered[0].qualified_name)}


def find_kept(
    executor: Executor, sources: Mapping[str, Any], *, since: float | None, signature: str | None
) -> list[KeptRows]:
    """Return what is kept, by signature.

    An execution that several sources have is taken once, with all that they know of it.

    Args:
        executor: has the signatures.
        sources: what is searched, by name.
        since: seconds since the epoch; None for all.
        signature: ``pack/Name`` or ``Name``; None for all.

    Raises:
        ConfigurationError: nothing is kept; says how to keep executions.
    """
    found: dict[str, KeptExecution] = {}
    for source in sources.values():
        for one in source.search(since=since, signature=signature):
            known = found.get(one.execution_id)
            found[one.execution_id] = one if known is None else _joined(known, one)
    if not found:
        where = f" of {signature}" if signature else ""
        raise ConfigurationError(
            f"no execution{where} is kept in {', '.join(sources)} for that time: {_HOW_TO_KEEP}, and look further back"
        )
    by_signature: dict[str, list[KeptExecution]] = {}
    for one in sorted(found.values(), key=lambda one: one.started_at):
        by_signature.setdefault(one.signature, []).append(one)
    return [rows_of(executor, name, kept) for name, kept in sorted(by_signature.items())]


def _joined(first: KeptExecution, second: KeptExecution) -> KeptExecution:
    """Return what two sources know of an execution: the whole values of one, the figures and the feedback of both."""
    whole, other = (second, first) if len(second.cut) < len(first.cut) else (first, second)
    return evolve(
        whole,
        latency=other.latency if whole.latency is None else whole.latency,
        cost=other.cost if whole.cost is None else whole.cost,
        usage=other.usage if whole.usage is None else whole.usage,
        cached=whole.cached or other.cached,
        feedback=whole.feedback or other.feedback,
    )


def rows_of(executor: Executor, signature: str, kept: Iterable[KeptExecution], *, min_rating: int = 4) -> KeptRows:
    """Return executions of a signature as rows, and why the others cannot be run again.

    Of executions with equal inputs the latest one that a person has corrected stays, else the latest.

    Args:
        executor: has the signature.
        signature: its qualified name.
        kept: the executions, the oldest first.
        min_rating: rating from which on outputs count as right.
    """
    left_out: Counter[str] = Counter()
    executions = list(kept)
    try:
        spec = executor.signature(signature).spec
    except SignatureNotFoundError:
        return KeptRows(signature, (), {"the signature is not installed here": len(executions)})
    rows: dict[str, KeptRow] = {}
    for one in executions:
        reason, row = _row(spec, one, min_rating, executor.config.media_policy)
        if row is None:
            left_out[reason] += 1
            continue
        key = input_key(row.example)
        earlier = rows.pop(key, None)
        left_out["the same inputs again"] += earlier is not None
        rows[key] = earlier if earlier is not None and earlier.corrected and not row.corrected else row
    return KeptRows(signature, tuple(rows.values()), {why: count for why, count in left_out.items() if count})


def _row(spec: SignatureSpec, one: KeptExecution, min_rating: int, media: Any) -> tuple[str, KeptRow | None]:
    if one.status != "ok":
        return "it failed", None
    missing = {name.partition(".")[2] for name in one.cut if name.startswith("inputs.")}
    if missing:
        return "an input was shortened or left out where it is kept", None
    if any(value == REDACTED for value in one.inputs.values()):
        return "an input is sensitive and was not kept", None
    if not one.inputs and any(item.required for item in spec.inputs.values()):
        return "its inputs were not kept", None
    if spec.binder.problems(one.inputs, media):
        return "its inputs do not fit the signature as it is now", None
    expected, corrected = _expected(one, min_rating)
    lost = {name.partition(".")[2] for name in one.cut if name.startswith("outputs.")}
    known = {name: value for name, value in expected.items() if value != REDACTED and (corrected or name not in lost)}
    if not known:
        if any(value == REDACTED for value in expected.values()):
            return "its outputs are sensitive and were not kept", None
        return "its outputs were not kept as a whole", None
    if any(name not in spec.outputs for name in known):
        return "its outputs do not fit the signature as it is now", None
    inputs = spec.binder.bind(one.inputs, media)
    try:
        outputs = {name: spec.outputs[name].coerce(value) for name, value in known.items()}
    except (TypeError, ValueError):
        return "its outputs do not fit the signature as it is now", None
    return "", KeptRow(one, OptimizationExample(inputs, outputs), corrected)


def _expected(one: KeptExecution, min_rating: int) -> tuple[Mapping[str, Any], bool]:
    """Return the outputs to compare with, and whether a person has corrected them.

    A good rating makes no gold: for a free text, an answer that differs may be as good.
    """
    corrections = [given for given in one.current if given.corrections]
    if corrections:
        latest = max(corrections, key=lambda given: given.given_at)
        rest = one.outputs if latest.rating >= min_rating else {}
        return {**rest, **latest.corrections}, True
    return one.outputs, False
