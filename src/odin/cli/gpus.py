"""``odin-gpus``: the cards of the cluster and who uses them."""

from __future__ import annotations

from odin.cli.options import Parser, connected
from odin.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    Json = dict[str, Any]

EXAMPLES = (("", "a table"), ("--json", "every figure that the driver gives"))
HEAD = ("host", "gpu", "name", "used", "total", "load", "temp", "power", "processes")


def parser(prog: str) -> Parser:
    return connected(Parser(prog, "Show the GPUs of the cluster, how busy they are and who uses them.", EXAMPLES))


def main(options: Namespace) -> int:
    session = Session(options)
    nodes = session.client.nodes()
    if session.show({"nodes": [node.raw for node in nodes]}):
        return 0
    rows = [row(node.host, gpu) for node in nodes for gpu in node.gpus]
    if rows:
        session.screen.say("\n".join(session.screen.table(HEAD, rows, right="used total load temp power")))
    else:
        hosts = ", ".join(node.host for node in nodes)
        session.screen.say(f"there are no GPUs{f' on {hosts}' if hosts else ''}")
    return 0


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
