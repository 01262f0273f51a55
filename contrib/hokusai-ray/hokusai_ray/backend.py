"""RayBackend: runs the rows of batches on actors of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from hokusai_core.errors import ConfigurationError
from hokusai_core.plugin_api import BatchJob, RowHost
from hokusai_ray.connection import Connection
from hokusai_ray.session import RaySession
from hokusai_ray.worker import RowWorker

__all__ = ["RayBackend"]

_MEGABYTE: Final = 2**20


class RayBackend:
    """Runs the rows of batches on the workers of a Ray cluster.

    A worker is an actor: a process that makes an executor's parts of the batch job and answers up to ``concurrency``
    rows at once on its event loop. The cluster is started, or connected to, with the first batch. The workers are
    started then, too, and both are kept until ``close``.

    Args:
        address: address of a running cluster, such as ``10.0.0.5:6379`` or ``auto``; None starts one on this machine,
            which only loopback reaches. A connection that the host has made by ``ray.init`` is used as it is.
        workers: number of workers; None for as many as the cluster has CPUs for.
        concurrency: rows that a worker runs at once.
        prefetch: rows that a worker has beside those, and begins as soon as there is room; None for half of
            ``concurrency``. A worker that dies takes them with it.
        chunk_size: rows that a worker is sent at once at most.
        num_cpus: CPUs that a worker takes up.
        num_gpus: GPUs that a worker takes up.
        max_restarts: how often a worker that died is started again; -1 for always.
        environment: names of environment variables, such as those of API keys, whose values workers get from this
            process. A cluster of this machine has them anyway.
        start_timeout: seconds within which the workers must have started.
        patience: seconds without any living worker after which rows fail.
        object_store_memory: bytes of the object store of a cluster that is started.

    Raises:
        ConfigurationError: a value cannot be used.
    """

    #: A connection to a cluster does not work in a forked process.
    fork_safe = False

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        concurrency: int = 32,
        prefetch: int | None = None,
        chunk_size: int = 32,
        num_cpus: float = 1.0,
        num_gpus: float = 0.0,
        max_restarts: int = -1,
        environment: Sequence[str] = (),
        start_timeout: float = 120.0,
        patience: float = 60.0,
        object_store_memory: int = 128 * _MEGABYTE,
    ) -> None:
        for name, number in {"workers": workers, "concurrency": concurrency, "chunk_size": chunk_size}.items():
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise ConfigurationError(f"RayBackend({name}={number!r}): expected a whole number of at least 1")
        if isinstance(environment, str):
            raise ConfigurationError("RayBackend(environment=...): expected a list of names of variables")
        missing = [name for name in environment if name not in os.environ]
        if missing:
            raise ConfigurationError(f"RayBackend(environment=...): {', '.join(missing)}: not set in this process")
        self._address, self._workers, self._concurrency, self._chunk_size = address, workers, concurrency, chunk_size
        self._resources = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_restarts": max_restarts}
        self._prefetch = concurrency // 2 if prefetch is None else max(0, prefetch)
        self._environment = tuple(environment)
        self._start_timeout, self._patience = start_timeout, patience
        self._object_store_memory = object_store_memory
        self._connection: Connection | None = None
        self._actors: list[Any] = []

    def open(self, job: BatchJob, host: RowHost) -> RaySession:
        """Start the workers of a batch, and return its session.

        Raises:
            ConfigurationError: there is no cluster, the workers do not start in time, or they cannot run the job.
        """
        connection = self._connected()
        try:
            workers = self._opened(connection, job)
        except BaseException:
            for actor in self._actors:
                actor.end.remote(job.job_id)
            raise
        return RaySession(
            connection.ray,
            job,
            host,
            workers,
            concurrency=self._concurrency,
            prefetch=self._prefetch,
            chunk_size=self._chunk_size,
            patience=self._patience,
        )

    def close(self) -> None:
        """Leave the cluster, and stop one that was started; calling it twice is harmless."""
        connection, self._connection = self._connection, None
        actors, self._actors = self._actors, []
        if connection is not None:
            for actor in actors if connection.ray.is_initialized() else ():
                connection.ray.kill(actor, no_restart=True)
            connection.close()

    def _connected(self) -> Connection:
        if self._connection is None:
            workers = self._workers or os.cpu_count() or 1
            self._connection = Connection(
                self._address,
                cpus=max(1.0, workers * self._resources["num_cpus"]),
                gpus=workers * self._resources["num_gpus"],
                object_store_memory=self._object_store_memory,
            )
        return self._connection

    def _count(self, connection: Connection) -> int:
        if self._workers is not None:
            return self._workers
        return max(1, int(connection.cpus // (self._resources["num_cpus"] or 1.0)))

    def _opened(self, connection: Connection, job: BatchJob) -> list[tuple[Any, str]]:
        """Have every worker take part in a batch; workers that are missing are started.

        Returns:
            The actors, each with what its process is known by.
        """
        ray, count = connection.ray, self._count(connection)
        environment = {name: os.environ[name] for name in self._environment}
        make: Any = ray.remote(RowWorker).options(
            **self._resources, max_task_retries=0, max_concurrency=1_000, scheduling_strategy="SPREAD"
        )
        self._actors += [make.remote(environment) for _ in range(count - len(self._actors))]
        asked = {actor.open.remote(job, self._concurrency): actor for actor in self._actors}
        ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=self._start_timeout)
        if late:
            raise ConfigurationError(
                f"Ray: {len(ready)} of {count} workers have started within {self._start_timeout:g} s; ask for fewer "
                "(workers=), for less of each (num_cpus=, num_gpus=), or wait longer (start_timeout=)"
            )
        opened: list[tuple[Any, str]] = []
        failure: Exception | None = None
        for ref in ready:
            try:
                identity, problem = ray.get(ref)
            except ray.exceptions.RayError as error:
                self._actors.remove(asked[ref])
                failure = error
                continue
            if problem:
                raise ConfigurationError(f"Ray: the workers cannot run this batch: {problem}")
            opened.append((asked[ref], identity))
        if not opened:
            raise ConfigurationError(f"Ray: no worker can start ({type(failure).__name__}: {failure})") from failure
        return opened
