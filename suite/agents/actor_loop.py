"""Real steps of a policy in a vector environment, as transitions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from suite.agents.place import place, take_place
from suite.agents.squashed import BoxPolicy
from suite.agents.steps import stepped
from suite.agents.vec import SnapshotVecEnv
from suite.checkpoints import require_like
from suite.worldmodels.experience import Experience


class Walk(NamedTuple):
    """T steps of N rows.

    Attributes:
        real: The T N transitions, one step of all rows after the other.
        done: (T, N) bool, whether the episode ended or was cut off with the step.
        unstable: (T, N) bool, whether the step was given up, so that there is nothing
            to learn from what followed; see ``suite.agents.steps.Stepped``.
    """

    real: Experience
    done: torch.Tensor
    unstable: torch.Tensor


class ActorLoop:
    """Where an agent stands in its environment, and how it goes on.

    Use it through ``SAC`` or ``PWM``.

    Args:
        env: To act in; whoever seeds it does so before the first step.
        policy: Acts, on the CPU or another device.
        seed: Of the policy's noise and of uniform actions.
    """

    def __init__(self, env: SnapshotVecEnv, policy: BoxPolicy, seed: int):
        self.env, self._policy = env, policy
        self._generator = torch.Generator().manual_seed(seed)
        self._obs: np.ndarray | None = None
        # Returns and lengths of the episodes that ended and are not told yet.
        self._returns: list[float] = []
        self._lengths: list[int] = []

    def collect(self, steps: int, *, is_uniform: bool) -> Experience:
        """The transitions of ``walk``, T N of them less those that were given up."""
        found = self.walk(steps, is_uniform=is_uniform)
        if not found.unstable.any():
            return found.real
        return found.real[~found.unstable.flatten()]

    def walk(self, steps: int, *, is_uniform: bool) -> Walk:
        """So many steps of every row, with the actions that the environment got.

        Args:
            steps: T.
            is_uniform: Whether actions are uniform instead of the policy's.

        Returns:
            What they were, on the policy's device.

        Raises:
            ValueError: If an observation or a reward is NaN or infinite.
        """
        if self._obs is None:
            self._obs = np.asarray(self.env.reset(), np.float32)
        rows, ends = [], []
        for _ in range(steps):
            actions = self._actions(self._obs, is_uniform)
            found = stepped(self.env.env, actions)
            if found.done.any():
                episode = found.info["final_info"]["episode"]
                self._returns += episode["r"][found.done].tolist()
                self._lengths += episode["l"][found.done].tolist()
            # A time limit is not an end: the critics go on behind it.
            came_to = (found.rewards, found.next_obs, found.terminated)
            rows.append((self._obs, actions, *came_to))
            ends.append((found.done, found.unstable))
            self._obs = found.obs
        columns = (np.concatenate(column) for column in zip(*rows, strict=True))
        device = str(self._policy.scale.device)
        done, unstable = torch.as_tensor(np.stack(ends, axis=1), device=device)
        return Walk(Experience.of(*columns, device=device), done, unstable)

    def _actions(self, obs: np.ndarray, is_uniform: bool) -> np.ndarray:
        policy = self._policy
        if is_uniform:
            shape = (len(obs), len(policy.scale))
            unit = torch.rand(shape, generator=self._generator).to(policy.scale)
            return (policy.centre + policy.scale * (2 * unit - 1)).cpu().numpy()
        rows = torch.from_numpy(obs).to(policy.scale.device)
        return policy.act(rows, self._generator).cpu().numpy()

    def told(self) -> dict[str, float]:
        """Metrics of the episodes that ended since it was asked last.

        Means of return and length, NaN if there were none, and the number. Where long
        episodes are good ones, those that ended are the worse ones.
        """
        returns, lengths = self._returns, self._lengths
        self._returns, self._lengths = [], []
        return {
            "rollout/return_mean": float(np.mean(returns)) if returns else math.nan,
            "rollout/length_mean": float(np.mean(lengths)) if lengths else math.nan,
            "rollout/episodes": float(len(returns)),
        }

    # ------------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """The environment with its streams, and where the agent stands.

        Raises:
            suite.arrays.NotRestorable: If the environment cannot be saved.
        """
        return {
            **place(self.env.env, self._obs),
            "returns": list(self._returns),
            "lengths": list(self._lengths),
            "generator": self._generator.get_state(),
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of another environment.
        """
        names = ("obs", "returns", "lengths", "generator", "env")
        require_like(dict.fromkeys(tree), dict.fromkeys(names), "loop")
        require_like(tree["generator"], self._generator.get_state(), "generator")
        if tree["env"] is not None:
            form = np.asarray(self.env.reset(), np.float32)
            take_place(self.env.env, form, tree)
        self._obs = tree["obs"]
        self._returns, self._lengths = list(tree["returns"]), list(tree["lengths"])
        self._generator.set_state(tree["generator"])
