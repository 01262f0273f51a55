"""The connection to Ray: a cluster of this machine on loopback, or one that runs already."""

from __future__ import annotations

import importlib
import math
import os
from typing import Any, Final

from hokusai_core.errors import ConfigurationError

__all__ = ["Connection", "imported_ray"]

#: Variables of Ray that are set before it is imported, unless the environment says otherwise. Under ``uv run``, Ray
#: would start each worker by ``uv run``, too, in a copy of the folder and with a new environment.
_ALWAYS: Final = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_USAGE_STATS_ENABLED": "0"}
#: And before a cluster of this machine is started, which only loopback reaches: nothing has to log in, and workers
#: get their share of a busy machine.
_LOCAL: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
}
_LOOPBACK: Final = "127.0.0.1"


def imported_ray(*, local: bool) -> Any:
    """Return the module ``ray``, after the environment was prepared for it.

    Args:
        local: whether a cluster of this machine is going to be started.
    """
    for name, value in {**_ALWAYS, **(_LOCAL if local else {})}.items():
        os.environ.setdefault(name, value)
    return importlib.import_module("ray")


class Connection:
    """A connection to a cluster; what it has started, it stops.

    Args:
        address: address of a cluster, or ``auto``; None to start one on this machine.
        cpus: CPUs of a cluster that is started.
        gpus: GPUs of a cluster that is started.
        object_store_memory: bytes of the object store of a cluster that is started.

    Raises:
        ConfigurationError: there is no cluster at ``address``, or none can be started.
    """

    def __init__(self, address: str | None, *, cpus: float, gpus: float, object_store_memory: int) -> None:
        self.ray = ray = imported_ray(local=address is None)
        #: A connection that the host has made is used, and left alone.
        self._own = not ray.is_initialized()
        if not self._own:
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning", "namespace": "hokusai"}
        if address is None:
            options |= {
                # Without an address, Ray would connect to a cluster that runs on this machine, or to RAY_ADDRESS.
                "address": "local",
                "num_cpus": math.ceil(cpus),
                "num_gpus": math.ceil(gpus),
                "object_store_memory": object_store_memory,
                "include_dashboard": False,
                "_node_ip_address": _LOOPBACK,
            }
        else:
            options["address"] = address
        try:
            ray.init(**options)
        except Exception as error:
            where = "a cluster on this machine cannot be started" if address is None else f"no cluster at {address}"
            raise ConfigurationError(f"Ray: {where} ({type(error).__name__}: {error})") from error

    @property
    def cpus(self) -> float:
        """CPUs of the whole cluster."""
        return float(self.ray.cluster_resources().get("CPU", 0.0))

    def close(self) -> None:
        """Leave the cluster, and stop one that was started; calling it twice is harmless."""
        own, self._own = self._own, False
        if own and self.ray.is_initialized():
            self.ray.shutdown()
