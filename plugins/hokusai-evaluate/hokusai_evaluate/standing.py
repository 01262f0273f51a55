"""What is known of how good an installed signature is: its evaluation set and its scorecards, compared with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from hokusai_core.errors import ConfigurationError, HokusaiError, InputError
from hokusai_evaluate.evaluation_files import EvaluationFiles, files_of_pack
from hokusai_evaluate.scorecards import Change, Scorecard, changes_since, read_scorecards

if TYPE_CHECKING:
    from hokusai_core.plugin_api import PluginManager
    from hokusai_core.types import RegisteredSignature

__all__ = ["CheckedCard", "Standing", "standing_of"]


@frozen
class CheckedCard:
    """A scorecard, and what has changed since it was made.

    Args:
        card: the card.
        path: the file that it is in.
        changes: what has changed.
    """

    card: Scorecard
    path: Path
    changes: tuple[Change, ...]

    @property
    def applies(self) -> bool:
        """Whether the score still is that of the signature and the data."""
        return not any(change.ends_it for change in self.changes)


@frozen
class Standing:
    """What is known of how good a signature is.

    Args:
        files: where that is from.
        rows: rows of the evaluation set that its pack ships, None where there is none.
        digest: digest of these.
        cards: the scorecards.
        problems: files that cannot be used, and why.
    """

    files: EvaluationFiles
    rows: int | None
    digest: str
    cards: tuple[CheckedCard, ...]
    problems: tuple[str, ...]


def standing_of(entry: RegisteredSignature, plugins: PluginManager) -> Standing:
    """Return what is known of how good an installed signature is.

    Args:
        entry: the signature.
        plugins: knows its pack.
    """
    files, problems = files_of_pack(entry, plugins), list[str]()
    rows, digest = None, ""
    if files.data is not None:
        # Most signatures have no set, and `hokusai show` is to be quick.
        from hokusai_evaluate.example_reader import keys_hash, read_examples

        try:
            examples = read_examples(entry.spec, files.data, files.data.name)
            rows, digest = len(examples.items), keys_hash(examples.keys)
        except InputError as error:
            problems.append(f"{files.data}: does not fit the signature any more: {error.problems[0]}")
        except HokusaiError as error:
            problems.append(str(error))
    cards = []
    for path in files.scorecards:
        try:
            found = read_scorecards(path)
        except ConfigurationError as error:
            problems.append(str(error))
            continue
        for card in found:
            compared = digest if files.data is not None and card.data == files.data.name else None
            cards.append(CheckedCard(card, path, tuple(changes_since(card, entry.spec.fingerprint, compared))))
    return Standing(files, rows, digest, tuple(cards), tuple(problems))
