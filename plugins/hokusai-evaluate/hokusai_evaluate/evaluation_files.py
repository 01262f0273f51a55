"""The files that say how good a signature is: an evaluation set, a data card and scorecards.

A pack ships them in the folder ``evaluation`` beside its plugin module. Those of a signature in a file lie beside it::

    evaluation/ClassifyText.jsonl        the set, or .csv
    evaluation/ClassifyText.md           the data card: source, licence, and what the set cannot show
    evaluation/ClassifyText.cards.json   the scorecards

Scorecards that are made on an installed pack are kept in the user's folder, because a pack that was installed is not
written to. A pack that is installed for development (``pip install -e``) gets them itself.
"""

from __future__ import annotations

import importlib.util
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import user_data_folder

if TYPE_CHECKING:
    from hokusai_core.plugin_api import PluginManager
    from hokusai_core.types import RegisteredSignature

__all__ = ["FOLDER", "EvaluationFiles", "files_of_pack"]

#: Name of the folder, beside a plugin module or the file of a signature.
FOLDER: Final = "evaluation"
_SETS: Final = (".jsonl", ".csv")


@frozen
class EvaluationFiles:
    """Where the files about one signature are.

    Args:
        name: the short name of the signature.
        folder: the folder that its pack ships, None where the plugin module is in no package.
        pack: name of the pack; empty for a file with a signature, and for a signature of the host.
        distribution: name of the distribution of the pack; empty where it is of none.
    """

    name: str
    folder: Path | None
    pack: str = ""
    distribution: str = ""

    @property
    def installed(self) -> bool:
        """Whether the pack was installed, so that it is not written to."""
        return bool(self.distribution) and not _is_worked_on(self.distribution)

    @property
    def data(self) -> Path | None:
        """The evaluation set, None where there is none."""
        return self._found(*_SETS)

    @property
    def data_card(self) -> Path | None:
        """The data card, None where there is none."""
        return self._found(".md")

    @property
    def scorecards(self) -> tuple[Path, ...]:
        """The files with scorecards, those of the pack first."""
        paths = [] if self.folder is None else [self._cards_in(self.folder)]
        if self.pack:
            with suppress(ConfigurationError):  # a user without a home has none
                paths.append(self._cards_in(user_data_folder("scorecards", self.pack)))
        return tuple(path for path in paths if path.is_file())

    @property
    def new_scorecards(self) -> Path:
        """The file that new scorecards are written to.

        Raises:
            ConfigurationError: there is no such place.
        """
        if self.installed:
            return self._cards_in(user_data_folder("scorecards", self.pack))
        if self.folder is None and not self.pack:
            raise ConfigurationError(
                f"{self.name} is in no pack, and scorecards are kept beside packs and files of optimized signatures; "
                "`hokusai new-plugin` begins a pack, and `-o report.json` keeps these scores"
            )
        if self.folder is None:
            raise ConfigurationError(f"{self.name}: its plugin is a single module, which has no folder for scorecards")
        return self._cards_in(self.folder)

    def set_needed(self) -> Path:
        """Return the evaluation set.

        Raises:
            ConfigurationError: there is none; says where it would be.
        """
        if self.data is None:
            place = "" if self.folder is None else f" ({self.folder / self.name}{_SETS[0]} is not there)"
            raise ConfigurationError(f"{self.name} comes with no evaluation set{place}; name a file with rows")
        return self.data

    def _cards_in(self, folder: Path) -> Path:
        return folder / f"{self.name}.cards.json"

    def _found(self, *endings: str) -> Path | None:
        if self.folder is None:
            return None
        paths = (self.folder / f"{self.name}{ending}" for ending in endings)
        return next((path for path in paths if path.is_file()), None)


def files_of_pack(entry: RegisteredSignature, plugins: PluginManager) -> EvaluationFiles:
    """Return where the files about a signature of a pack are.

    Args:
        entry: the signature.
        plugins: knows its plugin.
    """
    owner = entry.owner
    # What the host registers itself has the owner "local", and a plugin may have that name, too.
    records = [
        record
        for record in plugins.records()
        if (record.name, record.distribution) == (owner.plugin, owner.distribution) and record.state != "failed"
    ]
    if not records:
        return EvaluationFiles(entry.name, None)
    package = _package_folder(records[0].target.partition(":")[0])
    folder = None if package is None else package / FOLDER
    return EvaluationFiles(entry.name, folder, owner.plugin, owner.distribution)


def _package_folder(module: str) -> Path | None:
    """Return the folder of the package that a plugin module is in, None for a module of its own."""
    try:
        found = importlib.util.find_spec(module) if module else None
    except (ImportError, ValueError):  # a plugin that was given in process, under a name of its own
        return None
    if found is None:
        return None
    if found.submodule_search_locations:
        return Path(next(iter(found.submodule_search_locations)))
    return Path(found.origin).parent if "." in module and found.origin else None


def _is_worked_on(distribution: str) -> bool:
    """Return whether a distribution is installed for development."""
    import importlib.metadata  # `hokusai show` does without it

    try:
        text = importlib.metadata.distribution(distribution).read_text("direct_url.json")
        origin: Any = json.loads(text or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    info = origin.get("dir_info") if isinstance(origin, dict) else None
    return isinstance(info, dict) and info.get("editable") is True
