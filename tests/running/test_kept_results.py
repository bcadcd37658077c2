"""Results that are thinned can be committed, tabled, drawn and taken over."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dials import DIALS
from matplotlib.image import imread
from test_resume import contents

from suite.results.figures import Bars, Curves, draw
from suite.results.sweep_results import summary
from suite.running import kept_results
from suite.running.kept_results import reuse, thin
from suite.running.parallel import Here
from suite.running.sweep_folder import SweepFolder
from suite.storage import IntegrityError, read_json, read_table, write_json
from suite.sweep import Sweep

ONLY = "algo=cql,env=hopper,k=0|30,seed=0|1"
SMALL = DIALS.at_scale("smoke")


def ran(sweep: Sweep, out: Path, only: str = ONLY) -> SweepFolder:
    folder = SweepFolder.of(sweep, out)
    folder.store(sweep)
    jobs = [folder.job(trial, "cpu", "by hand") for trial in sweep.trials(only)]
    list(Here(1).run(jobs))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    return ran(SMALL, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def committed(whole: SweepFolder, tmp_path: Path) -> SweepFolder:
    target = SweepFolder(tmp_path / "docs" / SMALL.name)
    thin(whole, target)
    return target


def test_a_thinned_seed_is_small_and_has_no_weights(whole, tmp_path):
    target = SweepFolder(tmp_path / "x")
    sizes = thin(whole, target)
    assert [(trial.cell.label, trial.seed) for trial in sizes] == [
        *(("cql-hopper-k0", 0), ("cql-hopper-k30", 0)),
        *(("cql-hopper-k0", 1), ("cql-hopper-k30", 1)),
    ]
    for trial, size in sizes.items():
        home = target.cell(trial.cell).seed(trial.seed)
        assert {path.name for path in home.iterdir()} == {
            *("spec.json", "result.json", "timing.json", "eval.csv", "metrics.csv")
        }
        assert size == sum(path.stat().st_size for path in home.iterdir()) < 5000


def test_tables_and_figures_of_thinned_results_are_the_same(whole, committed, tmp_path):
    ours, theirs = committed.results(), whole.results()
    assert summary(ours) == summary(theirs)
    for figure in (Curves("a", "critic_loss_variance", is_log=True), Bars("b")):
        one = draw(figure, ours, tmp_path / "one")
        other = draw(figure, theirs, tmp_path / "other")
        assert one and other
        # Six digits may move the shade of a pixel at an edge.
        assert np.abs(imread(one) - imread(other)).max() < 0.02


def test_figures_need_nothing_that_the_specifications_name(committed, monkeypatch):
    monkeypatch.setitem(sys.modules, "dials", None)  # as if it were not installed
    with pytest.raises(ImportError):
        import dials  # noqa: F401
    results = committed.results()
    assert summary(results)["finished"] == 4
    assert draw(Bars("final"), results, committed.path)


def test_many_rows_are_thinned_evenly_to_both_ends(tmp_path: Path):
    long = replace(DIALS.cells[0].spec, total_timesteps=100_000)
    cell = replace(DIALS.cells[0], spec=long)
    grid = Sweep("long", "", (cell,))
    target = SweepFolder(tmp_path / "kept" / "long")
    sizes = thin(ran(grid, tmp_path, only="seed=0"), target)
    rows = read_table(target.cell(cell).seed(0) / "metrics.csv")
    steps = [row["timesteps"] for row in rows]
    assert len(steps) == kept_results.KEPT_ROWS
    assert (steps[0], steps[-1]) == (1000, 100_000)
    assert {b - a for a, b in itertools.pairwise(steps)} == {1000, 2000}
    assert max(sizes.values()) < 10_000


def test_what_is_thinned_again_stays_as_it_is(tmp_path: Path):
    sweep = Sweep("one", "", DIALS.cells[:1])
    folder = ran(sweep, tmp_path, only="seed=0")
    table = folder.cell(sweep.cells[0]).seed(0) / "eval.csv"
    names = table.read_text().splitlines()[0]
    numbers = ["1162.0004", "-0.00001", "1234567.0", "nan", "0.1234567"]
    row = itertools.islice(itertools.cycle(numbers), names.count(",") + 1)
    table.write_text(f"{names}\n{','.join(row)}\n")
    once, twice = (SweepFolder(tmp_path / name / "one") for name in ("once", "twice"))
    thin(folder, once)
    thin(once, twice)
    assert contents(once.path) == contents(twice.path)
    text = next(once.path.rglob("eval.csv")).read_text()
    assert "1162,-1e-05,1234567,nan,0.123457" in text


def test_what_stays_too_large_is_refused(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_results, "KEPT_BYTES", 1000)
    with pytest.raises(ValueError, match=r"takes .* bytes, 1,000 are allowed; eval"):
        thin(whole, SweepFolder(tmp_path / "x"))


def test_a_folder_is_not_thinned_onto_itself(committed):
    before = contents(committed.path)
    with pytest.raises(ValueError, match="would be thinned itself; choose another"):
        thin(committed, SweepFolder(committed.path.parent / "x" / ".." / SMALL.name))
    assert contents(committed.path) == before


# ------------------------------------------------------------------------------- reuse
def test_committed_units_count_as_done(committed, tmp_path):
    folder = SweepFolder.of(SMALL, tmp_path / "runs")
    trials = SMALL.trials("algo=cql,env=hopper")
    copied = reuse(folder, trials, committed)
    assert len(copied) == 4
    assert [trial for trial in trials if not folder.is_done(trial)] == [
        trial for trial in trials if trial.seed == 2 or trial.cell.label.endswith("k60")
    ]
    for trial in copied:
        ours, theirs = (
            each.cell(trial.cell).seed(trial.seed) for each in (folder, committed)
        )
        assert contents(ours) == contents(theirs)
    assert reuse(folder, trials, committed) == []


def test_a_unit_that_is_there_is_left_alone_and_a_begun_one_replaced(
    committed, tmp_path
):
    folder = ran(SMALL, tmp_path / "runs", "algo=cql,env=hopper,k=0,seed=0")
    done, begun = SMALL.trials("algo=cql,env=hopper,k=0,seed=0|1")
    before = contents(folder.cell(done.cell).seed(0))
    (folder.cell(begun.cell).seed(1) / "checkpoints" / "1").mkdir(parents=True)
    copied = reuse(folder, [done, begun], committed)
    assert copied == [begun]
    assert contents(folder.cell(done.cell).seed(0)) == before
    assert not (folder.cell(begun.cell).seed(1) / "checkpoints").exists()


def test_another_specification_is_not_reused(committed, tmp_path):
    folder = SweepFolder.of(DIALS, tmp_path / "runs")
    assert reuse(folder, DIALS.trials(ONLY), committed) == []


def test_a_result_that_is_not_of_its_folder_is_refused(committed, tmp_path):
    trial = SMALL.trials(ONLY)[0]
    home = committed.cell(trial.cell).seed(trial.seed)
    spec = read_json(home / "spec.json")
    spec["total_timesteps"] = 1
    (home / "spec.json").write_text(json.dumps(spec))
    folder = SweepFolder.of(SMALL, tmp_path / "runs")
    with pytest.raises(IntegrityError, match="is not the result of its specification"):
        reuse(folder, [trial], committed)
    assert not folder.is_done(trial)
    shutil.rmtree(home)
    home.mkdir()
    write_json(home / "result.json", {"schema": 1})
    with pytest.raises(IntegrityError, match="is not a result of schema"):
        reuse(folder, [trial], committed)


def test_a_unit_that_another_process_runs_is_left_to_it(committed, tmp_path):
    folder = SweepFolder.of(SMALL, tmp_path / "runs")
    one, *others = SMALL.trials(ONLY)
    with folder.cell(one.cell).locked(one.seed):
        assert reuse(folder, [one, *others], committed) == others
