"""Who may start next: CPUs, GPUs, turns between pipelines, and nobody waits for ever."""

from builders import Sim, spec
from odin.model.admission import MOST_PASSES, Pool, shape
from odin.model.reports import Started


def running(sim):
    return {str(name).partition("--")[2] for name in sim.world.open}


def test_no_more_run_than_there_are_cpus():
    sim = Sim(cpus=2)
    sim.submit(*(spec(f"t{i}") for i in range(5)))
    assert running(sim) == {"t0", "t1"}
    assert sim.statuses()["t2"] == "queued"
    sim.end("t0")
    assert running(sim) == {"t1", "t2"}


def test_a_task_takes_the_cpus_that_it_asks_for():
    sim = Sim(cpus=2)
    sim.submit(spec("half", cpu_m=500), spec("more", cpu_m=1500), spec("one"))
    assert running(sim) == {"half", "more"}


def test_a_task_that_asks_for_more_cpus_than_there_are_after_a_restart_runs_alone():
    pool = Pool(2000)
    assert shape(spec("a", cpu_m=8000), 2000).cpu_m == 2000
    assert pool.lacks(spec("a", cpu_m=8000)) == "it asks for 8 CPUs and this machine has 2"


def test_gpus_are_given_by_card_and_come_back():
    sim = Sim(cards=("0", "1", "2"))
    sim.submit(spec("a", num_gpus=2), spec("b", num_gpus=1), spec("c", num_gpus=2))
    assert sim.task("a").attempt.cards == ("0", "1")
    assert sim.task("b").attempt.cards == ("2",)
    assert sim.task("c").attempt is None
    sim.end("a")
    assert sim.task("c").attempt.cards == ("0", "1")


def test_a_task_that_was_given_other_gpus_has_those_and_the_ones_it_asked_for_are_free():
    """Another server had given them away."""
    sim = Sim(cards=("0", "1", "2"))
    sim.submit(spec("a", num_gpus=1), spec("b", num_gpus=1), spec("c", num_gpus=2))
    sim.send(Started(sim.attempt("a"), sim.now, cards=("2",)))
    assert sim.task("a").attempt.cards == ("2",)
    sim.end("b")
    assert sorted(sim.task("c").attempt.cards) == ["0", "1"]


def test_a_gpu_that_two_tasks_seemed_to_have_comes_back_once():
    """What this server believed of the one was not true: where the other is, only its place knows."""
    sim = Sim(cards=("0", "1", "2"))
    sim.submit(*(spec(name, num_gpus=1) for name in "ab"))
    sim.send(Started(sim.attempt("a"), sim.now, cards=("1",)))
    sim.send(Started(sim.attempt("b"), sim.now, cards=("2",)))
    sim.end("a")
    sim.end("b")
    sim.submit(spec("all", num_gpus=3))
    assert sorted(sim.task("all").attempt.cards) == ["0", "1", "2"]


def test_a_small_task_passes_a_large_one_that_does_not_fit():
    sim = Sim(cpus=4, cards=("0",))
    sim.submit(spec("a", num_gpus=1), spec("gpu", num_gpus=1), spec("cpu"))
    assert running(sim) == {"a", "cpu"}


def test_a_large_task_is_not_passed_for_ever():
    sim = Sim(cpus=2)
    sim.submit(spec("first"), spec("large", cpu_m=2000), *(spec(f"s{i}") for i in range(MOST_PASSES + 20)))
    passed = 0
    while sim.task("large").attempt is None and passed < MOST_PASSES + 10:
        small = next(name for name in running(sim) if name != "first")
        sim.end(small)
        passed += 1
        if passed == MOST_PASSES:
            sim.end("first")
    assert sim.task("large").attempt is not None


def test_pipelines_take_turns():
    sim = Sim(cpus=1)
    sim.submit(*(spec(f"t{i}") for i in range(3)), id="big-00000001")
    sim.submit(spec("t0"), id="small-00000001")
    order = []
    while sim.world.open:
        name = next(iter(sim.world.open))
        order.append(str(name))
        sim.pipeline = sim.world.open[name][0]
        sim.end(name.partition("--")[2])
    assert order == ["big-00000001--t0", "big-00000001--t1", "small-00000001--t0", "big-00000001--t2"]


def test_a_cancelled_pipelines_tasks_leave_the_queue():
    sim = Sim(cpus=1)
    sim.submit(spec("a"), spec("b"), id="one-00000001")
    one = sim.pipeline
    sim.submit(spec("c"), id="two-00000001")
    sim.pipeline = one
    sim.halt()
    sim.end("a", 143)
    assert [str(name) for name in sim.world.open] == ["two-00000001--c"]


def test_a_place_without_known_limits_takes_everything():
    pool = Pool(None)
    assert pool.lacks(spec("a", num_gpus=8)) is None
    for idx in range(100):
        pool.offer("job-00000001", idx, spec("a", num_gpus=8))
    assert len(list(pool.admit(lambda *_: True))) == 100


def test_a_resized_place_keeps_what_is_taken():
    pool = Pool(2000, ("0", "1"))
    pool.take(spec("a", num_gpus=1), ("0",))
    pool.resize(4000, ("0", "1", "2"))
    for idx in range(5):
        pool.offer("job-00000001", idx, spec("b", num_gpus=1))
    assert [cards for _, _, cards in pool.admit(lambda *_: True)] == [("1",), ("2",)]
