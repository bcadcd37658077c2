"""Trajectories of the car: what an id means, and that one id is one content."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from suite import trajectories
from suite.data import excitation
from suite.data.excitation import OPEN_LOOP, Speeds
from suite.envs import mushr
from suite.envs.mushr_gaps import GAPS
from suite.trajectories import (
    FAMILIES,
    ICY_FRICTION,
    SENSOR,
    STEPS,
    Trajectories,
    make_trajectories,
    trajectory_ids,
)
from suite.trajectories import trajectories as recipe

FEW = Trajectories("suite/mushr-real-clean-1k-v0", "real", "", 5, is_clean=True)


@pytest.fixture(scope="module")
def few():
    return make_trajectories(FEW, num_threads=1)


# ------------------------------------------------------------------------------- ids
def test_an_id_says_which_car_which_split_and_how_many():
    assert recipe("suite/mushr-real-v0") == Trajectories(
        "suite/mushr-real-v0", "real", "", 1000
    )
    long = "suite/mushr-ice-ood-clean-4k-seed3-v0"
    one = Trajectories(long, "ice", "ood", 20, is_clean=True, seed=3)
    assert recipe(long) == one and one.steps == 4000
    assert len(trajectory_ids()) == 12 == len(set(trajectory_ids()))
    for each in trajectory_ids():
        found = recipe(each)
        assert found is not None and found.id == each
        assert found.count == (1000 if found.split == "" else 50)
    for wrong in ("suite/mushr-hard-v0", "suite/mushr-real-val-v0", "suite/hopper-v0"):
        assert recipe(wrong) is None


# --------------------------------------------------------------------------- content
def test_one_id_is_one_content_whatever_is_simulated_beside(few, monkeypatch):
    assert make_trajectories(FEW, num_threads=2).sha256 == few.sha256
    monkeypatch.setattr(trajectories, "ROWS", 2)
    assert make_trajectories(FEW, num_threads=1).sha256 == few.sha256
    fewer = make_trajectories(replace(FEW, count=2), num_threads=1)
    np.testing.assert_array_equal(fewer.obs, few.obs[: 2 * STEPS])
    other = make_trajectories(replace(FEW, count=1, seed=1), num_threads=1)
    assert not np.array_equal(other.actions, few.actions[:STEPS])


def test_splits_share_no_trajectory_and_cars_are_driven_alike(few):
    starts = [
        make_trajectories(replace(FEW, split=split, count=1), num_threads=1).obs[0]
        for split in ("", "test", "ood")
    ]
    assert len({tuple(start) for start in starts}) == 3
    nominal = make_trajectories(replace(FEW, gap="none"), num_threads=1)
    is_open = np.array(few.card["trajectories"]["family"]) != "pursuit"
    same = np.repeat(is_open, STEPS)
    np.testing.assert_array_equal(nominal.actions[same], few.actions[same])
    assert nominal.sha256 != few.sha256


def test_actions_are_commands_and_observations_what_they_led_to(few):
    """Driven again through the environment, with its gap, the same car comes out."""
    from suite.envs.mushr_env import MushrVectorEnv

    friction = few.card["trajectories"]["friction"][0]
    env = MushrVectorEnv(1, task="drift", gap="real", autoreset_mode="disabled")
    env.reset_to(few.obs[:1], friction=friction)
    for step in range(40):
        env.cars.step(None, few.actions[step : step + 1])
        car = env.cars.named_state(None)[0, :6]
        np.testing.assert_allclose(few.next_obs[step], car, atol=2e-3)
    assert few.is_consistent and few.num_episodes == 5 and len(few) == 5 * STEPS
    assert (few.truncated.sum(), few.terminated.sum()) == (5, 0)
    assert np.abs(few.actions).max() <= 1 and not few.rewards.any()


def test_noise_is_that_of_the_sensor_and_one_reading_is_one_number(few):
    noisy = make_trajectories(replace(FEW, is_clean=False), num_threads=1)
    difference = noisy.obs - few.obs
    difference[:, 2] = mushr.wrap(difference[:, 2])
    np.testing.assert_allclose(difference.std(axis=0), SENSOR, rtol=0.1)
    np.testing.assert_allclose(difference.mean(axis=0), 0, atol=0.1 * SENSOR.max())
    assert noisy.is_consistent and np.abs(noisy.obs[:, 2]).max() <= np.float32(np.pi)
    np.testing.assert_array_equal(noisy.actions, few.actions)


def test_the_card_says_how_each_trajectory_came_about(few):
    card = json.loads(json.dumps(few.card))
    assert card["dt"] == 0.05 and card["gap"]["trim"] == GAPS["real"].trim
    assert card["gap"]["preset"] == "real" and card["noise"] is None
    assert all(len(each) == 5 for each in card["trajectories"].values())
    assert set(card["trajectories"]["family"]) <= set(FAMILIES)


def plans(split: str, count: int) -> list[trajectories.Plan]:
    made = Trajectories("", "real", split, count)
    return [trajectories._plan(made, number) for number in range(count)]


def test_families_and_ice_have_their_shares():
    drawn = plans("", 2000)
    for family, share in FAMILIES.items():
        found = np.mean([plan.family == family for plan in drawn])
        assert found == pytest.approx(share, abs=4 * np.sqrt(share / 2000))
    icy = np.mean([plan.friction == ICY_FRICTION for plan in drawn])
    assert icy == pytest.approx(0.1, abs=0.03)
    assert {plan.shift for plan in drawn} == {""}


def test_each_trajectory_out_of_distribution_is_so_in_one_way():
    normal = GAPS["real"].friction
    seen = set()
    for plan in plans("ood", 60):
        assert (plan.family == "bang_bang") == (plan.shift == "family")
        assert (plan.friction != normal) == (plan.shift == "friction")
        seen.add(plan.shift)
        if plan.family in ("constant", "hold", "sinusoid"):
            assert isinstance(plan.commands, np.ndarray)
            forward = plan.commands[plan.commands[:, 1] > 0, 1] * mushr.MAX_SPEED
            is_fast = plan.shift == "speed"
            assert (forward > 2.2).all() if is_fast else (forward < 2.0).all()
    assert seen == set(trajectories.SHIFTS)


@pytest.mark.parametrize("family", OPEN_LOOP)
def test_a_family_stays_within_its_speeds_and_varies(family):
    speeds = Speeds()
    for seed in range(20):
        commands = OPEN_LOOP[family](np.random.default_rng(seed), STEPS, speeds)
        again = OPEN_LOOP[family](np.random.default_rng(seed), STEPS, speeds)
        np.testing.assert_array_equal(commands, again)
        assert commands.shape == (STEPS, 2)
        forward = np.clip(commands[:, 1], 0, 1) * mushr.MAX_SPEED
        assert forward.max() <= 1.3 * speeds.high + 1e-9
        assert (np.ptp(commands[:, 0]) > 0.1) == (family != "constant")


def test_the_chirp_becomes_faster():
    for seed in range(5):
        steer = excitation.chirp(np.random.default_rng(seed), STEPS, Speeds())[:, 0]
        turns = np.diff(np.sign(steer)) != 0
        # 0.1 to 0.7 Hz at most in the first two seconds, 1.5 to 3 Hz in the last.
        assert turns[:40].sum() <= 3 and turns[-40:].sum() >= 6
