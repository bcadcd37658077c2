"""Recipes: which policies make which dataset. One id is one content.

``suite/hopper-medium-v0`` has a million transitions, as D4RL's datasets have;
``suite/hopper-medium-20k-v0`` has the first episodes of it (a mixed one has each
policy's first). They are no copies of D4RL's or Minari's datasets: our policies made
them, in Gymnasium's v5 tasks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from suite.data.cards import D4RL, robot_of
from suite.data.collection import Behaviour, UniformBehaviour, collect
from suite.data.packaged import behaviour_names
from suite.datasets import Change, corrupt
from suite.parts import resolve
from suite.trajectories import trajectory_ids
from suite.transitions import Dataset
from suite.unknown_names import near

FULL = 1_000_000  # transitions, D4RL's size
ROWS = 64  # simulated at a time, at most; what is collected does not depend on it
EPISODE = 1000  # steps, at most
_TASKS = {"halfcheetah": "HalfCheetah", "hopper": "Hopper", "walker2d": "Walker2d"}
_QUALITIES = {
    "medium": "A policy of medium strength, sampled.",
    "strong": "The best policy we have, sampled; its card says how good it is.",
    "mixed": "Policies of five stages of the medium one's training, sampled.",
}
_STAGES = ("stage-1", "stage-2", "stage-3", "stage-4", "medium")
_ID = re.compile(r"suite/([a-z0-9]+)-([a-z]+)(?:-([1-9]\d{0,2})k)?-v0")


@dataclass(frozen=True)
class Recipe:
    """How a dataset is made.

    Args:
        id: Its Minari id.
        about: What it is, a sentence.
        env: The id of the environment to collect in, with a vector entry point.
        task: Gymnasium's id of the same task, to evaluate in.
        policies: Names of behaviours, and the share of the transitions that each makes.
        steps: Transitions, at most.
        seed: Of everything.
    """

    id: str
    about: str
    env: str
    task: str
    policies: tuple[tuple[str, float], ...]
    steps: int
    seed: int


def recipe(dataset_id: str) -> Recipe:
    """The recipe of an id: ``suite/<robot>-<quality>[-<size>k]-v0``.

    Raises:
        ValueError: If there is none; names the near ones.
    """
    found = _ID.fullmatch(dataset_id)
    if not found or found[1] not in _TASKS or found[2] not in _QUALITIES:
        known = [*recipe_ids(), *trajectory_ids()]
        hint = near(dataset_id, known, "`data list` shows all")
        raise ValueError(
            f"there is no recipe for {dataset_id!r}; {hint} (a smaller one reads "
            "suite/hopper-medium-20k-v0)"
        )
    robot, quality, size = found.groups()
    stages = _STAGES if quality == "mixed" else (quality,)
    place = sorted(_TASKS).index(robot) * len(_QUALITIES) + list(_QUALITIES).index(
        quality
    )
    return Recipe(
        id=dataset_id,
        about=f"{_QUALITIES[quality]} Not D4RL's data.",
        env=f"Batched{_TASKS[robot]}-v5",
        task=f"{_TASKS[robot]}-v5",
        policies=tuple((f"{robot}-{stage}", 1 / len(stages)) for stage in stages),
        steps=1000 * int(size) if size else FULL,
        seed=100 + place,
    )


def recipe_ids() -> list[str]:
    """The ids of full size that there are recipes for."""
    return [f"suite/{robot}-{quality}-v0" for robot in _TASKS for quality in _QUALITIES]


def can_be_made(made: Recipe) -> bool:
    """Whether all the behaviours of a recipe are packaged."""
    return {name for name, _ in made.policies} <= {*behaviour_names()}


def make_dataset(
    made: Recipe,
    load: Callable[[str], Behaviour] | None = None,
    *,
    with_d4rl_scale: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Collect what a recipe says.

    Args:
        made: The recipe.
        load: Finds a behaviour by its name; the packaged ones by default.
        with_d4rl_scale: Whether the card names D4RL's reference returns, so that
            Minari can normalise scores by them.
        progress: Called now and then with the number of transitions so far.

    Raises:
        ValueError: If a behaviour is missing, or not one episode fits.
        IntegrityError: If a behaviour is damaged.
    """
    find: Callable[[str], Behaviour] = load or resolve(
        "suite.agents.behaviour:load_behaviour"
    )
    behaviours = [find(name) for name, _ in made.policies]  # all, before any simulates
    smallest = min(share for _, share in made.policies) * made.steps
    env = gym.make_vec(
        made.env,
        num_envs=max(
            1, min(ROWS, int(smallest / EPISODE))
        ),  # more would be for nothing
        vectorization_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
        autoreset_mode="disabled",
    )
    parts: list[Dataset] = []
    for index, (_, share) in enumerate(made.policies):
        told = None if progress is None else _from(sum(map(len, parts)), progress)
        steps, seed = round(share * made.steps), 1000 * made.seed + index
        parts.append(collect(env, behaviours[index], steps, seed, progress=told))
    env.close()
    return Dataset.concatenated(parts, _card(made, parts, with_d4rl_scale))


def random_dataset(
    env_id: str, steps: int, corruptions: Sequence[Change] = ()
) -> Dataset:
    """Whole episodes of random actions, made on the spot and always the same.

    Use it where any data will do, such as in a test of a whole grid.

    Args:
        env_id: Of an environment with a vector entry point.
        steps: Transitions, at most.
        corruptions: As in ``suite.datasets.load_dataset``.

    Raises:
        ValueError: If not one episode fits.
    """
    env = gym.make_vec(
        env_id,
        num_envs=10,  # few, for little data: all of them simulate until it is enough
        vectorization_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
        autoreset_mode="disabled",
    )
    data = collect(env, UniformBehaviour(env.single_action_space), steps, seed=0)
    env.close()
    return corrupt(data, corruptions)


def _from(begun: int, progress: Callable[[int], None]) -> Callable[[int], None]:
    return lambda count: progress(begun + count)


def _card(made: Recipe, parts: list[Dataset], with_d4rl_scale: bool) -> dict[str, Any]:
    first = parts[0].card
    card = {
        "id": made.id,
        "about": made.about,
        "env_id": made.task,
        "spaces": first["spaces"],
        "collected": {
            "env": made.env,
            "steps": made.steps,
            "seed": made.seed,
            "policies": [
                {"name": name, "share": share, "transitions": len(part)}
                for (name, share), part in zip(made.policies, parts, strict=True)
            ],
            "depends_on_rows": first["collected"]["depends_on_rows"],
        },
        "versions": first["versions"],
    }
    robot = robot_of(made.task)
    if with_d4rl_scale and robot is not None:
        card["references"] = {"d4rl": list(D4RL[robot])}
    return card
