"""Rows of learned cars: what a simulator does, done by a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from suite.envs import mushr
from suite.envs.mushr import Driving
from suite.envs.simulation import Ids
from suite.worldmodels.car_dynamics import CarZ
from suite.worldmodels.car_ensemble import CarEnsemble, CarEnsembleZ
from suite.worldmodels.car_history import steady_command
from suite.worldmodels.dynamics import padded
from suite.worldmodels.noise import RowNoise

_LOW = np.uint64(0xFFFFFFFF)


class LearnedCars:
    """Rows that a model moves; what the task remembers, it says itself.

    Use it through ``MuSHR-Learned-v0``. The named state is that of ``MuSHR-v0``: the
    model gives the next six numbers, the task's ``advance`` makes a state of them. Rows
    are computed in multiples of 16, so that none depends on how many others there are,
    each with a random stream of its own.

    A row that leaves the finite numbers, or all that the members have seen (twists
    beyond 1.5 times the largest), counts as blown up and stays where it was.

    Args:
        num_rows: How many cars.
        task: What the named state remembers beside the car.
        model: Whom to believe of the members.

    Attributes:
        disagreement: (N,), of the members about each row's last step.
    """

    def __init__(self, num_rows: int, task: Driving, model: CarEnsemble):
        self.num_rows, self.task, self.model = num_rows, task, model
        self._state = np.zeros((num_rows, task.state_size))
        commands = (num_rows, model.dynamics.car.history, 2)
        self._history = np.zeros(commands, np.float32)
        self._member = np.full(num_rows, -1)
        self._keys = np.zeros(num_rows, np.uint64)
        self._counts = np.zeros(num_rows, np.uint64)  # steps since the row's reset
        self.disagreement = np.zeros(num_rows)

    # ---------------------------------------------------------------------- states
    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Where the task starts: with a seed, where ``MuSHR-v0`` of it does."""
        if not len(ids):
            return
        drawn = [self.task.start(rng) for rng in rngs]
        cars, goals = (np.stack(each) for each in zip(*drawn, strict=True))
        self._keys[ids] = [rng.integers(2**64, dtype=np.uint64) for rng in rngs]
        self._counts[ids] = 0
        self.place(ids, cars, goals)

    def place(self, ids: np.ndarray, cars: np.ndarray, goals: np.ndarray) -> None:
        """Put cars where they shall be, as if they had gone on like that for long.

        Args:
            ids: The n rows.
            cars: (n, 6).
            goals: (n, G), as ``task.start`` draws them.
        """
        self._state[ids] = self.task.begin(cars, goals)
        steady = steady_command(cars, self.model.dynamics.car)
        self._history[ids] = steady[:, None]
        self._member[ids], self.disagreement[ids] = -1, 0.0

    def named_state(self, ids: Ids) -> np.ndarray:
        """The car's six numbers, the last action, the task's memory, (n, S)."""
        return self._state[slice(None) if ids is None else ids].copy()

    def get_state(self, ids: Ids) -> np.ndarray:
        """State, history, whom a row believes, its place in its random stream."""
        rows = np.arange(self.num_rows) if ids is None else ids
        keys = self._keys[rows]
        columns = [
            self._state[rows],
            self._history[rows].reshape(len(rows), -1),
            self._member[rows, None],
            (keys >> np.uint64(32))[:, None],  # in halves: float64 holds 53 bits
            (keys & _LOW)[:, None],
            self._counts[rows, None],
        ]
        return np.concatenate([np.asarray(c, np.float64) for c in columns], axis=1)

    def set_state(self, ids: Ids, state: np.ndarray) -> None:
        """Put rows of ``get_state`` back."""
        rows = slice(None) if ids is None else ids
        size, commands = self._state.shape[1], self._history[0].size
        self._state[rows] = state[:, :size]
        history = state[:, size : size + commands]
        self._history[rows] = history.reshape(-1, *self._history.shape[1:])
        member, high, low, counts = state[:, size + commands :].T
        self._member[rows], self._counts[rows] = member, counts
        self._keys[rows] = high.astype(np.uint64) << np.uint64(32) | low.astype(
            np.uint64
        )
        self.disagreement[rows] = 0.0

    def reseed(self, ids: np.ndarray, seed: int) -> None:
        """Give rows new independent streams."""
        # A second word, since BatchEnv seeds its own streams with the first alone.
        rng = np.random.default_rng([seed, 1])
        self._keys[ids] = rng.integers(2**64, size=len(ids), dtype=np.uint64)

    # ----------------------------------------------------------------------- steps
    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance rows; returns which the model lost (n,)."""
        rows = np.arange(self.num_rows) if ids is None else ids
        cars, member, lost = self._moved(rows, action)
        cars[:, mushr.THETA] = mushr.wrap(cars[:, mushr.THETA])
        state = self._state[rows]
        after = self.task.advance(state, action.astype(np.float64), cars)
        kept, rest = rows[~lost], ~lost
        self._state[kept], self._member[kept] = after[rest], member[rest]
        history = np.concatenate([self._history[rows], action[:, None]], axis=1)
        self._history[kept] = history[rest, 1:]
        self._counts[rows] += np.uint64(1)
        return lost

    @torch.no_grad()
    def _moved(
        self, rows: np.ndarray, action: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The next cars (n, 6), whom they believe (n,), which are lost (n,)."""
        count = len(rows)
        chosen = np.resize(rows, padded(count))  # some twice, to fill up
        state = torch.from_numpy(self._state[chosen][:, mushr.CAR]).float()
        history = torch.from_numpy(self._history[chosen])
        z = CarEnsembleZ(
            CarZ(state, history), torch.from_numpy(self._member[chosen].copy())
        )
        told = torch.from_numpy(np.resize(action, (len(chosen), 2)).astype(np.float32))
        twists = self.model.twists(z.car, told)
        noise = RowNoise(self._keys[chosen], self._counts[chosen])
        found = self.model.follow(twists, z, told, generator=noise).next_z
        unsure = self.model.truncated(found) | ~found.car.state.isfinite().all(dim=1)
        self.disagreement[rows] = self.model.disagreement(twists)[:count].numpy()
        cars = found.car.state[:count].double().numpy()
        return cars, found.member[:count].numpy(), unsure[:count].numpy()
