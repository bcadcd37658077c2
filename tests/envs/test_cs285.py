"""The course's three tasks: their numbers, and other ways to compute the same."""

from __future__ import annotations

import math
from statistics import NormalDist

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from suite.envs import cheetah, obstacles, reacher
from suite.envs.batch import BatchEnv

EPISODES = 400
# Mean and standard deviation of a random episode's return, measured on the course's own
# environments. How many episodes that took was not recorded, hence a margin.
SHEET = {
    "CS285-Obstacles-v0": (-167.0, 33.0),
    "CS285-Reacher-v0": (-1872.0, 463.0),
    "CS285-Cheetah-v0": (-2555.0, 381.0),
}
MARGIN = 0.06  # of the mean
MASSES = [24.31, 10.47, 0.285, 5.43, 1.357, 0.285, 2.809, 0.0168, 2.145]  # kg


def rows(env_id: str, num_envs: int) -> BatchEnv:
    env = gym.make_vec(
        env_id,
        num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode="disabled",
    )
    assert isinstance(env, BatchEnv)
    env.reset(seed=0)
    return env


def random_returns(env: BatchEnv) -> np.ndarray:
    box, rng = env.action_space, np.random.default_rng(1)
    returns, ended = np.zeros(env.num_envs), np.zeros(env.num_envs, bool)
    while not ended.all():
        _, rewards, terminated, truncated, _ = env.step(rng.uniform(box.low, box.high))
        returns, ended = returns + rewards, terminated | truncated
    return returns


@pytest.mark.slow
@pytest.mark.parametrize("env_id", SHEET)
def test_random_returns_are_the_sheets(env_id):
    mean, deviation = SHEET[env_id]
    returns, margin = random_returns(rows(env_id, EPISODES)), MARGIN * abs(mean)
    error = returns.std(ddof=1) / math.sqrt(EPISODES)
    # Two one-sided tests at 1 %: an environment whose mean is off by the margin passes
    # once in a hundred times, one whose mean is the sheet's nearly always.
    critical = NormalDist().inv_cdf(0.99)
    power = 2 * NormalDist().cdf(margin / error - critical) - 1
    assert power > 0.99
    assert abs(returns.mean() - mean) + critical * error < margin
    # A standard deviation of 400 episodes is known to 3.5 %, of the sheet's to more.
    assert 0.75 < returns.std(ddof=1) / deviation < 1.33


# --------------------------------------------------------------------------- obstacles
def refused(x: float, y: float) -> bool:
    if not (-0.99 < x < 0.99 and -0.99 < y < 0.99):
        return True
    corners = [(-0.4, 0.5, 0.0, 0.8), (-0.9, -0.3, -0.7, 0.3), (0.6, -0.5, 0.72, -0.1)]
    corners += [(-0.1, -0.2, 0.05, 0.2), (0.1, -0.85, 0.4, -0.7)]
    # To the last bit, the same numbers may be sums or be written out.
    return any(
        left < x < right and low < y < high for left, low, right, high in corners
    )


def test_obstacles_steps_like_its_rules():
    env, rng = rows("CS285-Obstacles-v0", 30), np.random.default_rng(0)
    positions = env.reset(seed=3)[1]["state"][:, :2].copy()
    assert not any(refused(x, y) for x, y in positions)
    refusals, info = 0, {}
    for _ in range(60):
        actions = rng.uniform(-1, 1, (30, 2))
        _, rewards, terminated, _, info = env.step(actions)
        for row in range(30):
            if np.hypot(*(positions[row] - (0.7, -0.8))) < 0.1:
                continue  # the episode is over
            moved = positions[row] + np.clip(actions[row], -0.99, 0.99) / 10
            if refused(*moved):
                refusals += 1
            else:
                positions[row] = moved
            distance = np.hypot(*(positions[row] - (0.7, -0.8)))
            assert rewards[row] == pytest.approx(-distance, abs=1e-6)
            assert terminated[row] == (distance < 0.1)
        np.testing.assert_allclose(info["state"][:, :2], positions, atol=1e-6)
    assert refusals > 100
    np.testing.assert_array_equal(info["state"][:, 2:], [[0.7, -0.8]] * 30)


def test_obstacles_starts_at_random_or_in_one_place():
    starts = rows("CS285-Obstacles-v0", 2000).reset(seed=0)[0][:, :2]
    assert (starts >= [-0.99, 0.26]).all() and (starts <= [0.59, 0.99]).all()
    assert (starts.max(axis=0) > [0.55, 0.95]).all()
    fixed = gym.make("CS285-Obstacles-v0", random_starts=False)
    np.testing.assert_allclose(fixed.reset(seed=1)[0], [-0.5, 0.75, 0.7, -0.8])


def test_obstacles_ends_at_the_goal():
    env = rows("CS285-Obstacles-v0", 1)
    snapshot = env.snapshot()
    snapshot.state["simulation"][0] = [0.62, -0.62, 0.7, -0.8]
    env.restore(snapshot)
    _, reward, terminated, _, info = env.step(np.array([[0.5, -0.9]]))
    assert reward == pytest.approx(-math.hypot(0.03, 0.09))
    assert terminated[0] and info["is_success"][0]


# ----------------------------------------------------------------------------- reacher
def test_reachers_bodies_weigh_what_the_sheet_says():
    model = reacher.arm_model()
    np.testing.assert_allclose(model.body_mass[1:], MASSES, rtol=3e-3)
    assert model.opt.timestep == 0.01 and (model.opt.gravity == 0).all()
    np.testing.assert_array_equal(model.dof_armature, 0.004)
    np.testing.assert_array_equal(model.dof_damping, [2.0] + 6 * [0.8])


def test_reacher_starts_stretched_out_and_stays_without_torque():
    env = rows("CS285-Reacher-v0", 1)
    obs, _ = env.reset(seed=0)
    assert np.linalg.norm(obs[0, 14:17] - obs[0, 17:]) == pytest.approx(
        1.0099, abs=1e-4
    )
    total = sum(float(env.step(np.zeros((1, 7)))[1][0]) for _ in range(200))
    assert total == pytest.approx(-2020, abs=0.5)


def test_reacher_has_the_bits_of_mujocos_own_loop():
    env, rng = gym.make("CS285-Reacher-v0"), np.random.default_rng(0)
    env.reset(seed=0)
    data = mujoco.MjData(reacher.arm_model())
    mujoco.mj_step(reacher.arm_model(), data, nstep=2)
    for _ in range(50):
        action = rng.uniform(-1, 1, 7).astype(np.float32)
        data.ctrl[:] = action
        mujoco.mj_step(reacher.arm_model(), data, nstep=2)
        finger, target = data.site("finger").xpos, data.site("target").xpos
        _, reward, *_, info = env.step(action)
        expected = [*data.qpos, *(data.qvel / 10), *finger, *target]
        np.testing.assert_allclose(info["state"], expected, rtol=0, atol=1e-15)
        assert reward == pytest.approx(-10 * np.linalg.norm(finger - target))


def test_reachers_observation_tells_where_the_finger_was_seen():
    env, rng = rows("CS285-Reacher-v0", 1), np.random.default_rng(0)
    data = mujoco.MjData(reacher.arm_model())
    for _ in range(20):
        state = env.step(rng.uniform(-1, 1, (1, 7)))[-1]["state"][0]
        data.qpos[:] = state[reacher.QPOS] - 0.01 * 10 * state[reacher.QVEL]
        mujoco.mj_kinematics(reacher.arm_model(), data)
        np.testing.assert_allclose(
            state[reacher.FINGER], data.site("finger").xpos, atol=1e-12
        )


# ----------------------------------------------------------------------------- cheetah
def test_cheetah_is_gymnasiums_at_frame_skip_1():
    ours = gym.make("CS285-Cheetah-v0")
    theirs = gym.make(
        "HalfCheetah-v5",
        frame_skip=1,
        exclude_current_positions_from_observation=False,
        reset_noise_scale=0.1,
    ).unwrapped
    _, info = ours.reset(seed=4)
    obs, _ = theirs.reset(seed=4)
    torso = theirs.data.body("torso").xpos
    np.testing.assert_array_equal(info["state"], [*obs, *torso])
    rng = np.random.default_rng(0)
    for _ in range(100):
        action = rng.uniform(-1, 1, 6).astype(np.float32)
        obs, *_ = theirs.step(action)
        _, reward, *_, info = ours.step(action)
        np.testing.assert_array_equal(info["state"], [*obs, *torso])
        violations = sum(map(int, (obs[6] > 0.2, obs[7] > 0, obs[8] > 0)))
        assert reward == pytest.approx(obs[9] - 10 * violations)


def test_each_raised_front_joint_costs_ten():
    state = np.zeros((5, 21))
    state[:, 9] = 1.5
    state[1, 6], state[2, 7], state[3, 8] = 0.21, 0.01, 0.01
    state[4, 6:9] = 0.21
    rewards = cheetah.reward(state, np.zeros((5, 6)), state)
    np.testing.assert_allclose(rewards, [1.5, -8.5, -8.5, -8.5, -28.5])


# --------------------------------------------------------------------- NumPy and torch
@pytest.mark.parametrize(
    "task", [obstacles.Obstacles(), reacher.Reacher(), cheetah.Cheetah()]
)
def test_functions_in_torch_equal_those_in_numpy(task):
    torch = pytest.importorskip("torch")
    size, num_actions = task.observation_space.shape[0], task.action_space.shape[0]
    rng = np.random.default_rng(0)
    state, following = rng.normal(0, 0.3, (2, 3, 200, size))
    action = rng.uniform(-1, 1, (3, 200, num_actions))
    if size == obstacles.STATE_SIZE:
        state[..., :2] = 0.3 * state[..., :2] + state[..., 2:]  # about the goal
    args = (state, action, following)
    rewards = task.reward(*args)
    assert rewards.shape == (3, 200)
    in_torch = [torch.as_tensor(each) for each in args]
    np.testing.assert_allclose(task.reward(*in_torch), rewards, atol=1e-12)
    for function in (task.terminated, task.success, task.observe):
        expected, got = function(state), function(in_torch[0])
        np.testing.assert_array_equal(got.numpy(), expected)
    assert bool(task.success(state).any()) is (size == obstacles.STATE_SIZE)


def test_dynamics_of_obstacles_in_torch_equal_those_in_numpy():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    state, action = rng.uniform(-1, 1, (500, 4)), rng.uniform(-1.2, 1.2, (500, 2))
    expected = obstacles.next_state(state, action)
    got = obstacles.next_state(torch.as_tensor(state), torch.as_tensor(action))
    np.testing.assert_array_equal(got.numpy(), expected)
    stayed = (expected == state).all(axis=1)
    assert 10 < stayed.sum() < 490


@pytest.mark.parametrize("env_id", SHEET)
def test_less_than_one_row_is_refused(env_id):
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        rows(env_id, 0)


def test_scenes_show_the_row_as_it_stands():
    env = obstacles.ObstaclesVectorEnv(2, autoreset_mode="disabled")
    state = env.reset(seed=0)[1]["state"]
    model, data = env.scene(1)
    assert (model.geom_type == mujoco.mjtGeom.mjGEOM_BOX).sum() == 1 + 5  # a floor
    np.testing.assert_array_equal(data.body("point").xpos[:2], state[1, :2])
    np.testing.assert_array_equal(data.body("goal").xpos[:2], [0.7, -0.8])
    for make in (reacher.ReacherVectorEnv, cheetah.CheetahVectorEnv):
        env = make(2, autoreset_mode="disabled")
        info, box = env.reset(seed=0)[1], env.action_space
        for _ in range(3):
            info = env.step(box.sample())[-1]
        num_joints = len(env.scene(1)[1].qpos)
        shown, expected = env.scene(1)[1].qpos, info["state"][1, :num_joints]
        np.testing.assert_array_equal(shown, expected)
