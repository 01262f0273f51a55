"""File storage: append-only logs, atomic writes, values that processes change in turn, file locks, private folders.

Every writer of the core and of the plugins uses these functions, so that each file that holds values is readable by its
user alone, survives a kill, and is locked the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hokusai_core.lazy_exports import lazy_exports

# Not late, as the others: they have the names of their modules, which Python puts here when anything imports those.
from hokusai_core.storage.atomic_write import atomic_write
from hokusai_core.storage.file_lock import file_lock

if TYPE_CHECKING:
    from hokusai_core.storage.append_log import AppendLog, LogLine, parse_line, read_log, scan_lines
    from hokusai_core.storage.file_lock import is_locked, lock_descriptor, unlock_descriptor
    from hokusai_core.storage.locked_state import DamagedStateError, LockedState
    from hokusai_core.storage.os_errors import describe_os_error
    from hokusai_core.storage.private_folders import (
        UnsafeFileError,
        executor_data_folder,
        make_missing_folders,
        open_private_file,
        private_folder,
        secure_file,
        user_cache_folder,
        user_data_folder,
    )

__all__ = [
    "AppendLog",
    "DamagedStateError",
    "LockedState",
    "LogLine",
    "UnsafeFileError",
    "atomic_write",
    "describe_os_error",
    "executor_data_folder",
    "file_lock",
    "is_locked",
    "lock_descriptor",
    "make_missing_folders",
    "open_private_file",
    "parse_line",
    "private_folder",
    "read_log",
    "scan_lines",
    "secure_file",
    "unlock_descriptor",
    "user_cache_folder",
    "user_data_folder",
]

if not TYPE_CHECKING:  # a type checker would take `__getattr__` for a promise of any name
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "hokusai_core.storage.append_log": (
                "AppendLog",
                "LogLine",
                "parse_line",
                "read_log",
                "scan_lines",
            ),
            "hokusai_core.storage.file_lock": (
                "is_locked",
                "lock_descriptor",
                "unlock_descriptor",
            ),
            "hokusai_core.storage.locked_state": (
                "DamagedStateError",
                "LockedState",
            ),
            "hokusai_core.storage.os_errors": ("describe_os_error",),
            "hokusai_core.storage.private_folders": (
                "UnsafeFileError",
                "executor_data_folder",
                "make_missing_folders",
                "open_private_file",
                "private_folder",
                "secure_file",
                "user_cache_folder",
                "user_data_folder",
            ),
        },
    )
