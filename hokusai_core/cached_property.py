"""``cached_property`` without the lock that it has in Python 3.11.

The lock of Python 3.11 belongs to the class: while one instance works out its value all others wait, and a child
process that was forked meanwhile waits for ever. Two threads that ask at once may both work the value out here; one of
the two values is kept.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

__all__ = ["cached_property"]

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property(functools.cached_property):  # it stands for the function of that name
        """A property that is worked out once for each instance."""

        def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self.attrname] = self.func(instance)
            return value
