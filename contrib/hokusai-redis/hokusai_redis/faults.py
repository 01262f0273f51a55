"""What the server or the way to it does wrong, as ``CacheError``: which server, what is wrong, and what to do.

Messages hold neither credentials nor values, and each kind of fault has one message: executors warn once of each.
"""

from __future__ import annotations

import re
import ssl
from typing import Final

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as ServerConnectionError

from hokusai_core.errors import CacheError

__all__ = ["FAULTS", "explain_fault"]

#: What redis raises; a socket may also raise by itself.
FAULTS = (RedisError, OSError)

_OF_CLUSTERS: Final = (AskError, ClusterCrossSlotError, ClusterDownError, MovedError)
_REFUSES_WRITES: Final = re.compile(r"(?:^|-)(?:OOM|READONLY|MISCONF|NOREPLICAS)\b")


def explain_fault(error: BaseException, address: str) -> CacheError:
    """Return the error that says what is wrong with the server at ``address``."""
    return CacheError(f"the server at {address} {_explain(error)}")


def _explain(error: BaseException) -> str:
    code = str(error).partition(" ")[0][:40]
    if isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError)) or code in (
        "NOAUTH",
        "WRONGPASS",
        "NOPERM",
    ):
        return (
            "refuses these credentials, or what they are used for; check HOKUSAI_REDIS_URL, HOKUSAI_REDIS_USERNAME and "
            "HOKUSAI_REDIS_PASSWORD, and the rights of that user"
        )
    # The error of a script quotes the one that it met.
    if isinstance(error, (OutOfMemoryError, ReadOnlyError)) or _REFUSES_WRITES.search(str(error)):
        return "takes no writes; look at its memory (maxmemory), its disk, and whether it is a replica"
    if isinstance(error, ServerConnectionError) and _is_tls(error):
        return "and this client do not agree on TLS; check rediss://, and the certificates that the URL names"
    if isinstance(error, _OF_CLUSTERS):
        return (
            "is a node of a Redis Cluster. A cluster keeps the answer, its lease and the secret of the store on "
            "different nodes, so no command can change them in one step. Name a single server in HOKUSAI_REDIS_URL, or "
            "a primary with its replicas"
        )
    if isinstance(error, ResponseError):
        return f"refused a command ({code.rstrip(':,.')}); it has to be Redis 6 or later, or Valkey"
    return "cannot be reached or does not answer in time; see whether it runs"


def _is_tls(error: BaseException) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        following = error.__cause__ or error.__context__
        if following is None:
            return "certificate" in str(error).lower()
        error = following
    return False
