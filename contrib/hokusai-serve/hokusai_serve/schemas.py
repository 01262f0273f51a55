"""SignatureSchemas: what a signature takes and gives as JSON Schema, and the check of requests against it.

The API is strict: a request has exactly the types that the schema tells. Texts do not stand for lists or numbers, and
aliases are not taken. Requests are checked by pydantic; the values then go to the executor as they came, which makes
its own checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NotRequired, Union

from attrs import frozen
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict

from hokusai_core.plugin_api import FieldSpec, SignatureSpec, input_schema, output_schema
from hokusai_serve.json_text import json_bytes
from hokusai_serve.limits import ServeLimits
from hokusai_serve.problems import Problem

__all__ = ["ExecuteRequest", "SignatureSchemas"]

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
#: Problems of a request that an error lists.
_TOLD: Final = 50
#: Media type of a data URI -> what it begins with.
_MEDIA: Final = {"image": "data:image/", "audio": "data:audio/", "file": "data:"}
_REF: Final = "#/$defs/{model}"


@frozen
class ExecuteRequest:
    """What a client asks for.

    Args:
        inputs: inputs of an execution, as they came.
        rows: inputs of each row of a batch.
        options: options of the execution.
    """

    inputs: Mapping[str, Any]
    rows: list[Mapping[str, Any]]
    options: dict[str, Any]


class SignatureSchemas:
    """The schemas of one signature; make it once, use it for every request.

    Args:
        spec: the signature.
        limits: bounds of requests.
    """

    def __init__(self, spec: SignatureSpec, limits: ServeLimits) -> None:
        self._spec, self._limits = spec, limits
        taken = {item.name: _optional(_input_type(spec, item), item.required) for item in spec.inputs.values()}
        inputs = _mapping_type("Inputs", taken, _STRICT)
        self._request = TypeAdapter(_request("ExecuteRequest", {"inputs": inputs}, limits))
        several: Any = list[inputs]  # type: ignore[valid-type]  # known at run time only
        rows = Annotated[several, Field(min_length=1, max_length=limits.rows, description="Inputs of each row.")]
        self._batch = TypeAdapter(_request("BatchRequest", {"rows": rows}, limits))

    # -- schemas ------------------------------------------------------------------------------------------------

    def inputs(self, ref: str = _REF) -> dict[str, Any]:
        """Return the schema of the inputs.

        Args:
            ref: how the schema refers to the types that it holds.
        """
        return input_schema(self._spec, ref) | {"title": f"{self._spec.name} inputs"}

    def outputs(self, ref: str = _REF) -> dict[str, Any]:
        """Return the schema of the outputs; see ``inputs``."""
        return output_schema(self._spec, ref) | {"title": f"{self._spec.name} outputs"}

    def request(self, ref: str = _REF) -> dict[str, Any]:
        """Return the schema of a request to execute; see ``inputs``."""
        schema = self._request.json_schema(ref_template=ref)
        return self._with_inputs(schema, schema["properties"]["inputs"], ref)

    def batch(self, ref: str = _REF) -> dict[str, Any]:
        """Return the schema of a request for a batch; see ``inputs``."""
        schema = self._batch.json_schema(ref_template=ref)
        return self._with_inputs(schema, schema["properties"]["rows"]["items"], ref)

    def _with_inputs(self, schema: dict[str, Any], place: Mapping[str, Any], ref: str) -> dict[str, Any]:
        """Return the schema of a request, with the schema of the inputs where ``place`` refers to."""
        inputs, name = self.inputs(ref), place["$ref"].removeprefix(ref.format(model=""))
        return schema | {"$defs": inputs.pop("$defs", {}) | {name: inputs}}

    # -- requests -----------------------------------------------------------------------------------------------

    def read(self, body: bytes, *, batch: bool = False) -> ExecuteRequest:
        """Return the request in a body.

        Args:
            body: the body, JSON.
            batch: whether rows are asked for.

        Raises:
            Problem: 400 where it is not JSON, 422 where it does not fit; tells every problem.
        """
        adapter = self._batch if batch else self._request
        try:
            adapter.validate_json(body, strict=True)
            data = from_json(body, allow_inf_nan=False)  # the parser of pydantic: both see the same values
        except ValidationError as error:
            data = self._with_whole_numbers(body, adapter, error)
        except ValueError:
            raise Problem(400, "json", "the body holds NaN or an infinity, which JSON does not have") from None
        options = {name: value for name, value in data.items() if name not in ("inputs", "rows")}
        options["timeout"] = min(options.get("timeout", self._limits.timeout), self._limits.timeout)
        return ExecuteRequest(data.get("inputs", {}), data.get("rows", []), options)

    def _with_whole_numbers(self, body: bytes, adapter: TypeAdapter[Any], error: ValidationError) -> Any:
        """Return the request, with 5.0 taken as 5: both are the same integer in JSON Schema, but not in pydantic.

        Raises:
            Problem: it does not fit for another reason.
        """
        if not any(item["type"] == "int_type" for item in error.errors(include_url=False, include_context=False)):
            raise self._problem(error) from None
        data = _whole(from_json(body))
        try:
            adapter.validate_json(json_bytes(data), strict=True)
        except ValidationError as second:
            raise self._problem(second) from None
        return data

    def _problem(self, error: ValidationError) -> Problem:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        if found and found[0]["type"] == "json_invalid":
            return Problem(400, "json", f"the body is not JSON: {found[0]['msg'].partition(': ')[2]}")
        told = [self._told(item["loc"], str(item["type"]), str(item["msg"])) for item in found[:_TOLD]]
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        names = ", ".join(dict.fromkeys(item["field"] for item in told))
        return Problem(422, "inputs", f"the request does not fit {self._spec.name}: {names}{more}", errors=told)

    def _told(self, location: tuple[int | str, ...], code: str, message: str) -> dict[str, str]:
        names = {str(part) for part in location}
        if names & self._spec.sensitive:
            message = "does not fit its type"  # a message of a validator may quote the value
        elif code == "extra_forbidden":
            known = {alias: item.name for item in self._spec.inputs.values() for alias in item.aliases}
            name = str(location[-1])
            message = f"is another name of {known[name]}; write that" if name in known else "is not known"
        elif code == "missing":
            message = "is required"
        return {"field": ".".join(map(str, location)) or "body", "code": code, "message": message}


def _whole(data: Any) -> Any:
    """Return JSON data with whole numbers as integers."""
    if isinstance(data, dict):
        return {name: _whole(item) for name, item in data.items()}
    if isinstance(data, list):
        return [_whole(item) for item in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def _request(name: str, fields: dict[str, Any], limits: ServeLimits) -> Any:
    """Return the type of a request: its fields, and the options that every execution takes."""
    seconds = Field(gt=0, le=limits.timeout, description="Seconds for each execution, retries included.")
    cache = Field(description="Serve a stored answer (use), call and store the answer (refresh), or neither (off).")
    tags = Field(description="Free tags for trackers.")
    kept = Field(description="Whether the execution is kept, so that it can be rated.")
    options: dict[str, Any] = {
        "timeout": NotRequired[Annotated[float, seconds]],
        "cache": NotRequired[Annotated[Literal["use", "refresh", "off"], cache]],
        "tags": NotRequired[Annotated[dict[str, str], tags]],
        "collect_feedback": NotRequired[Annotated[bool, kept]],
    }
    return _mapping_type(name, {**fields, **options}, _STRICT)


def _mapping_type(name: str, fields: Mapping[str, Any], config: ConfigDict) -> Any:
    """Return the type of mappings with these fields; a field may have any name, also that of a method of a model."""
    make: Any = TypedDict  # type checkers know only types that are written down
    made = make(name, dict(fields))
    made.__pydantic_config__ = config
    return made


def _optional(annotation: Any, required: bool) -> Any:
    return annotation if required else NotRequired[annotation]


def _input_type(spec: SignatureSpec, item: FieldSpec) -> Any:
    """Return the type of an input as a request has it: pictures, sounds and files are data URIs."""
    if item.involves_media:
        return _media_type(item.shape)
    return spec.model_annotation(item.name)


def _media_type(shape: Any) -> Any:
    if shape.kind == "media":
        return Annotated[str, Field(pattern=f"^{_MEDIA[shape.cls.__name__.lower()]}")]
    if shape.kind == "history":
        return list[dict[str, Any]]
    if shape.kind in ("list", "tuple"):
        return list[_media_type(shape.args[0])]  # type: ignore[misc]  # known at run time only
    if shape.kind == "union":
        return Union[tuple(_media_type(arg) for arg in shape.args)]  # noqa: UP007  # of a number known at run time
    if shape.kind == "constrained":
        return _media_type(shape.args[0])
    return None if shape.kind == "null" else Any
