"""The robots' functions on torch tensors, and Stable-Baselines3's checker."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import suite  # noqa: F401  registers the ids
from suite.envs.locomotion_env import ROBOTS

torch = pytest.importorskip("torch")


def states_and_actions(name: str) -> tuple[Any, Any, Any, Any]:
    """A task, and random (states, actions, next states) about its thresholds."""
    task, rng = ROBOTS[name][0](), np.random.default_rng(0)
    size = 109 if name == "Ant" else task.num_positions + task.num_velocities
    states = rng.normal(0, 1.5, (2, 400, size))
    states[..., 1:3] = rng.uniform(-1.5, 1.5, (2, 400, 2))
    return (
        task,
        states[0],
        rng.uniform(-1, 1, (400, *task.action_space.shape)),
        states[1],
    )


@pytest.mark.parametrize("name", ROBOTS)
def test_functions_in_torch_equal_those_in_numpy(name):
    task, *arrays = states_and_actions(name)
    tensors = [torch.as_tensor(array) for array in arrays]
    np.testing.assert_allclose(
        task.reward(*tensors).numpy(), task.reward(*arrays), rtol=0, atol=1e-12
    )
    fallen = task.terminated(arrays[2])
    assert 0 < fallen.mean() < 1 or name == "HalfCheetah"
    np.testing.assert_array_equal(task.terminated(tensors[2]).numpy(), fallen)
    np.testing.assert_array_equal(task.success(tensors[2]).numpy(), False)
    observed = task.observe(tensors[2])
    np.testing.assert_array_equal(observed.numpy(), task.observe(arrays[2]))
    expected = task.details(*arrays)
    for key, values in task.details(*tensors).items():
        np.testing.assert_allclose(values.numpy(), expected[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ROBOTS)
def test_reward_is_differentiable_in_float32(name):
    task, state, action, next_state = states_and_actions(name)
    tensors = [torch.as_tensor(a).float() for a in (state, action, next_state)]
    inputs = [tensor.requires_grad_() for tensor in tensors]
    reward = task.reward(*inputs)
    assert reward.dtype == torch.float32
    reward.sum().backward()
    torch.testing.assert_close(inputs[1].grad, -2 * task.control_weight * inputs[1])
    assert (inputs[2].grad[:, task.tracked_x] > 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ROBOTS)
def test_stable_baselines3_has_nothing_to_say_about_the_environment(name):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = gym.make(f"Batched{name}-v5").unwrapped
    checker.check_env(env, skip_render_check=True)
