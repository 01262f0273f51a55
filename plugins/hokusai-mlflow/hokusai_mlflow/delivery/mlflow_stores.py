"""Opens stores so that neither their owner nor another process is disturbed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from hokusai_core.plugin_api import private_folder
from hokusai_mlflow.destination import default_uri

__all__ = ["StoreBusy", "database_of", "is_busy", "open_store", "private_files", "probe"]

#: Seconds for which a write waits for the host's own writes to the same database; MLflow's default is five.
_PATIENCE: Final = 60
#: Seconds without a change after which a half-made database counts as abandoned by the process that made it.
_ABANDONED: Final = 20.0
#: Seconds within which a store that did not answer before has to answer the question whether it is back.
_PROBE: Final = "5"


class StoreBusy(Exception):
    """Another process is making this database."""


def database_of(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for any other."""
    if not uri.startswith("sqlite:///"):
        return None
    path = uri.removeprefix("sqlite:///")
    # Addresses with options are the host's own business, and mean no plain file.
    return None if not path or path == ":memory:" or path.startswith("file:") or set(path) & set("?#%") else Path(path)


def open_store(uri: str) -> str:
    """Return the address to open a store by; makes a SQLite database that does not exist yet.

    Raises:
        StoreBusy: another process is making it at the moment.
    """
    path = database_of(uri)
    if path is None:
        return uri
    if not path.exists():
        _make(path, uri)
    elif not _is_ready(path):
        raise StoreBusy(f"another process is making {path}")
    # Opened so, a database that is deleted under the writer stays deleted; MLflow would begin an empty one.
    return f"sqlite+pysqlite:///file:{quote(os.fspath(path))}?mode=rw&uri=true&timeout={_PATIENCE}"


def _make(path: Path, uri: str) -> None:
    """Make a database and put it in its place whole: two processes that both make one in place spoil each other's."""
    private_folder(path.parent) if uri == default_uri() else path.parent.mkdir(parents=True, exist_ok=True)
    artifacts = (path.parent / "artifacts").as_uri() if uri == default_uri() else DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        SqlAlchemyStore(f"sqlite:///{fresh}", artifacts).engine.dispose()
        try:
            os.link(fresh, path)
        except FileExistsError:
            return  # another process was faster
        except OSError:  # a file system without links
            fresh.rename(path)


def _is_ready(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fspath(path))}?mode=ro", uri=True, timeout=1)) as database:
            # MLflow's last step when it makes a database.
            if database.execute("SELECT 1 FROM experiments LIMIT 1").fetchone():
                return True
    except sqlite3.Error:
        pass  # no such table yet, or locked; anything else is for MLflow to say
    return time.time() - path.stat().st_mtime > _ABANDONED


@contextlib.contextmanager
def private_files(uri: str) -> Iterator[None]:
    """Have files that are made in Hokusai's own store be for this user alone; other stores keep the user's umask."""
    before = os.umask(0o077) if uri == default_uri() else None
    try:
        yield
    finally:
        if before is not None:
            os.umask(before)


def is_busy(error: Exception) -> bool:
    """Return whether ``error`` says that the database has other things to do, and nothing else is wrong."""
    return isinstance(error, StoreBusy) or "database is locked" in str(error)


def probe(uri: str) -> None:
    """Ask a store that did not answer before whether it does now, and do not wait long: others have to be served.

    Raises:
        MlflowException: it does not.
    """
    if uri.startswith("http"):
        with _environment(MLFLOW_HTTP_REQUEST_TIMEOUT=_PROBE, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"):
            MlflowClient(uri).search_experiments(max_results=1)


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables that MLflow reads for each request."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
