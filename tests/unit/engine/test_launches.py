"""What an executor is given of an attempt."""

from pathlib import Path

from builders import Sim, spec
from odin.engine.launches import Launches
from odin.engine.layout import Layout
from odin.executors.kubernetes.podspec import template
from odin.model.job import Retries
from odin.model.reports import Reason
from podlaunches import SITE

GI = 1 << 30


def test_after_an_attempt_that_ran_out_of_memory_the_pod_asks_for_twice_as_much():
    sim = Sim()
    limits = {"memory_limit_bytes": 2 * GI}
    sim.submit(spec("a", image="busybox", retries=Retries(oom=1), retry_delay_s=1, memory_bytes=GI, cluster=limits))
    asked = []
    for _ in range(2):
        task = sim.task("a")
        launch = Launches(Layout(Path("/shared"))).build(sim.pipeline, task, task.attempt)
        asked.append(template(launch, SITE, {}, files=None)["spec"]["containers"][0]["resources"])
        sim.end("a", 137, Reason.OOM)
        sim.wait(10)
    assert [(each["requests"]["memory"], each["limits"]["memory"]) for each in asked] == [
        ("1Gi", "2Gi"),
        ("2Gi", "4Gi"),
    ]
