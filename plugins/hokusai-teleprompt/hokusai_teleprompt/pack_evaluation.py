"""The evaluation sets, data cards and scorecards of the signatures that become a pack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hokusai_core.errors import ArtifactError, ConfigurationError
from hokusai_core.plugin_api import Artifact, did_you_mean
from hokusai_evaluate.evaluation_files import FOLDER, EvaluationFiles
from hokusai_evaluate.example_reader import keys_hash, read_examples
from hokusai_evaluate.scorecards import changes_since, read_scorecards

__all__ = ["evaluation_parts"]


def evaluation_parts(folder: Path, artifacts: Mapping[str, tuple[Path, Artifact]]) -> list[Path]:
    """Return the files of the folder ``evaluation`` that go into the pack, after a look at each.

    Args:
        folder: the folder with the signatures.
        artifacts: name -> file and artifact of each signature.

    Raises:
        ArtifactError: a file belongs to none of the signatures, or a score is not that of the signature and its set.
        InputError: rows of a set do not fit their signature.
    """
    found: list[Path] = []
    for label, (_, artifact) in artifacts.items():
        files = EvaluationFiles(label, folder / FOLDER)
        _check_scores(files, artifact)
        found += filter(None, (files.data, files.data_card, *files.scorecards))
    names = {path.name.split(".")[0]: path for path in sorted((folder / FOLDER).glob("*")) if path not in found}
    for name, path in names.items():
        raise ArtifactError(
            f"{path}: belongs to no signature of the pack{did_you_mean(name, artifacts)}. Its name has to be that of a "
            "signature with .jsonl, .csv, .md or .cards.json"
        )
    return found


def _check_scores(files: EvaluationFiles, artifact: Artifact) -> None:
    """Raise where the set does not fit the signature, or a scorecard is of another version of either."""
    digest = None
    try:
        if files.data is not None:
            digest = keys_hash(read_examples(artifact.spec, files.data, files.data.name).keys)
        cards = [(path, card) for path in files.scorecards for card in read_scorecards(path)]
    except ConfigurationError as error:
        raise ArtifactError(str(error)) from error
    for path, card in cards:
        compared = digest if files.data is not None and card.data == files.data.name else None
        changes = [change for change in changes_since(card, artifact.spec.fingerprint, compared) if change.ends_it]
        if changes:
            raise ArtifactError(
                f"{path}: the score of {card.model} is not that of the pack: {changes[0].message}. Measure it again "
                f"with hokusai evaluate FILE --card, or remove the scorecard"
            )
