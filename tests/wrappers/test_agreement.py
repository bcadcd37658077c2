"""An Env, a row of a VectorEnv in any mode, and stored episodes: the same bits."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from kinds import HERE, KINDS, NOISY, of_field
from walk_env import (
    LIMIT,
    ROWS,
    SEED,
    Episode,
    WalkEnv,
    WalkVectorEnv,
    assert_same,
    single_episodes,
    vector_episodes,
)

from suite.envs.batch import AUTORESET_MODES
from suite.wrappers import (
    ActionDelay,
    NoisyReward,
    ObservationNoise,
    RewardNoise,
    StickyAction,
    corrupted,
)

COUNT = 5  # episodes of each row
LONG = LIMIT + 1  # steps, beyond the time limit
IDLE = f"{{}} changed nothing here: give it arguments that do in {HERE}"


@pytest.fixture(scope="module")
def bare() -> list[list[Episode]]:
    return [single_episodes(WalkEnv(), row, COUNT) for row in range(ROWS)]


def test_the_walk_ends_both_ways_within_each_test(bare):
    ends = {episode.ends[-1] for row in bare for episode in row}
    assert {(True, False), (False, True)} <= ends


@pytest.mark.parametrize("mode", AUTORESET_MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_a_vector_env_is_the_single_env(kind: str, mode: str):
    wrap = KINDS[kind]
    rows = vector_episodes(wrap(WalkVectorEnv(autoreset_mode=mode)), COUNT)
    for row, episodes in enumerate(rows):
        assert_same(episodes, single_episodes(wrap(WalkEnv()), row, COUNT))


@pytest.mark.parametrize("mode", AUTORESET_MODES)
def test_a_stack_of_every_wrapper_agrees_too(mode: str):
    single, vector = WalkEnv(), WalkVectorEnv(autoreset_mode=mode)
    single, vector = _all_twice(single), _all_twice(vector)
    for row, episodes in enumerate(vector_episodes(vector, COUNT)):
        assert_same(episodes, single_episodes(single, row, COUNT))


def _all_twice(env: Any) -> Any:
    for kind in (*KINDS.values(), *KINDS.values()):
        env = kind(env)
    return env


@pytest.mark.parametrize("kind", of_field("reward", "obs"))
def test_stored_episodes_are_corrupted_as_if_they_were_run(kind: str, bare):
    # Rewards and observations: the bare episodes are what the wrapper works on.
    wrap, row = KINDS[kind], 1
    name = "rewards" if wrap.corruption.field == "reward" else "obs"
    before = [np.array(getattr(each, name)) for each in bare[row]]
    after = _bulk(kind, before, row)
    live = single_episodes(wrap(WalkEnv()), row, COUNT)
    for ours, theirs in zip(after, live, strict=True):
        np.testing.assert_array_equal(ours, getattr(theirs, name))
    changed = any((a != b).any() for a, b in zip(before, after, strict=True))
    assert changed, IDLE.format(kind)


@pytest.mark.parametrize("kind", of_field("action"))
def test_stored_commands_become_what_would_have_been_executed(kind: str):
    live = single_episodes(KINDS[kind](WalkEnv()), 1, COUNT)
    after = _bulk(kind, [np.array(each.actions) for each in live], 1)
    for ours, theirs in zip(after, live, strict=True):
        np.testing.assert_array_equal(ours, theirs.executed)
    changed = any((each.as_arrays()["actions"] != each.executed).any() for each in live)
    assert changed, IDLE.format(kind)


def _bulk(kind: str, parts: list[np.ndarray], row: int) -> list[np.ndarray]:
    wrap, env = KINDS[kind], WalkEnv()
    lengths = [len(part) for part in parts]
    space = {"obs": env.observation_space, "action": env.action_space}
    whole = corrupted(
        wrap.corruption,
        np.concatenate(parts),
        lengths,
        np.array([[SEED + row, number] for number in range(len(parts))]),
        seed=wrap.seed,
        space=space.get(wrap.corruption.field),
    )
    return np.split(whole, np.cumsum(lengths)[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_episodes_longer_than_a_chunk_agree(kind: str):
    wrap = KINDS[kind]
    rows = vector_episodes(wrap(WalkVectorEnv(limit=150, goal=np.inf)), 2)
    assert max(len(each.rewards) for each in rows[0]) > 2 * 64
    for row, episodes in enumerate(rows):
        assert_same(
            episodes, single_episodes(wrap(WalkEnv(limit=150, goal=np.inf)), row, 2)
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_in_the_middle_begins_the_next_episode(kind: str):
    wrap = KINDS[kind]
    vector, singles = wrap(WalkVectorEnv()), [wrap(WalkEnv()) for _ in range(ROWS)]
    vector.reset(seed=SEED)
    for row, env in enumerate(singles):
        env.reset(seed=SEED + row)
    for reset in (None, None, SEED, None):
        actions = np.full((ROWS, 2), 0.2, np.float32)
        for _ in range(3):
            obs, rewards, *_ = vector.step(actions)
            for row, env in enumerate(singles):
                one, reward, *_ = env.step(actions[row])
                np.testing.assert_array_equal(obs[row], one)
                assert rewards[row] == reward
        obs, _ = vector.reset(seed=reset)
        for row, env in enumerate(singles):
            one, _ = env.reset(seed=None if reset is None else reset + row)
            np.testing.assert_array_equal(obs[row], one)


@pytest.mark.parametrize("kind", NOISY)
def test_a_list_of_seeds_gives_each_row_its_own(kind: str):
    wrap = KINDS[kind]
    vector = wrap(WalkVectorEnv())
    obs, _ = vector.reset(seed=[40, 7, 40])
    action = np.full((ROWS, 2), 0.9, np.float32)
    obs, rewards, *_ = [vector.step(action) for _ in range(4)][-1]
    assert rewards[0] == rewards[2] != rewards[1]
    single = wrap(WalkEnv())
    single.reset(seed=7)
    one, reward, *_ = [single.step(action[1]) for _ in range(4)][-1]
    np.testing.assert_array_equal(obs[1], one)
    assert rewards[1] == reward


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_stands_still_is_left_alone(kind: str):
    env = KINDS[kind](WalkVectorEnv(autoreset_mode="disabled"))
    env.reset(seed=SEED)
    still = np.zeros((ROWS, 2), np.float32)
    obs, *_, truncated, _ = [env.step(still) for _ in range(LONG)][-1]
    assert truncated.all()
    again, rewards, _, truncated, _ = env.step(np.ones((ROWS, 2), np.float32))
    np.testing.assert_array_equal(again, obs)
    np.testing.assert_array_equal(rewards, 0.0)
    shown, _ = env.reset(options={"reset_mask": np.array([True, False, False])})
    np.testing.assert_array_equal(shown[1:], obs[1:])
    assert (shown[0] != obs[0]).any()


def test_the_reset_of_next_step_mode_is_no_step():
    # Its reward is 0, so that a shift, noise or a delay must not show in it.
    for kind in ("reward noise", "reward scale", "reward delay", "sparse reward"):
        env = KINDS[kind](WalkVectorEnv())
        env.reset(seed=SEED)
        results = [env.step(np.zeros((ROWS, 2), np.float32)) for _ in range(LONG)]
        assert results[-2][3].all()
        np.testing.assert_array_equal(results[-1][1], 0.0)


def test_same_step_mode_corrupts_both_the_final_and_the_first_observation():
    env = ObservationNoise(WalkVectorEnv(autoreset_mode="same_step"), 0.1)
    bare = WalkVectorEnv(autoreset_mode="same_step")
    for each in (env, bare):
        each.reset(seed=SEED)
    still = np.zeros((ROWS, 2), np.float32)
    obs, *_, info = [env.step(still) for _ in range(LIMIT)][-1]
    clean, *_, clean_info = [bare.step(still) for _ in range(LIMIT)][-1]
    assert info["_final_obs"].all()
    assert (obs != clean).all()
    assert (info["final_obs"] != clean_info["final_obs"]).all()
    np.testing.assert_array_equal(info["clean_obs"], clean)


def test_same_step_mode_does_not_leak_clean_observations_of_other_rows():
    env = ObservationNoise(WalkVectorEnv(autoreset_mode="same_step"), 0.1)
    env.reset(seed=SEED)
    action = np.zeros((ROWS, 2), np.float32)
    action[0] = 1.0  # only this row arrives
    obs, _, terminated, _, info = env.step(action)
    while not terminated.any():
        obs, _, terminated, _, info = env.step(action)
    assert terminated.tolist() == [True, False, False]
    np.testing.assert_array_equal(info["final_obs"][1:], obs[1:])


def test_leaving_out_an_episode_does_not_change_the_others_noise():
    rewards, lengths = np.arange(12.0), [5, 4, 3]
    whole = corrupted(NoisyReward(1.0), rewards, lengths)
    rest = corrupted(
        NoisyReward(1.0), rewards[[0, 1, 2, 3, 4, 9, 10, 11]], [5, 3], [0, 2]
    )
    np.testing.assert_array_equal(rest, whole[[0, 1, 2, 3, 4, 9, 10, 11]])


class Replay(gym.Env):
    """Streams stored rewards; info says which episode it is."""

    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(1)

    def __init__(self, episodes: list[np.ndarray], order: list[int]):
        self.episodes, self.order = episodes, iter(order)

    def reset(self, *, seed=None, options=None):
        self.now, self.t = next(self.order), 0
        return 0, {"episode_id": self.now}

    def step(self, action):
        self.t += 1
        rewards = self.episodes[self.now]
        return 0, rewards[self.t - 1], False, self.t == len(rewards), {}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_a_replayed_dataset_gets_the_noise_of_its_episode_ids(order: list[int]):
    episodes = [np.arange(5.0), np.arange(4.0), np.arange(3.0)]
    env = RewardNoise(Replay(episodes, order), 1.0, seed=2)
    whole = corrupted(NoisyReward(1.0), np.concatenate(episodes), [5, 4, 3], seed=2)
    by_id = np.split(whole, [5, 9])
    for number in order:
        env.reset(seed=123)
        streamed = [env.step(0)[1] for _ in episodes[number]]
        np.testing.assert_array_equal(streamed, by_id[number])


def test_discrete_actions_are_delayed_and_repeated():
    env: Any = ActionDelay(gym.make("CartPole-v1"), 2)
    env.reset(seed=0)
    executed = [env.step(a)[4]["executed_action"] for a in (1, 1, 1, 0, 1)]
    assert executed == [0, 0, 1, 1, 1]
    env = StickyAction(gym.make_vec("CartPole-v1", num_envs=2), 1.0)
    env.reset(seed=0)
    steps = [env.step(np.array(a)) for a in ([1, 0], [0, 1], [0, 1])]
    executed = [step[4]["executed_action"].tolist() for step in steps]
    assert executed == [[1, 0]] * 3


def test_gymnasiums_own_vector_environments_can_be_wrapped():
    sync = gym.vector.SyncVectorEnv([WalkEnv] * ROWS)
    ours = RewardNoise(WalkVectorEnv(), 0.5)
    theirs = RewardNoise(sync, 0.5)
    for each in (ours, theirs):
        each.reset(seed=SEED)
    for _ in range(20):
        action = np.full((ROWS, 2), 0.1, np.float32)
        np.testing.assert_array_equal(ours.step(action)[1], theirs.step(action)[1])


@pytest.mark.parametrize(
    ("lengths", "ids"), [([5, 8], None), ([5, 7], [0]), ([5], None)]
)
def test_lengths_that_do_not_add_up_are_refused(lengths, ids):
    with pytest.raises(ValueError, match="do not belong together"):
        corrupted(NoisyReward(1.0), np.zeros(12), lengths, ids)


def test_no_episodes_give_no_values():
    assert corrupted(NoisyReward(1.0), np.zeros(0), []).shape == (0,)


def test_float32_data_get_the_noise_of_float64_ones_cast_once():
    rewards = np.linspace(-1, 1, 100)
    fine = corrupted(NoisyReward(0.3), rewards.astype(np.float32).astype(float), [100])
    coarse = corrupted(NoisyReward(0.3), rewards.astype(np.float32), [100])
    assert coarse.dtype == np.float32
    np.testing.assert_array_equal(coarse, fine.astype(np.float32))
