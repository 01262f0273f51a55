"""Whether a provider charges for a call that failed."""

from __future__ import annotations

import socket
from typing import Final, Literal

from dspy._vendor.lm15.transports import ConnectError
from dspy.utils import exceptions as raised

from hokusai_core.errors import CassetteMiss, LanguageModelUnavailable

__all__ = ["bill_of_failure"]

#: Statuses of HTTP by which a provider says that it did nothing: all of 4xx but a timeout and a caller that left, and
#: those of a provider that is overloaded. After the others it may have worked, and charge for it.
_REFUSALS: Final = frozenset({*range(400, 500), 503, 529} - {408, 444, 460, 499})
#: Errors of calls that never left this machine.
_NOT_SENT: Final = (
    ConnectError,
    CassetteMiss,
    ConnectionRefusedError,
    LanguageModelUnavailable,
    raised.LMConfigurationError,
    raised.LMUnsupportedFeatureError,
    socket.gaierror,
)


def bill_of_failure(error: BaseException, *, may_have_begun: bool = False) -> Literal["nothing", "unknown"]:
    """Return whether nothing is charged for a call that failed, or that is not known.

    Args:
        error: how it failed.
        may_have_begun: whether a part of it may have succeeded: one of several answers, or the beginning of a stream.
    """
    if may_have_begun:
        return "unknown"
    if getattr(error, "status", None) in _REFUSALS:
        return "nothing"
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, _NOT_SENT):
            return "nothing"
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return "unknown"
