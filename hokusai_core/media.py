"""Media: pictures, sounds and files of DSPy as values, their content, and their forms in JSON.

In keys, records, journals and logs a medium is its type, size and digest, never its content. Artifacts, which have to
hold all of their demos, are the one place where the content is written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from hokusai_core.dspy_classes import is_history, media_kind

__all__ = [
    "MediaContent",
    "MediaPolicy",
    "content_of",
    "media_record",
    "with_content",
    "without_content",
]

_DATA_URI: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.+=-]+)*;base64,(.*)", re.DOTALL)
#: Scheme, and host with path; between them may be a user's name and password, behind them a signature.
_URL: Final = re.compile(r"(\w+://)(?:[^/?#@]*@)?([^?#]*)")
_DAMAGED: Final = "is not valid base64"


@frozen
class MediaPolicy:
    """What media an executor takes.

    Args:
        max_bytes: the most bytes that one may have.
        urls: whether a picture may be a URL, which the provider of the language model then fetches.
    """

    max_bytes: int = 20 * 2**20
    urls: bool = False


@frozen
class MediaContent:
    """What a picture, sound or file holds.

    Args:
        type: MIME type; "" where only a reference is known.
        data: the bytes; None for a reference.
        reference: URL, or id of a file at a provider; "" where there are bytes.
        name: name of a file.
    """

    type: str = ""
    data: bytes | None = None
    reference: str = ""
    name: str = ""


def content_of(value: Any) -> MediaContent:
    """Return what a medium holds.

    Raises:
        ValueError: it is damaged; the message never holds the content.
    """
    kind = media_kind(type(value))
    if kind == "audio":
        return MediaContent(f"audio/{value.audio_format}", _decoded(value.data))
    if kind == "file":
        name = value.filename or ""
        if value.file_data is None:
            return MediaContent(reference=value.file_id or "", name=name)
        found = _DATA_URI.fullmatch(value.file_data)
        if found is None:
            return MediaContent("application/octet-stream", _decoded(value.file_data), name=name)
        return MediaContent(found[1], _decoded(found[2]), name=name)
    found = _DATA_URI.fullmatch(value.url)
    if found is not None:
        return MediaContent(found[1], _decoded(found[2]))
    if value.url.startswith("data:"):
        raise ValueError("its data URI has to say its type and ;base64")
    return MediaContent(reference=value.url)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(_DAMAGED) from None


def media_record(value: Any) -> dict[str, Any]:
    """Return type, size and digest of a medium, by which keys tell it from others and records name it.

    Raises:
        ValueError: it is damaged.
    """
    content = content_of(value)
    record: dict[str, Any] = {"media": media_kind(type(value))}
    if content.name:
        record["name"] = content.name
    if content.data is None:
        return record | {"reference": _shown(content.reference), "sha256": _digest(content.reference.encode())}
    return record | {"type": content.type, "bytes": len(content.data), "sha256": _digest(content.data)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _shown(reference: str) -> str:
    """Return a URL without what may be a credential in it."""
    found = _URL.match(reference)
    return found[1] + found[2] if found else reference


def with_content(value: Any) -> Any:
    """Return ``value`` with every medium in it as a mapping that holds all of it, from which it can be made again."""
    cls = type(value)
    kind = media_kind(cls)
    if kind == "image":
        return {"media": kind, "url": value.url}
    if kind == "audio":
        return {"media": kind, "data": value.data, "audio_format": value.audio_format}
    if kind == "file":
        parts = {name: getattr(value, name) for name in ("file_data", "file_id", "filename")}
        return {"media": kind, **{name: part for name, part in parts.items() if part is not None}}
    if is_history(cls):
        return {"messages": with_content(value.messages)}
    if isinstance(value, Mapping):
        return {key: with_content(item) for key, item in value.items()}
    if cls in (list, tuple):
        return [with_content(item) for item in value]
    return value


def without_content(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a chat message as records hold it: with type, size and digest in place of pictures, sounds and files."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [_described(part) for part in content]}


def _described(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" or kind is None:
        return part
    held = part.get(kind)
    data = held if isinstance(held, Mapping) else {}
    text = str(data.get("url") or data.get("file_data") or data.get("data") or "")
    found = _DATA_URI.fullmatch(text)
    if found is None and text.startswith(("http://", "https://")):
        return {"type": "text", "text": f"[{kind}: {_shown(text)}]"}
    try:
        content = _decoded(found[2] if found else text)
    except ValueError:
        return {"type": "text", "text": f"[{kind}]"}
    label = found[1] if found else data.get("format", kind)
    return {"type": "text", "text": f"[{kind}: {label}, {len(content)} bytes, sha256 {_digest(content)}]"}
