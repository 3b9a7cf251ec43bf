"""One row of the table of kinds: how a task becomes objects of a kind, and how those are read. All of it pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odin.executors.kubernetes.sights import Sight
from odin.executors.protocol import TaskLaunch
from odin.model.job import TaskSpec

Object = dict[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True, slots=True)
class Api:
    """One resource of the API: its group ("" for the core), version, kind and plural."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """What stands before ``/namespaces/…``."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


@dataclass(frozen=True, slots=True)
class Order:
    """What a kind builds from.

    ``pod`` is a finished pod template (``metadata`` with labels and annotations, ``spec`` with exactly one container
    named ``task`` first); ``metadata`` is that of the top object: name, labels, annotations, finalizers. ``api`` is
    the one of the kind's apis that the cluster serves.
    """

    launch: TaskLaunch
    metadata: Mapping[str, Any]
    pod: Mapping[str, Any]
    api: Api


@dataclass(frozen=True, slots=True)
class Kind:
    """``name`` as job files write it; ``apis`` best first, of which one is needed, and all of ``needs``.

    ``build`` gives the objects to create, in order, the top object last. ``read`` reads the top object.
    ``main`` tells of one of its pods whether that pod's log and exit code are the task's own (the master, the
    launcher, rank 0), and ``container`` is the one of that pod that counts. ``longest`` is the most characters the
    object's name may have. ``lacks`` names, in words, what of the task this kind cannot do; None if nothing.
    ``replaces`` tells of one of its pods whether another may take its place within an attempt: the kind is made so.
    ``suspend`` is where its objects say that they must not run; empty for pods. ``since`` is the first version of the
    API server (major, minor) that has what ``build`` relies on. ``remedy`` says what brings it to a cluster.
    """

    name: str
    apis: tuple[Api, ...]
    longest: int
    build: Callable[[Order], Sequence[Object]]
    read: Callable[[Object], Sight]
    main: Callable[[Object], bool]
    lacks: Callable[[TaskSpec], str | None]
    container: str = "task"
    replaces: Callable[[Object], bool] = lambda _: False
    suspend: tuple[str, ...] = ("spec", "suspend")
    needs: tuple[Api, ...] = ()
    since: tuple[int, int] = (1, 20)
    remedy: str = ""
