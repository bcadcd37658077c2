from __future__ import annotations

import json

import pytest
from toys import TOY

from suite import benchmark
from suite.parts import ConfigError
from suite.running.artefacts import artefacts, located, referred
from suite.runs import RunFolder, run_seed
from suite.unknown_names import UnknownName


@pytest.fixture(autouse=True)
def _toy_is_known(monkeypatch):
    monkeypatch.setitem(benchmark._registered, "toy", TOY)


def needing(reference: str):
    return TOY.with_settings({"start": reference, "agent.n_epochs": 1})


def test_a_run_starts_from_the_policy_of_another_run_and_its_result_says_which(
    tmp_path,
):
    made = RunFolder.of(TOY, tmp_path)
    list(run_seed(TOY, made, 2))
    spec = needing("run:toy/2")
    (needed,) = artefacts(spec, tmp_path)
    assert needed.path == made.seed(2) / "policy" and needed.digest == TOY.digest
    assert located(spec, [needed]).start == str(needed.path)
    folder = RunFolder.of(spec, tmp_path)
    first = next(iter(run_seed(spec, folder, 0)))
    end = (made.evaluations(2))[-1]
    assert first.evaluation is not None
    assert first.evaluation["log_std"] == end["log_std"]  # it went on from there
    list(run_seed(spec, folder, 0))
    result = json.loads((folder.seed(0) / "result.json").read_text())
    assert result["needed"] == [needed.to_json()]
    assert result["needed"][0]["reference"] == "run:toy/2"


def test_a_reference_to_a_run_that_has_not_finished_says_how_to_run_it(tmp_path):
    with pytest.raises(ConfigError, match="first run: suite-bench run toy --scale de"):
        artefacts(needing("run:toy"), tmp_path)


@pytest.mark.parametrize("reference", ["run:", "run:toy/x", "run:../toy", "run:toy@A"])
def test_a_misspelt_reference_is_refused(tmp_path, reference):
    with pytest.raises(ConfigError, match="must read run:NAME"):
        artefacts(needing(reference), tmp_path)


def test_any_scale_of_any_benchmark_can_be_referred_to():
    for name in benchmark.names():
        for scale in benchmark.get(name).scales:
            spec, _, seed = referred(f"run:{name}@{scale}/3")
            assert spec == benchmark.get(name).at_scale(scale) and seed == 3


def test_a_reference_to_an_unknown_benchmark_names_the_near_ones(tmp_path):
    with pytest.raises(UnknownName, match="pickcube-critic"):
        artefacts(needing("run:pickcube-critc"), tmp_path)


def test_a_benchmark_without_references_needs_nothing(tmp_path):
    assert artefacts(TOY, tmp_path) == []
    assert located(TOY, []) == TOY
