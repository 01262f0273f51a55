"""One Ray cluster on loopback for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from hokusai_core.testing.backends import KEY_VARIABLE
from hokusai_ray import RayBackend
from hokusai_ray.connection import imported_ray

_NODE = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Yield the cluster: one node, to which a test may add others."""
    os.environ.setdefault(KEY_VARIABLE, "no-secret")
    # A node that is gone is to be noticed within seconds. Ray's own patience is for machines that are busy.
    os.environ |= {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "5"}
    ray = imported_ray(local=True)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, **_NODE})
    yield made
    if ray.is_initialized():
        ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="session")
def ray_backend(cluster: Any) -> Iterator[RayBackend]:
    """Yield a backend with two workers."""
    backend = RayBackend(cluster.address, workers=2, concurrency=8, chunk_size=8, environment=[KEY_VARIABLE])
    yield backend
    backend.close()
