"""Benchmarks whose agents learn from data: specified, run, kept and reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from test_resume import environment
from toys import TOY, TOY_CQL, TOY_IQL, walks

import suite
from suite import benchmark
from suite.benchmark import Benchmark, Part
from suite.parts import ConfigError, to_json
from suite.results.series import read_series
from suite.running.run_folder import RunFolder, summary
from suite.runs import run_seed
from suite.storage import read_json, read_table
from suite.wrappers import RewardNoise
from suite_bench.main import main

WALKS = Part("toys:walks", {"steps": 300})


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in (TOY, TOY_IQL, TOY_CQL):
        monkeypatch.setitem(benchmark._registered, spec.name, spec)


def run(out: Path, spec: Benchmark, seed: int = 0) -> Path:
    folder = RunFolder.of(spec, out)
    list(run_seed(spec, folder, seed, device="cpu", threads=1))
    return folder.seed(seed)


# ------------------------------------------------------------------ as specifications
def test_data_is_part_of_a_specification_and_of_its_digest():
    again = Benchmark.from_json(json.loads(json.dumps(TOY_IQL.to_json())))
    assert again == TOY_IQL and again.data == TOY_IQL.data
    assert TOY_IQL.steps == "updates" and TOY.steps == "environment steps"
    other = TOY_IQL.with_settings({"data.corruptions.0.std": 0.2})
    assert other.digest != TOY_IQL.digest
    assert other.settings["data.corruptions.0.std"] == 0.2
    assert TOY_IQL.with_settings({"data.steps": 200}).digest != TOY_IQL.digest
    TOY_IQL.check()


def test_a_specification_without_data_reads_as_it_always_did():
    # Results keep their folders: the digest is of this document.
    assert "data" not in TOY.to_json() and "data" not in TOY.settings
    assert Benchmark.from_json({**TOY.to_json(), "data": None}).digest == TOY.digest


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        (TOY, {"data": to_json(WALKS)}, "PPO takes no data; leave data out"),
        (
            TOY_IQL,
            {"data": None},
            "IQL learns from data; give some, such as",
        ),
    ],
)
def test_data_without_a_learner_of_data_is_refused_and_the_other_way_round(
    tmp_path, spec, changes, message
):
    wrong = Benchmark.from_json({**spec.to_json(), **changes})
    with pytest.raises(ConfigError, match=message):
        wrong.check()
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, wrong)


def test_a_probes_data_can_be_set_though_it_is_injected_elsewhere():
    changed = TOY_IQL.with_settings({"agent.probe.data.steps": 100})
    assert changed.settings["agent.probe.data.steps"] == 100
    with pytest.raises(ConfigError, match=r"no setting 'agent\.data'"):
        TOY_IQL.with_settings({"agent.data": WALKS})


# ---------------------------------------------------------------------------- as runs
@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs"), TOY_IQL)


def test_a_result_says_which_data_it_was(home: Path):
    data = RewardNoise(walks(300), std=0.1, seed=0)
    found = read_json(home / "result.json")
    assert found["data"] == {
        "sha256": data.sha256,
        "transitions": len(data),
        "episodes": data.num_episodes,
        "source": walks(300).sha256,
    }
    assert (found["timesteps"], found["updates"], found["sim_steps"]) == (15, 4, 0)
    assert found["metric"] == "normalized_return" and "peak" in found


def test_noise_differs_between_seeds_of_a_run(home: Path, tmp_path: Path):
    other = run(tmp_path, TOY_IQL, seed=1)
    hashes = {read_json(h / "result.json")["data"]["sha256"] for h in (home, other)}
    assert len(hashes) == 2


def test_losses_of_every_update_lie_beside_the_metrics(home: Path):
    series, rows = read_series(home / "series.npz"), read_table(home / "metrics.csv")
    assert set(series) == {"critic_loss", "td_loss"}
    assert [row["timesteps"] for row in rows] == [4, 8, 12, 15]
    for name, losses in series.items():
        assert losses.shape == (15,)
        means = [losses[i : i + 4].mean() for i in (0, 4, 8, 12)]
        np.testing.assert_allclose([r[f"train/{name}"] for r in rows], means, rtol=1e-6)
    told = {name for row in rows for name in row}
    assert {"q/mean", "q/return_gap", "train/td_loss_variance"} <= told


def test_an_evaluation_does_not_disturb_the_training(tmp_path: Path):
    often = run(tmp_path / "often", TOY_CQL)
    seldom = run(
        tmp_path / "seldom",
        TOY_CQL.with_settings({"every": 99, "evaluation.episodes": 1}),
    )
    for name in ("series.npz", "metrics.csv", "policy/policy.safetensors"):
        assert (often / name).read_bytes() == (seldom / name).read_bytes()


def test_its_policies_are_loaded_without_what_trained_them(home: Path):
    policies = [home / "policies" / n for n in "02"] + [home / "policy"]
    obs = np.linspace(-1, 1, 5)[:, None]
    acted = [suite.load_policy(str(path)).predict(obs)[0] for path in policies]
    assert not np.array_equal(acted[0], acted[2])
    assert not np.array_equal(acted[1], acted[2])
    code = (
        "import sys, suite, numpy as np\n"
        f"policy = suite.load_policy({str(home / 'policy')!r})\n"
        "print(policy.predict(np.linspace(-1, 1, 5)[:, None])[0].tolist())\n"
        "assert 'd3rlpy' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == acted[2].tolist()


# -------------------------------------------------------------------------- as reports
def test_a_report_counts_points_and_gradient_updates(home: Path):
    folder = RunFolder(home.parent)
    done = CliRunner().invoke(main, ["report", str(folder.path)])
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    end = next(line for line in lines if line.lstrip().startswith("end")).split()
    final = read_json(home / "result.json")["final"]
    assert end[1:3] == ["15", f"{final:.1f}"]
    headings = " ".join(lines[1:4])
    assert "points" in headings and "updates" in headings and "sim." not in headings
    assert "for 15 updates." in done.stdout
    assert (folder.path / "curves.png").stat().st_size > 10_000
    assert summary(folder)["steps"] == "updates"


def told(*arguments: str) -> Any:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == 0, done.stderr
    return done


def test_the_command_line_shows_and_runs_it(tmp_path: Path):
    plan = told("run", "toy-iql", "--dry-run", "--out", str(tmp_path))
    assert "would run toy-iql, 15 updates a seed" in plan.stdout
    assert "data.steps" in told("show", "toy-iql").stdout
    done = told("run", "toy-iql", "--out", str(tmp_path), "--device", "cpu")
    assert "points" in done.stderr and "ours" in done.stdout
