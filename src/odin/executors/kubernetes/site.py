"""What the operator's settings say of the cluster: what Odin gives every pod, and what a task may ask for.

A list holds names or patterns: ``*`` stands for what has no ``/`` in it, ``example.com/*`` for all below that prefix.
What is reserved must be written out. Source: reliability.md, A-91 to A-94; job-files.md; kubernetes.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

DELIVERED_BYTES: Final = 900_000
TASK_UID: Final = 10001

# Keys that choose what a label or annotation steers: Services and controllers of other people select by them.
_STEERING: Final = re.compile(
    r"app|k8s-app|run|pod-template-hash|controller-uid|job-name|group-name|job-role|replica-(type|index)|controller-name"
)
_CONTROL_PLANE: Final = re.compile(r"node-role\.kubernetes\.io/.*")


@dataclass(frozen=True, slots=True)
class Site:
    """One cluster as this Odin uses it.

    ``store`` tells this Odin from others in the namespace. ``data_claim`` holds ``checkouts/`` and ``runs/``; without
    it files are delivered. ``image`` is that of tasks that name none. A task runs as ``run_as_user`` unless it says
    otherwise; with a data claim this is the server's own user, unless that is root. A task has no service account
    token unless it names an account of ``service_accounts``. ``claims``, ``secrets`` and ``config_maps`` are the names
    of what tasks may mount. ``labels`` to ``tolerations`` are patterns of keys. Names that begin with one of
    ``reserved`` are Odin's own: no pattern stands for them.
    """

    store: str
    namespace: str
    data_claim: str | None = None
    url: str | None = None
    image: str | None = None
    pull_policy: str | None = None
    pull_secrets: tuple[str, ...] = ()
    pod_security: Literal["restricted", "baseline"] = "restricted"
    run_as_user: int | None = TASK_UID
    run_as_group: int | None = TASK_UID
    service_accounts: Collection[str] = ()
    claims: Collection[str] = ()
    secrets: Collection[str] = ()
    config_maps: Collection[str] = ()
    labels: Collection[str] = ("*",)
    annotations: Collection[str] = ("*",)
    node_selectors: Collection[str] = ("*", "*/*")
    tolerations: Collection[str] = ("nvidia.com/gpu",)
    priority_classes: Collection[str] = ()
    gpu: str = "nvidia.com/gpu"
    delivered_bytes: int = DELIVERED_BYTES
    reserved: tuple[str, ...] = ("odin",)

    @property
    def is_restricted(self) -> bool:
        return self.pod_security == "restricted"

    def lets_use(self, names: Collection[str], name: str) -> bool:
        """Whether an object of that name is listed; the data claim never is."""
        if name == self.data_claim:
            return False
        return _listed(names, name, reserved=name.startswith(self.reserved))

    def lets_label(self, keys: Collection[str], key: str) -> bool:
        """Whether a task may set that label or annotation."""
        if key.startswith("odin/"):
            return False
        return _listed(keys, key, reserved=_STEERING.fullmatch(key) is not None)

    def lets_reach(self, keys: Collection[str], key: str) -> bool:
        """Whether a task may choose nodes, or tolerate taints, by that key."""
        return key != "" and _listed(keys, key, reserved=_CONTROL_PLANE.fullmatch(key) is not None)

    def lets_rank(self, name: str) -> bool:
        """Whether a task may have that priority class."""
        return _listed(self.priority_classes, name, reserved=name.startswith("system-"))


def _listed(patterns: Collection[str], name: str, *, reserved: bool) -> bool:
    if name in patterns and not _is_pattern(name):
        return True
    return not reserved and any(_matches(pattern, name) for pattern in patterns)


def _is_pattern(name: str) -> bool:
    return "*" in name


def _matches(pattern: str, name: str) -> bool:
    """Each side of the ``/`` for itself; only ``*`` has a meaning."""
    pattern = re.sub(r"[\[?]", lambda found: f"[{found[0]}]", pattern)
    return pattern.count("/") == name.count("/") and all(map(fnmatchcase, name.split("/"), pattern.split("/")))
