"""What is registered or exported is tested here without being named.

A new environment, wrapper or agent is swept as soon as it can be found. A wrapper's
required arguments are taken from ``ARGUMENTS`` by name, else by their annotation.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import pkgutil
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec, registry
from gymnasium.utils.env_checker import check_env
from stored import dataset

import suite.agents
import suite.wrappers
from suite.agents.offline_learner import OfflineLearner
from suite.agents.ppo import PPO
from suite.agents.rerollout import LookaheadReRollout
from suite.envs.replay import ReplayEnv
from suite.recipes import random_dataset
from suite.recording import recorded
from suite.wrappers.wrapper import CorruptionWrapper

IDS = sorted(i for i, s in registry.items() if str(s.entry_point).startswith("suite."))
WRAPPERS = {
    name: found
    for name, found in sorted(vars(suite.wrappers).items())
    if inspect.isclass(found)
    and issubclass(found, CorruptionWrapper)
    and found is not CorruptionWrapper
}
ARGUMENTS = {"std": 0.1, "steps": 2, "probability": 0.5, "scale": -2.0}
ARGUMENTS |= {"rate": 0.4, "size": 3.0, "percent": 30, "ratio": 0.5}
BY_TYPE = {"float": 0.5, "int": 1, "bool": True}
DATA = dataset([9, 70, 3, 20] * 4)
STEPS = 6


class Outwards:
    """The attack that wrappers get here: everything further from zero."""

    def __call__(self, array: str, data: Any, rows: Any, box: Any) -> np.ndarray:
        return np.sign(getattr(data, array)[rows])

    def to_json(self) -> str:
        return "outwards"


ARGUMENTS["attack"] = Outwards()


def found_agents(kind: type[Any]) -> dict[str, type[Any]]:
    modules = pkgutil.iter_modules(suite.agents.__path__, "suite.agents.")
    found = {
        name: thing
        for module in modules
        for name, thing in vars(importlib.import_module(module.name)).items()
        if inspect.isclass(thing)
        and issubclass(thing, kind)
        and not inspect.isabstract(thing)
    }
    return dict(sorted(found.items()))


AGENTS, OFFLINE = found_agents(PPO), found_agents(OfflineLearner)


def wrapped(name: str, env: Any) -> Any:
    required = [
        p
        for p in list(inspect.signature(WRAPPERS[name]).parameters.values())[1:]
        if p.default is p.empty
    ]
    return WRAPPERS[name](
        env,
        **{p.name: ARGUMENTS.get(p.name, BY_TYPE.get(p.annotation)) for p in required},
    )


def needs_stored_data(name: str) -> bool:
    """Whether it refuses what acts."""
    try:
        wrapped(name, gym.make("PickCube-v0"))
    except TypeError as reason:
        return "changes stored data" in str(reason)
    return False


LIVE = [name for name in WRAPPERS if not needs_stored_data(name)]


def covering_pairs(names: list[str]) -> list[tuple[str, str]]:
    """Two seeded rounds in which every wrapper is once outside and once inside."""
    rng = np.random.default_rng(0)
    pairs = set()
    for _ in range(2):
        order = rng.permutation(len(names))
        shift = rng.integers(len(names))
        pairs |= {
            (names[a], names[b])
            for a, b in zip(order, np.roll(order, shift), strict=True)
        }
    return sorted(pairs)


def vector(env_id: str, num_envs: int = 3, mode: str = "same_step") -> Any:
    return gym.make_vec(
        env_id,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=mode,
    )


def actions(env: Any) -> list[np.ndarray]:
    env.action_space.seed(0)
    return [env.action_space.sample() for _ in range(STEPS)]


def played(env: Any, todo: list[Any]) -> list[Any]:
    return [env.step(action)[:4] for action in todo]


def assert_same(one: list[Any], other: list[Any]) -> None:
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


def assert_goes_back_exactly(env: Any) -> None:
    env.reset(seed=5)
    todo = actions(env)
    played(env, todo)
    moment = env.snapshot()
    first = played(env, todo)
    env.restore(moment)
    assert_same(first, played(env, todo))


def assert_single_is_row_zero(single: Any, batch: Any) -> None:
    one, _ = single.reset(seed=5)
    many, _ = batch.reset(seed=5)
    np.testing.assert_array_equal(one, many[0])
    for action in actions(batch):
        ours, theirs = single.step(action[0])[:4], batch.step(action)[:4]
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, np.asarray(b)[0])


def assert_spec_survives_json(env: Any) -> None:
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert type(again).__name__ == type(env).__name__ and again.spec == env.spec


def test_the_sweep_finds_something():
    assert "PickCube-v0" in IDS and len(LIVE) >= 11 and len(AGENTS) >= 5
    assert sorted(OFFLINE) == ["BC", "CQL", "IQL", "TD3BC"]
    assert len(WRAPPERS) - len(LIVE) >= 17
    for names in (LIVE, list(WRAPPERS)):
        pairs = covering_pairs(names)
        assert {a for a, _ in pairs} == {b for _, b in pairs} == set(names)


@pytest.mark.parametrize("env_id", IDS)
def test_an_id_keeps_gymnasiums_contract_and_ours(env_id):
    with pytest.warns(UserWarning, match="unbounded|infinity"):
        check_env(gym.make(env_id).unwrapped, skip_render_check=True)
    assert_single_is_row_zero(gym.make(env_id), vector(env_id))
    assert_goes_back_exactly(vector(env_id))
    assert_spec_survives_json(gym.make(env_id))


@pytest.mark.parametrize("name", LIVE)
@pytest.mark.parametrize("env_id", IDS)
def test_a_wrapper_alone_on_an_id(env_id, name):
    batch = wrapped(name, vector(env_id))
    assert_goes_back_exactly(batch)
    single = wrapped(name, gym.make(env_id))
    assert_single_is_row_zero(single, batch)
    assert_spec_survives_json(single)


@pytest.mark.parametrize(("outer", "inner"), covering_pairs(LIVE))
@pytest.mark.parametrize("env_id", IDS)
def test_two_wrappers_on_an_id(env_id, outer, inner):
    batch = wrapped(outer, wrapped(inner, vector(env_id)))
    assert_goes_back_exactly(batch)
    assert_single_is_row_zero(wrapped(outer, wrapped(inner, gym.make(env_id))), batch)


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_of_stored_data(name):
    replay, bulk = wrapped(name, ReplayEnv(DATA)), wrapped(name, DATA)
    assert recorded(replay).sha256 == replay.dataset.sha256 == bulk.sha256
    replay.reset(seed=0)
    moment = replay.snapshot()
    first = played(replay, [None])
    replay.restore(moment)
    assert_same(first, played(replay, [None]))
    (told,) = json.loads(json.dumps(bulk.card))["corruptions"]
    assert told["kind"] == name
    assert wrapped(name, DATA).sha256 == bulk.sha256 != DATA.sha256


@pytest.mark.parametrize(("outer", "inner"), covering_pairs(list(WRAPPERS)))
def test_two_wrappers_of_stored_data(outer, inner):
    replay = wrapped(outer, wrapped(inner, ReplayEnv(DATA)))
    bulk = wrapped(outer, wrapped(inner, DATA))
    assert recorded(replay).sha256 == bulk.sha256
    assert [each["kind"] for each in bulk.card["corruptions"]] == [inner, outer]


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("env_id", IDS)
def test_an_agent_makes_an_update(env_id, name):
    steps, env = 50, vector(env_id, 2)
    # Some agents need whole episodes: none is longer than what they see.
    env._episodes.max_steps = min(env._episodes.max_steps, steps)
    agent: Any = AGENTS[name](
        "MlpPolicy",
        env,
        n_steps=steps,
        batch_size=2 * steps,
        n_epochs=1,
        gamma=0.8,
        seed=0,
        device="cpu",
    )
    before = [p.detach().clone() for p in agent.policy.parameters()]
    agent.env.seed(0)
    metrics = next(iter(agent.iterate(2 * steps)), {})
    assert all(np.isfinite(value) for value in metrics.values())
    changed = any(
        not np.array_equal(a, b.detach())
        for a, b in zip(before, agent.policy.parameters(), strict=True)
    )
    assert changed is (name != "Frozen")


@functools.cache
def met_at_random(env_id: str) -> Any:
    return random_dataset(env_id, 1000)


@pytest.mark.parametrize("name", OFFLINE)
@pytest.mark.parametrize("env_id", IDS)
def test_an_offline_agent_makes_an_update(env_id, name):
    agent: Any = OFFLINE[name](
        met_at_random(env_id),
        vector(env_id, 1),
        net_arch=[8],
        batch_size=8,
        updates_per_iteration=2,
    )
    before = [p.detach().clone() for p in agent.policy.parameters()]
    metrics = next(agent.iterate(2))
    assert all(np.isfinite(v) for k, v in metrics.items() if "variance" not in k)
    after = agent.policy.parameters()
    assert all(
        not np.array_equal(a, b.detach()) for a, b in zip(before, after, strict=True)
    )


@pytest.mark.parametrize("env_id", IDS)
def test_re_rollouts_make_an_update(env_id):
    estimator = LookaheadReRollout(
        lambda n: vector(env_id, n, "disabled"), samples=1, gamma=0.5
    )
    agent = PPO(
        "MlpPolicy",
        vector(env_id, 2),
        advantage=estimator,
        n_steps=3,
        batch_size=6,
        n_epochs=1,
        gamma=0.5,
        device="cpu",
    )
    (metrics,) = agent.iterate(6)
    assert metrics["advantage/sim_steps"] > 0
