"""Read inputs from arguments and files. Messages say where something is wrong, never what it holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hokusai_core.cli_support.data_files import without_repetition
from hokusai_core.cli_support.failures import CommandFailure, CommandMisuse
from hokusai_core.cli_support.media_folder import MediaFolder
from hokusai_core.storage import describe_os_error

__all__ = ["gather_inputs", "parse_json", "read_object", "read_text"]


def gather_inputs(
    pairs: Sequence[str], source: str | None = None, media: Mapping[str, bool] = MappingProxyType({})
) -> dict[str, Any]:
    """Return the inputs that ``-i`` and ``--inputs`` name together.

    Args:
        pairs: texts such as ``field=value``, ``field=@file``, ``field=@-`` (stdin) and ``field:=JSON``. ``@@`` at the
            beginning stands for one ``@``. A field that is named several times gets the list of its values.
        source: file with a JSON object, ``-`` for stdin, None for none.
        media: the inputs that are pictures, sounds or files, as ``SignatureSpec.media_inputs`` has them. Of those
            ``field=@file`` gives the path, and a JSON object may name files in its own folder.

    Raises:
        CommandFailure: An argument or a file is wrong; the message names it, and what is expected.

    Example:
        >>> from hokusai_core.cli_support.inputs import gather_inputs
        >>> gather_inputs(["text=Late!", "labels:=[1, 2]", "tag=a", "tag=b"])
        {'text': 'Late!', 'labels': [1, 2], 'tag': ['a', 'b']}
    """
    values: dict[str, list[Any]] = {}
    for number, pair in enumerate(pairs, 1):
        name, separator, text = pair.partition("=")
        field = name.removesuffix(":").strip()
        if not separator or not field:
            raise CommandMisuse(f"-i number {number} has no '=': write -i field=value, or -i field=@file")
        if name.endswith(":"):
            value = parse_json(text, f"-i {field}:=")
        else:
            value = _medium(text, field) if field in media else _value(text, field)
        values.setdefault(field, []).append(value)
    given = {name: found[0] if len(found) == 1 else found for name, found in values.items()}
    if source is None:
        return given
    from_file = read_object(source)
    if media:
        from_file = MediaFolder(media, None if source == "-" else Path(source).parent).row(from_file)
    both = sorted(given.keys() & from_file)
    if both:
        raise CommandMisuse(f"-i and --inputs both give {', '.join(both)}")
    return {**from_file, **given}


def read_object(source: str) -> dict[str, Any]:
    """Return the JSON object in a file, or in stdin where ``source`` is ``-``.

    Raises:
        CommandFailure: It cannot be read, or is something else.
    """
    where = _name_of(source)
    found = parse_json(read_text(source), where)
    if not isinstance(found, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(found), "a single value")
        raise CommandFailure(f'{where} holds {kind}; expected a JSON object such as {{"field": "value"}}')
    return found


def read_text(source: str) -> str:
    """Return the text of a file, or of stdin where ``source`` is ``-``.

    Raises:
        CommandFailure: It cannot be read, or is not UTF-8 text.
    """
    where = _name_of(source)
    try:
        data = _stdin() if source == "-" else Path(source).expanduser().read_bytes()
    except OSError as error:
        raise CommandFailure(describe_os_error(error, where)) from error
    except (RuntimeError, ValueError) as error:  # no home folder for ~, a name with a null character
        raise CommandFailure(f"{where}: {error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandFailure(
            f"{where} is not UTF-8 text (byte {error.start + 1} is 0x{data[error.start]:02x}); convert it first, for "
            "example with iconv -t UTF-8"
        ) from error


def parse_json(text: str, where: str) -> Any:
    """Return the value that a JSON text holds.

    Args:
        text: the JSON text.
        where: what it is called in messages.

    Raises:
        CommandFailure: It is not JSON, or an object in it has a name twice.
    """
    try:
        return json.loads(text, object_pairs_hook=without_repetition)
    except json.JSONDecodeError as error:
        raise CommandFailure(
            f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except ValueError as error:
        raise CommandFailure(f"{where}: {error}") from error
    except RecursionError as error:
        raise CommandFailure(f"{where} is nested too deeply") from error


def _value(text: str, field: str) -> str:
    if text.startswith("@@"):
        return text[1:]
    if not text.startswith("@"):
        return text
    if len(text) == 1:
        raise CommandMisuse(f"-i {field}=@ names no file; write {field}=@@ for a text that begins with @")
    try:
        return read_text(text[1:])
    except CommandFailure as error:
        unread = isinstance(error.__cause__, OSError) and text != "@-"
        hint = " (a text that begins with @ is written with @@)" if unread else ""
        raise CommandFailure(f"-i {field}: {error.message}{hint}") from error


def _medium(text: str, field: str) -> Any:
    """Return a picture, sound or file: the path of a file, the bytes of stdin, or a URL as it is."""
    if text == "@-":
        return _stdin()
    if not text.startswith("@"):
        if text.startswith(("data:", "http://", "https://")):
            return text
        raise CommandMisuse(f"-i {field}: write {field}=@FILE for a file, or {field}=@- for stdin")
    path = Path(text[1:])
    if not path.expanduser().is_file():
        raise CommandFailure(f"-i {field}: the file {text[1:]!r} was not found")
    return path.expanduser()


def _stdin() -> bytes:
    if sys.stdin is None:  # the process was started without one
        raise CommandFailure("stdin is closed, so nothing can be read from it; give the name of a file")
    return sys.stdin.buffer.read()


def _name_of(source: str) -> str:
    return "stdin" if source == "-" else source
