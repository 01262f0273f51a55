"""Convert signatures to JSON data and back.

Types are written by structure. What a class does beyond its structure (validators, converters, methods) stays behind:
a signature that was read from data checks types and constraints only.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final, cast

from attrs import asdict, evolve

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.json_encoding import jsonable
from hokusai_core.media import with_content
from hokusai_core.model_parameters import checked_parameters
from hokusai_core.signatures.checked_json import CheckedJson, check_size
from hokusai_core.signatures.field_types import UnsupportedTypeError
from hokusai_core.signatures.fields import OPTIONS, FieldSpec, Role
from hokusai_core.signatures.lenient_input import CoercionError
from hokusai_core.signatures.predictor_state import PredictorState
from hokusai_core.signatures.signature_data import SignatureData
from hokusai_core.signatures.strategy_choice import StrategyChoice
from hokusai_core.signatures.type_builder import TypeBuilder, field_options
from hokusai_core.signatures.type_description import TypeDescriber

__all__ = ["SCHEMA_VERSION", "spec_arguments", "spec_to_dict"]

#: Version of the data format; data of a newer one is refused.
SCHEMA_VERSION: Final = 1

_FIELD_KEYS = {"name", "role", "type", *OPTIONS}
_LISTS = ("tags", "aliases", "examples", "demos")
_KEYS = {"schema", "name", "instructions", "version", "category", "deprecated", "cache_ttl", "provenance", "fields",
         "types", "nearest_demos", "strategy", "predictors", "parameters", *_LISTS}  # fmt: skip
_MAX_FIELDS = 500


def spec_to_dict(spec: SignatureData) -> dict[str, Any]:
    """Return ``spec`` as JSON-able data; what has its default value is left out.

    Raises:
        SignatureDefinitionError: where a type, default, example or demo has no JSON form.
    """
    types = TypeDescriber(strict=True)
    data: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "name": spec.name,
        "instructions": spec.instructions,
        "version": spec.version,
        "fields": [_field_to_dict(item, types, spec) for item in spec.fields],
    }
    optional = {
        "category": spec.category,
        "tags": list(spec.tags),
        "aliases": list(spec.aliases),
        "examples": _plain(spec.examples, spec, "examples"),
        "demos": _plain(spec.demos, spec, "demos"),
        "provenance": _plain(spec.provenance, spec, "provenance"),
        "predictors": {
            name: _plain(asdict(state), spec, f"predictor {name!r}") for name, state in spec.predictors.items()
        },
        "types": types.definitions,
        "parameters": dict(spec.parameters),
    }
    set_or_none = {key: getattr(spec, key) for key in ("deprecated", "cache_ttl", "nearest_demos")}
    if spec.strategy is not None:
        data["strategy"] = spec.strategy.to_dict()
    return (
        data
        | {key: value for key, value in optional.items() if value}
        | {key: value for key, value in set_or_none.items() if value is not None}
    )


def _field_to_dict(item: FieldSpec, types: TypeDescriber, spec: SignatureData) -> dict[str, Any]:
    where = f"field {item.name!r}"
    try:
        described = types.describe(item.shape)
    except (UnsupportedTypeError, SignatureDefinitionError) as error:
        what = "type " if isinstance(error, UnsupportedTypeError) else ""
        raise SignatureDefinitionError(f"signature {spec.name!r}: {where}: {what}{error}") from error
    data: dict[str, Any] = {"name": item.name, "role": item.role, "type": described}
    if not item.required:
        data |= {"required": False, "default": _plain(item.default, spec, f"{where}: the default")}
    for key, form in OPTIONS.items():
        value = getattr(item, key)
        left_out = value is None or value is False or value in ("", ())
        if key not in ("required", "default") and not left_out:
            data[key] = _plain(value, spec, f"{where}: {key}") if form in ("texts", "bound") else value
    return data


def _plain(value: Any, spec: SignatureData, where: str) -> Any:
    try:
        return jsonable(with_content(value))
    except (TypeError, ValueError) as error:
        raise SignatureDefinitionError(
            f"signature {spec.name!r}: {where} cannot be written as JSON: {error}"
        ) from error


def spec_arguments(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the ``SignatureSpec`` that ``spec_to_dict`` wrote.

    Raises:
        SignatureDefinitionError: naming the path of what is malformed.
    """
    check_size(data)
    top = CheckedJson(data)
    _check_schema(top)
    top.only(_KEYS)
    types = TypeBuilder(top.get("types") or CheckedJson({}, "types"))
    parts = top.at("fields").items(at_least=1)
    if len(parts) > _MAX_FIELDS:
        raise top.at("fields").error(f"has more than {_MAX_FIELDS} fields")
    for part in parts:
        part.only(_FIELD_KEYS)
    annotations = [types.build(part.at("type")) for part in parts]
    types.finish()
    fields = [_field_from_dict(part, annotation) for part, annotation in zip(parts, annotations, strict=True)]
    return {
        "name": top.at("name").text(at_most=200),
        "instructions": top.at("instructions").text(),
        "fields": fields,
        "version": top.at("version").text(at_most=200),
        "category": top.read("category", CheckedJson.text, ""),
        "tags": top.read("tags", CheckedJson.texts, ()),
        "aliases": top.read("aliases", CheckedJson.texts, ()),
        "examples": top.read("examples", _mappings, ()),
        "demos": _typed_demos(top.read("demos", _mappings, ()), fields),
        "deprecated": top.read("deprecated", CheckedJson.text, None),
        "cache_ttl": top.read("cache_ttl", lambda part: part.scalar(int, float), None),
        "provenance": top.read("provenance", _mapping, {}),
        "nearest_demos": top.read("nearest_demos", lambda part: part.scalar(int), None),
        "strategy": top.read("strategy", _strategy, None),
        "predictors": top.read("predictors", _predictors, {}),
        "parameters": top.read("parameters", _parameters, {}),
    }


def _check_schema(top: CheckedJson) -> None:
    schema = top.at("schema").scalar(int)
    if schema > SCHEMA_VERSION:
        raise top.at("schema").error(
            f"version {schema} is newer than {SCHEMA_VERSION}, the newest that this hokusai-core reads; upgrade it"
        )
    if schema < 1:
        raise top.at("schema").error("there is no such version")


def _field_from_dict(part: CheckedJson, annotation: Any) -> FieldSpec:
    options = field_options(part, OPTIONS, annotation)
    role = cast("Role", part.at("role").one_of("input", "output"))
    item = FieldSpec(part.at("name").text(at_most=200), role, annotation, **options)
    default = part.get("default")
    if default is None or default.value is None:
        return item
    if item.required:
        raise default.error("a required field has no default")
    try:
        return evolve(item, default=item.coerce(default.value))
    except (CoercionError, UnsupportedTypeError) as error:
        raise default.error(str(error)) from None


def _strategy(part: CheckedJson) -> StrategyChoice:
    part.only({"name", "options", "version", "parts"})
    return StrategyChoice(
        part.at("name").text(at_most=200),
        part.read("options", _mapping, {}),
        version=part.read("version", CheckedJson.text, ""),
        parts=part.read("parts", lambda pairs: [pair.texts() for pair in pairs.items()], []),
    )


def _predictors(part: CheckedJson) -> dict[str, PredictorState]:
    return {name: _predictor(part.at(name)) for name in part.mapping()}


def _parameters(part: CheckedJson) -> dict[str, Any]:
    try:
        return checked_parameters(part.mapping())
    except ValueError as error:
        raise part.error(str(error)) from None


def _predictor(part: CheckedJson) -> PredictorState:
    part.only({"instructions", "demos", "fields"})
    return PredictorState(part.at("instructions").text(), _mappings(part.at("demos")), part.at("fields").text())


def _typed_demos(demos: tuple[dict[str, Any], ...], fields: list[FieldSpec]) -> tuple[dict[str, Any], ...]:
    """Return demos whose media are such again; prompts take demos as they are."""
    special = {item.name: item for item in fields if item.involves_media}
    if not special:
        return demos
    return tuple(
        {name: special[name].coerce(value) if name in special else value for name, value in demo.items()}
        for demo in demos
    )


def _mapping(part: CheckedJson) -> dict[str, Any]:
    return copy.deepcopy(dict(part.mapping()))


def _mappings(part: CheckedJson) -> tuple[dict[str, Any], ...]:
    return tuple(map(_mapping, part.items()))
