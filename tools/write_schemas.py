"""Write the JSON Schemas of what commands print and files hold, into docs/schemas/.

python tools/write_schemas.py
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from hokusai_core.json_encoding import jsonable
from hokusai_core.results import ExecutionResult, Usage
from hokusai_core.settings import ExecutorOptions, executor_options
from hokusai_evaluate import Evaluation
from hokusai_evaluate.evaluation_figures import RowReport
from hokusai_teleprompt.report import Report
from tools.schema_of_types import argument_texts, objects, schema_of

__all__ = ["FOLDER", "schemas"]

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"
Schema = dict[str, Any]
Schemas = dict[str, Schema]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer"}
_YES: Schema = {"type": "boolean"}
_VERSION: Schema = {"const": 1, "description": "Version of what the names mean."}
_VALUES: Schema = {"type": "object", "description": "Values by field."}


def schemas() -> Schemas:
    """Return every schema by the name of its file."""
    made = {
        "result": ("What `hokusai run --json` prints", _result()),
        "batch-line": ("A line of what `hokusai batch` writes", _batch_line()),
        "batch-totals": ("What `hokusai batch -o FILE --json` prints", _batch_totals()),
        "signatures": ("What `hokusai list --json` prints", _signatures()),
        "models": ("What `hokusai models --json` prints", _models()),
        "evaluation": ("What `hokusai evaluate --json` prints, and the file of `-o`", _evaluation()),
        "optimization": ("What `hokusai optimize --json` prints", _optimization()),
        "signature": ("The file of a signature, as `hokusai export` writes it", _signature()),
        "optimized-signature": ("The file of an optimized signature, as `hokusai optimize -o` writes it", _artifact()),
        "chain": ("The file of a chain, in TOML, YAML or JSON", _chain()),
        "settings": ("The file hokusai.toml, and the table tool.hokusai of pyproject.toml", _settings()),
    }
    return {f"{name}.json": {"$schema": _DRAFT, "title": title, **schema} for name, (title, schema) in made.items()}


def _or_null(schema: Mapping[str, Any]) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _of_result(*names: str) -> Schemas:
    """Return properties that are arguments of a result, described by its docstring."""
    hints, texts = typing.get_type_hints(ExecutionResult, include_extras=True), argument_texts(ExecutionResult)
    return {name: {"description": texts[name], **schema_of(hints[name])} for name in names}


def _result() -> Schema:
    usage: Schemas = {one.name: schema_of(typing.get_type_hints(Usage)[one.name]) for one in attrs.fields(Usage)}
    return objects(
        {
            "schema_version": _VERSION,
            **_of_result("signature", "signature_version", "fingerprint", "execution_id"),
            "outputs": _VALUES,
            "model": _of_result("model")["model"],
            "usage": {"description": argument_texts(ExecutionResult)["usage"], **objects(usage)},
            **_of_result("cost"),
            "price_source": {"description": "Where the price is from.", **_or_null(_TEXT)},
            **_of_result("latency", "cached"),
            "attempts": {"description": "How often the language model was asked.", **_COUNT},
            "strategy": {"description": "Name of the strategy that answered.", **_or_null(_TEXT)},
            "extras": {"description": "What the strategy gave beside the outputs.", "type": "object"},
            "notes": {"description": argument_texts(ExecutionResult)["notes"], "type": "array", "items": _TEXT},
        }
    )


def _batch_line() -> Schema:
    row: Schemas = {
        "schema_version": _VERSION,
        "index": {"description": "Of the row, from 0.", **_COUNT},
        "inputs": _VALUES,
    }
    figures: Schemas = {
        "outputs": _VALUES,
        **_of_result("execution_id", "signature", "model", "cached"),
        "input_tokens": _COUNT,
        "output_tokens": _COUNT,
        **_of_result("cost", "latency"),
        "strategy": _TEXT,
        "extras": {"type": "object"},
    }
    failure: Schemas = {"error": objects({"type": _TEXT, "message": _TEXT}), "attempts": _COUNT}
    return {
        "anyOf": [
            objects({**row, **figures}, optional=("strategy", "extras"), closed=True),
            objects({**row, **failure}, closed=True),
        ]
    }


def _batch_totals() -> Schema:
    return objects(
        {
            "schema_version": _VERSION,
            "rows": _COUNT,
            "failed": _COUNT,
            "kept": {"description": "Rows that were in the journal.", **_COUNT},
            "tokens": _COUNT,
            "cost": {"description": "US dollars; null where no price is known.", **_or_null(_NUMBER)},
            "output": _TEXT,
            "first_error": _or_null(_TEXT),
        }
    )


def _signatures() -> Schema:
    texts: Schema = {"type": "array", "items": _TEXT}
    signature: Schemas = {
        "name": _TEXT,
        "qualified_name": {"description": "Pack and name.", **_TEXT},
        "aliases": texts,
        "version": _TEXT,
        "promoted": {"description": "Whether an optimized signature stands in its place.", **_YES},
        "category": _TEXT,
        "tags": texts,
        "summary": _TEXT,
        "inputs": texts,
        "outputs": texts,
        "deprecated": _or_null(_TEXT),
        "shadows": {"description": "Signatures of the same name in other packs.", **texts},
        "owner": objects({"plugin": _TEXT, "distribution": _TEXT, "version": _TEXT}),
    }
    return objects({"schema_version": _VERSION, "signatures": {"type": "array", "items": objects(signature)}})


def _models() -> Schema:
    price: Schema = {"description": "US dollars for a million tokens.", **_or_null(_NUMBER)}
    model: Schemas = {
        "name": _TEXT,
        "provider": _TEXT,
        "context": {"description": "Tokens.", **_or_null(_COUNT)},
        "input_price": price,
        "output_price": price,
        "key": {"description": "Variable with the key.", **_TEXT},
        "stands_for": _TEXT,
        "default": _YES,
        "has_key": _YES,
    }
    return objects({"schema_version": _VERSION, "models": {"type": "array", "items": objects(model)}})


def _evaluation() -> Schema:
    schema = schema_of(Evaluation)
    rows = {"description": "The rows: the worst, in a file all.", "type": "array", "items": schema_of(RowReport)}
    properties: Schemas = {"schema_version": _VERSION, **schema["properties"], "complete": _YES, "row_reports": rows}
    return objects(properties, optional=("schema_version",))


def _optimization() -> Schema:
    return objects({"schema_version": _VERSION, **_report()})


def _report() -> Schemas:
    properties: Schemas = schema_of(Report)["properties"]
    return {**properties, "wins": _COUNT, "losses": _COUNT, "ties": _COUNT}


def _signature() -> Schema:
    texts: Schema = {"type": "array", "items": _TEXT}
    records = {"type": "array", "items": {"type": "object"}}
    field: Schemas = {
        "name": _TEXT,
        "role": {"enum": ["input", "output"]},
        "type": {"description": "A plain type, or an object such as one of a list.", "type": ["string", "object"]},
        "description": _TEXT,
        "choices_from": {"description": "The input that an output is chosen from.", **_TEXT},
        "required": _YES,
        "default": {"description": "Value of an input that is not given."},
        "sensitive": {"description": "Whether values are kept out of logs, files and messages.", **_YES},
        "aliases": {"description": "Other names that callers may use.", **texts},
    }
    properties: Schemas = {
        "schema": {"const": 1, "description": "Version of the format."},
        "name": _TEXT,
        "instructions": _TEXT,
        "version": _TEXT,
        "category": _TEXT,
        "tags": texts,
        "aliases": texts,
        "deprecated": {"description": "What to use instead.", **_TEXT},
        "cache_ttl": {"description": "Seconds for which answers are served again.", **_NUMBER},
        "fields": {"type": "array", "items": objects(field, optional=list(field)[3:]), "minItems": 1},
        "types": {"description": "Models and enums that types of fields name.", "type": "object"},
        "examples": {"description": "Inputs and outputs for people, and for testing mode.", **records},
        "demos": {"description": "Inputs and outputs that prompts show.", **records},
        "nearest_demos": {"description": "How many demos a call gets, those nearest to its inputs.", **_COUNT},
        "strategy": {"description": "Name and options of the strategy that answers.", "type": "object"},
        "predictors": {"description": "Instructions and demos of each predictor.", "type": "object"},
        "parameters": {"description": "Parameters of the language model.", "type": "object"},
        "provenance": {"description": "Where the signature is from.", "type": "object"},
    }
    needed = ("schema", "name", "instructions", "version", "fields")
    return objects(properties, optional=[name for name in properties if name not in needed])


def _artifact() -> Schema:
    properties: Schemas = {
        "hokusai": {"const": 1, "description": "Version of the format."},
        "kind": {"const": "optimized-signature"},
        "signature": _signature(),
        "fingerprint": _TEXT,
        "base": {"description": "The signature that it was made from.", **_signature()},
        "base_name": _TEXT,
        "base_fingerprint": _TEXT,
        "versions": {"description": "Versions of the libraries.", "type": "object", "additionalProperties": _TEXT},
        "dataset_hash": {"description": "Digest of the examples.", **_TEXT},
        "promoted": {"description": "Whether it was found to be better.", **_YES},
        "report": objects(_report(), optional=list(_report())),
        "certificate": {"description": "What `hokusai verify` computes again.", "type": "object"},
        "checksum": _TEXT,
    }
    return objects(properties, optional=("certificate",))


def _chain() -> Schema:
    mapping: Schema = {
        "description": "Input of the signature -> a reference, a value, or {literal = VALUE}.",
        "type": "object",
    }
    runs: Schemas = {
        "signature": {"description": "Name of the signature that the step runs.", **_TEXT},
        "steps": {"description": "A chain inside.", "type": "array", "items": {"$ref": "#/$defs/step"}},
        "branches": {"type": "array", "items": {"$ref": "#/$defs/branch"}},
        "name": _TEXT,
        "inputs": mapping,
    }
    one = [{"required": ["signature"]}, {"required": ["steps"]}, {"required": ["branches"]}]
    step: Schemas = {**runs, "strategy": {"type": ["string", "object"]}, "parameters": {"type": "object"}}
    branch: Schemas = {**runs, "when": {"description": "What inputs must be; left out, otherwise.", "type": "object"}}
    chain: Schemas = {
        "name": _TEXT,
        "inputs": {"description": "Names of the initial inputs.", "type": "array", "items": _TEXT},
        "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 1},
    }
    return {
        **objects(chain, optional=("name",), closed=True),
        "$defs": {
            "step": {**objects(step, optional=list(step), closed=True), "oneOf": one},
            "branch": {**objects(branch, optional=list(branch), closed=True), "oneOf": one},
        },
    }


def _settings() -> Schema:
    hints = typing.get_type_hints(ExecutorOptions, include_extras=True)
    names = [name for name, option in executor_options().items() if option.environment]
    properties: Schemas = {}
    for name in ["lm", "models", "adapter", *names]:
        option = executor_options()[name]
        default = jsonable(option.default)
        properties[name] = {
            "description": f"{option.summary[:1].upper()}{option.summary[1:]}.",
            **_in_toml(schema_of(hints[name])),
            **({} if default in (None, {}, []) else {"default": default}),
        }
    return objects(properties, optional=list(properties), closed=True)


def _in_toml(schema: Schema) -> Schema:
    """Return a schema for TOML, which has no null: a text such as "none" stands for no bound."""
    if schema.get("type") in ("boolean", "array", "object"):
        return schema
    found = schema.get("type")
    types = [found] if isinstance(found, str) else list(found or [])
    known = [one for one in types if one != "null"]
    return {"type": sorted({*known, "string"})} if known else {}


def main() -> int:
    """Write the files; return the exit code."""
    FOLDER.mkdir(exist_ok=True)
    written = schemas()
    for path in FOLDER.glob("*.json"):
        if path.name not in written:
            path.unlink()
    for name, schema in written.items():
        (FOLDER / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
