"""Why a plugin could not be loaded, and what mends it."""

from __future__ import annotations

from hokusai_core.plugins.catalog import Entry
from hokusai_core.plugins.hookcheck import NewerHookApiError
from hokusai_core.plugins.records import Phase, PluginFailure
from hokusai_core.plugins.remedies import mend_import, or_turn_off

__all__ = ["load_failure"]


def load_failure(entry: Entry, phase: Phase, error: BaseException) -> PluginFailure:
    """Return the record of a plugin that could not be loaded."""
    record = entry.record
    if phase == "import":
        module = record.target.partition(":")[0]
        remedy = mend_import(error, module=module, distribution=record.distribution, requires=entry.requires)
    elif isinstance(error, NewerHookApiError):
        remedy = "Wrong version: pip install --upgrade hokusai-core"
    else:
        remedy = "None of its hooks is used. " + (
            f"pip install --upgrade {record.distribution}, or report it to its author." if record.distribution else ""
        )
    return PluginFailure(
        record.name, record.distribution, record.version, phase, error, or_turn_off(remedy, record.name)
    )
