"""Models of this suite's own tasks: one reward for simulator and model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

import suite  # noqa: F401  (registers the ids)
from suite.envs.locomotion import HalfCheetah, Hopper
from suite.parts import Part
from suite.worldmodels.ensemble import Ensemble, GaussianEnsemble
from suite.worldmodels.experience import Experience
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.model_env import ModelEnv
from suite.worldmodels.propagation import TS1, Mean
from suite.worldmodels.stored import save_dynamics

TASKS: list[tuple[str, Any]] = [
    ("BatchedHopper-v5", Hopper()),
    ("BatchedHalfCheetah-v5", HalfCheetah()),
]


def random_steps(env_id: str, steps: int = 60) -> Experience:
    """Named states of random steps of one environment."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    columns: list[list[Any]] = [[], [], [], [], []]
    ended, info = True, {}
    for step in range(steps):
        if ended:
            _, info = env.reset(seed=step)
        action, state = env.action_space.sample(), info["state"]
        _, reward, terminated, truncated, info = env.step(action)
        found = (state, action, reward, info["state"], terminated)
        for column, value in zip(columns, found, strict=True):
            column.append(value)
        ended = terminated or truncated
    return Experience.of(*(np.array(column) for column in columns))


def dynamics_of(env_id: str, task: Any) -> tuple[LearnedDynamics, Experience]:
    data = random_steps(env_id)
    observed = task.observation_space.shape[0]
    ensemble = GaussianEnsemble(
        2,
        observed + data.actions.shape[1],
        data.states.shape[1],
        hidden=(8,),
        generator=torch.Generator().manual_seed(0),
    )
    dynamics = LearnedDynamics.of_task(ensemble, task)
    dynamics.refresh(data)
    return dynamics, data


@pytest.mark.parametrize(("env_id", "task"), TASKS)
def test_numpy_and_torch_rewards_agree_with_the_environments(env_id, task):
    dynamics, data = dynamics_of(env_id, task)
    model: Any = TS1(dynamics)
    # What happened, settled by the model's functions, is what the environment said.
    _, reward, terminated = dynamics.settle(data.states, data.actions, data.next_states)
    np.testing.assert_allclose(reward, data.rewards, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(terminated, data.terminated > 0)
    # And what the model imagines is rewarded as NumPy would.
    with torch.no_grad():
        found = model.step(model.start(data.states), data.actions)
    after = found.next_z.state.double().numpy()
    before, action = data.states.double().numpy(), data.actions.double().numpy()
    expected = task.reward(before, action, after)
    np.testing.assert_allclose(found.reward, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found.terminated, task.terminated(after))
    np.testing.assert_allclose(
        model.observe(found.next_z), task.observe(after), rtol=1e-5, atol=1e-5
    )


def test_an_observation_that_is_the_state_is_left_out():
    same = replace(Hopper(), observation_space=HalfCheetah().observation_space)
    object.__setattr__(same, "observe", lambda state: state.double())
    functions = LearnedDynamics.of_task(Ensemble(1, 15, 12), same).functions
    assert functions["observe"] is functions["features"] is None
    other = LearnedDynamics.of_task(Ensemble(1, 14, 12), Hopper()).functions
    assert other["observe"] is not None
    # Hopper's clips velocities: equal for small states alone.
    object.__setattr__(same, "observe", lambda state: state.clip(-10, 10))
    functions = LearnedDynamics.of_task(Ensemble(1, 15, 12), same).functions
    assert functions["observe"] is not None


def test_an_environment_of_a_named_state_starts_in_it_and_is_data(tmp_path):
    env_id, task = TASKS[0]
    dynamics, _ = dynamics_of(env_id, task)
    save_dynamics(dynamics, tmp_path / "hopper")
    loading = {
        "folder": str(tmp_path / "hopper"),
        "task": Part("suite.envs.locomotion:Hopper"),
    }
    loaded = Part("suite.worldmodels.stored:load_dynamics", loading)
    env: Any = ModelEnv(
        gym.make(env_id),
        Part("suite.worldmodels.propagation:Mean", {"dynamics": loaded}),
    )
    again: Any = gym.make(EnvSpec.from_json(env.spec.to_json()))
    live: Any = ModelEnv(gym.make(env_id), Mean(dynamics))
    real = gym.make(env_id)
    expected, info = real.reset(seed=4)
    assert env.row.batch.task.max_episode_steps == 1000
    for each in (env, again, live):
        obs, _ = each.reset(seed=4)
        np.testing.assert_allclose(obs, expected, rtol=1e-6, atol=1e-6)
        z = each.row.batch.simulation.z
        np.testing.assert_allclose(z.state[0], info["state"], rtol=1e-6, atol=1e-6)
    action = np.full(3, 0.3, np.float32)
    steps = [each.step(action) for each in (env, again, live)]
    for step in steps[1:]:
        np.testing.assert_array_equal(step[0], steps[0][0])
        assert step[1:4] == steps[0][1:4]
