"""The episode lifecycle, once: autoreset, time limit, seeding and snapshots."""

from __future__ import annotations

from typing import Any, Self

import gymnasium as gym
import numpy as np
from gymnasium import error
from gymnasium.vector.utils import batch_space

from suite.arrays import Snapshot
from suite.envs.arguments import (
    checked_actions,
    require_known,
    row_indices,
    rows_to_reset,
)
from suite.envs.episodes import Episodes
from suite.envs.rng import RowGenerators
from suite.envs.simulation import Ids, Simulation
from suite.envs.task import Task

RENDER_MODES = ("rgb_array", "human")  # of an environment with a scene
AUTORESET_MODES = ("next_step", "same_step", "disabled")
# Gymnasium 1.1 added an enum for these; 1.0 has none, so it is used where it exists.
_ENUM = getattr(gym.vector, "AutoresetMode", None)
AUTORESET_METADATA = {
    mode: _ENUM[mode.upper()] if _ENUM else mode for mode in AUTORESET_MODES
}
# Kept in a copy beside constructor and snapshot: the spec, the spaces' sampling state.
_KEPT = ("spec", "action_space", "single_action_space", "single_observation_space")


class BatchEnv(gym.vector.VectorEnv):
    """N rows of one simulation as a Gymnasium vector environment.

    Use it through ``gym.make_vec(id, num_envs=N,
    vectorization_mode="vector_entry_point")``; row i of it is bit for bit the single
    environment of the same seed plus i.

    Autoreset modes:
        next_step: Gymnasium's default; the step after an episode's end resets the row.
        same_step: The row resets at once; ``info["final_obs"]`` and
            ``info["final_info"]`` hold the end, with masks ``info["_final_obs"]`` and
            ``info["_final_info"]``.
        disabled: A finished row stands still, at no cost, until ``reset(options=
            {"reset_mask": ...})`` or ``restore``.

    Info: ``is_success`` (N,); ``state`` (N, S), the named state; ``sim_unstable`` (N,)
    where the physics blew up: such a row is truncated, with reward 0 and the state it
    had before. ``episode`` (return and length) is inside ``final_info`` only, so that
    Gymnasium's RecordEpisodeStatistics can add its own. A step may add more, with masks
    of the rows that moved: see ``reward_and_details``.

    Args:
        simulation: What steps.
        task: Observation, reward, termination and success.
        autoreset_mode: One of the three above.
        render_mode: ``"rgb_array"``, ``"human"`` or None; only None without a
            ``scene``.

    Raises:
        ValueError: For an unknown mode.
    """

    metadata: dict[str, Any] = {
        "render_modes": [],
        "render_fps": 20,
        "autoreset_mode": AUTORESET_METADATA["next_step"],
    }
    _renderer: Any = None  # here, since close() runs after a constructor that failed
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]  # of the constructor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "scene" in vars(cls) and not cls.metadata["render_modes"]:
            cls.metadata = {**cls.metadata, "render_modes": list(RENDER_MODES)}

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember what a copy is built with, so that no subclass needs to."""
        env = super().__new__(cls)
        env._arguments = args, kwargs
        return env

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
        require_known(
            "render_mode", render_mode, (None, *self.metadata["render_modes"])
        )
        self.simulation, self.task = simulation, task
        self.num_envs = simulation.num_rows
        self.autoreset_mode, self.render_mode = mode, render_mode
        self.metadata = {**self.metadata, "autoreset_mode": AUTORESET_METADATA[mode]}
        self.single_observation_space = task.observation_space
        self.single_action_space = task.action_space
        self.observation_space = batch_space(task.observation_space, self.num_envs)
        self.action_space = batch_space(task.action_space, self.num_envs)
        self._generators = RowGenerators(self.num_envs)
        self._episodes = Episodes(self.num_envs, task.max_episode_steps)
        self._state: np.ndarray | None = None  # named state (N, S); None before reset
        self._details: dict[str, np.ndarray] = {}  # of the last step
        box = task.observation_space
        self._obs = np.zeros((self.num_envs, *box.shape), box.dtype)
        box = task.action_space
        self._action_bounds = [
            np.repeat(bound[None], self.num_envs, axis=0)
            for bound in (box.low, box.high)
        ]
        self._mask = np.ones(self.num_envs, bool)  # gymnasium's "this key is set" mask

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
        ids = rows_to_reset(options, self.num_envs)
        if self._state is None and len(ids) != self.num_envs:
            raise ValueError(
                "the first reset must be of every row, got a partial reset_mask"
            )
        self._generators.seed(ids, seed)
        self._reset_rows(ids)
        if self.render_mode == "human":
            self.render_row(0)
        return self._obs.copy(), self._info(np.zeros(self.num_envs, bool))

    def _reset_rows(self, ids: np.ndarray) -> None:
        self.simulation.reset(ids, self._generators.draw_from(ids))
        self._episodes.start(ids)
        self._refresh(ids)

    def _refresh(self, ids: np.ndarray) -> None:
        """Recompute what follows from the simulation for rows reset or restored."""
        state = self.simulation.named_state(ids)
        if self._state is None:
            self._state = np.empty((self.num_envs, state.shape[1]), state.dtype)
        self._state = self._state.copy()  # the last info still refers to the old one
        self._state[ids] = state
        self._obs[ids] = self.task.observe(state)
        self._episodes.success[ids] = self.task.success(state)

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every running row by one control step.

        Args:
            actions: (N, A), finite; clipped to the action space.

        Returns:
            Observations (N, O), rewards (N,), terminated (N,), truncated (N,) and info.

        Raises:
            ValueError: If an action is NaN, infinite or of another shape, naming its
                row.
            gymnasium.error.ResetNeeded: Before the first reset.
        """
        self._require_reset("step")
        actions = checked_actions(actions, *self._action_bounds)
        episodes, self._details = self._episodes, {}
        if episodes.any_ended:  # never after a same-step autoreset
            ended, running = np.flatnonzero(episodes.ended), ~episodes.ended
            rewards, unstable = self._advance_rows(np.flatnonzero(running), actions)
            if self.autoreset_mode == "next_step":
                self._reset_rows(ended)
        else:
            rewards, unstable = self._advance(None, actions)
        info = self._info(unstable) | self._details
        terminated, truncated = episodes.terminated.copy(), episodes.truncated.copy()
        if episodes.any_ended and self.autoreset_mode == "same_step":
            self._autoreset(info)
        if self.render_mode == "human":
            self.render_row(0)
        return self._obs.copy(), rewards, terminated, truncated, info

    def _require_reset(self, call: str) -> None:
        if self._state is None:
            raise error.ResetNeeded(
                f"{call} was called before reset; call env.reset() first"
            )

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
        is_stable = not np.count_nonzero(unstable)
        if not is_stable:  # what a blow-up leaves means nothing: keep the last state
            next_state[unstable] = state[unstable]
        rewards, details = self.reward_and_details(state, actions, next_state)
        if details:
            self._details = self._masked(ids, details, unstable)
        success = task.success(next_state)
        # Often one function; it need not run twice.
        is_same = task.terminated is task.success
        terminated = success if is_same else task.terminated(next_state)
        if not is_stable:
            rewards = np.where(unstable, 0.0, rewards)
            success, terminated = success & ~unstable, terminated & ~unstable
        self._episodes.advance(ids, rewards, success, terminated, unstable)
        if ids is None:
            self._state = next_state
        else:
            # The last info still refers to the old one.
            self._state = self._state.copy()
            self._state[ids] = next_state
        self._obs[rows] = task.observe(next_state)
        return rewards, unstable

    def _autoreset(self, info: dict[str, Any]) -> None:
        """Report where episodes ended, then start the next ones at once."""
        episodes, done = self._episodes, self._episodes.ended
        info["final_obs"], info["_final_obs"] = self._obs.copy(), done
        info["final_info"] = {
            "is_success": info["is_success"],
            "sim_unstable": info["sim_unstable"],
            "episode": {"r": episodes.returns.copy(), "l": episodes.elapsed.copy()},
        }
        info["_final_info"] = done
        self._reset_rows(np.flatnonzero(done))

    def reward_and_details(
        self, state: np.ndarray, action: np.ndarray, next_state: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rewards (n,) of a step, and what else its info shall say by key, each (n,).

        Here the task's reward and nothing else; for subclasses to extend.
        """
        return self.task.reward(state, action, next_state), {}

    def _masked(
        self, ids: Ids, details: dict[str, np.ndarray], unstable: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Details (n,) of rows ``ids`` as (N,), with masks of those that moved."""
        if ids is None and not np.count_nonzero(unstable):
            return details | {f"_{key}": self._mask for key in details}
        moved = np.zeros(self.num_envs, bool)
        moved[slice(None) if ids is None else ids] = ~unstable
        found = {f"_{key}": moved for key in details}
        for key, values in details.items():
            found[key] = np.zeros(self.num_envs, values.dtype)
            found[key][moved] = values[~unstable]
        return found

    def _info(self, unstable: np.ndarray) -> dict[str, Any]:
        return {
            "is_success": self._episodes.success.copy(),
            "_is_success": self._mask,
            "state": self._state,
            "_state": self._mask,
            "sim_unstable": unstable,
            "_sim_unstable": self._mask,
        }

    # --------------------------------------------------------------- snapshots
    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """The exact state of rows ``ids``, all by default, for ``restore``.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset.
        """
        self._require_reset("snapshot")
        ids = row_indices(ids, self.num_envs)
        return Snapshot(
            {
                "simulation": self.simulation.get_state(ids),
                **self._episodes.get_state(ids),
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

        Use ``snapshot[np.zeros(K, int)]`` to fan one row out into K. The copies share
        the random stream of their row unless ``reseed`` is given.

        Args:
            snapshot: From ``snapshot`` of an environment of the same id; n rows.
            ids: The n rows to overwrite; all by default.
            reseed: Seed of new independent streams for the restored rows.

        Returns:
            Observations of the restored rows, (n, O).

        Raises:
            ValueError: If the number of rows does not match or the snapshot is of
                another environment.
        """
        ids = row_indices(ids, self.num_envs)
        self._require_fitting(snapshot, len(ids))
        if self._state is None:  # a fresh environment: give every row something valid
            self.reset(seed=0)
        self.simulation.set_state(ids, snapshot.state["simulation"])
        self._episodes.set_state(ids, snapshot.state)
        if reseed is None:
            self._generators.set_words(ids, snapshot.state["rng"])
        else:
            self._generators.spawn(ids, reseed)
        self._refresh(ids)
        return self._obs[ids]

    def _require_fitting(self, snapshot: Snapshot, num_rows: int) -> None:
        if len(snapshot) != num_rows:
            raise ValueError(
                f"the snapshot has {len(snapshot)} rows for {num_rows} rows of the "
                "environment; index it to fan out or pick: snapshot[rows]"
            )
        got = snapshot.state.get("simulation", np.empty((0, 0))).shape[1]
        own = self.simulation.get_state(np.zeros(1, np.int64)).shape[1]
        if got != own:
            raise ValueError(
                f"the snapshot holds {got} numbers of simulation state a row, this "
                f"environment {own}: it is of another environment or of a wrapper's"
            )

    def halt(self, ids: np.ndarray) -> None:
        """Let rows stand still, at no cost, until ``restore`` or a reset of them.

        They count as truncated: reward 0 and an unchanged observation from now on. Use
        it to stop re-rollouts whose remaining rewards no longer matter.

        Args:
            ids: Row indices.

        Raises:
            ValueError: Unless the autoreset mode is ``"disabled"``: in the others a row
                that stopped would be reset.
            gymnasium.error.ResetNeeded: Before the first reset.
        """
        if self.autoreset_mode != "disabled":
            raise ValueError(
                "halt needs autoreset_mode='disabled', else halted rows are reset; got "
                f"{self.autoreset_mode!r}"
            )
        self._require_reset("halt")
        self._episodes.halt(row_indices(ids, self.num_envs))

    # --------------------------------------------------------- pictures, copies
    def render(self) -> Any:
        """Pictures of all rows, a tuple of (H, W, 3) uint8; None in human mode.

        In human mode row 0 is drawn at every reset and step.
        """
        if self.render_mode == "human":
            return self.render_row(0)
        return tuple(self.render_row(row) for row in range(self.num_envs))

    def render_row(self, row: int) -> np.ndarray | None:
        """One row's picture (H, W, 3) uint8, or None after drawing the window."""
        if self.render_mode is None:
            gym.logger.warn(
                "render was called without a render_mode; pass one to gym.make"
            )
            return None
        if self._renderer is None:
            from suite.envs.render import renderer

            self._renderer = renderer(self.render_mode)
        return self._renderer.draw(*self.scene(row))

    def scene(self, row: int) -> tuple[Any, Any]:
        """The MuJoCo model and data that show a row; who has it can be drawn."""
        raise NotImplementedError(f"{type(self).__name__} has nothing to draw")

    def close_extras(self, **kwargs: Any) -> None:
        """Release the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __getstate__(self) -> dict[str, Any]:
        # A Batch holds threads and neither pickles nor copies: rebuild and restore.
        snapshot = None if self._state is None else self.snapshot()
        kept = {name: getattr(self, name) for name in _KEPT}
        return {"arguments": self._arguments, "snapshot": snapshot, "kept": kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        args, kwargs = self._arguments = state["arguments"]
        type(self).__init__(self, *args, **kwargs)
        vars(self).update(state["kept"])
        if state["snapshot"] is not None:
            self.restore(state["snapshot"])
