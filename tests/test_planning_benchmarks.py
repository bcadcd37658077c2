"""The specifications of benchmarks/planning.py, its sweeps and benchmarks/pets.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from suite import sweep
from suite.benchmark import Benchmark, get
from suite.parts import build

# The log's commands: horizon, gradient steps, random and planned steps, iterations.
LOG = {
    "cs285-q2": (10, 20, 5000, 1000, 1),
    "cs285-q3-obstacles": (10, 20, 5000, 1000, 12),
    "cs285-q3-reacher": (10, 1000, 5000, 5000, 15),
    "cs285-q3-cheetah": (15, 1500, 5000, 5000, 20),
}
Q4, Q5 = (10, 1000, 20_000, 800, 15), (15, 1500, 5000, 5000, 5)
PREFIX = "agent.fit.dynamics.ensemble."


def dials(spec: Benchmark) -> tuple[int, ...]:
    agent = spec.agent.kwargs
    initial, batch = agent["initial_steps"], agent["batch_size"]
    later, left = divmod(spec.total_timesteps - initial, batch)
    assert left == 0
    horizon = agent["planner"].kwargs["horizon"]
    return horizon, agent["fit_epochs"], initial, batch, 1 + later


def assert_is_the_logs_model(spec: Benchmark, activation: str) -> None:
    settings = spec.settings
    told = {key.removeprefix(PREFIX): settings[key] for key in settings}
    assert {key: told[key] for key in ("hidden", "activation")} == {
        "hidden": [250, 250],
        "activation": activation,
    }
    assert told["agent.fit.batches.batch_size"] == 512
    assert told["agent.fit.batches.steps_per_epoch"] == 1  # an epoch is a step
    assert told["agent.fit.learning_rate"] == 1e-3
    assert told["agent.data_noise"] == 0.01


@pytest.mark.parametrize("name", LOG)
def test_settings_are_those_of_the_logs_command(name):
    for scale, activation in (("default", "silu"), ("paper", "tanh")):
        spec = get(name).at_scale(scale)
        assert dials(spec) == LOG[name]
        assert_is_the_logs_model(spec, activation)
        assert spec.settings[PREFIX + "members"] == 3
        assert spec.settings["agent.planner.candidates"] == 1000
        assert spec.agent.kwargs["planner"].call.endswith(":RandomShooting")
        takes_hours = (scale, name[-7:]) in (("paper", "reacher"), ("paper", "cheetah"))
        assert spec.seeds == ((0,) if takes_hours else (0, 1, 2))
    reference = get(name).reference
    assert reference is not None
    iteration, steps, _ = reference.rows[-1]
    # What is told for the end is beside our evaluation after the last update.
    assert (iteration, steps) == (LOG[name][-1] + 1, get(name).total_timesteps)


def test_bf16_is_default_but_for_the_hidden_layers_while_planning():
    key = "agent.imagination"
    specs = [get(name) for name in LOG] + [
        cell.spec for name in ("cs285-q4", "cs285-q5") for cell in sweep.get(name).cells
    ]
    for spec in specs:
        half = spec.at_scale("bf16")
        imagination = build(half.agent.kwargs["imagination"], {})
        assert imagination.hidden_dtype is torch.bfloat16
        settings = half.settings.items()
        assert {k: v for k, v in settings if not k.startswith(key)} == spec.settings
    for name in ("cs285-q4", "cs285-q5"):
        cells = sweep.get(name).at_scale("bf16").cells
        assert all(key + ".hidden_dtype.ref" in cell.spec.settings for cell in cells)


def test_three_fits_differ_as_in_the_log():
    found = {}
    for cell in sweep.get("cs285-q1").at_scale("default").cells:
        settings = cell.spec.settings
        assert settings["data.steps"] == 20_000
        assert settings["agent.data_noise"] == 0.01
        found[cell.label] = settings[PREFIX + "hidden"], cell.spec.total_timesteps
    assert found == {
        "1x32-steps500": ([32], 500),
        "2x250-steps5": ([250, 250], 5),
        "2x250-steps500": ([250, 250], 500),
    }


def test_one_dial_is_turned_at_a_time():
    cells = {each.label: each.spec for each in sweep.get("cs285-q4").cells}
    standard = cells.pop("standard")
    assert dials(standard) == Q4 and standard.env.num_envs == 4
    assert_is_the_logs_model(standard, "silu")
    keys = {
        "ensemble": PREFIX + "members",
        "sequences": "agent.planner.candidates",
        "horizon": "agent.planner.horizon",
    }
    changed = {}
    for label, spec in cells.items():
        ours, theirs = spec.settings, standard.settings
        ((key, value),) = [(k, ours[k]) for k in ours if ours[k] != theirs[k]]
        name = label.rstrip("0123456789")
        assert key == keys[name] and label == f"{name}{value}"
        changed.setdefault(name, []).append(value)
    assert changed == {"ensemble": [1, 5], "sequences": [100], "horizon": [5, 15, 30]}
    assert [standard.settings[key] for key in keys.values()] == [3, 1000, 10]


def test_planners_are_compared_at_equal_everything_else():
    cells = {each.label: each.spec for each in sweep.get("cs285-q5").cells}
    assert {label: dials(spec) for label, spec in cells.items()} == dict.fromkeys(
        ("random", "cem2", "cem4"), Q5
    )
    for iterations in (2, 4):
        planner = cells[f"cem{iterations}"].agent.kwargs["planner"]
        made: Any = build(planner, {})
        counts = made.candidates, made.elites, made.iterations
        assert counts == (1000, 5, iterations)
        # The course's alpha of 1 replaces: the old statistics weigh nothing.
        assert (made.alpha, made.warm_start, made.proposal.std) == (0.0, False, None)
    # Random shooting is the third question's first five iterations.
    third = get("cs285-q3-cheetah").agent
    assert cells["random"].agent == third


def test_pets_has_the_published_sizes_at_paper_scale():
    spec = get("pets-halfcheetah").at_scale("paper")
    settings = spec.settings
    published = {
        "env.num_envs": 1,
        "total_timesteps": 300_000,
        "agent.initial_steps": 1000,
        "agent.batch_size": 1000,
        "agent.fit_epochs": 5,
        "agent.imagination.particles": 20,
        "agent.planner.horizon": 30,
        "agent.planner.candidates": 500,
        "agent.planner.elites": 50,
        "agent.planner.iterations": 5,
        "agent.planner.alpha": 0.1,
        PREFIX + "members": 5,
        PREFIX + "hidden": [200, 200, 200, 200],
        PREFIX + "activation": "silu",
        "agent.fit.batches.batch_size": 32,
        "agent.fit.weight_decay": [2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4],
    }
    assert {key: settings[key] for key in published} == published
    env = spec.make_env(1, "same_step")
    agent = build(spec.agent, {"seed": 0, "device": "cpu"}, env=env)
    # A variance of a quarter of half the bounds' range, squared, as published.
    assert agent.policy.planner.proposal.std == 0.5
    assert agent.planned_updates(spec.total_timesteps) == 300
