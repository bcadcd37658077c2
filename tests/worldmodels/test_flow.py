"""Flows solve what they say, learn what can be learned, and show what cannot."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from latents import ACTIONS, OBS, pendulum_pieces, pieces, stirred, tiny_model

from suite.checkpoints import pack, unpack
from suite.parts import Part, build
from suite.worldmodels.flow import Flow, VelocityNetwork, projected
from suite.worldmodels.imagine import imagine
from suite.worldmodels.latent import LatentModel
from suite.worldmodels.latent_fit import LatentFit, LatentLoss
from suite.worldmodels.latent_heads import TwoHot
from suite.worldmodels.latent_networks import grouped
from suite.worldmodels.latent_sizes import parameter_counts
from suite.worldmodels.model_env import ModelEnv, ModelVectorEnv
from suite.worldmodels.ode import Euler, Heun, Solver
from suite.worldmodels.subsequences import Subsequences

ANT = (37, 8)
SOLVERS = [Euler(1), Euler(3), Heun(1), Heun(3)]
BARE = {"project": False, "rollout": 0.0}
NOISE = Flow(source="noise", sees_start=True, rollout=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def velocity_of(model: LatentModel) -> VelocityNetwork:
    network = model.dynamics
    assert isinstance(network, VelocityNetwork)
    return network


# ---------------------------------------------------------------------------- solvers
@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_constant_velocity_is_followed_exactly(solver):
    x = torch.randn(5, 3, dtype=torch.float64, generator=generator())
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found = solver.solve(lambda x, tau: shift.expand_as(x), x)
    torch.testing.assert_close(found, x + shift)


@pytest.mark.parametrize(("kind", "order"), [(Euler, 1), (Heun, 2)])
def test_errors_on_a_linear_field_fall_with_the_order(kind, order):
    matrix = torch.randn(4, 4, dtype=torch.float64, generator=generator())
    x = torch.randn(7, 4, dtype=torch.float64, generator=generator(1))
    exact = x @ torch.linalg.matrix_exp(matrix).T
    errors = [
        (kind(steps).solve(lambda x, tau: x @ matrix.T, x) - exact).norm()
        for steps in (64, 128)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "errors"),
    [(Euler, [0.157, 0.074, 0.036, 0.018]), (Heun, [0.083, 0.018, 0.0041, 0.00098])],
)
def test_a_field_of_time_is_solved_as_well_as_it_should_be(kind, errors):
    # dx/dtau = -3 x + sin(2 pi tau): x(1) = (1 + c) e^-3 - c, c = 2 pi / (9 + 4 pi^2).
    c = 2 * math.pi / (9 + 4 * math.pi**2)
    exact = (1 + c) * math.exp(-3) - c
    for steps, error in zip((4, 8, 16, 32), errors, strict=True):
        found = kind(steps).solve(
            lambda x, tau: -3 * x + math.sin(2 * math.pi * tau),
            torch.ones((), dtype=torch.float64),
        )
        assert abs(float(found) - exact) == pytest.approx(error, rel=0.05)


@pytest.mark.parametrize(
    ("solver", "evaluations"),
    [(Heun(2), 4), (Heun(4), 8), (Heun(8), 16), (Euler(2), 2), (Euler(8), 8)],
    ids=str,
)
def test_a_step_costs_as_many_evaluations_as_its_solver_says(solver, evaluations):
    model = tiny_model(dynamics=Flow(solver))
    asked: list[int] = []
    model.dynamics.register_forward_hook(lambda *_: asked.append(1))
    z = model.start(torch.zeros(3, OBS))
    model.step(z, torch.zeros(3, ACTIONS))
    assert len(asked) == solver.evaluations == evaluations
    asked.clear()
    LatentFit(model).update(pieces(steps=4))
    assert len(asked) == 4 * evaluations + 1  # the velocity's own loss, all steps once


@pytest.mark.parametrize("kind", [Euler, Heun])
def test_no_steps_are_refused(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} needs 1 step or more .* 0"):
        kind(0)


# ------------------------------------------------------------------------------ sizes
@pytest.mark.parametrize(
    ("size", "head", "dynamics", "total", "bins"),
    [
        ("5m", "linear", 794_624, 1_469_441, 1_520_741),
        ("48m", "linear", 5_991_424, 18_489_345, 18_668_645),
        ("5m", "simnorm", 795_648, 1_470_465, 1_521_765),
        ("48m", "simnorm", 5_992_960, 18_490_881, 18_670_181),
    ],
)
def test_parameters_are_those_counted_by_hand(size, head, dynamics, total, bins):
    with torch.device("meta"):
        plain = LatentModel(*ANT, size=size, dynamics=Flow(head=head))
        binned = LatentModel(*ANT, size=size, dynamics=Flow(head=head), reward=TwoHot())
    assert parameter_counts(plain)["dynamics"] == dynamics
    assert parameter_counts(plain)["total"] == total
    assert parameter_counts(binned)["total"] == bins


def test_what_the_velocity_sees_more_has_weights():
    with torch.device("meta"):
        plain = LatentModel(*ANT, size="5m", dynamics=Flow())
        more = LatentModel(
            *ANT, size="5m", dynamics=Flow(sees_start=True, tau_features=16)
        )
    extra = parameter_counts(more)["total"] - parameter_counts(plain)["total"]
    assert extra == 512 * (512 + 15)


def test_encoder_and_reward_can_be_exchanged_with_those_of_another_dynamics():
    direct, flow = stirred(tiny_model()), tiny_model(dynamics=Flow())
    for name in ("encoder", "reward", "reward_scale"):
        flow.get_submodule(name).load_state_dict(
            direct.get_submodule(name).state_dict()
        )
    obs = torch.randn(4, OBS, generator=generator())
    assert torch.equal(flow.encode(obs), direct.encode(obs))


def test_a_flow_is_data():
    solver = Part("suite.worldmodels.ode:Euler", {"steps": 8})
    flow = Part("suite.worldmodels.flow:Flow", {"solver": solver, "tau_features": 16})
    kwargs = {"obs_size": 3, "action_size": 1, "dynamics": flow}
    model = build(Part("suite.worldmodels.latent:LatentModel", kwargs), {"seed": 0})
    assert model.strategy == Flow(Euler(8), tau_features=16)


# --------------------------------------------------------------------------- velocity
def test_a_flow_begins_as_standing_still():
    model = tiny_model(dynamics=Flow(Heun(3)))
    z = model.start(torch.randn(6, OBS, generator=generator()))
    after = model.step(z, torch.randn(6, ACTIONS, generator=generator())).next_z
    torch.testing.assert_close(after.z, z.z, rtol=0, atol=3e-4)  # shares are 1e-4 up


@pytest.mark.parametrize("flow", [Flow(), Flow(sees_start=True, tau_features=16)])
def test_velocities_are_those_of_one_layer_over_everything(flow):
    model = stirred(tiny_model(dynamics=flow))
    network, z = velocity_of(model), torch.randn(6, 16, generator=generator())
    action, x = torch.randn(6, 2, generator=generator(1)), z + 1
    tau = torch.rand(6, 1, generator=generator(2))
    if flow.sees_start:
        angle = tau * torch.tensor([100 ** (k / 7) for k in range(8)])
        told = torch.cat([x, angle.sin(), angle.cos(), action, z], 1)
    else:
        told = torch.cat([x, tau, action], 1)
    weights = [network.at_x, network.at_tau, network.given.weight]
    first = told @ torch.cat(weights, 1).T + network.given.bias
    found = network(x, tau, network.given(flow._given(z, action)))
    torch.testing.assert_close(found, network.rest(first), rtol=1e-4, atol=1e-5)
    one = network(x, 0.3, network.given(flow._given(z, action)))
    same = network(x, torch.full((6, 1), 0.3), network.given(flow._given(z, action)))
    torch.testing.assert_close(one, same)


def test_projected_groups_are_positive_and_sum_to_one():
    wild = 3 * torch.randn(9, 16, generator=generator())
    found = projected(wild)
    assert found.min() > 0
    torch.testing.assert_close(grouped(found).sum(-1), torch.ones(9, 2))
    fair = wild.reshape(9, 2, 8).softmax(-1).clamp_min(2e-4)
    fair = (fair / fair.sum(-1, keepdim=True)).reshape(9, 16)
    torch.testing.assert_close(projected(fair), fair)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_simnorm_velocity_adds_one_to_every_group_in_every_step(solver):
    flow = Flow(solver, head="simnorm", **BARE)
    model = stirred(tiny_model(dynamics=flow)).double()
    obs = torch.randn(5, OBS, dtype=torch.float64, generator=generator())
    actions = torch.randn(16, 5, ACTIONS, dtype=torch.float64, generator=generator())
    found = imagine(model, model.start(obs), actions, 16).obs
    expected = 1 + torch.arange(17, dtype=torch.float64)
    torch.testing.assert_close(
        grouped(found).sum(-1), expected[:, None, None].expand(17, 5, 2)
    )


def test_a_simnorm_velocity_cannot_fit_whatever_its_weights():
    # In each group targets sum to 0 and it sums to 1: spread evenly, each of the 8
    # numbers is off by 1 / 8 at least.
    drawn = torch.Generator().manual_seed(0)
    z, target = torch.randn(2, 200, 16, generator=drawn).unflatten(-1, (2, 8))
    z, target = (each.softmax(-1).flatten(-2) for each in (z, target))
    for seed in range(5):
        flow = Flow(head="simnorm", **BARE)
        network = velocity_of(stirred(tiny_model(dynamics=flow), seed))
        action = torch.zeros(200, ACTIONS)
        assert flow.errors(network, z, action, z, target, drawn).min() > 1 / 64 - 1e-6


def shifted(rows: int, drawn: torch.Generator) -> list[torch.Tensor]:
    """Latents, actions and z' = z + (a1, a2, 0, ...): a velocity that is constant."""
    z = torch.randn(rows, 16, generator=drawn)
    action = torch.rand(rows, ACTIONS, generator=drawn)
    return [z, action, torch.cat([z[:, :2] + action, z[:, 2:]], 1)]


def test_a_flow_without_error_is_found_where_there_is_one():
    flow = Flow(Heun(2), project=False)
    model = tiny_model(dynamics=flow)
    network, drawn, losses = velocity_of(model), generator(), []
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(500):
        z, action, target = shifted(64, drawn)
        after = model.next(z, action)
        loss = flow.errors(network, z, action, after, target, drawn).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert torch.stack(losses[-50:]).mean() < 0.01 * losses[0]
    z, action, target = shifted(64, drawn)
    for solver in (Euler(1), Heun(5)):  # and so it does not matter who solves it
        after = Flow(solver, project=False).next(network, z, action, None)
        assert (after - target).square().mean() < 0.01 * (target - z).square().mean()


@pytest.mark.parametrize("flow", [Flow(), Flow(taus="midpoint"), NOISE], ids=str)
def test_the_velocitys_loss_is_flow_matching(flow):
    model = stirred(tiny_model(dynamics=flow))
    z, target = torch.rand(2, 3, 5, 16, generator=generator())
    action = torch.randn(3, 5, ACTIONS, generator=generator(1))
    after = z + 0.1
    network = velocity_of(model)
    found = flow.errors(network, z, action, after, target, generator(2))
    drawn = generator(2)
    start = torch.randn(3, 5, 16, generator=drawn) if flow is NOISE else z
    tau = torch.rand(3, 5, 1, generator=drawn)
    tau = torch.full_like(tau, 0.5) if flow.taus == "midpoint" else tau
    x = (1 - tau) * start + tau * target
    told = torch.cat([action, z], -1) if flow.sees_start else action
    velocity = network(x, tau, network.given(told))
    expected = (velocity - (target - start)).square().mean(-1)
    expected = expected + flow.rollout * (after - target).square().mean(-1)
    torch.testing.assert_close(found, expected)


def test_gradients_of_a_rollout_are_those_of_finite_differences():
    flow = Flow(Heun(2), tau_features=16, sees_start=True)
    model = stirred(tiny_model(dynamics=flow, has_end=True)).double()
    obs = torch.randn(3, OBS, dtype=torch.float64, generator=generator())
    actions = torch.randn(3, 3, ACTIONS, dtype=torch.float64, generator=generator(1))

    def gain(actions: torch.Tensor) -> torch.Tensor:
        found = imagine(model, model.start(obs), actions, 3)
        ends = model.going_on(found.final_z).sum()
        return found.rewards.sum() + found.final_z.z.square().sum() + ends

    assert torch.autograd.gradcheck(gain, actions.requires_grad_(), rtol=1e-6)


# ----------------------------------------------------------------------------- fitting
@pytest.mark.parametrize("flow", [Flow(), NOISE], ids=["state", "noise"])
def test_a_fit_of_a_flow_goes_on_exactly(flow, tmp_path):
    def fresh() -> LatentFit:
        return LatentFit(tiny_model(dynamics=flow), learning_rate=1e-3, seed=5)

    whole, first, second = fresh(), fresh(), fresh()
    batches = [pieces(seed=seed) for seed in range(6)]
    told = [whole.update(batch) for batch in batches]
    for batch in batches[:3]:
        first.update(batch)
    second.load_state(unpack(pack(first.state()), tmp_path))
    again = [second.update(batch) for batch in batches[3:]]
    assert again == told[3:]
    for left, right in zip(
        whole.model.parameters(), second.model.parameters(), strict=True
    ):
        assert torch.equal(left, right)


def test_pendulums_rewards_are_predicted_open_loop():
    train, test = pendulum_pieces(6, 256), pendulum_pieces(6, 64, seed=1000)
    model = LatentModel(3, 1, dynamics=Flow(Heun(1)))
    fit = LatentFit(model, learning_rate=1e-3, loss=LatentLoss(consistency=20))
    for _ in range(120):
        rows = torch.randint(256, (64,), generator=generator(fit.updates))
        fit.update(Subsequences(*(part[:, rows] for part in train)))
    with torch.no_grad():
        found = imagine(model, model.start(test.obs[0]), test.actions, 6)
    error = (found.rewards - test.rewards).square().mean()
    assert error < 0.1 * test.rewards.var()


# ---------------------------------------------------------------------- environments
@pytest.mark.parametrize("flow", [Flow(), NOISE, Flow(**BARE)], ids=str)
def test_a_flow_is_an_environment(flow):
    model = LatentModel(3, 1, dynamics=flow)
    env = ModelEnv(gym.make("Pendulum-v1"), model)
    with pytest.warns(UserWarning) as said:
        check_env(env, skip_close_check=True)
    known = ("different from the unwrapped", "symmetric and normalized", "infinity")
    assert all(any(k in str(w.message) for k in known) for w in said)


def test_a_row_of_a_noisy_flow_depends_on_no_other():
    model = stirred(LatentModel(3, 1, dynamics=NOISE))
    rng, shown = np.random.default_rng(0), []
    actions = rng.uniform(-2, 2, (5, 20, 1)).astype(np.float32)
    for rows in (20, 1):
        env = ModelVectorEnv(gym.make("Pendulum-v1"), model, rows)
        seen = [env.reset(seed=4)[0][0]]
        seen += [env.step(action[:rows])[0][0] for action in actions]
        shown.append(np.array(seen))
    np.testing.assert_array_equal(*shown)


# ------------------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"source": "data"}, r"source must be one of \['state', 'noise'\], got 'data'"),
        ({"head": "relu"}, "head must be one of"),
        ({"taus": "half"}, "taus must be one of"),
        ({"tau_features": 5}, "1 or an even number of sines and cosines, got 5"),
        ({"tau_features": 0}, "1 or an even number of sines and cosines, got 0"),
        ({"rollout": -1.0}, "rollout must be 0 or more"),
        ({"source": "noise"}, "sees_start=True"),
        ({"source": "noise", "sees_start": True}, "give rollout=0 with source='noise'"),
    ],
)
def test_flows_that_cannot_be_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Flow(**kwargs)


def test_solvers_are_strategies():
    solvers: list[Solver] = [Euler(), Heun()]
    assert [each.evaluations for each in solvers] == [4, 4]
