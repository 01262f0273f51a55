"""The predictors of a module: their instructions, demos and fields, and how to set them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hokusai_core.errors import ArtifactError
from hokusai_core.json_encoding import canonical_json
from hokusai_core.signatures.field_types import UnsupportedTypeError, parse_annotation
from hokusai_core.signatures.lenient_input import CoercionError, coercer
from hokusai_core.signatures.predictor_state import PredictorState

__all__ = ["check_predictors", "predictor_states", "set_predictor_states", "show_demos", "with_predictor_states"]


def predictor_states(module: Any) -> dict[str, PredictorState]:
    """Return instructions, demos and fields of every predictor of a module, by its name."""
    return {name: _state(predictor.signature, predictor.demos) for name, predictor in module.named_predictors()}


def _state(signature: Any, demos: Iterable[Any]) -> PredictorState:
    """Return the state of a predictor, without demos that lack all inputs or all outputs, which no prompt shows."""
    plain = [{name: value for name, value in dict(demo).items() if name in signature.fields} for demo in demos]
    shown = [demo for demo in plain if demo.keys() & signature.input_fields and demo.keys() & signature.output_fields]
    return PredictorState(signature.instructions, shown, _fields_digest(signature))


def _fields_digest(signature: Any) -> str:
    """Return a digest of the fields of a ``dspy.Signature``: names in order, roles and types, without instructions."""
    fields = [
        [name, (field.json_schema_extra or {}).get("__dspy_field_type"), str(field.annotation)]
        for name, field in signature.fields.items()
    ]
    return hashlib.sha256(canonical_json(fields)).hexdigest()[:16]


def check_predictors(module: Any, states: Mapping[str, PredictorState], name: str) -> None:
    """Raise unless the predictors of a module are those that states were made for.

    Args:
        module: the module.
        states: name of a predictor -> its state.
        name: name of the signature, for errors.

    Raises:
        ArtifactError: the module has other predictors, or predictors with other fields; names all of them.
    """
    predictors = dict(module.named_predictors())
    problems = [f"it has no predictor {missing!r}" for missing in states if missing not in predictors]
    problems += [f"predictor {added!r} is new" for added in predictors if added not in states]
    problems += [
        f"predictor {shared!r} has other fields: {', '.join(predictors[shared].signature.fields)}"
        for shared, state in states.items()
        if shared in predictors and state.fields != _fields_digest(predictors[shared].signature)
    ]
    if problems:
        raise ArtifactError(
            f"{name} was optimized with predictors {', '.join(states)}, and its program has changed: "
            f"{'; '.join(problems)}. Optimize it again, or use the program that it was made from"
        )


def set_predictor_states(module: Any, states: Mapping[str, PredictorState]) -> None:
    """Give the predictors of a module their instructions and demos; the module is changed.

    Raises:
        ArtifactError: a picture, sound or file in a demo is damaged.
    """
    predictors = dict(module.named_predictors())
    for name, state in states.items():
        signature = predictors[name].signature = predictors[name].signature.with_instructions(state.instructions)
        readers = _media_readers(signature) if state.demos else {}
        try:
            predictors[name].demos = [
                {
                    key: readers[key](value) if key in readers and value is not None else value
                    for key, value in demo.items()
                }
                for demo in state.demos
            ]
        except CoercionError as error:
            raise ArtifactError(f"predictor {name!r} has a demo that cannot be shown: {error}") from None


def _media_readers(signature: Any) -> dict[str, Callable[[Any], Any]]:
    """Return for each field of pictures, sounds, files or conversations what makes one of its form as data.

    Prompts would show that form as a text.
    """
    readers: dict[str, Callable[[Any], Any]] = {}
    for name, field in signature.fields.items():
        try:
            shape = parse_annotation(field.annotation)
        except UnsupportedTypeError:  # of the program's own
            continue
        if shape.involves("media", "history"):
            readers[name] = coercer(shape)
    return readers


def with_predictor_states(module: Any, states: Mapping[str, PredictorState], name: str) -> Any:
    """Return a copy of a module whose predictors have the given instructions and demos.

    Args:
        module: the module; it is not changed.
        states: name of a predictor -> its state.
        name: name of the signature, for errors.

    Raises:
        ArtifactError: the module has other predictors, or predictors with other fields; names all of them.
    """
    check_predictors(module, states, name)
    made = module.deepcopy()
    set_predictor_states(made, states)
    return made


def show_demos(module: Any, signature: Any, demos: Sequence[Mapping[str, Any]]) -> None:
    """Give demos of a signature to those predictors of a module that have all its fields; the module is changed."""
    fields = set(signature.fields)
    for _, predictor in module.named_predictors() if demos else ():
        if fields <= set(predictor.signature.fields):
            predictor.demos = list(demos)
