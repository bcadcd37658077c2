"""Comparisons as the user types them, of results that are in the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_failures import assert_one_sentence

from suite.storage import read_table

RESULTS = Path(__file__).parents[2] / "docs/results"
ABLATION = RESULTS / "pwm-pendulum-ablation"
ARMS = ("reset", "critic")
TWO = (ABLATION, "mlp-horizon4", "mlp-horizon16", "--over", "last10")


def test_a_reader_sees_the_difference_and_a_script_all_values(invoke):
    done = invoke("compare", *TWO)
    assert "mean of the last 10" in done.stdout and "less mlp-horizon4" in done.stdout
    told = json.loads(invoke("compare", *TWO, "--json").stdout)
    first, other = told["cells"]
    less = [b - a for a, b in zip(first["values"], other["values"], strict=True)]
    assert other["difference"]["value"] == pytest.approx(sum(less) / 5)
    assert f"{sum(less) / 5:.1f}" in done.stdout


def test_runs_of_single_benchmarks_are_compared_too(invoke):
    arms = [next((RESULTS / f"pickcube-gae-{arm}").iterdir()) for arm in ARMS]
    told = json.loads(invoke("compare", *arms, "--json").stdout)
    fresh, pretrained = told["cells"]
    assert [fresh["cell"], pretrained["cell"]] == [
        f"pickcube-gae-{arm}" for arm in ARMS
    ]
    for arm, found in zip(arms, told["cells"], strict=True):
        last = [read_table(arm / f"seed-{i}/eval.csv")[-1] for i in range(3)]
        assert found["values"] == [row["success_log_metric"] for row in last]
    assert pretrained["pairs"] == 3


def test_two_runs_of_one_benchmark_are_told_apart_by_their_folders(invoke):
    homes = [next((RESULTS / "cs285-q5").glob(f"cem{n}-*")) for n in (2, 4)]
    told = json.loads(invoke("compare", *homes, "--json").stdout)
    assert [each["cell"] for each in told["cells"]] == [
        f"cs285-q5-{home.name}" for home in homes
    ]
    same = invoke("compare", homes[0], homes[0])
    assert_one_sentence(same, 3, f"two of the runs are called cs285-q5-{homes[0].name}")


def test_what_is_compared_is_drawn_as_well(invoke, tmp_path):
    runs = [next((RESULTS / "cs285-q3-cheetah").glob("default-*"))]
    runs += sorted((RESULTS / "cs285-q5").glob("cem*"))
    picture = tmp_path / "new" / "planners.png"
    of = ("--column", "train/return_mean", "--over", "2-5", "--plot")
    told = json.loads(invoke("compare", *runs, *of, picture, "--json").stdout)
    assert told["figure"] == str(picture) and len(told["cells"]) == 3
    assert picture.read_bytes().startswith(b"\x89PNG")
    other = invoke("compare", *runs, *of, tmp_path / "planners.jpg")
    assert_one_sentence(other, 3, "its name ends with .png")


def test_bad_input_is_one_sentence(invoke):
    nowhere, nothing = invoke("compare", "nowhere"), invoke("compare", ABLATION, "mlp")
    assert_one_sentence(nowhere, 3, "there is no sweep in nowhere")
    assert_one_sentence(nothing, 3, "no finished cell 'mlp'")
