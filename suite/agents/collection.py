"""Rollouts: what a policy does in a vector environment, and SB3's buffer of it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from suite.agents.advantages import Estimate, Rollout
from suite.arrays import Restorable


def collected(
    agent: Any, env: VecEnv, callback: BaseCallback, n_steps: int
) -> Rollout | None:
    """T steps of every row, or None if the callback stopped the training.

    It moves the agent's place in the environment and its counters, as SB3's own loop
    does. Raw rewards are kept: SB3 adds the value of a truncated episode's end to them.

    Args:
        agent: A ``PPO`` of ours; ``agent.act`` chooses.
        env: The agent's.
        callback: Told of every step, with the names of SB3's loop.
        n_steps: T.
    """
    steps: list[tuple[np.ndarray, ...]] = []
    snapshots, needs_snapshots = [], agent.estimator.needs_snapshots
    assert agent._last_obs is not None
    for step in range(n_steps):
        if _is_noise_due(agent, step):
            agent.policy.reset_noise(env.num_envs)
        if needs_snapshots:
            assert isinstance(env, Restorable)
            snapshots.append(env.snapshot())
        obs = np.asarray(agent._last_obs)
        with torch.no_grad():
            actions, values, log_probs = agent.act(obs_as_tensor(obs, agent.device))
        actions = actions.cpu().numpy()
        next_obs, rewards, dones, infos = env.step(_executable(agent.policy, actions))
        next_obs = np.asarray(next_obs)
        agent.num_timesteps += env.num_envs
        callback.update_locals(locals())
        if not callback.on_step():
            return None
        agent._update_info_buffer(infos, dones)
        is_last = step == n_steps - 1
        ends = _ends(agent.policy, next_obs, dones, infos, is_last)
        terminated, truncated, final_values = ends
        values, log_probs = values.cpu().numpy().ravel(), log_probs.cpu().numpy()
        before = (obs, actions, rewards, terminated, truncated)
        steps.append((*before, values, final_values, log_probs))
        agent._last_obs, agent._last_episode_starts = next_obs, dones
    if needs_snapshots:
        assert isinstance(env, Restorable)
        snapshots.append(env.snapshot())
    columns = [np.stack(column) for column in zip(*steps, strict=True)]
    return Rollout(*columns, snapshots=snapshots or None)


def fill(buffer: RolloutBuffer, rollout: Rollout, estimate: Estimate) -> None:
    """Put a rollout and what was estimated of it into SB3's buffer."""
    buffer.reset()
    done = rollout.terminated | rollout.truncated
    starts = np.concatenate([np.zeros_like(done[:1]), done[:-1]])
    for t in range(len(rollout.rewards)):
        actions = rollout.actions[t]
        if isinstance(buffer.action_space, gym.spaces.Discrete):
            actions = actions.reshape(-1, 1)
        buffer.add(
            rollout.obs[t],
            actions,
            rollout.rewards[t],
            starts[t],
            torch.as_tensor(rollout.values[t]),
            torch.as_tensor(rollout.log_probs[t]),
        )
    buffer.advantages = estimate.advantages.astype(np.float32)
    buffer.returns = estimate.returns.astype(np.float32)


def _is_noise_due(agent: Any, step: int) -> bool:
    """Whether state-dependent exploration draws anew: at first, then if told to."""
    every = agent.sde_sample_freq
    return agent.use_sde and (step == 0 or (every > 0 and step % every == 0))


def _executable(policy: ActorCriticPolicy, actions: np.ndarray) -> np.ndarray:
    space = policy.action_space
    if not isinstance(space, gym.spaces.Box):
        return actions
    if policy.squash_output:
        return policy.unscale_action(actions)
    return np.clip(actions, space.low, space.high)


def _ends(
    policy: ActorCriticPolicy,
    next_obs: np.ndarray,
    dones: np.ndarray,
    infos: list[dict[str, Any]],
    is_last: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What ended rows ended with: terminated, truncated, value; each (N,)."""
    truncated = np.zeros(len(dones), bool)
    final_obs = next_obs.copy()
    for row in np.flatnonzero(dones).tolist():
        truncated[row] = infos[row].get("TimeLimit.truncated", False)
        final_obs[row] = infos[row]["terminal_observation"]
    rows = np.arange(len(dones)) if is_last else np.flatnonzero(dones)
    final_values = np.zeros(len(dones), np.float32)
    if rows.size:
        with torch.no_grad():
            values = policy.predict_values(
                obs_as_tensor(final_obs[rows], policy.device)
            )
        final_values[rows] = values.cpu().numpy().ravel()
    return dones & ~truncated, truncated, final_values
