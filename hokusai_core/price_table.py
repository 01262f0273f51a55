"""PriceTable: prices of language models that a user gives, in place of those that DSPy and LiteLLM know."""

from __future__ import annotations

import os
import re
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
    "written_input": "cache_creation_input_token_cost",
    "reasoning": "output_cost_per_reasoning_token",
}
#: The end of the name of a price that holds for prompts of more tokens.
_LENGTH: Final = re.compile(r"(.+)_above_(\d+)k_tokens")


@frozen
class _Price:
    """US dollars for one token.

    Args:
        input: of a prompt.
        output: of an answer.
        cached_input: of what a provider had in its prompt cache.
        written_input: of what it put into its prompt cache.
        reasoning: of what a model thought.
    """

    input: float
    output: float
    cached_input: float
    written_input: float
    reasoning: float

    def cost(self, usage: Usage, written: int) -> float:
        """Return the US dollars of a call."""
        plain = max(0, usage.input_tokens - usage.cached_tokens - written)
        answer = max(0, usage.output_tokens - usage.reasoning_tokens)
        return (
            plain * self.input
            + usage.cached_tokens * self.cached_input
            + written * self.written_input
            + answer * self.output
            + usage.reasoning_tokens * self.reasoning
        )


@frozen
class _Prices:
    """The prices of one model.

    Args:
        tiers: prices by the number of tokens that a prompt must have more of, the smallest first; that one is 0.
    """

    tiers: tuple[tuple[int, _Price], ...]

    def of(self, input_tokens: int) -> _Price:
        """Return the prices for a prompt of so many tokens."""
        return next(price for above, price in reversed(self.tiers) if input_tokens > above or not above)


@frozen(eq=False, repr=False)
class PriceTable:
    """Prices by name of a model.

    Args:
        prices: name of a model -> its prices.
    """

    prices: Mapping[str, _Prices]

    @classmethod
    def of(cls, value: Any) -> PriceTable | None:
        """Return the table that a mapping, or a TOML or JSON file, stands for; None for None.

        A model has the prices ``input``, ``output`` and, where they differ, ``cached_input``, ``written_input`` (what
        is put into a prompt cache) and ``reasoning``, in US dollars for a million tokens. A price that holds for
        longer prompts has their length in its name: ``input_above_200k_tokens``. Entries as LiteLLM writes them
        (``input_cost_per_token``) are read, too, under the name with and without the provider; those without a price
        for tokens are left out.

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
            value = _read(Path(value).expanduser())
        if not isinstance(value, Mapping):
            raise ValueError("expected a mapping of model to prices, or the path of a TOML or JSON file")
        problems: list[str] = []
        prices: dict[str, _Prices] = {}
        for name, entry in _own_forms(value):
            try:
                prices[name] = _Prices(tuple(_tiers(entry)))
            except ValueError as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise ValueError("; ".join(problems))
        return cls(prices)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return the table as JSON-able data, from which ``of`` makes it again."""
        return {model: dict(_entries(prices)) for model, prices in self.prices.items()}

    def cost(self, model: str, usage: Usage, written_tokens: int = 0) -> float | None:
        """Return the US dollars of a call, None where the table has no price of the model.

        Args:
            model: name of the model, such as ``openai/gpt-5-mini``.
            usage: tokens of the call.
            written_tokens: those of its prompt that the provider has put into its prompt cache.
        """
        prices = self.prices.get(model)
        return None if prices is None else prices.of(usage.input_tokens).cost(usage, written_tokens)

    def highest(self, model: str, input_tokens: int) -> tuple[float, float] | None:
        """Return the most that a token of the prompt and one of the answer cost; None for a model without a price.

        Args:
            model: name of the model.
            input_tokens: the most tokens that the prompt has.
        """
        prices = self.prices.get(model)
        if prices is None:
            return None
        found = [price for above, price in prices.tiers if input_tokens > above or not above]
        return (
            max(max(price.input, price.cached_input, price.written_input) for price in found),
            max(max(price.output, price.reasoning) for price in found),
        )

    def __contains__(self, model: str) -> bool:
        return model in self.prices

    def __repr__(self) -> str:
        return f"<PriceTable of {', '.join(self.prices)}>"


def _entries(prices: _Prices) -> Iterator[tuple[str, float]]:
    """Yield the prices of one model for single tokens, by name."""
    for above, price in prices.tiers:
        ending = f"_above_{above // 1000}k_tokens" if above else ""
        for name, key in _NAMES.items():
            yield key + ending, getattr(price, name)


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


def _tiers(entry: Any) -> Iterator[tuple[int, _Price]]:
    """Yield the prices of one model by the length of a prompt, the shortest first."""
    if not isinstance(entry, Mapping):
        raise ValueError("expected prices, such as {'input': 0.25, 'output': 2.0}")
    ends = {str(key): _LENGTH.fullmatch(str(key)) for key in entry}
    if not any(str(key).partition("_above_")[0].endswith("_per_token") for key in entry):
        unknown = [key for key, end in ends.items() if (end[1] if end else key) not in _NAMES]
        if unknown:
            raise ValueError(f"there is no price {unknown[0]!r}{did_you_mean(unknown[0], _NAMES)}")
    missing = [name for name in ("input", "output") if _dollars(entry, name) is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing; a price is US dollars for a million tokens")
    known = {*_NAMES, *_NAMES.values()}
    lengths = sorted({int(end[2]) for end in ends.values() if end is not None and end[1] in known})
    current: dict[str, float | None] = dict.fromkeys(_NAMES)
    for length in (0, *lengths):  # a price that a longer prompt does not have is that of a shorter one
        ending = f"_above_{length}k_tokens" if length else ""
        current |= {name: price for name in _NAMES if (price := _dollars(entry, name, ending)) is not None}
        first, last = current["input"] or 0.0, current["output"] or 0.0
        usual = {"cached_input": first, "written_input": first, "reasoning": last}
        others = {name: price if (given := current[name]) is None else given for name, price in usual.items()}
        yield length * 1000, _Price(first, last, **others)


def _dollars(entry: Mapping[str, Any], name: str, ending: str = "") -> float | None:
    """Return the price of one token, None where there is none."""
    for key, tokens in ((name + ending, _MILLION), (_NAMES[name] + ending, 1)):
        value = entry.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _HIGHEST:
            raise ValueError(f"{key}: expected a number from 0 to {_HIGHEST:,}")
        return value / tokens
    return None
