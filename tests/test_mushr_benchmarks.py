"""The sweep over MuSHR's configurations is the plan's, field by field."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from suite import sweep
from suite.benchmark import get
from suite.parts import to_json
from suite.results.details import read_details
from suite.running.sweep_folder import SweepFolder
from suite.storage import read_json
from suite_bench.main import main

GRID = sweep.get("mushr-cvar")
PAPER, DEFAULT = GRID.at_scale("paper"), GRID.at_scale("default")

# The plan's 24 configurations: what each has of its own, the rest is below. Those that
# are no seed sweep have seed 42.
OWN: dict[str, dict[str, Any]] = {
    **{f"exp2_seed{i}": {"seed": i} for i in range(5)},
    "exp2_h20": {"horizon": 20},
    "exp2_tf0": {"teacher_forcing": 0.0},
    "exp2_tf0p5": {"teacher_forcing": 0.5},
    "exp2_xytheta": {"heading": True, "pose_weight": 0.02},
    "exp2_resl2_0p01": {"penalties": {"residual": 0.01}},
    "exp6_direct_rollout_pose": {"plant": "Hold", "residual": [128, 128]},
    "exp7_direct_no_adapter_rollout_pose": {
        "plant": "Hold",
        "residual": [128, 128],
        "adapter": None,
    },
}
COMMON: dict[str, Any] = {
    "seed": 42,
    "plant": "Kinematic",
    "adapter": [64, 64],
    "residual": [32, 32],
    "friction": None,
    "one_step": 1.0,
    "columns": [1.0, 1.0, 2.0],
    "horizon": 10,
    "rollout_weight": 0.5,
    "teacher_forcing": 0.2,
    "detach": False,
    "pose_weight": 0.05,
    "heading": False,
    "penalties": {},
    "batch_size": 256,
    "learning_rate": 1e-3,
    "final_rate": 1e-6,
    "decay_epochs": 1000,
    "steps_per_epoch": None,  # a pass over the data
    "clip": 1.0,
    "share": 0.1,
    "patience": 50,
    "improvement": 1e-6,
    "eval_every": 5,
}
CVAR = {"alpha": 0.2, "apply_to": "rollout_plus_pose", "min_k": 1}


def fields(spec: Any) -> dict[str, Any]:
    """A specification in the plan's words."""
    agent = to_json(spec.agent)["kwargs"]
    car, losses = agent["car"]["kwargs"], agent["losses"]["kwargs"]
    parts = {n: losses[n]["kwargs"] for n in ("one_step", "rollout", "pose")}
    how, chosen = agent["optimisation"]["kwargs"], agent["selection"]["kwargs"]
    optimised = ("batch_size", "learning_rate", "final_rate", "decay_epochs", "clip")
    return {
        "seed": spec.seeds[0],
        "plant": car["plant"]["call"].rpartition(":")[2],
        "adapter": car["adapter"] and car["adapter"]["kwargs"]["hidden"],
        "residual": car["residual"]["kwargs"]["hidden"],
        "friction": car["friction"],
        "one_step": parts["one_step"]["weight"],
        "columns": parts["one_step"]["columns"],
        "horizon": parts["rollout"]["horizon"],
        "rollout_weight": parts["rollout"]["weight"],
        "teacher_forcing": parts["rollout"]["teacher_forcing"],
        "detach": parts["rollout"]["detach"],
        "pose_weight": parts["pose"]["weight"],
        "heading": parts["pose"]["heading"],
        "penalties": losses["penalties"],
        **{name: how[name] for name in (*optimised, "steps_per_epoch")},
        **{name: chosen[name] for name in ("share", "patience", "improvement")},
        "eval_every": spec.every,
    }


def test_paper_is_the_plans_24_one_by_one():
    found = Counter((c.axes["config"], c.axes["tail"]) for c in PAPER.cells)
    assert found == Counter(
        (name, tail) for name in OWN for tail in ("base", "cvar0p2")
    )
    assert len(PAPER.trials()) == 24


@pytest.mark.parametrize("cell", PAPER.cells, ids=lambda cell: cell.label)
def test_a_paper_cell_is_that_of_the_plan(cell):
    assert fields(cell.spec) == {**COMMON, **OWN[cell.axes["config"]]}
    cvar = to_json(cell.spec.agent)["kwargs"]["losses"]["kwargs"]["cvar"]
    assert (cvar and cvar["kwargs"]) == (None if cell.axes["tail"] == "base" else CVAR)
    assert "seeds" not in cell.spec.agent.kwargs
    # 1000 passes over 90 % of 1000 trajectories of 200 steps.
    horizon = fields(cell.spec)["horizon"]
    assert cell.spec.total_timesteps == 1000 * (900 * (201 - horizon) // 256)
    evaluation = to_json(cell.spec.evaluation)["kwargs"]
    assert evaluation["drives"]["kwargs"] == {"source": "suite/mushr-real-test-v0"}


def test_default_has_every_configuration_and_fifteen_fits_a_side_of_the_headline():
    stacked = [c for c in DEFAULT.cells if c.axes["config"] == "exp2_seeds"]
    assert Counter(c.axes["tail"] for c in stacked) == {"base": 3, "cvar0p2": 3}
    assert {to_json(c.spec.data)["kwargs"]["source"] for c in stacked} == {
        "suite/mushr-real-v0",
        "suite/mushr-real-seed1-v0",
        "suite/mushr-real-seed2-v0",
    }
    assert {tuple(c.spec.agent.kwargs["seeds"]) for c in stacked} == {(0, 1, 2, 3, 4)}
    single = {c.axes["config"] for c in DEFAULT.cells} - {"exp2_seeds"}
    assert single == {name for name in OWN if "seed" not in name} | {"exp2_seed42"}
    assert {c.spec.seeds for c in DEFAULT.cells if c not in stacked} == {(42,)}


def test_cells_of_a_pair_differ_in_cvar_alone():
    pairs: dict[Any, list[Any]] = {}
    for cell in GRID.cells:
        agent = to_json(cell.spec.agent)["kwargs"]
        agent["losses"]["kwargs"].pop("cvar")
        place = cell.axes["config"], cell.axes["data"]
        pairs.setdefault(place, []).append((agent, cell.spec.data, cell.spec.seeds))
    for one, other in pairs.values():
        assert one == other


def test_packaged_models_are_small_networks_of_five_seeds():
    for name in ("mushr-learned", "mushr-learned-cvar"):
        agent = to_json(get(name).agent)["kwargs"]
        assert agent["seeds"] == [0, 1, 2, 3, 4]
        assert agent["car"]["kwargs"]["adapter"]["kwargs"]["hidden"] == [32, 32]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_smallest_scale_runs_and_is_drawn(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["sweep", "mushr-cvar", "--scale", "smoke", "--jobs", "2"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stderr
    folder = SweepFolder("runs/mushr-cvar-smoke")
    found = read_json(folder.path / "summary.json")
    assert (found["trials"], found["finished"], len(found["pairs"])) == (6, 6, 6)
    drawn = {path.stem for path in (folder.path / "figures").iterdir()}
    assert drawn == {figure.name for figure in GRID.figures}
    (stacked,) = folder.path.glob("exp2_seeds-base-*/seed-0")
    assert read_details(stacked / "details.npz")["ade"].shape == (5, 5)


@pytest.mark.slow
@pytest.mark.parametrize("of", ["", "-pacejka", "-simulator"])
def test_an_identification_runs_and_tells_what_it_found(of, tmp_path: Path):
    name = f"mushr-identified{of}"
    arguments = ["run", name, "--scale", "smoke", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stderr
    (seed,) = tmp_path.glob(f"{name}/*/seed-0")
    assert read_json(seed / "result.json")["evaluation"]["error_1s"] > 0
    header, *_, last = (seed / "metrics.csv").read_text().splitlines()
    found = dict(zip(header.split(","), last.split(","), strict=True))
    numbers = [key for key in found if key.startswith("identification/")]
    assert len(numbers) == 2 + len(get(name).agent.kwargs["bounds"])
