"""The specifications of benchmarks/mbpo.py beside the published tables."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import suite  # registers the environments
from suite.agents.believed import Fitted
from suite.agents.mbpo import MBPO
from suite.benchmark import Benchmark, get
from suite.envs.cheetah import reward
from suite.envs.locomotion import Ant, HalfCheetah, Hopper, Walker2d
from suite.envs.seen_end import SeenEnd
from suite.parts import build, to_json
from suite.sweep import get as get_sweep
from suite.worldmodels.propagation import TS1, Mean
from suite_bench.main import main

# Janner et al. 2019, table of appendix C and code, Hopper; rows as in the paper.
HOPPER = {
    "agent.branched.length.first_epoch": 20,
    "agent.branched.length.last_epoch": 150,
    "agent.branched.length.shortest": 1,
    "agent.branched.length.longest": 15,
    "agent.branched.starts": 100_000,
    "agent.branched.every": None,
    "agent.pace.updates": 20,
    "agent.pace.collect": 1,
    "agent.pace.epoch": 1000,
    "agent.pace.exploration": 5000,
    "agent.fit_every": 250,
    "agent.memory.retained": 1,
    "agent.memory.real_share": 0.05,
    "agent.soft.target_entropy": -1.0,
    "agent.soft.net_arch": [256, 256],
    "agent.soft.batch_size": 256,
    "agent.soft.learning_rate": 3e-4,
    "agent.soft.gamma": 0.99,
    "agent.soft.tau": 0.005,
    "agent.believed.fit.dynamics.ensemble.members": 7,
    "agent.believed.fit.dynamics.ensemble.hidden": [200] * 4,
    "agent.believed.fit.dynamics.ensemble.activation": "silu",
    "agent.believed.fit.dynamics.reward": None,
    "agent.believed.fit.holdout.elites": 5,
    "agent.believed.fit.holdout.share": 0.2,
    "agent.believed.fit.holdout.largest": 5000,
    "agent.believed.fit.holdout.patience": 6,  # 5 must be exceeded
    "agent.believed.fit.holdout.improvement": 0.01,
    "agent.believed.fit.learning_rate": 1e-3,
    "agent.believed.fit.batches.batch_size": 256,
    "agent.believed.steps": None,
}
# run_hw4_mbpo.py, as the log calls it.
COURSE = {
    "agent.pace.exploration": 0,
    "agent.pace.collect": 5000,
    "agent.pace.epoch": 5000,
    "total_timesteps": 50_000,
    "agent.memory.capacity": 100_000,
    "agent.soft.net_arch": [256, 256],
    "agent.soft.actor_activation": "tanh",
    "agent.soft.critic_activation": "relu",
    "agent.soft.batch_size": 256,
    "agent.soft.learning_rate": 3e-4,
    "agent.soft.temperature": 0.1,
    "agent.soft.gamma": 0.99,
    "agent.soft.tau": 0.005,
    "agent.soft.target_entropy": None,
}
COURSE_MODEL = {
    "agent.fit_every": 5000,
    "agent.branched.starts": 1,
    "agent.branched.every": 1,
    "agent.believed.steps": 1500,
    "agent.believed.data_noise": 0.01,
    "agent.believed.fit.batches.batch_size": 512,
    "agent.believed.fit.learning_rate": 1e-3,
    "agent.believed.fit.dynamics.ensemble.members": 3,
    "agent.believed.fit.dynamics.ensemble.hidden": [250, 250],
    "agent.believed.fit.dynamics.ensemble.activation": "tanh",
}


def found(spec: Benchmark, keys: dict[str, Any]) -> dict[str, Any]:
    """What a specification says, or the default of what it calls."""
    return {key: _at(to_json(spec), key.split(".")) for key in keys}


def _at(node: Any, path: list[str]) -> Any:
    from suite.parts import resolve

    for name in path:
        if "call" in node and name not in node:
            given = node["kwargs"]
            if name not in given:
                import inspect

                taken = inspect.signature(resolve(node["call"])).parameters
                return to_json(taken[name].default)
            node = given
        node = node[name]
    return list(node) if isinstance(node, tuple) else node


def course(rlen: int, scale: str) -> Benchmark:
    cells = get_sweep("cs285-q6").cells
    (cell,) = [c for c in cells if c.axes == {"rlen": rlen}]
    return cell.spec.at_scale(scale)


def cells_of(sweep: str, scale: str) -> dict[str, Benchmark]:
    """By label, also those that the sweep leaves out at this scale."""
    cells = get_sweep(sweep).cells
    return {cell.label: cell.spec.at_scale(scale) for cell in cells}


def test_mbpo_on_hopper_has_the_published_settings_at_its_published_size():
    spec = get("mbpo-hopper").at_scale("paper")
    assert found(spec, HOPPER) == HOPPER
    assert spec.total_timesteps == 5000 + 125_000


def test_by_default_mbpo_on_hopper_differs_from_them_by_its_schedules_alone():
    published = cells_of("mbpo-against-sac", "default")["mbpo-published"]
    assert found(published, HOPPER) == HOPPER
    spec = get("mbpo-hopper")
    assert spec.total_timesteps == published.total_timesteps == 15_000
    ours, theirs = spec.settings, published.settings
    assert {name for name in ours if ours[name] != theirs[name]} == {
        "agent.branched.length.first_epoch",
        "agent.branched.length.last_epoch",
        "agent.pace.exploration",
    }


def test_by_default_rollouts_grow_in_14_epochs_as_the_published_do_in_125():
    ours, theirs = (
        build(get("mbpo-hopper").at_scale(scale).agent.kwargs["branched"], {}).length
        for scale in ("default", "paper")
    )
    grown = [(ours(epoch), theirs(round(epoch * 125 / 14))) for epoch in range(14)]
    assert grown[0] == (1, 1) and grown[-1] == (10, 11)
    assert all(0 <= longer - length <= 1 for length, longer in grown)


def test_a_fit_waits_as_long_and_decays_as_the_published_one():
    fit = to_json(get("mbpo-hopper"))["agent"]["kwargs"]["believed"]["kwargs"]["fit"]
    assert fit["kwargs"]["weight_decay"] == [2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4]
    # Its counter must exceed 5.
    assert fit["kwargs"]["holdout"]["kwargs"]["patience"] == 5 + 1


def test_sac_has_the_numbers_of_its_authors():
    agent = to_json(get("sac-hopper"))["agent"]["kwargs"]
    assert agent["soft"]["kwargs"] == {
        "net_arch": [256, 256], "learning_rate": 3e-4, "gamma": 0.99, "tau": 0.005,
        "batch_size": 256,
    }  # fmt: skip
    assert agent["memory"]["kwargs"] == {"capacity": 1_000_000}
    pace = agent["pace"]["kwargs"]
    assert (pace["collect"], pace["updates"], pace["exploration"]) == (1, 1, 1000)


@pytest.mark.parametrize(
    ("sweep", "control", "beside"),
    [
        ("cs285-q6", "rlen0-updates5000", "rlen10"),
        ("mbpo-against-sac", "sac-updates20", "mbpo"),
        ("mbpo-against-sac", "sac-published-updates20", "mbpo-published"),
    ],
)
def test_a_control_has_as_many_updates_as_what_has_a_model(sweep, control, beside):
    for scale in ("quick", "default", "paper"):
        cells = cells_of(sweep, scale)
        one, other = (
            to_json(cells[name])["agent"]["kwargs"] for name in (control, beside)
        )
        assert one["pace"] == other["pace"] and one["soft"] == other["soft"]
        assert "believed" not in one and "believed" in other


def test_sac_beside_it_takes_the_same_real_steps():
    for scale in ("smoke", "quick", "default", "paper"):
        one, other = (
            get(name).at_scale(scale) for name in ("mbpo-hopper", "sac-hopper")
        )
        assert one.total_timesteps == other.total_timesteps
        assert (one.env, one.evaluation) == (other.env, other.evaluation)


@pytest.mark.parametrize(("rlen", "updates"), [(0, 1000), (1, 5000), (10, 5000)])
def test_the_sixth_question_has_the_settings_of_the_log(rlen, updates):
    spec = course(rlen, "paper")
    table = {**COURSE, "agent.pace.updates": updates}
    if rlen:
        table |= {**COURSE_MODEL, "agent.branched.length.steps": rlen}
    assert found(spec, table) == table
    assert spec.agent.call.endswith(":MBPO" if rlen else ":SAC")


def test_by_default_rollouts_are_as_many_as_the_logs():
    for rlen in (1, 10):
        shares = [
            found(course(rlen, scale), dict.fromkeys(("agent.branched.starts",
                  "agent.branched.every"))).values()
            for scale in ("default", "paper")
        ]  # fmt: skip
        assert all(starts == every for starts, every in shares)


def agent_of(spec: Benchmark) -> Any:
    available = {"make_env": spec.make_env, "seed": 0, "device": "cpu", "threads": 1}
    return build(
        spec.agent, available, env=spec.make_env(spec.env.num_envs, "same_step")
    )


def test_the_published_sizes_can_be_built():
    hopper = agent_of(get("mbpo-hopper").at_scale("paper"))
    assert isinstance(hopper, MBPO) and isinstance(hopper.believed, Fitted)
    assert isinstance(hopper.believed.model, TS1)
    assert hopper.believed.fit.dynamics.functions["reward"] is None
    ten = agent_of(course(10, "paper"))
    assert isinstance(ten.believed.model, Mean)
    assert ten.believed.fit.dynamics.functions["reward"] is reward


# ---------------------------------------------------------- ends read off observations
@pytest.mark.parametrize("task", [HalfCheetah(), Hopper(), Walker2d()])
def test_an_end_is_seen_where_the_environment_ends(task):
    name = f"Batched{type(task).__name__}-v5"
    env = gym.make_vec(name, num_envs=8, vectorization_mode="vector_entry_point")
    env.reset(seed=0)
    env.action_space.seed(0)
    seen, ended = SeenEnd(task), 0
    for _ in range(60):
        obs, _, terminated, _, _ = env.step(env.action_space.sample())
        np.testing.assert_array_equal(seen(obs), terminated)
        as_tensor = seen(torch.tensor(obs, dtype=torch.float32))
        np.testing.assert_array_equal(as_tensor.numpy(), terminated)
        ended += terminated.sum()
    assert (ended > 0) == (not isinstance(task, HalfCheetah))


def test_an_end_that_is_not_seen_is_refused():
    assert suite.__version__
    with pytest.raises(ValueError, match="Ant does not see all of its state but x"):
        SeenEnd(Ant())


@pytest.mark.parametrize("name", ["mbpo-hopper", "pets-halfcheetah"])
def test_the_published_sizes_pass_a_dry_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["run", name, "--scale", "paper", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert not list(tmp_path.iterdir())
