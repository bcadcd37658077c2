"""A sweep as the user types it: parts, failures, kills, company, figures."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dials import DIALS, spec
from test_failures import assert_one_sentence
from test_going_on import HEEDING
from test_resume import contents, environment

from suite import sweep
from suite.cell import Cell
from suite.results.figures import Bars
from suite.results.units import unit
from suite.running.sweep_folder import SweepFolder
from suite.storage import read_json
from suite.sweep import Sweep
from suite_bench.plot import _print_aggregates

DRAWN = replace(DIALS, figures=(Bars("final"),))  # pictures take their time
HOME = Path("runs") / "dials-smoke"
ONE = ("--scale", "smoke", "--only", "algo=cql,env=hopper,k=0|30,seed=0")


def small(**trouble: Any) -> Sweep:
    """Two cells of two seeds; the first cell may meet trouble with seed 0."""
    specs = [replace(spec(50, **trouble), scales={}), replace(spec(30), scales={})]
    cells = [
        Cell({"env": "hopper", "k": k}, replace(each, seeds=(0, 1)), cost)
        for k, each, cost in zip((0, 30), specs, (2, 1), strict=True)
    ]
    return Sweep("small", "", tuple(cells), tasks="env", baseline="k0")


def written(grid: Sweep) -> SweepFolder:
    """A sweep in a file, and where it will run."""
    Path("sweep.json").write_text(json.dumps(grid.to_json()))
    return SweepFolder.of(grid, "runs")


@pytest.fixture
def known(invoke, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweep, "_registered", {"dials": DRAWN})
    return invoke


def everything(folder: SweepFolder) -> dict[str, bytes]:
    return {
        name: content
        for name, content in contents(folder.path).items()
        if not name.endswith(".lock")
    }


# -------------------------------------------------------------------- list and show
def test_list_and_show_know_sweeps(known):
    assert "\nSweeps, " in known("list").stdout
    rows = {row["name"]: row for row in json.loads(known("list", "--json").stdout)}
    assert rows["dials"]["kind"] == "sweep"
    assert rows["pickcube-awr"]["kind"] == "benchmark"
    shown = known("show", "dials").stdout
    lines = [line.split() for line in shown.splitlines()]
    assert ["k", "0,", "30,", "60"] in lines and ["seed", "0,", "1,", "2"] in lines
    assert "smoke     12 cells; no time" in shown
    assert ["env.num_envs", "1"] in lines
    assert "\nCells differ in: agent.spread, evaluation.level\n" in shown
    assert Sweep.from_json(json.loads(known("show", "dials", "--json").stdout)) == DRAWN
    assert_one_sentence(known("show", "dails"), 2, "did you mean dials")


# --------------------------------------------------------------------------- one part
def test_a_dry_run_tells_the_units_and_writes_nothing(known):
    told = known("sweep", "dials", "--scale", "smoke", "--dry-run")
    assert "would run 36 of 36 trials" in told.stdout and "new      36" in told.stdout
    planned = json.loads(known("sweep", "dials", *ONE, "--dry-run", "--json").stdout)
    assert planned["trials"] == [
        {"cell": "cql-hopper-k0", "seed": 0, "state": "new"},
        {"cell": "cql-hopper-k30", "seed": 0, "state": "new"},
    ]
    assert not Path("runs").exists()


def test_a_part_runs_alone_and_the_whole_knows_of_it(known):
    done = known("sweep", "dials", *ONE)
    assert done.exit_code == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == f"dials-smoke into {HOME}"
    assert re.fullmatch(
        r"1/2  cql-hopper-k0 seed 0  normalized_return \d+\.\d points  ETA 0:0\d:\d\d",
        lines[1],
    )
    assert lines[2].startswith("2/2  cql-hopper-k30 seed 0") and len(lines) == 3
    assert "dials-smoke: normalised return (points), 2 of 36 finished" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    row = next(row for row in rows if row[:1] == ["cql-hopper-k30"])
    assert (
        row[1] == "1/3"
        and row[3] == "-"
        and float(row[5])
        == pytest.approx(
            float(next(r for r in rows if r[:1] == ["cql-hopper-k0"])[2])
            - float(row[2]),
            abs=0.11,
        )
    )
    assert f"figures: {HOME / 'figures'}" in done.stdout
    assert (HOME / "figures" / "final.png").exists()
    found = read_json(HOME / "summary.json")
    assert found["finished"] == 2 and len(found["cells"]) == 12
    again = known("sweep", "dials", *ONE, "--json")
    assert "2 of 2 are finished (--fresh runs again)" in again.stderr
    told = json.loads(again.stdout)
    assert {key: told[key] for key in found} == found
    assert str(HOME / "figures" / "final.png") in told["figures"]


def test_settings_and_seeds_of_a_sweep_are_those_that_are_typed(known):
    arguments = ("--set", "total_timesteps=1000", "--seeds", "3,4", "--jobs", "1")
    done = known("sweep", "dials", *ONE[:2], "--only", "k=0,env=hopper", *arguments)
    assert done.exit_code == 0, done.stderr
    (home,) = Path("runs").glob("dials-smoke-total_timesteps1000-*")
    results = sorted(home.glob("*/seed-*/result.json"))
    assert [path.parent.name for path in results] == ["seed-3", "seed-4"] * 2
    assert all(read_json(path)["timesteps"] == 1000 for path in results)
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    assert ["cql-hopper-k0", "2/2"] in rows and ["iql-hopper-k0", "2/2"] in rows


def test_seeds_join_those_that_are_finished(known):
    place = ("sweep", "dials", *ONE[:2], "--only", "k=0,env=hopper,algo=cql")
    known(*place, "--seeds", "0")
    more = known(*place, "--seeds", "4")
    for told in (more, known("plot", str(HOME))):
        rows = [line.split()[:2] for line in told.stdout.splitlines()]
        assert ["cql-hopper-k0", "2/2"] in rows
    known("thin", str(HOME), "--into", "kept")
    (kept,) = Path("kept").glob("*/cql-hopper-k0-*")
    assert sorted(path.name for path in kept.iterdir()) == ["seed-0", "seed-4"]
    again = known(*place, "--dry-run", "--json")
    states = {row["seed"]: row["state"] for row in json.loads(again.stdout)["trials"]}
    assert states == {0: "finished", 1: "new", 2: "new"}
    reused = known(*place, "--seeds", "4-5", "--out", "other", "--reuse", "kept")
    assert "1 taken over" in reused.stderr and reused.exit_code == 0


def test_fresh_runs_finished_units_again(known):
    known("sweep", "dials", *ONE)
    (log,) = HOME.glob("cql-hopper-k30-*/seed-0/run.log")
    before = log.read_text()
    known("sweep", "dials", *ONE, "--fresh")
    assert log.read_text() != before
    refused = known("sweep", "dials", *ONE, "--fresh", "--reuse", "docs")
    assert_one_sentence(refused, 2, "--fresh runs everything again")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["sweep", "dails"], 2, "no sweep 'dails'; did you mean dials?"),
        (["sweep", "absent.json"], 2, "there is no file absent.json"),
        (["sweep", "empty.json"], 3, "empty.json is not JSON"),
        (["sweep", "list.json"], 3, "sweep must be a JSON object, got []"),
        (["sweep", "dials", "--scale", "smok"], 2, "did you mean smoke"),
        (["sweep", "dials", "--only", "alg=cql"], 2, "did you mean algo"),
        (["sweep", "dials", "--seeds", "2-1"], 2, "--seeds must read 0, 0-2 or 0,3"),
        (["sweep", "dials", "--set", "seeds=[1]", "--seeds", "1"], 2, "give one of"),
        (["sweep", "dials", "--set", "evaluation.level=1"], 3, "differ in evaluation."),
        (["sweep", "dials", "--set", "every"], 2, "--set: a setting must read key=va"),
        (["sweep", "dials", "--set", "evry=1"], 3, "cql-hopper-k0: no setting 'evry'"),
        (["sweep", "dials", "--only", "k=45"], 2, "no k '45'; there is 0, 30, 60"),
        (["plot", "nowhere"], 3, "there is no sweep in nowhere; give a folder such as"),
        (["plot", "."], 3, "there is no sweep in"),
        (["thin", "nowhere"], 3, "there is no sweep in nowhere"),
    ],
)
def test_what_cannot_be_is_one_sentence(known, arguments, code, text):
    Path("empty.json").write_text("")
    Path("list.json").write_text("[]")
    assert_one_sentence(known(*arguments), code, text)


def test_a_damaged_result_exits_5_and_names_the_file(known):
    known("sweep", "dials", *ONE)
    (result,) = HOME.glob("cql-hopper-k30-*/seed-0/result.json")
    result.write_text("{")
    assert_one_sentence(known("sweep", "dials", *ONE), 5, f"{result} is not JSON")
    assert_one_sentence(known("plot", HOME), 5, f"{result} is not JSON")
    done = known("sweep", "dials", *ONE[:-1], "algo=cql,env=hopper,k=0|30,seed=0|1")
    assert "1 of 4 failed, cql-hopper-k30 seed 0" in done.stderr
    assert "3 of 36 finished" in done.stdout  # and the others are done and shown
    assert "remove" in done.stdout and "to run the seed again" in done.stdout
    for command in (("plot", HOME), ("sweep", "dials", *ONE, "--dry-run")):
        assert str(result) in known(*command).stdout


def test_a_table_has_the_cells_that_were_chosen_or_have_results(known):
    shown = known("sweep", "dials", *ONE).stdout
    assert "cql-hopper-k0" in shown and "iql" not in shown.partition("all tasks")[0]
    assert "cells without results are not shown" in shown
    assert "cql-hopper-k30" in known("plot", HOME).stdout


# --------------------------------------------------------------------- plot and thin
def test_a_rival_is_shown_beside_the_next_one_not_beside_the_last(capsys):
    def each(rival: str) -> dict[str, object]:
        interval = {"value": 1.0, "low": 0.0, "high": 2.0}
        return {"rival": rival, "condition": "clean", "seeds": 5, "iqm": interval}

    def beats(rival: str, over: str, share: float) -> dict[str, object]:
        told = {"value": share, "low": share, "high": share}
        return {
            "rival": rival,
            "over": over,
            "condition": "clean",
            "probability": told,
        }

    found = {
        "aggregates": [each("one"), each("two"), each("three")],
        "improvements": [
            beats("one", "two", 0.25),
            beats("one", "three", 0.875),
            beats("two", "three", 0.5),
        ],
    }
    _print_aggregates(found, unit("normalized_return"))
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert "25.0" in rows["one"] and "87.5" not in rows["one"]
    assert "50.0" in rows["two"]


def test_figures_are_drawn_again_from_what_is_kept(known):
    known("sweep", "dials", *ONE)
    told = known("thin", HOME).stdout
    assert told.startswith("2 finished seeds are in docs/results/dials-smoke, ")
    table = known("plot", HOME).stdout
    shutil.rmtree("runs")
    kept = Path("docs/results/dials-smoke")
    again = known("plot", kept, "--to", "pictures")
    assert again.exit_code == 0, again.stderr
    assert again.stdout.splitlines()[:-1] == table.splitlines()[:-1]
    assert Path("pictures/final.png").exists() and not (kept / "figures").exists()
    taken = known("sweep", "dials", *ONE, "--reuse", "docs/results")
    assert "2 taken over from docs/results/dials-smoke" in taken.stderr
    assert "2 of 2 are finished" in taken.stderr
    other = known(
        "sweep",
        "dials",
        "--only",
        "algo=iql,k=0,env=hopper,seed=0",
        "--reuse",
        "docs/results",
    )
    assert "there is nothing of dials in docs/results" in other.stderr


# --------------------------------------------------------------------------- failures
def test_a_cell_that_fails_stops_no_other(known):
    folder = written(small(trouble="bug"))
    done = known("sweep", "sweep.json")
    text = "1 of 4 failed, hopper-k0 seed 0: unexpected ZeroDivisionError"
    assert_one_sentence(done, 1, text)
    assert "1/4  hopper-k0 seed 0  failed: unexpected Zero" in done.stderr
    assert "3 of 4 finished" in done.stdout
    assert "failed: hopper-k0 seed 0: unexpected ZeroDivisionError" in done.stdout
    states = [folder.state(trial) for trial in small(trouble="bug").trials()]
    assert states == ["begun", "finished", "finished", "finished"]


def test_the_way_on_that_ctrl_c_names_ends_with_the_same_bytes(known):
    folder = written(small(trouble="interrupt", marker="hit"))
    stopped = known("sweep", "sweep.json", "--fresh")
    assert_one_sentence(
        stopped, 130, "interrupted; 0 of 4 are finished and 1 saved on "
    )
    way_on = stopped.stderr.splitlines()[-1].partition("go on with: suite-bench ")[2]
    assert way_on == "sweep sweep.json"
    done = known(*way_on.split())
    assert done.exit_code == 0, done.stderr
    assert "hopper-k0 seed 0  continues from iteration 3" in done.stderr
    # The result states the command of the start, so that is given again.
    found = everything(folder)
    shutil.rmtree("runs")
    known("sweep", "sweep.json", "--fresh", "--only", "k=0,seed=0")
    (home,) = folder.path.glob("hopper-k0-*/seed-0")
    for name in ("eval.csv", "metrics.csv"):
        path = home / name
        assert path.read_bytes() == found[str(path.relative_to(folder.path))]


# ------------------------------------------------------------------ kills and company
def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEEDING, "sweep", "sweep.json", *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def settled(folder: SweepFolder, grid: Sweep) -> int:
    """How many trials are done, the last of their checkpoints removed."""
    homes = [folder.cell(trial.cell).seed(trial.seed) for trial in grid.trials()]
    done = [home for home in homes if (home / "result.json").exists()]
    return sum(not (home / "checkpoints").exists() for home in done)


def released(folder: SweepFolder, grid: Sweep) -> bool:
    return not any(
        folder.cell(trial.cell).is_busy(trial.seed)
        for trial in grid.trials()
        if folder.cell(trial.cell).path.exists()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "jobs"),
    [
        *((signal.SIGKILL, "1"), (signal.SIGKILL, "2")),
        *((signal.SIGINT, "2"), (signal.SIGTERM, "1")),
    ],
)
def test_a_sweep_that_is_stopped_ends_with_the_same_bytes(known, kind, jobs):
    grid = small(trouble="wait", marker="hit")
    folder, arguments = written(grid), ("--jobs", jobs)
    process = started(*arguments)
    ended = {"1": 0, "2": 3}[jobs]  # while the first one waits, with two at a time
    wait_for(lambda: Path("hit").exists() and settled(folder, grid) == ended, process)
    process.send_signal(kind)
    asked = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - asked < 20
    if kind == signal.SIGKILL:
        assert process.returncode == -9
    else:
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[kind]
        told = f"{ended} of 4 are finished and 1 saved on the way; go on with: suite-"
        assert told in err.splitlines()[-1] and "Traceback" not in err and out == ""
    wait_for_release = time.monotonic() + 20
    while not released(folder, grid):
        assert time.monotonic() < wait_for_release
        time.sleep(0.05)
    before = {
        path: path.stat().st_mtime_ns for path in folder.path.rglob("*/result.json")
    }
    assert len(before) == ended
    done = known("sweep", "sweep.json", *arguments)
    assert done.exit_code == 0, done.stderr
    assert "hopper-k0 seed 0  continues from iteration 3" in done.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    found = everything(folder)
    shutil.rmtree("runs")
    assert known("sweep", "sweep.json", *arguments).exit_code == 0  # never stopped
    assert everything(folder) == found


@pytest.mark.slow
@pytest.mark.parametrize("is_killed", [False, True])
def test_two_sweeps_share_a_folder(known, is_killed: bool):
    grid = small(trouble="wait", marker="hit")
    folder = written(grid)
    first = started()
    wait_for(Path("hit").exists, first)
    second = started()
    wait_for(lambda: settled(folder, grid) == 3, second)
    if is_killed:
        first.kill()  # the second one goes on with its trial
    Path("go").touch()
    outcomes = [process.communicate(timeout=120) for process in (first, second)]
    assert (first.returncode, second.returncode) == (-9 if is_killed else 0, 0), (
        outcomes
    )
    assert "another process is at it" in outcomes[1][1]
    assert "4 of 4 finished" in outcomes[1][0]
    for trial in grid.trials():
        home = folder.cell(trial.cell).seed(trial.seed)
        sessions = len(read_json(home / "timing.json")["sessions"])
        assert sessions == (2 if is_killed and trial == grid.trials()[0] else 1)
    found = everything(folder)
    shutil.rmtree("runs")
    assert known("sweep", "sweep.json").exit_code == 0
    assert everything(folder) == found
