"""A model as a Gymnasium environment, single and vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from suite.arrays import Snapshot
from suite.envs.arguments import (
    require_kind,
    require_positive,
    row_indices,
    rows_to_reset,
)
from suite.envs.batch import BatchEnv
from suite.envs.single import SingleEnv
from suite.worldmodels.model_simulation import ModelSimulation, ModelTask
from suite.worldmodels.model_spec import Model, live_model, recorded

_STANDARD = (
    gym.wrappers.TimeLimit,
    gym.wrappers.OrderEnforcing,
    gym.wrappers.PassiveEnvChecker,
)


class ModelVectorEnv(BatchEnv):
    """N episodes inside a model, as a Gymnasium vector environment.

    Use it where an agent shall learn or be judged in a model, many rows at a time. It
    has all of ``BatchEnv``: three autoreset modes, time limit, snapshots. Row i is bit
    for bit the ``ModelEnv`` of the same seed plus i.

    Episodes start where ``env`` starts them: with a seed, where the environment of that
    seed starts; later ones at seeds drawn from the row's stream. ``env`` is never
    stepped.

    Observations are clipped to the space; the model's own state is not.

    Info: As ``BatchEnv``. ``state`` (N, O + 3) is the observation before clipping, the
    last reward, whether the episode terminated and whether the task is solved.
    ``sim_unstable`` (N,) also where the model gave a row up (``Bounded``).

    Args:
        env: The environment that is modelled, with flat ``Box`` spaces. Whoever made it
            closes it.
        model: What is stepped: a ``DynamicsModel``, or a ``Part`` that makes one.
        num_envs: N.
        autoreset_mode: As ``BatchEnv``.
        max_episode_steps: Time limit; None is the environment's own, or none if it has
            none.

    Raises:
        ValueError: If spaces and model do not fit.
        TypeError: If the model is none.
    """

    simulation: ModelSimulation

    def __init__(
        self,
        env: gym.Env,
        model: Model,
        num_envs: int = 1,
        *,
        autoreset_mode: str = "next_step",
        max_episode_steps: int | None = None,
    ):
        require_positive("num_envs", num_envs)
        advice = "it is the one environment where the rows' episodes start"
        require_kind("env", env, gym.Env, advice)
        limit = time_limit(env) if max_episode_steps is None else max_episode_steps
        require_positive("max_episode_steps", limit)
        actions = _box("action", env.action_space)
        _box("observation", env.observation_space)
        simulation = ModelSimulation(live_model(model), env, num_envs)
        task = ModelTask(_shown(simulation, env), actions, limit)
        super().__init__(simulation, task, autoreset_mode=autoreset_mode)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start new episodes; see ``BatchEnv.reset``.

        Args:
            seed: Row i starts where the environment of seed + i starts, or of seed[i].
            options: ``{"reset_mask": (N,) bool}`` resets only those rows.
        """
        if seed is not None:
            ids = rows_to_reset(options, self.num_envs)
            seeds = _seeds(seed, self.num_envs)
            self.simulation.seeds = {
                row: int(given)
                for row, given in enumerate(seeds)
                if given is not None and row in ids
            }
        try:
            return super().reset(seed=seed, options=options)
        finally:
            self.simulation.seeds = {}  # of a reset that was refused

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """As ``BatchEnv.restore``; ``reseed`` also renews the model's own noise."""
        obs = super().restore(snapshot, ids, reseed=reseed)
        if reseed is not None:
            self.simulation.reseed(row_indices(ids, self.num_envs), reseed)
        return obs


class ModelEnv(gym.Wrapper, RecordConstructorArgs):
    """An environment whose steps are a model's.

    Use it to run whatever takes a ``gymnasium.Env`` inside a learned model: it resets
    with the environment inside, and steps in the model. It is one row of
    ``ModelVectorEnv``, has its own time limit, can be saved and restored exactly, and
    is data: its ``spec`` survives JSON if the model is given as a ``Part``. Gradients
    flow through ``imagine`` with the same model.

        env = ModelEnv(gym.make("Pendulum-v1"), TS1(dynamics))

    Args:
        env: As ``ModelVectorEnv``.
        model: As ``ModelVectorEnv``.
        max_episode_steps: As ``ModelVectorEnv``.

    Raises:
        ValueError: If spaces and model do not fit, or the spec of a live model was
            remade.
        TypeError: If the model is none.
    """

    saves_all = True  # the environment inside is never stepped, and reset with a seed

    def __init__(
        self, env: gym.Env, model: Model, *, max_episode_steps: int | None = None
    ):
        RecordConstructorArgs.__init__(
            self, model=recorded(model), max_episode_steps=max_episode_steps
        )
        require_kind("env", env, gym.Env, "gym.make makes one of an id")
        gym.Wrapper.__init__(self, env)
        self.row = SingleEnv(
            ModelVectorEnv(
                env,
                model,
                autoreset_mode="disabled",
                max_episode_steps=max_episode_steps,
            )
        )
        self.observation_space = self.row.observation_space
        self.metadata = {"render_modes": []}

    @property
    def render_mode(self) -> None:
        """None: a model has nothing to draw."""
        return None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start where the environment of this seed starts.

        Raises:
            ValueError: For options: a model knows no others than its own starts.
        """
        if options:
            raise ValueError(
                f"a model takes no reset options, got {options}; give the seed of a "
                "start, or restore a snapshot"
            )
        return self.row.reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step in the model.

        Raises:
            ValueError: If the action is NaN, infinite or of another shape.
        """
        return self.row.step(action)

    def render(self) -> None:
        """Nothing, with a warning."""
        gym.logger.warn("a model has nothing to draw; render the environment itself")

    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """The exact state, one row; see ``BatchEnv.snapshot``."""
        return self.row.snapshot(ids)

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """Put a one-row snapshot back; returns the observation (O,)."""
        return self.row.restore(snapshot, ids, reseed=reseed)

    def halt(self, ids: np.ndarray) -> None:
        """Stand still until ``restore`` or ``reset``; see ``BatchEnv.halt``."""
        self.row.halt(ids)


def learned(
    env: str, model: Model, *, max_episode_steps: int | None = None, **kwargs: Any
) -> ModelEnv:
    """A registered environment with a model in the place of its dynamics.

    Use it to give a model an id of its own, without ``max_episode_steps`` in the
    registration, since the model's environment has its own limit:

        gym.register(
            "Pendulum-Learned-v0",
            entry_point="suite.worldmodels.model_env:learned",
            vector_entry_point="suite.worldmodels.model_env:learned_vec",
            kwargs={"env": "Pendulum-v1", "model": {"call": ..., "kwargs": ...}},
        )

    Args:
        env: An id.
        model: As ``ModelVectorEnv``.
        max_episode_steps: As ``ModelVectorEnv``.
        **kwargs: Of the environment.
    """
    start, limit = _start(env, max_episode_steps, kwargs)
    return ModelEnv(start, model, max_episode_steps=limit)


def learned_vec(
    num_envs: int,
    env: str,
    model: Model,
    *,
    autoreset_mode: str = "next_step",
    max_episode_steps: int | None = None,
    **kwargs: Any,
) -> ModelVectorEnv:
    """N rows of ``learned``, for the ``vector_entry_point`` of a registration."""
    start, limit = _start(env, max_episode_steps, kwargs)
    return ModelVectorEnv(
        start, model, num_envs, autoreset_mode=autoreset_mode, max_episode_steps=limit
    )


def _start(
    env_id: str, limit: int | None, kwargs: dict[str, Any]
) -> tuple[gym.Env, int]:
    """An environment that only resets, without what guards its steps, and the limit."""
    env = gym.make(env_id, disable_env_checker=True, **kwargs)
    limit = time_limit(env) if limit is None else limit
    while isinstance(env, _STANDARD):
        env = env.env
    return env, limit


def time_limit(env: gym.Env) -> int:
    """Steps after which an environment truncates: the least limit of its layers."""
    limits = [np.iinfo(np.int64).max]
    layer: Any = env
    while True:
        if isinstance(layer, gym.wrappers.TimeLimit):
            limits.append(layer._max_episode_steps)
        if isinstance(layer, ModelEnv):
            layer = layer.row
        if isinstance(layer, SingleEnv):
            limits.append(layer.batch.task.max_episode_steps)
        if not isinstance(layer, gym.Wrapper):
            return int(min(limits))
        layer = layer.env


def _box(kind: str, space: Any) -> spaces.Box:
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ValueError(
            f"a model's environment needs a flat Box as {kind} space, got {space}; "
            "flatten it with a wrapper"
        )
    return space


def _shown(simulation: ModelSimulation, env: gym.Env) -> spaces.Box:
    """The observation space: the environment's, unless the model shows another one."""
    found = getattr(simulation.model, "observation_space", env.observation_space)
    space = _box("observation", found)
    shown, size = simulation.obs_size, space.shape[0]
    if size != shown:
        raise ValueError(
            f"the model shows {shown} numbers, the observation space has {size}; a "
            "model that shows something else says so in an observation_space of its own"
        )
    return space


def _seeds(seed: int | Sequence[int | None], rows: int) -> Sequence[int | None]:
    if isinstance(seed, int | np.integer):
        return [int(seed) + row for row in range(rows)]
    return seed
