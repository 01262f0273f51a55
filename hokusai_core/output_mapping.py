"""OutputMapping: typed outputs by name, of which ``dict`` makes a copy that JSON can hold."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Mapping, ValuesView
from typing import Any, Final, NoReturn

__all__ = ["OutputMapping"]

_SCALARS: Final = frozenset((str, int, float, bool, type(None)))


class OutputMapping(dict[str, Any]):
    """A read-only mapping of typed outputs. ``dict(...)`` and ``{**...}`` of it hold their JSON forms.

    ``[]``, ``get``, ``items``, ``values`` and ``==`` give the typed values. Python copies what a dict holds without
    asking its methods, so the dict itself holds the JSON forms: a date as a text, an enum as its value, a model as a
    dict. A value of a class without a JSON form stays as it is. Subclasses call ``_fill`` once and define
    ``__getitem__``.
    """

    __slots__ = ()

    def _fill(self, values: Mapping[str, Any]) -> None:
        """Hold the JSON forms of values."""
        dict.update(self, values)
        for name, value in values.items():
            if type(value) not in _SCALARS:
                dict.__setitem__(self, name, _json_form(value))

    def __contains__(self, name: Any) -> bool:
        try:
            self[name]
        except KeyError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self.items()) == dict(other.items())

    def __ne__(self, other: object) -> bool:
        return not self == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the typed value of an output, ``default`` if there is none."""
        try:
            return self[name]
        except KeyError:
            return default

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # that of dict is printed with its values
        """Return names and typed values."""
        return ItemsView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # that of dict is printed with its values
        """Return the typed values."""
        return ValuesView(self)

    def __rich_repr__(self) -> Iterable[Any]:
        """Yield the names only: rich would print the values, and a field may be sensitive."""
        yield list(self)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is read-only; dict(result.outputs) is a copy that can be changed")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


def _json_form(value: Any) -> Any:
    if type(value) is list and all(type(item) in _SCALARS for item in value):
        return value[:]
    from hokusai_core.json_encoding import jsonable  # most outputs are texts and numbers, and do without

    try:
        return jsonable(value)
    except Exception:  # a class may say in code of its own what its JSON form is
        return value
