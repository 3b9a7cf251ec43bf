"""The table of the state machine is sound: the four properties of style.md."""

import pytest

from odin.model.errors import IllegalMove
from odin.model.states import MOVES, AttemptState, Move, move


def reachable(start: AttemptState) -> set[AttemptState]:
    seen, waiting = {start}, [start]
    while waiting:
        state = waiting.pop()
        for (before, _), after in MOVES.items():
            if before is state and after not in seen:
                seen.add(after)
                waiting.append(after)
    return seen


def test_every_state_is_reachable():
    assert reachable(AttemptState.PLANNED) == set(AttemptState)


@pytest.mark.parametrize("state", AttemptState)
def test_every_state_can_end(state):
    assert AttemptState.ENDED in reachable(state)


@pytest.mark.parametrize("event", Move)
def test_every_event_is_used(event):
    assert any(used is event for _, used in MOVES)


@pytest.mark.parametrize("event", Move)
def test_the_final_state_never_moves(event):
    with pytest.raises(IllegalMove, match=f"ended cannot {event}"):
        move(AttemptState.ENDED, event)


def test_a_legal_move_gives_the_state_of_its_row():
    assert move(AttemptState.PLANNED, Move.START) is AttemptState.RUNNING
