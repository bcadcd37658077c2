"""The specifications of benchmarks/pwm*.py beside the published numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from suite.agents.first_order import FirstOrder
from suite.agents.pwm import PWM, Fitting
from suite.benchmark import Benchmark, get, names
from suite.parts import build, to_json
from suite.sweep import get as get_sweep
from suite.worldmodels.flow import Flow
from suite.worldmodels.latent import LatentModel
from suite.worldmodels.latent_fit import REWARD_LIMIT, LatentFit
from suite.worldmodels.latent_heads import Scalar
from suite.worldmodels.latent_sizes import parameter_counts
from suite.worldmodels.ode import Euler, Heun

# Of the configuration of one task in the code of arXiv:2407.02466.
PUBLISHED = {
    "horizon": 16,
    "gamma": 0.99,
    "lam": 0.95,
    "actor_arch": (400, 200, 100),
    "critic_arch": (400, 200),
    "critics": 3,
    "actor_learning_rate": 5e-4,
    "critic_learning_rate": 5e-4,
    "betas": (0.7, 0.95),
    "actor_clip": 1.0,
    "critic_clip": 100.0,
    "critic_iterations": 8,
    "critic_batches": 4,
    "log_std": -1.0,
    "least_log_std": -1.427,
    "detach": True,
    "scales_returns": True,
}
FITTED = {"first": 1000, "updates": 8, "batch_size": 256, "capacity": 1_000_000}


def test_defaults_are_the_published_numbers():
    assert {name: getattr(FirstOrder(), name) for name in PUBLISHED} == PUBLISHED
    assert {name: getattr(Fitting(), name) for name in FITTED} == FITTED
    assert Fitting().final_learning_rate == 1e-5


@pytest.mark.parametrize("name", ["pwm-pendulum", "pwm-pendulum-flow", "pwm-hopper"])
def test_paper_is_the_published_ratio(name):
    spec = get(name).at_scale("paper")
    agent = to_json(spec)["agent"]["kwargs"]
    pace, update = agent["pace"]["kwargs"], agent["first_order"]["kwargs"]
    assert pace["collect"] == 16 * spec.env.num_envs and pace["updates"] == 1
    small = {"actor_arch", "critic_arch"}  # of the task, not of the publication
    for field in set(update) - small:
        assert update[field] == PUBLISHED[field]
    fitted = agent["fitting"]["kwargs"]
    assert {n: fitted[n] for n in set(FITTED) & set(fitted)} == {
        n: FITTED[n] for n in set(FITTED) & set(fitted)
    }
    assert agent["fit"]["kwargs"]["learning_rate"] == 3e-4


def agent_of(spec: Benchmark, device: str = "cpu") -> PWM:
    available = {"make_env": spec.make_env, "seed": 0, "device": device, "threads": 1}
    env = spec.make_env(spec.env.num_envs, "same_step")
    return build(spec.agent, available, env=env)


def cells(name: str) -> dict[str, Benchmark]:
    return {cell.label: cell.spec for cell in get_sweep(name).cells}


def test_a_dial_changes_one_thing():
    found = cells("pwm-pendulum-ablation")
    assert len(found) == 6
    base = get("pwm-pendulum").settings
    for spec in found.values():
        differs = {n for n in spec.settings if spec.settings[n] != base.get(n)}
        dials = ("agent.first_order.horizon", "agent.fit.model.dynamics")
        dials += ("agent.fitting.final_learning_rate",)
        assert len({d for d in dials if any(n.startswith(d) for n in differs)}) < 2
        assert all(name.startswith(dials) for name in differs)


def test_every_run_keeps_ten_policies_or_more_to_tell_how_stable_it_is():
    found = {}
    for spec in (get(name) for name in names() if name.startswith("pwm-")):
        for scale in ("default", "paper"):
            kept = spec.at_scale(scale).checkpoint_at
            found[spec.name, scale] = 1 + len(kept)  # and the last one
    assert len(found) == 22 and min(found.values()) >= 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "episodes", "error"),
    [("pwm-pendulum", 1000, 9.1), ("pwm-hopper", 200, 1.2)],
)
def test_random_actions_score_what_is_printed_beside_ours(name, episodes, error):
    spec = get(name)
    env = spec.make_env(episodes)
    space, rng = env.single_action_space, np.random.default_rng(1)
    env.reset(seed=1)
    returns, running = np.zeros(episodes), np.ones(episodes, bool)
    while running.any():
        actions = rng.uniform(space.low, space.high, (episodes, *space.shape))
        _, rewards, terminated, truncated, _ = env.step(actions.astype(np.float32))
        returns += np.where(running, rewards, 0.0)
        running &= ~(terminated | truncated)
    # Both are means of so many episodes: five deviations of their difference.
    printed = spec.baselines["random actions"]
    assert abs(returns.mean() - printed) < 5 * 2**0.5 * error


def test_flows_have_the_evaluations_of_the_variants():
    solvers = {}
    for name, spec in cells("pwm-pendulum-ablation").items():
        strategy = agent_of(spec).fit.model.strategy
        if isinstance(strategy, Flow):
            solvers[name] = strategy.solver
    assert solvers == {
        "heun2-horizon4": Heun(2),
        "heun4-horizon4": Heun(4),
        "euler8-horizon4": Euler(8),
    }
    assert [each.evaluations for each in solvers.values()] == [4, 8, 8]


def test_heads_differ_in_the_head_alone():
    found = cells("pwm-pendulum-heads")
    flows = {name: agent_of(spec).fit.model.strategy for name, spec in found.items()}
    for name, flow in flows.items():
        assert isinstance(flow, Flow)
        assert (flow.head, flow.project, flow.rollout) == (name, False, 0.0)
    assert all(len(spec.seeds) == 10 for spec in found.values())


def test_only_hopper_learns_ends():
    ends = {n: agent_of(get(n)).fit.model.end for n in ("pwm-pendulum", "pwm-hopper")}
    assert ends["pwm-pendulum"] is None and ends["pwm-hopper"] is not None


def weight_count(model: Any) -> int:
    return sum(part.numel() for part in model.parameters())


def test_the_pendulums_model_has_the_numbers_it_should():
    # 3-64-64 with norms, 65-128-128-64 with norms, 65-128-128-1 with two.
    encoder = (3 * 64 + 3 * 64) + (64 * 64 + 3 * 64)
    hidden = (65 * 128 + 3 * 128) + (128 * 128 + 3 * 128)
    known = encoder + 2 * hidden + (128 * 64 + 3 * 64) + (128 + 1)
    assert weight_count(agent_of(get("pwm-pendulum")).fit.model) == known == 64_129


# -------------------------------------------------------------------------------- ant
ANT = [f"pwm-ant-{size}" for size in ("5m", "48m")]
VARIANTS = {"": None, "-flow-v1": Heun(2), "-flow-v2": Heun(4), "-flow-v3": Euler(8)}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ANT)
def test_an_ants_paper_is_the_seeds(name, variant):
    spec = get(name + variant).at_scale("paper")
    agent = to_json(spec)["agent"]["kwargs"]
    # The seed: 16 steps, batch 1024, 15k epochs, 20k of a flow, rates that fall.
    update = agent["first_order"]["kwargs"]
    assert update == {"horizon": 16, "critic_iterations": 8}
    fitted = agent["fitting"]["kwargs"]
    assert fitted == {"first": 1000, "updates": 8, "batch_size": 1024}
    # Theirs waits for an episode's end: 1000 steps of every row, in blocks of 16.
    assert agent["pace"]["kwargs"]["exploration"] == 63 * 128 * 16
    assert (spec.env.num_envs, agent["pace"]["kwargs"]["updates"]) == (128, 1)
    epochs = 20_000 if variant else 15_000
    assert agent["pace"]["kwargs"]["collect"] == 128 * 16
    assert spec.total_timesteps == epochs * 128 * 16
    fit = agent["fit"]["kwargs"]
    assert fit["learning_rate"] == 3e-4
    assert fit["loss"]["kwargs"] == {
        "consistency": 1.0,
        "reward": 1 / 16,
        "end": 1 / 16,  # the seed learns no ends
    }
    assert fit["model"]["kwargs"]["size"] == name.removeprefix("pwm-ant-")
    model = build(spec.agent.kwargs["fit"].kwargs["model"], {})
    strategy = model.strategy
    solver = strategy.solver if isinstance(strategy, Flow) else None
    assert solver == VARIANTS[variant] and model.end is not None
    assert isinstance(model.head, Scalar)
    if isinstance(strategy, Flow):
        # The seed's, but for the head and what follows from it: see the module's text.
        chosen = (strategy.source, strategy.sees_start, strategy.tau_features)
        assert (*chosen, strategy.taus) == ("state", False, 1, "uniform")
        assert (strategy.head, strategy.project, strategy.rollout) == (
            "linear",
            True,
            1,
        )


def test_the_small_ants_policy_is_updated_eight_times_as_often_as_published():
    spec = get("pwm-ant-5m")
    agent = to_json(spec)["agent"]["kwargs"]
    pace, fitted = agent["pace"]["kwargs"], agent["fitting"]["kwargs"]
    steps = spec.total_timesteps - pace["exploration"]
    blocks, published = steps // pace["collect"] + 1, steps // (128 * 16) + 1
    assert (blocks, published) == (3785, 474) and pace["updates"] == 1
    assert blocks * fitted["updates"] == pytest.approx(8 * published, rel=2e-3)
    epochs = math.ceil(spec.total_timesteps / pace["epoch"])
    assert spec.checkpoint_at == tuple(range(epochs - 10, epochs))


@pytest.mark.parametrize(("name", "count"), [("5m", 1_997_826), ("48m", 23_089_154)])
def test_an_ants_model_has_as_many_numbers_as_is_printed(name, count):
    with torch.device("meta"):
        model = build(get(f"pwm-ant-{name}").agent.kwargs["fit"].kwargs["model"], {})
    assert parameter_counts(model)["total"] == count


def test_a_fit_cuts_and_scales_as_published():
    model = LatentModel(3, 1)
    fit = LatentFit(model)
    assert (fit.clip, fit.normalise_rewards, REWARD_LIMIT) == (20.0, True, 5.0)
    for name in ("pwm-pendulum", "pwm-hopper", *ANT):
        said = to_json(get(name).at_scale("paper"))["agent"]["kwargs"]["fit"]["kwargs"]
        assert not {"clip", "normalise_rewards"} & set(said)


NO_CUDA = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"
)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_CUDA)])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ANT)
def test_an_ants_update_is_finite_and_changes_every_part(name, variant, device):
    spec = get(name + variant).with_settings(
        {"env.num_envs": 4, "agent.pace.collect": 64, "agent.pace.epoch": 64,
         "agent.pace.exploration": 64, "agent.fitting.first": 0,
         "agent.fitting.updates": 2, "agent.fitting.batch_size": 4,
         "agent.first_order.batch_size": 4}
    )  # fmt: skip
    agent = agent_of(spec, device)
    agent.env.seed(0)
    parts = (agent.fit.model, agent.first_order.actor, agent.first_order.critics)
    before = [[each.clone() for each in part.parameters()] for part in parts]
    list(agent.iterate(128))
    for part, old in zip(parts, before, strict=True):
        pairs = list(zip(part.parameters(), old, strict=True))
        assert all(bool(new.isfinite().all()) for new, _ in pairs)
        assert all(not new.equal(kept) for new, kept in pairs)
    strategy = agent.fit.model.strategy
    solver = strategy.solver if isinstance(strategy, Flow) else None
    assert solver == VARIANTS[variant]
