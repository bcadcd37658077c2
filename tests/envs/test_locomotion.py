"""Our robots are Gymnasium's of version 5: the same numbers, bit for bit."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import suite  # noqa: F401  registers the ids
from suite.envs.locomotion import (
    Ant,
    HalfCheetah,
    Hopper,
    Locomotion,
    Walker2d,
    row_sum,
)
from suite.envs.locomotion_env import ROBOTS, LocomotionVectorEnv

NAMES = list(ROBOTS)
STEPS = 1020  # an episode of HalfCheetah, and the start of the next
# Gymnasium takes this one from BLAS, which rounds once where sqrt(x * x + y * y) does
# twice.
ROUNDED = {"distance_from_origin"}


def ours(name: str, num_envs: int, **kwargs: Any) -> LocomotionVectorEnv:
    env = gym.make_vec(
        f"Batched{name}-v5",
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        **kwargs,
    )
    assert isinstance(env, LocomotionVectorEnv)
    return env


def theirs(name: str) -> Any:
    return gym.make(f"{name}-v5", disable_env_checker=True).unwrapped


def hard_actions(name: str, steps: int, seed: int = 0) -> np.ndarray:
    """(steps, 3, A) float32: anywhere, at the bounds, and at bounds held on to."""
    rng, size = np.random.default_rng(seed), ROBOTS[name][0]().action_space.shape
    anywhere = rng.uniform(-1, 1, (steps, *size))
    bounds = rng.choice([-1.0, 1.0], (steps, *size))
    held = np.repeat(rng.choice([-1.0, 1.0], (steps // 15 + 1, *size)), 15, axis=0)
    return np.stack([anywhere, bounds, held[:steps]], axis=1).astype(np.float32)


def rollout_of_gymnasium(name: str, actions: np.ndarray, seed: int) -> dict[str, Any]:
    """One environment, reset on the step after each end, as columns of length T."""
    env = gym.make(f"{name}-v5", disable_env_checker=True)
    columns: dict[str, list[Any]] = {}
    obs, done = env.reset(seed=seed)[0], False
    for action in actions:
        if done:
            (obs, _), step, info = env.reset(), (0.0, False, False), {}
        else:
            obs, *step, info = env.step(action)
        row = dict(zip(("reward", "terminated", "truncated"), step, strict=True))
        for key, value in {"obs": obs, **row, "moved": not done, **info}.items():
            columns.setdefault(key, []).append(value)
        done = step[1] or step[2]
    return {key: np.array(values) for key, values in columns.items()}


def rollout_of_ours(name: str, actions: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The same of all rows, one dict of columns each; no row need be moving."""
    env = ours(name, actions.shape[1])
    env.reset(seed=0)
    steps = []
    for action in actions:
        obs, reward, terminated, truncated, info = env.step(action)
        assert not info["sim_unstable"].any() and not info["is_success"].any()
        own = {"obs": obs, "reward": reward}
        steps.append(own | {"terminated": terminated, "truncated": truncated} | info)
    return [
        {
            key: np.array([step[key][row] for step in steps if mask(step, key)[row]])
            for key in steps[0]
            if key[0] != "_"
        }
        for row in range(actions.shape[1])
    ]


def mask(step: dict[str, np.ndarray], key: str) -> np.ndarray:
    """Where a step says something under a key; a reset tells no details."""
    everywhere = np.full(3, key in ("obs", "reward", "terminated", "truncated"))
    return step.get(f"_{key}", everywhere)


# ------------------------------------------------------------ step for step, to the bit
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_gymnasiums_environments_bit_for_bit(name):
    actions = hard_actions(name, STEPS)
    for row, columns in enumerate(rollout_of_ours(name, actions)):
        expected = rollout_of_gymnasium(name, actions[:, row], seed=row)
        assert len(columns["x_velocity"]) == expected.pop("moved").sum() < STEPS
        for key, values in expected.items():
            assert values.dtype == columns[key].dtype
            tolerance = 4e-16 if key in ROUNDED else 0.0
            np.testing.assert_allclose(columns[key], values, rtol=tolerance, atol=0)
        assert expected["terminated"].any() == (name != "HalfCheetah")
        assert expected["truncated"].any() or name != "HalfCheetah"


@pytest.mark.parametrize("name", NAMES)
def test_float64_actions_of_one_environment_give_gymnasiums_bits(name):
    single, reference = gym.make(f"Batched{name}-v5"), theirs(name)
    np.testing.assert_array_equal(single.reset(seed=4)[0], reference.reset(seed=4)[0])
    rng = np.random.default_rng(0)
    for _ in range(60):
        action = rng.uniform(-1, 1, single.action_space.shape)
        obs, reward, terminated, _, info = single.step(action)
        expected = reference.step(action)
        np.testing.assert_array_equal(obs, expected[0])
        assert (reward, terminated) == expected[1:3]
        assert info.keys() - {"state", "is_success", "sim_unstable"} == set(expected[4])
        if terminated:
            single.reset()
            reference.reset()


@pytest.mark.parametrize("name", NAMES)
def test_same_seeds_draw_the_starts_that_gymnasium_draws(name):
    rows, reference = ours(name, 30), theirs(name)
    resets = [rows.reset(seed=7)[0], rows.reset()[0], rows.reset()[0]]
    for row in range(30):
        seeds = (7 + row, None, None)
        expected = [reference.reset(seed=seed)[0] for seed in seeds]
        np.testing.assert_array_equal([obs[row] for obs in resets], expected)


@pytest.mark.parametrize("name", NAMES)
def test_rows_set_to_positions_and_velocities_go_on_as_gymnasium_does(name):
    rows, reference = ours(name, 4, autoreset_mode="disabled"), theirs(name)
    rng, model = np.random.default_rng(0), reference.unwrapped.model
    qpos = model.qpos0 + rng.uniform(-0.3, 0.3, (4, model.nq))
    qvel = rng.normal(0, 6, (4, model.nv))
    actions = rng.uniform(-1, 1, (30, model.nu)).astype(np.float32)
    obs = rows.reset_to(qpos[1:3], qvel[1:3], np.array([1, 2]))
    for row in (1, 2):
        rows.reset_to(qpos[row : row + 1], qvel[row : row + 1], np.array([row]))
        reference.reset()
        reference.set_state(qpos[row], qvel[row])
        np.testing.assert_array_equal(obs[row - 1], reference._get_obs())
        for action in actions:
            mine = rows.step(np.tile(action, (4, 1)))[:3]
            expected = reference.step(action)[:3]
            for a, b in zip(mine, expected, strict=True):
                np.testing.assert_array_equal(a[row], b)
            if expected[2]:
                break


@pytest.mark.parametrize("name", NAMES)
def test_spaces_limit_and_control_period_are_gymnasiums(name):
    reference, task = theirs(name), ROBOTS[name][0]()
    assert task.observation_space == reference.observation_space
    assert task.action_space == reference.action_space
    assert (task.dt, task.substeps) == (reference.dt, reference.frame_skip)
    assert task.max_episode_steps == gym.spec(f"{name}-v5").max_episode_steps
    env = gym.make(f"Batched{name}-v5")
    assert env.metadata["render_fps"] == reference.metadata["render_fps"]


# ------------------------------------------------------------- the formulas, by hand
def state_of(task: Locomotion, **numbers: float) -> np.ndarray:
    """A healthy state with some numbers set: p3 = 0.5 is qpos[3], v0 is qvel[0]."""
    state = np.zeros(109 if isinstance(task, Ant) else sum_of_sizes(task))
    state[2 if isinstance(task, Ant) else 1] = 0.9
    for name, number in numbers.items():
        first = {"p": 0, "v": task.num_positions, "x": 29, "c": 31}[name[0]]
        state[first + int(name[1:])] = number
    return state


def sum_of_sizes(task: Locomotion) -> int:
    return task.num_positions + task.num_velocities


@pytest.mark.parametrize(
    ("task", "before", "after", "expected"),
    [
        # 0.1 m in 0.05 s, less 0.1 of 6 * 0.25
        (HalfCheetah(), {"p0": 1.0}, {"p0": 1.1}, 2.0 - 0.15),
        # 0.004 m in 0.008 s, alive, less 0.001 of 3 * 0.25
        (Hopper(), {"p0": 1.0}, {"p0": 1.004}, 0.5 + 1 - 0.00075),
        (Hopper(), {"p0": 1.0}, {"p0": 1.004, "p1": 0.6}, 0.5 - 0.00075),
        (Walker2d(), {"p0": 1.004}, {"p0": 1.0}, -0.5 + 1 - 0.0015),
        # the torso's own x counts; forces of 0.5 and (clipped) 1 and -1
        (Ant(), {"x0": 1.0, "p0": 5}, {"x0": 1.1, "p0": 9}, 2.0 + 1 - 0.5 * 8 * 0.25),
        (Ant(), {}, {"c0": 0.5, "c40": 7.0, "c77": -9.0}, 1 - 1.0 - 5e-4 * 2.25),
        (Ant(), {}, {"p2": 0.1}, -1.0),
    ],
)
def test_reward_in_numbers_worked_out_by_hand(task, before, after, expected):
    action = np.full(task.action_space.shape, 0.5)
    start, end = state_of(task, **before), state_of(task, **after)
    assert task.reward(start, action, end) == pytest.approx(expected, rel=1e-12)
    batch = task.reward(np.tile(start, (2, 3, 1)), np.tile(action, (2, 3, 1)), end)
    np.testing.assert_array_equal(batch, task.reward(start, action, end))


@pytest.mark.parametrize(
    ("task", "numbers", "has_fallen"),
    [
        (HalfCheetah(), {"p1": -9.0, "p2": 3.1, "v0": 1e6}, False),
        (Hopper(), {"p1": 0.7}, True),  # strictly above
        (Hopper(), {"p1": np.nextafter(0.7, 1)}, False),
        (Hopper(), {"p1": 1e9}, False),
        (Hopper(), {"p1": np.inf}, True),
        (Hopper(), {"p2": 0.2}, True),
        (Hopper(), {"p2": -0.2}, True),
        (Hopper(), {"p2": -0.1999}, False),
        (Hopper(), {"p0": 1e9}, False),  # x may be anything
        (Hopper(), {"p3": 100.0}, True),
        (Hopper(), {"v5": -100.0}, True),
        (Hopper(), {"v5": -99.9}, False),
        (Hopper(), {"v2": np.nan}, True),
        (Walker2d(), {"p1": 0.8}, True),
        (Walker2d(), {"p1": 0.8001}, False),
        (Walker2d(), {"p1": 2.0}, True),
        (Walker2d(), {"p2": 1.0}, True),
        (Walker2d(), {"p2": -1.0}, True),
        (Walker2d(), {"p2": -0.999, "v3": 1e6}, False),
        (Ant(), {"p2": 0.2}, False),  # the bounds themselves are healthy
        (Ant(), {"p2": np.nextafter(0.2, 0)}, True),
        (Ant(), {"p2": 1.0}, False),
        (Ant(), {"p2": 1.0001}, True),
        (Ant(), {"v13": np.nan}, True),
        (Ant(), {"p0": np.inf}, True),
        (Ant(), {"c5": 1e9}, False),
    ],
)
def test_robot_has_fallen_exactly_where_gymnasium_says_so(task, numbers, has_fallen):
    state = state_of(task, **numbers)
    assert bool(task.terminated(state)) is has_fallen
    np.testing.assert_array_equal(task.terminated(np.tile(state, (2, 1))), has_fallen)
    assert not task.success(state)


def test_velocities_of_bipeds_and_forces_on_ants_are_clipped_in_the_observation():
    for task in (Hopper(), Walker2d()):
        obs = task.observe(state_of(task, p3=20.0, v0=-11.0, v1=9.5, v5=1e3))
        first = task.num_positions - 1
        assert obs[2] == 20.0
        assert obs[[first, first + 1, first + 5]].tolist() == [-10.0, 9.5, 10.0]
    cheetah = HalfCheetah().observe(state_of(HalfCheetah(), v0=-11.0))
    assert cheetah[8] == -11.0
    obs = Ant().observe(state_of(Ant(), v0=-11.0, c0=-3.0, c77=0.25, x0=8.0, p1=8.0))
    assert obs[[13, 27, 104]].tolist() == [-11.0, -1.0, 0.25] and 8.0 not in obs


@given(
    st.integers(1, 128), st.integers(1, 300), st.sampled_from("fd"), st.integers(0, 99)
)
def test_sum_has_the_bits_of_numpys_over_one_row_in_any_layout(size, rows, dtype, seed):
    values = np.random.default_rng(seed).normal(size=(rows, size)).astype(dtype)
    expected = np.array([np.sum(row) for row in values])
    wide = np.tile(values, 2)[:, :size]
    for layout in (values, np.asfortranarray(values), wide, values[None]):
        np.testing.assert_array_equal(row_sum(layout).ravel(), expected)


# --------------------------------------------------------------------- rows of a batch
def follow(env: LocomotionVectorEnv, actions: np.ndarray) -> list[tuple[Any, ...]]:
    return [env.step(action)[:4] for action in actions]


def assert_steps_equal(first: list[Any], second: list[Any]) -> None:
    for left, right in zip(first, second, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_rows_go_back_to_a_moment_exactly_whatever_the_threads(name):
    env = ours(name, 3, autoreset_mode="same_step")
    env.reset(seed=0)
    actions = hard_actions(name, 120)
    follow(env, actions[:40])
    moment = env.snapshot()
    first = follow(env, actions[40:])
    if name != "HalfCheetah":
        assert np.array([step[2] for step in first]).any()
    if name == "Ant":
        assert np.array([step[0][:, 27:] for step in first]).any()  # contacts
    env.restore(moment)
    assert_steps_equal(first, follow(env, actions[40:]))
    other = ours(name, 3, autoreset_mode="same_step", num_threads=2)
    other.restore(moment)
    assert_steps_equal(first, follow(other, actions[40:]))


def test_copies_of_an_ant_in_contact_go_on_exactly():
    env = ours("Ant", 3)
    env.reset(seed=0)
    actions = hard_actions("Ant", 60)
    seen = follow(env, actions[:45])
    assert seen[-1][0][:, 27:].any()
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    first = follow(env, actions[45:])
    for twin in twins:
        assert_steps_equal(first, follow(twin, actions[45:]))


def test_contact_forces_do_not_depend_on_which_rows_step_along():
    together, apart = (ours("Ant", 3, autoreset_mode="disabled") for _ in range(2))
    together.reset(seed=3)
    apart.reset(seed=3)
    apart.halt(np.array([0]))
    actions = hard_actions("Ant", 60)
    left, right = (
        np.array([step[0] for step in follow(env, actions)])
        for env in (together, apart)
    )
    np.testing.assert_array_equal(left[:, 1:], right[:, 1:])
    assert left[:, 1:, 27:].any() and not right[:, 0, 27:].any()


def test_row_that_blows_up_is_told_apart_and_says_nothing_of_its_step():
    env = ours("Walker2d", 3, autoreset_mode="disabled")
    env.reset(seed=0)
    env.simulation.qvel[1, 3] = 1e12
    _, reward, terminated, truncated, info = env.step(np.ones((3, 6)))
    assert truncated.tolist() == info["sim_unstable"].tolist() == [False, True, False]
    assert reward[1] == 0 and not terminated[1]
    assert info["_x_velocity"].tolist() == [True, False, True]
    assert info["reward_ctrl"].tolist() == [-6e-3, 0.0, -6e-3]


def test_actions_beyond_the_bounds_are_clipped_and_cost_as_much_as_the_bounds():
    env = ours("HalfCheetah", 2)
    env.reset(seed=[0, 0])
    obs, reward, *_ = env.step(np.array([[1.0] * 6, [3.0] * 6]))
    np.testing.assert_array_equal(obs[0], obs[1])
    assert reward[0] == reward[1]


def test_no_row_need_be_reset():
    env = ours("Hopper", 2)
    obs, _ = env.reset(seed=0)
    again, _ = env.reset(options={"reset_mask": np.zeros(2, bool)})
    np.testing.assert_array_equal(again, obs)


def test_starting_from_a_state_begins_a_new_episode_in_those_rows_only():
    env = ours("HalfCheetah", 2, autoreset_mode="disabled")
    fresh_obs = env.reset_to(np.full((2, 9), 0.1), np.zeros((2, 9)))  # before any reset
    np.testing.assert_array_equal(fresh_obs[:, :8], 0.1)
    before = env.step(np.ones((2, 6)))[0]
    env.reset_to(np.zeros((1, 9)), np.ones((1, 9)), np.array([1]))
    moment = env.snapshot().state
    assert moment["elapsed"].tolist() == [1, 0] and moment["returns"][1] == 0
    env.halt(np.array([0, 1]))
    obs = env.step(np.ones((2, 6)))[0]
    np.testing.assert_array_equal(obs[0], before[0])
    np.testing.assert_array_equal(obs[1], [0.0] * 8 + [1.0] * 9)


@pytest.mark.parametrize(
    ("qpos", "qvel", "message"),
    [
        (np.zeros((2, 8)), np.zeros((2, 9)), r"qpos must be .* \(2, 9\), got shape"),
        (np.zeros((2, 9)), np.zeros((1, 9)), r"qvel must be .* \(2, 9\), got shape"),
        (np.full((2, 9), np.nan), np.zeros((2, 9)), "18 not finite"),
    ],
)
def test_starting_from_what_is_no_state_is_refused(qpos, qvel, message):
    with pytest.raises(ValueError, match=message):
        ours("HalfCheetah", 2).reset_to(qpos, qvel)


def test_unknown_robot_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"robot must be one of \['HalfCheetah'"):
        LocomotionVectorEnv(1, robot="Humanoid")
