"""Convert signatures to JSON data and back.

Types are written by structure. What a class does beyond its structure (validators, converters, methods) stays behind:
a signature that was read from data checks types and constraints only.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final, cast

from attrs import evolve

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.json_encoding import jsonable
from hokusai_core.signatures.checked_json import CheckedJson, check_size
from hokusai_core.signatures.field_types import UnsupportedTypeError
from hokusai_core.signatures.fields import OPTIONS, FieldSpec, Role
from hokusai_core.signatures.lenient_input import CoercionError
from hokusai_core.signatures.signature_data import SignatureData
from hokusai_core.signatures.type_builder import TypeBuilder, field_options
from hokusai_core.signatures.type_description import TypeDescriber

__all__ = ["SCHEMA_VERSION", "spec_arguments", "spec_to_dict"]

#: Version of the data format; data of a newer one is refused.
SCHEMA_VERSION: Final = 1

_FIELD_KEYS = {"name", "role", "type", *OPTIONS}
_LISTS = ("tags", "aliases", "examples", "demos")
_KEYS = {"schema", "name", "instructions", "version", "category", "deprecated", "cache_ttl", "provenance", "fields",
         "types", "nearest_demos", *_LISTS}  # fmt: skip
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
        "types": types.definitions,
    }
    data |= {key: value for key, value in optional.items() if value}
    if spec.deprecated is not None:
        data["deprecated"] = spec.deprecated
    if spec.cache_ttl is not None:
        data["cache_ttl"] = spec.cache_ttl
    if spec.nearest_demos is not None:
        data["nearest_demos"] = spec.nearest_demos
    return data


def _field_to_dict(item: FieldSpec, types: TypeDescriber, spec: SignatureData) -> dict[str, Any]:
    where = f"field {item.name!r}"
    try:
        described = types.describe(item.shape)
    except UnsupportedTypeError as error:
        raise SignatureDefinitionError(f"signature {spec.name!r}: {where}: type {error}") from error
    except SignatureDefinitionError as error:
        raise SignatureDefinitionError(f"signature {spec.name!r}: {where}: {error}") from error
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
        return jsonable(value)
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
    annotations = [types.build(_checked(part).at("type")) for part in parts]
    types.finish()
    fields = [_field_from_dict(part, annotation) for part, annotation in zip(parts, annotations, strict=True)]
    deprecated, ttl, provenance = top.get("deprecated"), top.get("cache_ttl"), top.get("provenance")
    nearest = top.get("nearest_demos")
    return {
        "name": top.at("name").text(at_most=200),
        "instructions": top.at("instructions").text(),
        "fields": fields,
        "version": top.at("version").text(at_most=200),
        "category": _text(top, "category") or "",
        "tags": _texts(top, "tags"),
        "aliases": _texts(top, "aliases"),
        "examples": _mappings(top, "examples"),
        "demos": _mappings(top, "demos"),
        "deprecated": deprecated.text() if deprecated else None,
        "cache_ttl": ttl.scalar(int, float) if ttl else None,
        "provenance": copy.deepcopy(dict(provenance.mapping())) if provenance else {},
        "nearest_demos": nearest.scalar(int) if nearest else None,
    }


def _check_schema(top: CheckedJson) -> None:
    schema = top.at("schema").scalar(int)
    if schema > SCHEMA_VERSION:
        raise top.at("schema").error(
            f"version {schema} is newer than {SCHEMA_VERSION}, the newest that this hokusai-core reads; upgrade it"
        )
    if schema < 1:
        raise top.at("schema").error("there is no such version")


def _checked(part: CheckedJson) -> CheckedJson:
    part.only(_FIELD_KEYS)
    return part


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


def _text(reader: CheckedJson, key: str) -> str | None:
    part = reader.get(key)
    return part.text() if part else None


def _texts(reader: CheckedJson, key: str) -> tuple[str, ...]:
    part = reader.get(key)
    return part.texts() if part else ()


def _mappings(reader: CheckedJson, key: str) -> tuple[dict[str, Any], ...]:
    part = reader.get(key)
    return tuple(copy.deepcopy(dict(item.mapping())) for item in part.items()) if part else ()
