"""A point on a line that must come to the middle: small enough to redo by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

from suite.agents.advantages import GAE, Estimate, Rollout
from suite.agents.ppo import PPO
from suite.envs.batch import BatchEnv

GOAL, STEP, LIMIT = 0.15, 0.3, 20


class PointSimulation:
    """x moves by 0.3 times the action."""

    def __init__(self, num_rows: int):
        self.num_rows = num_rows
        self.x = np.zeros((num_rows, 1))

    def reset(self, ids: np.ndarray, rngs: Any) -> None:
        self.x[ids, 0] = [rng.uniform(-1, 1) for rng in rngs]

    def step(self, ids: np.ndarray | None, action: np.ndarray) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        self.x[rows] = np.clip(self.x[rows] + STEP * action, -1, 1)
        return np.zeros(len(action), bool)

    def named_state(self, ids: np.ndarray | None) -> np.ndarray:
        return self.x[slice(None) if ids is None else ids].copy()

    get_state = named_state

    def set_state(self, ids: np.ndarray | None, state: np.ndarray) -> None:
        self.x[slice(None) if ids is None else ids] = state


def _at_goal(state: np.ndarray) -> np.ndarray:
    return np.abs(state[..., 0]) < GOAL


def _sparse(
    state: np.ndarray, action: np.ndarray, next_state: np.ndarray
) -> np.ndarray:
    return _at_goal(next_state) * 1.0


def _constant(
    state: np.ndarray, action: np.ndarray, next_state: np.ndarray
) -> np.ndarray:
    return np.ones(len(next_state))


def _never(state: np.ndarray) -> np.ndarray:
    return np.zeros(len(state), bool)


@dataclass(frozen=True)
class PointTask:
    """Reward 1 at the goal, which ends the episode."""

    reward: Callable[..., Any] = _sparse
    terminated: Callable[..., Any] = _at_goal
    success: Callable[..., Any] = _at_goal
    max_episode_steps: int = LIMIT
    observation_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-np.inf, np.inf, (1,), np.float32)
    )
    action_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-1.0, 1.0, (1,), np.float32)
    )

    def observe(self, state: np.ndarray) -> np.ndarray:
        return state.astype(np.float32)


def point_env(num_envs: int, mode: str = "disabled", task: Any = None) -> BatchEnv:
    """N points."""
    return BatchEnv(PointSimulation(num_envs), task or PointTask(), autoreset_mode=mode)


def endless_task() -> PointTask:
    """Reward 1 on every step, no end but the time limit."""
    return PointTask(reward=_constant, terminated=_never)


def point_policy(log_std: float = -0.7, seed: int = 0) -> ActorCriticPolicy:
    """A small policy that drifts to the middle."""
    torch.manual_seed(seed)
    env = point_env(1)
    policy = ActorCriticPolicy(
        env.single_observation_space,
        env.single_action_space,
        lambda _: 1e-3,
        net_arch=[8],
        log_std_init=log_std,
    )
    with torch.no_grad():
        policy.get_parameter("action_net.weight").mul_(60)
    return policy


class Recorder:
    """An estimator that keeps the rollout it was given."""

    needs_snapshots = True
    rollout: Rollout

    def __call__(self, rollout: Rollout, policy: ActorCriticPolicy) -> Estimate:
        self.rollout = rollout
        return GAE()(rollout, policy)


def collect(agent: PPO) -> None:
    """Fill the agent's buffer once, without training."""
    _, callback = agent._setup_learn(1, None)
    assert agent.env is not None
    agent.collect_rollouts(agent.env, callback, agent.rollout_buffer, agent.n_steps)
