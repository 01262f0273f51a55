"""MlflowScorer: MLflow's scorers and judges as metrics."""

from __future__ import annotations

import importlib
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from hokusai_core.errors import ConfigurationError, LanguageModelError
from hokusai_core.plugin_api import jsonable, scrub

__all__ = ["MlflowScorer"]

_SCORERS: Final = "mlflow.genai.scorers"
#: What MLflow's judges answer -> score.
_ANSWERS: Final[Mapping[Any, float]] = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0, "pass": 1.0, "fail": 0.0}


class MlflowScorer:
    """A scorer or judge of ``mlflow.genai`` as a metric.

    The scorer gets the inputs as a mapping. It gets the output itself where the signature has one, else a mapping.
    Expected outputs are among its expectations by their names, and all together as ``expected_response``.

    A judge asks its language model through MLflow, so a budget cannot bound its calls: an evaluation with one refuses
    it.

    Args:
        scorer: the name of a class in ``mlflow.genai.scorers`` such as ``Correctness``, ``module:attribute``, or a
            scorer.
        judge: the language model of a judge, such as ``openai/gpt-5``.
        range: lowest and highest score. A judge that answers yes or no scores 1 or 0.
        higher_is_better: whether a higher score is a better one.
        **options: further options of the scorer's class, such as ``guidelines``.

    Raises:
        ConfigurationError: there is no such scorer, it cannot be made, or it needs whole traces or conversations.

    Example::

        executor.evaluate(Answer, rows, metric="mlflow_scorer",
                          metric_options={"scorer": "Correctness", "judge": "openai/gpt-5"})
    """

    def __init__(
        self,
        scorer: Any = None,
        judge: str | None = None,
        range: Sequence[float] = (0.0, 1.0),  # the name that metrics have for it
        higher_is_better: bool = True,
        **options: Any,
    ) -> None:
        self.range = _range(range)
        self.higher_is_better = bool(higher_is_better)
        self._scorer = _made(scorer, judge, options)
        self.name = str(self._scorer.name)
        self.source = f"{type(self._scorer).__name__} of mlflow.genai"
        #: Whether it makes calls that no budget sees.
        self.unmetered = bool(getattr(self._scorer, "model", None))
        self._warned = False

    def using(self, models: Callable[[Any], Any], task: str = "") -> Self:
        """Return this metric: MLflow calls the language models of its judges itself."""
        return self

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return the score that MLflow's scorer gives.

        Raises:
            LanguageModelError: the scorer failed, or answered something that is no score.
        """
        plain, gold = jsonable(dict(outputs)), jsonable(dict(expected))
        given = {
            "inputs": jsonable(dict(inputs)),
            "outputs": next(iter(plain.values())) if len(plain) == 1 else plain,
            "expectations": {"expected_response": _text(gold), **gold},
        }
        try:
            answer = self._scorer.run(**given)
        except Exception as error:  # whatever a scorer raises, or MLflow for a model that fails
            raise self._failure(f"{type(error).__name__}: {error}") from None
        if isinstance(answer, list):
            raise self._failure(f"it gave {len(answer)} assessments; a metric is one of them")
        failure = getattr(answer, "error", None)
        if failure is not None:
            raise self._failure(str(getattr(failure, "error_message", None) or failure))
        value = getattr(answer, "value", answer)
        number = _ANSWERS.get(str(getattr(value, "value", value)).strip().lower(), value)
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            number = float(number) if isinstance(number, bool) else math.nan
        if not self.range[0] <= number <= self.range[1]:
            raise self._failure(f"it answered {value!r}, which is no score from {self.range[0]:g} to {self.range[1]:g}")
        return float(number)

    def _failure(self, reason: str) -> LanguageModelError:
        text = f"MLflow's scorer {self.name} failed: {scrub(reason)}"
        if not self._warned:
            self._warned = True
            warnings.warn(f"{text}. Rows that it cannot score are counted as unscored", stacklevel=4)
        return LanguageModelError(text)


def _made(scorer: Any, judge: str | None, options: Mapping[str, Any]) -> Any:
    """Return the scorer that is meant.

    Raises:
        ConfigurationError: there is none, or it cannot be used for a row.
    """
    from mlflow.genai import scorers as known

    if scorer is None:
        raise ConfigurationError(f"scorer=: give the name of a scorer, one of {', '.join(sorted(known.__all__))}")
    found = _found(scorer) if isinstance(scorer, str) else scorer
    if isinstance(found, type):
        if judge is not None:
            options = {**options, "model": _model(judge)}
        try:
            made = found(**options)
        except Exception as error:
            raise ConfigurationError(f"scorer={scorer!r}: it cannot be made: {error}") from None
    elif options or judge is not None:
        raise ConfigurationError(f"scorer={scorer!r} is made already, so it takes neither judge nor options")
    else:
        made = found
    if not isinstance(made, known.Scorer):
        raise ConfigurationError(f"scorer={scorer!r}: expected a scorer of mlflow.genai, got {type(made).__name__}")
    if made.is_session_level_scorer:
        raise ConfigurationError(f"scorer={scorer!r} scores whole conversations; a row is one execution")
    if "model" in type(made).model_fields and getattr(made, "model", None) is None and _asks(made):
        raise ConfigurationError(f"scorer={scorer!r} asks a language model; name it with judge=, such as openai/gpt-5")
    return made


def _asks(scorer: Any) -> bool:
    """Return whether a scorer cannot do without a language model."""
    return scorer.kind.value in ("builtin", "instructions")


def _found(name: str) -> Any:
    module, separator, attribute = name.partition(":")
    if not separator:
        module, attribute = _SCORERS, name
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        known = importlib.import_module(_SCORERS).__all__
        raise ConfigurationError(
            f"scorer={name!r}: {error}. Give module:attribute, or one of {', '.join(sorted(known))}"
        ) from None


def _model(judge: str) -> str:
    """Return the name of a language model as MLflow writes it, ``openai:/gpt-5``."""
    if ":/" in judge:
        return judge
    provider, separator, model = judge.partition("/")
    if not separator:
        raise ConfigurationError(f"judge={judge!r}: expected provider/model, such as openai/gpt-5")
    return f"{provider}:/{model}"


def _range(given: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in given)
    except (TypeError, ValueError):
        raise ConfigurationError(f"range={given!r}: expected the lowest and the highest score") from None
    if not low < high:
        raise ConfigurationError(f"range={given!r}: the lowest score comes first")
    return low, high


def _text(values: Mapping[str, Any]) -> str:
    texts = list(values.values())
    if len(texts) == 1 and isinstance(texts[0], str):
        return texts[0]
    return json.dumps(values, ensure_ascii=False)
