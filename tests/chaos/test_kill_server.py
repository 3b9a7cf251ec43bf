"""The server, or the runner, is killed at a random moment or at a named point, and started again.

Every seed replays: ``ODIN_CHAOS=50`` runs fifty of each random test, ``ODIN_CHAOS_SEED=7 ODIN_CHAOS=1`` the seventh.
"""

from __future__ import annotations

import random
import time

import pytest

from chaos.oracle import storm
from e2e.serving import until

TASKS = 200


@pytest.mark.parametrize("failing", [False, True], ids=["all succeed", "some fail"])
def test_f01_every_task_runs_exactly_once_although_the_server_is_killed(odin, oracle, seed, failing):
    rng = random.Random(f"{seed} {failing}")
    plan = storm(rng, TASKS, failing=failing)
    odin.start()
    assert odin.api().write("storm", plan.files(oracle)).status == 200
    handle = odin.api().launch("storm")
    moment = rng.randrange(2 * plan.starts)
    until(lambda: oracle.count() >= moment, told=lambda: (moment, oracle.count(), odin.said()))
    time.sleep(rng.random() * 0.03)
    odin.kill()
    if rng.random() < 0.5:
        killed_as_it_starts(odin, rng)
    odin.start()
    oracle.judge(handle, plan.fates)
    assert odin.api().pipeline(handle)["outcome"] == plan.outcome


def killed_as_it_starts(odin, rng):
    process = odin.popen()
    time.sleep(rng.random() * 1.5)
    process.kill()
    process.wait()
