"""Deterministic policies: a network whose tanh spans the actions' bounds."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from suite.agents.scaling import Affine, identity, to_unit_box


class TanhPolicy(torch.nn.Module):
    """Acts by a multilayer perceptron of standardised observations, squashed by tanh.

    Use it through ``suite.load_policy``: it is what offline agents leave behind, and it
    needs none of the libraries that trained it.

        action = centre + half * tanh(network((obs - mean) / spread))

    Args:
        layers: Linear layers, the last one to the actions; shared, not copied, so that
            the policy of a training is always the newest.
        action_space: Of the environment, bounded.
        obs_scaling: How observations were standardised in training.

    Raises:
        ValueError: If the layers do not lead to the actions.
    """

    obs_shift: torch.Tensor
    obs_spread: torch.Tensor

    def __init__(
        self,
        layers: list[torch.nn.Linear],
        action_space: gym.spaces.Box,
        obs_scaling: Affine | None = None,
    ):
        super().__init__()
        if layers[-1].out_features != np.prod(action_space.shape):
            raise ValueError(
                f"a policy for {action_space} must end in as many units, got "
                f"{layers[-1].out_features}"
            )
        self.layers = torch.nn.ModuleList(layers)
        self.action_space = action_space
        size = layers[0].in_features
        scaling = obs_scaling or identity(size)
        for name, values in scaling.to_tree().items():
            self.register_buffer(f"obs_{name}", torch.tensor(values).float())
        self._actions = to_unit_box(action_space)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Actions in [-1, 1] (N, A) for observations (N, O) as the environment's."""
        hidden = (obs - self.obs_shift) / self.obs_spread
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return torch.tanh(self.layers[-1](hidden))

    def predict(
        self,
        obs: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, None]:
        """Actions for observations, as Stable-Baselines3's policies give them.

        Args:
            obs: (N, O), or (O,) for a single action.
            state: Not used: the policy has no memory.
            episode_start: Not used.
            deterministic: Not used: it always is.

        Returns:
            Actions (N, A) or (A,), and None.
        """
        obs = np.array(obs, np.float32)  # a copy: stored data is read-only
        rows = torch.as_tensor(obs, device=self.obs_shift.device)
        with torch.inference_mode():
            actions = self(rows if obs.ndim > 1 else rows[None]).cpu().numpy()
        actions = self._actions.inverse(actions)
        return (actions if obs.ndim > 1 else actions[0]), None

    def architecture(self) -> dict[str, Any]:
        """What is written down to build it again."""
        return {
            "kind": "tanh",
            "net_arch": [layer.out_features for layer in self._hidden],
            "obs_size": self._first.in_features,
            "action_low": self.action_space.low.tolist(),
            "action_high": self.action_space.high.tolist(),
        }

    @property
    def _first(self) -> torch.nn.Linear:
        return self.layers[0]  # pyright: ignore[reportReturnType]

    @property
    def _hidden(self) -> list[torch.nn.Linear]:
        return list(self.layers[:-1])  # pyright: ignore[reportReturnType]

    @staticmethod
    def built(plan: dict[str, Any]) -> TanhPolicy:
        """A policy of an ``architecture``, its weights not set yet."""
        low = np.array(plan["action_low"], np.float32)
        high = np.array(plan["action_high"], np.float32)
        sizes = [plan["obs_size"], *plan["net_arch"], low.size]
        layers = [torch.nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
        return TanhPolicy(layers, gym.spaces.Box(low, high, low.shape, np.float32))
