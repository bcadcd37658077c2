"""A model fit is a benchmark: specified, run, stopped, gone on with and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import toys

from suite.benchmark import Benchmark, Part
from suite.parts import ConfigError
from suite.running.run_folder import RunFolder, summary
from suite.runs import run_seed
from suite.storage import read_json, read_table
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_stored import load_car, read_card

LOSSES = Part(
    "suite.worldmodels.rollout_losses:Losses",
    {
        "rollout": Part("suite.worldmodels.rollout_losses:Rollout", {"horizon": 3}),
        "pose": Part("suite.worldmodels.rollout_losses:Pose", {"heading": True}),
        "cvar": Part("suite.worldmodels.cvar:CVaR", {"alpha": 0.2}),
    },
)
SPEC = Benchmark(
    name="toy-car",
    about="A car's model fitted to drives.",
    env=toys.TOY.env,  # a benchmark has one; a fit does not act in it
    agent=Part(
        "suite.worldmodels.car_fit:CarFit",
        {
            "car": Part(
                "suite.worldmodels.car:Car",
                {
                    "adapter": None,
                    "residual": Part("suite.worldmodels.car:Residual", {"hidden": [4]}),
                },
            ),
            "losses": LOSSES,
            "optimisation": Part(
                "suite.worldmodels.car_optimisation:Optimisation",
                {"batch_size": 8, "steps_per_epoch": 2, "learning_rate": 1e-2},
            ),
            "selection": Part(
                "suite.worldmodels.car_selection:Selection",
                {"share": 0.25, "horizon": 3},
            ),
        },
    ),
    total_timesteps=6,
    data=Part("cars:drives", {"count": 8, "steps": 22}),
    evaluation=Part(
        "suite.worldmodels.open_loop:OpenLoop",
        {"drives": Part("cars:drives", {"count": 3, "steps": 22, "seed": 1})},
    ),
    metric="error_1s",
)


@pytest.fixture(autouse=True)
def drives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "worldmodels"))


def run(out: Path, spec: Benchmark = SPEC, stop_after: int | None = None) -> Path:
    folder = RunFolder.of(spec, out)
    going = run_seed(spec, folder, 0, device="cpu", threads=1)
    list(islice(going, stop_after))
    going.close()
    return folder.seed(0)


def test_a_fit_is_run_evaluated_and_kept(tmp_path):
    SPEC.check()
    assert Benchmark.from_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC
    home = run(tmp_path)
    metrics, evaluations = (read_table(home / f"{n}.csv") for n in ("metrics", "eval"))
    assert len(metrics) == 3 and len(evaluations) == 4
    told = {"rollout_mean", "rollout_cvar", "k_used", "alpha", "grad_norm", "lr"}
    assert told <= set(metrics[0])
    errors = [row["error_1s"] for row in evaluations]
    result = read_json(home / "result.json")
    assert result["peak"] == min(errors) and result["final"] == errors[-1]
    assert result["timesteps"] == 6 and result["sim_steps"] == 0
    model = load_car(home / "model")
    assert isinstance(model, CarDynamics)
    assert read_card(home / "model")["benchmark"] == "toy-car"
    assert not (home / "policy").exists()
    assert summary(RunFolder.of(SPEC, tmp_path))["peak"]["mean"] == min(errors)


def test_a_run_that_was_stopped_ends_with_the_same_bytes(tmp_path):
    whole, stopped = run(tmp_path / "a"), run(tmp_path / "b", stop_after=4)
    assert not (stopped / "result.json").exists()
    run(tmp_path / "b")
    for name in ("metrics.csv", "eval.csv", "result.json"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes()
    one, other = (load_car(home / "model").state_dict() for home in (whole, stopped))
    assert all(part.equal(other[name]) for name, part in one.items())


def test_blocks_are_switched_by_settings():
    off = SPEC.with_settings({"agent.losses.cvar": None})
    assert off.agent.kwargs["losses"].kwargs["cvar"] is None
    assert off.digest != SPEC.digest
    half = SPEC.with_settings({"agent.losses.cvar.alpha": 0.5})
    assert half.settings["agent.losses.cvar.alpha"] == 0.5


def test_an_unknown_key_of_a_block_is_named():
    with pytest.raises(ConfigError, match=r"alhpa.*alpha"):
        SPEC.with_settings({"agent.losses.cvar.alhpa": 0.5})
    wrong = Part("suite.worldmodels.rollout_losses:Rollout", {"horizn": 3})
    losses = Part(LOSSES.call, {**LOSSES.kwargs, "rollout": wrong})
    agent = Part(SPEC.agent.call, {**SPEC.agent.kwargs, "losses": losses})
    with pytest.raises(
        ConfigError, match=r"Rollout takes no 'horizn'; it takes .*hori"
    ):
        replace(SPEC, agent=agent).check()


def test_an_alpha_of_nothing_stops_before_anything_is_computed(tmp_path):
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\].*got 0"):
        run(tmp_path, SPEC.with_settings({"agent.losses.cvar.alpha": 0.0}))
