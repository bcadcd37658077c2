"""Latent models: their sizes, what they keep to, and that they are environments."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from latents import ACTIONS, OBS, TINY, stirred, tiny_model

from suite.parts import Part, build
from suite.worldmodels.imagine import imagine
from suite.worldmodels.latent import Latent, LatentModel
from suite.worldmodels.latent_heads import Scalar, TwoHot, symexp, symlog
from suite.worldmodels.latent_networks import SimNorm, grouped
from suite.worldmodels.latent_sizes import SIZES, LatentSizes, parameter_counts
from suite.worldmodels.model_env import ModelEnv, ModelVectorEnv
from suite.worldmodels.running import RunningNormaliser

# Of DFlex's Ant, 37 numbers of observation and 8 of action, counted by hand:
# a normed layer has i o + 3 o numbers, a plain one i o + o.
ANT = (37, 8)
COUNTS = {
    "5m": (142_848, 795_136, 531_969, 1_469_953),
    "48m": (7_883_520, 5_991_168, 4_614_401, 18_489_089),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------ sizes
@pytest.mark.parametrize("size", COUNTS)
def test_parameters_are_those_counted_by_hand(size):
    found = parameter_counts(LatentModel(*ANT, size=size))
    assert tuple(found.values()) == COUNTS[size]
    assert list(found) == ["encoder", "dynamics", "reward", "total"]


@pytest.mark.parametrize(("size", "reward"), [("5m", 583_269), ("48m", 4_793_701)])
def test_bins_add_their_own(size, reward):
    found = parameter_counts(LatentModel(*ANT, size=size, reward=TwoHot()))
    assert found["reward"] == reward
    assert found["total"] == sum(COUNTS[size][:2]) + reward


@pytest.mark.parametrize(
    ("size", "total"), [("5m-full", 5_004_737), ("48m-full", 48_312_161)]
)
def test_full_sizes_reach_their_names(size, total):
    with torch.device("meta"):
        model = LatentModel(*ANT, size=size)
    assert parameter_counts(model)["total"] == total


def test_a_pendulum_needs_little():
    assert parameter_counts(LatentModel(3, 1))["total"] == 64_129


def test_every_size_makes_a_model():
    for size in SIZES:
        with torch.device("meta"):
            assert LatentModel(4, 2, size=size).sizes is SIZES[size]


def test_sizes_are_data():
    sizes = Part(
        "suite.worldmodels.latent_sizes:LatentSizes",
        {"latent": 16, "encoder": [12], "hidden": [20, 24]},
    )
    kwargs = {"obs_size": 5, "action_size": 2, "size": sizes}
    model = build(Part("suite.worldmodels.latent:LatentModel", kwargs), {"seed": 3})
    assert model.sizes == TINY
    own = tiny_model().state_dict()
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, own[name])


@pytest.mark.parametrize("latent", [0, 7, 12, 100])
def test_a_latent_that_does_not_fall_into_groups_is_refused(latent):
    with pytest.raises(ValueError, match=f"multiple of 8, got {latent}; take"):
        LatentSizes(latent, (16,), (16,))
    with pytest.raises(ValueError, match=f"multiple of 8, got {latent}"):
        SimNorm(latent)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"reward": 101}, r"reward must be an object such as Scalar\(\) or .* got 101"),
        ({"dynamics": "flow"}, r"such as Direct\(\) or Flow\(\), got 'flow'"),
    ],
)
def test_a_name_or_a_number_is_no_part(changed, complaint):
    with pytest.raises(ValueError, match=complaint):
        LatentModel(5, 2, **changed)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="hidden needs hidden layers of width 1"):
        LatentSizes(16, (8,), ())
    with pytest.raises(ValueError, match=r"size must be one of .*'5m'.*, got '5M'"):
        LatentModel(3, 1, size="5M")
    with pytest.raises(ValueError, match="obs_size must be at least 1, got 0"):
        LatentModel(0, 1)


# ---------------------------------------------------------------------------- latents
@pytest.mark.parametrize("shape", [(), (5,), (3, 5), (2, 3, 5)])
def test_groups_of_a_latent_are_positive_and_sum_to_one(shape):
    model = stirred(tiny_model())
    z = model.encode(torch.randn(*shape, OBS, generator=generator()))
    assert z.shape == (*shape, 16) and z.min() > 0
    torch.testing.assert_close(grouped(z).sum(-1), torch.ones(*shape, 2))
    if shape:
        z = model.next(z, torch.randn(*shape, ACTIONS, generator=generator()))
        torch.testing.assert_close(grouped(z).sum(-1), torch.ones(*shape, 2))


def test_observations_of_float64_start_as_those_of_float32():
    obs = torch.randn(4, OBS, generator=generator())
    model = stirred(tiny_model())
    found, same = model.start(obs.double()), model.start(obs)
    assert all(map(torch.equal, found, same))


def test_a_softmax_of_each_group_by_hand():
    x = torch.tensor([0.0] * 8 + [math.log(7.0)] + [0.0] * 7)
    expected = torch.tensor([1 / 8] * 8 + [1 / 2] + [1 / 14] * 7)
    torch.testing.assert_close(SimNorm(16)(x), expected)


def test_rewards_and_ends_begin_at_zero_and_one_half():
    model = tiny_model(has_end=True)
    z = model.start(torch.randn(9, OBS, generator=generator()))
    found = model.step(z, torch.ones(9, ACTIONS))
    assert torch.equal(found.reward, torch.zeros(9)) and not found.terminated.any()
    assert torch.equal(model.going_on(found.next_z), torch.full((9,), 0.5))


def test_without_a_termination_head_nothing_ends():
    model = stirred(tiny_model())
    z = model.start(torch.randn(9, OBS, generator=generator()))
    assert torch.equal(model.going_on(z), torch.ones(9))
    found = model.step(z, torch.ones(9, ACTIONS))
    assert found.terminated.dtype == torch.bool and not found.terminated.any()


def test_an_end_is_where_it_is_likelier_than_not():
    model = stirred(tiny_model(has_end=True))
    z = model.start(3 * torch.randn(200, OBS, generator=generator()))
    found = model.step(z, torch.zeros(200, ACTIONS))
    assert torch.equal(found.terminated, model.going_on(found.next_z) < 0.5)
    assert 0 < found.terminated.sum() < 200


def test_rewards_are_paid_in_the_environments_units():
    model = stirred(tiny_model())
    model.reward_scale.refresh(torch.tensor([10.0, 30.0]))
    z = model.start(torch.randn(9, OBS, generator=generator()))
    action = torch.ones(9, ACTIONS)
    inside = model.normalised_reward(z.z, action)
    torch.testing.assert_close(
        model.step(z, action).reward, 20 + 10 * inside, rtol=1e-3, atol=1e-2
    )


def test_wrong_widths_are_refused_in_a_sentence():
    model = tiny_model()
    with pytest.raises(ValueError, match=r"observations \(\.\.\., 5\), got \(3, 4\)"):
        model.start(torch.zeros(3, 4))
    z = model.start(torch.zeros(3, OBS))
    with pytest.raises(ValueError, match=r"actions \(B, 2\), got \(3, 16\) and \(3, 1"):
        model.step(z, torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"latents \(B, 16\).*observation not encoded"):
        model.step(Latent(torch.zeros(3, OBS)), torch.zeros(3, ACTIONS))


def test_gradients_of_a_rollout_are_those_of_finite_differences():
    model = stirred(tiny_model()).double()
    model.reward_scale.refresh(torch.tensor([1.0, 4.0]))
    obs = torch.randn(3, OBS, dtype=torch.float64, generator=generator())
    actions = torch.randn(4, 3, ACTIONS, dtype=torch.float64, generator=generator(1))

    def gain(actions: torch.Tensor) -> torch.Tensor:
        found = imagine(model, model.start(obs), actions, 4)
        return found.returns(0.9).sum() + found.final_z.z.square().sum()

    assert torch.autograd.gradcheck(gain, actions.requires_grad_(), rtol=1e-6)


# ------------------------------------------------------------------------------ heads
def test_two_hot_weights_go_to_the_bins_beside_a_number():
    head = TwoHot(bins=5, low=-2, high=2)  # bins at symlog -2, -1, 0, 1, 2
    x = torch.tensor([0.0, 0.25, -1.5, 2.0, 7.0])
    expected = torch.tensor(
        [
            [0, 0, 1, 0, 0],
            [0, 0, 0.75, 0.25, 0],
            [0.5, 0.5, 0, 0, 0],
            [0, 0, 0, 0, 1],
            [0, 0, 0, 0, 1],
        ]
    )
    torch.testing.assert_close(head.two_hot(symexp(x)), expected)


def test_what_is_written_in_bins_is_read_again():
    head, x = TwoHot(), torch.linspace(-50, 2000, 1001, dtype=torch.float64)
    logits = head.two_hot(x).clamp_min(1e-30).log()
    torch.testing.assert_close(head.value(logits), x)
    torch.testing.assert_close(symexp(symlog(x)), x)


def test_cross_entropy_is_least_for_the_number_itself():
    head, target = TwoHot(), torch.tensor([3.7], dtype=torch.float64)
    logits = torch.zeros(1, 101, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        head.losses(logits, target).sum().backward()
        optimizer.step()
    torch.testing.assert_close(head.value(logits), target, rtol=1e-2, atol=0)


def test_logits_that_are_alike_read_as_zero():
    torch.testing.assert_close(
        TwoHot().value(torch.full((3, 101), 0.7)), torch.zeros(3), rtol=0, atol=1e-4
    )


def test_a_head_refuses_the_loss_of_the_other():
    with pytest.raises(ValueError, match="got 101 bins in vain; use TwoHot"):
        Scalar().losses(torch.zeros(4, 101), torch.zeros(4))
    with pytest.raises(ValueError, match="101 bins needs as many outputs, got 1;"):
        TwoHot().losses(torch.zeros(4, 1), torch.zeros(4))
    with pytest.raises(ValueError, match=r"2 bins or more .*, got 1 from"):
        TwoHot(bins=1)


# --------------------------------------------------------------------------- rewards
def test_running_statistics_are_those_of_all_numbers_together():
    x = 5 + 3 * torch.randn(1000, dtype=torch.float64, generator=generator())
    running = RunningNormaliser()
    for part in x.split([1, 7, 300, 692]):
        running.refresh(part)
    assert float(running.mean) == pytest.approx(float(x.mean()), rel=1e-5)
    assert float(running.std) == pytest.approx(float(x.std(correction=0)), rel=1e-4)
    torch.testing.assert_close(running.inverse(running(x)), x)
    assert running(x.float()).dtype == torch.float32


# ----------------------------------------------------------------- as an environment
def test_a_latent_model_is_an_environment():
    env = ModelEnv(gym.make("Pendulum-v1"), stirred(LatentModel(3, 1, has_end=True)))
    assert env.observation_space.shape == (64,)
    with pytest.warns(UserWarning) as said:
        check_env(env, skip_close_check=True)
    known = ("different from the unwrapped", "symmetric and normalized")
    assert all(any(k in str(w.message) for k in known) for w in said)


def test_a_row_depends_on_no_other():
    model = stirred(LatentModel(3, 1, has_end=True))
    rng, shown = np.random.default_rng(0), []
    actions = rng.uniform(-2, 2, (5, 20, 1)).astype(np.float32)
    for rows in (20, 1):
        env = ModelVectorEnv(gym.make("Pendulum-v1"), model, rows)
        seen = [env.reset(seed=4)[0][0]]
        seen += [env.step(action[:rows])[0][0] for action in actions]
        shown.append(np.array(seen))
    np.testing.assert_array_equal(*shown)


def test_an_environment_of_another_size_is_refused():
    with pytest.raises(
        ValueError, match=r"got \(16, 16\) and \(16, 1\); was it made for"
    ):
        ModelEnv(gym.make("Pendulum-v1"), tiny_model())
    model = LatentModel(5, 1)
    with pytest.raises(ValueError, match="starts from 5 numbers, the environment give"):
        ModelEnv(gym.make("Pendulum-v1"), model).reset(seed=0)
