"""Going back in a stack of wrappers, and stacks in which that cannot be."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from kinds import KINDS, NOISY
from walk_env import ROWS, SEED, WalkEnv, WalkVectorEnv

from suite.arrays import Restorable, Snapshot
from suite.wrappers import (
    ActionDelay,
    ObservationNoise,
    RewardDelay,
    RewardNoise,
    RewardScale,
    restorable,
)

MODES = ["next_step", "same_step", "disabled"]
RNG = np.random.default_rng(0)
SCRIPT = RNG.uniform(-1, 1, (30, ROWS, 2)).astype(np.float32)


def every_wrapper(env: Any) -> Any:
    for kind in KINDS.values():
        env = kind(env)
    return env


def run(env: Any, script: np.ndarray) -> list[Any]:
    return [env.step(action)[:4] for action in script]


def assert_runs_equal(first: list[Any], second: list[Any]) -> None:
    for ours, theirs in zip(first, second, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def rows_of(results: list[Any], rows: Any) -> list[Any]:
    return [tuple(array[rows] for array in step) for step in results]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("before", [0, 2, 7, 9])
@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_what_follows_a_restore_is_what_followed_the_snapshot(kind, before, mode):
    # 2 steps lie within every delay, 7 at the time limit, 9 in the next episode.
    wrap = KINDS.get(kind, every_wrapper)
    env = wrap(WalkVectorEnv(autoreset_mode=mode))
    obs, _ = env.reset(seed=SEED)
    for action in SCRIPT[:before]:
        obs, *_ = env.step(action)
    snapshot = env.snapshot()
    first = run(env, SCRIPT[before : before + 12])
    np.testing.assert_array_equal(env.restore(snapshot), obs)
    assert_runs_equal(first, run(env, SCRIPT[before : before + 12]))
    fresh = wrap(WalkVectorEnv(autoreset_mode=mode))
    np.testing.assert_array_equal(fresh.restore(snapshot), obs)
    assert_runs_equal(first, run(fresh, SCRIPT[before : before + 12]))


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_a_single_environment_goes_back_too(kind: str):
    env: Any = KINDS.get(kind, every_wrapper)(gym.make("Walk-v0"))
    env.reset(seed=SEED)
    obs = [env.step(action[0])[0] for action in SCRIPT[:2]][-1]
    snapshot = env.snapshot()
    assert len(snapshot) == 1
    first = run(env, SCRIPT[2:5, 0])
    np.testing.assert_array_equal(env.restore(snapshot), obs)
    assert_runs_equal(first, run(env, SCRIPT[2:5, 0]))
    fresh: Any = KINDS.get(kind, every_wrapper)(gym.make("Walk-v0"))
    np.testing.assert_array_equal(fresh.restore(snapshot), obs)
    assert_runs_equal(first, run(fresh, SCRIPT[2:5, 0]))


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_one_row_fans_out_into_an_environment_of_another_size(kind: str):
    wrap = KINDS.get(kind, every_wrapper)
    env = wrap(WalkVectorEnv(autoreset_mode="same_step"))
    env.reset(seed=SEED)
    run(env, SCRIPT[:2])
    snapshot = env.snapshot(np.array([1]))
    first = run(env, SCRIPT[2:20])
    copies = wrap(WalkVectorEnv(5, autoreset_mode="same_step"))
    copies.restore(snapshot[np.zeros(5, int)])
    script = np.repeat(SCRIPT[2:20, 1:2], 5, axis=1)
    assert_runs_equal(run(copies, script), rows_of(first, np.ones(5, int)))


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_rows_restored_into_other_rows_leave_the_rest_alone(kind: str):
    wrap = KINDS.get(kind, every_wrapper)
    env, twin = (wrap(WalkVectorEnv(autoreset_mode="disabled")) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=SEED)
        run(each, SCRIPT[:3])
    snapshot = env.snapshot(np.array([2, 0]))
    first = run(twin, SCRIPT[3:5])
    obs = env.restore(snapshot, np.array([0, 2]))  # exchanged
    assert obs.shape == (2, 2)
    order = np.array([2, 1, 0])
    second = run(env, SCRIPT[3:5][:, order])
    assert_runs_equal(rows_of(second, order), first)


@pytest.mark.parametrize("kind", NOISY)
def test_reseeded_rows_get_noise_of_their_own_from_here_on(kind: str):
    env = KINDS[kind](
        WalkVectorEnv(4, autoreset_mode="disabled", limit=60, goal=np.inf)
    )
    env.reset(seed=SEED)
    script = np.repeat(RNG.uniform(-1, 1, (30, 1, 2)), 4, axis=1)
    obs = [env.step(action)[0] for action in script[:5]][-1]
    snapshot = env.snapshot()[np.zeros(4, int)]
    shown = env.restore(snapshot, reseed=1)
    np.testing.assert_array_equal(shown, np.repeat(obs[:1], 4, axis=0))
    first = run(env, script[5:])
    differing = np.concatenate([step[0].ravel() for step in first])
    rewards = np.stack([step[1] for step in first])
    for row in range(1, 4):
        same_rewards = (rewards[:, 0] == rewards[:, row]).all()
        same_obs = all((step[0][0] == step[0][row]).all() for step in first)
        assert not (same_rewards and same_obs)
    env.restore(snapshot, reseed=1)
    again = np.concatenate([step[0].ravel() for step in run(env, script[5:])])
    np.testing.assert_array_equal(differing, again)
    env.restore(snapshot, reseed=2)
    assert any(
        (a[0] != b[0]).any() or (a[1] != b[1]).any()
        for a, b in zip(first, run(env, script[5:]), strict=True)
    )


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_reseeding_reaches_the_environment_inside(kind: str):
    env = KINDS.get(kind, every_wrapper)(WalkVectorEnv(4, autoreset_mode="disabled"))
    env.reset(seed=SEED)
    copies = env.snapshot()[np.zeros(4, int)]
    for reseed, starts in ((None, 1), (3, 4)):
        env.restore(copies, reseed=reseed)
        _, info = env.reset()
        assert len(np.unique(info["state"], axis=0)) == starts


def test_without_reseed_all_copies_share_their_noise():
    env = RewardNoise(WalkVectorEnv(4, autoreset_mode="disabled"), 1.0)
    env.reset(seed=SEED)
    env.restore(env.snapshot()[np.zeros(4, int)])
    for _ in range(3):
        assert len(set(env.step(np.zeros((4, 2)))[1])) == 1


def test_what_is_under_way_is_part_of_the_snapshot():
    env = ActionDelay(WalkVectorEnv(1, autoreset_mode="disabled"), 2)
    env.reset(seed=0)
    env.step(np.array([[0.25, 0.0]]))
    snapshot = env.snapshot()
    env.step(np.ones((1, 2)))
    env.step(np.ones((1, 2)))
    env.restore(snapshot)
    executed = [env.step(np.zeros((1, 2)))[4]["executed_action"][0, 0] for _ in "ab"]
    assert executed == [0.0, 0.25]


def test_a_halted_row_stands_still_in_every_layer():
    env = every_wrapper(WalkVectorEnv(autoreset_mode="disabled"))
    env.reset(seed=SEED)
    obs = env.step(SCRIPT[0])[0]
    env.halt(np.array([0, 2]))
    after, reward, _, truncated, _ = env.step(SCRIPT[1])
    np.testing.assert_array_equal(after[[0, 2]], obs[[0, 2]])
    assert reward[0] == reward[2] == 0
    assert truncated.tolist() == [True, False, True]


@pytest.mark.parametrize("kind", [*KINDS, "all"])
@pytest.mark.parametrize("vector", [False, True])
def test_a_copy_goes_on_like_the_original(kind: str, vector: bool):
    wrap = KINDS.get(kind, every_wrapper)
    env = wrap(WalkVectorEnv() if vector else WalkEnv())
    script = SCRIPT if vector else SCRIPT[:, 0]
    env.reset(seed=SEED)
    run(env, script[:2])
    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    first = run(env, script[2:6])
    for each in copies:
        assert type(each) is type(env)
        assert_runs_equal(first, run(each, script[2:6]))


# ---------------------------------------------------------------------------- refusals
class Remembering(gym.vector.VectorWrapper):
    """Keeps something, and cannot be restored."""


class Harmless(gym.vector.VectorWrapper):
    """Says that it keeps nothing."""

    stateless = True


class Moved(gym.vector.VectorObservationWrapper):
    """Observes from elsewhere."""

    stateless = True

    def observations(self, observations: Any) -> Any:
        return observations + 1


BOUNDS = np.full(2, -2, np.float32), np.full(2, 2, np.float32)


def disabled() -> WalkVectorEnv:
    return WalkVectorEnv(autoreset_mode="disabled")


STATEFUL = {
    "NormalizeReward": gym.wrappers.vector.NormalizeReward,
    "NormalizeObservation": gym.wrappers.vector.NormalizeObservation,
    "RecordEpisodeStatistics": gym.wrappers.vector.RecordEpisodeStatistics,
    "Remembering": Remembering,
}


@pytest.mark.parametrize("name", STATEFUL)
def test_a_stateful_wrapper_in_between_is_refused_by_name(name: str):
    # Later versions of Gymnasium normalise observations in this mode only.
    next_step = WalkVectorEnv(autoreset_mode="next_step")
    env = RewardNoise(STATEFUL[name](next_step), 0.1)
    env.reset(seed=0)
    with pytest.raises(TypeError, match=f"the wrapper {name} has no snapshot"):
        env.snapshot()
    with pytest.raises(TypeError, match=f"the wrapper {name} has no snapshot"):
        restorable(RewardScale(env, 2))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: gym.wrappers.TimeLimit(env, 5),
        lambda env: gym.wrappers.NormalizeReward(env),
        lambda env: gym.wrappers.FrameStackObservation(env, 2),
        lambda env: gym.wrappers.StickyAction(env, 0.5),
        lambda env: gym.wrappers.DelayObservation(env, 2),
    ],
)
def test_stateful_wrappers_of_single_environments_are_refused(wrap):
    inside = wrap(WalkEnv())
    env = RewardNoise(inside, 0.1)
    env.reset(seed=0)
    with pytest.raises(TypeError, match=f"the wrapper {type(inside).__name__} has no"):
        env.snapshot()


def test_an_environment_without_snapshots_is_refused():
    env = RewardNoise(gym.make("CartPole-v1"), 0.1)
    with pytest.raises(TypeError, match="TimeLimit has no snapshot"):
        restorable(env)
    with pytest.raises(TypeError, match=r"CartPoleEnv.* has no snapshot"):
        restorable(RewardNoise(gym.make("CartPole-v1").unwrapped, 0.1))


@pytest.mark.parametrize(
    "wrap",
    [
        Harmless,
        lambda env: gym.wrappers.vector.ClipReward(env, -0.1, 0.1),
        lambda env: gym.wrappers.vector.RescaleAction(env, *BOUNDS),
    ],
)
def test_a_stateless_wrapper_may_lie_in_between_or_outside(wrap):
    env = wrap(RewardDelay(wrap(disabled()), 2))
    env.reset(seed=SEED)
    run(env, SCRIPT[:2])
    stack = restorable(env)
    snapshot = stack.snapshot()
    first = run(env, SCRIPT[2:5])
    stack.restore(snapshot)
    assert_runs_equal(first, run(env, SCRIPT[2:5]))
    stack.halt(np.array([0]))
    assert env.step(SCRIPT[5])[3][0]


def test_a_stateless_observation_wrapper_shows_restored_rows_its_way():
    env = Moved(disabled())
    obs, _ = env.reset(seed=SEED)
    stack = restorable(env)
    snapshot = stack.snapshot()
    run(env, SCRIPT[:2])
    np.testing.assert_array_equal(stack.restore(snapshot), obs)
    single: Any = RewardNoise(rescaled(Boxed()), 0.1)
    obs, _ = single.reset(seed=1)
    snapshot = single.snapshot()
    single.step(np.zeros(2))
    np.testing.assert_array_equal(single.restore(snapshot), obs)


def rescaled(env: Any) -> Any:
    return gym.wrappers.RescaleObservation(env, np.float32(0), np.float32(1))


class Boxed(WalkEnv):
    """With bounds, which rescaling asks for."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(-4, 4, (2,), np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_every_wrapper_is_restorable_itself(kind: str):
    for env in (KINDS[kind](WalkEnv()), KINDS[kind](WalkVectorEnv())):
        assert isinstance(env, Restorable) and restorable(env) is env


def test_snapshots_of_another_stack_are_refused():
    env = RewardDelay(disabled(), 2)
    env.reset(seed=0)
    snapshot = env.snapshot()
    for other in (RewardNoise(disabled(), 1), RewardDelay(disabled(), 3)):
        with pytest.raises(ValueError, match="restore it into the same stack"):
            other.restore(snapshot)
    with pytest.raises(ValueError, match="restore it into the same stack"):
        env.restore(disabled_snapshot())
    with pytest.raises(ValueError, match="3 rows for 2 rows"):
        env.restore(snapshot, np.array([0, 1]))
    with pytest.raises(ValueError, match="of another environment or of a wrapper's"):
        disabled().restore(snapshot)


def disabled_snapshot() -> Snapshot:
    env = disabled()
    env.reset(seed=0)
    return env.snapshot()


def test_a_refused_snapshot_changes_nothing():
    env, twin = (ObservationNoise(disabled(), 0.1) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match="same stack"):
        env.restore(disabled_snapshot())
    assert_runs_equal(run(env, SCRIPT[:3]), run(twin, SCRIPT[:3]))
