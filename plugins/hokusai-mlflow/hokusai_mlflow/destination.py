"""The destination of an execution: the host's active run if there is one, else the executor's own run.

Everything here runs on the caller's thread. MLflow is looked at only where the host has imported it already.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import frozen

from hokusai_core.plugin_api import user_data_folder
from hokusai_mlflow.provenance import provenance, user

if TYPE_CHECKING:
    from hokusai_mlflow.options import TrackingOptions

__all__ = ["DAILY", "Destination", "Destinations", "absolute_uri", "default_uri", "destination_key", "public_uri"]

_DEFAULT_EXPERIMENT: Final = "Hokusai"
#: What the key of a run begins with that holds the executions of one day.
DAILY: Final = "day:"
#: Runs of the host that are kept; a service that opens a run per request must not grow.
_KEPT: Final = 512
_USER_INFO: Final = re.compile(r"^([a-z][\w+.-]*://[^/@:]*):[^@/]*@", re.IGNORECASE)
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&]*(?:password|token|secret|key)[^=&]*=)[^&]*", re.IGNORECASE)


@frozen
class Destination:
    """A store, and the run there that executions are recorded in.

    Args:
        key: tells it apart from others; part of file names.
        header: record that describes it; the first one of each segment.
        uri: the store's address, with credentials.
        run_id: the host's run, None for the executor's own.
        daily: whether it is the run of a day.
    """

    key: str
    header: bytes
    uri: str
    run_id: str | None = None
    daily: bool = False

    @property
    def lasting(self) -> bool:
        """Whether it is the executor's own run; a run of the host may end at any time, and that of a day does."""
        return self.run_id is None and not self.daily


class Destinations:
    """Finds the destination of each event.

    Args:
        options: the tracker's options.
    """

    def __init__(self, options: TrackingOptions) -> None:
        self._options = options
        token = secrets.token_hex(4)
        self._daily = options.run == "day" and not options.run_name
        self.run_name = options.run_name or f"hokusai-{time.strftime('%Y%m%d-%H%M%S')}-{token}"
        self._run_key = f"name:{options.run_name}" if options.run_name else f"executor:{token}{secrets.token_hex(8)}"
        #: The end of the day that the name of a daily run says, in seconds since the epoch.
        self._day_ends = float("-inf")
        #: What the environment says of store and experiment -> the run there. It is not asked where options name both.
        self._own: dict[tuple[bytes | None, ...], Destination] = {}
        #: Runs of days that are over.
        self._past: list[Destination] = []
        if self._daily:
            self._begin_day(time.time())
        self._asks_environment = not (options.tracking_uri and options.experiment)
        self._hosts: dict[str, Destination] = {}
        self._provenance: dict[str, str] | None = None
        # MLflow's active run belongs to a thread; this travels with the context that is copied to other threads.
        self._anchored: ContextVar[Destination | None] = ContextVar("hokusai_mlflow_anchored", default=None)
        #: Addresses as records name them -> with credentials. Never written to disk.
        self.secret_uris: dict[str, str] = {}
        #: Addresses, as records name them, of every store so far.
        self.stores: set[str] = set()

    def current(self) -> Destination:
        """Return where what happens on this thread now is recorded."""
        run = _active_run()
        if run is not None:
            return self._hosts.get(run.info.run_id) or self._host_run(run)
        anchored = self._anchored.get()
        if anchored is not None:
            return anchored
        if self._daily and (now := time.time()) >= self._day_ends:
            self._begin_day(now)
        where: tuple[bytes | None, ...] = ()
        if self._asks_environment:
            get = os.environb.get  # three times as fast as os.environ, which decodes
            where = (get(b"MLFLOW_TRACKING_URI"), get(b"MLFLOW_EXPERIMENT_ID"), get(b"MLFLOW_EXPERIMENT_NAME"))
        return self._own.get(where) or self._own_run(where)

    @contextlib.contextmanager
    def anchor(self) -> Iterator[None]:
        """Have copies of this context mean the host's run that is active on this thread now."""
        if _active_run() is None:
            yield
            return
        token = self._anchored.set(self.current())
        try:
            yield
        finally:
            self._anchored.reset(token)

    @property
    def own(self) -> list[Destination]:
        """The executor's own runs so far: one for each store and experiment."""
        return [*self._past, *self._own.values()]

    def _begin_day(self, now: float) -> None:
        today = datetime.datetime.fromtimestamp(now).date()  # of the user's calendar
        midnight = datetime.datetime.combine(today + datetime.timedelta(days=1), datetime.time())
        self._past = self.own  # before the new day, so that no thread takes the old run for that of the new day
        self._own = {}
        self.run_name = f"hokusai {today.isoformat()}"
        self._run_key = f"{DAILY}{today.isoformat()}:{user()}"
        self._day_ends = midnight.timestamp()

    @property
    def place(self) -> tuple[str, Mapping[str, str]]:
        """The store, with credentials, and the experiment of the executor's own runs."""
        get = os.environ.get
        variables = get("MLFLOW_TRACKING_URI"), get("MLFLOW_EXPERIMENT_ID"), get("MLFLOW_EXPERIMENT_NAME")
        return self._place(*(variables if self._asks_environment else (None, None, None)))

    def _place(
        self, uri: str | None, experiment_id: str | None, experiment_name: str | None
    ) -> tuple[str, dict[str, str]]:
        """Return store and experiment, where the environment says this."""
        options = self._options
        address = options.tracking_uri or uri
        experiment: dict[str, str]
        if options.experiment:
            experiment = {"name": options.experiment}
        elif experiment_id and address == uri:  # an id means nothing in another store
            experiment = {"id": experiment_id}
        else:
            experiment = {"name": experiment_name or _DEFAULT_EXPERIMENT}
        return absolute_uri(address) if address else default_uri(options.data_folder), experiment

    def _own_run(self, where: tuple[bytes | None, ...]) -> Destination:
        uri, experiment_id, name = (None if text is None else os.fsdecode(text) for text in where or (None, None, None))
        made = self._make(*self._place(uri, experiment_id, name), None)
        self._own[where] = made
        return made

    def _host_run(self, run: Any) -> Destination:
        import mlflow  # the host has a run, so it is imported

        uri = absolute_uri(mlflow.get_tracking_uri())
        made = self._make(uri, {"id": str(run.info.experiment_id)}, run.info.run_id)
        if len(self._hosts) >= _KEPT:
            self._hosts.clear()
        self._hosts[run.info.run_id] = made
        return made

    def _make(self, uri: str, experiment: dict[str, str], run_id: str | None) -> Destination:
        options = self._options
        public = public_uri(uri)
        self.stores.add(public)
        if public != uri:
            self.secret_uris[public] = uri
        if self._provenance is None:
            self._provenance = provenance()
        header = {
            "k": "d",
            "uri": public,
            "experiment": experiment,
            "run_id": run_id,
            "run_key": self._run_key,
            "run_name": self.run_name,
            "tags": dict(options.tags),
            "source": self._provenance,
            "sampling": options.sampling,
            "rate": options.traces_per_second,
        }
        key = destination_key(public, run_id, self._run_key, experiment)
        return Destination(key, orjson.dumps(header), uri, run_id, daily=self._daily and run_id is None)


def destination_key(uri: str, run_id: str | None, run_key: str, experiment: Mapping[str, str]) -> str:
    """Return what tells a destination apart: 16 hexadecimal digits.

    Args:
        uri: address of the store, without credentials.
        run_id: the host's run, None for a run of an executor's own.
        run_key: tells runs of executors apart.
        experiment: id or name of the experiment.
    """
    parts = [uri, "run", run_id] if run_id else [uri, run_key, sorted(experiment.items())]
    return hashlib.blake2b(orjson.dumps(parts), digest_size=8).hexdigest()


def _active_run() -> Any:
    """Return the active run of this thread, None where there is none or the host does not use MLflow."""
    fluent = sys.modules.get("mlflow.tracking.fluent")
    active_run = getattr(fluent, "active_run", None)  # absent while another thread is importing it
    return active_run() if active_run is not None else None


def default_uri(data_folder: Path | None = None) -> str:
    """Return the address of the local store that is used where nothing is configured.

    Args:
        data_folder: the data folder of the executor; None for that of the user.
    """
    folder = user_data_folder("mlflow") if data_folder is None else data_folder / "mlflow"
    return f"sqlite:///{folder / 'mlflow.db'}"


def absolute_uri(uri: str) -> str:
    """Return ``uri`` so that it means the same in a process with another working directory."""
    scheme, separator, rest = uri.partition(":///")
    if separator and scheme.startswith("sqlite") and rest and not rest.startswith((":memory:", "/", "file:")):
        return f"{scheme}:///{Path(rest).absolute()}"
    if "://" not in uri and not re.match(r"^[\w+.-]{2,}:|^(databricks|uc)$", uri):
        return Path(uri).absolute().as_uri()
    return uri


def public_uri(uri: str) -> str:
    """Return ``uri`` with its password and other credentials left out."""
    return _SECRET_PARAMETER.sub(r"\1***", _USER_INFO.sub(r"\1:***@", uri))
