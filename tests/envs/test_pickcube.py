"""PickCube's task: reset, observation, action, reward, success and the time limit."""

from __future__ import annotations

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from scripted_pick import grasping

import suite
from suite.envs import pickcube
from suite.envs.pickcube import PickCubeSimulation, PickCubeVectorEnv

RESETS = 2000


def test_registering_needs_only_the_import_of_the_package():
    assert suite.envs
    env = gym.make("PickCube-v0")
    assert env.observation_space == gym.spaces.Box(-np.inf, np.inf, (42,), np.float32)
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (8,), np.float32)
    assert gym.make("suite:PickCube-v0").spec == env.spec


# ------------------------------------------------------------------------------- reset
@pytest.fixture(scope="module")
def resets() -> PickCubeSimulation:
    simulation = PickCubeSimulation(RESETS)
    rngs = [np.random.default_rng(row) for row in range(RESETS)]
    simulation.reset(np.arange(RESETS), rngs)
    return simulation


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    """Within the bounds, and each tenth of the range holds a tenth of the values."""
    assert low <= values.min() and values.max() < high
    counts = np.histogram(values, 10, (low, high))[0]
    # Binomial(2000, 0.1): 200 with a standard deviation of 13; 60 is 4.5 of them.
    assert np.abs(counts - RESETS / 10).max() < 60


def test_arm_starts_near_rest_with_open_fingers_and_no_speed(resets):
    noise = resets.qpos[:, :7] - pickcube.ARM_REST
    # Standard errors of 14,000 draws: 1.7e-4 of the mean, 1.2e-4 of the deviation.
    assert noise.mean() == pytest.approx(0, abs=7e-4)
    assert noise.std() == pytest.approx(0.02, abs=5e-4)
    correlation = np.corrcoef(noise.T) - np.eye(7)
    assert np.abs(correlation).max() < 0.1  # 4.5 standard errors of 2000 draws
    np.testing.assert_array_equal(resets.qpos[:, 7:9], 0.04)
    np.testing.assert_array_equal(resets.qvel, 0.0)


def test_cube_starts_flat_on_the_table_anywhere_in_its_square(resets):
    assert_uniform(resets.qpos[:, 9], -0.1, 0.1)
    assert_uniform(resets.qpos[:, 10], -0.1, 0.1)
    np.testing.assert_array_equal(resets.qpos[:, 11], 0.02)
    quat = resets.qpos[:, 12:16]
    np.testing.assert_array_equal(quat[:, 1:3], 0.0)
    assert (quat[:, 3] >= 0).all()
    assert_uniform(2 * np.arctan2(quat[:, 3], quat[:, 0]), 0, 2 * np.pi)


def test_goal_is_anywhere_above_the_square_and_apart_from_the_cube(resets):
    goal = resets.extra[:, resets.GOAL]
    assert_uniform(goal[:, 0], -0.1, 0.1)
    assert_uniform(goal[:, 1], -0.1, 0.1)
    assert_uniform(goal[:, 2], 0.02, 0.32)
    placed = np.column_stack([goal, resets.qpos[:, 9:11], resets.qpos[:, 15]])
    correlation = np.corrcoef(placed.T) - np.eye(6)
    assert np.abs(correlation).max() < 0.1  # 4.5 standard errors of 2000 draws


def test_a_quarter_of_a_percent_of_resets_have_the_goal_at_the_cube():
    ids, near = np.arange(500), 0
    simulation = PickCubeSimulation(500)
    rngs = [np.random.default_rng(row) for row in ids]
    for _ in range(40):
        simulation.reset(ids, rngs)
        near += (pickcube.norm(simulation.named_state(None)[:, 39:42]) <= 0.025).sum()
    # Half a ball of 25 mm in the box of goals: 0.25 % of 20,000 is 50, deviation 7.
    assert 25 < near < 75


def test_standing_still_succeeds_only_where_the_goal_is_at_the_cube():
    env = PickCubeVectorEnv(1500, autoreset_mode="disabled")
    _, info = env.reset(seed=1)
    near = pickcube.norm(info["state"][:, pickcube.OBJ_TO_GOAL]) <= 0.025
    assert 0 < near.sum() < 15
    steps = [env.step(np.zeros((1500, 8), np.float32)) for _ in range(3)]
    np.testing.assert_array_equal(steps[-1][2], near)


# ------------------------------------------------------------- observation and action
def test_observation_is_the_documented_vector():
    env, _, obs = grasping(6, autoreset_mode="disabled")
    simulation = env.simulation
    assert isinstance(simulation, PickCubeSimulation)
    assert obs.dtype == np.float32 and obs.shape == (6, 42)
    model = pickcube.scene_model(with_visuals=False)
    data = mujoco.MjData(model)
    for row in range(6):
        data.qpos[:], data.qvel[:] = simulation.qpos[row], simulation.qvel[row]
        mujoco.mj_forward(model, data)
        tool, cube = data.site("tcp").xpos, data.body("cube").xpos
        goal = simulation.extra[row, :3]
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, data.site("tcp").xmat)
        expected = np.concatenate(
            [
                data.qpos[:9],
                data.qvel[:9],
                [obs[row, 18]],
                tool,
                quat * np.sign(quat[1]),
                goal,
                cube,
                data.qpos[12:16],
                cube - tool,
                goal - cube,
            ]
        )
        np.testing.assert_allclose(obs[row], expected, atol=1e-6)
    assert set(obs[:, 18]) == {0.0, 1.0}


def test_action_moves_joints_from_where_they_are_and_sets_the_fingers():
    simulation = PickCubeSimulation(3)
    simulation.reset(np.arange(3), [np.random.default_rng(row) for row in range(3)])
    action = np.zeros((3, 8))
    action[0, 2], action[1, 5] = 1.0, -0.5
    action[:, 7] = [-1.0, 1.0, 0.0]
    control = simulation.control(None, action)
    turned = control[:, :7] - simulation.qpos[:, :7]
    expected = np.zeros((3, 7))
    expected[0, 2], expected[1, 5] = 0.1, -0.05
    np.testing.assert_allclose(turned, expected, atol=1e-15)
    np.testing.assert_allclose(control[:, 7], [-0.01, 0.04, 0.015], atol=1e-15)
    np.testing.assert_array_equal(control[:, 7], control[:, 8])


def test_action_is_clipped_to_the_box():
    outside = np.full((2, 8), 7.0, np.float32)
    outside[:, ::2] = -3.0
    steps = []
    for action in (outside, np.clip(outside, -1, 1)):
        env = PickCubeVectorEnv(2)
        env.reset(seed=0)
        steps.append(env.step(action)[0])
    np.testing.assert_array_equal(*steps)


# ------------------------------------------------------------------ reward and success
def state(
    *,
    tool_to_cube: float = 0.1,
    cube_to_goal: float = 0.2,
    speed: float = 0.0,
    finger_speed: float = 0.0,
    grasped: bool = False,
) -> np.ndarray:
    """A state (42,) with what reward and success look at; distances in m, rad/s."""
    vector = np.zeros(42)
    vector[9], vector[16] = speed, finger_speed
    vector[18] = grasped
    vector[36], vector[41] = tool_to_cube, -cube_to_goal
    return vector


# tanh by hand: 0.5 -> 0.46211716, 1 -> 0.76159416, 0.1 -> 0.09966799, 2.5 -> 0.98661430
@pytest.mark.parametrize(
    ("vector", "reward"),
    [
        pytest.param(state(), 0.53788284 / 5, id="reach"),
        pytest.param(state(tool_to_cube=0.0), 1 / 5, id="reach-arrived"),
        pytest.param(
            state(grasped=True), (0.53788284 + 1 + 0.23840584) / 5, id="grasp-carry"
        ),
        pytest.param(
            state(grasped=True, cube_to_goal=0.02, speed=0.5),
            (0.53788284 + 1 + 0.90033201 + 0.01338570) / 5,
            id="at-goal-moving",
        ),
        pytest.param(
            state(cube_to_goal=0.02, speed=0.5),
            (0.53788284 + 0.01338570) / 5,
            id="at-goal-moving-not-grasped",
        ),
        pytest.param(state(grasped=True, cube_to_goal=0.02), 1.0, id="success"),
        pytest.param(state(cube_to_goal=0.02), 1.0, id="success-without-a-grasp"),
        pytest.param(
            state(grasped=True, speed=0.5), (0.53788284 + 1 + 0.23840584) / 5, id="fast"
        ),
    ],
)
def test_dense_reward_of_each_stage(vector, reward):
    action = np.zeros(8)
    got = pickcube.normalized_dense_reward(state(), action, vector)
    assert got == pytest.approx(reward, abs=1e-8)
    rows = pickcube.normalized_dense_reward(
        np.tile(state(), (2, 3, 1)), action, np.tile(vector, (2, 3, 1))
    )
    np.testing.assert_array_equal(rows, np.full((2, 3), got))


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        (state(cube_to_goal=0.025), True),
        (state(cube_to_goal=0.02501), False),
        (state(cube_to_goal=0.0, speed=0.2), True),
        (state(cube_to_goal=0.0, speed=-0.2), True),
        (state(cube_to_goal=0.0, speed=0.201), False),
        (state(cube_to_goal=0.0, speed=-0.201), False),
        (state(cube_to_goal=0.0, finger_speed=1.0), True),
    ],
)
def test_success_is_within_25_mm_with_every_arm_joint_below_the_limit(vector, expected):
    assert pickcube.success(vector) == expected
    assert pickcube.sparse_reward(state(), np.zeros(8), vector) == float(expected)
    assert pickcube.PickCube().terminated(vector) == expected


def test_speed_of_the_last_arm_joint_counts_too():
    vector = state(cube_to_goal=0.0)
    vector[15] = 0.21
    assert not pickcube.success(vector)


@pytest.mark.parametrize("mode", ["normalized_dense", "sparse"])
def test_rewards_of_a_whole_pick(mode):
    env, scripts, obs = grasping(
        12, steps=0, reward_mode=mode, autoreset_mode="disabled"
    )
    succeeded = np.zeros(12, bool)
    for _ in range(50):
        running = ~succeeded
        obs, reward, terminated, _, info = env.step(scripts.act(obs))
        np.testing.assert_array_equal(info["is_success"], terminated)
        # A success is worth 1 once, nothing else is worth that much.
        np.testing.assert_array_equal(reward == 1, terminated & running)
        if mode == "sparse":
            assert set(reward) <= {0.0, 1.0}
        succeeded = terminated
    assert succeeded.all()


def test_episode_is_truncated_after_exactly_fifty_steps():
    env = PickCubeVectorEnv(2, autoreset_mode="disabled")
    env.reset(seed=0)
    ends = [env.step(np.zeros((2, 8)))[3].tolist() for _ in range(50)]
    assert ends == [[False, False]] * 49 + [[True, True]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"reward_mode": "dense"},
            "reward_mode must be one of .*'sparse'.*got 'dense'",
        ),
        ({"render_mode": "ansi"}, "render_mode must be one of .*'rgb_array'"),
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"num_threads": -1}, "num_threads must be at least 1, got -1"),
    ],
)
def test_unknown_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        PickCubeVectorEnv(**arguments)
