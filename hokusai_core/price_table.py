"""PriceTable: prices of language models that a user gives, in place of those that DSPy and LiteLLM know."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from hokusai_core.suggestions import did_you_mean

if TYPE_CHECKING:
    from hokusai_core.results import Usage

__all__ = ["PriceTable"]

_MILLION: Final = 1_000_000
#: No price is higher; what is, has another unit, or is not a number.
_HIGHEST: Final = 1_000_000_000
#: Key that every entry of LiteLLM's own table has.
_OF_LITELLM: Final = "litellm_provider"
#: Name of a price -> the names that lists of LiteLLM and DSPy have for it, which count single tokens.
_NAMES: Final = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
}


@frozen
class _Price:
    """US dollars for one token of a prompt, of an answer, and of what a provider had in its prompt cache."""

    input: float
    output: float
    cached_input: float


@frozen(eq=False, repr=False)
class PriceTable:
    """Prices by name of a model.

    Args:
        prices: name of a model -> its prices.
    """

    prices: Mapping[str, _Price]

    @classmethod
    def of(cls, value: Any) -> PriceTable | None:
        """Return the table that a mapping, or a TOML or JSON file, stands for; None for None.

        A model has the prices ``input``, ``output`` and, where it differs, ``cached_input``, in US dollars for a
        million tokens. Entries as LiteLLM writes them (``input_cost_per_token``) are read, too, under the name with
        and without the provider; those without a price for tokens are left out.

        Args:
            value: name of a model -> prices; the path of a file with the same; or a table.

        Raises:
            ValueError: it is none of these; names what is wrong.

        Example:
            >>> from hokusai_core.types import Usage
            >>> table = PriceTable.of({"openai/my-model": {"input": 0.25, "output": 2.0}})
            >>> table.cost("openai/my-model", Usage(1_000_000, 500_000, 1))
            1.25
        """
        if value is None or value == "" or isinstance(value, cls):
            return value or None
        if isinstance(value, (str, os.PathLike)):
            value = _read(Path(value))
        if not isinstance(value, Mapping):
            raise ValueError("expected a mapping of model to prices, or the path of a TOML or JSON file")
        problems: list[str] = []
        prices: dict[str, _Price] = {}
        for name, entry in _own_forms(value):
            try:
                prices[name] = _price(entry)
            except ValueError as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise ValueError("; ".join(problems))
        return cls(prices)

    def cost(self, model: str, usage: Usage) -> float | None:
        """Return the US dollars of a call, None where the table has no price of the model.

        Args:
            model: name of the model, such as ``openai/gpt-5-mini``.
            usage: tokens of the call.
        """
        price = self.prices.get(model)
        if price is None:
            return None
        plain = max(0, usage.input_tokens - usage.cached_tokens)
        return plain * price.input + usage.cached_tokens * price.cached_input + usage.output_tokens * price.output

    def __contains__(self, model: str) -> bool:
        return model in self.prices

    def __repr__(self) -> str:
        return f"<PriceTable of {', '.join(self.prices)}>"


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file cannot be read ({error})") from None
    import json  # settings are read at every start, and seldom name such a file
    import tomllib

    try:
        return json.loads(text, object_pairs_hook=_once) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"the file is damaged ({error})") from None


def _own_forms(table: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the names of models with their entries. A table of LiteLLM has aliases and things without a price, too."""
    entries = [entry for entry in table.values() if isinstance(entry, Mapping)]
    of_litellm = any(_OF_LITELLM in entry for entry in entries)
    for name, entry in table.items():
        if not of_litellm or not isinstance(entry, Mapping) or not _NAMES.keys().isdisjoint(entry):
            yield str(name), entry
            continue
        other = table.get(str(entry.get("alias_of")))
        meant = other if isinstance(other, Mapping) else entry
        if any(meant.get(_NAMES[key]) is None for key in ("input", "output")):  # pictures, minutes or pages are paid
            continue
        yield str(name), meant
        if "/" not in str(name) and isinstance(entry.get(_OF_LITELLM), str):
            yield f"{entry[_OF_LITELLM]}/{name}", meant


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: a name is there twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _price(entry: Any) -> _Price:
    if not isinstance(entry, Mapping):
        raise ValueError("expected prices, such as {'input': 0.25, 'output': 2.0}")
    if not any(str(key).endswith("_per_token") for key in entry):
        unknown = [str(key) for key in entry if key not in _NAMES]
        if unknown:
            raise ValueError(f"there is no price {unknown[0]!r}{did_you_mean(unknown[0], _NAMES)}")
    found = {name: _dollars(entry, name) for name in _NAMES}
    missing = [name for name in ("input", "output") if found[name] is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing; a price is US dollars for a million tokens")
    first, last, cached = (found[name] for name in _NAMES)
    return _Price(first or 0.0, last or 0.0, (first or 0.0) if cached is None else cached)


def _dollars(entry: Mapping[str, Any], name: str) -> float | None:
    """Return the price of one token, None where there is none."""
    for key, tokens in ((name, _MILLION), (_NAMES[name], 1)):
        value = entry.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _HIGHEST:
            raise ValueError(f"{key}: expected a number from 0 to {_HIGHEST:,}")
        return value / tokens
    return None
