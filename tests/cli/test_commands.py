from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_failures import assert_one_sentence
from toys import TOY

from suite import benchmark, sweep
from suite.benchmark import get, names
from suite.storage import read_table
from suite_bench.main import main

HOME = Path("runs") / "toy" / f"default-{TOY.digest[:8]}"


# ------------------------------------------------------------------ before anything
@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["run", "--help"]])
def test_help_and_list_load_nothing_heavy(arguments):
    heavy = {"torch", "mujoco", "stable_baselines3", "matplotlib", "scipy", "rich"}
    code = (
        "import sys; from suite_bench.main import main; "
        f"main({arguments!r}, standalone_mode=False); "
        f"print(sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == "[]\n"
    assert done.stdout


def test_help_lists_the_commands_and_teaches_by_example(invoke):
    shown = invoke("--help").stdout
    assert shown.index("suite-bench run pickcube-awr") < shown.index("Options:")
    for command in ("list", "show", "run", "resume", "report"):
        assert f"\n  {command}" in shown
        assert f"suite-bench {command}" in invoke(command, "--help").stdout


def test_models_are_listed_with_what_they_learn(invoke):
    rows = [line.split() for line in invoke("models").stdout.splitlines()]
    assert rows[0] == ["size", "dynamics", "encoder", "dynamics", "reward", "total"]
    told = {(row[0], row[1]): row[-1] for row in rows[1:]}
    assert told["5m", "direct"] == "1,469,953" and told["5m-full", "direct"][0] == "5"
    assert told["48m", "flow"] == "18,489,345"
    small = json.loads(
        invoke("models", "--obs", "3", "--actions", "1", "--json").stdout
    )
    assert small["pendulum"]["direct"]["total"] == 64_129
    ending = [line.split() for line in invoke("models", "--end").stdout.splitlines()]
    assert ending[0][-2:] == ["end", "total"]
    ant = {(row[0], row[1]): row[-2:] for row in ending[1:]}
    assert ant["5m", "direct"] == ["527,873", "1,997,826"]


# -------------------------------------------------------------------- list and show
def test_list_shows_every_benchmark_with_the_time_it_takes(invoke):
    shown = invoke("list").stdout
    for name in names():
        assert name in shown
        assert get(name).scales["default"].time in shown


def test_list_as_json_names_the_scales(invoke):
    rows = {row["name"]: row for row in json.loads(invoke("list", "--json").stdout)}
    benchmarks = {name for name, row in rows.items() if row["kind"] == "benchmark"}
    assert benchmarks == set(names())
    assert rows["toy"]["scales"] == {
        "smoke": "no time",
        "default": "a tenth of a second",
    }


def test_show_tells_settings_scales_and_reference(invoke):
    shown = invoke("show", "toy").stdout
    rows = [line.split() for line in shown.splitlines()]
    assert ["agent.advantage.gamma", "0.9"] in rows
    assert "smoke     no time\n" in shown and "total_timesteps=32" in shown
    assert "made up" in shown and "iteration    4         96 steps   50.0%" in shown


@pytest.mark.parametrize("name", [*benchmark.names(), *sweep.names()])
def test_show_shows_whatever_is_registered(name: str):
    # Not through `invoke`: that knows toys alone.
    done = CliRunner().invoke(main, ["show", name])
    assert done.exit_code == 0 and done.stdout.startswith(f"{name}\n"), done.output


def test_show_tells_the_settings_of_each_wrapper_by_their_keys(invoke):
    shown = invoke("show", "pickcube-gae-reset-scaled").stdout
    rows = [line.split() for line in shown.splitlines()]
    assert ["wrappers.0.call", '"suite.wrappers:RewardScale"'] in rows
    assert ["wrappers.0.scale", "20.0"] in rows


def test_a_benchmark_that_says_no_times_is_listed(invoke, monkeypatch):
    bare = replace(TOY, name="bare", scales={})
    monkeypatch.setitem(benchmark._registered, "bare", bare)
    done = invoke("list")
    assert done.exit_code == 0 and "bare " in done.stdout


def test_show_as_json_is_a_specification_that_runs(invoke):
    Path("spec.json").write_text(invoke("show", "toy", "--json").stdout)
    assert invoke("run", "spec.json", "--scale", "smoke").exit_code == 0
    assert list(Path("runs/toy").glob("smoke-*/seed-0/result.json"))


# ------------------------------------------------------------------------------- run
def test_run_prints_the_table_beside_the_reference_and_draws_a_picture(invoke):
    done = invoke("run", "toy", "--seeds", "0,2")
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    first, end = (next(x for x in lines if x[:1] == [n]) for n in ("1", "end"))
    assert (first[1], first[2]) == ("0", "10.0")  # steps, the reference's per cent
    assert (end[1], end[2]) == ("96", "50.0")
    assert first[5] == "2"  # seeds
    assert f"curves: {HOME / 'curves.png'}" in done.stdout
    assert (HOME / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (HOME / "seed-2" / "result.json").exists()


def test_off_a_terminal_each_iteration_is_one_plain_line_on_stderr(invoke):
    lines = invoke("run", "toy").stderr.splitlines()
    assert len(lines) == 5
    assert lines[0] == f"toy into {HOME}"
    assert lines[1].startswith("seed 0  iteration 1/3  0 steps  success ")
    assert "sim steps/s  ETA 0:" in lines[2]
    assert lines[4].startswith("seed 0  end  96 steps  success ")
    assert "\x1b" not in "".join(lines)


def test_run_as_json_is_one_document_with_every_number(invoke):
    found = json.loads(invoke("run", "toy", "--json").stdout)
    assert [row["iteration"] for row in found["rows"]] == [1, 2, 3, 4]
    assert found["rows"][3]["reference"] == 0.5
    assert found["final"]["mean"] == found["curves"]["0"][-1][1]
    assert Path(found["picture"]).exists()


def test_a_finished_seed_is_not_run_again(invoke):
    invoke("run", "toy")
    before = (HOME / "seed-0" / "run.log").read_text()
    again = invoke("run", "toy")
    assert "seed 0 is finished already" in again.stderr
    assert (HOME / "seed-0" / "run.log").read_text() == before
    assert "finished already" not in invoke("run", "toy", "--fresh").stderr
    assert (HOME / "seed-0" / "run.log").read_text() != before


def test_settings_decide_where_a_run_lies(invoke):
    invoke("run", "toy", "--set", "agent.n_epochs=1", "--set", "every=3", "--out", "o")
    (folder,) = Path("o/toy").iterdir()
    assert folder.name.startswith("default-n_epochs1-every3-")
    spec = json.loads((folder / "seed-0" / "spec.json").read_text())
    assert spec["agent"]["kwargs"]["n_epochs"] == 1
    result = json.loads((folder / "seed-0" / "result.json").read_text())
    assert result["command"] == (
        "suite-bench run toy --set agent.n_epochs=1 --set every=3 --out o"
    )


def test_a_dry_run_says_what_would_run_and_writes_nothing(invoke):
    done = invoke("run", "toy", "--seeds", "0-2", "--dry-run")
    assert done.exit_code == 0
    assert "seeds    0, 1, 2" in done.stdout and str(HOME) in done.stdout
    assert not Path("runs").exists()
    invoke("run", "toy", "--seeds", "1")
    plan = json.loads(
        invoke("run", "toy", "--seeds", "0-2", "--dry-run", "--json").stdout
    )
    assert plan["seeds"] == [0, 2]
    assert plan["spec"] == TOY.to_json()


@pytest.mark.slow
def test_the_main_job_runs_at_its_smallest_scale(invoke):
    done = invoke("run", "pickcube-awr", "--scale", "smoke", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["timesteps"] for row in found["rows"]] == [0, 40, 80]
    assert found["sim_steps"] > 10 * found["timesteps"]
    # The expert, as packaged: the log's start, measured by eight episodes or more.
    assert found["rows"][0]["success_first_deterministic"] > 0.5


# ---------------------------------------------------------------------------- report
def test_report_repeats_the_table_of_a_run(invoke):
    printed = invoke("run", "toy").stdout
    (HOME / "curves.png").unlink()
    assert invoke("report", HOME).stdout == printed
    assert (HOME / "curves.png").exists()
    assert invoke("report", HOME / "seed-0").stdout == printed


def test_report_of_a_column_is_of_its_numbers_and_has_a_picture_of_its_own(invoke):
    invoke("run", "toy", "--seeds", "0-1")
    name = "train/value_loss"
    found = json.loads(invoke("report", HOME, "--column", name, "--json").stdout)
    kept = [read_table(HOME / f"seed-{seed}" / "metrics.csv") for seed in (0, 1)]
    told = [[row["timesteps"], row[name]] for row in kept[1]]
    assert found["curves"]["1"] == told
    last = (kept[0][-1][name] + kept[1][-1][name]) / 2
    assert found["final"]["mean"] == pytest.approx(last)
    # All rows are of a policy that was updated, unlike the first of eval.csv.
    rows = [row[name] for table in kept for row in table[-3:]]
    assert found["mean_of_last_3"]["mean"] == pytest.approx(sum(rows) / len(rows))
    assert found["reference"] is None and found["reference_curve"] == []
    assert found["picture"] == str(HOME / "curves-train-value_loss.png")
    assert Path(found["picture"]).exists()
    assert name in invoke("report", HOME, "--column", name).stdout
    wrong = invoke("report", HOME, "--column", "train/value_los")
    assert_one_sentence(wrong, 3, "did you mean train/value_loss")
    for name in ("iteration", "updates", "timesteps", "sim_steps"):
        wrong = invoke("report", HOME, "--column", name)
        assert_one_sentence(wrong, 3, f"{name} is what rows are told by; choose")


def test_rows_of_a_column_without_a_number_are_left_out(invoke):
    invoke("run", "toy")
    path, name = HOME / "seed-0" / "metrics.csv", "train/value_loss"
    header, first, *others = path.read_text().splitlines()
    cells = first.split(",")
    cells[header.split(",").index(name)] = "nan"
    path.write_text("\n".join([header, ",".join(cells), *others]) + "\n")
    told = invoke("report", HOME, "--column", name, "--json").stdout
    assert "NaN" not in told
    assert [row["iteration"] for row in json.loads(told)["rows"]] == [
        *range(2, len(others) + 2)
    ]


def test_a_thinned_run_has_the_same_table_and_no_weights(invoke):
    invoke("run", "toy", "--seeds", "0-1")
    (HOME / "seed-1" / "result.json").unlink()
    told = invoke("thin", HOME, "--into", "kept").stdout
    kept = Path("kept") / "toy" / HOME.name
    assert told.startswith(f"1 finished seeds are in {kept}, ")
    assert {path.name for path in kept.iterdir()} == {"seed-0", "curves.png"}
    assert not list(kept.rglob("*.safetensors"))
    shutil.rmtree(HOME / "seed-1")
    rows = [
        each.splitlines()[2:-1]
        for each in (invoke("report", kept).stdout, invoke("report", HOME).stdout)
    ]
    assert rows[0] == rows[1]
    again = invoke("thin", kept, "--into", "kept")
    assert_one_sentence(again, 3, "would be thinned itself")


def test_scores_without_learning_stand_beside_every_score(invoke, monkeypatch):
    known = replace(TOY, baselines={"standing still": 0.25})
    monkeypatch.setitem(benchmark._registered, "toy", known)
    found = invoke("run", "toy")
    lines = [line for line in found.stderr.splitlines() if line.startswith("seed 0")]
    assert len(lines) >= 2 and all("(standing still 25.0)" in line for line in lines)
    (row,) = [r for r in found.stdout.splitlines() if r.split()[:1] == ["standing"]]
    assert row.split() == ["standing", "still", "25.0"]
    assert json.loads(invoke("report", HOME, "--json").stdout)["baselines"] == {
        "standing still": 0.25
    }
    assert known.digest == TOY.digest  # it computes nothing


def test_report_of_a_run_under_way_says_what_is_unfinished(invoke):
    invoke("run", "toy", "--seeds", "0-1")
    (HOME / "seed-1" / "result.json").unlink()
    assert "unfinished seeds: 1" in invoke("report", HOME).stdout
