"""Tell whether a folder is on a network file system.

SQLite's write-ahead log needs memory that all users of a file share, which a network file system cannot give: there it
corrupts databases, or kills the process with a bus error.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["network_file_system"]

_TABLE = Path("/proc/self/mounts")
_NETWORK = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gpfs",
        "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
    }
)  # fmt: skip


def network_file_system(folder: Path, table: str | None = None) -> str | None:
    """Return the type of the network file system that holds ``folder``, or None where it is local or not known.

    Args:
        folder: an existing folder.
        table: text of a mount table; read from the system where None.
    """
    if table is None:
        try:
            table = _TABLE.read_text(errors="replace")
        except OSError:
            return None
    path = os.path.realpath(folder)
    found, kind = "", ""
    for line in table.splitlines():
        columns = line.split()
        if len(columns) < 3:
            continue
        point = columns[1].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found):  # a later mount on the same point hides the earlier one
            found, kind = point, columns[2]
    return kind if kind in _NETWORK else None
