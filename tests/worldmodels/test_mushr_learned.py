"""MuSHR-Learned-v0: the tasks of MuSHR-v0 in a model, and how good that model is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import suite
from suite.benchmark import get
from suite.envs import mushr
from suite.storage import IntegrityError
from suite.trajectories import make_trajectories, trajectories
from suite.transitions import Dataset
from suite.worldmodels.car import Adapter, Car, Residual
from suite.worldmodels.car_dynamics import CarDynamics, CarZ
from suite.worldmodels.car_ensemble import CarMean
from suite.worldmodels.car_stored import read_card, save_car
from suite.worldmodels.mushr_learned import (
    PACKAGED,
    PROPAGATION,
    MushrLearnedEnv,
    MushrLearnedVectorEnv,
    load_mushr,
    packaged_cars,
)
from suite.worldmodels.open_loop import OpenLoop

ID, TASKS = "MuSHR-Learned-v0", ("track", "goal", "drift")
# m, on average over the held-out trajectories a second after their first state
STATED = {"kinematic": 0.2595, "mushr-real": 0.0382, "mushr-real-cvar": 0.0376}
SMALL = Car(adapter=Adapter((4,)), residual=Residual((4,)), history=2)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of three members that disagree."""
    return saved(tmp_path_factory.mktemp("car"), members(3))


def members(count: int, car: Car = SMALL) -> CarDynamics:
    made, draws = CarDynamics(car, range(count)), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in made.parameters():
            part.add_(0.1 * torch.randn(part.shape, generator=draws))
    for member in range(count):
        made.refresh(member, *(torch.randn(2, 50, 3, generator=draws) * 3))
    return made


def saved(folder: Path, dynamics: CarDynamics) -> str:
    save_car(dynamics, folder / "model")
    return str(folder / "model")


def vector(rows: int, mode: str = "disabled", **kwargs: Any) -> MushrLearnedVectorEnv:
    return MushrLearnedVectorEnv(rows, autoreset_mode=mode, **kwargs)


def drawn(rows: int, steps: int) -> np.ndarray:
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, rows, 2))
    return actions.astype(np.float32)


# --------------------------------------------------------------------- the same tasks
def test_an_episode_is_as_long_as_one_says():
    env = gym.make(ID, task="drift", max_steps=3)
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[3] for _ in range(3)]
    assert ends == [False, False, True]
    with pytest.raises(ValueError, match="max_steps must be"):
        gym.make(ID, max_steps=0)


@pytest.mark.parametrize("task", TASKS)
def test_it_has_the_spaces_and_the_starts_of_the_car(task):
    learned, real = (gym.make(name, task=task) for name in (ID, "MuSHR-v0"))
    assert learned.observation_space == real.observation_space
    assert learned.action_space == real.action_space
    for seed in range(3):
        ours, theirs = learned.reset(seed=seed), real.reset(seed=seed)
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1]["state"], theirs[1]["state"])


@pytest.mark.parametrize("task", TASKS)
def test_reward_end_and_observation_are_the_tasks_own(task, three):
    env = vector(8, task=task, checkpoint=three)
    _, info = env.reset(seed=0)
    for action in drawn(8, 30):
        before = info["state"]
        obs, reward, terminated, truncated, info = env.step(action)
        after, driving = info["state"], env.driving
        if truncated.any():
            break
        np.testing.assert_allclose(reward, driving.reward(before, action, after))
        np.testing.assert_array_equal(terminated, driving.terminated(after))
        np.testing.assert_array_equal(obs, driving.observe(after))
        np.testing.assert_array_equal(info["is_success"], driving.success(after))
        if terminated.any():
            break


@torch.no_grad()
def test_steps_are_the_models_with_the_commands_before(three):
    """Along a rollout of the model alone, its history filled as a steady car's."""
    env, model = vector(4, task="goal", checkpoint=three), CarMean(load_mushr(three))
    env.reset(seed=0)
    cars = np.zeros((4, 6))
    cars[:, mushr.VX] = [1.5, 1.0, 0.5, 0.0]
    env.reset_to(cars)
    steady = torch.zeros(4, 2, 2)
    steady[:, :, 1] = torch.tensor([0.5, 1 / 3, 1 / 6, 0.0])[:, None]
    z = model.start(torch.tensor(cars).float(), steady)
    for action in drawn(4, 10):
        *_, info = env.step(action)
        z = model.step(z, torch.from_numpy(action)).next_z
        found, expected = info["state"][:, :6], z.car.state.numpy()
        turned = mushr.wrap(found[:, 2] - expected[:, 2])
        np.testing.assert_allclose(turned, 0, atol=1e-5)
        keep = [0, 1, 3, 4, 5]
        np.testing.assert_allclose(found[:, keep], expected[:, keep], atol=1e-5)


# ------------------------------------------------------------------------- ensembles
@pytest.mark.parametrize("propagation", PROPAGATION)
def test_rows_are_single_environments_and_moments_come_back(propagation, three):
    kwargs = {"task": "drift", "checkpoint": three, "propagation": propagation}
    many, alone = vector(5, **kwargs), MushrLearnedEnv(**kwargs)
    many.reset(seed=4)
    alone.reset(seed=6)
    for action in drawn(5, 10):
        rows, single = many.step(action), alone.step(action[2])
        np.testing.assert_array_equal(rows[0][2], single[0])
        assert rows[4]["model_std"][2] == single[4]["model_std"]
    moment = many.snapshot()
    expected = [many.step(action)[0] for action in drawn(5, 5)]
    many.restore(moment)
    again = [many.step(action)[0] for action in drawn(5, 5)]
    np.testing.assert_array_equal(expected, again)
    many.restore(moment, reseed=9)
    other = [many.step(action)[0] for action in drawn(5, 5)]
    assert np.array_equal(expected, other) == (propagation != "ts1")


@torch.no_grad()
def test_members_differ_by_what_is_told(three):
    env, dynamics = vector(2, task="drift", checkpoint=three), load_mushr(three)
    _, info = env.reset(seed=0)
    action = drawn(2, 1)[0]
    speed = torch.tensor(info["state"][:, mushr.VX]).float() / mushr.MAX_SPEED
    history = torch.stack([torch.zeros(2), speed], dim=1)[:, None].expand(-1, 2, -1)
    cars = torch.tensor(info["state"][:, :6]).float()
    z = CarZ(cars.expand(3, -1, -1), history.expand(3, -1, -1, -1))
    each = dynamics.unroll(z, torch.from_numpy(action).expand(1, 3, -1, -1))
    spread = each.states[0, ..., 3:].std(dim=0, correction=0)
    expected = (spread / dynamics.twist_std.mean(dim=0)).square().mean(dim=1).sqrt()
    *_, info = env.step(action)
    np.testing.assert_allclose(info["model_std"], expected, rtol=1e-4)


def test_one_member_agrees_with_itself(tmp_path):
    env = vector(3, checkpoint=saved(tmp_path, members(1)))
    env.reset(seed=0)
    *_, info = env.step(drawn(3, 1)[0])
    np.testing.assert_array_equal(info["model_std"], 0)


# ------------------------------------------------------------------- starts and ends
def test_it_starts_where_the_options_say(three):
    cars = np.array([[1.0, 2.0, 4.0, 1.2, 0.1, 0.5], [0, 0, 0, 0.5, 0, 0]])
    wrapped = [1.0, 2.0, 4.0 - 2 * np.pi, 1.2, 0.1, 0.5]
    env = vector(3, task="goal", checkpoint=three)
    _, first = env.reset(seed=0)
    mask = np.array([True, False, True])
    obs, info = env.reset(options={"reset_mask": mask, "state": cars})
    np.testing.assert_allclose(info["state"][0, :6], wrapped)
    np.testing.assert_array_equal(info["state"][2, :6], cars[1])
    np.testing.assert_array_equal(info["state"][1], first["state"][1])
    np.testing.assert_array_equal(obs, env.driving.observe(info["state"]))
    alone = gym.make(ID, task="goal", checkpoint=three)
    obs, info = alone.reset(seed=0, options={"state": cars[0]})
    np.testing.assert_allclose(info["state"][:6], wrapped)
    np.testing.assert_array_equal(obs, env.driving.observe(info["state"]))
    with pytest.raises(ValueError, match="cars must be finite numbers of shape"):
        alone.reset(options={"state": np.full(6, np.nan)})


def test_a_row_that_the_model_loses_is_flagged_and_ends(tmp_path):
    dynamics = members(2)
    slow = 0.2 * torch.ones(2, 3)
    for member in range(2):
        dynamics.refresh(member, slow, slow)  # nothing above 0.3 m/s was ever seen
    env = vector(2, task="drift", checkpoint=saved(tmp_path, dynamics))
    env.reset(seed=0)
    env.reset_to(np.zeros((2, 6)))
    before = env.cars.named_state(None)
    actions = np.array([[0.0, 1.0], [0.0, 0.0]], np.float32)
    _, reward, terminated, truncated, info = env.step(actions)
    np.testing.assert_array_equal(info["diverged"], [True, False])
    np.testing.assert_array_equal(truncated, [True, False])
    assert not terminated.any() and reward[0] == 0
    np.testing.assert_array_equal(info["state"][0], before[0])


# ---------------------------------------------------------------------- checkpoints
def test_a_bad_checkpoint_is_refused_in_a_sentence(tmp_path, three):
    with pytest.raises(ValueError, match="there is no checkpoint '/nowhere'; give"):
        gym.make(ID, checkpoint="/nowhere")
    with pytest.raises(ValueError, match="propagation must be one of"):
        gym.make(ID, propagation="median")
    with pytest.raises(IntegrityError, match=r"MANIFEST\.json"):
        gym.make(ID, checkpoint=str(tmp_path))
    other = saved(tmp_path / "dt", members(1, dataclasses.replace(SMALL, dt=0.1)))
    with pytest.raises(ValueError, match="is of another car: its step"):
        gym.make(ID, checkpoint=other)
    broken = members(1)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match="is not finite; fit it again"):
        gym.make(ID, checkpoint=saved(tmp_path / "nan", broken))
    (Path(three) / "tree.json").touch()
    gym.make(ID, checkpoint=three)  # a newer date is no damage


@pytest.mark.parametrize("name", packaged_cars())
def test_a_packaged_model_is_small_and_says_where_it_is_from(name):
    files = list((PACKAGED / name).iterdir())
    assert sum(path.stat().st_size for path in files) < 200_000
    card, dynamics = read_card(PACKAGED / name), load_mushr(name)
    spec = get(card["benchmark"])
    assert spec.digest == card["digest"] and dynamics.members == 5
    assert spec.data is not None and spec.data.kwargs["source"] == "suite/mushr-real-v0"


def drives() -> Dataset:
    """The 50 trajectories under the gap that no fit has seen, as a sensor sees them."""
    made = trajectories("suite/mushr-real-test-v0")
    assert made is not None
    return make_trajectories(made)


@pytest.mark.slow
def test_packaged_models_are_six_times_nearer_than_kinematics_after_a_second():
    """The numbers are those that docs/envs/mushr_learned.md states."""
    judge = OpenLoop(drives())
    nominal = judge(CarDynamics(Car(adapter=None, residual=None)), 0)["error_1s"]
    assert nominal == pytest.approx(STATED["kinematic"], rel=0.02)
    for name in packaged_cars():
        found = judge(CarMean(load_mushr(name)), 0)["error_1s"]
        assert found == pytest.approx(STATED[name], rel=0.02)
        assert nominal > 6 * found


def test_importing_suite_registers_it():
    assert ID in gym.registry and suite.__version__
