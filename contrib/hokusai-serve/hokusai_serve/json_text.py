"""``json_bytes``: JSON of everything that the server sends and keeps."""

from __future__ import annotations

import json
from typing import Any

import orjson

__all__ = ["json_bytes"]


def json_bytes(data: Any) -> bytes:
    """Return ``data``, which is JSON-able, as JSON, also where a number or a text is more than most readers take."""
    try:
        return orjson.dumps(data)
    except TypeError:
        return json.dumps(data).encode()
