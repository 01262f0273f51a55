"""The fields of pydantic and attrs models, read into one form, and checked against the table of types."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from attrs import NOTHING, fields, frozen

from hokusai_core.cached_property import cached_property
from hokusai_core.signatures.constraints import Constraints, constraints_of, lost_rules, reads_raw_values
from hokusai_core.signatures.field_types import Shape, UnsupportedTypeError, is_attrs_model, parse_annotation, walk

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "ModelField",
    "custom_serializers",
    "deep_kinds",
    "field_names",
    "model_fields",
    "model_problems",
    "pydantic_model",
    "reads_itself",
]


@frozen(slots=False)
class ModelField:
    """A field of a pydantic or attrs model.

    Args:
        name: name in Python; of an attrs field the name of its argument.
        annotation: resolved type, without constraints.
        required: whether a value has to be given.
        default: default value, where there is one that is not computed.
        factory: what computes the default, else None.
        constraints: its constraints.
        description: part of the prompt.
        title: part of the prompt, where it is set.
        alias: name in JSON, where it differs.
        examples: part of the prompt.
        schema_extra: further entries of the JSON schema.
        attribute: attribute that holds the value.
        discriminator: name of the field that tells the members of a union apart.
        lost: rules of pydantic that a description cannot carry; validators are not among them.
        of_model: whether pydantic validates it.
        raw: whether a validator of the model reads the value as it was given.
        strict: whether pydantic takes no text for a number.
    """

    name: str
    annotation: Any
    required: bool
    default: Any = None
    factory: Callable[[], Any] | None = None
    constraints: Constraints = Constraints()
    description: str = ""
    title: str | None = None
    alias: str | None = None
    examples: tuple[Any, ...] = ()
    schema_extra: Any = None
    attribute: str = ""
    discriminator: str | None = None
    lost: tuple[str, ...] = ()
    of_model: bool = False
    raw: bool = False
    strict: bool = False

    @cached_property
    def shape(self) -> Shape:
        """The annotation, parsed.

        Raises:
            UnsupportedTypeError: where it is not in the table of types.
        """
        return parse_annotation(self.annotation, of_model=self.of_model)


def model_fields(cls: Any) -> list[ModelField]:
    """Return the fields of a pydantic or attrs model, in order.

    Raises:
        UnsupportedTypeError: where its annotations cannot be resolved.
    """
    return _attrs_fields(cls) if is_attrs_model(cls) else _pydantic_fields(cls)


def _pydantic_fields(cls: Any) -> list[ModelField]:
    if not cls.__pydantic_complete__ and not cls.model_rebuild(raise_errors=False):
        raise UnsupportedTypeError(
            f"{cls.__name__} mentions a type that is not known yet; define it before the signature, "
            f"or call {cls.__name__}.model_rebuild()"
        )
    raw = {
        field
        for decorator in cls.__pydantic_decorators__.field_validators.values()
        if decorator.info.mode != "after"
        for field in decorator.info.fields
    }
    strict = bool(cls.model_config.get("strict"))
    return [
        _pydantic_field(name, info, raw=name in raw or "*" in raw, strict=strict)
        for name, info in cls.model_fields.items()
    ]


def _pydantic_field(name: str, info: Any, *, raw: bool, strict: bool) -> ModelField:
    required = info.is_required()
    alias = info.validation_alias or info.alias
    if info.default_factory is not None and getattr(info, "default_factory_takes_validated_data", False):
        raise UnsupportedTypeError(f"field {name!r} computes its default from other fields; give it a fixed default")
    return ModelField(
        name=name,
        annotation=info.annotation,
        required=required,
        default=None if required or info.default_factory else info.default,
        factory=info.default_factory,
        constraints=constraints_of(info.metadata, complete=False),
        description=info.description or "",
        title=info.title,
        alias=alias if isinstance(alias, str) else None,
        examples=tuple(info.examples or ()),
        schema_extra=info.json_schema_extra,
        attribute=name,
        discriminator=info.discriminator if isinstance(info.discriminator, str) else None,
        lost=tuple(lost_rules(info.metadata)),
        of_model=True,
        raw=raw or reads_raw_values(info.metadata),
        strict=next((rule.strict for rule in info.metadata if isinstance(getattr(rule, "strict", None), bool)), strict),
    )


def _attrs_fields(cls: Any) -> list[ModelField]:
    try:
        hints = typing.get_type_hints(cls, localns={cls.__name__: cls}, include_extras=True)
    except Exception as error:
        raise UnsupportedTypeError(
            f"{cls.__name__} has an annotation that cannot be resolved ({error}); define the type at module level"
        ) from error
    return [_attrs_field(item, hints.get(item.name, item.type)) for item in fields(cls) if item.init]


def _attrs_field(item: Any, annotation: Any) -> ModelField:
    factory = None
    if type(item.default).__name__ == "Factory":  # attrs.Factory, which its type stubs declare as a function
        if item.default.takes_self:
            raise UnsupportedTypeError(f"field {item.name!r} computes its default from other fields; make it fixed")
        factory = item.default.factory
    return ModelField(
        name=item.alias,
        annotation=Any if annotation is None else annotation,
        required=item.default is NOTHING,
        default=None if item.default is NOTHING or factory else item.default,
        factory=factory,
        description=str(item.metadata.get("description", "")),
        attribute=item.name,
    )


def pydantic_model(name: str, doc: str | None, items: Iterable[ModelField], config: Any = None) -> type[BaseModel]:
    """Return a new pydantic model with these fields."""
    from pydantic import Field, create_model

    fields: dict[str, Any] = {item.name: (item.annotation, Field(**_options(item))) for item in items}
    made: type[BaseModel] = create_model(name, __config__=config, __doc__=doc, **fields)
    return made


def _options(item: ModelField) -> dict[str, Any]:
    """Return the arguments of pydantic's ``Field``."""
    texts = {key: getattr(item, key) for key in ("description", "title", "alias", "discriminator")}
    given = texts | {"examples": list(item.examples), "json_schema_extra": item.schema_extra}
    options = {key: value for key, value in given.items() if value not in (None, "", [])} | item.constraints.to_dict()
    if item.factory is not None:
        options["default_factory"] = item.factory
    elif not item.required:
        options["default"] = item.default
    return options


def reads_itself(cls: Any) -> bool:
    """Return whether a pydantic model has validators that are called with its data as they were given."""
    return any(item.info.mode != "after" for item in cls.__pydantic_decorators__.model_validators.values())


def field_names(cls: Any) -> frozenset[str]:
    """Return the names of the fields of a model in data, aliases among them."""
    return frozenset(name for item in model_fields(cls) for name in (item.name, item.alias) if name)


def deep_kinds(shape: Shape) -> frozenset[str]:
    """Return the kinds of everything in ``shape``, models looked into.

    ``raw`` stands for what validators of a model read, ``any`` also for fields that it does not declare, and
    ``serialized`` for models that write themselves in a way of their own.
    """
    found: set[str] = set()
    seen: set[type] = set()
    pending = [shape]
    while pending:
        for part in walk(pending.pop()):
            found.add("raw" if part.raw else part.kind)
            if part.kind in ("model", "attrs") and part.cls not in seen:
                seen.add(part.cls)
                if part.kind == "model":
                    found.update({"any"} if part.cls.model_config.get("extra") == "allow" else ())
                    found.update({"serialized"} if custom_serializers(part.cls) else ())
                for item in model_fields(part.cls):
                    found.update({"raw"} if item.raw else ())
                    pending.append(item.shape)
    return frozenset(found)


def custom_serializers(cls: Any) -> bool:
    """Return whether a pydantic model writes itself in a way that its fields do not tell."""
    decorators = cls.__pydantic_decorators__
    return bool(decorators.field_serializers or decorators.model_serializers)


def model_problems(shape: Shape) -> list[str]:
    """Return what is wrong with the models in ``shape``, however deep, each as ``Model.field: problem``."""
    return list(_problems(shape, set()))


def _problems(shape: Shape, seen: set[type]) -> Iterator[str]:
    for part in walk(shape):
        if part.kind not in ("model", "attrs") or part.cls in seen:
            continue
        seen.add(part.cls)
        try:
            found = model_fields(part.cls)
        except UnsupportedTypeError as error:
            yield str(error)
            continue
        for item in found:
            try:
                inner = item.shape
            except UnsupportedTypeError as error:
                yield f"{part.cls.__name__}.{item.name}: {error}"
                continue
            if part.kind == "model" and inner.involves("attrs"):
                yield f"{part.cls.__name__}.{item.name}: a pydantic model cannot hold an attrs model"
                continue
            if inner.involves("media", "history"):
                yield f"{part.cls.__name__}.{item.name}: media and conversations are inputs of their own, or in a list"
                continue
            yield from _problems(inner, seen)
