"""A cluster to test against: the one that KUBECONFIG names. ``make test-kubernetes`` brings one up where none is named.

Every server has a namespace of its own, so tests may run side by side. Tests marked ``disruptive`` stop parts of the
control plane: they run alone, and only where ``ODIN_TEST_CONTROL_PLANE`` names the program that brought it up.
What needs nodes that run pods as processes of this machine, with volumes at their paths, runs where
``ODIN_TEST_NODE_TOOLS`` names a folder on their PATH. On nodes with a container engine ``ODIN_TEST_IMAGE`` is an image
with sh and python3.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from clusters import CONTROL, TOOLS, Cluster, Place, leave, place
from kubernetes.ledgers import Ledger, reachable


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    named, program = os.environ.get("KUBECONFIG"), shutil.which("kubectl")
    if not named or not program:
        pytest.skip("not run here: KUBECONFIG names no cluster")
    return Cluster(Path(named), program)


@pytest.fixture(scope="session")
def control(cluster: Cluster) -> Cluster:
    """A cluster whose parts may be stopped and started."""
    if CONTROL not in os.environ:
        pytest.skip(f"not run here: {CONTROL} names no program that stops and starts the control plane")
    return cluster


@pytest.fixture(scope="session")
def tools(cluster: Cluster) -> Path:
    """A folder of this machine on the PATH of the nodes, which are this machine."""
    if TOOLS not in os.environ:
        pytest.skip(f"not run here: {TOOLS} names no folder on the PATH of nodes that run pods as processes")
    return Path(os.environ[TOOLS])


@pytest.fixture(scope="session")
def odin(cluster: Cluster) -> Iterator[Place]:
    """A running server that many tests share; none may stop it."""
    one = place(cluster)
    try:
        one.serving.start()
        yield one
    finally:
        leave(one)


@pytest.fixture
def fresh(cluster: Cluster) -> Iterator[Callable[..., Place]]:
    """Makes servers of the test's own, with settings; the test starts and stops them."""
    with ExitStack() as stack:
        yield partial(made, stack, cluster)


@pytest.fixture(scope="module")
def lasting(cluster: Cluster) -> Iterator[Callable[..., Place]]:
    """As ``fresh``, for servers that the tests of a module share."""
    with ExitStack() as stack:
        yield partial(made, stack, cluster)


@pytest.fixture(scope="module")
def _restarted(lasting: Callable[..., Place]) -> Place:
    return lasting()


@pytest.fixture
def restarted(_restarted: Place) -> Place:
    """A running server in a namespace of its own, which the tests of a module share and may kill."""
    if not _restarted.serving.alive:
        _restarted.serving.start()
    return _restarted


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """What pods did, where the nodes are this machine."""
    return reachable(tmp_path)


def made(stack: ExitStack, cluster: Cluster, **settings: str) -> Place:
    one = place(cluster, **settings)
    stack.callback(leave, one)
    return one
