"""Whatever happens in whatever order: nothing is ever stuck, started twice, or changed after its end (P2, P3, P5)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import Sim, spec
from odin.model.job import Retries
from odin.model.reports import Reason
from odin.model.states import FINAL, AttemptState, Stop

ENDS = {
    "succeeds": (0, Reason.EXIT),
    "fails": (1, Reason.EXIT),
    "is lost": (None, Reason.LOST),
    "is refused": (None, Reason.REFUSED),
    "runs too long": (None, Reason.TIMEOUT),
    "crashes": (139, Reason.SIGNAL),
}


@st.composite
def graphs(draw):
    specs = []
    for idx in range(draw(st.integers(1, 8))):
        parents = draw(st.sets(st.integers(0, idx - 1), max_size=3)) if idx else set()
        specs.append(
            spec(
                f"t{idx}",
                *(f"t{parent}" for parent in sorted(parents)),
                retries=Retries(user=draw(st.integers(0, 2))),
                retry_delay_s=draw(st.sampled_from([0.5, 20])),
                cpu_m=draw(st.sampled_from([None, 500, 2000])),
                num_gpus=draw(st.sampled_from([0, 0, 1])),
                pending_timeout_s=draw(st.sampled_from([None, None, 60])),
            )
        )
    return specs


class Watched(Sim):
    """Checks after every step what must always hold."""

    def send(self, *events):
        before = {id(task): task.verdict for task in self.tasks() if task.verdict is not None}
        super().send(*events)
        assert all(task.verdict is before[id(task)] for task in self.tasks() if id(task) in before)
        used = sum(task.spec.cpu_m or 1000 for task in self.tasks() if task.attempt is not None)
        assert used <= 2000
        cards = [card for task in self.tasks() if task.attempt is not None for card in task.attempt.cards]
        assert len(cards) == len(set(cards)) <= 1
        for task in self.tasks():
            assert task.verdict in FINAL or self.can_go_on(task), f"{task} is stuck"

    def tasks(self):
        return [task for pipeline in getattr(self, "pipelines", {}).values() for task in pipeline.tasks]

    def can_go_on(self, task):
        """It runs, or waits for something that is still to come."""
        if task.attempt is not None or self.pipeline.status == "BUILDING":
            return True
        if task.due_at is not None:
            return any(timer.idx == task.idx and timer.kind == "retry" for timer in self.world.timers)
        if task.unmet:
            parents = {other.spec.name: other for other in self.pipeline.tasks}
            return any(parents[name].verdict is None for name in task.spec.depends)
        return task.ticket > 0


@settings(max_examples=400, deadline=None)
@given(specs=graphs(), data=st.data())
def test_every_pipeline_ends_and_nothing_is_stuck_on_the_way(specs, data):
    sim = Watched(cpus=2, cards=("0",), here=data.draw(st.booleans()))
    pipeline = sim.submit(
        *specs,
        on_failure=data.draw(st.sampled_from(["stop", "continue"])),
        built=data.draw(st.booleans()),
        timeout_s=data.draw(st.sampled_from([None, None, 90])),
    )
    for _ in range(300):
        if pipeline.outcome is not None:
            break
        happen(sim, data)
    assert pipeline.outcome is not None
    assert sim.world.open == {}
    assert sim.world.pipelines == {}
    assert all(task.number <= 1 + task.spec.retries.user for task in pipeline.tasks)


def happen(sim, data):
    """One thing that may happen now."""
    open_tasks = [task for task in sim.pipeline.tasks if task.attempt is not None]
    what = data.draw(st.sampled_from(["end", "end", "end", "wait", "place", "cancel"]))
    if sim.pipeline.status == "BUILDING":
        sim.built("no commit" if what == "cancel" else None)
    elif what == "place" or sim.world.away is not None:
        sim.away()
        sim.back()
        for task in open_tasks:
            if task.attempt is not None and task.attempt.state is AttemptState.PLANNED and data.draw(st.booleans()):
                sim.absent(task.spec.name)
    elif what == "wait" or not open_tasks:
        sim.wait(data.draw(st.sampled_from([1, 30])))
    elif what == "cancel":
        sim.halt(data.draw(st.sampled_from([Stop.CANCEL, Stop.CLEANUP])))
    else:
        task = data.draw(st.sampled_from(open_tasks))
        if task.attempt.state is AttemptState.PLANNED and data.draw(st.booleans()):
            sim.start(task.spec.name)
        else:
            sim.end(task.spec.name, *ENDS[data.draw(st.sampled_from(sorted(ENDS)))])
