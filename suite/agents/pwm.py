"""Policy learning through world models: first-order gradients in a latent space."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from suite.agents.actor_loop import ActorLoop
from suite.agents.first_order import NAMES, FirstOrder, FirstOrderUpdate
from suite.agents.joined_memory import JoinedMemory
from suite.agents.learned_units import LearnedUnits
from suite.agents.pace import Pace
from suite.agents.sequence_memory import SequenceMemory
from suite.agents.vec import SnapshotVecEnv
from suite.checkpoints import require_like
from suite.storage import IntegrityError
from suite.transitions import Dataset
from suite.worldmodels.latent_fit import LatentFit
from suite.worldmodels.latent_stored import save_latent


@dataclass(frozen=True)
class Fitting:
    """How much the model is fitted.

    Args:
        first: Updates before the first one of the policy, unless it was pretrained.
        updates: Those of each block, before the policy's.
        batch_size: Pieces of an update.
        capacity: Real steps that pieces are drawn from, the newest.
        final_learning_rate: What those of model, actor and critics fall to, in a line
            over the run.

    Raises:
        ValueError: If a number is out of range.
    """

    first: int = 1000
    updates: int = 8
    batch_size: int = 256
    capacity: int = 1_000_000
    final_learning_rate: float = 1e-5

    def __post_init__(self) -> None:
        counts = (self.first, self.updates)
        if min(counts) < 0 or min(self.batch_size, self.capacity) < 1:
            raise ValueError(
                "a fitting needs updates of 0 or more, and a batch_size and a capacity "
                f"of 1 or more, got {self}"
            )
        if self.final_learning_rate < 0:
            raise ValueError(
                f"final_learning_rate must be 0 or more, got {self.final_learning_rate}"
            )


class Pretraining:
    """Updates of the model on stored episodes, before anything else.

    The episodes stay in the memory, as if the agent had met them itself.

    Args:
        data: Of the environment that the agent will act in.
        updates: How many.
        every: Of them, between two yields of ``iterate``.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, data: Dataset, updates: int, every: int = 1000):
        if min(updates, every) < 1:
            raise ValueError(
                f"a pretraining needs numbers of 1 or more, got {updates} updates and "
                f"every {every}"
            )
        self.data, self.updates, self.every = data, updates, every


class PWM:
    """Learns a policy by gradients through a latent model: a ``checkpoints.Learner``.

    Use it for smooth rewards and many rows that step together. In turn it takes real
    steps, fits the model to pieces of all that it met, and improves the policy by
    gradients of the model's own returns, from states that were met. Unlike published,
    behaviour is not the open loop of the imagined rollouts: every real observation is
    encoded anew, and rollouts begin anywhere in the memory.

    Metrics of an epoch: means of the updates' numbers (``train/...``, ``model/...``,
    NaN without an update), ``rollout/return_mean`` and ``rollout/length_mean`` of the
    episodes that ended and their number, ``buffer/steps``, the share of the run that
    the learning rates have fallen by, and seconds. ``train/return_mean`` and values are
    in the critics' units: ``model/reward_mean`` and ``model/reward_std`` say which.

    Args:
        env: A vector environment in same-step autoreset mode with a flat observation
            and a flat, bounded Box of actions.
        fit: Of the model.
        first_order: Numbers of the policy's update.
        pace: How often it acts and learns; ``updates`` are the policy's.
        fitting: How much the model is fitted.
        pretraining: Of the model, or None.
        seed: Of everything random but the environment and the fit.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: If spaces, autoreset mode or numbers of rows do not fit.

    Source: Georgiev et al. 2025, algorithm 1, arXiv:2407.02466.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv,
        *,
        fit: LatentFit,
        first_order: FirstOrder | None = None,
        pace: Pace | None = None,
        fitting: Fitting | None = None,
        pretraining: Pretraining | None = None,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.env, self.device, self.fit = SnapshotVecEnv(env), device, fit
        self.pace, self.fitting = pace or Pace(), fitting or Fitting()
        self.pace.require_rows(env.num_envs)
        _require_fitting(fit, env, device)
        words = np.random.SeedSequence(seed).generate_state(3).tolist()
        self.first_order = FirstOrderUpdate(
            first_order or FirstOrder(),
            fit.model.encoder,
            fit.model.sizes.latent,
            env.single_action_space,
            seed=words[0],
            device=device,
        )
        self.policy = self.first_order.policy
        self.loop = ActorLoop(self.env, self.policy, words[1])
        self.memory = SequenceMemory(self.fitting.capacity)
        self.pretraining, self._pretrained = pretraining, 0
        stored = pretraining and SequenceMemory.of_dataset(pretraining.data, device)
        self._known = JoinedMemory([*([stored] if stored else []), self.memory])
        self._imagined = LearnedUnits(fit.model)
        self._draws = torch.Generator().manual_seed(words[2])
        self._first_rate = fit.learning_rate
        self.num_timesteps = 0
        self._is_begun = False
        self._losses: list[tuple[float, ...]] = []
        self._fitted: list[dict[str, torch.Tensor]] = []
        self._seconds: dict[str, float] = {}

    @property
    def sim_steps(self) -> int:
        """Simulator steps: none beside those it acts in."""
        return self.num_timesteps

    # ---------------------------------------------------------------------- training
    def planned_updates(self, total_timesteps: int) -> int:
        """How many iterations ``iterate(total_timesteps)`` makes from the start."""
        before = self.pretraining
        first = 0 if before is None else math.ceil(before.updates / before.every)
        return first + math.ceil(total_timesteps / self.pace.epoch)

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Pretrain, then act and learn until so many steps in all; yields metrics.

        Learning rates fall over these steps: go on with the same number.

        Raises:
            FloatingPointError: If a loss became NaN or infinite.
            ValueError: If the environment pays or shows something that is not finite,
                or the policy would never be updated.
        """
        if total_timesteps < self.pace.exploration:
            raise ValueError(
                f"total_timesteps, {total_timesteps}, must reach the end of the "
                f"exploration, {self.pace.exploration} steps, before which nothing is "
                "learned"
            )
        while self._pretraining_left:
            self._begin_epoch()
            self._pretrain()
            yield self._told(0.0)
        while self.num_timesteps < total_timesteps:
            self._begin_epoch()
            end = min(self.num_timesteps + self.pace.epoch, total_timesteps)
            share = 0.0
            while self.num_timesteps < end:
                self._collect()
                if self.num_timesteps >= self.pace.exploration:
                    share = self._anneal(total_timesteps)
                    self._learn()
            yield self._told(share)

    def _begin_epoch(self) -> None:
        self._losses, self._fitted = [], []
        self._seconds = {"rollout": 0.0, "model": 0.0, "update": 0.0}

    @property
    def _pretraining_left(self) -> int:
        before = self.pretraining
        return 0 if before is None else before.updates - self._pretrained

    def _pretrain(self) -> None:
        assert self.pretraining is not None
        count = min(self.pretraining.every, self._pretraining_left)
        self._fit(count)  # to what is stored: nothing else is known yet
        self._pretrained += count

    def _collect(self) -> None:
        pace, started = self.pace, time.perf_counter()
        is_uniform = self.num_timesteps < pace.exploration
        found = self.loop.walk(pace.collect // self.env.num_envs, is_uniform=is_uniform)
        self.num_timesteps += len(found.real)
        self.memory.add(found.real, found.done, found.unstable)
        self._spent("rollout", started)

    def _anneal(self, total_timesteps: int) -> float:
        """Set the learning rates; the share of the run that is over."""
        explored = min(self.pace.exploration, total_timesteps - 1)
        share = (self.num_timesteps - explored) / (total_timesteps - explored)
        share, final = min(share, 1.0), self.fitting.final_learning_rate
        self.fit.learning_rate = self._first_rate + share * (final - self._first_rate)
        self.first_order.anneal(share, final)
        return share

    def _learn(self) -> None:
        """A block of updates, the model's first."""
        self._fit(self.fitting.updates + self._updates_at_first())
        started = time.perf_counter()
        for _ in range(self.pace.updates):
            self._losses.append(self._improved())
        self._spent("update", started)

    def _improved(self) -> tuple[float, ...]:
        """One update of the policy, from states that are known; its numbers."""
        rows = self.first_order.settings.batch_size
        with torch.no_grad():
            z = self._imagined.start(self._known.states(rows, self._draws))
        return self.first_order.update(self._imagined, z)

    def _updates_at_first(self) -> int:
        if self._is_begun or self.pretraining is not None:
            return 0
        self._is_begun = True
        return self.fitting.first

    def _fit(self, count: int) -> None:
        started, rows = time.perf_counter(), self.fitting.batch_size
        horizon = self.first_order.settings.horizon
        for _ in range(count):
            pieces = self._known.pieces(rows, horizon, self._draws)
            self._fitted.append(self.fit.update(pieces))
        self._spent("model", started)

    def _spent(self, phase: str, started: float) -> None:
        self._seconds[phase] += time.perf_counter() - started

    def _told(self, share: float) -> dict[str, float]:
        """The metrics of an epoch."""
        means = [math.nan] * len(NAMES)
        if self._losses:
            means = np.mean(self._losses, axis=0).tolist()
        return {
            **{f"train/{name}": m for name, m in zip(NAMES, means, strict=True)},
            "train/updates": float(self.first_order.updates),
            **self._told_of_model(),
            "model/updates": float(self.fit.updates),
            **self.loop.told(),
            "buffer/steps": float(len(self.memory)),
            "train/annealed": share,
            **{f"time/{name}_seconds": s for name, s in self._seconds.items()},
        }

    def _told_of_model(self) -> dict[str, float]:
        names = ["loss", "consistency", "latent_error", "reward", "grad_norm"]
        names += ["end"] if self.fit.model.end is not None else []
        scale = self.fit.model.reward_scale
        return {
            **{
                f"model/{name}": _mean([each[f"model/{name}"] for each in self._fitted])
                for name in names
            },
            "model/reward_mean": float(scale.mean),
            "model/reward_std": float(scale.std),
        }

    # ------------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on, the memory included; live tensors.

        Raises:
            suite.arrays.NotRestorable: If the environment cannot be saved.
        """
        return {
            "counts": self._counts(),
            "fit": self.fit.state(),
            "first_order": self.first_order.state(),
            "memory": self.memory.state(),
            "loop": self.loop.state(),
            "draws": self._draws.get_state(),
        }

    def _counts(self) -> dict[str, Any]:
        before = self.pretraining
        return {
            "num_timesteps": self.num_timesteps,
            "is_begun": self._is_begun,
            "pretrained": self._pretrained,
            "data": "none" if before is None else before.data.sha256,
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``; the next ``iterate`` goes on from there.

        Raises:
            IntegrityError: If it is not of an agent and environment like these.
        """
        counts, own = tree["counts"], self._counts()
        require_like(counts, own, "learner")
        require_like(tree["draws"], self._draws.get_state(), "draws")
        if counts["data"] != own["data"]:
            raise IntegrityError(
                f"it was pretrained on data of sha256 {counts['data']}, not "
                f"{own['data']}"
            )
        self.fit.load_state(tree["fit"])
        self.first_order.load_state(tree["first_order"])
        self.memory.load_state(tree["memory"], self.device)
        self.loop.load_state(tree["loop"])
        self._draws.set_state(tree["draws"])
        self.num_timesteps, self._is_begun = counts["num_timesteps"], counts["is_begun"]
        self._pretrained = counts["pretrained"]

    def save_model(self, folder: Path) -> None:
        """Write the latent model, for ``load_latent``; see ``ModelBased``."""
        save_latent(self.fit.model, folder)


def _mean(values: list[torch.Tensor]) -> float:
    return float(torch.stack(values).mean()) if values else math.nan


def _require_fitting(fit: LatentFit, env: gym.vector.VectorEnv, device: str) -> None:
    """See that a model is of these spaces and where the agent computes."""
    has = next(fit.model.parameters()).device
    if has.type != torch.device(device).type:
        raise ValueError(
            f"the fit's model is on {has}, the agent shall compute on {device}; give "
            "both the same device"
        )
    spaces = {
        "observation": (env.single_observation_space, fit.model.state_size),
        "action": (env.single_action_space, fit.model.action_size),
    }
    for kind, (space, size) in spaces.items():
        if space.shape != (size,):
            raise ValueError(
                f"the model is of {size} numbers of {kind}, the environment has "
                f"{space}; was it made for another one?"
            )
