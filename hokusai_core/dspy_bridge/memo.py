"""Memos: cached values that live as long as the object that they were computed from."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from hokusai_core.process import fork_callbacks

__all__ = ["WeakMemo"]

V = TypeVar("V")


class _Shelf(Generic[V]):
    """The values made for one owner, least recently used first."""

    __slots__ = ("owner", "values")

    def __init__(self, owner: weakref.ref[Any]) -> None:
        self.owner = owner
        self.values: dict[Hashable, V] = {}


class WeakMemo(Generic[V]):
    """Values made for an object, told apart by identity and dropped together with the object.

    Identity, not equality, because equal looking owners may hold different classes (two enums of one name), and
    because hashing a large owner costs more than what is looked up.

    Args:
        bound: how many values are kept for one owner.
    """

    def __init__(self, bound: int = 1) -> None:
        self._bound = bound
        self._shelves: dict[int, _Shelf[V]] = {}
        # Re-entrant: an owner may be collected, and its callback run, while this very thread holds the lock.
        self._lock = threading.RLock()
        fork_callbacks.add(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    def get(self, owner: Any, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value under ``key`` of ``owner``, made by ``make`` where there is none.

        Two threads that ask for a new value at once may both make it; one of the two is kept.
        """
        shelf = self._shelves.get(id(owner))
        if shelf is not None and shelf.owner() is owner:
            value = shelf.values.get(key)
            if value is not None:
                if self._bound > 1:
                    self._touch(shelf, key, value)
                return value
        return self._keep(owner, key, make())

    def discard(self, owner: Any) -> None:
        """Forget everything about ``owner``."""
        with self._lock:
            self._shelves.pop(id(owner), None)

    def __len__(self) -> int:
        return sum(len(shelf.values) for shelf in list(self._shelves.values()))

    def _touch(self, shelf: _Shelf[V], key: Hashable, value: V) -> None:
        with self._lock:
            if shelf.values.pop(key, None) is not None:
                shelf.values[key] = value

    def _keep(self, owner: Any, key: Hashable, value: V) -> V:
        identity = id(owner)
        with self._lock:
            shelf = self._shelves.get(identity)
            if shelf is None or shelf.owner() is not owner:
                shelf = self._shelves[identity] = _Shelf(weakref.ref(owner, self._forget(identity)))
            value = shelf.values.setdefault(key, value)
            while len(shelf.values) > self._bound:
                del shelf.values[next(iter(shelf.values))]
            return value

    def _forget(self, identity: int) -> Callable[[weakref.ref[Any]], None]:
        shelves, lock = self._shelves, self._lock

        def forget(gone: weakref.ref[Any]) -> None:
            with lock:
                shelf = shelves.get(identity)
                if shelf is not None and shelf.owner is gone:  # the id may belong to a newer object by now
                    del shelves[identity]

        return forget
