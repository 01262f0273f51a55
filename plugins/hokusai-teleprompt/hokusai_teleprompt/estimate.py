"""Estimate: what an optimization will take, before its first call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from hokusai_core import BaseSignature, Budget, Executor, LanguageModel
from hokusai_core.errors import HokusaiError
from hokusai_core.plugin_api import SignatureSpec, Usage, jsonable, usage_cost
from hokusai_teleprompt.data_split import DataSplit
from hokusai_teleprompt.optimizer_choice import AUTO
from hokusai_teleprompt.study.call_rate import CallPace, CallRate

__all__ = ["Estimate", "estimated_pace", "estimated_use"]

#: Passes over the examples to choose by that an optimizer makes, and calls beside them.
_PASSES: Mapping[str, tuple[float, int]] = {
    AUTO: (20, 70),
    "labeled_fewshot": (0, 0),
    "knn_fewshot": (3, 0),
    "bootstrap_fewshot": (0, 10),
    "bootstrap_random_search": (10, 60),
    "bootstrap_optuna": (10, 10),
    "mipro_v2": (10, 30),
    "copro": (12, 12),
    "simba": (0, 500),
    "gepa": (10, 60),
    "better_together": (11, 60),
}
_OTHER_PASSES = (10, 0)
#: Demos in a prompt of a candidate, for the length of prompts.
_DEMOS = 8
_CHARACTERS = 4
#: Seconds of a call of which nothing is known, and tokens a second of an embedded model on two cores.
_SECONDS, _EMBEDDED_SPEED = 1.0, 200.0
#: Examples that the length of prompts is taken from.
_SAMPLE = 5


@frozen
class Estimate:
    """What an optimization will take, as far as it can be said before the first call.

    Args:
        calls: calls of language models.
        tokens: tokens of prompts and answers.
        cost: US dollars, 0.0 for an embedded model, None where no price is known.
        seconds: how long it takes; a guess as long as ``timed`` is false.
        timed: whether the figures of a call were measured in an earlier optimization.
        ended_by: the ceiling that ends the search before the optimizer is done, in words; "" for none.
    """

    calls: int
    tokens: int
    cost: float | None
    seconds: float
    timed: bool = False
    ended_by: str = ""

    def __str__(self) -> str:
        cost = "cost unknown" if self.cost is None else "free" if self.cost == 0 else f"${self.cost:.2g}"
        minutes = f"{self.seconds:.0f} s" if self.seconds < 120 else f"{self.seconds / 60:.0f} min"
        guess = "" if self.timed else " (a guess until ten calls are timed)"
        ended = f"; {self.ended_by} will end the search early" if self.ended_by else ""
        return f"about {self.calls:,} calls, {self.tokens:,} tokens, {cost}, {minutes}{guess}{ended}"


def estimated_pace(
    executor: Executor, spec: SignatureSpec, split: DataSplit, model: LanguageModel, workers: int
) -> CallPace:
    """Return what an example will take, from the prompts of some examples and from what is known of the model.

    Args:
        executor: writes the prompts.
        spec: the signature.
        split: the examples.
        model: the language model; it is not called.
        workers: calls at once.
    """
    examples = [*split.test, *split.dev, *split.train][:_SAMPLE]
    lengths = [_prompt_length(executor, spec, example.inputs, model) for example in examples]
    read = _mean(lengths) / _CHARACTERS
    written = 10 + _mean([_length(example.outputs) for example in examples]) / _CHARACTERS
    demo = _mean([_length(example.inputs) + _length(example.outputs) for example in split.train[:100]]) / _CHARACTERS
    prices = executor.config.value("prices")

    def rate(demos: int) -> CallRate:
        prompt = read + demos * demo
        cost = usage_cost(model.lm, Usage(round(prompt), round(written), 1), prices)
        seconds = (prompt + 5 * written) / _EMBEDDED_SPEED if cost == 0.0 else _SECONDS / workers
        return CallRate(prompt + written, cost, seconds)

    return CallPace(rate(0), rate(_DEMOS), _DEMOS, rate(_DEMOS), _DEMOS)


def estimated_use(
    split: DataSplit, optimizer: str, pace: CallPace, budget: Budget | None, *, timed: bool, folds: int = 0
) -> Estimate:
    """Return what an optimization will take.

    Args:
        split: the examples, as many as are used if the budget pays for them.
        optimizer: name of the optimizer.
        pace: what an example takes.
        budget: what bounds it, None for nothing.
        timed: whether ``pace`` was measured.
        folds: how often the procedure runs again, where nothing bounds it.
    """
    test, dev = len(split.test), len(split.dev)
    shown = pace.of(_DEMOS)
    passes, beside = _PASSES.get(optimizer, _OTHER_PASSES)
    times = 1 if budget is not None else 1 + folds
    parts = [(pace.plain, test + dev), (shown, times * (test + passes * dev + beside))]
    whole = [sum(getattr(rate, name) * number for rate, number in parts) for name in ("calls", "tokens", "seconds")]
    costs = [None if rate.cost is None else rate.cost * number for rate, number in parts]
    cost = None if None in costs else sum(item for item in costs if item is not None)
    share, by = _bounded(budget, (whole[0], whole[1], cost or 0.0, whole[2]))
    return Estimate(
        calls=round(whole[0] * share),
        tokens=_rounded(whole[1] * share),
        cost=None if cost is None else cost * share,
        seconds=whole[2] * share,
        timed=timed,
        ended_by="" if optimizer == AUTO else by,
    )


def _bounded(budget: Budget | None, whole: Sequence[float]) -> tuple[float, str]:
    """Return the share of the whole that a budget pays for, and which ceiling that is."""
    if budget is None:
        return 1.0, ""
    ceilings = {
        f"the ceiling of {budget.calls} calls": budget.calls,
        f"the ceiling of {budget.tokens} tokens": budget.tokens,
        f"the ceiling of ${budget.cost}": budget.cost,
        f"the ceiling of {budget.seconds} seconds": budget.seconds,
    }
    shares = [
        (ceiling / amount, words)
        for (words, ceiling), amount in zip(ceilings.items(), whole, strict=True)
        if ceiling is not None and amount > ceiling
    ]
    return min(shares, default=(1.0, ""))


def _prompt_length(executor: Executor, spec: SignatureSpec, inputs: Mapping[str, Any], model: LanguageModel) -> int:
    try:
        request = executor.render(BaseSignature.from_spec(spec), inputs, lm=model.lm)
    except HokusaiError:  # several prompts, or one that only the call itself shows
        return len(spec.instructions) + sum(len(str(item.description)) for item in spec.fields) + _length(inputs)
    parts: Any = request.system or ()
    system = parts if isinstance(parts, str) else "".join(part.text for part in parts)
    texts: list[str] = [system, *(message.text or "" for message in request.messages)]
    return sum(len(text) for text in texts)


def _length(values: Mapping[str, Any]) -> int:
    return sum(len(str(jsonable(value))) for value in values.values())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _rounded(number: float) -> int:
    """Return a number with two digits that count."""
    step = int(10 ** max(0, math.floor(math.log10(max(1.0, number))) - 1))
    return round(number / step) * step
