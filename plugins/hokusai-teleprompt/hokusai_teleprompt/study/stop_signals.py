"""What ends a search early. Neither is an ``Exception``: optimizers of DSPy swallow those and go on paying."""

from __future__ import annotations

__all__ = ["StudyFailed", "StudyStop"]


class StudyStop(BaseException):
    """No further call may be made: a budget is spent, or the study is over.

    Args:
        reason: why, in words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StudyFailed(BaseException):
    """Going on makes no sense: the metric raised, or the language model is dead.

    Args:
        cause: the first error, with its traceback.
        problem: what failed, in words.
    """

    def __init__(self, problem: str, cause: BaseException) -> None:
        super().__init__(problem)
        self.problem, self.cause = problem, cause
