"""Pydantic models that replace attrs models in prompts: DSPy and JSON schema know only pydantic."""

from __future__ import annotations

import functools
import operator
import threading
import types
import typing
from typing import Any

from attrs import evolve
from pydantic import BaseModel

from hokusai_core.process import fork_callbacks
from hokusai_core.signatures.field_types import is_attrs_model
from hokusai_core.signatures.model_fields import model_fields, pydantic_model

__all__ = ["Mirrors"]


class Mirrors:
    """Makes each mirror once, so that equal annotations stay equal. Belongs to one signature."""

    def __init__(self) -> None:
        self._made: dict[type, type[BaseModel]] = {}
        self._lock = threading.RLock()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    def annotation(self, annotation: Any) -> Any:
        """Return ``annotation`` with every attrs model replaced by its mirror."""
        with self._lock:
            started: dict[type, str] = {}
            mirrored = self._replace(annotation, started)
            scope = {name: self._made[cls] for cls, name in started.items()}
            for cls in started:
                # Recursive models refer to each other by name until all of them exist.
                self._made[cls].model_rebuild(force=True, _types_namespace=scope)
            return mirrored

    def _replace(self, annotation: Any, started: dict[type, str]) -> Any:
        if is_attrs_model(annotation):
            if annotation in self._made:
                return self._made[annotation]
            if annotation in started:
                return typing.ForwardRef(started[annotation])
            return self._make(annotation, started)
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if not args or origin is typing.Literal:
            return annotation
        if origin is typing.Annotated:
            return typing.Annotated[(self._replace(args[0], started), *args[1:])]
        replaced = tuple(self._replace(arg, started) for arg in args)
        if replaced == args:
            return annotation
        if origin is typing.Union or origin is types.UnionType:
            return functools.reduce(operator.or_, replaced)
        return origin[replaced]

    def _make(self, cls: type, started: dict[type, str]) -> type[BaseModel]:
        started[cls] = f"{cls.__name__}_{len(started)}"
        items = [evolve(item, annotation=self._replace(item.annotation, started)) for item in model_fields(cls)]
        self._made[cls] = pydantic_model(cls.__name__, vars(cls).get("__doc__") or None, items)
        return self._made[cls]
