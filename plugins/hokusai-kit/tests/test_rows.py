"""Files of rows, as people have them: with marks, gaps, slips, and in other encodings."""

from __future__ import annotations

import json
from operator import length_hint
from pathlib import Path
from typing import Any

import dspy
import pytest

from hokusai.rows import RowFile
from hokusai_core import BaseSignature, InputField, OutputField
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.errors import ConfigurationError, InputError


class Ask(BaseSignature):
    question = InputField(aliases=("query",))
    hint = InputField(default="none")
    answer = OutputField()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(name: str, content: str | bytes, **mapping: str) -> list[Any]:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = RowFile(name, None, mapping, Ask.spec)
    found = list(rows)
    assert length_hint(rows) == len(found)
    assert list(rows) == found  # it can be read again
    return found


@pytest.mark.parametrize(
    ("name", "content", "mapping", "rows"),
    [
        ("a.jsonl", '\ufeff{"question": "a"}\r\n\r\n{"query": "b"}', {}, [{"question": "a"}, {"query": "b"}]),
        ("a.jsonl", '{"body": "a", "id": 1}\n', {"body": "question"}, [{"question": "a"}]),
        ("a.jsonl", '{"body": "a", "hint": "h"}\n', {"body": "question"}, [{"question": "a", "hint": "h"}]),
        ("a.jsonl", '{"question": "x", "body": "a"}\n', {"body": "question"}, [{"question": "a"}]),
        ("a.csv", '\ufeffquestion,hint\r\n"a\nb",c\r\n\r\nd,\r\ne\r\n', {}, None),
        ("a.tsv", "query\thint\na, b\tc\n", {}, [{"query": "a, b", "hint": "c"}]),
        ("a.csv", "id,body\n1,a\n", {"body": "question"}, [{"question": "a"}]),
        ("a.csv", "question;hint\na, b;c\n", {}, [{"question": "a, b", "hint": "c"}]),
        ("a.csv", "question\thint\na, b\tc\n", {}, [{"question": "a, b", "hint": "c"}]),
        ("a.csv", "id|body\n1|a, b; c\n", {"body": "question"}, [{"question": "a, b; c"}]),
        ("a.json", '[{"question": "a"}, {"query": "b"}]', {}, [{"question": "a"}, {"query": "b"}]),
        ("a.json", '{"question": "a"}\n{"query": "b"}\n', {}, [{"question": "a"}, {"query": "b"}]),
        ("rows", '{"question": "a"}\n', {}, [{"question": "a"}]),
        ("a.json", "[]", {}, []),
        ("a.csv", "", {}, []),
        ("a.csv", "question\n", {}, []),
    ],
)
def test_rows(name: str, content: str, mapping: dict[str, str], rows: list[Any] | None) -> None:
    if rows is None:
        rows = [{"question": "a\nb", "hint": "c"}, {"question": "d"}, {"question": "e"}]
    assert read(name, content, **mapping) == rows


def test_inputs_that_all_rows_have_alike(tmp_path: Path) -> None:
    files = {"a.csv": "body,hint\na,\nb,own\n", "a.jsonl": '{"body": "a"}\n{"body": "b", "hint": "own"}\n'}
    for name, content in files.items():
        Path(name).write_text(content)
        rows = RowFile(name, None, {"body": "question"}, Ask.spec, constants={"hint": "same"})
        assert list(rows) == [{"hint": "same", "question": "a"}, {"hint": "own", "question": "b"}]
    Path("b.csv").write_text("hint\nx\n")
    assert list(RowFile("b.csv", None, {}, Ask.spec, constants={"query": "q"})) == [{"query": "q", "hint": "x"}]
    with pytest.raises(CommandMisuse, match="-i: the signature has no input 'hnit'"):
        RowFile("b.csv", None, {}, Ask.spec, constants={"hnit": "x"})


@pytest.mark.parametrize(
    ("name", "content", "mapping", "told"),
    [
        ("a.jsonl", '{"question": "ü"}'.encode("utf-16-le"), {}, "not JSON|not UTF-8 text"),
        ("a.csv", "question\nü\n".encode("latin-1"), {}, "not UTF-8 text"),
        ("a.csv", 'question\n"a\nb\nc\n', {}, "unexpected end of data; look at its quotes"),
        ("a.csv", "qestion\na\n", {}, "column 'qestion' is not an input"),
        ("a.csv", "question,question\na,b\n", {}, "the column 'question' more than once"),
        ("a.csv", "hint\na\n", {}, "no column for 'question', which the signature needs"),
        ("a.csv", "body\na\n", {"bodi": "question"}, "no column 'bodi'"),
        ("a.csv", "body\na\n", {"body": "hint"}, "no column for 'question'"),
        ("a.csv", "body\na\n", {"body": "nope"}, "no input 'nope'"),
        ("missing.csv", None, {}, "missing.csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_before_a_row_is_run(
    name: str, content: str | bytes | None, mapping: dict[str, str], told: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((CommandFailure, CommandMisuse), match=told):
        length_hint(RowFile(name, None, mapping, Ask.spec))
    with pytest.raises((CommandFailure, CommandMisuse), match=told):
        list(RowFile(name, None, mapping, Ask.spec))


def test_lines_that_cannot_be_read_are_rows_that_fail(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['{"question": "a"}', "{", '{"question": "b", "question": "c"}', '{"question": "d"}', "[1]"]
    Path("a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = list(RowFile("a.jsonl", None, {}, Ask.spec))
    assert (rows[0], rows[3]) == ({"question": "a"}, {"question": "d"})
    for row in rows[1:3]:
        with pytest.raises(InputError, match=r"a.jsonl line [23] is not JSON"):
            dict(row)
    with pytest.raises(InputError, match="line 5 is not a JSON object"):
        dict(rows[4])
    told = capsys.readouterr().err
    assert "a.jsonl line 2 is not JSON" in told
    assert "line 3 is not JSON ('question' is there twice); it counts as failed" in told


def test_a_mapped_name_that_lines_lack_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.jsonl").write_text("".join(json.dumps({"body": n}) + "\n" for n in "abc"), encoding="utf-8")
    list(RowFile("a.jsonl", None, {"bodi": "question"}, Ask.spec))
    assert capsys.readouterr().err == "hokusai: a.jsonl line 1 has no 'bodi', which --map names\n"


def test_a_table_may_have_very_many_columns() -> None:
    header = ",".join(["question", *(f"column {number}" for number in range(50_000))])
    found = read("wide.csv", f"{header}\nWhy?{',x' * 50_000}\n", question="question")
    assert [row["question"] for row in found] == ["Why?"]


class Describe(BaseSignature):
    """Describe them."""

    pictures: list[dspy.Image] = InputField(aliases=("photos",))
    text: str = OutputField()


def described(name: str, media_folder: str | None = None) -> list[Any]:
    return list(RowFile(name, None, {}, Describe.spec, media_folder))


def test_rows_name_pictures_relative_to_their_file(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "photos").mkdir(parents=True)
    for name in ("a.png", "photos/b.png"):
        (folder / name).write_bytes(b"x")
    (folder / "rows.csv").write_text('photos\na.png\n"a.png; photos/b.png"\nhttps://example.com/c.png\n')
    (folder / "rows.jsonl").write_text('{"pictures": ["photos/b.png", "data:image/png;base64,eA=="]}\n')
    first, second, third = described(str(folder / "rows.csv"))
    assert first == {"photos": [folder / "a.png"]}
    assert second == {"photos": [folder / "a.png", folder / "photos/b.png"]}
    assert third == {"photos": "https://example.com/c.png"}
    (row,) = described(str(folder / "rows.jsonl"))
    assert row == {"pictures": [folder / "photos/b.png", "data:image/png;base64,eA=="]}


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.png", "link.png", "sub/../../secret.png", "nowhere.png"])
def test_no_row_names_a_file_elsewhere(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "rows.jsonl").write_text(json.dumps({"pictures": [name]}) + "\n")
    (row,) = described(str(folder / "rows.jsonl"))
    with pytest.raises(InputError, match=r"outside of|was not found"):
        dict(row)
    assert "rows.jsonl line 1 cannot be used: pictures: " in capsys.readouterr().err


def test_another_folder_has_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"x")
    (tmp_path / "rows" / "rows.csv").write_text("photos\na.png\n")
    (row,) = described(str(tmp_path / "rows" / "rows.csv"), str(tmp_path / "photos"))
    assert row == {"photos": [tmp_path / "photos" / "a.png"]}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "a.xlsx",
            b"PK\x03\x04rest",
            "a.xlsx is a spreadsheet or another archive, not a file of rows: save the sheet as CSV",
        ),
        ("a.csv", b"PK\x03\x04rest", "is a spreadsheet"),
        ("a.parquet", b"PAR1rest", "is a Parquet file, not a file of rows: write its rows as JSON lines"),
        ("a.csv.gz", b"\x1f\x8brest", "is a gzip archive, not a file of rows: unpack it first"),
        ("a.pdf", b"%PDF-1.7", "is a PDF document"),
        ("a.png", b"\x89PNG\r\n", "a.png is a picture, not a file of rows: give a file with one row for each"),
        ("a.csv", b"\xff\xd8\xff\xe0", "is a picture"),
        ("a.csv", "question\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        ("a.txt", b"some prose", "ends in .jsonl, .json, .csv or .tsv; say with --format what is in it"),
        ("a.json", b'{\n "question": "a"\n}', "a.json holds one object; expected an array of rows"),
        ("a.json", b"[1, ", "a.json is not JSON: Expecting value at line 1, column 5"),
    ],
)
def test_what_is_not_a_file_of_rows_is_refused_in_one_line(name: str, content: bytes, told: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        list(RowFile(name, None, {}, Ask.spec))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "text"), [("a.csv", ""), ("a.csv", "\n \n"), ("a.json", " "), ("a.jsonl", "\n")])
def test_a_file_of_nothing_has_no_rows(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8")
    rows = RowFile(name, None, {}, Ask.spec)
    assert (length_hint(rows), list(rows)) == (0, [])


def test_constants_are_given_to_rows_that_do_not_say_otherwise() -> None:
    Path("a.csv").write_text("hint\nh\n\n", encoding="utf-8")
    Path("b.jsonl").write_text('{"query": "own"}\n{}\n', encoding="utf-8")
    assert list(RowFile("a.csv", None, {}, Ask.spec, constants={"question": "q"})) == [{"question": "q", "hint": "h"}]
    assert list(RowFile("b.jsonl", None, {}, Ask.spec, constants={"question": "q"})) == [
        {"query": "own"},
        {"question": "q"},
    ]
    with pytest.raises(CommandMisuse, match="-i: the signature has no input 'other'"):
        RowFile("a.csv", None, {}, Ask.spec, constants={"other": 1})


def test_the_delimiter_can_be_given() -> None:
    Path("a.csv").write_text("question:hint\na;b:c\n", encoding="utf-8")
    assert list(RowFile("a.csv", None, {}, Ask.spec, delimiter=":")) == [{"question": "a;b", "hint": "c"}]
