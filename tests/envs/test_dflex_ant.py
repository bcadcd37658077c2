"""DFlexAnt: its numbers are DFlex's, and what stands still is paid as if it ran."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest

import suite  # noqa: F401  registers the ids
from suite.envs import dflex_ant
from suite.envs.batch import BatchEnv

MODEL = dflex_ant.dflex_ant_model()
ROWS = 32


def rows(num_envs: int = ROWS, mode: str = "disabled") -> BatchEnv:
    env = gym.make_vec(
        "DFlexAnt-v0",
        num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=mode,
    )
    assert isinstance(env, BatchEnv)
    return env


def played(steps: int, num_envs: int = 4) -> list[tuple[Any, ...]]:
    """Observations before, rewards, observations after, info, under random actions."""
    env, rng, found = rows(num_envs), np.random.default_rng(0), []
    obs, _ = env.reset(seed=0)
    for _ in range(steps):
        action = rng.uniform(-1, 1, (num_envs, 8)).astype(np.float32)
        after, reward, *_, info = env.step(action)
        found.append((obs, action, reward, after, info))
        obs = after
    return found


# ------------------------------------------------------------------------------ numbers
def test_the_model_has_dflexs_numbers():
    assert MODEL.body_mass.sum() == pytest.approx(182, abs=1)
    assert MODEL.opt.timestep * dflex_ant.SUBSTEPS == pytest.approx(1 / 60)
    assert set(MODEL.actuator_gear[:, 0]) == {200.0}
    assert set(MODEL.dof_armature[6:]) == {0.05} and set(MODEL.dof_damping[6:]) == {1.0}
    assert set(MODEL.geom_friction[:, 0]) == {0.75}
    limits = np.rad2deg(MODEL.jnt_range[1:]).round().tolist()
    hip, bent, other = [-40, 40], [30, 100], [-100, -30]
    assert limits == [hip, bent, hip, other, hip, other, hip, bent]


def test_gymnasiums_own_ant_is_left_alone():
    from suite.envs.locomotion_env import robot_model

    assert robot_model("ant.xml").body_mass.sum() < 1


# -------------------------------------------------------------------------- observation
def test_observations_are_what_mujoco_says():
    data, velocity = mujoco.MjData(MODEL), np.zeros(6)
    for _, action, _, obs, info in played(60, 2):
        state = info["state"][1]
        data.qpos[:], data.qvel[:] = state[:15], state[15:29]
        mujoco.mj_forward(MODEL, data)
        # The velocity of a body in the axes of the world, rotation first.
        mujoco.mj_objectVelocity(MODEL, data, mujoco.mjtObj.mjOBJ_XBODY, 1, velocity, 0)
        axes, aim = data.xmat[1].reshape(3, 3), np.array([1e4, 0.0]) - state[:2]
        ahead = axes[:2, 0] @ aim / math.hypot(*aim)
        expected = [
            [data.xpos[1, 2]],
            np.roll(data.xquat[1], -1),
            velocity[3:],
            velocity[:3],
            state[7:15],
            0.1 * state[21:29],
            [axes[2, 2], ahead],
            action[1],
        ]
        np.testing.assert_allclose(
            obs[1], np.concatenate(expected), rtol=1e-5, atol=1e-5
        )


def test_an_action_turns_its_own_joint():
    env = rows(9)
    env.reset(seed=0)
    start = env.snapshot(np.array([0]))
    env.restore(start[np.zeros(9, int)])
    actions = np.concatenate([np.zeros((1, 8)), np.eye(8)]).astype(np.float32)
    velocities = env.step(actions)[0][:, 19:27]
    more = velocities[1:] - velocities[0]
    assert (np.diag(more) > 0.05).all()
    assert (np.abs(more).argmax(axis=1) == np.arange(8)).all()


# ------------------------------------------------------------------------------- reward
def test_a_step_is_paid_by_what_was_seen_before_it():
    for obs, _, reward, _, info in played(60):
        expected = obs[:, 5] + 0.1 * obs[:, 27] + obs[:, 28] + (obs[:, 0] - 0.27)
        np.testing.assert_allclose(reward, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(info["x_velocity"], obs[:, 5], atol=1e-6)
        terms = [info[f"reward_{n}"] for n in ("forward", "up", "heading", "height")]
        np.testing.assert_allclose(reward, sum(terms), rtol=0, atol=1e-12)


def test_standing_in_the_middle_pays_what_the_formula_says():
    state = np.zeros(37)
    state[2], state[3], state[15] = 0.47, 1.0, 2.0  # upright, ahead, at 2 m/s
    assert dflex_ant.reward(state, None, None) == pytest.approx(2 + 0.1 + 1 + 0.2)
    state[3], state[6] = 0.0, 1.0  # turned around
    assert dflex_ant.reward(state, None, None) == pytest.approx(2 + 0.1 - 1 + 0.2)
    state[6], state[4] = 0.0, 1.0  # rolled over, still pointing ahead
    assert dflex_ant.reward(state, None, None) == pytest.approx(2 - 0.1 + 1 + 0.2)


def test_only_a_torso_near_the_ground_ends_an_episode():
    state = np.zeros((3, 37))
    state[:, 2] = 0.2699, 0.27, 5.0
    assert dflex_ant.terminated(state).tolist() == [True, False, False]


def test_an_episode_that_ends_low_terminates():
    env = rows(2)
    env.reset(seed=0)
    env.simulation.qpos[0, 2] = 0.1  # pyright: ignore[reportAttributeAccessIssue]
    env.simulation.qpos[0, 7:] = 0.0  # pyright: ignore[reportAttributeAccessIssue]
    _, _, terminated, truncated, _ = env.step(np.zeros((2, 8), np.float32))
    assert terminated.tolist() == [True, False] and not truncated.any()


# ------------------------------------------------------------------------------ physics
def test_trajectories_are_those_of_mujoco_alone():
    data = mujoco.MjData(MODEL)
    joints = [MODEL.joint(i).name for i in MODEL.actuator_trnid[:, 0]]
    order = [MODEL.joint(i).name for i in range(1, 9)]
    steps = played(80)
    env = rows(4)
    env.reset(seed=0)
    state = env.task.observe(env.simulation.named_state(None))
    np.testing.assert_array_equal(state, steps[0][0])
    first = env.simulation.named_state(None)[2]
    data.qpos[:], data.qvel[:] = first[:15], first[15:29]
    for _, action, _, _, info in steps:
        data.ctrl[:] = [action[2, order.index(joint)] for joint in joints]
        mujoco.mj_step(MODEL, data, nstep=8)
        np.testing.assert_array_equal(info["state"][2, :15], data.qpos)
        np.testing.assert_array_equal(info["state"][2, 15:29], data.qvel)


def test_episodes_start_where_they_should():
    env = rows(400)
    obs, info = env.reset(seed=0)
    state = info["state"]
    assert np.abs(state[:, :2]).max() <= 0.1 and not obs[:, 29:].any()
    assert 0.65 <= obs[:, 0].min() < 0.66 and 0.84 < obs[:, 0].max() <= 0.85
    tilt = np.rad2deg(2 * np.arccos(obs[:, 4].clip(-1, 1)))
    assert 7 < tilt.max() < 7.6 and 3 < tilt.mean() < 4.5  # of 7.5: the mean is half
    shift = state[:, 7:15] - dflex_ant.START_JOINTS
    for noise, limit in ((shift, 0.2), (state[:, 15:29], 0.25)):
        assert 0.98 * limit < np.abs(noise).max() <= limit
        np.testing.assert_allclose(noise.std(), limit / math.sqrt(3), rtol=0.05)


def test_functions_in_torch_equal_those_in_numpy():
    torch = pytest.importorskip("torch")
    states = np.random.default_rng(0).normal(0, 1, (200, 37))
    tensors = torch.as_tensor(states)
    for function in (dflex_ant.observe, dflex_ant.terminated):
        np.testing.assert_allclose(
            function(tensors).numpy(), function(states), rtol=0, atol=1e-6
        )
    np.testing.assert_allclose(
        dflex_ant.reward(tensors, None, None).numpy(),
        dflex_ant.reward(states, None, None),
    )


# ---------------------------------------------------------------------------- baselines
@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["still", "random"])
def test_standing_still_and_random_play_earn_twelve_hundred(scale):
    # Bounds of the fact sheet, of a replica: 1050 to 1300, and 1180 +- 30 at random.
    env, rng = rows(), np.random.default_rng(1)
    env.reset(seed=0)
    returns, speed = np.zeros(ROWS), np.zeros(ROWS)
    for step in range(1000):
        action = scale * rng.uniform(-1, 1, (ROWS, 8)).astype(np.float32)
        _, reward, terminated, truncated, info = env.step(action)
        returns, speed = returns + reward, speed + info["x_velocity"] / 1000
        assert not terminated.any() and truncated.all() == (step == 999)
    assert 1050 < returns.mean() < 1300
    if scale:
        assert returns.mean() == pytest.approx(1180, abs=30)
    assert np.abs(speed).max() < 0.05  # m/s: nobody ran
