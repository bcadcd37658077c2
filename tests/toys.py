"""A benchmark of a tenth of a second: a point that must come to the middle."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from suite.agents.advantages import GAE, Estimate, Rollout
from suite.benchmark import Benchmark, Env, Part, Reference, Scale
from suite.data.collection import UniformBehaviour
from suite.datasets import collect, corrupt
from suite.envs.batch import BatchEnv
from suite.parts import Ref
from suite.transitions import Dataset

TIME_LIMIT = 10


class ToySimulation:
    """x moves by a third of the action; odd rows may be glued where they fail."""

    def __init__(self, num_rows: int, glued: bool):
        self.num_rows, self.glued = num_rows, glued
        self.x = np.zeros((num_rows, 1))

    def reset(self, ids: np.ndarray, rngs: Any) -> None:
        self.x[ids, 0] = [rng.uniform(0.5, 1.0) for rng in rngs]

    def step(self, ids: np.ndarray | None, action: np.ndarray) -> np.ndarray:
        rows = np.arange(self.num_rows) if ids is None else ids
        free = (rows % 2 == 0) | (not self.glued)
        self.x[rows] = np.clip(self.x[rows] + action / 3 * free[:, None], -1, 1)
        return np.zeros(len(rows), bool)

    def named_state(self, ids: np.ndarray | None) -> np.ndarray:
        return self.x[slice(None) if ids is None else ids].copy()

    get_state = named_state

    def set_state(self, ids: np.ndarray | None, state: np.ndarray) -> None:
        self.x[slice(None) if ids is None else ids] = state


class ToyTask:
    """Reward 1 in the middle, which ends the episode."""

    max_episode_steps = TIME_LIMIT
    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def observe(self, state: Any) -> Any:
        return state.astype(np.float32)

    def reward(self, state: Any, action: Any, next_state: Any) -> Any:
        return self.success(next_state) * 1.0

    def success(self, state: Any) -> Any:
        return np.abs(state[..., 0]) < 0.25

    terminated = success


class ToyVectorEnv(BatchEnv):
    """N points."""

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str = "next_step",
        glued: bool = False,
    ):
        super().__init__(
            ToySimulation(num_envs, glued), ToyTask(), autoreset_mode=autoreset_mode
        )


class ChosenSteps(ToyVectorEnv):
    """The toy with three choices."""

    def __init__(self, num_envs: int = 4, autoreset_mode: str = "same_step"):
        super().__init__(num_envs, autoreset_mode=autoreset_mode)
        self.single_action_space = gym.spaces.Discrete(3)
        self.action_space = gym.spaces.MultiDiscrete([3] * num_envs)

    def step(self, actions: np.ndarray) -> Any:
        return super().step(actions[:, None] - 1.0)


class Dice(GAE):
    """An estimator with noise from the global generators, as careless code has."""

    def __call__(self, rollout: Rollout, policy: Any = None) -> Estimate:
        found = super().__call__(rollout, policy)
        # A normal number of Python's and of NumPy's leaves a second one waiting.
        noise = random.gauss(0, 1) + np.random.normal()
        return replace(found, advantages=found.advantages * (1 + 0.1 * noise))


class Shift(gym.vector.VectorWrapper):
    """A wrapper that leaves a trace: observations moved by a constant."""

    def __init__(self, env: Any, by: float):
        super().__init__(env)
        self.by = by


class Trouble:
    """An evaluation that finds nothing, until trouble comes after some updates.

    Args:
        kind: What happens.
        after: Updates before it does.
        only: The seed it happens to, or None for all.
        marker: A folder that is made then; while it is there, nothing happens again.
        seed: The run's.
    """

    def __init__(
        self,
        kind: str,
        after: int = 1,
        only: int | None = None,
        marker: str | None = None,
        seed: int = 0,
    ):
        self.kind, self.after = kind, after
        self.is_hit = only in (None, seed)
        self.marker = Path(f"{marker}-{seed}") if marker else None

    def __call__(self, policy: Any, key: int) -> dict[str, float]:
        is_over = self.marker and self.marker.exists()
        if key == self.after and self.is_hit and not is_over:
            if self.marker:
                self.marker.mkdir()
            self._happen()
        return {"success_log_metric": 0.0}

    def _happen(self) -> None:
        if self.kind == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
        elif self.kind == "sigkill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "interrupt":
            raise KeyboardInterrupt
        elif self.kind == "full disk":
            raise OSError(28, "No space left on device", "here")
        elif self.kind == "sleep":
            time.sleep(60)
        else:
            raise ZeroDivisionError("of a bug")


if "Toy-v0" not in gym.registry:
    gym.register("Toy-v0", vector_entry_point="toys:ToyVectorEnv")
    gym.register("ChosenToy-v0", vector_entry_point="toys:ChosenSteps")

TOY = Benchmark(
    name="toy",
    about="A point that must come to the middle. It is for tests.",
    env=Env("toys:Toy-v0", num_envs=4),
    agent=Part(
        "suite.agents.ppo:PPO",
        {
            "policy": "MlpPolicy",
            "advantage": Part("suite.agents.advantages:GAE", {"gamma": 0.9}),
            "n_steps": 8,
            "batch_size": 16,
            "n_epochs": 2,
            "policy_kwargs": {"net_arch": [4]},
        },
    ),
    total_timesteps=96,
    evaluation=Part(
        "suite.evaluation:SuccessRate",
        {"envs": 4, "steps": 10, "min_episodes": 8, "first_episode_envs": 8},
    ),
    metric="success_log_metric",
    checkpoint_at=(0, 2),
    scales={
        "smoke": Scale("no time", {"total_timesteps": 32}),
        "default": Scale("a tenth of a second"),
    },
    reference=Reference(
        "made up", ((1, 0, 0.1), (2, 32, 0.2), (3, 64, 0.3), (4, 96, 0.5))
    ),
)

# Episodes of ten steps straddle iterations of eight, so that an environment that starts
# anew shows; learning rates fall, so that lost progress does.
_SCHEDULE = Part(
    "stable_baselines3.common.utils:LinearSchedule",
    {"start": 3e-2, "end": 1e-3, "end_fraction": 1.0},
)
TOY_PPO = TOY.with_settings({"total_timesteps": 128, "agent.learning_rate": _SCHEDULE})


def _measured(name: str, estimator: str) -> Benchmark:
    """AWR with advantages from re-rollouts of the policy that is trained."""
    agent = {
        "call": "suite.agents.awr:AWR",
        "kwargs": {
            "policy": "MlpPolicy",
            "advantage": {"call": estimator, "kwargs": {"samples": 1, "gamma": 0.9}},
            "learning_rate": 1e-2,
            "n_steps": 8,
            "batch_size": 16,
            "n_epochs": 2,
            "policy_kwargs": {"net_arch": [4]},
        },
    }
    return Benchmark.from_json(
        {**TOY.to_json(), "name": name, "agent": agent, "total_timesteps": 128}
    )


TOY_AWR = _measured("toy-awr", "suite.agents.rerollout:LookaheadReRollout")
TOY_RR = _measured("toy-rerollout", "suite.agents.rerollout:ReRollout")
TOY_DICE = TOY_PPO.with_settings({"agent.advantage.call": "toys:Dice"})


def walks(steps: int, corruptions: Sequence[Any] = ()) -> Dataset:
    """What random actions meet."""
    env = ToyVectorEnv(4, autoreset_mode="disabled")
    data = collect(env, UniformBehaviour(env.single_action_space), steps, seed=0)
    return corrupt(data, corruptions)


def _offline(algorithm: str, **settings: Any) -> Benchmark:
    """An offline agent on noisy data, probed on clean data."""
    clean = Part("toys:walks", {"steps": 300})
    noise = Part("suite.wrappers:RewardNoise", {"std": 0.1})
    agent = {
        "net_arch": [8],
        "batch_size": 16,
        "updates_per_iteration": 4,
        "normalize_obs": True,
        "return_span": 10.0,
        "probe": Part("suite.agents.probe:Probe", {"data": clean, "pairs": 16}),
        **settings,
    }
    return Benchmark(
        name=f"toy-{algorithm.lower()}",
        about="The same point, from data. It is for tests.",
        env=Env("toys:Toy-v0"),
        agent=Part(f"suite.agents.offline:{algorithm}", agent),
        total_timesteps=15,  # the last iteration is shorter
        data=Part("toys:walks", {"steps": 300, "corruptions": [noise]}),
        evaluation=Part(
            "suite.scores:NormalizedReturn",
            {"reference": "hopper", "local": [0.0, 1.0], "episodes": 4, "steps": 10},
        ),
        metric="normalized_return",
        checkpoint_at=(0, 2),
    )


def _model(batch_size: int = 8, **functions: Any) -> Part:
    """A fit of two small probabilistic networks, whose data are known later."""
    learned = sum(each is None for each in functions.values())
    ensemble = Part(
        "suite.worldmodels.ensemble:GaussianEnsemble",
        {"members": 2, "inputs": 2, "outputs": 1 + learned, "hidden": [8]},
    )
    dynamics = Part(
        "suite.worldmodels.learned:LearnedDynamics",
        {"ensemble": ensemble, **functions},
    )
    batches = Part("suite.worldmodels.batches:Bootstrap", {"batch_size": batch_size})
    holdout = Part("suite.worldmodels.batches:Holdout", {"elites": 1})
    return Part(
        "suite.worldmodels.fit:Fit",
        {"dynamics": dynamics, "batches": batches, "holdout": holdout, "data": None},
    )


# Noise in the model, a memory in the planner, learned reward and end.
TOY_MPC = Benchmark(
    name="toy-mpc",
    about="The same point, by planning. It is for tests.",
    env=Env("toys:Toy-v0", num_envs=4),
    agent=Part(
        "suite.agents.mpc:MPC",
        {
            "planner": Part(
                "suite.agents.planners:ICEM",
                {"horizon": 3, "candidates": 6, "elites": 3, "iterations": 2},
            ),
            "fit": _model(reward=None, terminated=None),
            "imagination": Part(
                "suite.agents.planned_policy:Imagination",
                {"propagation": Ref("suite.worldmodels.propagation:TS1")},
            ),
            "initial_steps": 32,
            "batch_size": 32,
            "fit_epochs": 2,
            "data_noise": 0.01,
        },
    ),
    total_timesteps=128,
    evaluation=Part(
        "suite.scores:NormalizedReturn",
        {"reference": None, "episodes": 4, "steps": 10},
    ),
    metric="return_mean",
    checkpoint_at=(0, 2),
)
TOY_MODEL = Benchmark(
    name="toy-model",
    about="The same point, its model alone. It is for tests.",
    env=Env("toys:Toy-v0"),
    agent=Part(
        "suite.agents.model_fit:ModelFit",
        {
            "fit": _model(64, reward=None),  # four steps an epoch
            "updates_per_iteration": 4,
            "data_noise": 0.01,
        },
    ),
    total_timesteps=15,
    data=Part("toys:walks", {"steps": 300}),
    evaluation=Part(
        "suite.worldmodels.prediction_error:PredictionError",
        {"episodes": 8, "steps": 10},
    ),
    metric="prediction_error",
    checkpoint_at=(0, 2),
)
TOY_IQL = _offline("IQL", actor_decay=16)
TOY_CQL = _offline("CQL", n_action_samples=2)


def _off_policy(name: str, agent: str, **settings: Any) -> Benchmark:
    """SAC or MBPO, whose first iteration explores."""
    soft = {"net_arch": [8], "batch_size": 16, "learning_rate": 1e-2}
    pace = {"exploration": 32, "collect": 4, "updates": 1, "epoch": 32}
    kwargs = {
        "soft": Part("suite.agents.soft_update:Soft", soft),
        "pace": Part("suite.agents.pace:Pace", pace),
        **settings,
    }
    return Benchmark(
        name=f"toy-{name}",
        about="The same point, off the policy. It is for tests.",
        env=Env("toys:Toy-v0", num_envs=4),
        agent=Part(agent, kwargs),
        total_timesteps=128,
        evaluation=Part(
            "suite.scores:NormalizedReturn",
            {"reference": None, "episodes": 4, "steps": 10},
        ),
        metric="return_mean",
        checkpoint_at=(0, 2),
    )


def _believed(
    kind: str, propagation: str, fit: dict[str, Any], **settings: Any
) -> Part:
    """A small model of the point, its reward and its end learned."""
    sizes = {"members": 3, "inputs": 2, "outputs": 3, "hidden": [8]}
    ensemble = Part(f"suite.worldmodels.ensemble:{kind}", sizes)
    dynamics = Part(
        "suite.worldmodels.learned:LearnedDynamics",
        {"ensemble": ensemble, "reward": None, "terminated": None},
    )
    believed = {
        "fit": Part("suite.worldmodels.fit:Fit", {"dynamics": dynamics, **fit}),
        "propagation": Ref(f"suite.worldmodels.propagation:{propagation}"),
        **settings,
    }
    return Part("suite.agents.believed:Fitted", believed)


TOY_SAC = _off_policy("sac", "suite.agents.sac:SAC")
_RISING = {"first_epoch": 0, "last_epoch": 2, "shortest": 1, "longest": 3}
TOY_MBPO = _off_policy(
    "mbpo",
    "suite.agents.mbpo:MBPO",
    believed=_believed(
        "GaussianEnsemble",
        "TS1",
        {
            "batches": Part("suite.worldmodels.batches:Bootstrap", {"batch_size": 16}),
            "holdout": Part(
                "suite.worldmodels.batches:Holdout", {"elites": 2, "patience": 2}
            ),
        },
    ),
    branched=Part(
        "suite.agents.branching:Branched",
        {"starts": 8, "length": Part("suite.agents.branching:Growing", _RISING)},
    ),
    fit_every=24,  # no divisor of an iteration
    memory=Part("suite.agents.replay:Mixture", {"real_share": 0.25}),
)
TOY_DYNA = _off_policy(
    "dyna",
    "suite.agents.mbpo:MBPO",
    believed=_believed(
        "Ensemble",
        "Mean",
        {"batches": Part("suite.worldmodels.batches:Disjoint", {"batch_size": 8})},
        steps=3,
        data_noise=0.01,
    ),
    branched=Part("suite.agents.branching:Branched", {"starts": 2, "every": 3}),
    fit_every=24,
    memory=Part("suite.agents.replay:Replay", {"capacity": 50}),  # it wraps around
)
_PACE = {"exploration": 32, "collect": 16, "updates": 1, "epoch": 32}
_FIRST_ORDER = {"horizon": 2, "batch_size": 8, "actor_arch": [8], "critic_arch": [8]}
_SIZES = {"latent": 8, "encoder": [8], "hidden": [8]}
_LATENT = {
    "size": Part("suite.worldmodels.latent_sizes:LatentSizes", _SIZES),
    "has_end": True,
}
TOY_PWM = Benchmark(
    name="toy-pwm",
    about="The same point, through a latent model. It is for tests.",
    env=Env("toys:Toy-v0", num_envs=4),
    agent=Part(
        "suite.agents.pwm:PWM",
        {
            "fit": Part(
                "suite.worldmodels.latent_fit:LatentFit",
                {
                    "model": Part(
                        "suite.worldmodels.latent:LatentModel",
                        {"obs_size": 1, "action_size": 1, **_LATENT},
                    )
                },
            ),
            "first_order": Part("suite.agents.first_order:FirstOrder", _FIRST_ORDER),
            "pace": Part("suite.agents.pace:Pace", _PACE),
            "fitting": Part(
                "suite.agents.pwm:Fitting",
                {"first": 3, "updates": 2, "batch_size": 8, "capacity": 100},
            ),
        },
    ),
    total_timesteps=128,
    evaluation=Part(
        "suite.scores:NormalizedReturn",
        {"reference": None, "episodes": 4, "steps": 10},
    ),
    metric="return_mean",
    checkpoint_at=(0, 2),
)
RESUMABLE = {
    "ppo": TOY_PPO,
    "awr": TOY_AWR,
    "rerollout": TOY_RR,
    "dice": TOY_DICE,
    "iql": TOY_IQL,
    "cql": TOY_CQL,
    "mpc": TOY_MPC,
    "model": TOY_MODEL,
    "sac": TOY_SAC,
    "mbpo": TOY_MBPO,
    "dyna": TOY_DYNA,
    "pwm": TOY_PWM,
}
