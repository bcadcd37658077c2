"""Going back to a moment of an episode: one row, many rows, one row into many."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scripted_pick import grasping

from suite.arrays import Restorable, Snapshot
from suite.envs.pickcube import PickCubeVectorEnv

Step = tuple[np.ndarray, ...]


def random_actions(steps: int, num_envs: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (steps, num_envs, 8)).astype(np.float32)
    actions[..., 7] = -1  # hold on to what is held
    return actions


def follow(env: Any, actions: np.ndarray) -> list[Step]:
    return [env.step(action)[:4] for action in actions]


def assert_rows_equal(first: list[Step], rows: Any, second: list[Step]) -> None:
    """Rows of the first run are all the rows of the second, bit for bit."""
    for ours, theirs in zip(first, second, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a[rows], b)


@pytest.fixture
def mid_grasp() -> PickCubeVectorEnv:
    """Eight rows, most of them with the cube in the hand, some in the air."""
    env, _, obs = grasping(8, steps=20, autoreset_mode="same_step")
    assert obs[:, 18].sum() > 4 and (obs[:, 31] > 0.05).any()
    return env


# 35 steps from step 20 on: every row goes over the time limit, into its next episode.
ACTIONS = random_actions(35, 8)


def test_restored_rows_continue_exactly_through_grasp_and_autoreset(mid_grasp):
    snapshot = mid_grasp.snapshot()
    first = follow(mid_grasp, ACTIONS)
    assert np.array([step[3] for step in first]).any(axis=0).all()
    mid_grasp.restore(snapshot)
    assert_rows_equal(first, slice(None), follow(mid_grasp, ACTIONS))


def snapshot_obs(env: PickCubeVectorEnv) -> np.ndarray:
    return env.simulation.named_state(None).astype(np.float32)


def test_restore_returns_the_observations_of_that_moment(mid_grasp):
    obs = snapshot_obs(mid_grasp)
    snapshot = mid_grasp.snapshot()
    follow(mid_grasp, ACTIONS[:3])
    np.testing.assert_array_equal(mid_grasp.restore(snapshot), obs)


def test_restoring_some_rows_leaves_the_others_alone(mid_grasp):
    snapshot = mid_grasp.snapshot(np.array([2, 5]))
    first = follow(mid_grasp, ACTIONS[:4])
    mid_grasp.restore(snapshot, np.array([2, 5]))
    twin = PickCubeVectorEnv(8, autoreset_mode="same_step")
    twin.restore(mid_grasp.snapshot())
    replay = follow(mid_grasp, ACTIONS[:4])
    assert_rows_equal(
        [tuple(a[[2, 5]] for a in s) for s in first],
        slice(None),
        [tuple(a[[2, 5]] for a in s) for s in replay],
    )
    assert_rows_equal(replay, slice(None), follow(twin, ACTIONS[:4]))
    elapsed = mid_grasp.snapshot().state["elapsed"]
    assert elapsed.tolist() == [28, 28, 24, 28, 28, 24, 28, 28]


def test_one_row_fans_out_into_many_in_an_environment_of_another_size(mid_grasp):
    snapshot = mid_grasp.snapshot(np.array([1]))
    first = follow(mid_grasp, ACTIONS)
    copies = PickCubeVectorEnv(20, num_threads=2, autoreset_mode="same_step")
    copies.restore(snapshot[np.zeros(20, int)])
    actions = np.repeat(ACTIONS[:, 1:2], 20, axis=1)
    for ours, theirs in zip(follow(copies, actions), first, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, np.repeat(b[1:2], 20, axis=0))


def test_rows_may_be_restored_into_other_rows_in_any_order(mid_grasp):
    snapshot = mid_grasp.snapshot()
    first = follow(mid_grasp, ACTIONS[:5])
    order = np.array([3, 1, 7, 0, 2, 6, 5, 4])
    other = PickCubeVectorEnv(8, autoreset_mode="same_step")
    other.restore(snapshot, order)  # row i of the snapshot into row order[i]
    replay = follow(other, ACTIONS[:5][:, np.argsort(order)])
    assert_rows_equal(replay, order, first)


def test_rows_restored_in_another_order_are_reported_in_it(mid_grasp):
    state, order = mid_grasp.simulation.named_state(None), np.array([1, 0, 2])
    env = PickCubeVectorEnv(3, autoreset_mode="disabled")
    env.restore(mid_grasp.snapshot(np.arange(3)), order)
    env.halt(order)
    obs, *_, info = env.step(np.zeros((3, 8)))
    np.testing.assert_array_equal(info["state"][order], state[:3])
    np.testing.assert_array_equal(obs[order], state[:3].astype(np.float32))


def test_copies_share_their_next_episode_unless_they_are_reseeded(mid_grasp):
    snapshot = mid_grasp.snapshot(np.array([0]))[np.zeros(6, int)]
    env = PickCubeVectorEnv(6)
    env.restore(snapshot)
    assert len(np.unique(env.reset()[0][:, 0])) == 1
    env.restore(snapshot, reseed=5)
    reseeded = env.reset()[0]
    assert len(np.unique(reseeded[:, 0])) == 6
    env.restore(snapshot, reseed=5)
    np.testing.assert_array_equal(env.reset()[0], reseeded)
    env.restore(snapshot, reseed=6)
    assert not np.isin(env.reset()[0][:, 0], reseeded[:, 0]).any()


def test_reseeding_leaves_the_episode_itself_alone(mid_grasp):
    snapshot = mid_grasp.snapshot()
    first = follow(mid_grasp, ACTIONS[:25])
    mid_grasp.restore(snapshot, reseed=1)
    assert_rows_equal(first, slice(None), follow(mid_grasp, ACTIONS[:25]))


def test_snapshot_keeps_elapsed_steps_and_returns(mid_grasp):
    snapshot = mid_grasp.snapshot()
    infos = [mid_grasp.step(action)[4] for action in ACTIONS]
    mid_grasp.restore(snapshot)
    again = [mid_grasp.step(action)[4] for action in ACTIONS]
    ends = [info for info in infos if "final_info" in info]
    assert ends
    for info, other in zip(infos, again, strict=True):
        np.testing.assert_equal(info.get("final_info"), other.get("final_info"))


@pytest.mark.parametrize("mode", ["next_step", "disabled"])
def test_finished_row_is_restored_as_finished(mode):
    env = PickCubeVectorEnv(1, autoreset_mode=mode)
    env.reset(seed=0)
    follow(env, random_actions(50, 1))
    snapshot, actions = env.snapshot(), random_actions(3, 1)
    assert snapshot.state["truncated"].all()
    first = follow(env, actions)
    env.restore(snapshot)
    assert_rows_equal(first, slice(None), follow(env, actions))


def test_restored_row_runs_again_after_a_halt():
    env = PickCubeVectorEnv(3, autoreset_mode="disabled")
    env.reset(seed=0)
    snapshot, action = env.snapshot(), np.ones((3, 8))
    first = env.step(action)[0]
    env.halt(np.array([0, 1, 2]))
    env.restore(snapshot[np.array([1])], np.array([1]))
    obs, _, _, truncated, _ = env.step(action)
    assert truncated.tolist() == [True, False, True]
    np.testing.assert_array_equal(obs, first)  # 0 and 2 stand where they were halted


def test_single_environment_goes_back_too():
    env = gym.make("PickCube-v0").unwrapped
    assert isinstance(env, Restorable)
    env.reset(seed=0)
    actions = random_actions(60, 1)[:, 0]
    before, _, _, _, _ = env.step(actions[0])
    snapshot = env.snapshot()
    first = [env.step(action)[0] for action in actions]
    np.testing.assert_array_equal(env.restore(snapshot), before)
    np.testing.assert_array_equal([env.step(a)[0] for a in actions], first)


def test_fresh_environment_may_be_restored_without_a_reset(mid_grasp):
    env = PickCubeVectorEnv(10, autoreset_mode="same_step")
    obs = env.restore(mid_grasp.snapshot(np.array([4])), np.array([9]))
    np.testing.assert_array_equal(obs, snapshot_obs(mid_grasp)[[4]])
    assert np.isfinite(env.step(np.zeros((10, 8)))[0]).all()


# ---------------------------------------------------------------------- Snapshot itself
def layered(values: list[float]) -> Snapshot:
    inner = Snapshot({"x": np.array(values), "m": np.outer(values, [1, 2])})
    return Snapshot({"count": np.array(values) * 10}, inner)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([2, 0, 0], [3, 1, 1]),
        (np.array([False, True, False]), [2]),
        (slice(1, 3), [2, 3]),
    ],
)
def test_indexing_a_snapshot_picks_and_repeats_rows_of_every_layer(rows, expected):
    picked = layered([1, 2, 3])[rows]
    assert len(picked) == len(expected) and picked.inner is not None
    np.testing.assert_array_equal(picked.state["count"], np.array(expected) * 10)
    np.testing.assert_array_equal(picked.inner.state["x"], expected)
    np.testing.assert_array_equal(picked.inner.state["m"][:, 1], np.array(expected) * 2)


def test_snapshots_concatenate_layer_by_layer():
    joined = Snapshot.concatenate([layered([1]), layered([2, 3])])
    assert len(joined) == 3 and joined.inner is not None
    np.testing.assert_array_equal(joined.inner.state["x"], [1, 2, 3])
    np.testing.assert_array_equal(joined.state["count"], [10, 20, 30])


def test_snapshot_is_not_changed_by_what_comes_after(mid_grasp):
    snapshot = mid_grasp.snapshot()
    before = {name: array.copy() for name, array in snapshot.state.items()}
    follow(mid_grasp, ACTIONS)
    mid_grasp.reset(seed=9)
    np.testing.assert_equal(dict(snapshot.state), before)


# ---------------------------------------------------------------------------- refusals
def test_restoring_another_number_of_rows_is_refused(mid_grasp):
    with pytest.raises(ValueError, match=r"has 8 rows for 2 rows .* snapshot\[rows\]"):
        mid_grasp.restore(mid_grasp.snapshot(), np.array([0, 1]))


def test_restoring_rows_that_do_not_exist_is_refused(mid_grasp):
    with pytest.raises(ValueError, match=r"rows must be 0 to 7, got \[8\]"):
        mid_grasp.restore(mid_grasp.snapshot(np.array([0])), np.array([8]))


@pytest.mark.parametrize(
    "state",
    [{"simulation": np.zeros((8, 5))}, {"delay": np.zeros((8, 3))}],
    ids=["another-model", "a-wrapper"],
)
def test_restoring_a_snapshot_of_something_else_is_refused(mid_grasp, state):
    with pytest.raises(ValueError, match="of another environment or of a wrapper's"):
        mid_grasp.restore(Snapshot(state))
