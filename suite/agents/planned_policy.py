"""A policy that has no network of its own: it plans in a model at every step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from suite.agents.action_sets import action_set
from suite.agents.planning import Memory, Plan, Planner, forgotten
from suite.envs.arguments import require_kind, require_members, require_positive
from suite.storage import read_directory
from suite.worldmodels.imagined_score import ImaginedScore, score_with
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.propagation import (
    Propagate,
    TSInf,
    require_propagation,
)
from suite.worldmodels.scoring import EnsembleScore
from suite.worldmodels.state import load_weights

CLOCKS = ("planner", "model", "scoring")


@dataclass(frozen=True)
class Imagination:
    """How a planner's sequences are judged by an ensemble.

    Args:
        propagation: Makes the ensemble a model: ``TSInf``, ``TS1``, ``Mean``, or any
            function of your own, such as one that puts ``Penalised`` around them.
        particles: How often each sequence is rolled out; None as ``score_with``.
        hidden_dtype: Of the networks' hidden layers while planning, such as
            ``torch.bfloat16`` where the processor multiplies it natively.

    Raises:
        TypeError: If the propagation is a model already.
        ValueError: If there is no particle.
    """

    propagation: Propagate = TSInf
    particles: int | None = None
    hidden_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        require_propagation(self.propagation)
        if self.particles is not None:
            require_positive("particles", self.particles)

    def score(
        self, dynamics: LearnedDynamics, horizon: int, watch: Stopwatch
    ) -> EnsembleScore | ImaginedScore:
        """The score by the ensemble as it is now, whose rewards are timed."""
        frozen = dynamics.frozen(hidden_dtype=self.hidden_dtype)
        if frozen.functions["reward"] is not None:
            reward = watch.timed("scoring", frozen.functions["reward"])
            frozen.functions["reward"] = reward
        model = self.propagation(frozen)
        return score_with(model, horizon=horizon, particles=self.particles)


class Stopwatch:
    """Wall-clock seconds by name; on a GPU work is told where it is waited for."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {name: 0.0 for name in CLOCKS}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls are counted in."""

        def watched(*args: Any) -> Any:
            started = time.perf_counter()
            found = function(*args)
            self.seconds[name] += time.perf_counter() - started
            return found

        return watched

    def read(self) -> dict[str, float]:
        """What was counted since the last reading; what lies inside is taken off."""
        told = dict(self.seconds)
        told["planner"] -= told["model"]
        told["model"] -= told["scoring"]
        self.seconds = {name: 0.0 for name in CLOCKS}
        return told


@dataclass
class Plans:
    """What rows remember from one step to the next.

    Attributes:
        memory: The planner's, see ``suite.agents.planners``.
        generator: Of all its draws.
    """

    memory: Memory
    generator: torch.Generator = field(default_factory=torch.Generator)


class PlannedPolicy(torch.nn.Module):
    """Plans at every step, for all rows at once, and does the first action.

    Use it as ``MPC(...).policy``. Before its model has been fitted it acts uniformly at
    random. It acts on observations, so its model must be of observations.

    Args:
        dynamics: What is planned in; shared, not copied. Call ``refresh`` after a fit.
        planner: Searches for the actions.
        imagination: How sequences are judged.
        env: Whose spaces it is for; a vector environment.
        seed: Of what is drawn while it predicts.

    Raises:
        TypeError: If one of them is something else.
        ValueError: If model, planner and environment do not fit together.
    """

    def __init__(
        self,
        dynamics: LearnedDynamics,
        planner: Planner,
        imagination: Imagination,
        env: gym.vector.VectorEnv,
        *,
        seed: int = 0,
    ):
        super().__init__()
        require_kind("dynamics", dynamics, LearnedDynamics)
        require_kind("imagination", imagination, Imagination)
        require_kind("env", env, gym.vector.VectorEnv, "gym.make_vec makes one")
        require_members("planner", planner, ("horizon", "start", "plan"), "CEM(15)")
        self.dynamics, self.planner, self.imagination = dynamics, planner, imagination
        self.device = dynamics.is_elite.device
        self.action_space = env.single_action_space
        self.actions = action_set(self.action_space, self.device)
        self.seed, self.watch = seed, Stopwatch()
        _require_fitting(dynamics, self.actions.size, env)
        planner.start(self.actions, 1)  # refuses actions that it cannot propose
        self.refresh()
        self._try()

    def refresh(self) -> None:
        """Plan with the weights as they are from now on."""
        self._score = self.imagination.score(
            self.dynamics, self.planner.horizon, self.watch
        )

    def _try(self) -> None:
        """Judge one sequence: what does not fit is refused before it is used."""
        states = torch.zeros(1, self.dynamics.state_size, device=self.device)
        if isinstance(self._score, ImaginedScore):
            self._score.generator = torch.Generator(self.device)
        shape = (1, 1, self.planner.horizon, self.actions.size)
        self._score.at(states)(torch.zeros(shape, device=self.device))

    def begin(self, rows: int, seed: int | None = None) -> Plans:
        """What rows remember that have not acted yet."""
        generator = torch.Generator(self.device)
        generator.manual_seed(self.seed if seed is None else seed)
        return Plans(self.planner.start(self.actions, rows), generator)

    def plan(self, obs: np.ndarray, plans: Plans) -> Plan:
        """Sequences to follow from observations (N, O); ``plans`` moves on.

        Raises:
            FloatingPointError: If the model gives no candidate of a row a finite score.
            ValueError: If an observation is NaN or infinite.
        """
        _require_finite(obs)
        states = torch.as_tensor(obs, dtype=torch.float32, device=self.device)
        if isinstance(self._score, ImaginedScore):
            self._score.generator = plans.generator
        score = self.watch.timed("model", self._score.at(states))
        search = self.watch.timed("planner", self._search)
        found = search(score, plans)
        plans.memory = found.memory
        return found

    def _search(self, score: Callable[..., Any], plans: Plans) -> Plan:
        return self.planner.plan(
            score, self.actions, plans.memory, generator=plans.generator
        )

    def explore(self, rows: int, plans: Plans) -> torch.Tensor:
        """Uniform actions (N, A), choices one-hot."""
        return self.actions.uniform((rows, 1, 1), plans.generator)[:, 0, 0]

    def predict(
        self,
        obs: Any,
        state: Plans | None = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Plans]:
        """Actions for observations, as Stable-Baselines3's policies with memory do.

        Args:
            obs: (N, O), or (O,) for a single action.
            state: What the last call returned; None begins anew.
            episode_start: (N,) bool, which rows begin an episode; None is none.
            deterministic: Not used: how random it is, is the planner's affair.

        Returns:
            Actions (N, ...) or one of them, and the state for the next call.
        """
        rows = np.atleast_2d(np.asarray(obs))
        plans = self.begin(len(rows)) if state is None else state
        if episode_start is not None:
            plans.memory = forgotten(plans.memory, episode_start)
        if bool(self.dynamics.is_fitted):
            actions = self.plan(rows, plans).actions[:, 0]
        else:
            actions = self.explore(len(rows), plans)
        found = self.actions.to_env(actions)
        return (found if np.ndim(obs) > 1 else found[0]), plans

    def architecture(self) -> dict[str, Any]:
        """What is written down beside the weights."""
        return {**model_card(self.dynamics), "kind": "planned"}


def model_card(dynamics: LearnedDynamics) -> dict[str, Any]:
    """What a card says of a fitted model."""
    ensemble = dynamics.ensemble
    return {
        "kind": "dynamics",
        "ensemble": type(ensemble).__name__,
        "members": ensemble.members,
        "net_arch": list(ensemble.hidden),
        "activation": ensemble.activation,
        "obs_size": dynamics.state_size,
        "action_size": dynamics.action_size,
    }


def load_planned(policy: PlannedPolicy, folder: str | Path) -> None:
    """Give a planned policy the weights that a run saved.

    Use it instead of ``load_policy``: planner and reward are code, so they are built
    again, such as by the agent of the run's ``spec.json``.

    Raises:
        IntegrityError: If the folder is damaged, or of another model.
    """
    from safetensors.torch import load as load_tensors

    tensors = load_tensors(read_directory(Path(folder))["policy.safetensors"])
    load_weights(policy, tensors, str(folder))
    policy.refresh()


def _require_finite(obs: np.ndarray) -> None:
    finite = np.isfinite(obs)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(
            f"observations must be finite, got {obs[row, column]} as number {column} "
            f"of row {row}; look at the environment"
        )


def _require_fitting(
    dynamics: LearnedDynamics, action_size: int, env: gym.vector.VectorEnv
) -> None:
    space = env.single_observation_space
    if dynamics.needs_state:
        raise ValueError(
            "MPC plans from observations, and this model is of the task's named state; "
            "give LearnedDynamics(ensemble, ...) of what is observed instead of of_task"
        )
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"MPC needs flat observations, got {space}; flatten them")
    wants = space.shape[0], action_size
    has = dynamics.state_size, dynamics.action_size
    if has != wants:
        is_discrete = isinstance(env.single_action_space, gym.spaces.Discrete)
        kind = " (choices are one-hot)" if is_discrete else ""
        raise ValueError(
            f"the model is of {has[0]} numbers of state and {has[1]} of action, the "
            f"environment has {wants[0]} and {wants[1]}{kind}; give the ensemble "
            f"{sum(wants)} inputs and {wants[0]} outputs, and 1 more for a learned "
            "reward"
        )
