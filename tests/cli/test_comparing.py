"""Comparisons as the user types them, of results that are in the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_failures import assert_one_sentence

RESULTS = Path(__file__).parents[2] / "docs/results"
ABLATION = RESULTS / "pwm-pendulum-ablation"
TWO = (ABLATION, "mlp-horizon4", "mlp-horizon16", "--over", "last10")


def test_a_reader_sees_the_difference_and_a_script_all_values(invoke):
    done = invoke("compare", *TWO)
    assert "mean of the last 10" in done.stdout and "less mlp-horizon4" in done.stdout
    told = json.loads(invoke("compare", *TWO, "--json").stdout)
    first, other = told["cells"]
    less = [b - a for a, b in zip(first["values"], other["values"], strict=True)]
    assert other["difference"]["value"] == pytest.approx(sum(less) / 5)
    assert f"{sum(less) / 5:.1f}" in done.stdout


def test_bad_input_is_one_sentence(invoke):
    nowhere, nothing = invoke("compare", "nowhere"), invoke("compare", ABLATION, "mlp")
    assert_one_sentence(nowhere, 3, "there is no sweep in nowhere")
    assert_one_sentence(nothing, 3, "no cell 'mlp' with results")
