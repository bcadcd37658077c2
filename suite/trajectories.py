"""Trajectories of the MuSHR car for learning how it moves: ``suite/mushr-...-v0``.

One id is one content. ``suite/mushr-real-v0`` is what a motion capture sees of a car
with the gap ``"real"``; ``-test`` and ``-ood`` are other trajectories, the latter
driven in ways that training never shows; ``-clean`` is the same without noise.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.data.cards import versions
from suite.data.excitation import OPEN_LOOP, Lap, Pursuit, Speeds, lap
from suite.envs import mushr
from suite.envs.mushr import Drift
from suite.envs.mushr_gaps import GAPS, Gap
from suite.running.process import cores
from suite.transitions import Dataset

STEPS = 200  # of a trajectory: 10 s
ROWS = 250  # simulated at a time, at most; what comes out does not depend on it
SPLITS = {"": 1000, "test": 50, "ood": 50}  # trajectories of each
FAMILIES = {
    "constant": 0.10,
    "hold": 0.35,
    "sinusoid": 0.20,
    "chirp": 0.10,
    "noise": 0.10,
    "pursuit": 0.15,
}  # share of the trajectories
ICY, ICY_FRICTION = 0.1, 0.25  # share of trajectories on ice: the tail of the errors
# How the trajectories out of distribution differ, a third of them each.
SHIFTS = ("speed", "friction", "family")
OOD_SPEEDS = Speeds(low=2.2, high=3.0, reverse=0.0)
OOD_FRICTION = (0.7, 1.3)  # times the gap's
# Standard deviations of a motion capture: m, m, rad, m/s, m/s, rad/s.
SENSOR = np.array([0.002, 0.002, np.deg2rad(0.3), 0.02, 0.02, 0.02])
NAMES = ("x", "y", "theta", "vx", "vy", "omega")
_ID = re.compile(
    r"suite/mushr-([a-z]+)(?:-(test|ood))?(?:-(clean))?(?:-([1-9]\d{0,2})k)?"
    r"(?:-seed(\d+))?-v0"
)


@dataclass(frozen=True)
class Trajectories:
    """A recipe for trajectories of one car.

    Args:
        id: Its Minari id.
        gap: Which car, of ``suite.envs.mushr_gaps``.
        split: ``""`` for training, ``"test"`` or ``"ood"``.
        count: How many.
        is_clean: Without the sensor's noise.
        seed: Of everything; splits of the same seed share nothing.
    """

    id: str
    gap: str
    split: str
    count: int
    is_clean: bool = False
    seed: int = 0

    @property
    def steps(self) -> int:
        """Transitions."""
        return self.count * STEPS


def trajectories(dataset_id: str) -> Trajectories | None:
    """The recipe of an id, or None if it is none of these.

    ``suite/mushr-<gap>[-test|-ood][-clean][-<size>k][-seed<n>]-v0``; a size is in
    thousands of transitions, five trajectories each, and the first ones of the whole.
    """
    found = _ID.fullmatch(dataset_id)
    if not found or found[1] not in GAPS:
        return None
    gap, split, clean, size, seed = found.groups()
    count = int(size) * 1000 // STEPS if size else SPLITS[split or ""]
    return Trajectories(
        dataset_id, gap, split or "", count, clean is not None, int(seed or 0)
    )


def trajectory_ids() -> list[str]:
    """The ids of full size, with noise, of seed 0."""
    splits = [f"-{split}" if split else "" for split in SPLITS]
    return [f"suite/mushr-{gap}{split}-v0" for gap in GAPS for split in splits]


def make_trajectories(
    made: Trajectories,
    *,
    num_threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Drive what a recipe says.

    Args:
        made: The recipe.
        num_threads: Threads that simulate; by default one a core. The data do not
            depend on it.
        progress: Called now and then with the number of transitions so far.

    Returns:
        A dataset whose observations are x, y (m), theta (rad in [-pi, pi)), vx, vy
        (m/s) and omega (rad/s) as the sensor has them, whose actions are the commands
        before the gap, and whose rewards are 0.

    Raises:
        RuntimeError: If a simulation blew up.
    """
    plans, readings, actions = [], [], []
    for first in range(0, made.count, ROWS):
        some = [_plan(made, n) for n in range(first, min(first + ROWS, made.count))]
        told = None if progress is None else _from(first * STEPS, progress)
        cars, commands = drive(GAPS[made.gap], some, num_threads or cores(), told)
        if not made.is_clean:
            cars = np.stack(
                [_read(made, p, c) for p, c in zip(some, cars, strict=True)]
            )
        plans += some
        readings.append(cars)
        actions.append(commands)
    card = _card(made, plans)
    return as_dataset(np.concatenate(readings), np.concatenate(actions), card)


def driven(dataset_id: str) -> Dataset:
    """The trajectories of an id, driven here and now.

    Use it where there are few: a small run then needs no stored data.

    Raises:
        ValueError: If it is no id of trajectories.
    """
    made = trajectories(dataset_id)
    if made is None:
        raise ValueError(
            f"{dataset_id!r} is no id of trajectories; one reads suite/mushr-real-v0"
        )
    return make_trajectories(made)


def as_dataset(
    readings: np.ndarray, actions: np.ndarray, card: dict[str, Any]
) -> Dataset:
    """Trajectories of one length as a dataset.

    Args:
        readings: (E, T + 1, 6).
        actions: (E, T, 2).
        card: See ``Dataset``.
    """
    count, steps = actions.shape[:2]
    ends = np.tile(np.arange(steps) == steps - 1, count)
    return Dataset(
        obs=readings[:, :-1].reshape(-1, 6),
        actions=actions.reshape(-1, 2),
        rewards=np.zeros(count * steps),
        next_obs=readings[:, 1:].reshape(-1, 6),
        terminated=np.zeros(count * steps),
        truncated=ends,
        lengths=np.full(count, steps),
        episode_ids=np.arange(count),
        card=card,
    )


def _from(begun: int, progress: Callable[[int], None]) -> Callable[[int], None]:
    return lambda count: progress(begun + count)


# --------------------------------------------------------------------- one trajectory
@dataclass(frozen=True)
class Plan:
    """What one trajectory does.

    Args:
        number: Which it is.
        family: Of its commands.
        shift: How it is out of distribution, or ``""``.
        friction: Of the floor.
        car: Where it begins (6,).
        commands: (steps, 2), or the laps that it drives.
    """

    number: int
    family: str
    shift: str
    friction: float
    car: np.ndarray
    commands: np.ndarray | Lap


def _generator(made: Trajectories, number: int, use: int) -> np.random.Generator:
    split = list(SPLITS).index(made.split)
    return np.random.default_rng([made.seed, split, number, use])


def _plan(made: Trajectories, number: int) -> Plan:
    rng = _generator(made, number, 0)
    friction, shift = GAPS[made.gap].friction, ""
    # Drawn in any case, so that two cars are driven alike and compare.
    is_icy = rng.random() < ICY
    family = str(rng.choice(list(FAMILIES), p=list(FAMILIES.values())))
    if made.split == "ood":
        shift = SHIFTS[number % len(SHIFTS)]
    elif is_icy:
        friction = ICY_FRICTION
    if shift == "friction":
        friction *= OOD_FRICTION[number // len(SHIFTS) % len(OOD_FRICTION)]
    if shift == "family":
        family = "bang_bang"
    speeds = OOD_SPEEDS if shift == "speed" else Speeds()
    if family == "pursuit":
        laps = lap(rng, STEPS, speeds)
        return Plan(number, family, shift, friction, laps.car, laps)
    theta, vx = rng.uniform((-np.pi, 0.0), (np.pi, speeds.high))
    car = np.array([0.0, 0.0, theta, vx, 0.0, 0.0])
    commands = OPEN_LOOP[family](rng, STEPS, speeds)
    return Plan(number, family, shift, friction, car, commands)


def drive(
    gap: Gap,
    plans: list[Plan],
    num_threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Drive all plans side by side.

    Args:
        gap: Which car.
        plans: What each does (n).
        num_threads: Threads that simulate.
        progress: Called after every second with the number of transitions so far.

    Returns:
        The cars (n, T + 1, 6), without noise, and their commands (n, T, 2) float32.

    Raises:
        RuntimeError: If a simulation blew up.
    """
    from suite.envs.mushr_car import CarSimulation

    rows = np.arange(len(plans))
    # A task that remembers nothing beside the car.
    simulation = CarSimulation(len(plans), Drift(), gap, (), num_threads)
    cars = np.stack([plan.car for plan in plans])
    friction = np.array([plan.friction for plan in plans])
    simulation.place(rows, cars, np.empty((len(plans), 0)), friction)
    commands, pursuit = _commands(plans)
    seen = np.empty((len(plans), STEPS + 1, 6))
    seen[:, 0] = simulation.named_state(None)[:, mushr.CAR]
    for step in range(STEPS):
        if len(pursuit.rows):
            laps = pursuit.act(seen[:, step], step)
            commands[pursuit.rows, step] = np.clip(laps, -1.0, 1.0)
        if simulation.step(None, commands[:, step]).any():
            raise RuntimeError(f"the physics of {gap} blew up; lower its friction")
        seen[:, step + 1] = simulation.named_state(None)[:, mushr.CAR]
        if progress is not None and step % 20 == 19:
            progress((step + 1) * len(plans))
    return seen, commands


def _commands(plans: list[Plan]) -> tuple[np.ndarray, Pursuit]:
    """Commands (n, T, 2) of those that are known before, and those who drive laps."""
    commands = np.zeros((len(plans), STEPS, 2), np.float32)
    rows, laps = [], []
    for row, plan in enumerate(plans):
        if isinstance(plan.commands, Lap):
            rows.append(row)
            laps.append(plan.commands)
        else:
            commands[row] = np.clip(plan.commands, -1.0, 1.0)
    return commands, Pursuit(rows, laps)


def _read(made: Trajectories, plan: Plan, cars: np.ndarray) -> np.ndarray:
    """What the sensor says of the cars (T + 1, 6)."""
    draws = _generator(made, plan.number, 1).standard_normal(cars.shape)
    read = cars + SENSOR * draws
    read[:, mushr.THETA] = mushr.wrap(read[:, mushr.THETA])
    return read


# ------------------------------------------------------------------------------- card
def _card(made: Trajectories, plans: list[Plan]) -> dict[str, Any]:
    unbounded = [None] * 6
    split = {"": "training", "test": "held out", "ood": "out of distribution"}
    return {
        "id": made.id,
        "about": f"A MuSHR car with the gap {made.gap!r}, {split[made.split]}.",
        "env_id": "MuSHR-v0",
        "spaces": {
            "observation": {"low": unbounded, "high": unbounded},
            "action": {"low": [-1.0, -1.0], "high": [1.0, 1.0]},
        },
        "observations": list(NAMES),
        "dt": mushr.DT,
        "gap": {"preset": made.gap, **dataclasses.asdict(GAPS[made.gap])},
        "noise": None
        if made.is_clean
        else dict(zip(NAMES, SENSOR.tolist(), strict=True)),
        "split": made.split or "train",
        "seed": made.seed,
        # By the number of the trajectory, which is its episode id.
        "trajectories": {
            "family": [plan.family for plan in plans],
            "friction": [plan.friction for plan in plans],
            "shift": [plan.shift for plan in plans],
        },
        "versions": versions(),
    }
