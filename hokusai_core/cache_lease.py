"""CacheLease: the right of one process to make a call that several processes want."""

from __future__ import annotations

from attrs import frozen

__all__ = ["CacheLease"]


@frozen
class CacheLease:
    """A lease on a key of a cache: its holder makes the call, and the others wait for the answer.

    Args:
        key: what the answer will be stored under.
        token: the fence. A cache stores an answer with a lease only while no later lease on the key was given.
        held: whether the caller holds the lease; else another caller does, and ``token`` is the one of that caller.
        thread: identifier of the thread that took the lease, if that was done in this process; else 0.
    """

    key: str
    token: str
    held: bool
    thread: int = 0
