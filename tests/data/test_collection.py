"""Episodes of a policy: whole, true to their ends, the same whatever the rows."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stored import dataset
from toys import ToyVectorEnv

import suite.wrappers as w
from suite.data.collection import UniformBehaviour, collect
from suite.datasets import Dataset, load_dataset, save_dataset
from suite.transitions import LAYOUT

SPACE = spaces.Box(-1.0, 1.0, (1,), np.float32)


class Leaning:
    """Pushes to the right with some noise, by a formula of one row alone."""

    noise_shape = (1,)

    def draw(self, generator: np.random.Generator, shape: Any) -> np.ndarray:
        return generator.standard_normal(shape)

    def act(self, obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return np.clip(0.3 * obs[:, :1] + 0.5 * noise, -1, 1).astype(np.float32)


class CountingEnv(gym.Env):
    """Observes (start, steps); ends by itself after as many steps as it starts with."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = SPACE

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.start = 0, int(self.np_random.integers(2, 7))
        return self._obs(), {}

    def _obs(self) -> np.ndarray:
        return np.array([self.start, self.t], np.float64)

    def step(self, action):
        self.t += 1
        ends = self.t == self.start
        terminated = bool(ends and self.start % 2)
        return self._obs(), 10.0 * self.t, terminated, ends and not terminated, {}


def assert_same(one: Dataset, other: Dataset) -> None:
    for name in LAYOUT:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def counting(rows: int) -> gym.vector.VectorEnv:
    return gym.vector.SyncVectorEnv([CountingEnv] * rows)


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_every_transition_leads_to_what_came_next(rows: int):
    data = collect(counting(rows), Leaning(), 200, seed=0)
    assert data.is_consistent and 200 - 6 < len(data) <= 200
    start, step = data.obs.T
    np.testing.assert_array_equal(step, data.steps)
    # The last next_obs of an episode is its own, not the next one's first.
    np.testing.assert_array_equal(data.next_obs, np.stack([start, step + 1], 1))
    np.testing.assert_array_equal(data.rewards, 10 * (step + 1))
    np.testing.assert_array_equal(start[data.offsets[:-1]], data.lengths)
    last = step + 1 == start
    np.testing.assert_array_equal(data.terminated, last & (start % 2 == 1))
    np.testing.assert_array_equal(data.truncated, last & (start % 2 == 0))
    assert data.episode_ids.tolist() == list(range(data.num_episodes))


@pytest.mark.parametrize("mode", ["disabled", "same_step", "next_step"])
def test_the_same_seed_gives_the_same_data(mode: str):
    def data(seed: int) -> Dataset:
        return collect(ToyVectorEnv(4, autoreset_mode=mode), Leaning(), 300, seed)

    assert data(1).sha256 == data(1).sha256 != data(2).sha256
    assert data(1).is_consistent


def test_without_autoreset_the_data_do_not_depend_on_the_rows():
    def data(rows: int, steps: int) -> Dataset:
        env = ToyVectorEnv(rows, autoreset_mode="disabled")
        env = w.RewardNoise(w.ActionDelay(env, 1), 0.1)
        return collect(env, Leaning(), steps, seed=5)

    whole = data(1, 300)
    for rows in (2, 7, 50):
        assert_same(data(rows, 300), whole)
    # Fewer steps are the beginning of more.
    some = data(7, 120)
    assert_same(some, whole.select(np.arange(whole.num_episodes) < some.num_episodes))
    assert whole.card["collected"]["depends_on_rows"] is False
    told = [each["call"] for each in whole.card["collected"]["wrappers"]]
    assert told == [
        "suite.wrappers.action:ActionDelay",
        "suite.wrappers.reward:RewardNoise",
    ]
    assert whole.card["collected"]["wrappers"][1]["kwargs"]["std"] == 0.1


def test_what_an_agent_sees_does_and_is_paid_is_stored():
    def data(wrap: Any) -> Dataset:
        env = ToyVectorEnv(3, autoreset_mode="disabled")
        return collect(wrap(env), UniformBehaviour(SPACE), 100, seed=2)

    bare = data(lambda env: env)
    dearer = data(lambda env: w.RewardScale(env, 10.0))
    np.testing.assert_allclose(dearer.rewards, 10 * bare.rewards, rtol=1e-6)
    blurred = data(lambda env: w.ObservationNoise(env, 0.1))
    np.testing.assert_array_equal(blurred.actions, bare.actions)
    assert (blurred.obs != bare.obs).all() and blurred.is_consistent


def test_random_actions_fill_their_box():
    space = spaces.Box(np.array([-1, 2]), np.array([3, 5]), (2,), np.float64)
    policy = UniformBehaviour(space)
    draws = policy.draw(np.random.default_rng(0), (10_000, 2))
    actions = policy.act(np.zeros((10_000, 1)), draws)
    assert actions.min(0) == pytest.approx([-1, 2], abs=0.01)
    assert actions.max(0) == pytest.approx([3, 5], abs=0.01)
    assert actions.mean(0) == pytest.approx([1, 3.5], abs=0.06)
    with pytest.raises(ValueError, match="random actions need a bounded Box"):
        UniformBehaviour(spaces.Box(-np.inf, np.inf, (2,)))


def test_draws_are_philox_at_the_episodes_number_64_steps_at_a_time():
    # Chunks are part of published data, so that theirs may not follow the wrappers'.
    # 0xA40662F4 is the CRC-32 of "collect".
    env = gym.vector.SyncVectorEnv([lambda: gym.make("Pendulum-v1")])
    data = collect(env, UniformBehaviour(env.single_action_space), 400, seed=3)
    key = np.random.SeedSequence([3, 0xA40662F4, 0]).generate_state(2, np.uint64)
    chunks = [
        np.random.Generator(
            np.random.Philox(counter=np.array([0, chunk, 0, 1], np.uint64), key=key)
        ).random((64, 1))
        for chunk in range(4)
    ]
    second = -2 + 4 * np.concatenate(chunks)[:200]
    np.testing.assert_allclose(data.actions[200:], second, atol=1e-6)


def test_the_progress_goes_up_to_the_end():
    told: list[int] = []
    collect(counting(3), Leaning(), 100, seed=0, progress=told.append)
    assert told == sorted(told) and 90 < told[-1] <= 100


def test_collected_data_can_be_stored(tmp_path):
    data = collect(counting(2), Leaning(), 50, seed=0)
    save_dataset(data, tmp_path / "walk.npz")
    again = load_dataset(tmp_path / "walk.npz")
    assert_same(again, data)
    assert again.card["spaces"]["action"] == {"low": [-1.0], "high": [1.0]}
    assert again.card["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("env", "steps", "words"),
    [
        (lambda: CountingEnv(), 50, "collect needs a gymnasium VectorEnv, such as"),
        (lambda: counting(2), 1, "not one whole episode fits into 1 steps"),
        (
            lambda: gym.make_vec("CartPole-v1", num_envs=1, vectorization_mode="sync"),
            50,
            "flat boxes, got the action space Discrete",
        ),
    ],
)
def test_what_cannot_be_collected_is_one_clear_sentence(env, steps, words):
    with pytest.raises(ValueError, match=words) as caught:
        collect(env(), Leaning(), steps, seed=0)
    assert "\n" not in str(caught.value)


def test_nan_rewards_of_an_environment_are_refused():
    class Broken(CountingEnv):
        def step(self, action):
            obs, _, terminated, truncated, info = super().step(action)
            return obs, np.nan, terminated, truncated, info

    env = gym.vector.SyncVectorEnv([Broken])
    with pytest.raises(
        ValueError, match="rewards must be finite, got nan at transition"
    ):
        collect(env, Leaning(), 50, seed=0)


def test_a_dataset_is_not_changed_by_what_is_done_to_its_arrays():
    data = dataset()
    with pytest.raises(ValueError, match="read-only"):
        data.rewards[0] = 3
