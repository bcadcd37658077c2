"""The wrappers are Gymnasium's: checked, recorded as data, rebuilt from JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from exported import WRAPPERS
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from kinds import FULLER, KINDS, STORED
from walk_env import SEED, WalkEnv, WalkVectorEnv

from suite.wrappers import ActionDelay, NoisyReward, RewardNoise


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*infinity. This is probably too")
@pytest.mark.parametrize("kind", KINDS)
def test_gymnasiums_checker_accepts_a_wrapped_environment(kind: str):
    check_env(KINDS[kind](gym.make("Walk-v0")), skip_render_check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_one_name_makes_both_kinds_of_wrapper(kind: str):
    wrap = KINDS[kind]
    single, vector = wrap(WalkEnv()), wrap(WalkVectorEnv())
    assert isinstance(single, wrap.wrapper) and isinstance(single, gym.Wrapper)
    assert isinstance(vector, wrap.wrapper)
    assert isinstance(vector, gym.vector.VectorWrapper)
    assert type(single).__name__ == type(vector).__name__ == wrap.wrapper.__name__
    assert isinstance(single.unwrapped, WalkEnv)
    assert vector.num_envs == 3


def test_the_exported_wrappers_are_found_and_tried_in_full():
    assert {"reward noise", "action delay", "sticky action"} <= set(KINDS)
    assert FULLER.keys() <= {kind.wrapper for kind in KINDS.values()}
    assert KINDS["reward noise"].corruption == NoisyReward(0.3, 0.2)
    live = {kind.wrapper for kind in KINDS.values()}
    stored = {wrapper for wrapper, _ in STORED.values()}
    assert set(WRAPPERS.values()) == live | stored and not live & stored
    assert len(stored) >= 17


def rewards(env: Any) -> list[float]:
    env.reset(seed=SEED)
    return [env.step(np.full(2, 0.3, np.float32))[1] for _ in range(4)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrapped_spec_survives_json(kind: str):
    env = KINDS[kind](KINDS["reward noise"](gym.make("Walk-v0")))
    assert env.spec is not None
    text = env.spec.to_json()
    spec = EnvSpec.from_json(text)
    assert spec == env.spec
    wrapper = json.loads(text)["additional_wrappers"][-1]
    assert wrapper["name"] == KINDS[kind].wrapper.__name__
    again = gym.make(spec)
    assert isinstance(again, KINDS[kind].wrapper)
    assert rewards(again) == rewards(env)


def test_arguments_given_as_arrays_survive_json_too():
    env = ActionDelay(gym.make("Walk-v0"), np.int64(2), default=np.full(2, 0.25))
    env = RewardNoise(env, np.float32(0.5), seed=np.int64(3))
    spec = EnvSpec.from_json(env.spec.to_json())
    assert rewards(gym.make(spec)) == rewards(env)


def test_a_subclass_is_a_wrapper_of_its_own():
    class Louder(RewardNoise):
        def __init__(self, env: Any, std: float = 2.0, **kwargs: Any):
            super().__init__(env, std, **kwargs)

    for env in (Louder(WalkEnv()), Louder(WalkVectorEnv())):
        assert isinstance(env, Louder) and isinstance(env, RewardNoise)


def test_importing_the_wrappers_loads_neither_torch_nor_mujoco():
    code = (
        "import sys, suite.wrappers\n"
        "heavy = {'torch', 'mujoco', 'scipy', 'stable_baselines3'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]", done.stderr
