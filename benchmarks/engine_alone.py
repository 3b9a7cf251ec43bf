"""W5's program: the engine with its database and a place where nothing really runs.

``engine_alone.py run|hold TASKS FOLDER`` prints JSON: with ``run`` the CPU of each task from its submission to its
end; with ``hold``, where no task ends, the memory that each takes while it is in flight.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testing" / "src"))

from odin.engine.launches import Launches
from odin.engine.layout import Layout
from odin.engine.loop import Engine
from odin.main import SWITCH_INTERVAL_S
from odin.model.commands import Submit
from odin.model.ids import JobPath, PipelineId, Sha
from odin.model.job import TaskSpec
from odin.model.world import Submission
from odin.store.database import Database
from odin.store.migrate import bring_up_to_date
from odin_testing.place import FakePlace


def main(word: str, count: int, folder: Path) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    database = Database(f"sqlite:///{folder}/odin.db")
    bring_up_to_date(database)
    place = FakePlace(lambda _: None if word == "hold" else 0)
    engine = Engine(database, place, Launches(Layout(folder)), lambda _: None)
    engine.start()
    try:
        print(json.dumps({"hold": hold, "run": run}[word](engine, count)))
    finally:
        engine.stop()
        database.close()


def run(engine: Engine, count: int) -> dict[str, float]:
    submission = fan_out(count)
    cpu_s, began = cpu(), time.perf_counter()
    engine.submit(Submit(submission)).result()
    stored_s, stored_cpu_s = time.perf_counter() - began, cpu() - cpu_s
    engine.when_final(submission.id).result()
    return {
        "submit_s": stored_s,
        "submit_us": stored_cpu_s / count * 1e6,
        "wall_s": time.perf_counter() - began,
        "cpu_us": (cpu() - cpu_s) / count * 1e6,
    }


def hold(engine: Engine, count: int) -> dict[str, float]:
    gc.collect()
    before = memory_bytes()
    engine.submit(Submit(fan_out(count))).result()
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"bytes": (memory_bytes() - before) / count, "peak_bytes": (peak - before) / count}


def fan_out(count: int) -> Submission:
    return Submission(
        id=PipelineId("bench-00000000"),
        name="bench",
        job=JobPath("bench"),
        version=Sha("a" * 40),
        username="bench",
        user_uid=1,
        tasks=tuple(TaskSpec(f"t{index:06d}", ("/bin/true",)) for index in range(count)),
        submitted_at=time.time(),
        built=True,
    )


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
