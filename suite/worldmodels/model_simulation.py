"""Rows of a model as something that an environment can step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from suite.envs.simulation import Ids
from suite.worldmodels.dynamics import (
    DynamicsModel,
    Transition,
    map_leaves,
    padded,
    require_outcome,
    truncated,
)
from suite.worldmodels.noise import RowNoise

log = logging.getLogger("suite.worldmodels")
_LOW = np.uint64(0xFFFFFFFF)


class ModelSimulation:
    """N rows of a model, each with a random stream of its own.

    Use it through ``ModelEnv`` and ``ModelVectorEnv``. Episodes start where the
    environment starts them and go on in the model. All rows are computed at every step,
    padded to a multiple of 16, and those that were not meant stay as they are: so what
    a row does depends neither on the others nor on their number.

    A row whose numbers overflow, or that the model itself gives up (``Bounded``),
    counts as blown up: it stays where it was. A model that has seen no data steps by
    its first weights, and the log says so once.

    Args:
        model: What to step.
        env: Where episodes start; it is reset and never stepped.
        num_rows: N.

    Raises:
        ValueError: If what the model takes or gives has other shapes.
    """

    def __init__(self, model: DynamicsModel, env: gym.Env, num_rows: int):
        self.model, self.env, self.num_rows = model, env, num_rows
        self.seeds: dict[int, int] = {}  # of the coming reset; other rows draw theirs
        self._device = _device(model)
        self._is_told = False  # whether the log has said that the model is unfitted
        self._needs_state = bool(getattr(model, "needs_state", False))
        shape, actions = env.observation_space.shape, env.action_space.shape
        assert shape is not None and actions is not None
        self._state_size = int(getattr(model, "state_size", shape[0]))
        rows = padded(num_rows)
        self._keys = np.zeros(rows, np.uint64)
        self._counts = np.zeros(rows, np.uint64)  # steps since the row's reset
        self.reward = np.zeros(num_rows)
        self.terminated = np.zeros(num_rows, bool)
        self._actions = np.zeros((rows, *actions), np.float32)
        with torch.no_grad():
            self.z = model.start(self._tensor(np.zeros((rows, self._state_size))))
            found = model.step(self.z, self._tensor(self._actions), generator=self._rng)
            self.obs_size = _obs_size(model.observe(self.z), rows)
        self._require_fitting(found)

    @property
    def _rng(self) -> RowNoise:
        return RowNoise(self._keys, self._counts)

    def _tensor(self, rows: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(rows, dtype=torch.float32, device=self._device)

    def _require_fitting(self, found: Transition) -> None:
        require_outcome(found, padded(self.num_rows))
        before, after = _forms(self.z), _forms(found.next_z)
        if before != after:
            raise ValueError(
                "a model's step must give z in the form that it takes, got "
                f"{after} for {before}"
            )

    # -------------------------------------------------------------------- stepping
    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Start episodes: in the environment's state of a seed, given or drawn."""
        self._tell_if_unfitted()
        states = np.zeros((padded(self.num_rows), self._state_size), np.float32)
        for row, rng in zip(ids.tolist(), rngs, strict=True):
            drawn = int(rng.integers(2**31))
            obs, info = self.env.reset(seed=self.seeds.pop(row, drawn))
            states[row] = self._known(obs, info)
            self._keys[row] = rng.integers(2**64, dtype=np.uint64)
        self._counts[ids] = 0
        self.reward[ids], self.terminated[ids] = 0.0, False
        with torch.no_grad():
            z = self.model.start(self._tensor(states))
        if _not_finite(z)[ids].any():
            self._require_finite_weights()
            raise FloatingPointError(
                "the model starts in NaN or infinity; is the environment's own "
                "observation finite?"
            )
        self._put(ids, z)

    def _tell_if_unfitted(self) -> None:
        # Not refused: an environment may be made first and its model fitted later.
        if not self._is_told and _is_unfitted(self.model):
            self._is_told = True
            log.warning(
                "the model has seen no data and steps by its first weights; fit it, or "
                "load one that is fitted"
            )

    def _known(self, obs: Any, info: dict[str, Any]) -> np.ndarray:
        if not self._needs_state:
            found = np.asarray(obs)
        elif "state" in info:
            found = np.asarray(info["state"])
        else:
            raise ValueError(
                "the model starts from info['state'], which the environment does not "
                "give; fit one to observations"
            )
        if found.shape != (self._state_size,):
            raise ValueError(
                f"the model starts from {self._state_size} numbers, the environment "
                f"gives {found.shape}; was it fitted to another environment?"
            )
        return found

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance rows by one step; returns which blew up or were given up (n,)."""
        rows = np.arange(self.num_rows) if ids is None else ids
        self._actions[rows] = action
        with torch.no_grad():
            found = self.model.step(
                self.z, self._tensor(self._actions), generator=self._rng
            )
            unsure = truncated(self.model, found.next_z, found.terminated)
        wrong = (_not_finite(found.next_z) | ~_numpy(found.reward.isfinite()))[rows]
        if wrong.any():
            self._require_finite_weights()
            log.warning("rows of the model left the finite numbers and are truncated")
        unstable = wrong | _numpy(unsure)[rows]
        kept = rows[~unstable]
        self._put(kept, found.next_z)
        self.reward[kept] = _numpy(found.reward)[kept]
        self.terminated[kept] = _numpy(found.terminated)[kept]
        self._counts[rows] += np.uint64(1)
        return unstable

    def _put(self, ids: np.ndarray, z: Any) -> None:
        if len(ids) == self.num_rows:  # nobody looks at the padding
            self.z = z
            return
        chosen = torch.zeros(padded(self.num_rows), dtype=torch.bool)
        chosen[torch.from_numpy(ids)] = True
        chosen = chosen.to(self._device)

        def mixed(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
            return torch.where(chosen.view(-1, *[1] * (new.dim() - 1)), new, old)

        self.z = map_leaves(mixed, z, self.z)

    def _require_finite_weights(self) -> None:
        """NaN from good weights is a row that ran away; from bad ones, a bad model."""
        if not isinstance(self.model, torch.nn.Module):
            return
        wrong = [n for n, w in self.model.named_parameters() if not w.isfinite().all()]
        # A buffer may be infinite by intention, such as a bound.
        wrong += [n for n, b in self.model.named_buffers() if b.isnan().any()]
        if wrong:
            raise FloatingPointError(
                f"the model predicts NaN, since its {wrong[0]} is not finite; fit it "
                "again at a lower learning rate"
            )

    # ----------------------------------------------------------------------- state
    def named_state(self, ids: Ids) -> np.ndarray:
        """Observation, last reward, whether terminated, whether solved: (n, O + 3)."""
        rows = slice(self.num_rows) if ids is None else ids
        with torch.no_grad():
            obs = _numpy(self.model.observe(self.z))[rows]
            success = getattr(self.model, "success", None)
            solved = np.zeros(len(obs))
            if success is not None:
                solved = _numpy(success(self.z))[rows]
        told = (self.reward[rows], self.terminated[rows], solved)
        return np.concatenate([obs, np.stack(told, axis=1)], axis=1, dtype=np.float64)

    def get_state(self, ids: Ids) -> np.ndarray:
        """Each row's z, last step and place in its random stream, (n, S)."""
        rows = np.arange(self.num_rows) if ids is None else ids
        leaves = [_numpy(leaf.flatten(1))[rows] for leaf in _leaves(self.z)]
        keys = self._keys[rows]
        told = (
            self.reward[rows],
            self.terminated[rows],
            keys >> np.uint64(32),  # in halves: float64 holds 53 bits
            keys & _LOW,
            self._counts[rows],
        )
        return np.concatenate(
            [*leaves, np.stack(told, axis=1, dtype=np.float64)],
            axis=1,
            dtype=np.float64,
        )

    def set_state(self, ids: Ids, state: np.ndarray) -> None:
        """Put rows of ``get_state`` back."""
        rows = np.arange(self.num_rows) if ids is None else ids
        everyone = np.zeros((padded(self.num_rows), state.shape[1]))
        everyone[rows] = state
        widths = [leaf[0].numel() for leaf in _leaves(self.z)]
        parts = iter(np.split(everyone[:, : sum(widths)], np.cumsum(widths)[:-1], 1))

        def revived(leaf: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(next(parts)).view(leaf.shape).to(leaf)

        self._put(rows, map_leaves(revived, self.z))
        told = state[:, sum(widths) :].T
        self.reward[rows], self.terminated[rows] = told[0], told[1]
        high, low = told[2].astype(np.uint64), told[3].astype(np.uint64)
        self._keys[rows] = high << np.uint64(32) | low
        self._counts[rows] = told[4].astype(np.uint64)

    def reseed(self, ids: np.ndarray, seed: int) -> None:
        """Give rows new independent streams of the model's noise."""
        # A second word, since BatchEnv seeds its own streams with the first alone.
        rng = np.random.default_rng([seed, 1])
        self._keys[ids] = rng.integers(2**64, size=len(ids), dtype=np.uint64)


class ModelTask:
    """Spaces and limit of a model's environment; the rest the simulation has said.

    Args:
        observation_space: Observations are clipped to it.
        action_space: Of actions.
        max_episode_steps: Time limit.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Box,
        max_episode_steps: int,
    ):
        self.observation_space = observation_space
        self.action_space = action_space
        self.max_episode_steps = max_episode_steps
        self._size = observation_space.shape[0]

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Observation (n, O): a model may predict a cosine of 1.001."""
        box = self.observation_space
        return np.clip(state[:, : self._size].astype(box.dtype), box.low, box.high)

    def reward(
        self, state: np.ndarray, action: np.ndarray, next_state: np.ndarray
    ) -> np.ndarray:
        """What the model paid for the step, (n,)."""
        return next_state[:, self._size].copy()

    def terminated(self, state: np.ndarray) -> np.ndarray:
        """Whether the model ended the episode, (n,) bool."""
        return state[:, self._size + 1] > 0

    def success(self, state: np.ndarray) -> np.ndarray:
        """Whether the model's task is solved, (n,) bool."""
        return state[:, self._size + 2] > 0


def _device(model: Any) -> torch.device:
    weights = model.parameters() if isinstance(model, torch.nn.Module) else iter(())
    return next((weight.device for weight in weights), torch.device("cpu"))


def _is_unfitted(model: Any) -> bool:
    parts = model.modules() if isinstance(model, torch.nn.Module) else ()
    return not all(bool(getattr(part, "is_fitted", True)) for part in parts)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy()


def _leaves(z: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    map_leaves(lambda leaf: found.append(leaf) or leaf, z)
    return [leaf if leaf.dim() > 1 else leaf[:, None] for leaf in found]


def _not_finite(z: Any) -> np.ndarray:
    """Rows (N,) in which something is NaN or infinite."""
    found = [torch.isfinite(leaf).flatten(1).all(dim=1) for leaf in _leaves(z)]
    return ~_numpy(torch.stack(found).all(dim=0))


def _forms(z: Any) -> list[tuple[str, tuple[int, ...]]]:
    return [(str(leaf.dtype), tuple(leaf.shape)) for leaf in _leaves(z)]


def _obs_size(obs: torch.Tensor, rows: int) -> int:
    if obs.dim() != 2 or len(obs) != rows:
        raise ValueError(
            f"a model must show observations ({rows}, O) of {rows} rows, got "
            f"{tuple(obs.shape)}"
        )
    return obs.shape[1]
