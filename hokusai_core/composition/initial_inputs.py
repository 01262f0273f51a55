"""The initial inputs of a chain as fields, with the types of the inputs that take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from hokusai_core.composition.references import FromInput, parts
from hokusai_core.composition.targets import Resolved, ResolvedChain, ResolvedSignature
from hokusai_core.signatures import FieldSpec
from hokusai_core.signatures.field_types import walk

__all__ = ["InputUse", "initial_fields", "uses_of"]


@frozen(eq=False)
class InputUse:
    """An initial input where it is used.

    Args:
        name: its name.
        item: the input of a signature that takes it.
        whole: whether it is all of that input, and not an item of a list or mapping.
    """

    name: str
    item: FieldSpec
    whole: bool


def initial_fields(chain: ResolvedChain) -> tuple[FieldSpec, ...]:
    """Return the initial inputs of a chain as required input fields, those that it declares first.

    A field has the type of the inputs that take it. If they differ, or only a part of an input comes from it, it is
    ``Any``; where one of them takes pictures, sounds or files, it is of that type. It is sensitive if one of them is.
    """
    uses: dict[str, list[InputUse]] = {name: [] for name in chain.inputs or ()}
    for use in _uses_in(chain):
        uses.setdefault(use.name, []).append(use)
    return tuple(_field(name, found) for name, found in uses.items())


def _field(name: str, uses: list[InputUse]) -> FieldSpec:
    sensitive = any(use.item.sensitive for use in uses)
    medium = next((_medium(use) for use in uses if use.item.involves_media and use.item.shape.involves("media")), None)
    if medium is not None:
        return FieldSpec(name, "input", medium, sensitive=sensitive)
    first = uses[0].item if uses else None
    if first is None or not all(use.whole and use.item.shape == first.shape for use in uses):
        return FieldSpec(name, "input", Any, sensitive=sensitive)
    # A step that can do without it takes an empty text, too.
    least = first.min_length if any(use.item.required for use in uses) or first.annotation is not str else 0
    return evolve(first, name=name, aliases=(), required=True, default=None, sensitive=sensitive, min_length=least)


def _medium(use: InputUse) -> Any:
    """Return the type of an initial input of which an input of pictures, sounds or files takes all, or an item."""
    return use.item.annotation if use.whole else next(part.cls for part in walk(use.item.shape) if part.kind == "media")


def _uses_in(chain: ResolvedChain) -> Iterator[InputUse]:
    for step in chain.steps:
        yield from _uses(step.sources, step.target)


def _uses(sources: Mapping[str, Any], target: Resolved) -> Iterator[InputUse]:
    for key, source in sources.items():
        names = [part.name for part in parts(source) if isinstance(part, FromInput)]
        for taken in uses_of(target, key) if names else ():
            for name in names:
                yield InputUse(name, taken.item, taken.whole and isinstance(source, FromInput))


def uses_of(target: Resolved, key: str) -> Iterator[InputUse]:
    """Yield the inputs of signatures that take the input ``key`` of a step or branch."""
    if isinstance(target, ResolvedSignature):
        item = target.field(key)
        if item is not None:
            yield InputUse(key, item, whole=True)
    elif isinstance(target, ResolvedChain):
        yield from (use for use in _uses_in(target) if use.name == key)
    else:
        for branch in target.branches:
            if branch.sources is None:
                yield from uses_of(branch.target, key)
            else:
                yield from (use for use in _uses(branch.sources, branch.target) if use.name == key)
