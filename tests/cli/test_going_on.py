"""Stopping and going on, as the user types it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_failures import assert_one_sentence
from toys import TOY

from suite import storage
from suite.running.run_folder import RunFolder

# What is started in the background ignores Ctrl-C, and so does all that it starts, such
# as these tests and the process they stop.
HEEDING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from suite_bench.main import main
main()
"""
HOME = Path("runs") / "toy" / f"default-{TOY.digest[:8]}"


def trouble(kind: str, **kwargs: object) -> str:
    part = {"call": "toys:Trouble", "kwargs": {"kind": kind, **kwargs}}
    return f"evaluation={json.dumps(part)}"


def untimed(table: str) -> list[str]:
    return [x for x in table.splitlines() if not x.startswith("A seed took")]


def folder() -> Path:
    (found,) = Path("runs/toy").iterdir()
    return found


# ------------------------------------------------------------------------------ resume
def test_the_way_on_that_ctrl_c_names_ends_with_the_same_table(invoke):
    setting = trouble("interrupt", after=2, marker="hit")
    stopped = invoke("run", "toy", "--set", setting)
    assert_one_sentence(stopped, 130, "seed 0 is saved after 2 updates; go on with: ")
    way_on = stopped.stderr.splitlines()[-1].partition("go on with: suite-bench ")[2]
    done = invoke(*way_on.split())
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[0] == "seed 0  continues from iteration 3"
    result = json.loads((folder() / "seed-0" / "result.json").read_text())
    assert result["command"].startswith("suite-bench run toy --set ")
    shutil.rmtree("runs")
    again = invoke("run", "toy", "--set", setting)  # the marker is there
    assert untimed(again.stdout) == untimed(done.stdout)


def test_run_again_goes_on_as_well(invoke):
    setting = trouble("interrupt", after=2, marker="hit")
    invoke("run", "toy", "--set", setting)
    planned = invoke("run", "toy", "--set", setting, "--dry-run").stdout
    assert "go on    0 (after 2 updates)" in planned
    done = invoke("run", "toy", "--set", setting)
    assert done.exit_code == 0
    assert "seed 0  continues from iteration 3" in done.stderr


def test_fresh_starts_an_unfinished_seed_over(invoke):
    setting = trouble("interrupt", after=2, marker="hit")
    invoke("run", "toy", "--set", setting)
    done = invoke("run", "toy", "--set", setting, "--fresh")
    assert done.exit_code == 0
    assert "continues" not in done.stderr and "iteration 1/3" in done.stderr


def test_before_the_first_update_nothing_is_said_to_be_saved(invoke):
    stopped = invoke("run", "toy", "--set", trouble("interrupt", after=0, marker="hit"))
    assert_one_sentence(stopped, 130, "nothing was saved yet, since no update was done")
    done = invoke("resume", folder())
    assert done.exit_code == 0, done.stderr
    assert "continues" not in done.stderr and "iteration 1/3" in done.stderr


def test_seeds_that_did_not_begin_are_pointed_out(invoke):
    setting = trouble("interrupt", after=1, marker="hit")
    stopped = invoke("run", "toy", "--seeds", "0-1", "--set", setting)
    assert_one_sentence(stopped, 130, "; the same command also runs the rest")


def test_resume_of_one_seed_leaves_the_others(invoke):
    setting = trouble("interrupt", after=1, marker="hit")
    for seed in "01":
        invoke("run", "toy", "--seeds", seed, "--set", setting)
    done = invoke("resume", folder() / "seed-1")
    assert done.exit_code == 0
    assert "unfinished seeds: 0" in done.stdout
    done = invoke("resume", folder(), "--json")
    assert json.loads(done.stdout)["unfinished"] == []
    assert "seed 1 is finished already" in done.stderr


def test_resume_of_a_finished_run_prints_its_table(invoke):
    printed = invoke("run", "toy").stdout
    again = invoke("resume", HOME)
    assert (again.stdout, again.exit_code) == (printed, 0)
    assert again.stderr == "seed 0 is finished already\n"


@pytest.mark.parametrize("path", [".", "absent", "absent/seed-0"])
def test_resume_of_what_is_no_run_exits_3(invoke, path):
    assert_one_sentence(invoke("resume", path), 3, "there are no runs in")


def test_resume_of_a_damaged_run_exits_5_and_names_the_file(invoke):
    invoke("run", "toy", "--set", trouble("interrupt", after=2))
    for number in "12":
        (folder() / "seed-0" / "checkpoints" / number / "tree.json").write_text("?")
    assert_one_sentence(invoke("resume", folder()), 5, "checkpoints/2/tree.json is dam")
    (folder() / "seed-0" / "origin.json").write_text("{}")
    assert_one_sentence(invoke("resume", folder()), 5, "origin.json is missing or dama")
    (folder() / "seed-0" / "spec.json").write_text("[" * 100_000)
    assert_one_sentence(invoke("resume", folder()), 5, "spec.json is not JSON")


def test_a_full_disk_exits_6_and_keeps_the_checkpoint_before(invoke, monkeypatch):
    real = storage._write_synced

    def write(path: Path, content: bytes) -> None:
        if path.parent.name.startswith(".2.tmp-"):
            raise OSError(28, "No space left on device", str(path))
        real(path, content)

    monkeypatch.setattr(storage, "_write_synced", write)
    stopped = invoke("run", "toy")
    assert_one_sentence(stopped, 6, "No space left on device: runs/toy")
    assert RunFolder(HOME).saved(0) == 1
    assert os.listdir(HOME / "seed-0" / "checkpoints") == ["1"]
    monkeypatch.setattr(storage, "_write_synced", real)
    assert "continues from iteration 2" in invoke("resume", HOME).stderr


# ------------------------------------------------------------------------ several seeds
def test_a_seed_that_fails_does_not_stop_the_others(invoke):
    setting = trouble("bug", only=1)
    done = invoke("run", "toy", "--seeds", "0-2", "--set", setting)
    assert_one_sentence(done, 1, "1 of 3 seeds failed (1); seed 1: unexpected ZeroDiv")
    assert "seed 1  failed: unexpected ZeroDivisionError" in done.stderr
    assert [bool(RunFolder(folder()).result(seed)) for seed in range(3)] == [1, 0, 1]
    assert "unfinished seeds: 1" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        ("bug", 1, "seed 1: unexpected ZeroDivisionError: of a bug"),
        ("full disk", 6, "seed 1: No space left on device: here"),
        ("sigkill", 1, "the process of seed 1 died (SIGKILL)"),
    ],
)
def test_a_process_that_fails_does_not_stop_the_others(invoke, kind, code, text):
    setting = trouble(kind, only=1)
    run = ("run", "toy", "--seeds", "0-1", "--jobs", "2", "--set", setting)
    done = invoke(*run)
    assert_one_sentence(done, code, text)
    assert done.stderr.splitlines()[-1].startswith("Error: 1 of 2 seeds failed (1); ")
    found = RunFolder(folder())
    assert found.result(0) and not found.result(1)
    assert found.saved(1) == 1


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_within_seconds_and_says_how_to_go_on(invoke, kind, jobs):
    Path("toy.json").write_text(json.dumps(TOY.to_json()))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", HEEDING),
            *("run", "toy.json", "--seeds", "0-1", "--jobs", str(jobs)),
            *("--set", trouble("sleep", marker="hit")),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(list(Path().glob("hit-*"))) < jobs:  # both sleep, for a minute
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(kind)
    asked = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - asked < 20  # a second or two on an idle machine
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[kind]
    *_, last = err.splitlines()
    assert "Traceback" not in err and out == ""
    assert "seed 0 is saved after 1" in last and "suite-bench resume runs/toy" in last
    found = RunFolder(folder())
    for seed in range(jobs):
        with found.locked(seed):  # nobody is left who writes
            assert found.saved(seed) == 1
    done = invoke("resume", folder())
    assert done.exit_code == 0, done.stderr
    assert "continues from iteration 2" in done.stderr
