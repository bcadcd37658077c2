"""Latent models come back from disk as they were, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

from suite.checkpoints import pack
from suite.parts import Part
from suite.storage import IntegrityError, write_directory
from suite.worldmodels.flow import Flow
from suite.worldmodels.latent import Direct, LatentModel
from suite.worldmodels.latent_heads import TwoHot
from suite.worldmodels.latent_sizes import LatentSizes
from suite.worldmodels.latent_stored import load_latent, save_latent
from suite.worldmodels.model_env import ModelEnv
from suite.worldmodels.ode import Euler
from suite.worldmodels.stored import save_dynamics

SIZES = LatentSizes(16, (8,), (8, 12))
MODELS: dict[str, dict[str, Any]] = {
    "direct": {},
    "flow": {"dynamics": Flow(Euler(3), tau_features=4, taus="midpoint")},
    "bins and ends": {"reward": TwoHot(11, -2.0, 3.0), "has_end": True},
}


def model(**changed: Any) -> LatentModel:
    made = LatentModel(3, 1, **{"size": SIZES, "seed": 4, **changed})
    made.reward_scale.refresh(torch.tensor([1.0, 2.0, 5.0]))
    return made


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_comes_back_as_it_was(kind, tmp_path):
    made = model(**MODELS[kind])
    save_latent(made, tmp_path / "model")
    again = load_latent(tmp_path / "model")
    assert (again.sizes, again.strategy, again.head) == (
        *(made.sizes, made.strategy, made.head),
    )
    obs, action = torch.randn(5, 3), torch.rand(5, 1)
    for one, other in zip(
        made.step(made.start(obs), action),
        again.step(again.start(obs), action),
        strict=True,
    ):
        for left, right in zip(one, other, strict=True):
            assert torch.equal(left, right)


def test_an_environment_inside_it_is_data(tmp_path):
    save_latent(model(), tmp_path / "model")
    kwargs = {"folder": str(tmp_path / "model")}
    part = Part("suite.worldmodels.latent_stored:load_latent", kwargs)
    made: Any = gym.make("Pendulum-v1")
    env: Any = ModelEnv(made, part)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    one, other = env.reset(seed=1)[0], again.reset(seed=1)[0]
    np.testing.assert_array_equal(one, other)
    action = np.ones(1, np.float32)
    np.testing.assert_array_equal(env.step(action)[0], again.step(action)[0])


def test_what_is_not_ours_is_refused(tmp_path):
    @dataclass(frozen=True)
    class Own(Direct):
        pass

    class Plain:  # it keeps to the protocol and is no dataclass
        keeps_simplices, network = True, Direct().network

    for dynamics in (Own(), Plain()):
        with pytest.raises(ValueError, match="of another module cannot be saved, got"):
            save_latent(model(dynamics=dynamics), tmp_path / "own")
    with pytest.raises(ValueError, match="and save_latent a LatentModel; got Latent"):
        save_dynamics(model(), tmp_path / "own")  # pyright: ignore[reportArgumentType]
    save_latent(model(), tmp_path / "good")
    path = tmp_path / "good" / "tree.json"
    path.write_bytes(path.read_bytes().replace(b"Direct", b"Detour"))
    with pytest.raises(IntegrityError, match=r"tree\.json"):
        load_latent(tmp_path / "good")
    for tree, complaint in (
        ({"schema": 9}, "holds no latent model"),
        ({"schema": 1, "size": {"kind": "Boat"}}, "describes no model of ours"),
    ):
        write_directory(tmp_path / "other", pack(tree))
        with pytest.raises(IntegrityError, match=complaint):
            load_latent(tmp_path / "other")
