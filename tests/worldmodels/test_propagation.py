"""Statistics of imagined states against closed forms on a linear-Gaussian model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from worlds import Pendulum, far_model, linear_model, pendulum_data, pendulum_dynamics

from suite.worldmodels.ensemble import GaussianEnsemble
from suite.worldmodels.imagine import imagine
from suite.worldmodels.propagation import TS1, Mean, TSInf

SLOPES, SHIFTS, LOGVARS = [0.9, 0.5, -0.3], [0.1, -0.2, 0.4], [-2.0, -4.0, -1.0]
HORIZON, ROWS, START = 6, 40_000, 1.5
GAUSSIAN = linear_model(SLOPES, SHIFTS, LOGVARS)


def sigma_squared() -> np.ndarray:
    """Each member's variance, its soft bounds included."""
    found = GAUSSIAN.predict(torch.zeros(1, 1), torch.zeros(1, 1)).std
    assert found is not None
    return found[:, 0, 0].detach().square().numpy()


def imagined(wrapper, rows=ROWS):
    model = wrapper(GAUSSIAN)
    z = model.start(torch.full((rows, 1), START))
    actions = torch.zeros(HORIZON, rows, 1)
    with torch.no_grad():
        return imagine(
            model, z, actions, HORIZON, generator=torch.Generator().manual_seed(0)
        )


def moments_ts1() -> tuple[float, float]:
    """x' = a x + c + s e with (a, c, s) drawn anew: E x' and E x'^2 by recursion."""
    a, c = np.array(SLOPES), np.array(SHIFTS)
    first, second = START, START**2
    for _ in range(HORIZON):
        second = (
            (a * a).mean() * second
            + 2 * (a * c).mean() * first
            + (c * c + sigma_squared()).mean()
        )
        first = a.mean() * first + c.mean()
    return first, second - first**2


def moments_tsinf() -> tuple[float, float]:
    """A mixture of each member's own Gaussian."""
    a, c = np.array(SLOPES), np.array(SHIFTS)
    mean, variance = np.full(3, START), np.zeros(3)
    for _ in range(HORIZON):
        mean, variance = a * mean + c, a * a * variance + sigma_squared()
    return mean.mean(), variance.mean() + mean.var()


@pytest.mark.parametrize(
    ("wrapper", "moments"), [(TS1, moments_ts1), (TSInf, moments_tsinf)]
)
def test_sampled_trajectories_have_the_mean_and_variance_of_theory(wrapper, moments):
    x = imagined(wrapper).obs[-1, :, 0].double()
    mean, variance = moments()
    error = (variance / ROWS) ** 0.5
    assert float(x.mean()) == pytest.approx(mean, abs=4 * error)
    # The error of a variance is that of (x - mean)^2, whose spread is measured.
    spread = float((x - x.mean()).square().std()) / ROWS**0.5
    assert float(x.var()) == pytest.approx(variance, abs=4 * spread)
    # The two are far enough apart to be told.
    assert abs(moments_ts1()[1] - moments_tsinf()[1]) > 10 * spread


def test_the_mean_has_the_mean_of_all_members_and_no_variance():
    x = imagined(Mean, rows=5).obs[:, :, 0]
    expected = START
    for step in range(1, HORIZON + 1):
        expected = np.mean(SLOPES) * expected + np.mean(SHIFTS)
        np.testing.assert_allclose(x[step], expected, rtol=1e-5)


def test_a_row_of_tsinf_stays_with_its_member():
    model = TSInf(linear_model(SLOPES, SHIFTS))
    start = model.start(torch.ones(300, 1))
    assert (start.member == -1).all()
    generator = torch.Generator().manual_seed(0)
    found = imagine(model, start, torch.zeros(4, 300, 1), 4, generator=generator)
    member = found.final_z.member
    assert {0, 1, 2} == set(member.tolist())
    x = torch.ones(300)
    for step in range(1, 5):
        x = torch.tensor(SLOPES)[member] * x + torch.tensor(SHIFTS)[member]
        torch.testing.assert_close(found.obs[step, :, 0], x)
    chosen = model.start(torch.ones(3, 1), torch.tensor([2, 0, 1]))
    after = model.step(chosen, torch.zeros(3, 1)).next_z
    assert after.member.tolist() == [2, 0, 1]


def test_only_elites_predict():
    dynamics = linear_model([0.0, 1.0, 2.0], [0.0, 0.0, 0.0])
    dynamics.is_elite[1] = False
    one, zero = torch.ones(200, 1), torch.zeros(200, 1)
    generator = torch.Generator().manual_seed(0)
    for wrapper in (TS1, TSInf):
        model: Any = wrapper(dynamics)
        state = model.step(model.start(one), zero, generator=generator).next_z.state
        assert set(state[:, 0].tolist()) == {0.0, 2.0}
    model = Mean(dynamics)
    assert (model.step(model.start(one), zero).next_z.state == 1).all()


def test_asking_one_member_a_row_is_asking_all_and_picking():
    dynamics, data = pendulum_dynamics(GaussianEnsemble, members=4), pendulum_data(80)
    dynamics.refresh(data)
    member = torch.randint(4, (80,), generator=torch.Generator().manual_seed(0))
    member[member == 2] = 3  # nobody asks member 2
    everyone = dynamics(data.states, data.actions)
    found = dynamics.predict_rows(data.states, data.actions, member)
    rows = torch.arange(80)
    torch.testing.assert_close(found.mean, everyone.mean[member, rows])
    assert found.std is not None and everyone.std is not None
    torch.testing.assert_close(found.std, everyone.std[member, rows])


def test_members_may_each_be_in_a_state_of_their_own():
    dynamics = linear_model(SLOPES, SHIFTS)
    states = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1).expand(3, 5, 1)
    action = torch.full((5, 1), 0.5)
    expected = torch.tensor(SLOPES) * torch.tensor([1.0, 2.0, 3.0]) + 0.5
    expected = expected + torch.tensor(SHIFTS)
    found = dynamics(states, action).mean
    torch.testing.assert_close(found[:, :, 0], expected[:, None].expand(3, 5))


def test_what_is_no_ensemble_is_refused():
    with pytest.raises(TypeError, match="Mean propagates a LearnedDynamics, got Pend"):
        Mean(Pendulum())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"states \(B, 1\), got \(2, 3\)"):
        TS1(far_model()).start(torch.zeros(2, 3))
