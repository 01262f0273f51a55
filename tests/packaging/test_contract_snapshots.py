"""The public contract is that of the files in contract/: a change of it shows in a review, and is never by accident."""

from __future__ import annotations

import pytest

from tools import write_contract
from tools.contract_formats import shape


def test_the_code_has_the_contract_that_is_written_down() -> None:
    found = write_contract.difference()
    if found:
        pytest.fail(
            f"the public contract has changed:\n{found}\n\nIf that is meant, run `make reference` and say in "
            "CHANGELOG.md what users and plugin authors write instead (docs/stability.md).",
            pytrace=False,
        )


def test_a_difference_names_the_file_and_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    known = write_contract.contract_files()
    changed = known | {"hooks.txt": known["hooks.txt"].replace("HOOK_API = 1", "HOOK_API = 2")}
    monkeypatch.setattr(write_contract, "contract_files", lambda: changed)
    assert "--- contract/hooks.txt" in write_contract.difference()
    assert "-HOOK_API = 1\n+HOOK_API = 2" in write_contract.difference()


def test_a_shape_has_types_in_place_of_values() -> None:
    value = {"name": "Ann", "age": 3, "tags": [], "rows": [{"ok": True, "cost": None}]}
    assert list(shape(value)) == [
        "name: text",
        "age: number",
        "tags: list",
        "rows: list of object",
        "  ok: true or false",
        "  cost: null",
    ]
