"""The reports of node agents: the newest of each node, how old it is, and how it joins what the place knows."""

from __future__ import annotations

import msgspec
import pytest

from odin.executors import nodereports
from odin.executors.nodereports import NodeReport, NodeReports, ReportedNodes
from odin.executors.protocol import Machines


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Place:
    """Nodes that the place knows, and what it says of them."""

    def __init__(self, *hosts, notice="", gpus=()):
        self.told = Machines(tuple({"host": host, "cpu": 8, "gpus": list(gpus)} for host in hosts), notice)

    async def nodes(self):
        return self.told


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reports(clock):
    return NodeReports(clock)


def report(name="H100", **given):
    gpus = b'[{"productName":"%s"}]' % name.encode()
    told = {"agent": "0.1.0", "address": "10.0.0.7", "cpu": 4, "memory": "1Ki", "count": 1, "interval_s": 5.0}
    return NodeReport(gpus=gpus, **(told | given))


async def shown(place, reports):
    """The nodes by name, as a client gets them."""
    machines = await ReportedNodes(place, reports).nodes()
    return {node["host"]: node for node in msgspec.json.decode(msgspec.json.encode(machines.nodes))}


async def test_a_node_is_shown_with_the_newest_report_of_its_agent(reports, clock):
    reports.add("n1", report("old"))
    reports.add("n1", report("new", values_age_s=1.5, trouble="slow"))
    clock.now += 2
    assert await shown(Place("n1"), reports) == {
        "n1": {
            "host": "n1",
            "cpu": 8,
            "gpus": [{"productName": "new"}],
            "report": {
                "ageS": 2.0,
                "fresh": True,
                "valuesAgeS": 3.5,
                "intervalS": 5.0,
                "agent": "0.1.0",
                "trouble": "slow",
            },
        }
    }


async def test_a_node_without_an_agent_is_shown_as_the_place_knows_it(reports):
    assert await shown(Place("n1"), reports) == {"n1": {"host": "n1", "cpu": 8, "gpus": []}}


async def test_f95_a_silent_agents_last_figures_are_shown_with_their_age_and_as_stale(reports, clock):
    reports.add("n1", report())
    clock.now += 31
    node = (await shown(Place("n1"), reports))["n1"]
    assert node["gpus"] == [{"productName": "H100"}]
    assert (node["report"]["ageS"], node["report"]["fresh"]) == (31.0, False)


async def test_a_node_that_reports_seldom_is_not_silent_before_it_missed_three(reports, clock):
    reports.add("n1", report(interval_s=60.0))
    clock.now += 179
    assert (await shown(Place("n1"), reports))["n1"]["report"]["fresh"]
    clock.now += 2
    assert not (await shown(Place("n1"), reports))["n1"]["report"]["fresh"]


async def test_the_places_own_figures_stand_above_those_of_a_silent_agent(reports, clock):
    reports.add("n1", report())
    place = Place("n1", gpus=[{"productName": "own"}])
    assert (await shown(place, reports))["n1"]["gpus"] == [{"productName": "H100"}]
    clock.now += 31
    assert (await shown(place, reports))["n1"]["gpus"] == [{"productName": "own"}]


async def test_a_node_that_the_place_does_not_know_is_shown_while_it_speaks(reports, clock):
    reports.add("n2", report())
    node = (await shown(Place("n1"), reports))["n2"]
    told = {"internalIP": "10.0.0.7", "cpu": 4, "memory": "1Ki", "pods": 0, "nvidia.com/gpu": 1}
    assert {name: node[name] for name in told} == told
    clock.now += 31
    assert list(await shown(Place("n1"), reports)) == ["n1"]


async def test_where_the_place_cannot_tell_its_nodes_silent_ones_stay(reports, clock):
    reports.add("n2", report())
    clock.now += 3600
    place = Place(notice="the server may not list nodes")
    assert not (await shown(place, reports))["n2"]["report"]["fresh"]
    assert (await ReportedNodes(place, reports).nodes()).notice == "the server may not list nodes"


def test_a_report_is_forgotten_after_a_day(reports, clock):
    reports.add("n1", report())
    clock.now += 86_399
    assert list(reports.newest()) == ["n1"]
    clock.now += 2
    assert reports.newest() == {}


def test_beyond_the_limits_the_node_that_is_silent_for_longest_is_forgotten(reports, monkeypatch):
    monkeypatch.setattr(nodereports, "MOST_NODES", 2)
    for host in ("n1", "n2", "n1", "n3"):
        reports.add(host, report())
    assert list(reports.newest()) == ["n1", "n3"]
    monkeypatch.setattr(nodereports, "MOST_BYTES", 100)
    reports.add("n4", report("x" * 60))
    assert list(reports.newest()) == ["n4"]
