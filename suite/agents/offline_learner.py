"""What the agents of ``suite.agents.offline`` share."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from d3rlpy.models import VectorEncoderFactory

from suite.agents.algorithm import Algorithm
from suite.agents.minibatches import Minibatches
from suite.agents.probe import Probe
from suite.agents.scaling import identity, return_factor, standardised, to_unit_box
from suite.agents.tanh_policy import TanhPolicy
from suite.checkpoints import require_like
from suite.results.series import WINDOW, rolling_variance
from suite.storage import IntegrityError
from suite.transitions import Dataset


class OfflineLearner(ABC):
    """Updates of one of d3rlpy's algorithms on minibatches of a dataset.

    Use it by the agents of ``suite.agents.offline``. A step is one gradient update. It
    is a ``suite.checkpoints.Learner`` and a ``suite.results.series.Recording``. Nothing
    that it draws depends on a global generator: initial weights, minibatches and the
    algorithm's own noise follow from ``seed`` alone, whatever runs beside it.

    Args:
        data: What to learn from. Scalings are fitted to it, corrupted as it may be.
        env: The environment to act in, for its spaces; it is not stepped. Without one
            the data's card must say the bounds of its actions.
        net_arch: Hidden layers of every network, each followed by a rectifier.
        batch_size: Transitions of an update.
        gamma: Discount.
        updates_per_iteration: Updates between two yields of ``iterate``.
        normalize_obs: Whether networks see observations with mean 0 and deviation 1.
        return_span: Rewards are multiplied so that the returns of the data's episodes
            span this much, 1000 in the IQL paper; None leaves them as they are.
        probe: Where to look at the critics after every iteration, or None.
        seed: Of everything random.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: If a number is out of range, the data is not of the environment's
            shapes, or actions have no bounds.
    """

    # Losses that are kept of every update.
    traced: tuple[str, ...] = ("critic_loss", "td_loss")

    def __init__(
        self,
        data: Dataset,
        env: gym.vector.VectorEnv | None = None,
        *,
        net_arch: Sequence[int] = (256, 256),
        batch_size: int = 256,
        gamma: float = 0.99,
        updates_per_iteration: int = 1000,
        normalize_obs: bool = False,
        return_span: float | None = None,
        probe: Probe | None = None,
        seed: int = 0,
        device: str = "cpu",
    ):
        _require_numbers(net_arch, batch_size, gamma, updates_per_iteration)
        action_space = _action_space(data, env)
        self.batch_size, self.gamma, self.probe = batch_size, gamma, probe
        self.updates_per_iteration = updates_per_iteration
        self.sim_steps = 0  # none at all: it learns from what others did
        self._net_arch = list(net_arch)
        self._sha256 = data.sha256
        obs_size, action_size = data.obs.shape[1], data.actions.shape[1]
        self._obs = standardised(data.obs) if normalize_obs else identity(obs_size)
        self._actions = to_unit_box(action_space)
        is_scaled = return_span is not None
        self.reward_factor = return_factor(data, return_span) if is_scaled else 1.0
        draws, weights = np.random.SeedSequence(seed).spawn(2)
        self.minibatches = Minibatches(
            data,
            self._obs,
            self._actions,
            reward_factor=self.reward_factor,
            batch_size=batch_size,
            generator=np.random.default_rng(draws),
            device=device,
        )
        self.algorithm = Algorithm(
            self._config(),
            obs_size,
            action_size,
            seed=int(weights.generate_state(1)[0]),
            device=device,
            hasten=self._hasten,
        )
        self.policy = TanhPolicy(self.algorithm.actor, action_space, self._obs)
        self.policy.to(device)
        self._losses = {name: np.empty(0, np.float32) for name in self.traced}

    @abstractmethod
    def _config(self) -> Any:
        """d3rlpy's configuration."""

    @abstractmethod
    def _hasten(self, impl: Any) -> None:
        """Let d3rlpy's implementation do less for the same losses."""

    @abstractmethod
    def _named(self, losses: dict[str, float]) -> dict[str, float]:
        """d3rlpy's losses under our names, the traced ones among them.

        Those of critics are in the units of the environment's rewards: what rewards are
        multiplied by differs between datasets, and curves of both must compare.
        """

    def _unscaled(
        self, losses: dict[str, float], squared: dict[str, str]
    ) -> dict[str, float]:
        """Squared errors of critics by our names, and every other loss as it is."""
        others = {k: v for k, v in losses.items() if k not in squared.values()}
        factor = self.reward_factor**2
        return {**{our: losses[k] / factor for our, k in squared.items()}, **others}

    def _network(self) -> VectorEncoderFactory:
        return VectorEncoderFactory(hidden_units=self._net_arch)

    # ---------------------------------------------------------------------- training
    @property
    def num_timesteps(self) -> int:
        """Gradient updates so far."""
        return self.algorithm.updates

    def planned_updates(self, total_timesteps: int) -> int:
        """How many iterations ``iterate(total_timesteps)`` makes from the start."""
        return math.ceil(total_timesteps / self.updates_per_iteration)

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Train until so many updates in all; yields metrics after each iteration.

        They are the means of the losses over the iteration (``train/...``; of critics
        in units of the environment's rewards, of policies as optimised), the variance
        of the traced ones over the last 1000 updates (NaN before there are so many),
        what rewards were multiplied by, and what the probe tells (``q/...``).

        Raises:
            FloatingPointError: If a loss became NaN or infinite.
        """
        while self.num_timesteps < total_timesteps:
            started = time.perf_counter()
            left = total_timesteps - self.num_timesteps
            losses = self._train(min(self.updates_per_iteration, left))
            seconds = time.perf_counter() - started
            yield {**self._told(losses), "time/update_seconds": seconds}

    def _train(self, count: int) -> dict[str, np.ndarray]:
        """So many updates; their losses by name, NaN where an update has none."""
        found: dict[str, np.ndarray] = {}
        with self.algorithm.noise():
            for step, batch in enumerate(self.minibatches.draw(count)):
                for name, value in self.update(batch).items():
                    if not math.isfinite(value):
                        raise FloatingPointError(
                            f"the training has diverged: {name} is {value} in update "
                            f"{self.num_timesteps}; lower the learning rate"
                        )
                    found.setdefault(name, np.full(count, np.nan))[step] = value
        for name in self.traced:
            self._losses[name] = np.append(self._losses[name], np.float32(found[name]))
        return found

    def update(self, batch: Any) -> dict[str, float]:
        """One gradient update on a minibatch; its losses by name.

        Use it to own the minibatches; called outside of ``iterate`` it draws noise from
        torch's global generator.
        """
        return self._named(self.algorithm.update(batch))

    def _told(self, losses: dict[str, np.ndarray]) -> dict[str, float]:
        """The metrics of an iteration."""
        told = {f"train/{n}": float(np.nanmean(v)) for n, v in losses.items()}
        for name in self.traced:
            variances = rolling_variance(self._losses[name][-WINDOW:], WINDOW)
            told[f"train/{name}_variance"] = float(variances[-1])
        told["train/reward_factor"] = self.reward_factor
        if self.probe is None:
            return told
        probed = self.probe.told(self._values, self._act, self.gamma)
        return {**told, **probed}

    def _values(self, obs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Every critic's values (C, N), in units of the environment's reward."""
        scaled = self.algorithm.values(self._obs(obs), self._actions(actions))
        return scaled / self.reward_factor

    def _act(self, obs: np.ndarray) -> np.ndarray:
        return self.policy.predict(obs)[0]

    # ------------------------------------------------- as functions, with gradients
    @property
    def critic(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """From obs (N, O) and actions (N, A) to every critic's values (C, N).

        All three are in units of the environment, whatever the networks see; it is
        always that of the newest weights.

        Raises:
            ValueError: If the algorithm has no critics.
        """
        if not hasattr(self.algorithm.impl.modules, "q_funcs"):
            raise ValueError(f"{type(self).__name__} has no critics; train CQL or IQL")

        def values(obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
            pair = self._obs.of_tensor(obs), self._actions.of_tensor(actions)
            found = [q(*pair).q_value[:, 0] for q in self.algorithm.impl.q_function]
            return torch.stack(found) / self.reward_factor

        return values

    @property
    def actor(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """From obs (N, O) to the policy's actions (N, A), as the environment's."""
        return lambda obs: self._actions.of_tensor(self.policy(obs), backwards=True)

    # ------------------------------------------------------------------- checkpoints
    def series(self) -> dict[str, np.ndarray]:
        """The traced losses of every update so far."""
        return dict(self._losses)

    def state(self) -> dict[str, Any]:
        """Everything the next iteration depends on.

        It refers to live tensors: write or copy it before the next iteration.
        """
        return {
            "data": self._sha256,
            "scaling": {"obs": self._obs.to_tree(), "reward": self.reward_factor},
            "minibatches": self.minibatches.state(),
            "algorithm": self.algorithm.state(),
            "series": self.series(),
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``; the next ``iterate`` goes on from there.

        Raises:
            IntegrityError: If it is not of a learner like this on the same data.
        """
        own = self.state()
        if tree["data"] != own["data"]:
            raise IntegrityError(
                f"it was trained on data of sha256 {tree['data']}, not {own['data']}"
            )
        for name in ("scaling", "minibatches"):
            require_like(tree[name], own[name], name)
        lengths = {name: len(values) for name, values in tree["series"].items()}
        if lengths != dict.fromkeys(self.traced, tree["algorithm"]["updates"]):
            raise IntegrityError(f"its series do not fit its updates: {lengths}")
        self.algorithm.load_state(tree["algorithm"])
        self.minibatches.load_state(tree["minibatches"])
        self._losses = dict(tree["series"])


def _require_numbers(
    net_arch: Sequence[int], batch_size: int, gamma: float, updates: int
) -> None:
    if not net_arch or min(*net_arch, batch_size, updates) < 1:
        raise ValueError(
            "layers, batch_size and updates_per_iteration must be 1 or more, got "
            f"{list(net_arch)}, {batch_size} and {updates}"
        )
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be between 0 and 1, got {gamma}")


def _action_space(data: Dataset, env: gym.vector.VectorEnv | None) -> Any:
    """The space to act in, known to be the data's."""
    if env is None:
        return data.action_space
    spaces = (env.single_observation_space, env.single_action_space)
    shapes = (data.obs.shape[1:], data.actions.shape[1:])
    if tuple(space.shape for space in spaces) != shapes:
        raise ValueError(
            "the data is of another environment: its observations and actions have "
            f"shapes {shapes[0]} and {shapes[1]}, the environment's "
            f"{spaces[0].shape} and {spaces[1].shape}"
        )
    return spaces[1]
