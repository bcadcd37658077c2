"""Model predictive control with a learned model: collect, fit, repeat."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from suite.agents.place import place, take_place
from suite.agents.planned_policy import Imagination, PlannedPolicy
from suite.agents.planning import Planner, forgotten
from suite.agents.steps import Steps, experience, promised, returned, stepped
from suite.checkpoints import require_like
from suite.envs.arguments import require_kind, require_not_negative, require_positive
from suite.worldmodels.diagnostics import (
    calibration,
    outcome_errors,
    prediction_errors,
    windows,
)
from suite.worldmodels.experience import Experience
from suite.worldmodels.fit import Fit
from suite.worldmodels.stored import save_dynamics
from suite.wrappers.stack import require_same_step

_COUNTERS = ("num_timesteps", "iterations")


class MPC:
    """Plans in a model that it fits to what it met; a ``suite.checkpoints.Learner``.

    Use it for CS285's model-based agent, PETS, and any other pairing of planner, model
    and propagation: PETS is this with a ``GaussianEnsemble``, ``TSInf`` and a CEM. The
    first iteration acts at random; each one after it acts by planning, for all rows of
    the environment at once, in a model that stays as it is until the iteration's data
    are there. Then the model is fitted to all data so far, its weights going on.

    Metrics of an iteration: ``train/return_mean``, ``return_std`` and ``episodes`` of
    the episodes that ended; of the model as it was *before* it saw
    the iteration's data, ``model/prediction_error``, ``error_<k>``, ``coverage_90`` and
    ``nll``, ``reward_error`` and ``end_error`` (``suite.worldmodels.diagnostics``);
    ``plan/predicted``
    and ``plan/real``, the plans' values and the rewards that followed within the
    horizon; the fit's own; and seconds of ``env``, ``planner``, ``model`` (rollouts),
    ``scoring`` (rewards) and ``fit``.

    Args:
        env: A Gymnasium vector environment in same-step autoreset mode; its rows are
            planned for together. They go on with their episodes from one iteration to
            the next.
        planner: Searches for action sequences.
        fit: Of the model to plan in.
        imagination: How sequences are judged; None is ``Imagination()``.
        initial_steps: Random steps of the first iteration, all rows together.
        batch_size: Steps of every later iteration, all rows together.
        fit_epochs: Epochs of the fit after each collection; None fits until the
            holdout's patience ends it.
        data_noise: Ratio of ``Experience.noised``, which the model's data get.
        seed: Of environment, planner and noise; ``fit`` and its networks have theirs.
        device: Of model and planner.

    Raises:
        ValueError: If counts do not come out even, the first steps are too few for the
            fit, or environment, model and planner do not fit together.

    Source: Chua et al. 2018, algorithm 1, arXiv:1805.12114; Nagabandi et al. 2018,
    algorithm 1, arXiv:1708.02596, without the rows.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv,
        *,
        planner: Planner,
        fit: Fit,
        imagination: Imagination | None = None,
        initial_steps: int = 5000,
        batch_size: int = 5000,
        fit_epochs: int | None = 1000,
        data_noise: float = 0.0,
        seed: int = 0,
        device: str = "cpu",
    ):
        require_kind("env", env, gym.vector.VectorEnv, "gym.make_vec makes one")
        _require_rows(env, initial_steps=initial_steps, batch_size=batch_size)
        require_kind("fit", fit, Fit, "Fit(dynamics) fits an ensemble")
        fit.require_end(fit_epochs, "fit_epochs")
        fit.require(initial_steps)
        require_not_negative("data_noise", data_noise)
        self.envs, self.fit, self.fit_epochs = env, fit, fit_epochs
        self.initial_steps, self.batch_size = initial_steps, batch_size
        self.data_noise = data_noise
        fit.dynamics.to(device)
        words = np.random.SeedSequence(seed).generate_state(4).tolist()
        self._env_seed = words[0] >> 1  # some environments want 31 bits
        self.policy = PlannedPolicy(
            fit.dynamics, planner, imagination or Imagination(), env, seed=words[1]
        )
        self._plans = self.policy.begin(env.num_envs, words[2])
        self._noise = torch.Generator().manual_seed(words[3])
        self.num_timesteps = self.iterations = 0
        self.data: Experience | None = None
        self._obs: np.ndarray | None = None
        self._returns = np.zeros(env.num_envs)  # of the episodes under way
        self._losses = np.empty(0, np.float32)

    @property
    def sim_steps(self) -> int:
        """Simulator steps: none beside those it acts in."""
        return self.num_timesteps

    # ---------------------------------------------------------------------- training
    def planned_updates(self, total_timesteps: int) -> int:
        """How many iterations ``iterate(total_timesteps)`` makes from the start."""
        if total_timesteps < 1:
            return 0
        later = max(total_timesteps - self.initial_steps, 0)
        return 1 + math.ceil(later / self.batch_size)

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Collect and fit until so many steps in all; yields metrics.

        Raises:
            FloatingPointError: If the fit diverges, or the model gives no plan a finite
                score.
        """
        while self.num_timesteps < total_timesteps:
            is_first = self.iterations == 0
            count = self.initial_steps if is_first else self.batch_size
            self.policy.watch.read()  # an evaluation's time is not the collection's
            steps, env_seconds = self._collected(count // self.envs.num_envs)
            told = {**returned(steps), **self._judged(steps)}
            started = time.perf_counter()
            told |= self._fitted(steps)
            clocks = {**self.policy.watch.read(), "env": env_seconds}
            clocks["fit"] = time.perf_counter() - started
            self.iterations += 1
            yield told | {f"time/{name}_seconds": s for name, s in clocks.items()}

    def _collected(self, count: int) -> tuple[Steps, float]:
        """So many steps of every row, and the seconds that the environment took."""
        if self._obs is None:
            self._obs = np.asarray(self.envs.reset(seed=self._env_seed)[0], np.float32)
        rows, seconds = [], 0.0
        for _ in range(count):
            actions, values = self._act(self._obs)
            done_actions = self.policy.actions.to_env(actions)
            started = time.perf_counter()
            found = stepped(self.envs, done_actions)
            seconds += time.perf_counter() - started
            self._plans.memory = forgotten(self._plans.memory, found.done)
            ends = (found.terminated, found.done, found.unstable)
            met = (self._obs, actions.cpu().numpy(), found.rewards, found.next_obs)
            rows.append((*met, *ends, values, self._ended(found.rewards, found.done)))
            self._obs = found.obs
        self.num_timesteps += count * self.envs.num_envs
        return Steps(*(np.stack(each) for each in zip(*rows, strict=True))), seconds

    def _act(self, obs: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """Actions (K, A), and what their plans promise (K,)."""
        if self.iterations == 0:
            return self.policy.explore(len(obs), self._plans), np.full(len(obs), np.nan)
        plan = self.policy.plan(obs, self._plans)
        return plan.actions[:, 0], plan.value.cpu().numpy()

    def _ended(self, rewards: np.ndarray, done: np.ndarray) -> np.ndarray:
        """Returns (K,) of the episodes that ended, NaN where none did."""
        self._returns += rewards
        found = np.where(done, self._returns, np.nan)
        self._returns[done] = 0.0
        return found

    def _judged(self, steps: Steps) -> dict[str, float]:
        """What the model, which has not seen them, says of these steps."""
        if self.iterations == 0:
            return {}
        told: dict[str, float] = {}
        dynamics = self.fit.dynamics
        stretches = (steps.obs, steps.actions, steps.next_obs, steps.done)
        found = windows(*stretches, unstable=steps.unstable)
        if found is not None:
            errors = prediction_errors(dynamics, found) | calibration(dynamics, found)
            told |= {f"model/{name}": value for name, value in errors.items()}
        outcome = outcome_errors(dynamics, experience(steps))
        told |= {f"model/{name}": value for name, value in outcome.items()}
        return told | promised(steps, self.policy.planner.horizon)

    def _fitted(self, steps: Steps) -> dict[str, float]:
        """The model's data with these steps, and the model fitted to them."""
        new = experience(steps).noised(self.data_noise, self._noise)
        parts = [new] if self.data is None else [self.data, new]
        self.data = Experience.concatenate(parts)
        told, losses = self._fit_round(self.data), self._losses
        self._losses = np.append(losses, np.array(told.pop("losses"), np.float32))
        self.policy.refresh()
        return told

    def _fit_round(self, data: Experience) -> dict[str, Any]:
        """A round of the fit; the metrics of its last epoch, and all losses."""
        fit, losses = self.fit, []
        device = fit.dynamics.is_elite.device
        fit.begin(Experience(**{n: t.to(device) for n, t in data.to_tree().items()}))
        total = sys.maxsize
        if self.fit_epochs is not None:
            total = fit.steps + self.fit_epochs * fit.epoch_steps
        told: dict[str, Any] = {}
        for told in fit.iterate(total):
            losses.append(told["model/train_loss"])
        return {**told, "losses": losses}

    # ------------------------------------------------------------------- checkpoints
    def series(self) -> dict[str, np.ndarray]:
        """The model's loss in every epoch of every fit so far."""
        return {"model_loss": self._losses}

    def state(self) -> dict[str, Any]:
        """Everything the next iteration depends on; it refers to live tensors.

        Raises:
            suite.arrays.NotRestorable: If the environment cannot be saved.
        """
        return {
            "fit": self.fit.state(),
            "data": None if self.data is None else self.data.to_tree(),
            "memory": dict(self._plans.memory),
            "generators": {
                "plans": self._plans.generator.get_state(),
                "noise": self._noise.get_state(),
            },
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            **place(self.envs, self._obs),
            "returns": self._returns,
            "losses": self._losses,
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``; the next ``iterate`` goes on from there.

        Raises:
            IntegrityError: If it is not of an agent and environment like these.
        """
        own = self.state()
        for name in ("memory", "generators", "counters", "returns"):
            require_like(tree[name], own[name], name)
        self.fit.load_state(tree["fit"])
        for name, value in tree["counters"].items():
            setattr(self, name, value)
        device = self.policy.device
        self._plans.memory = {n: t.to(device) for n, t in tree["memory"].items()}
        self._plans.generator.set_state(tree["generators"]["plans"])
        self._noise.set_state(tree["generators"]["noise"])
        self._returns, self._losses = tree["returns"].copy(), tree["losses"]
        if tree["env"] is not None:
            form = np.asarray(self.envs.reset(seed=0)[0], np.float32)
            take_place(self.envs, form, tree)
            self._obs = tree["obs"]
        if tree["data"] is not None:
            self.data = Experience.of(**tree["data"])
            self.policy.refresh()

    def save_model(self, folder: Path) -> None:
        """Write the dynamics, for ``load_dynamics``; see ``ModelBased``."""
        save_dynamics(self.fit.dynamics, folder)


def _require_rows(env: gym.vector.VectorEnv, **counts: int) -> None:
    require_same_step(env, "MPC")
    for what, count in counts.items():
        require_positive(what, count)
        if count % env.num_envs:
            raise ValueError(
                f"{what} must be a multiple of the {env.num_envs} rows of the "
                f"environment, got {count}"
            )
