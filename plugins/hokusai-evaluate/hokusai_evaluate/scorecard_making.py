"""Make scorecards of an evaluation."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from hokusai_core import Executor, SignatureChain
from hokusai_core.errors import ComponentNotFoundError, ConfigurationError
from hokusai_core.plugin_api import PluginManager, read_artifact
from hokusai_evaluate.evaluation_files import FOLDER, EvaluationFiles, files_of_pack
from hokusai_evaluate.evaluation_report import Evaluation
from hokusai_evaluate.scorecards import Scorecard, check_scorecards_writable, library_versions, write_scorecards

__all__ = ["CardKeeper", "find_files", "make_scorecards"]

#: Parameters that change answers. How a provider is reached, and by which key, is not on a card.
_PARAMETERS: Final = (
    "temperature", "max_tokens", "max_completion_tokens", "top_p", "top_k", "stop", "seed", "frequency_penalty",
    "presence_penalty", "reasoning_effort",
)  # fmt: skip


def make_scorecards(
    executor: Executor, target: Any, evaluation: Evaluation, data: str, lms: Sequence[Any], options: Mapping[str, Any]
) -> list[Scorecard]:
    """Return a card for each language model of an evaluation.

    Args:
        executor: ran it.
        target: what was evaluated: name of a signature, or the path of a file with an optimized one.
        evaluation: the evaluation.
        data: name of the file with the rows.
        lms: the language models, in the order of ``evaluation.systems``; empty for the executor's.
        options: options of the executions.

    Raises:
        ConfigurationError: some rows could not be asked, or no language model was.
    """
    if executor.mode.value == "testing":
        raise ConfigurationError("no scorecard is written: in testing mode no language model is asked")
    entry = executor.signature(target)
    artifact = getattr(entry.signature_class, "artifact", None)
    systems = [system for system in evaluation.systems if not system.against]
    if not evaluation.complete:
        raise ConfigurationError("no scorecard is written: some rows could not be asked or scored")
    cards = []
    for system, lm in zip(systems, lms or [None], strict=True):
        model = executor.language_model(lm)
        given = {**entry.spec.parameters, **(options.get("parameters") or {})}
        known = {**model.lm.kwargs, **given}
        cards.append(
            Scorecard(
                signature=entry.qualified_name,
                version=entry.spec.version,
                fingerprint=system.fingerprint,
                model=system.model,
                model_identity=model.identity,
                parameters={name: known[name] for name in _PARAMETERS if known.get(name) is not None},
                strategy=str(options.get("strategy") or ""),
                date=datetime.datetime.now(datetime.UTC).date().isoformat(),
                versions=library_versions(_provider(executor.plugins, system.model)),
                data=data,
                data_digest=evaluation.digest,
                rows=evaluation.rows,
                rounds=evaluation.repeat,
                metric=evaluation.metrics[0],
                scores=dict(system.scores),
                confidence=evaluation.confidence,
                seed=evaluation.seed,
                failures=dict(system.failures),
                artifact="" if artifact is None else artifact.digest,
            )
        )
    return cards


def _provider(plugins: PluginManager, model: str) -> list[str]:
    """Return the distribution of the plugin that makes a language model, none where DSPy makes it."""
    with suppress(ComponentNotFoundError, ConfigurationError):
        owner = plugins.component("language_model", model.partition("/")[0]).owner
        if owner is not None and owner.distribution:
            return [owner.distribution]
    return []


def find_files(executor: Executor, target: Any) -> EvaluationFiles:
    """Return where the files about a signature are.

    Args:
        executor: knows the packs.
        target: name of a signature, or the path of a file with an optimized one.

    Raises:
        ConfigurationError: it is a chain, or a signature that no pack and no file has.
        ArtifactError: the file cannot be used.
    """
    if isinstance(target, (str, os.PathLike)) and Path(target).suffix.lower() == ".json":
        return EvaluationFiles(read_artifact(target).spec.name, Path(target).parent / FOLDER)
    if isinstance(target, SignatureChain) or Path(str(target)).suffix.lower() in (".toml", ".yaml", ".yml"):
        raise ConfigurationError("a chain comes with no evaluation set and no scorecard; name a file with rows")
    return files_of_pack(executor.signature(target), executor.plugins)


class CardKeeper:
    """Writes the scorecards of an evaluation to where ``hokusai show`` finds them.

    Args:
        executor: runs the evaluation.
        target: name of a signature, or the path of a file with an optimized one.
        data: the file with the rows; None for the evaluation set that comes with the signature.

    Raises:
        ConfigurationError: there is no place for them, or it cannot be written to; nothing was paid for yet.
    """

    def __init__(self, executor: Executor, target: Any, data: str | os.PathLike[str] | None) -> None:
        self._executor, self._target = executor, target
        files = find_files(executor, target)
        self._data = Path(files.set_needed() if data is None else data).name
        self._path = files.new_scorecards
        check_scorecards_writable(self._path)

    def keep(self, evaluation: Evaluation, lms: Sequence[Any], options: Mapping[str, Any]) -> Path | None:
        """Write the cards and return their file; None where rows could not be asked, so that there is no score.

        Args:
            evaluation: the evaluation.
            lms: its language models; empty for the executor's.
            options: options of the executions.
        """
        if not evaluation.complete:
            return None
        cards = make_scorecards(self._executor, self._target, evaluation, self._data, lms, options)
        write_scorecards(self._path, cards)
        return self._path
