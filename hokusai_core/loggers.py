"""Standard loggers of Hokusai, silent unless the host configures logging.

========================== =====================================================================
``hokusai.execution``      DEBUG: an execution succeeded; INFO: one failed, or is tried again
``hokusai.cache``          DEBUG: an answer was served or stored; WARNING: a cache is out of order
``hokusai.tracking``       WARNING: a tracker did not accept or deliver an event
``hokusai.plugins``        DEBUG: a plugin was loaded; WARNING: one failed
========================== =====================================================================

Every record has an attribute ``execution_id``, empty if it belongs to no single execution, so that a formatter may use
``%(execution_id)s``. Records of executions hold names, figures and classes of errors; never inputs, outputs or messages
that may quote them.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["AreaLogger"]

_ROOT: Final = "hokusai"
_DEBUG, _INFO, _WARNING = 10, 20, 30  # as in the standard library


class AreaLogger:
    """The logger of one area.

    This does not import ``logging``. Until another module imports it, no handler can exist, and the import would take a
    large part of the run time of a command such as ``hokusai list``.

    Args:
        area: last part of its name.
    """

    def __init__(self, area: Literal["execution", "cache", "tracking", "plugins"]) -> None:
        self._area = area
        self._logger: Logger | None = None

    @property
    def debugs(self) -> bool:
        """Whether anything listens to DEBUG records; asked on the path of every execution."""
        logger = self._logger or self._found()
        return logger is not None and logger.isEnabledFor(_DEBUG)

    def debug(self, message: str, *values: object, execution_id: str = "") -> None:
        """Log what goes well."""
        self._log(_DEBUG, message, values, execution_id)

    def info(self, message: str, *values: object, execution_id: str = "") -> None:
        """Log an event that also reaches the caller as an error."""
        self._log(_INFO, message, values, execution_id)

    def warning(self, message: str, *values: object, execution_id: str = "") -> None:
        """Log what goes wrong beside executions, which go on."""
        self._log(_WARNING, message, values, execution_id)

    def _log(self, level: int, message: str, values: tuple[object, ...], execution_id: str) -> None:
        logger = self._logger or self._found()
        if logger is not None and logger.isEnabledFor(level):
            logger.log(level, message, *values, extra={"execution_id": execution_id}, stacklevel=3)

    def _found(self) -> Logger | None:
        """Return the logger, None while nothing in this process has imported ``logging``."""
        if "logging" not in sys.modules:
            return None
        logging = importlib.import_module("logging")
        root = logging.getLogger(_ROOT)
        if not root.handlers:  # else Python prints warnings of a host that has configured nothing
            root.addHandler(logging.NullHandler())
        self._logger = logging.getLogger(f"{_ROOT}.{self._area}")
        return self._logger
