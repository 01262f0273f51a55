"""Scorecards: the score of a signature with a language model, and how to tell when it no longer applies.

A file holds the cards of one signature::

    {"hokusai_scorecards": 1, "cards": [{"signature": "signatures/ClassifyText", "model": "local/...", ...}]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict, fields, frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import atomic_write
from hokusai_evaluate.evaluation_figures import ScoreReport

__all__ = [
    "Change",
    "Scorecard",
    "changes_since",
    "check_scorecards_writable",
    "library_versions",
    "read_scorecards",
    "write_scorecards",
]

_VERSION: Final = 1
#: Distributions that decide how a signature becomes a prompt, how an answer is read and how it is scored.
_LIBRARIES: Final = ("hokusai-core", "hokusai-evaluate", "dspy")


@frozen
class Scorecard:
    """The score of a signature with a language model on a data set.

    Args:
        signature: its name, ``pack/Name``.
        version: its version.
        fingerprint: hash over its fields, types, instructions and demos.
        model: name of the language model.
        model_identity: what tells this model from others of its name, such as a digest of its weights.
        parameters: parameters of the language model, such as ``temperature``.
        strategy: the strategy that was asked for, empty for that of the signature.
        date: the day, as ``2026-05-01``.
        versions: versions of the libraries that decide about prompts, answers and scores.
        data: name of the file with the rows.
        data_digest: digest of the rows, inputs and expected outputs.
        rows: how many there are.
        rounds: how often each was asked.
        metric: name of the leading metric.
        scores: metric -> score with its interval.
        confidence: of the intervals.
        seed: of the resampling.
        failures: class of the error -> answers that did not fit the signature. They count as the worst score.
        artifact: digest of the file of an optimized signature; empty for a signature of a pack.
    """

    signature: str
    version: str
    fingerprint: str
    model: str
    model_identity: str
    parameters: Mapping[str, Any]
    strategy: str
    date: str
    versions: Mapping[str, str]
    data: str
    data_digest: str
    rows: int
    rounds: int
    metric: str
    scores: Mapping[str, ScoreReport]
    confidence: float
    seed: int
    failures: Mapping[str, int]
    artifact: str = ""

    @property
    def score(self) -> ScoreReport:
        """The score by the leading metric."""
        return self.scores[self.metric]

    def replaces(self, other: Scorecard) -> bool:
        """Return whether this card is a later measurement of the same thing."""
        mine, theirs = (
            [card.signature, card.model, card.parameters, card.strategy, card.metric, card.data]
            for card in (self, other)
        )
        return mine == theirs

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scorecard:
        """Return the card that ``attrs.asdict`` made a mapping of.

        Raises:
            TypeError: a value is missing or of another type.
            KeyError: the leading score is missing.
        """
        known = {attribute.name: attribute.type for attribute in fields(cls)}
        kinds: dict[str, Any] = {"str": str, "int": int, "float": (int, float)}
        for name, kind in known.items():
            if name not in values and name != "artifact":
                raise TypeError(f"{name} is missing")
            value = values.get(name, "")
            if not isinstance(value, kinds.get(str(kind), dict)) or isinstance(value, bool):
                raise TypeError(f"{name} cannot be {value!r}")
        scores = {name: ScoreReport(**score) for name, score in values["scores"].items()}
        card = cls(**{**{name: value for name, value in values.items() if name in known}, "scores": scores})
        if not isinstance(card.score.value, (int, float)):
            raise TypeError(f"the score cannot be {card.score.value!r}")
        return card


def read_scorecards(path: Path) -> tuple[Scorecard, ...]:
    """Return the cards in a file, none where the file is missing.

    Raises:
        ConfigurationError: the file cannot be read, or holds something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    version = data.get("hokusai_scorecards") if isinstance(data, dict) else None
    if type(version) is not int or version < 1:
        raise ConfigurationError(f"{path} is not a file of scorecards (it has no 'hokusai_scorecards': {_VERSION})")
    if version > _VERSION:
        raise ConfigurationError(f"{path} is of format {version}, newer than {_VERSION}; upgrade hokusai-evaluate")
    try:
        return tuple(Scorecard.from_dict(card) for card in data["cards"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} has a scorecard that cannot be used: {error}; make it again") from error


def write_scorecards(path: Path, cards: Sequence[Scorecard]) -> None:
    """Write cards to a file, in place of earlier ones of the same signature, model, data and metric.

    Raises:
        ConfigurationError: the file holds something else, or cannot be written.
    """
    kept = [card for card in read_scorecards(path) if not any(new.replaces(card) for new in cards)]
    data = {"hokusai_scorecards": _VERSION, "cards": [asdict(card) for card in (*kept, *cards)]}
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        atomic_write(path, [text.encode()])
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error


def check_scorecards_writable(path: Path) -> None:
    """Refuse a file for scorecards that cannot be written, before an evaluation is paid for.

    Raises:
        ConfigurationError: the file holds something else, or its folder cannot be made or written to.
    """
    read_scorecards(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path.parent} cannot be made: {error.strerror or error}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{path.parent} may not be written to")


@frozen
class Change:
    """Something that has changed since a card was made.

    Args:
        kind: ``signature``, ``data`` or ``versions``.
        message: what has changed.
    """

    kind: str
    message: str

    @property
    def ends_it(self) -> bool:
        """Whether the score no longer applies. With other versions of libraries it may still."""
        return self.kind != "versions"


def changes_since(card: Scorecard, fingerprint: str, data_digest: str | None) -> list[Change]:
    """Return what has changed since a card was made.

    Args:
        card: the card.
        fingerprint: that of the signature now.
        data_digest: that of the data now; None where the data is not there to be compared.
    """
    found = []
    if card.fingerprint != fingerprint:
        text = f"the signature has changed since (fingerprint {fingerprint[:8]}, was {card.fingerprint[:8]})"
        found.append(Change("signature", text))
    if data_digest is not None and card.data_digest != data_digest:
        text = f"the data has changed since (digest {data_digest[:8] or 'unknown'}, was {card.data_digest[:8]})"
        found.append(Change("data", text))
    here = library_versions(card.versions)
    others = [
        f"{name} {version}, here {here[name]}" for name, version in card.versions.items() if version != here[name]
    ]
    if others:
        found.append(Change("versions", f"measured with {'; '.join(others)}"))
    return found


def library_versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of the libraries that decide about a score.

    Args:
        more: names of further distributions.
    """
    return {name: _version(name) for name in dict.fromkeys((*_LIBRARIES, *more))}


def _version(distribution: str) -> str:
    import importlib.metadata  # `hokusai show` does without it where there is no scorecard

    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
