"""The totals of a run: aggregate metrics by step, and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

__all__ = ["RunSums", "advance", "parameters_of"]

_PREFIX: Final = "hokusai/"
#: Characters of an input that a parameter shows; the table has all of it.
_PARAMETER: Final = 500
_SUMS: Final = (
    "executions",
    "failures",
    "cache_hits",
    "input_tokens",
    "output_tokens",
    "calls",
    "cost",
    "traces",
    "refused",
)


class RunSums:
    """Sums over executions of one run."""

    def __init__(self) -> None:
        self.executions = self.failures = self.cache_hits = self.traces = self.refused = 0
        self.input_tokens = self.output_tokens = self.calls = 0
        self.cost = 0.0
        self.latencies: list[float] = []

    def add(self, record: Mapping[str, Any], traced: bool) -> None:
        """Add an execution."""
        usage = record["u"]
        self.executions += 1
        self.failures += record["st"] != "ok"
        self.cache_hits += record["hit"] is not None
        self.traces += traced
        self.input_tokens += usage[0]
        self.output_tokens += usage[1]
        self.calls += usage[2]
        self.cost += record["cost"] or 0.0
        self.latencies.append(record["lat"])


def advance(totals: Mapping[str, Any], added: RunSums) -> tuple[dict[str, Any], dict[str, float]]:
    """Add sums to a run's totals.

    Args:
        totals: sums so far.
        added: what comes to them.

    Returns:
        The new totals, and the metrics of this step: totals and rates since the run began, and quantiles of the
        latency, in seconds, over what was added.
    """
    sums = {name: totals.get(name, 0) + getattr(added, name) for name in _SUMS}
    done = sums["executions"]
    metrics = {name: float(sums[name]) for name in _SUMS if name not in ("refused", "calls", "cache_hits")}
    metrics["traces_sampled_away"] = float(done - sums["traces"])
    if sums["refused"]:
        metrics["executions_refused"] = float(sums["refused"])
    if done:
        metrics["cache_hit_rate"] = sums["cache_hits"] / done
    latencies = sorted(added.latencies)
    for name, share in (("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)):
        if latencies:
            metrics[name] = latencies[min(len(latencies) - 1, int(share * len(latencies)))]
    return sums, {_PREFIX + name: value for name, value in metrics.items()}


def parameters_of(record: Mapping[str, Any], *, inputs: bool) -> Iterator[tuple[str, str]]:
    """Yield the parameters that an execution gives its run; the first execution of a signature sets them.

    Args:
        record: what the spool holds of it.
        inputs: whether its inputs are among them: they are where the run is a block of the host's.
    """
    name = record["sig"].rpartition("/")[2]
    yield f"{name}.signature", record["sig"]
    yield f"{name}.version", record["ver"]
    yield f"{name}.fingerprint", record["fp"]
    yield f"{name}.model", record["m"]
    for parameter, value in (record["mp"] or {}).items():
        yield f"{name}.model.{parameter}"[:250], _short(value)
    if inputs:
        for field, value in record.get("in", {}).items():
            yield f"{name}.input.{field}"[:250], _short(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    text = text.replace("\x00", "\\u0000")  # PostgreSQL's text holds none
    return (
        text if len(text) <= _PARAMETER else f"{text[:_PARAMETER]} [cut: {len(text) - _PARAMETER} characters left out]"
    )
