"""InputBinder: turns what a caller gives into the inputs of a signature, or lists every problem."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from hokusai_core.errors import InputError
from hokusai_core.media import MediaPolicy
from hokusai_core.results import Problem
from hokusai_core.signatures.field_types import Shape
from hokusai_core.signatures.fields import FieldSpec, default_value
from hokusai_core.signatures.lenient_input import Coercer, CoercionError, coercer, type_name
from hokusai_core.signatures.media_input import check_media, read_paths
from hokusai_core.signatures.signature_data import SignatureData
from hokusai_core.suggestions import did_you_mean, enumerate_names

__all__ = ["InputBinder"]

_MISSING: Final = object()
_DEFAULT_POLICY: Final = MediaPolicy()
_EXACT: Final[dict[str, type]] = {"str": str, "int": int, "bool": bool}
_TEXTS: Final = {str}
_GUESSED: Final = 20
#: Problems that the message of an error lists; the error has all of them.
_TOLD: Final = 50
_IMMUTABLE = (str, int, float, bool, type(None))


class InputRule:
    """Everything about one input that can be worked out before a value is there."""

    __slots__ = ("aliases", "check", "default", "exact", "media", "name", "required", "shape", "texts")

    def __init__(self, item: FieldSpec, choices: bool) -> None:
        self.name, self.aliases, self.required = item.name, item.aliases, item.required
        #: Values of exactly this type need neither coercion nor checks, unless they are empty texts.
        self.exact = None if item.constraints else _EXACT.get(item.shape.kind)
        #: Whether the same holds for a list of texts that is not empty.
        self.texts = not (item.constraints or choices) and _is_list_of_texts(item.shape)
        self.shape, self.media = item.shape, item.involves_media
        self.check = _checker(item, not choices and (not item.required or item.min_length == 0), choices)
        unset = default_value(item)
        self.default = partial(copy.copy if isinstance(unset, _IMMUTABLE) else copy.deepcopy, unset)


def _checker(item: FieldSpec, may_be_empty: bool, choices: bool) -> Coercer:
    coerce, constraints, optional = coercer(item.shape), item.constraints, item.shape.optional

    def check(value: Any) -> Any:
        if value is None and not optional:
            raise CoercionError("is required, and None was given", "missing")
        value = coerce(value)
        if not may_be_empty and value is not None and _empty(value):
            raise CoercionError("must not be empty", "empty")
        if choices and any(not choice.strip() for choice in value):
            raise CoercionError("must not hold an empty choice", "empty")
        violation = constraints.violation(value)
        if violation:
            raise CoercionError(violation[1], violation[0])
        return value

    return check


def _checked_medium(rule: InputRule, value: Any, policy: MediaPolicy) -> Any:
    checked = rule.check(read_paths(rule.shape, value, policy))
    check_media(checked, policy)
    return checked


def _is_list_of_texts(shape: Shape) -> bool:
    return shape.kind == "list" and shape.args[0].kind == "str"


def _empty(value: Any) -> bool:
    return not value.strip() if type(value) is str else type(value) in (list, dict) and not value


class InputBinder:
    """Binds inputs to one signature; make it once, use it from any thread.

    Args:
        spec: the signature.

    Example:
        >>> spec = SignatureData("S", "", (FieldSpec("text", "input", aliases=("document",)), FieldSpec("y", "output")))
        >>> InputBinder(spec).bind({"document": "Hello"})
        {'text': 'Hello'}
    """

    __slots__ = ("_names", "_rules", "_spec")

    def __init__(self, spec: SignatureData) -> None:
        sources = {item.choices_from for item in spec.outputs.values()}
        self._spec = spec
        self._rules = tuple(InputRule(item, item.name in sources) for item in spec.inputs.values())
        self._names = frozenset(name for rule in self._rules for name in (rule.name, *rule.aliases))

    def bind(self, inputs: Mapping[str, Any], media: MediaPolicy = _DEFAULT_POLICY) -> dict[str, Any]:
        """Return canonical field name -> coerced value, in field order, with defaults filled in.

        Args:
            inputs: input field or alias -> value.
            media: which pictures, sounds and files are taken.

        Raises:
            InputError: with every problem of the inputs.
        """
        bound, problems = self._bind(inputs, media)
        if problems:
            lines = "".join(f"\n- {problem}" for problem in problems[:_TOLD])
            if len(problems) > _TOLD:
                lines += f"\n- and {len(problems) - _TOLD} more problems"
            message = f"inputs do not fit signature {self._spec.name!r}:{lines}"
            raise InputError(message, problems=problems, signature=self._spec.name)
        return bound

    def problems(self, inputs: Mapping[str, Any], media: MediaPolicy = _DEFAULT_POLICY) -> list[Problem]:
        """Return every problem of the inputs, an empty list for none. The arguments are those of ``bind``."""
        return self._bind(inputs, media)[1]

    def _bind(self, inputs: Mapping[str, Any], media: MediaPolicy) -> tuple[dict[str, Any], list[Problem]]:
        if type(inputs) is not dict and not isinstance(inputs, Mapping):  # the first is ten times as fast
            field = next(iter(self._spec.inputs), "field")
            message = f"expected a mapping of field name to value, got {type_name(inputs)}; write {{{field!r}: ...}}"
            return {}, [Problem("inputs", "wrong_type", message)]
        bound: dict[str, Any] = {}
        problems: list[Problem] = []
        known = 0
        for rule in self._rules:
            name, value = rule.name, inputs.get(rule.name, _MISSING)
            if rule.aliases:
                given = [name for name in (rule.name, *rule.aliases) if name in inputs]
                if len(given) > 1:
                    message = f"is given {len(given)} times, as {enumerate_names(given)}; keep one of them"
                    problems.append(Problem(given[0], "duplicate", message))
                    known += len(given)
                    continue
                if given:
                    name, value = given[0], inputs[given[0]]
            known += value is not _MISSING
            kind = type(value)
            if kind is rule.exact and not (kind is str and (not value or value.isspace())):
                bound[rule.name] = value
            elif kind is list and rule.texts and {*map(type, value)} == _TEXTS:
                bound[rule.name] = [*value]
            elif value is _MISSING and rule.required:
                label = f" (or {', '.join(rule.aliases)})" if rule.aliases else ""
                problems.append(Problem(rule.name, "missing", f"is required{label}"))
            elif not rule.required and (value is _MISSING or value is None):
                bound[rule.name] = rule.default()
            else:
                try:
                    bound[rule.name] = _checked_medium(rule, value, media) if rule.media else rule.check(value)
                except CoercionError as error:
                    problems.append(Problem(name, error.code, str(error)))
        if known < len(inputs):
            unknown = [name for name in inputs if name not in self._names]
            # A guess takes a fraction of a millisecond; a mapping of something else altogether may have very many keys.
            problems += (self._unknown(name, guess=len(unknown) <= _GUESSED) for name in unknown)
        return bound, problems

    def _unknown(self, name: Any, *, guess: bool) -> Problem:
        if not isinstance(name, str):
            return Problem("inputs", "unknown", f"field names are texts; one is of type {type_name(name)}")
        meant = did_you_mean(name, self._names) if guess else ""
        known = "" if meant else f"; it has {enumerate_names(self._spec.inputs)}"
        return Problem(name[:100], "unknown", f"is no input of {self._spec.name}{meant}{known}")
