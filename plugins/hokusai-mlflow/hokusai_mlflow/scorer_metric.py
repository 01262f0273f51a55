"""MlflowScorer: MLflow's scorers and judges as metrics."""

from __future__ import annotations

import importlib
import json
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from hokusai_core.errors import ConfigurationError, LanguageModelError, OptimizationError
from hokusai_core.plugin_api import jsonable, scrub

__all__ = ["MlflowScorer"]

#: The name of a language model as MLflow writes it, such as ``gateway:/judge``.
_OF_MLFLOW: Final = re.compile(r"[\w.-]+:/[^/].*")
#: Name of the model of a judge that has none yet.
_UNASKED: Final = "hokusai:/none"
_SCORERS: Final = "mlflow.genai.scorers"
#: What MLflow's judges answer -> score.
_ANSWERS: Final[Mapping[Any, float]] = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0, "pass": 1.0, "fail": 0.0}


class MlflowScorer:
    """A scorer or judge of ``mlflow.genai`` as a metric.

    The scorer gets the inputs as a mapping. It gets the output itself where the signature has one, else a mapping.
    Expected outputs are among its expectations by their names, and all together as ``expected_response``.

    With ``judge`` a judge asks a language model of the executor: a budget bounds its calls, and a journal keeps them.
    This holds for a judge by name, and for one that is given as an object, whose own model is then not asked. Without
    ``judge``, or with a model that is named as MLflow does (``gateway:/judge``), MLflow calls the model. A budget
    cannot bound that, so an evaluation with one refuses it.

    Args:
        scorer: the name of a class in ``mlflow.genai.scorers`` such as ``Correctness``, ``module:attribute``, or a
            scorer.
        judge: the language model of a judge: any that an executor knows, such as ``openai/gpt-5``, or one of MLflow's
            own such as ``gateway:/judge``; None for the model that a given judge has.
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
        judge: Any = None,
        range: Sequence[float] = (0.0, 1.0),  # the name that metrics have for it
        higher_is_better: bool = True,
        **options: Any,
    ) -> None:
        self.range = _range(range)
        self.higher_is_better = bool(higher_is_better)
        self._given, self._judge, self._options = scorer, judge, options
        #: Whether the judge asks a language model of the executor.
        self._routed = judge is not None and not (isinstance(judge, str) and _OF_MLFLOW.fullmatch(judge))
        self._scorer = _made(scorer, _UNASKED if self._routed else judge, options)
        self.name = str(self._scorer.name)
        self.source = f"{type(self._scorer).__name__} of mlflow.genai"
        #: Whether it makes calls that no budget sees.
        self.unmetered = bool(getattr(self._scorer, "model", None)) and not self._routed
        #: What to write instead where a budget has to bound its calls.
        self.metered_instead = (
            "name the language model of the judge as Hokusai does, metric_options={'scorer': "
            f"{_written(scorer)}, 'judge': '{_of_hokusai(str(getattr(self._scorer, 'model', None)))}'}}"
        )
        self._model: Any = None
        self._warned = False

    def using(self, models: Callable[[Any], Any], task: str = "") -> Self:
        """Return this metric with a judge that asks a language model of ``models``.

        Args:
            models: returns the metered language model of a name.
            task: not used; judges have instructions of their own.
        """
        if not self._routed:
            return self
        from hokusai_mlflow.judge_model import JudgeModel  # imports LiteLLM, which takes a second

        made = type(self)(self._given, self._judge, self.range, self.higher_is_better, **self._options)
        made._model = JudgeModel(models(self._judge).lm)
        made._scorer = _made(self._given, made._model.uri, self._options)
        return made

    def score(self, expected: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
        """Return the score that MLflow's scorer gives.

        Raises:
            OptimizationError: it has no language model; see ``using``.
            LanguageModelError: the scorer failed, or answered something that is no score.
        """
        if self._routed and self._model is None:
            raise OptimizationError(f"{self.name} has no language model to ask; metric.using(model) gives it one")
        plain, gold = jsonable(dict(outputs)), jsonable(dict(expected))
        given = {
            "inputs": jsonable(dict(inputs)),
            "outputs": next(iter(plain.values())) if len(plain) == 1 else plain,
            "expectations": {"expected_response": _text(gold), **gold},
        }
        try:
            answer = self._scorer.run(**given)
        except Exception as error:  # whatever a scorer raises, or MLflow for a model that fails
            raise self._cause(str(error)) or self._failure(f"{type(error).__name__}: {error}") from None
        if isinstance(answer, list):
            raise self._failure(f"it gave {len(answer)} assessments; a metric is one of them")
        failure = getattr(answer, "error", None)
        if failure is not None:
            text = str(getattr(failure, "error_message", None) or failure)
            raise self._cause(text) or self._failure(text)
        value = getattr(answer, "value", answer)
        number = _ANSWERS.get(str(getattr(value, "value", value)).strip().lower(), value)
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            number = float(number) if isinstance(number, bool) else math.nan
        if not self.range[0] <= number <= self.range[1]:
            raise self._failure(f"it answered {value!r}, which is no score from {self.range[0]:g} to {self.range[1]:g}")
        return float(number)

    def _cause(self, text: str) -> Exception | None:
        """Return the error of the language model that a message of MLflow speaks of."""
        return None if self._model is None else self._model.failure_in(text)

    def _failure(self, reason: str) -> LanguageModelError:
        text = f"MLflow's scorer {self.name} failed: {scrub(reason)}"
        if not self._warned:
            self._warned = True
            warnings.warn(f"{text}. Rows that it cannot score are counted as unscored", stacklevel=4)
        return LanguageModelError(text)


def _made(scorer: Any, judge: Any, options: Mapping[str, Any]) -> Any:
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
            options = {**options, "model": judge}
        try:
            made = found(**options)
        except Exception as error:
            raise ConfigurationError(f"scorer={scorer!r}: it cannot be made: {error}") from None
    elif options:
        raise ConfigurationError(f"scorer={scorer!r} is made already, so it takes no options")
    else:
        made = found if judge is None else _with_model(found, judge, scorer)
    if not isinstance(made, known.Scorer):
        raise ConfigurationError(f"scorer={scorer!r}: expected a scorer of mlflow.genai, got {type(made).__name__}")
    if made.is_session_level_scorer:
        raise ConfigurationError(f"scorer={scorer!r} scores whole conversations; a row is one execution")
    if "model" in type(made).model_fields and getattr(made, "model", None) is None and _asks(made):
        raise ConfigurationError(f"scorer={scorer!r} asks a language model; name it with judge=, such as openai/gpt-5")
    return made


def _with_model(scorer: Any, model: Any, given: Any) -> Any:
    """Return a judge like the one that is given, which asks another language model.

    Raises:
        ConfigurationError: it asks none, or cannot be made again from its data.
    """
    from mlflow.genai.scorers import Scorer

    data = scorer.model_dump() if isinstance(scorer, Scorer) else {}
    for name in ("instructions_judge_pydantic_data", "builtin_scorer_pydantic_data"):
        if "model" in (data.get(name) or {}):
            return Scorer.model_validate({**data, name: {**data[name], "model": model}})
    raise ConfigurationError(
        f"scorer={given!r}: judge= is for the judges of mlflow.genai that ask a language model, its classes and "
        "make_judge; leave it out"
    )


def _written(scorer: Any) -> str:
    return repr(scorer) if isinstance(scorer, str) else f"<{type(scorer).__name__}>"


def _of_hokusai(model: str) -> str:
    """Return how Hokusai writes the name of a model of MLflow; an example for one that it cannot name."""
    provider, separator, name = model.partition(":/")
    known = separator and provider not in ("gateway", "endpoints", "databricks")
    return f"{provider}/{name.lstrip('/')}" if known else "openai/gpt-5"


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
