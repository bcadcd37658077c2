"""Laps: how fast, and how near to the centreline, a driver drives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.envs import mushr
from suite.envs.arguments import require_positive
from suite.evaluation import require_finite


class Laps:
    """Drives a number of laps by a driver of ``suite.agents.driving``.

    The first lap begins where the task starts an episode, at up to 1 m/s. A car that
    leaves the track is out.

    The result has ``laps`` that were finished, ``crashes``, ``steps`` driven;
    ``lap_time`` (s, mean over finished laps; NaN without any), ``cross_track`` (m, mean
    distance from the centreline over steps), ``cross_track_rms``, ``cross_track_max``,
    ``speed`` (m/s, mean); and of the n-th finished lap, over cars, ``lap_time_<n>`` and
    ``cross_track_<n>``.

    Args:
        make_env: ``make_env(num_envs, autoreset_mode=..., num_threads=...)``, of a
            track.
        laps: Of each car.
        cars: Side by side, planned for at once; each alone on its track.
        seed: Of starts and plans.
        threads: Threads that step the cars.

    Raises:
        ValueError: If a count is below 1.
    """

    def __init__(
        self,
        make_env: Callable[..., Any],
        *,
        laps: int = 2,
        cars: int = 1,
        seed: int = 0,
        threads: int = 1,
    ):
        require_positive("laps", laps)
        require_positive("cars", cars)
        self.laps, self.seed = laps, seed
        self.env = make_env(cars, autoreset_mode="disabled", num_threads=threads)

    def __call__(self, driver: Any, key: int) -> dict[str, float]:
        """Drive; ``key`` draws other starts and plans."""
        require_finite(driver)
        words = np.random.SeedSequence([self.seed, key]).generate_state(2)
        _, info = self.env.reset(seed=int(words[0] >> 1))
        wheel = driver.begin(self.env.num_envs, int(words[1]))
        log = _Log(self.env.num_envs)
        running = np.ones(self.env.num_envs, bool)
        while running.any():
            seen = driver.seen(self.env, info["state"], wheel)
            _, _, terminated, truncated, info = self.env.step(driver.act(seen, wheel))
            log.add(info, running)
            is_done = running & ~(terminated | truncated) & (log.laps >= self.laps)
            if is_done.any():
                self.env.unwrapped.halt(np.flatnonzero(is_done))
            log.crashed |= running & terminated
            running &= ~(terminated | truncated | is_done)
        return log.told()


class _Log:
    """What cars did, step by step."""

    def __init__(self, cars: int):
        self.laps = np.zeros(cars, int)
        self.crashed = np.zeros(cars, bool)
        self._offsets: list[np.ndarray] = []
        self._speeds: list[np.ndarray] = []
        self._lap: list[np.ndarray] = []  # which lap each step belongs to, -1 for none
        self._times: list[tuple[int, float]] = []  # lap and seconds

    def add(self, info: dict[str, Any], running: np.ndarray) -> None:
        """Note a step of the cars that drive."""
        self._offsets.append(np.abs(info["cross_track"]))
        self._speeds.append(info["state"][:, mushr.VX].copy())
        self._lap.append(np.where(running, self.laps, -1))
        for car in np.flatnonzero(running & (info["lap_time"] > 0)):
            self._times.append((int(self.laps[car]), float(info["lap_time"][car])))
            self.laps[car] += 1

    def told(self) -> dict[str, float]:
        """The result; see ``Laps``."""
        offsets, speeds, lap = (
            np.stack(each) for each in (self._offsets, self._speeds, self._lap)
        )
        driven = lap >= 0
        found = {
            "laps": float(self.laps.sum()),
            "crashes": float(self.crashed.sum()),
            "steps": float(driven.sum()),
            "lap_time": _mean([seconds for _, seconds in self._times]),
            "cross_track": float(offsets[driven].mean()),
            "cross_track_rms": float(np.sqrt(np.square(offsets[driven]).mean())),
            "cross_track_max": float(offsets[driven].max()),
            "speed": float(speeds[driven].mean()),
        }
        for n in range(int(self.laps.max(initial=0))):
            found[f"lap_time_{n + 1}"] = _mean([s for at, s in self._times if at == n])
            found[f"cross_track_{n + 1}"] = float(offsets[lap == n].mean())
        return found


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
