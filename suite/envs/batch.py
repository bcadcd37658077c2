"""The episode lifecycle, once: autoreset, time limit, seeding, validation, snapshots."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import error, spaces
from gymnasium.vector.utils import batch_space

from suite.arrays import Snapshot
from suite.envs.rng import RowGenerators
from suite.envs.simulation import Ids, Simulation

AUTORESET_MODES = ("next_step", "same_step", "disabled")
# Gymnasium 1.1 added an enum for these; 1.0 has none, so the enum is used where it exists.
_ENUM = getattr(gym.vector, "AutoresetMode", None)
AUTORESET_METADATA = {
    mode: _ENUM[mode.upper()] if _ENUM else mode for mode in AUTORESET_MODES
}


class Task(Protocol):
    """What is asked of the simulation: pure batched functions of its named state.

    One task serves the simulator, a learned model and a planner, so each function takes
    NumPy arrays or torch tensors with any leading axes.
    """

    observation_space: spaces.Box
    action_space: spaces.Box
    max_episode_steps: int

    def observe(self, state: Any) -> Any:
        """Observation (..., O) of a state (..., S)."""
        ...

    def reward(self, state: Any, action: Any, next_state: Any) -> Any:
        """Reward (...) of a transition."""
        ...

    def terminated(self, state: Any) -> Any:
        """Whether the episode ends in this state (...)."""
        ...

    def success(self, state: Any) -> Any:
        """Whether the task is solved in this state (...)."""
        ...


class BatchEnv(gym.vector.VectorEnv):
    """N rows of one simulation as a Gymnasium vector environment.

    Use it through ``gym.make_vec(id, num_envs=N, vectorization_mode="vector_entry_point")``;
    row i of it is bit for bit the single environment of the same seed plus i.

    Autoreset modes:
        next_step: Gymnasium's default; the step after an episode's end resets the row.
        same_step: The row resets at once; ``info["final_obs"]`` and ``info["final_info"]``
            hold the end, with masks ``info["_final_obs"]`` and ``info["_final_info"]``.
        disabled: A finished row stands still, at no cost, until ``reset(options=
            {"reset_mask": ...})`` or ``restore``.

    Info: ``is_success`` (N,), ``state`` (N, S) the named state, ``sim_unstable`` (N,) where
    the physics blew up (the row is truncated). ``episode`` (return and length) is inside
    ``final_info`` only, so that Gymnasium's RecordEpisodeStatistics can add its own.

    Args:
        simulation: What steps.
        task: Observation, reward, termination and success.
        autoreset_mode: One of the three above.
        render_mode: ``"rgb_array"``, ``"human"`` or None.

    Raises:
        ValueError: For an unknown mode.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array", "human"],
        "render_fps": 20,
        "autoreset_mode": AUTORESET_METADATA["next_step"],
    }

    def __init__(
        self,
        simulation: Simulation,
        task: Task,
        *,
        autoreset_mode: str = "next_step",
        render_mode: str | None = None,
    ):
        mode = str(getattr(autoreset_mode, "name", autoreset_mode)).lower()
        require_known("autoreset_mode", mode, AUTORESET_MODES)
        require_known("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        self.simulation, self.task = simulation, task
        self.num_envs = simulation.num_rows
        self.autoreset_mode, self.render_mode = mode, render_mode
        self.metadata = {**self.metadata, "autoreset_mode": AUTORESET_METADATA[mode]}
        self.single_observation_space = task.observation_space
        self.single_action_space = task.action_space
        self.observation_space = batch_space(task.observation_space, self.num_envs)
        self.action_space = batch_space(task.action_space, self.num_envs)
        self._action_shape = (self.num_envs, *task.action_space.shape)
        self._all = np.arange(self.num_envs)
        self._generators = RowGenerators(self.num_envs)
        self._is_seeded = False
        self._state: np.ndarray | None = None  # named state (N, S); None before reset
        self._obs = np.zeros(self.observation_space.shape, task.observation_space.dtype)
        self._elapsed = np.zeros(self.num_envs, np.int64)
        self._returns = np.zeros(self.num_envs)
        self._success = np.zeros(self.num_envs, bool)
        self._terminated = np.zeros(self.num_envs, bool)
        self._truncated = np.zeros(self.num_envs, bool)
        self._ended = np.zeros(self.num_envs, bool)  # terminated or truncated
        self._any_ended = False
        self._mask = np.ones(self.num_envs, bool)  # gymnasium's "this key is set" mask
        self._renderer: Any = None

    # ---------------------------------------------------------------- episodes
    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: Row i is seeded ``seed + i``, or ``seed[i]``; None keeps the streams.
            options: ``{"reset_mask": (N,) bool}`` resets only those rows.

        Returns:
            Observations (N, O) and info.

        Raises:
            ValueError: If the mask has another shape, the first reset is partial, or a
                list of seeds has another length.
        """
        ids = self._rows_to_reset(options)
        self._seed_rows(ids, seed)
        self._reset_rows(ids)
        if self.render_mode == "human":
            self.render_row(0)
        return self._obs.copy(), self._info(np.zeros(self.num_envs, bool))

    def _rows_to_reset(self, options: dict[str, Any] | None) -> np.ndarray:
        mask = None if options is None else options.get("reset_mask")
        if mask is None:
            return self._all
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise ValueError(
                f"reset_mask must be a bool array of shape ({self.num_envs},), got "
                f"{mask.dtype} {mask.shape}"
            )
        if self._state is None and not mask.all():
            raise ValueError("the first reset must be of every row, got a partial mask")
        return np.flatnonzero(mask)

    def _seed_rows(self, ids: np.ndarray, seed: int | list[int | None] | None) -> None:
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + row for row in ids.tolist()]
        elif len(seed) == self.num_envs:
            seeds = [seed[row] for row in ids.tolist()]
        else:
            raise ValueError(f"a list of seeds needs {self.num_envs}, got {len(seed)}")
        if not self._is_seeded:  # rows without a seed get one from the system
            fresh = np.random.SeedSequence().generate_state(len(seeds), np.uint64).tolist()
            seeds = [f if s is None else s for s, f in zip(seeds, fresh, strict=True)]
        given = [row for row, s in zip(ids.tolist(), seeds, strict=True) if s is not None]
        self._generators.seed(
            np.array(given, np.int64), [s for s in seeds if s is not None]
        )
        self._is_seeded = True

    def _reset_rows(self, ids: np.ndarray) -> None:
        self.simulation.reset(ids, self._generators.draw_from(ids))
        self._elapsed[ids] = 0
        self._returns[ids] = 0.0
        self._terminated[ids] = self._truncated[ids] = False
        self._refresh(ids)

    def _refresh(self, ids: np.ndarray) -> None:
        """Recompute what follows from the simulation for rows reset or restored."""
        state = self.simulation.named_state(ids)
        if self._state is None:
            self._state = np.empty((self.num_envs, state.shape[1]), state.dtype)
        self._state = self._state.copy()  # the last info still refers to the old one
        self._state[ids] = state
        self._obs[ids] = self.task.observe(state)
        self._success[ids] = self.task.success(state)
        self._note_ended()

    def _note_ended(self) -> None:
        self._ended = self._terminated | self._truncated
        self._any_ended = bool(np.count_nonzero(self._ended))

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every running row by one control step.

        Args:
            actions: (N, A), finite; clipped to the action space.

        Returns:
            Observations (N, O), rewards (N,), terminated (N,), truncated (N,) and info.

        Raises:
            ValueError: If an action is NaN, infinite or of another shape, naming its row.
            gymnasium.error.ResetNeeded: Before the first reset.
        """
        actions = self._checked(actions)
        if self._any_ended:  # never after a same-step autoreset
            ended = np.flatnonzero(self._ended)
            rewards, unstable = self._advance_rows(np.flatnonzero(~self._ended), actions)
            if self.autoreset_mode == "next_step":
                self._reset_rows(ended)
        else:
            rewards, unstable = self._advance(None, actions)
        info = self._info(unstable)
        terminated, truncated = self._terminated.copy(), self._truncated.copy()
        if self._any_ended and self.autoreset_mode == "same_step":
            self._autoreset(info)
        if self.render_mode == "human":
            self.render_row(0)
        return self._obs.copy(), rewards, terminated, truncated, info

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        if self._state is None:
            raise error.ResetNeeded("step was called before reset; call env.reset() first")
        actions = np.asarray(actions)
        if actions.shape != self._action_shape:
            raise ValueError(
                f"actions must have shape {self._action_shape}, got {actions.shape}"
            )
        finite = np.isfinite(actions)
        if np.count_nonzero(finite) != finite.size:
            row = int(np.flatnonzero(~finite.all(axis=1))[0])
            raise ValueError(
                f"actions must be finite, got {actions[row]} in row {row}; check the policy "
                "for NaN weights"
            )
        space = self.single_action_space
        return np.minimum(np.maximum(actions, space.low), space.high)

    def _advance_rows(
        self, ids: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Step rows ``ids``; the others keep their observation and get reward 0."""
        rewards, unstable = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        if ids.size:
            rewards[ids], unstable[ids] = self._advance(ids, actions[ids])
        return rewards, unstable

    def _advance(self, ids: Ids, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Step rows ``ids``, all if None; their rewards and which blew up."""
        assert self._state is not None
        rows = slice(None) if ids is None else ids
        task, state = self.task, self._state[rows]
        unstable = self.simulation.step(ids, actions)
        next_state = self.simulation.named_state(ids)
        is_calm = not np.count_nonzero(unstable)
        if not is_calm:  # what the physics left there means nothing: keep the last state
            next_state[unstable] = state[unstable]
        rewards = task.reward(state, actions, next_state)
        success = task.success(next_state)
        ends = success if task.terminated is task.success else task.terminated(next_state)
        if not is_calm:
            rewards = np.where(unstable, 0.0, rewards)
            success, ends = success & ~unstable, ends & ~unstable
        self._elapsed[rows] += 1
        self._returns[rows] += rewards
        self._success[rows], self._terminated[rows] = success, ends
        self._truncated[rows] = unstable | (self._elapsed[rows] >= task.max_episode_steps)
        if ids is None:
            self._state = next_state
        else:
            self._state = self._state.copy()  # the last info still refers to the old one
            self._state[ids] = next_state
        self._obs[rows] = task.observe(next_state)
        self._note_ended()
        return rewards, unstable

    def _autoreset(self, info: dict[str, Any]) -> None:
        """Report where episodes ended, then start the next ones at once."""
        done = self._ended
        info["final_obs"], info["_final_obs"] = self._obs.copy(), done
        info["final_info"] = {
            "is_success": info["is_success"],
            "sim_unstable": info["sim_unstable"],
            "episode": {"r": self._returns.copy(), "l": self._elapsed.copy()},
        }
        info["_final_info"] = done
        self._reset_rows(np.flatnonzero(done))

    def _info(self, unstable: np.ndarray) -> dict[str, Any]:
        return {
            "is_success": self._success.copy(),
            "_is_success": self._mask,
            "state": self._state,
            "_state": self._mask,
            "sim_unstable": unstable,
            "_sim_unstable": self._mask,
        }

    # --------------------------------------------------------------- snapshots
    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """The exact state of rows ``ids`` (all by default), to be put back by ``restore``."""
        if self._state is None:
            raise error.ResetNeeded("snapshot was called before reset; reset first")
        ids = self._all if ids is None else np.asarray(ids)
        return Snapshot(
            {
                "simulation": self.simulation.get_state(ids),
                "elapsed": self._elapsed[ids],
                "returns": self._returns[ids],
                "terminated": self._terminated[ids],
                "truncated": self._truncated[ids],
                "rng": self._generators.words(ids),
            }
        )

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """Put a snapshot's rows into rows ``ids`` of this environment.

        Use ``snapshot[np.zeros(K, int)]`` to fan one row out into K. The copies share the
        random stream of their row unless ``reseed`` is given.

        Args:
            snapshot: From ``snapshot`` of an environment of the same id; n rows.
            ids: The n rows to overwrite; all by default.
            reseed: Seed of new independent streams for the restored rows.

        Returns:
            Observations of the restored rows, (n, O).

        Raises:
            ValueError: If the number of rows does not match.
        """
        ids = self._all if ids is None else np.asarray(ids)
        if len(snapshot) != len(ids):
            raise ValueError(
                f"the snapshot has {len(snapshot)} rows for {len(ids)} rows of the "
                "environment; index it to fan out or pick: snapshot[rows]"
            )
        if self._state is None:  # a fresh environment: give every row something valid
            self.reset(seed=0)
        state = snapshot.state
        self.simulation.set_state(ids, state["simulation"])
        self._elapsed[ids], self._returns[ids] = state["elapsed"], state["returns"]
        self._terminated[ids] = state["terminated"]
        self._truncated[ids] = state["truncated"]
        if reseed is None:
            self._generators.set_words(ids, state["rng"])
        else:
            self._generators.spawn(ids, reseed)
        self._is_seeded = True
        self._refresh(ids)
        return self._obs[ids]

    def halt(self, ids: np.ndarray) -> None:
        """Let rows stand still, at no cost, until ``restore`` or a reset of them.

        They count as truncated: reward 0 and an unchanged observation from now on. Use it
        to stop re-rollouts whose remaining rewards no longer matter.

        Args:
            ids: Row indices.

        Raises:
            ValueError: Unless the autoreset mode is ``"disabled"``: in the others a row
                that stopped would be reset.
            gymnasium.error.ResetNeeded: Before the first reset.
        """
        if self.autoreset_mode != "disabled":
            raise ValueError(
                "halt needs autoreset_mode='disabled' (in the others a row that stopped is "
                f"reset), got {self.autoreset_mode!r}; pass it to gym.make_vec"
            )
        if self._state is None:
            raise error.ResetNeeded("halt was called before reset; call env.reset() first")
        self._truncated[ids] = True
        self._note_ended()

    # --------------------------------------------------------- pictures, copies
    def render(self) -> Any:
        """Pictures of all rows, a tuple of (H, W, 3) uint8; a window in human mode."""
        return tuple(self.render_row(row) for row in range(self.num_envs))

    def render_row(self, row: int) -> np.ndarray | None:
        """One row's picture (H, W, 3) uint8, or None after drawing the window."""
        if self.render_mode is None:
            gym.logger.warn("render was called without a render_mode; pass one to gym.make")
            return None
        if self._renderer is None:
            from suite.envs.render import renderer

            self._renderer = renderer(self.render_mode)
        return self._renderer.draw(*self.scene(row))

    def scene(self, row: int) -> tuple[Any, Any]:
        """The MuJoCo model and data that show a row."""
        raise NotImplementedError(f"{type(self).__name__} has nothing to draw")

    def close_extras(self, **kwargs: Any) -> None:
        """Release the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __getstate__(self) -> dict[str, Any]:
        # A Batch holds threads and neither pickles nor copies: rebuild and restore instead.
        snapshot = None if self._state is None else self.snapshot()
        return {"kwargs": self.constructor_kwargs(), "snapshot": snapshot}

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, **state["kwargs"])
        if state["snapshot"] is not None:
            self.restore(state["snapshot"])

    def constructor_kwargs(self) -> dict[str, Any]:
        """The arguments that rebuild this environment."""
        raise NotImplementedError(f"{type(self).__name__} does not pickle")


def require_known(name: str, value: Any, known: tuple[Any, ...]) -> None:
    """Refuse an argument that is none of the known values.

    Raises:
        ValueError: Naming the argument and the values it takes.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {list(known)}, got {value!r}")
