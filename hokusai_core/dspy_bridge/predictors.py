"""The predictors of a module: their instructions, demos and fields, and how to set them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hokusai_core.errors import ArtifactError
from hokusai_core.json_encoding import canonical_json
from hokusai_core.signatures.strategy_choice import PredictorState, StrategyChoice

__all__ = ["fields_digest", "predictor_states", "set_predictor_states"]


def fields_digest(signature: Any) -> str:
    """Return a digest of the fields of a ``dspy.Signature``: names in order, roles and types, without instructions."""
    fields = [
        [name, (field.json_schema_extra or {}).get("__dspy_field_type"), str(field.annotation)]
        for name, field in signature.fields.items()
    ]
    return hashlib.sha256(canonical_json(fields)).hexdigest()[:16]


def predictor_states(module: Any) -> dict[str, PredictorState]:
    """Return instructions, demos and fields of every predictor of a module, by its name."""
    return {
        name: PredictorState(
            predictor.signature.instructions,
            [dict(demo) for demo in predictor.demos],
            fields_digest(predictor.signature),
        )
        for name, predictor in module.named_predictors()
    }


def set_predictor_states(
    module: Any, choice: StrategyChoice, signature: Any, demos: Sequence[Mapping[str, Any]]
) -> None:
    """Give the predictors of a module the demos of the signature, and what an optimizer found for each of them.

    Demos of the signature go to predictors that have all its fields.

    Args:
        module: the module; it is changed.
        choice: the strategy, with the states.
        signature: the ``dspy.Signature`` class that the module answers.
        demos: demos of the signature.

    Raises:
        ArtifactError: the states are of other predictors, or of predictors with other fields.
    """
    predictors = dict(module.named_predictors())
    unknown = [name for name in choice.predictors if name not in predictors]
    if unknown:
        raise ArtifactError(
            f"strategy {choice.name!r} was optimized with predictors {_listing(choice.predictors)}, and its module has "
            f"{_listing(predictors)}; optimize it again"
        )
    fields = set(signature.fields)
    for name, predictor in predictors.items():
        if demos and fields <= set(predictor.signature.fields):
            predictor.demos = list(demos)
        state = choice.predictors.get(name)
        if state is None:
            continue
        if state.fields and state.fields != fields_digest(predictor.signature):
            raise ArtifactError(
                f"strategy {choice.name!r}: predictor {name!r} has other fields than when it was optimized; optimize "
                "it again"
            )
        if state.instructions is not None:
            predictor.signature = predictor.signature.with_instructions(state.instructions)
        if state.demos is not None:
            predictor.demos = list(state.demos)


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
