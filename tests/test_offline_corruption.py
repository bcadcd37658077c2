"""The grid of offline agents on corrupted data is the experiment it reproduces."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from suite.data.cards import D4RL
from suite.parts import to_json
from suite.running.sweep_folder import SweepFolder
from suite.storage import read_json
from suite.sweep import Sweep, get, names
from suite_bench.main import main

GRID = get("offline-corruption")


@pytest.mark.parametrize("name", names())
def test_every_sweep_is_the_same_after_json_at_every_scale(name: str):
    grid = get(name)
    assert Sweep.from_json(json.loads(json.dumps(grid.to_json()))) == grid
    for scale in grid.scales:
        small = grid.at_scale(scale)
        assert Sweep.from_json(json.loads(json.dumps(small.to_json()))) == small
        small.check(small.trials())


# The tables of the experiment's plan, sections 2 to 6.
PAPER = GRID.at_scale("paper")


def test_the_paper_grid_is_that_of_the_plan():
    places = [(trial.cell.axes, trial.seed) for trial in PAPER.trials()]
    assert len(places) == 36
    assert Counter((*axes.values(), seed) for axes, seed in places) == Counter(
        (algo, env, k, seed)
        for algo in ("cql", "iql")
        for env in ("halfcheetah", "hopper")
        for k in (0, 30, 60)
        for seed in (0, 1, 2)
    )


@pytest.mark.parametrize("cell", PAPER.cells, ids=lambda cell: cell.label)
def test_a_paper_cell_is_that_of_the_plan(cell):
    algo, env, k = cell.axes["algo"], cell.axes["env"], cell.axes["k"]
    spec = cell.spec
    agent = to_json(spec.agent)["kwargs"]
    assert spec.agent.call == f"suite.agents.offline:{algo.upper()}"
    assert agent["net_arch"] == [256, 256]
    assert agent["batch_size"] == 256 and agent["gamma"] == 0.99
    assert spec.total_timesteps == 500_000  # "e.g. 500k full"
    data = to_json(spec.data)["kwargs"]
    assert data["source"] == f"suite/{env}-medium-v0"  # of its halfcheetah-medium-v2
    removal = {"call": "suite.wrappers:DropBestEpisodes", "kwargs": {"percent": k}}
    assert data["corruptions"] == ([removal] if k else [])
    # "100 x (score - random) / (expert - random)" by D4RL's references.
    assert spec.metric == "normalized_return"
    assert spec.evaluation.call == "suite.scores:NormalizedReturn"
    assert spec.evaluation.kwargs["reference"] == env and env in D4RL
    assert spec.env.id.lower().startswith(f"batched{env}") and not spec.wrappers
    # The critics are probed on clean data whatever was removed.
    assert "corruptions" not in agent["probe"]["kwargs"]["data"]["kwargs"]
    assert agent["probe"]["kwargs"]["data"]["kwargs"]["source"] == data["source"]


def test_cells_of_an_algorithm_differ_in_their_data_alone():
    for algo in ("cql", "iql"):
        cells = [cell for cell in GRID.cells if cell.axes["algo"] == algo]
        agents = {
            json.dumps({**to_json(cell.spec.agent)["kwargs"], "probe": None})
            for cell in cells
        }
        assert len(agents) == 1
        assert len({cell.spec.digest for cell in cells}) == len(cells)


def test_the_default_grid_has_both_controls_and_noise_on_five_seeds():
    counts = Counter(GRID.condition(trial.cell) for trial in GRID.trials())
    conditions = ("k0", "k30", "k60", "random30", "random60", "matched30", "matched60")
    assert counts == dict.fromkeys((*conditions, "noise1"), 2 * 2 * 5)
    assert {cell.spec.total_timesteps for cell in GRID.cells} == {20_000}


def test_the_figures_of_the_plan_are_drawn():
    columns = {getattr(figure, "y", figure.kind) for figure in PAPER.figures}
    assert columns >= {
        *("normalized_return", "q/mean"),  # learning curves, Q diagnostics
        *(
            "train/critic_loss_variance",
            "bars",
        ),  # rolling variance, final by corruption
    }


def test_one_cell_is_chosen_by_the_plans_names():
    (trial,) = GRID.trials("algo=cql,env=hopper,k=30,seed=0")
    assert (trial.cell.label, trial.seed) == ("cql-hopper-k30", 0)


@pytest.mark.slow
@pytest.mark.timeout(240)  # what continuous integration has for it
def test_all_36_run_at_the_smallest_scale(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["sweep", "offline-corruption", "--scale", "smoke", "--jobs", "2"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stderr
    folder = SweepFolder("runs/offline-corruption-smoke")
    found = read_json(folder.path / "summary.json")
    assert (found["trials"], found["finished"]) == (36, 36)
    drawn = {path.stem for path in (folder.path / "figures").iterdir()}
    # A rolling variance needs a thousand updates.
    assert drawn == {"learning-curves", "q-values", "final", "comparison"}
