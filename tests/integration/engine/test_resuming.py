"""A resumed pipeline through a real engine and database: what is kept stays kept, whatever happens to the server."""

from builders import spec
from odin.model.ids import PipelineId
from odin.model.reports import Reason
from odin.model.states import AttemptState, TaskStatus
from odin.model.world import Attempt, Kept
from odin_testing.place import FakePlace

OLD = PipelineId("job-00000001")
ENDED = Attempt(2, 10.0, AttemptState.ENDED, ended_at=12.0, exit_code=0, reason=Reason.EXIT, node="one", memory_bytes=5)


def test_what_is_kept_is_in_the_rows_and_survives_a_restart(house):
    house = house(FakePlace(lambda _: None))
    kept = {
        "a": Kept(OLD, TaskStatus.EXECUTED, f"kept from {OLD}", exit_code=0, completed_at=12.0, attempts=(ENDED,)),
        "c": Kept(OLD, TaskStatus.SKIPPED, "left out: it failed"),
    }
    made = house.submit(
        spec("a"), spec("b", "a"), spec("c", "a"), id="job-00000002", built=False, rerun_of=OLD, kept=kept
    )
    house.until(lambda: house.place.running)
    house.restart()
    assert list(house.place.starts) == [f"{made}--b"]
    house.place.finish(f"{made}--b", 0)
    view = house.final(made)
    assert (view.outcome, view.rerun_of, house.queries.reruns(OLD)) == ("succeeded", OLD, [made])
    a, b, c = view.tasks
    assert (a.status, a.attempt, a.origin, a.completed_at) == ("executed", 2, OLD, 12.0)
    assert (b.status, b.origin) == ("executed", None)
    assert (c.status, c.attempt, c.origin) == ("skipped", 0, OLD)
    (attempt,) = house.queries.attempts(made)[0]
    assert (attempt.number, attempt.reason, attempt.node, attempt.memory_bytes) == (2, "exit", "one", 5)
    assert [row.type for row in house.queries.events(made)][:3] == ["submitted", "kept", "skipped"]
