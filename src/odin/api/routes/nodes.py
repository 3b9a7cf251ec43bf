"""The machines where tasks run and their GPUs, and the reports of the agents on them."""

# ruff: noqa: N815 - the contract's names

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from odin.api.answers import answer
from odin.api.routing import router
from odin.api.services import Ctx
from odin.executors.nodereports import NodeReport
from odin.machine import is_name
from odin.model.errors import InvalidInput
from odin.model.names import shown
from odin.nvml import NOT_GIVEN, program

routes = router()

LARGEST = 2**53


def figure(value: Any) -> Any:
    """A number, or the driver's word for none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST
    if not is_number and value != NOT_GIVEN:
        raise ValueError(f'must be a number from 0 to {LARGEST} or "{NOT_GIVEN}"')
    return value


def base_name(name: str) -> str:
    """Once more: the agent may be an older one, or none of ours."""
    return name if name == NOT_GIVEN else program(name)


Words = Annotated[str, Field(max_length=128)]
Program = Annotated[str, Field(max_length=4096), AfterValidator(base_name)]
Figure = Annotated[Any, AfterValidator(figure)]
Power = Annotated[float, Field(ge=0, le=1_000_000)]  # older clients make integers of these
Memory = Annotated[str, Field(pattern=r"^[0-9]{1,16}Ki$")]


class Strict(BaseModel):
    """What is not known is dropped, so that a newer agent can speak to an older server."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Pci(Strict):
    pciBusId: Words


class Sizes(Strict):
    total: Figure
    used: Figure
    free: Figure
    unit: Words


class Use(Strict):
    gpuUtil: Figure
    memoryUtil: Figure
    unit: Words


class Heat(Strict):
    gpuTemp: Figure
    unit: Words


class Powers(Strict):
    powerDraw: Power
    powerLimit: Power
    unit: Words


class Clocks(Strict):
    graphicsClock: Figure
    smClock: Figure
    memClock: Figure
    videoClock: Figure
    unit: Words


class Process(Strict):
    pid: int = Field(ge=0, le=LARGEST)
    process_name: Program
    used_memory: int = Field(ge=0, le=LARGEST)


class GpuFields(Strict):
    """``Gpu`` of the contract."""

    id: Words
    uuid: Words
    productName: Words
    productBrand: Words
    minorNumber: Figure
    performanceState: Words
    serial: Words
    pci: Pci
    fbMemoryUsage: Sizes
    utilization: Use
    temperature: Heat
    powerReadings: Powers
    clocks: Clocks
    processes: list[Process] = Field(max_length=1_000)


class ReportBody(Strict):
    """What an agent says of its node; it reads ``valuesAgeS`` ago what the GPUs show."""

    agent: Words
    intervalS: float = Field(gt=0, le=3_600)
    valuesAgeS: float = Field(ge=0, le=LARGEST)
    internalIP: Words
    cpu: int = Field(ge=1, le=1_000_000)
    memory: Memory
    trouble: str = Field(default="", max_length=500)
    gpus: list[GpuFields] = Field(max_length=64)


@routes.get("/v1/nodes")
async def nodes(odin: Ctx) -> Response:
    """The machines where tasks run, and their GPUs; ``notice`` says what cannot be shown."""
    found = await odin.services.nodes.nodes()
    return answer({"nodes": found.nodes} | ({"notice": found.notice} if found.notice else {}))


@routes.post("/v1/nodes/{node}/report")
async def report(node: str, given: ReportBody, odin: Ctx) -> Response:
    """What the agent on a node says of it; the one before is forgotten."""
    if not is_name(node):
        raise InvalidInput(f"{shown(node)} is no name of a node")
    gpus = msgspec.json.encode([gpu.model_dump() for gpu in given.gpus])
    odin.services.reports.add(
        node,
        NodeReport(
            agent=given.agent,
            address=given.internalIP,
            cpu=given.cpu,
            memory=given.memory,
            count=len(given.gpus),
            gpus=gpus,
            interval_s=given.intervalS,
            values_age_s=given.valuesAgeS,
            trouble=given.trouble,
        ),
    )
    return answer({"node": {"host": node}})
