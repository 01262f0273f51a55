"""Find examples that contradict each other: the same inputs with different labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from attrs import evolve, frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import OptimizationExample, SignatureSpec, jsonable
from hokusai_evaluate.example_reader import Examples, input_key, near_key
from hokusai_evaluate.label_scores import label_key
from hokusai_evaluate.stratified_split import label_fields

__all__ = ["without_conflicts"]

#: Conflicts, and rows of one, that a note names.
_NAMED: Final = 10


@frozen
class _Row:
    """A row of one of the sets.

    Args:
        part: name of the set.
        place: its place in the set.
        number: its number in the source, from 1.
        example: the example.
    """

    part: str
    place: int
    number: int
    example: OptimizationExample


def without_conflicts(spec: SignatureSpec, parts: Sequence[tuple[str, Examples]]) -> tuple[list[Examples], list[str]]:
    """Return the sets without the rows that contradict each other, and notes that name all such rows.

    Left out are rows of one set with the same inputs and different labels. Named only are those in different sets, and
    those whose inputs differ in case, blanks or the order of a list.

    Args:
        spec: the signature.
        parts: name and examples of each set.

    Raises:
        ConfigurationError: no example of a set is left.
    """
    rows = [
        _Row(name, place, number, example)
        for name, found in parts
        for place, (number, example) in enumerate(zip(found.numbers, found.items, strict=True))
    ]
    fields = label_fields(spec, [row.example for row in rows])
    same = _conflicts(fields, rows, lambda row: input_key(row.example))
    known = {id(row) for group in same for row in group}
    near = [
        group
        for group in _conflicts(fields, rows, lambda row: near_key(row.example.inputs))
        if not all(id(row) in known for row in group)
    ]
    dropped = {
        (row.part, row.place)
        for name, _ in parts
        for group in _conflicts(fields, [row for row in rows if row.part == name], lambda row: input_key(row.example))
        for row in group
    }
    kept = [_without(name, found, dropped, lambda: _named(spec, fields, same)) for name, found in parts]
    notes = []
    if same:
        left_out = f"; {len(dropped)} rows were left out" if dropped else ""
        notes.append(f"the same inputs have different labels: {_named(spec, fields, same)}{left_out}")
    if near:
        notes.append(
            f"inputs that differ in case, blanks or order only have different labels: {_named(spec, fields, near)}"
        )
    return kept, notes


def _conflicts(fields: Sequence[str], rows: Sequence[_Row], key: Callable[[_Row], str]) -> list[list[_Row]]:
    groups: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [group for group in groups.values() if len(group) > 1 and any(_differ(name, group) for name in fields)]


def _differ(field: str, group: Sequence[_Row]) -> bool:
    labels = {label_key(row.example.outputs[field]) for row in group if row.example.outputs.get(field) is not None}
    return len(labels) > 1


def _without(name: str, found: Examples, dropped: set[tuple[str, int]], named: Callable[[], str]) -> Examples:
    places = [place for place in range(len(found.items)) if (name, place) not in dropped]
    if not places:
        raise ConfigurationError(
            f"{name}: all rows contradict each other, with the same inputs and different labels: {named()}; keep the "
            "right ones"
        )
    return evolve(
        found,
        items=tuple(found.items[place] for place in places),
        keys=tuple(found.keys[place] for place in places),
        numbers=tuple(found.numbers[place] for place in places),
        extras=tuple(found.extras[place] for place in places),
    )


def _named(spec: SignatureSpec, fields: Sequence[str], groups: Sequence[Sequence[_Row]]) -> str:
    shown = [name for name in fields if name not in spec.sensitive]
    texts = []
    for group in groups[:_NAMED]:
        rows = []
        for row in group[:_NAMED]:
            labels = ", ".join(str(jsonable(row.example.outputs.get(name))) for name in shown)
            rows.append(f"row {row.number}" + (f" of {row.part}" if row.part != "examples" else "") + f" ({labels})")
        texts.append(" and ".join(rows) if shown else " and ".join(text.partition(" (")[0] for text in rows))
    more = f"; and {len(groups) - _NAMED} more groups" if len(groups) > _NAMED else ""
    return "; ".join(texts) + more
