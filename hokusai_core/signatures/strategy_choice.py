"""StrategyChoice: the name of a strategy with its options, as a signature declares it or a call asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from hokusai_core.errors import SignatureDefinitionError
from hokusai_core.signatures.branch_conditions import NamedObject

__all__ = ["StrategyChoice"]


#: Characters of an option that a listing shows.
_LONGEST = 60


def _plain(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(value)


def _pairs(value: Iterable[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, version) for name, version in value)


@frozen(eq=False)
class StrategyChoice:
    """A strategy by name, with its options.

    Args:
        name: name of the strategy, such as ``chain_of_thought`` or ``plugin/name``; "" for the one that the signature
            declares.
        options: options of the strategy. ``tools``, ``reward`` and ``strategy`` name other components, or are objects.
            A ``NamedObject`` among them is an object that files hold by its name.
        version: version of the strategy; filled in by the executor.
        parts: name and version of every tool, reward and inner strategy; filled in by the executor.

    Example:
        >>> StrategyChoice.of({"name": "react", "tools": ["search"], "max_iters": 4}).options
        {'tools': ['search'], 'max_iters': 4}
    """

    name: str
    options: Mapping[str, Any] = field(factory=dict, converter=_plain)
    version: str = ""
    parts: tuple[tuple[str, str], ...] = field(default=(), converter=_pairs)

    @classmethod
    def of(cls, value: Any) -> StrategyChoice | None:
        """Return the choice that a name, a mapping of ``name`` and options, or a choice stands for; None for None.

        Raises:
            ValueError: it is none of these.
        """
        if value is None or isinstance(value, cls):
            return value
        if isinstance(value, str) and value.strip():
            return cls(value)
        if isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
            options = dict(value)
            name = options.pop("name", "")
            if isinstance(name, str) and (name or "name" not in value):
                return cls(name, options)
        raise ValueError(
            "expected the name of a strategy, such as 'chain_of_thought', or a mapping of its name and options, such "
            "as {'name': 'react', 'tools': ['search']}"
        )

    def over(self, declared: StrategyChoice | None) -> StrategyChoice:
        """Return this choice of a call, completed from the one that the signature declares.

        A call that names the declared strategy, or none, changes only the options that it gives.

        Raises:
            ValueError: it names no strategy, and the signature declares none.
        """
        if declared is not None and self.name in ("", declared.name):
            return evolve(declared, options={**declared.options, **self.options}, version="", parts=())
        if not self.name:
            raise ValueError(f"the signature declares no strategy that {', '.join(self.options)} could be options of")
        return self

    def named_objects(self) -> list[NamedObject]:
        """Return the objects among the options that files hold by their names."""
        return list(_named_objects(self.options))

    def with_objects(self, objects: Sequence[NamedObject]) -> StrategyChoice:
        """Return this choice with objects in place of what files hold of them."""
        return evolve(self, options=_with_objects(self.options, objects)) if objects else self

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides about answers, as JSON-able data. A function without a version has its name only."""
        return {
            "name": self.name,
            "options": {name: _described(value) for name, value in self.options.items()},
            "version": self.version,
            "parts": [list(part) for part in self.parts],
        }

    @property
    def key(self) -> bytes:
        """Bytes that are equal for equal choices. Objects among the options differ by their identity."""
        objects: list[int] = []

        def noted(value: Any) -> Any:
            objects.append(id(value))
            return _described(value)

        options = {name: _mapped(value, noted) for name, value in self.options.items()}
        from hokusai_core.json_encoding import canonical_json  # listings do without orjson

        return canonical_json([self.name, options, objects])

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON-able data.

        Raises:
            SignatureDefinitionError: an option is an object that has no JSON form, such as a function.
        """
        from hokusai_core.json_encoding import jsonable

        try:
            options = jsonable(dict(self.options))
        except (TypeError, ValueError) as error:
            raise SignatureDefinitionError(
                f"strategy {self.name!r}: an option cannot be written as JSON ({error}); offer the tool or reward as a "
                "component of a plugin, and name it"
            ) from error
        data: dict[str, Any] = {"name": self.name}
        data |= {"options": options} if options else {}
        data |= {"version": self.version} if self.version else {}
        data |= {"parts": [list(part) for part in self.parts]} if self.parts else {}
        return data

    def __str__(self) -> str:
        options = ", ".join(f"{name}={_shown(_mapped(value, _label))}" for name, value in self.options.items())
        return f"{self.name}({options})" if options else self.name


def _named_objects(value: Any) -> Iterator[NamedObject]:
    if isinstance(value, NamedObject):
        yield value
    elif isinstance(value, (list, tuple, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _named_objects(item)


def _with_objects(value: Any, objects: Sequence[NamedObject]) -> Any:
    if isinstance(value, Mapping):
        found = next((item for item in objects if item == value), None)
        return found or {name: _with_objects(item, objects) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_objects(item, objects) for item in value]
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _described(value: Any) -> Any:
    """Return a JSON-able form of an option; of an object its name and version."""
    return _mapped(value, lambda item: {"object": _label(item), "version": str(getattr(item, "version", "") or "")})


def _label(value: Any) -> str:
    name = getattr(value, "name", None) or getattr(value, "__qualname__", None) or type(value).__qualname__
    return str(name)


def _mapped(value: Any, of_object: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _mapped(item, of_object) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_mapped(item, of_object) for item in value]
    return of_object(value)
