from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from odin.model.graph import dependents, faults, order


@dataclass
class Task:
    name: str
    depends: tuple[str, ...] = ()


def tasks(**depends: str) -> list[Task]:
    return [Task(name, tuple(names.split())) for name, names in depends.items()]


def test_the_order_puts_each_task_after_those_it_waits_for():
    assert order(tasks(d="b c", b="a", c="a", a="")) == (3, 1, 2, 0)


def test_tasks_without_dependencies_keep_the_files_order():
    assert order(tasks(c="", a="", b="")) == (0, 1, 2)


def test_dependents_are_who_waits():
    assert dependents(tasks(a="", b="a", c="a b")) == ((1, 2), (2,), ())


def test_a_sound_graph_has_no_faults():
    assert faults(tasks(a="", b="a", c="a b")) == []
    assert faults([]) == []


def test_an_unknown_name_gives_the_nearest():
    (fault,) = faults(tasks(fetch="", train="fetch fetsh"))
    assert (fault.task, fault.depend) == (1, 1)
    assert fault.message == 'task "train" depends on "fetsh"; did you mean "fetch"?'


def test_an_unknown_name_that_is_near_to_nothing_says_so():
    (fault,) = faults(tasks(train="zzz"))
    assert "no task has that name" in fault.message


def test_a_second_task_of_a_name_is_blamed():
    (fault,) = faults([Task("a"), Task("b"), Task("a")])
    assert (fault.task, fault.depend) == (2, None)


def test_a_task_that_depends_on_itself_is_blamed_once():
    (fault,) = faults(tasks(a="a"))
    assert (fault.task, fault.depend) == (0, 0)
    assert "depends on itself" in fault.message


def test_a_cycle_is_named_in_order_from_its_first_task():
    (fault,) = faults(tasks(x="b", a="c", b="a", c="b", y="a"))
    assert "a -> c -> b -> a" in fault.message
    assert (fault.task, fault.depend) == (1, 0)


def test_each_knot_of_cycles_is_named_once_even_where_one_leads_to_another():
    found = faults(tasks(a="b", b="a c", c="d", d="c e", e=""))
    assert [(fault.task, "a -> b -> a" in fault.message, "c -> d -> c" in fault.message) for fault in found] == [
        (0, True, False),
        (2, False, True),
    ]


def test_all_faults_come_in_the_files_order():
    found = faults([Task("a", ("a", "zz")), Task("b", ("c",)), Task("c", ("b",)), Task("a", ("yy",))])
    assert [(fault.task, fault.depend) for fault in found] == [(0, 0), (0, 1), (1, 0), (3, None), (3, 0)]


def test_a_chain_of_a_hundred_thousand_tasks_is_no_problem():
    chain = [Task("t0"), *(Task(f"t{i}", (f"t{i - 1}",)) for i in range(1, 100_000))]
    assert order(chain[::-1])[0] == 99_999
    assert faults(chain) == []


def test_a_cycle_of_a_hundred_thousand_tasks_is_named_in_short():
    ring = [Task(f"t{i}", (f"t{(i + 1) % 100_000}",)) for i in range(100_000)]
    (fault,) = faults(ring)
    assert "t0 -> t1 -> " in fault.message
    assert "t99999 -> t0" in fault.message
    assert len(fault.message) < 500


def test_many_unknown_names_in_a_large_job_are_all_blamed():
    found = faults([Task(f"task-{i}", (f"tusk-{i}",)) for i in range(3_000)])
    assert len(found) == 3_000
    assert "did you mean" in found[0].message


GRAPHS = st.integers(1, 7).flatmap(
    lambda size: st.lists(st.sets(st.integers(0, size - 1)), min_size=size, max_size=size)
)


@given(GRAPHS)
def test_order_and_cycles_agree_with_a_plain_search(ahead):
    """Every task is in the order, or on or behind a cycle, and every named cycle exists."""
    job = [Task(f"t{i}", tuple(f"t{k}" for k in sorted(others) if k != i)) for i, others in enumerate(ahead)]
    done: set[int] = set()
    while ready := {i for i in range(len(job)) if i not in done and (ahead[i] - {i}) <= done}:
        done |= ready
    sequence = order(job)
    assert set(sequence) == done
    assert all((ahead[i] - {i}) <= set(sequence[:k]) for k, i in enumerate(sequence))
    found = faults(job)
    assert bool(found) == (len(done) < len(job))
    for fault in found:
        names = fault.message.split(": ")[1].split(";")[0].split(" -> ")
        assert names[0] == names[-1]
        assert all(int(b[1:]) in ahead[int(a[1:])] for a, b in pairwise(names))
