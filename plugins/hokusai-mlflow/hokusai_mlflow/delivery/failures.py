"""Failed deliveries: whether one concerns the tracking server or one target, and when to retry."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Final

from attrs import define
from mlflow.exceptions import MlflowException

__all__ = ["Failures", "MissingCredentials", "concerns_address", "network_error"]

_LONGEST_PAUSE: Final = 60.0
_BUSY_PAUSE: Final = 0.5
#: Errors behind an error that are looked at.
_DEEPEST: Final = 12
#: Answers that say nothing about what was sent: who asks, how often, and that the server has trouble of its own.
_ADDRESS_STATUS: Final = (401, 403, 408, 429)


class MissingCredentials(Exception):
    """The address needs credentials that this writer was not given."""


@define
class _Pause:
    """Until when something is left alone, and for how long this time."""

    until: float
    seconds: float


class Failures:
    """Remembers what failed.

    Args:
        describe: returns the text of an error without values and credentials.
    """

    def __init__(self, describe: Callable[[Exception], str]) -> None:
        self._describe = describe
        #: Address, or address and target -> pause.
        self._pauses: dict[tuple[str, str | None], _Pause] = {}
        #: Place -> last error, and how often delivery has failed there since it last worked.
        self.errors: dict[str, dict[str, Any]] = {}
        self.last_error: dict[str, Any] | None = None

    def is_paused(self, uri: str, target: str) -> bool:
        """Return whether a target is left alone at the moment, or its whole address."""
        now = time.monotonic()
        return any(key in self._pauses and now < self._pauses[key].until for key in ((uri, None), (uri, target)))

    def has_failed(self, uri: str, target: str | None = None) -> bool:
        """Return whether the last delivery to an address, or to one target there, has failed."""
        return (uri, target) in self._pauses

    def note_busy(self, uri: str) -> None:
        """Pause deliveries to an address for a moment, because its database is busy."""
        pause = self._pauses.get((uri, None))
        self._pauses[uri, None] = _Pause(time.monotonic() + _BUSY_PAUSE, pause.seconds if pause else 0.5)

    def note(self, uri: str, target: str, name: str, error: Exception) -> None:
        """Note that delivery failed, and leave alone for a while what the error concerns.

        Args:
            uri: the address, without credentials.
            target: key of the target.
            name: name of its run, for messages.
            error: what was raised.
        """
        whole = concerns_address(error)
        key, place = ((uri, None), uri) if whole else ((uri, target), f"run {name} of {uri}")
        seconds = min(_LONGEST_PAUSE, 2 * self._pauses[key].seconds if key in self._pauses else 1.0)
        self._pauses[key] = _Pause(time.monotonic() + seconds, seconds)
        count = self.errors.get(place, {"count": 0})["count"] + 1
        text = self.reject(uri, self._describe(error))
        self.errors[place] = {"error": text, "count": count, "uri": uri, "target": None if whole else target}

    def reject(self, uri: str, text: str) -> str:
        """Remember an error that is not tried again; return its text."""
        self.last_error = {"uri": uri, "error": text, "at": time.time()}
        return text

    def worked(self, uri: str, target: str, name: str) -> None:
        """Note that delivery to a target works."""
        for key, place in (((uri, None), uri), ((uri, target), f"run {name} of {uri}")):
            if self._pauses.pop(key, None):
                self.errors.pop(place, None)


def concerns_address(error: BaseException) -> bool:
    """Return whether an error concerns everything at an address, and not only the object that was asked for.

    Credentials, rates, a server in trouble, a locked database and a connection that fails concern the address. That an
    object is missing or deleted, or that a value is not accepted, concerns the object.
    """
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        return status in _ADDRESS_STATUS or status >= 500
    return isinstance(error, MissingCredentials) or network_error(error) is not None


def network_error(error: BaseException) -> OSError | None:
    """Return what the operating system said of the connection, None where it is not to blame."""
    found, seen = None, 0
    next_one: BaseException | None = error
    while next_one is not None and seen < _DEEPEST:
        if isinstance(next_one, (ConnectionError, TimeoutError, socket.gaierror)) and type(next_one).__module__ in (
            "builtins",
            "socket",
        ):
            found = next_one
        next_one, seen = next_one.__cause__ or next_one.__context__, seen + 1
    return found
