"""SignatureData: the content of a signature, for the modules that derive something from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hokusai_core.cached_property import cached_property
from hokusai_core.signatures.fields import FieldSpec, declared_state

if TYPE_CHECKING:
    from hokusai_core.signatures.predictor_state import PredictorState
    from hokusai_core.signatures.strategy_choice import StrategyChoice

__all__ = ["SignatureData"]


def _tuple(value: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value)


@frozen(slots=False)
class SignatureData:
    """What a signature asks for and gives, and how it asks; ``SignatureSpec`` explains each part."""

    name: str
    instructions: str
    fields: tuple[FieldSpec, ...] = field(converter=_tuple)
    version: str = "1.0.0"
    category: str = ""
    tags: tuple[str, ...] = field(default=(), converter=_tuple)
    examples: tuple[Mapping[str, Any], ...] = field(default=(), converter=_tuple)
    aliases: tuple[str, ...] = field(default=(), converter=_tuple)
    deprecated: str | None = None
    demos: tuple[Mapping[str, Any], ...] = field(default=(), converter=_tuple)
    cache_ttl: float | None = None
    provenance: Mapping[str, Any] = field(factory=dict)
    nearest_demos: int | None = None
    strategy: StrategyChoice | None = None
    predictors: Mapping[str, PredictorState] = field(factory=dict)
    parameters: Mapping[str, Any] = field(factory=dict)

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.instructions))  # examples and demos hold unhashable values

    def __getstate__(self) -> dict[str, Any]:
        return declared_state(self)

    @cached_property
    def inputs(self) -> dict[str, FieldSpec]:
        """Input fields by name, in order."""
        return {item.name: item for item in self.fields if item.role == "input"}

    @cached_property
    def outputs(self) -> dict[str, FieldSpec]:
        """Output fields by name, in order."""
        return {item.name: item for item in self.fields if item.role == "output"}

    @cached_property
    def sensitive(self) -> frozenset[str]:
        """Names of the sensitive fields."""
        return frozenset(item.name for item in self.fields if item.sensitive)

    @property
    def open_outputs(self) -> bool:
        """Whether there may be other outputs than those of the fields, as of a program that does not tell its outputs.

        The record of how the spec came about says so, so that it is kept wherever the spec goes.
        """
        return self.provenance.get("open_outputs") is True
