"""Read pictures, sounds and files from what callers give, and check them before anything is paid."""

from __future__ import annotations

import base64
import io
import mimetypes
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, Final

from hokusai_core.dspy_classes import is_history, media_kind
from hokusai_core.json_encoding import jsonable
from hokusai_core.media import MediaPolicy, content_of
from hokusai_core.signatures.field_types import Shape, walk
from hokusai_core.signatures.scalar_input import Coercer, CoercionError, is_finite, mismatch
from hokusai_core.signatures.text_json import NotJSON, parse_json

__all__ = ["check_media", "history_coercer", "media_coercer", "read_paths"]

#: Types of pictures that providers take.
_PICTURES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp")
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mp3"),
    (b"\xff\xfb", "audio/mp3"),
    (b"%PDF-", "application/pdf"),
)
_DSPY_KEYS: Final = frozenset({"url", "data", "audio_format", "file_data", "file_id", "filename"})


def media_coercer(shape: Shape) -> Coercer:
    """Return the function that turns values into a picture, sound or file; it opens no file and no connection."""
    cls = shape.cls
    kind = str(media_kind(cls))
    forms: dict[type, Callable[[Any], Any]] = {
        bytes: lambda value: _from_bytes(cls, kind, value, ""),
        str: lambda value: _from_text(cls, kind, value),
    }

    def coerce(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        try:
            if type(value) in forms:
                return forms[type(value)](value)
            if isinstance(value, Mapping):
                return _from_mapping(cls, kind, value)
            if kind == "image" and type(value).__module__.startswith("PIL."):
                return _from_bytes(cls, kind, _png(value), "")
        except CoercionError:
            raise
        except Exception as error:  # of DSPy or Pillow, whose messages may quote the content
            raise CoercionError(f"expected {shape.expected}; it was refused ({type(error).__name__})") from None
        raise mismatch(shape, value)

    return coerce


def _from_mapping(cls: Any, kind: str, value: Mapping[str, Any]) -> Any:
    parts = {key: item for key, item in value.items() if key != "media"}
    if value.get("media", kind) != kind:
        raise CoercionError(f"expected {kind}, got another kind of media")
    if "sha256" in parts:
        raise CoercionError("is only the digest of one, as records hold it; give the content")
    if not parts or not parts.keys() <= _DSPY_KEYS:
        raise CoercionError(f"expected a mapping with the fields of dspy.{cls.__name__}")
    return cls(**parts)


def _from_text(cls: Any, kind: str, text: str) -> Any:
    text = text.strip()
    if text.startswith("data:"):
        made = cls(text)
        try:
            content_of(made)
        except ValueError as error:  # its message holds nothing of the content
            raise CoercionError(str(error)) from None
        return made
    if kind == "image" and text.startswith(("https://", "http://")):
        return cls(text)
    what = "a URL of a picture or a data URI" if kind == "image" else "a data URI"
    raise CoercionError(f"a text has to be {what}; give a file as pathlib.Path(...), or as bytes")


def _from_bytes(cls: Any, kind: str, data: bytes, name: str) -> Any:
    found = _type_of(data, name)
    encoded = base64.b64encode(data).decode("ascii")
    if kind == "file":
        # Without a name: DSPy's requests have no place for one.
        return cls(file_data=f"data:{found or 'application/octet-stream'};base64,{encoded}")
    if not found.startswith(f"{kind}/"):
        raise CoercionError(f"its type is {found or 'not known'}; expected {kind}")
    if kind == "audio":
        return cls(data=encoded, audio_format=found.partition("/")[2])
    return cls(f"data:{found};base64,{encoded}")


def _type_of(data: bytes, name: str) -> str:
    """Return the MIME type that the first bytes tell, else the one that goes with the name, else ""."""
    for magic, found in _MAGIC:
        if data.startswith(magic):
            return found
    if data[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(data[8:12], "")
    guessed = mimetypes.guess_type(name)[0] or ""
    return "" if guessed.startswith("image/") else guessed  # a picture has one of the beginnings above


def _png(picture: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, format="PNG")
    return target.getvalue()


def history_coercer(shape: Shape) -> Coercer:
    """Return the function that turns a list of messages, or a mapping with one, into ``dspy.History``."""

    def coerce(value: Any) -> Any:
        if is_history(type(value)):
            return value
        if isinstance(value, str):
            try:
                value = parse_json(value)
            except NotJSON:
                raise mismatch(shape, value) from None
        messages = value.get("messages") if isinstance(value, Mapping) and value.keys() == {"messages"} else value
        if not isinstance(messages, (list, tuple)) or not all(isinstance(item, Mapping) for item in messages):
            raise mismatch(shape, value)
        try:
            plain = jsonable([dict(item) for item in messages])
        except (TypeError, ValueError):
            raise CoercionError(f"expected {shape.expected}, whose values are plain data") from None
        if not is_finite(plain):
            raise CoercionError("expected finite numbers", "out_of_range")
        return shape.cls(messages=plain)

    return coerce


def read_paths(shape: Shape, value: Any, policy: MediaPolicy) -> Any:
    """Return ``value`` with every path in it as the picture, sound or file that it names.

    Raises:
        CoercionError: a file cannot be read, or is too large; it is then not read.
    """
    if isinstance(value, PurePath):
        cls = next(part.cls for part in walk(shape) if part.kind == "media")
        made = _read_file(cls, Path(value), policy)
        return [made] if any(member.kind == "list" for member in shape.members) else made
    if type(value) in (list, tuple):
        inner = next((member.args[0] for member in shape.members if member.kind in ("list", "tuple")), shape)
        return [read_paths(inner, item, policy) for item in value]
    return value


def _read_file(cls: Any, path: Path, policy: MediaPolicy) -> Any:
    try:
        if not path.is_file():
            raise CoercionError("the path names no file")
        _check_size(path.stat().st_size, policy)
        with path.open("rb") as file:
            data = file.read(policy.max_bytes + 1)
    except CoercionError:
        raise
    except (OSError, ValueError) as error:
        raise CoercionError(
            f"the file cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
        ) from None
    _check_size(len(data), policy)
    return _from_bytes(cls, str(media_kind(cls)), data, path.name)


def check_media(value: Any, policy: MediaPolicy) -> None:
    """Check every picture, sound and file in ``value``.

    Raises:
        CoercionError: one is too large, of a type that no provider takes, damaged, or a URL where none is allowed.
    """
    for medium in _media_in(value):
        try:
            content = content_of(medium)
        except ValueError as error:
            raise CoercionError(str(error)) from None
        if content.data is None:
            if media_kind(type(medium)) == "image" and not policy.urls:
                raise CoercionError(
                    "is a URL, which the provider would fetch; allow that with media_urls=True "
                    "(HOKUSAI_MEDIA_URLS=true)"
                )
            continue
        if not content.data:
            raise CoercionError("is empty", "empty")
        _check_size(len(content.data), policy)
        if media_kind(type(medium)) == "image":
            seen = _type_of(content.data[:16], "")
            if seen not in _PICTURES:
                raise CoercionError(f"its bytes are no picture of one of the types {', '.join(_PICTURES)}")
            if seen != content.type:
                raise CoercionError(f"says that it is {content.type}, and its bytes are {seen}")


def _media_in(value: Any) -> Iterator[Any]:
    if media_kind(type(value)) is not None:
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _media_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _media_in(item)
    elif is_history(type(value)):
        yield from _media_in(value.messages)


def _check_size(size: int, policy: MediaPolicy) -> None:
    if size > policy.max_bytes:
        raise CoercionError(
            f"has {size / 2**20:.1f} MB, more than the {policy.max_bytes / 2**20:.1f} MB that are allowed; make it "
            "smaller, or allow more with media_bytes=... (HOKUSAI_MEDIA_BYTES)",
            "out_of_range",
        )
