"""Components after ``os.fork``: which of the parent's components a child process may use.

A component says with an attribute ``fork_safe`` whether it works in a child process. One that was made by its name is
cheap to make again, so it is used on only if ``fork_safe`` is true. One that the host passed as an object cannot be
made again; it is used on unless ``fork_safe`` is false.
"""

from __future__ import annotations

from hokusai_core.errors import ForkError

__all__ = ["check_fork_safe", "made_after_fork"]


def made_after_fork(component: object) -> bool:
    """Return whether a component that was made by its name must be made again in a child process."""
    return getattr(component, "fork_safe", False) is not True


def check_fork_safe(kind: str, name: str, component: object) -> None:
    """Raise where a component that the host passed cannot be used in a child process.

    Raises:
        ForkError: it says ``fork_safe = False``.
    """
    if getattr(component, "fork_safe", None) is False:
        raise ForkError(
            f"{kind} {name!r} does not work in a process that was forked after it was made ({type(component).__name__} "
            "says fork_safe = False): make the executor after the fork, or pass the component by its name"
        )
