"""``odin-gpus``: the cards of the cluster and who uses them."""

from __future__ import annotations

from odin.cli.options import Parser, connected
from odin.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from odin.client.node import Node, Nodes

    Json = dict[str, Any]
    Column = tuple[str, dict[str, str]]  # its name, and what stands in it by node

EXAMPLES = (("", "a table"), ("--json", "every figure that the driver gives"))
HEAD = ("host", "gpu", "name", "used", "total", "load", "temp", "power", "processes")


def parser(prog: str) -> Parser:
    return connected(Parser(prog, "Show the GPUs of the cluster, how busy they are and who uses them.", EXAMPLES))


def main(options: Namespace) -> int:
    session = Session(options)
    nodes = session.client.nodes()
    notice = {"notice": nodes.notice} if nodes.notice else {}
    if session.show({"nodes": [node.raw for node in nodes], **notice}):
        return 0
    if nodes.notice:
        session.note(nodes.notice)
    more = [column for column in (requested(nodes), ages(nodes)) if column]
    rows = [cells + [column[node.host] for _, column in more] for node in nodes for cells in cards(node)]
    if rows:
        head = (*HEAD, *(name for name, _ in more))
        right = "used total load temp power requested age"
        session.screen.say("\n".join(session.screen.table(head, rows, right=right)))
    else:
        hosts = ", ".join(node.host for node in nodes)
        session.screen.say(f"there are no GPUs{f' on {hosts}' if hosts else ''}")
    return 0


def cards(node: Node) -> list[list[str]]:
    """A row for each card; one for all where the cluster counts cards and no agent tells of them."""
    if node.gpus or not node.gpu_count:
        return [row(node.host, gpu) for gpu in node.gpus]
    count = node.gpu_count
    return [[node.host, "", f"{count} GPU{'s' if count > 1 else ''}", *("" for _ in HEAD[3:])]]


def requested(nodes: Nodes) -> Column | None:
    """How many of a node's cards pods have asked for, in a cluster."""
    if all(node.requested is None for node in nodes):
        return None
    told = {node.host: "" if node.requested is None else taken(node.requested, node.gpu_count) for node in nodes}
    return "requested", told


def taken(asked: dict[str, float], count: int) -> str:
    return f"{asked.get('nvidia.com/gpu', 0):.0f}/{count}"


def ages(nodes: Nodes) -> Column | None:
    """How old a node's figures are, where an agent that should tell them is silent."""
    silent = [node for node in nodes if "report" in node.raw and not (node.report or {}).get("fresh")]
    if not any(node.gpus or node.gpu_count for node in silent):
        return None
    told = {node.host: age((node.report or {}).get("ageS")) for node in nodes}
    return "age", told


def age(seconds: float | None) -> str:
    if seconds is None:
        return "no report"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def row(host: str, gpu: Json) -> list[str]:
    memory = gpu.get("fbMemoryUsage") or {}
    unit = str(memory.get("unit") or "")
    load = gpu.get("utilization") or {}
    heat = gpu.get("temperature") or {}
    power = gpu.get("powerReadings") or {}
    return [
        host,
        str(gpu.get("id")),
        str(gpu.get("productName")),
        measure(memory.get("used"), unit),
        measure(memory.get("total"), unit),
        measure(load.get("gpuUtil"), load.get("unit") or "%"),
        measure(heat.get("gpuTemp"), heat.get("unit") or "C"),
        f"{measure(power.get('powerDraw'), '')}/{measure(power.get('powerLimit'), power.get('unit') or 'W')}",
        ", ".join(process(entry) for entry in gpu.get("processes") or ()),
    ]


def measure(value: object, unit: object) -> str:
    """``N/A``, the driver's word, stays without a unit."""
    if not isinstance(value, int | float):
        return str(value if value is not None else "N/A")
    return f"{value:.0f} {unit}".strip()


def process(entry: Json) -> str:
    return f"{entry.get('process_name')} ({entry.get('pid')})"
