"""Certificates: what the figures of a comparison can be computed from again, without a call of a language model.

A certificate is part of the file of an optimized signature::

    {"format": 1, "seed": 0, "rule": {...}, "metric": {"given": "accuracy", "options": {}, "aggregates": false},
     "baseline": "fingerprint", "candidate": "fingerprint", "demos": "digest of the candidate's demos",
     "data": {"train": [keys], "dev": [keys], "test": [keys]},
     "refusals": [...], "label_refusals": [...], "versions": {...}, "hidden": false,
     "rows": [{"expected": {...}, "baseline": {"outputs": {...}, "error": null, "good": 1.0}, "candidate": {...}}]}

There is a row for each held-out example, in the order of ``data.test``. Where rows are large, they are in a file beside
the artifact, one on a line, and the certificate has ``rows_file`` and ``rows_digest`` in place of ``rows``. Inputs are
not recorded. Of signatures with sensitive fields, neither answers nor expected outputs are, nor keys, by which values
could be guessed: their rows have scores only (``hidden``).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from hokusai_core.plugin_api import OptimizationExample, SignatureSpec, jsonable
from hokusai_evaluate.example_reader import example_key
from hokusai_teleprompt.comparison import PromotionRule
from hokusai_teleprompt.data_split import DataSplit
from hokusai_teleprompt.held_out_comparison import HeldOutResult
from hokusai_teleprompt.study.evaluation import ExampleOutcome, Measurement

__all__ = ["FORMAT", "certificate_versions", "demos_digest", "make_certificate"]

FORMAT: Final = 1
#: Bytes of recorded answers, all rows together. Larger ones are left out, and scores alone are recorded.
_MOST_BYTES: Final = 20_000_000
#: Distributions that decide what a figure is.
_LIBRARIES: Final = ("hokusai-evaluate", "hokusai-teleprompt", "numpy")


def make_certificate(
    spec: SignatureSpec,
    split: DataSplit,
    measured: tuple[Measurement, Measurement],
    result: HeldOutResult,
    *,
    metric: Any,
    given: Any,
    options: Mapping[str, Any],
    rule: PromotionRule,
    seed: int,
    baseline: str,
) -> dict[str, Any]:
    """Return the certificate of a comparison.

    Args:
        spec: the candidate.
        split: the examples.
        measured: the measurements of baseline and candidate on the held-out examples.
        result: what the comparison has shown.
        metric: the metric.
        given: the metric as it was given: a name, or a mapping of name to weight; else it cannot be made again.
        options: options of the metric.
        rule: what a candidate has to show.
        seed: of the resampling.
        baseline: fingerprint of the baseline.
    """
    hidden = bool(spec.sensitive)
    sides = [side.outcomes for side in measured]
    rows = [_row(spec, *item, hidden=hidden) for item in zip(split.test, *sides, strict=True)]
    if len(json.dumps(rows)) > _MOST_BYTES:
        rows = [_row(spec, *item, hidden=True) for item in zip(split.test, *sides, strict=True)]
    parts = {"train": split.train, "dev": split.dev, "test": split.test}
    return {
        "format": FORMAT,
        "seed": seed,
        "rule": {"min_improvement": rule.min_improvement, "confidence": rule.confidence},
        "metric": {**_recipe(given, options), "aggregates": hasattr(metric, "aggregate")},
        "baseline": baseline,
        "candidate": spec.fingerprint,
        "demos": demos_digest(spec),
        "data": None if hidden else {name: list(map(example_key, part)) for name, part in parts.items()},
        "refusals": list(split.refusals),
        "label_refusals": list(result.label_refusals),
        "versions": certificate_versions(),
        "hidden": hidden,
        "rows": rows,
    }


def certificate_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide what a figure is."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def demos_digest(spec: SignatureSpec) -> str:
    """Return a digest of the demos of a signature and of its predictors."""
    data = spec.to_dict()
    states = {name: state["demos"] for name, state in data.get("predictors", {}).items()}
    text = json.dumps([data.get("demos", []), states], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _recipe(given: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the metric can be made again by name; None as ``given`` where it cannot."""
    named = isinstance(given, str) or (
        isinstance(given, Mapping)
        and all(isinstance(name, str) and type(weight) in (int, float) for name, weight in given.items())
    )
    try:
        json.dumps(dict(options), allow_nan=False)
    except (TypeError, ValueError):
        named = False
    plain = dict(given) if isinstance(given, Mapping) else given
    return {"given": plain, "options": dict(options)} if named else {"given": None, "options": {}}


def _row(
    spec: SignatureSpec,
    example: OptimizationExample,
    before: ExampleOutcome | None,
    after: ExampleOutcome | None,
    *,
    hidden: bool,
) -> dict[str, Any]:
    sides = {"baseline": _answer(spec, before, hidden=hidden), "candidate": _answer(spec, after, hidden=hidden)}
    return sides if hidden else {"expected": jsonable(dict(example.outputs)), **sides}


def _answer(spec: SignatureSpec, outcome: ExampleOutcome | None, *, hidden: bool) -> dict[str, Any] | None:
    if outcome is None:
        return None
    answer: dict[str, Any] = {"error": outcome.error, "good": outcome.good}
    if hidden:
        return answer
    return {"outputs": None if outcome.outputs is None else _plain(spec, outcome.outputs), **answer}


def _plain(spec: SignatureSpec, outputs: Mapping[str, Any]) -> Any:
    """Return outputs as JSON that gives the same outputs back; None where there is no such form."""
    known: Sequence[str] = [name for name in spec.outputs if name in outputs]
    try:
        return orjson.loads(orjson.dumps(jsonable({name: outputs[name] for name in known})))
    except (TypeError, ValueError):
        return None
