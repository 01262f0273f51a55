"""A report that an earlier evaluation has saved, to compare with row by row and without a call."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from attrs import evolve, field, fields, frozen

from hokusai_core.errors import ConfigurationError, OutputError
from hokusai_core.plugin_api import SignatureSpec
from hokusai_evaluate.evaluation_figures import ScoreReport, SystemReport
from hokusai_evaluate.example_reader import Examples
from hokusai_evaluate.metrics.scoring import checked, goodness
from hokusai_evaluate.system_comparison import ComparedSide

__all__ = ["SavedReport", "read_saved_report"]


@frozen(eq=False)
class SavedReport:
    """What an earlier evaluation has measured of its first system.

    Args:
        system: its figures, labelled with the name of the file.
        digest: digest of the rows.
        metric: name of the leading metric.
        repeat: rounds.
        rows: its rows, as they are in the file.
    """

    system: SystemReport
    digest: str
    metric: str
    repeat: int
    rows: Sequence[Mapping[str, Any]] = field(repr=False)
    _label: str

    def side(self, examples: Examples, digest: str, metric: Any, name: str, spec: SignatureSpec) -> ComparedSide:
        """Return its rows as one side of a comparison.

        Args:
            examples: the rows of this evaluation.
            digest: their digest.
            metric: the leading metric of this evaluation.
            name: its name.
            spec: the signature that is evaluated.

        Raises:
            ConfigurationError: it was scored otherwise, or has none of the rows.
        """
        if self.metric != name:
            raise ConfigurationError(
                f"{self.system.label} was scored by {self.metric} and not by {name}; give the same metric first"
            )
        whole_set = hasattr(metric, "aggregate")
        if whole_set and (self.repeat > 1 or spec.sensitive & frozenset(spec.outputs)):
            raise ConfigurationError(
                f"{self.system.label} does not hold every answer, so {name}, which scores the whole set, cannot be "
                "compared with it"
            )
        places = self._places(examples, digest)
        found = {
            places[at]: row
            for at, row in enumerate(self.rows)
            if at in places and row["scores"].get(self._label) is not None
        }
        if not found:
            raise ConfigurationError(
                f"{self.system.label} has none of these rows with a score; evaluate both on the same data"
            )
        goods = {place: goodness(metric, checked(row["scores"][self._label], metric)) for place, row in found.items()}

        def outputs(place: int) -> list[Mapping[str, Any]]:
            return [self._outputs(found[place], spec)]

        return ComparedSide(self.system.label, goods, outputs)

    def _places(self, examples: Examples, digest: str) -> dict[int, int]:
        """Return for rows of the file the places that they have here."""
        if digest == self.digest:
            by_number = {number: place for place, number in enumerate(examples.numbers)}
            found = {at: by_number.get(row.get("number", 0)) for at, row in enumerate(self.rows)}
        else:
            by_key = {key: place for place, key in enumerate(examples.keys)}
            found = {at: by_key.get(row.get("key") or "") for at, row in enumerate(self.rows)}
        return {at: place for at, place in found.items() if place is not None}

    def _outputs(self, row: Mapping[str, Any], spec: SignatureSpec) -> Mapping[str, Any]:
        given = row["outputs"].get(self._label)
        if given is None:
            return {}
        try:
            decoded: Mapping[str, Any] = spec.codec.decode(orjson.dumps(given))
        except (OutputError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{self.system.label}: the outputs of row {row.get('number')} do not fit {spec.name}: {error}"
            ) from error
        return decoded


def read_saved_report(source: Any) -> SavedReport | None:
    """Return the report of a file that ``Evaluation.save`` has written, None where it is something else.

    Raises:
        ConfigurationError: it is such a report, and cannot be used.
    """
    if not isinstance(source, (str, os.PathLike)) or Path(source).suffix.lower() != ".json":
        return None
    path = Path(source)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None  # who reads it as a signature says what is wrong
    if not isinstance(data, Mapping) or "row_reports" not in data:
        return None
    try:
        if len(data["row_reports"]) < data["rows"]:
            raise ConfigurationError(
                f"{path} holds only its worst rows; write a report to compare with by --output or evaluation.save"
            )
        system = _system(data["systems"][0])
        label = system.label
        renamed = evolve(system, label=path.name, against=True, slices={})
        rows = [row for row in data["row_reports"] if isinstance(row["scores"], Mapping)]
        return SavedReport(renamed, str(data["digest"]), str(data["metrics"][0]), int(data["repeat"]), rows, label)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} is no report that this version can read: {error!r}") from error


def _system(data: Mapping[str, Any]) -> SystemReport:
    known = {item.name for item in fields(SystemReport)}
    values = {name: value for name, value in data.items() if name in known}
    for name in ("scores", "slices"):
        values[name] = {key: ScoreReport(**score) for key, score in values[name].items()}
    return SystemReport(**values)
