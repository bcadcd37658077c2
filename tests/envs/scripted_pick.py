"""A hand-written PickCube controller, a witness that the physics can hold a cube."""

from __future__ import annotations

import mujoco
import numpy as np

from suite.envs import pickcube
from suite.envs.pickcube import PickCubeVectorEnv


class ScriptedPick:
    """Damped least squares on the tool: over the cube, down, close, to the goal."""

    def __init__(self) -> None:
        self.model = pickcube.scene_model(with_visuals=False)
        self.data = mujoco.MjData(self.model)
        self.stage, self.clock = 0, 0

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Action (8,) for an observation (42,)."""
        cube, goal, tcp = obs[29:32], obs[26:29], obs[19:22]
        above = cube + np.array([0, 0, 0.06])
        target, grip = {
            0: (above, 1.0),
            1: (cube, 1.0),
            2: (cube, -1.0),
            3: (goal + tcp - cube, -1.0),
        }[self.stage]
        self.clock += 1
        near = np.linalg.norm(tcp - target)
        if (self.stage == 0 and near < 0.02) or (self.stage == 1 and near < 0.006):
            self.stage, self.clock = self.stage + 1, 0
        elif self.stage == 2 and (obs[18] or self.clock > 6) and self.clock > 2:
            self.stage, self.clock = 3, 0
        return np.append(self._arm(obs, target - tcp), grip).astype(np.float32)

    def _arm(self, obs: np.ndarray, move: np.ndarray) -> np.ndarray:
        self.data.qpos[:9] = obs[:9]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        jacp, jacr = np.zeros((3, 15)), np.zeros((3, 15))
        mujoco.mj_jacSite(self.model, self.data, jacp, jacr, self.model.site("tcp").id)
        axes = self.data.site("tcp").xmat.reshape(3, 3)
        psi = 2 * np.arctan2(obs[35], obs[32])  # yaw of the cube
        closing = np.array([np.cos(psi), np.sin(psi), 0.0])
        # A cube looks the same after every quarter turn: take the nearest.
        options = [closing, np.array([-closing[1], closing[0], 0.0])]
        options += [-option for option in options]
        aim = max(options, key=lambda option: option @ axes[:, 1])
        turn = np.cross(axes[:, 2], [0, 0, -1.0]) + np.cross(axes[:, 1], aim)
        jacobian = np.vstack([jacp[:, :7], 0.3 * jacr[:, :7]])
        wanted = np.concatenate(
            [np.clip(3 * move, -0.1, 0.1), 0.3 * np.clip(turn, -0.5, 0.5)]
        )
        step = jacobian.T @ np.linalg.solve(
            jacobian @ jacobian.T + 1e-4 * np.eye(6), wanted
        )
        return np.clip(step / pickcube.ARM_DELTA, -1, 1)


class ScriptedPicks:
    """One script for each row of a vector environment."""

    def __init__(self, num_envs: int) -> None:
        self.scripts = [ScriptedPick() for _ in range(num_envs)]

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Actions (N, 8) for observations (N, 42)."""
        return np.stack(
            [script.act(row) for script, row in zip(self.scripts, obs, strict=True)]
        )

    def restart(self, rows: np.ndarray) -> None:
        """Begin anew in rows (a bool mask) whose episode ended."""
        for row in np.flatnonzero(rows).tolist():
            self.scripts[row] = ScriptedPick()


def scripted_episodes(num_envs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Whether each row succeeded within the time limit, and after how many steps."""
    env = PickCubeVectorEnv(num_envs, autoreset_mode="disabled")
    obs, _ = env.reset(seed=seed)
    scripts = ScriptedPicks(num_envs)
    steps = np.zeros(num_envs, int)
    done = terminated = np.zeros(num_envs, bool)
    for _ in range(pickcube.MAX_EPISODE_STEPS):
        steps += ~done
        obs, _, terminated, truncated, _ = env.step(scripts.act(obs))
        done = terminated | truncated
    return terminated, steps


def grasping(
    num_envs: int, seed: int = 0, steps: int = 20, **kwargs: object
) -> tuple[PickCubeVectorEnv, ScriptedPicks, np.ndarray]:
    """An environment in mid-pick, its scripts, and its observations.

    After 20 steps of seed 0 most rows hold their cube and none has ended.
    """
    env = PickCubeVectorEnv(num_envs, **kwargs)  # pyright: ignore[reportArgumentType]
    obs, _ = env.reset(seed=seed)
    scripts = ScriptedPicks(num_envs)
    for _ in range(steps):
        obs, _, terminated, truncated, _ = env.step(scripts.act(obs))
        scripts.restart(terminated | truncated)
    return env, scripts, obs
