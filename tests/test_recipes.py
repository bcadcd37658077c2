"""One id is one content: whole episodes of named policies, with their provenance."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from suite.data.cards import D4RL, robot_of
from suite.datasets import load_dataset, save_dataset
from suite.recipes import Recipe, make_dataset, recipe, recipe_ids

if "BatchedToy-v5" not in gym.registry:
    gym.register("BatchedToy-v5", vector_entry_point="toys:ToyVectorEnv")

TOY = Recipe(
    id="suite/toy-mixed-v0",
    about="Toys.",
    env="BatchedToy-v5",
    task="Pendulum-v1",
    policies=(("left", 0.25), ("right", 0.75)),
    steps=200,
    seed=3,
)


class Pushing:
    """Pushes to one side, more or less."""

    noise_shape = (1,)

    def __init__(self, side: float):
        self.side = side

    def draw(self, generator: np.random.Generator, shape: Any) -> np.ndarray:
        return generator.random(shape)

    def act(self, obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return (self.side * noise).astype(np.float32)


def found(name: str) -> Pushing:
    return Pushing({"left": -1.0, "right": 1.0}[name])


def test_each_policy_makes_its_share_of_whole_episodes():
    data = make_dataset(TOY, found)
    side = np.sign([data.episode(i).actions.mean() for i in range(data.num_episodes)])
    made = data.card["collected"]["policies"]
    assert [each["name"] for each in made] == ["left", "right"]
    left, right = (each["transitions"] for each in made)
    assert (
        50 - 10 < left <= 50 and 150 - 10 < right <= 150 and left + right == len(data)
    )
    assert data.lengths[side < 0].sum() == left
    np.testing.assert_array_equal(np.sort(side), side)  # one after the other
    assert data.episode_ids.tolist() == list(range(data.num_episodes))
    assert (data.card["id"], data.card["env_id"]) == (TOY.id, "Pendulum-v1")
    assert data.card["collected"]["depends_on_rows"] is False


def test_one_id_is_one_content_and_a_smaller_one_is_its_beginning():
    one = replace(TOY, policies=(("right", 1.0),))
    whole = make_dataset(one, found)
    assert make_dataset(one, found).sha256 == whole.sha256
    some = make_dataset(replace(one, steps=90), found)
    first = whole.select(np.arange(whole.num_episodes) < some.num_episodes)
    assert some.sha256 == first.sha256 and 80 < len(some) <= 90
    assert make_dataset(replace(one, seed=4), found).sha256 != whole.sha256


# Of MuJoCo 4.0.0. They change with its physics, and then results of other data must not
# be put beside those in docs/results.
DATA = {
    "suite/hopper-medium-5k-v0": "0d9a94fa3872e750",
    "suite/halfcheetah-medium-5k-v0": "640602b520db2f15",
}
ANOTHER_PROCESSOR = {
    "MKL_CBWR": "COMPATIBLE",  # adds up in another order, as another maker's would
    "ATEN_CPU_CAPABILITY": "default",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
}


def test_our_ids_are_the_contents_that_results_were_made_of():
    assert {name: make_dataset(recipe(name)).sha256[:16] for name in DATA} == DATA


@pytest.mark.slow
def test_an_id_is_the_same_content_on_another_processor():
    code = (
        "import sys; from suite.recipes import make_dataset, recipe\n"
        "for name in sys.argv[1:]: print(name, make_dataset(recipe(name)).sha256[:16])"
    )
    environ = {**os.environ, **ANOTHER_PROCESSOR}
    done = subprocess.run(
        [sys.executable, "-c", code, *DATA], env=environ, capture_output=True, text=True
    )
    assert dict(line.split() for line in done.stdout.splitlines()) == DATA, done.stderr


def test_what_is_made_can_be_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    made = make_dataset(TOY, found)
    save_dataset(made, TOY.id)
    stored = load_dataset(TOY.id)
    assert stored.sha256 == made.sha256
    told = stored.card["returns"]
    assert sum(told["counts"]) == made.num_episodes
    assert told["mean"] == pytest.approx(made.returns.mean())


def test_the_recipes_are_those_of_the_page():
    assert len(recipe_ids()) == 9
    seeds, policies = set(), set()
    for dataset_id in recipe_ids():
        made = recipe(dataset_id)
        assert made.steps == 1_000_000 and made.id == dataset_id
        assert "D4RL" in made.about and made.about.endswith("Not D4RL's data.")
        assert sum(share for _, share in made.policies) == pytest.approx(1)
        assert gym.spec(made.task).id == made.task
        assert robot_of(made.task) == robot_of(made.env) in D4RL
        seeds.add(made.seed)
        policies |= {name for name, _ in made.policies}
    assert len(seeds) == 9
    small = recipe("suite/hopper-medium-20k-v0")
    full = recipe("suite/hopper-medium-v0")
    assert small == replace(full, id=small.id, steps=20_000)
    assert full.policies == (("hopper-medium", 1.0),)
    assert [n for n, _ in recipe("suite/hopper-mixed-v0").policies] == [
        "hopper-stage-1",
        "hopper-stage-2",
        "hopper-stage-3",
        "hopper-stage-4",
        "hopper-medium",
    ]


@pytest.mark.parametrize(
    "dataset_id",
    [
        "suite/hopper-expert-v0",
        "suite/hoper-medium-v0",
        "mujoco/hopper/medium-v0",
        "suite/hopper-medium-0k-v0",
        "suite/hopper-medium-1000k-v0",
        "suite/hopper-medium-v1",
    ],
)
def test_an_id_without_a_recipe_is_one_clear_sentence(dataset_id: str):
    with pytest.raises(ValueError, match="there is no recipe for") as caught:
        recipe(dataset_id)
    assert "\n" not in str(caught.value)


def test_a_policy_that_is_missing_is_named_before_anything_is_simulated():
    with pytest.raises(ValueError, match="no behaviour 'left'"):
        make_dataset(replace(TOY, env="Nowhere-v0"))


def test_d4rls_scale_is_only_there_where_it_is_asked_for():
    hopper = replace(TOY, task="Hopper-v5")
    assert "references" not in make_dataset(hopper, found).card
    card = make_dataset(hopper, found, with_d4rl_scale=True).card
    assert card["references"] == {"d4rl": [-20.272305, 3234.3]}
    assert robot_of("Pendulum-v1") is None and robot_of(None) is None
