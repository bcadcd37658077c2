"""Pieces of episodes: which there are, and that they lie within one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from suite.agents.joined_memory import JoinedMemory
from suite.agents.sequence_memory import SequenceMemory
from suite.storage import IntegrityError
from suite.transitions import Dataset
from suite.worldmodels.experience import Experience


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def told(
    ends: list[str], first: int = 0
) -> tuple[Experience, torch.Tensor, torch.Tensor]:
    """Moments that tell which they are: row n at time t shows 1000 n + t.

    Args:
        ends: For each row a letter a step: T where it terminates, c where it is cut, u
            where it is given up.
        first: Time of the first step.
    """
    steps, rows = len(ends[0]), len(ends)
    time = first + torch.arange(steps).repeat_interleave(rows).float()
    now = (time + 1000 * torch.arange(rows).repeat(steps))[:, None]
    letters = np.array([list(row) for row in ends]).T.ravel()
    terminated = torch.tensor(letters == "T")
    unstable = torch.tensor(letters == "u").view(steps, rows)
    done = terminated | torch.tensor(letters != ".")
    real = Experience(now, -now, now[:, 0] / 2, now + 0.5, terminated.float())
    return real, done.view(steps, rows), unstable


def filled(*ends: str, capacity: int = 1000) -> SequenceMemory:
    memory = SequenceMemory(capacity)
    memory.add(*told(list(ends)))
    return memory


def starts(memory: SequenceMemory, steps: int, count: int = 400) -> Counter[float]:
    """How often each piece was drawn, each of them looked at."""
    pieces = memory.pieces(count, steps, generator())
    mask, now = pieces.mask, pieces.obs[0, :, 0]
    for h in range(steps):
        alive = mask[h]
        # Each moment shows where the one before came to: half a step further.
        assert torch.equal(pieces.actions[h, alive, 0], -(now + h)[alive])
        assert torch.equal(pieces.rewards[h, alive], ((now + h) / 2)[alive])
        assert torch.equal(pieces.obs[h + 1, alive, 0], (now + h + 0.5)[alive])
    return Counter(now.tolist())


def test_pieces_lie_within_an_episode_and_all_are_drawn_alike():
    memory = filled("...c....", "......c.")
    found = starts(memory, 3, 4000)
    # Row 0: 0-3 and the unfinished 4-7; row 1: 0-6 and a lone last step.
    assert sorted(found) == [0, 1, 4, 5, 1000, 1001, 1002, 1003, 1004]
    # Four standard deviations of a binomial of 4000 and 1/9.
    assert all(abs(count - 4000 / 9) < 80 for count in found.values())


def test_a_termination_ends_a_piece_early_and_may_be_its_first_step():
    memory = filled("..T.....")
    assert sorted(starts(memory, 3)) == [0, 1, 2, 3, 4, 5]
    pieces = memory.pieces(300, 3, generator())
    last = pieces.obs[0, :, 0] == 2
    assert pieces.terminated[0, last].all() and not pieces.mask[1:, last].any()


def test_a_cut_after_a_termination_does_not_matter_and_before_it_does():
    assert sorted(starts(filled("T.c....."), 3)) == [0, 3, 4, 5]
    assert sorted(starts(filled(".cT....."), 3)) == [2, 3, 4, 5]
    # Terminated at the time limit: a termination.
    memory = SequenceMemory(10)
    memory.add(*told(["..T"]))
    assert sorted(starts(memory, 3)) == [0, 1, 2]


def test_a_step_that_was_given_up_is_in_no_piece():
    memory = filled("...u....", ".....u..")
    assert sorted(starts(memory, 3)) == [0, 4, 5, 1000, 1001, 1002]
    assert sorted(starts(memory, 1)) == [
        *(0, 1, 2, 4, 5, 6, 7),
        *(1000, 1001, 1002, 1003, 1004, 1006, 1007),
    ]
    # What was acted on is a state all the same.
    assert 3 in memory.states(400, generator())[:, 0].tolist()
    assert sorted(starts(filled("T.u....."), 3)) == [0, 3, 4, 5]


def test_pieces_that_are_rare_are_all_found_and_drawn_alike():
    memory = filled("..c" * 400 + "." * 5, "..c" * 401 + "..")
    found = starts(memory, 4, 4000)
    assert set(found) == {1200.0, 1201.0}  # of 2,410 moments
    assert abs(found[1200] - 2000) < 5 * 32  # five deviations of a fair coin


@pytest.mark.parametrize("capacity", [1000, 14])
def test_what_is_looked_for_is_what_is_accepted(capacity):
    memory = filled("..c.T....", "T..Tc..T.", "..u....c.", capacity=capacity * 3)
    memory.add(*told(["...c.T.T", "..uT..c.", ".......u"], first=9))
    table = memory._filled()
    ages = torch.arange(len(table)).repeat_interleave(3)
    rows = torch.arange(3).repeat(len(table))
    for steps in (1, 2, 3, 5):
        found = torch.stack(memory._starts(table, steps), dim=1)
        every = torch.stack([ages, rows], dim=1)
        accepted = [
            pair
            for pair in every
            if memory._following(table, pair[:1], pair[1:], steps).shape[1]
        ]
        assert torch.equal(found, torch.stack(accepted))


# --------------------------------------------------------------------- two as if one
def test_memories_are_drawn_from_by_how_much_is_in_them():
    many, few = filled("." * 90), filled("..........", "..........")
    both = JoinedMemory([many, SequenceMemory(), few])
    assert len(both) == 110
    shown = both.states(11_000, generator())[:, 0]
    of_few = int((shown >= 1000).sum()) + int((shown < 10).sum())
    # 20 of 110 are the few's, 10 more look the same: 3000, deviation 47.
    assert abs(of_few - 3000) < 5 * 47
    pieces = both.pieces(50, 4, generator())
    assert pieces.obs.shape == (5, 50, 1) and pieces.rewards.shape == (4, 50)
    assert torch.equal(
        pieces.obs[1:] - pieces.obs[:1],
        (0.5 + torch.arange(4.0)).view(4, 1, 1).expand(4, 50, 1),
    )


def test_one_memory_that_has_something_is_drawn_from_as_if_alone():
    memory = filled("..c......")
    both = JoinedMemory([SequenceMemory(), memory])
    alone, joined = generator(), generator()
    assert torch.equal(both.states(7, joined), memory.states(7, alone))
    for one, other in zip(
        both.pieces(7, 2, joined), memory.pieces(7, 2, alone), strict=True
    ):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="add some first"):
        JoinedMemory([SequenceMemory()]).states(1, generator())


def test_single_steps_are_all_there():
    assert sorted(starts(filled("Tc."), 1)) == [0, 1, 2]


def test_the_oldest_moments_make_room():
    memory = SequenceMemory(8)  # four moments of two rows
    for first in range(0, 6, 3):
        memory.add(*told(["...", "..."], first))
    assert len(memory) == 8
    assert sorted(starts(memory, 2)) == [2, 3, 4, 1002, 1003, 1004]
    assert sorted(starts(memory, 4)) == [2, 1002]
    memory.add(*told(["." * 9, "." * 9], 100))
    assert sorted(starts(memory, 3)) == [105, 106, 1105, 1106]


def test_a_memory_larger_than_its_first_table_forgets_nothing_too_early():
    memory = SequenceMemory(2000)
    for first in range(0, 1500, 100):
        memory.add(*told(["." * 100], first))
    assert len(memory) == 1500
    assert min(starts(memory, 400, 4000)) < 20


def test_states_are_drawn_from_all_moments():
    found = filled("...c....", "......c.").states(2000, generator())
    assert found.shape == (2000, 1)
    assert sorted(set(found[:, 0].tolist())) == [*range(8), *range(1000, 1008)]


def test_draws_follow_the_generator():
    memory = filled("." * 50, "." * 50)
    one, other = (memory.pieces(20, 4, generator(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_stored_episodes_are_one_row():
    now = np.arange(9, dtype=np.float32)[:, None]
    ends = np.array([0, 0, 0, 1, 0, 0, 0, 0, 0], bool)
    last = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1], bool)
    data = Dataset(
        now, -now, now[:, 0] / 2, now + 0.5, ends, last,
        np.array([4, 5]), np.array([0, 1]),
    )  # fmt: skip
    memory = SequenceMemory.of_dataset(data)
    assert len(memory) == 9
    assert sorted(starts(memory, 3)) == [0, 1, 2, 3, 4, 5, 6]


def test_taken_over_it_goes_on_alike_and_shares_nothing():
    one, other = filled("." * 7, "..c....", capacity=12), SequenceMemory(3)
    other.load_state(one.state())
    one.add(*told(["..", ".."], 7))
    assert max(starts(other, 2)) == 1005
    other.add(*told(["..", ".."], 7))
    drawn = [memory.pieces(30, 3, generator()) for memory in (one, other)]
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
    empty = SequenceMemory(5)
    empty.load_state(SequenceMemory(9).state())
    assert len(empty) == 0 and empty.capacity == 9


def _other_rows() -> Any:
    memory = filled("...", "...")
    return lambda: memory.add(*told(["..."]))


@pytest.mark.parametrize(
    ("act", "complaint"),
    [
        (lambda: SequenceMemory(0), "capacity must be at least 1"),
        (lambda: SequenceMemory(5).pieces(1, 1, generator()), "no step to draw"),
        (lambda: filled("...", "...", capacity=1), "no room for one of each of 2"),
        (lambda: filled("c.c.c.").pieces(1, 3, generator()), "no 3 steps in a row"),
        (lambda: filled("...").pieces(1, 4, generator()), "shorten the horizon"),
        (lambda: filled("...").pieces(1, 0, generator()), "steps must be at least 1"),
        (_other_rows(), "holds 2 rows with 1 numbers .* got 1 with 1 and 1"),
        (
            lambda: SequenceMemory(9).add(told(["..."])[0], torch.zeros(2, 2).bool()),
            "of all 3 transitions",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(act, complaint):
    with pytest.raises(ValueError, match=complaint):
        act()


def test_what_is_no_memory_is_refused():
    tree = filled("...").state()
    for wrong in ({"next": 2}, {"widths": [1, 1]}, {"capacity": 2}):
        with pytest.raises(IntegrityError, match="no memory"):
            SequenceMemory(9).load_state({**tree, **wrong})
