"""The data that a specification names are there, and those of its other results."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from stored import dataset
from toys import TOY_IQL, walks

from suite.benchmark import Benchmark, Part
from suite.cell import Cell
from suite.data.named_data import missing, sources_of, strays
from suite.data.published import PUBLISHED
from suite.datasets import dataset_card, save_dataset
from suite.running.kept_results import reuse
from suite.running.run_folder import RESULT_SCHEMA, RunFolder
from suite.running.sweep_folder import SweepFolder
from suite.storage import IntegrityError
from suite.sweep import Sweep
from suite.wrappers import DropBestEpisodes
from suite_bench.main import main

RESULTS = Path(__file__).parents[2] / "docs" / "results"
ONE_PROCESSOR = "offline-corruption-one-processor"  # its data cannot be made any more
NOISE = Part("suite.wrappers:RewardNoise", {"std": 0.1})
CLEAN, OTHER = dataset(), dataset(seed=1)
WORSE = {data.sha256: DropBestEpisodes(data, percent=30) for data in (CLEAN, OTHER)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spec(source: str = "mine.npz", *corruptions: Part, probed: str = "") -> Benchmark:
    kwargs = {"source": source, "corruptions": corruptions}
    agent = dict(TOY_IQL.agent.kwargs)
    if probed:
        load = Part("suite.datasets:load_dataset", {"source": probed})
        agent["probe"] = Part("suite.agents.probe:Probe", {"data": load})
    return replace(
        TOY_IQL,
        name="mine",
        data=Part("suite.datasets:load_dataset", kwargs),
        agent=Part(TOY_IQL.agent.call, agent),
        seeds=(0, 1),
        scales={},
    )


GRID = Sweep(
    "grid",
    "",
    tuple(
        Cell({"algo": algo, "k": k}, replace(each, every=every))
        for every, algo in ((1, "a"), (2, "b"))
        for k, each in ((0, spec()), (1, spec("mine.npz", NOISE)))
    ),
)


def told(data: Any, source: Any = None) -> dict[str, Any]:
    told = {"sha256": data.sha256, "transitions": 1, "episodes": 1}
    return told if source is None else {**told, "source": source.sha256}


def finished(folder: RunFolder, spec: Benchmark, seed: int, data: Any) -> Path:
    home = folder.seed(seed)
    home.mkdir(parents=True)
    numbers = {"final": 1.0, "mean_of_last_3": 1.0, "digest": spec.digest}
    result = {"schema": RESULT_SCHEMA, **numbers, "data": data}
    (home / "result.json").write_text(json.dumps(result))
    (home / "spec.json").write_text(json.dumps(spec.to_json()))
    (home / "timing.json").write_text(json.dumps({"seconds": {"total": 1.0}}))
    return home


def filled(out: str, data: dict[tuple[str, int, int], Any]) -> SweepFolder:
    """A sweep's folder with results of (algo, k, seed)."""
    folder = SweepFolder.of(GRID, out)
    folder.store(GRID)
    for (algo, k, seed), each in data.items():
        cell = next(c for c in GRID.cells if c.axes == {"algo": algo, "k": k})
        finished(folder.cell(cell), cell.spec, seed, each)
    return folder


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


# ------------------------------------------------------------------ of the same data
NOISY = WORSE[CLEAN.sha256]
SAME = {
    ("a", 0, 0): told(CLEAN),
    ("a", 0, 1): told(CLEAN),
    ("b", 0, 0): told(CLEAN),
    ("a", 1, 0): told(NOISY, CLEAN),
    ("b", 1, 0): told(NOISY, CLEAN),
    ("a", 1, 1): told(dataset(seed=3), CLEAN),  # noise is drawn anew for each seed
}
DIFFERENT = [
    {("b", 0, 0): told(OTHER)},
    {("a", 0, 1): told(OTHER)},
    {("b", 1, 0): told(OTHER, CLEAN)},
    {("b", 1, 0): told(NOISY, OTHER)},
    {("a", 1, 1): told(NOISY, OTHER)},
]


def test_results_of_the_same_data_stand_together():
    filled("runs", SAME).results()
    assert invoke("plot", "runs/grid").exit_code == 0


@pytest.mark.parametrize("change", DIFFERENT)
def test_results_of_other_data_are_refused_and_named(change):
    folder = filled("runs", {**SAME, **change})
    with pytest.raises(IntegrityError, match="was trained on other data") as caught:
        folder.results()
    assert "grid/" in str(caught.value) and "\n" not in str(caught.value)
    done = invoke("plot", "runs/grid")
    assert done.exit_code == 5 and str(caught.value) in done.stderr


@pytest.mark.parametrize("is_stored", [True, False])
def test_what_is_reused_is_of_the_data_that_are_here(is_stored: bool):
    theirs = filled("theirs", SAME)
    ours = SweepFolder.of(GRID, "runs")
    if is_stored:
        save_dataset(OTHER, "mine.npz")
        with pytest.raises(IntegrityError, match=r"than those of the local mine\.npz"):
            reuse(ours, GRID.trials(), theirs)
        assert not ours.path.exists()
    else:  # nobody knows better
        assert len(reuse(ours, GRID.trials(), theirs)) == len(SAME)


def test_a_corrupted_source_is_known_by_what_it_was_made_of():
    theirs = filled("theirs", {("a", 0, 0): told(NOISY, CLEAN)})
    save_dataset(NOISY, "mine.npz")
    assert len(reuse(SweepFolder.of(GRID, "runs"), GRID.trials(), theirs)) == 1


def test_a_sweep_and_a_run_do_not_go_on_with_other_data():
    filled("runs", SAME)
    save_dataset(OTHER, "mine.npz")
    Path("grid.json").write_text(json.dumps(GRID.to_json()))
    done = invoke("sweep", "grid.json", "--only", "algo=b")
    assert done.exit_code == 5 and "of the local mine.npz" in done.stderr
    run = RunFolder.of(spec(), "runs")
    home = finished(run, spec(), 0, told(CLEAN))
    done = invoke("run", home / "spec.json", "--seeds", "1")
    assert done.exit_code == 5 and f"{home} was trained on other data" in done.stderr
    assert not run.seed(1).exists()


# -------------------------------------------------------------------- they are there
def test_data_that_are_not_there_are_found_before_anything_runs():
    probed = spec("suite/hopper-medium-20k-v0", NOISE, probed="suite/hopper-medium-v0")
    assert missing([probed, probed, spec()]) == {
        "suite/hopper-medium-20k-v0": "there is no local dataset "
        "'suite/hopper-medium-20k-v0'; make it: suite-bench data make "
        "suite/hopper-medium-20k-v0",
        "suite/hopper-medium-v0": "there is no local dataset 'suite/hopper-medium-v0'; "
        "make it: suite-bench data make suite/hopper-medium-v0",
        "mine.npz": "there is no file mine.npz",
    }
    (words,) = missing([spec("suite/mushr-real-40k-v0")]).values()
    assert words.endswith("make it: suite-bench data make suite/mushr-real-40k-v0")
    save_dataset(CLEAN, "mine.npz")
    assert missing([spec()]) == {}


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_missing_data_are_told_before_the_start_and_by_a_dry_run(command: str):
    one = spec("mine.npz", probed="suite/hopper-medium-v0")
    grid = Sweep("grid", "", (Cell({"k": 0}, one),))
    entry = one if command == "run" else grid
    Path("it.json").write_text(json.dumps(entry.to_json()))
    done = invoke(command, "it.json")
    assert done.exit_code == 3 and not list(Path().rglob("result.json"))
    plan = invoke(command, "it.json", "--dry-run")
    assert plan.exit_code == 0
    for words in ("no file mine.npz", "suite-bench data make suite/hopper-medium-v0"):
        assert words in done.stderr and words in plan.stdout
    as_json = json.loads(invoke(command, "it.json", "--dry-run", "--json").stdout)
    assert set(as_json["missing"]) == {"mine.npz", "suite/hopper-medium-v0"}


# ------------------------------------------------------- they are those of docs/results
@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Says that the data of an id were published with a hash."""

    def say(sha256: str) -> None:
        monkeypatch.setitem(PUBLISHED, "mine/clean-v0", sha256)

    save_dataset(CLEAN, "mine/clean-v0")
    return say


def test_data_of_a_published_id_with_other_numbers_are_told(published):
    one = spec("mine/clean-v0")
    published(CLEAN.sha256)
    assert strays([one, one]) == {}
    published("0" * 64)
    (sentence,) = strays([one, spec(probed="mine/clean-v0")]).values()
    assert f"mine/clean-v0 (sha256 {CLEAN.sha256[:12]}) is not the pub" in sentence
    assert sentence.endswith("run suite-bench data make mine/clean-v0")


def test_what_was_made_of_the_published_data_is_not_the_published(published):
    published(CLEAN.sha256)
    assert DropBestEpisodes(CLEAN, percent=30).card["parent"]["sha256"] == CLEAN.sha256
    shutil.rmtree(Path("store") / "mine" / "clean-v0")
    save_dataset(DropBestEpisodes(CLEAN, percent=30), "mine/clean-v0")
    assert [*strays([spec("mine/clean-v0")])] == ["mine/clean-v0"]


@pytest.mark.parametrize("text", ["{", "[]", '{"suite": []}', "{}", None])
def test_data_of_which_nothing_can_be_told_stop_nobody(text: str | None, published):
    published("0" * 64)
    path = Path("store/mine/clean-v0/data/metadata.json")
    shutil.rmtree(path.parents[1]) if text is None else path.write_text(text)
    assert strays([spec("mine/clean-v0")]) == {}


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_other_data_than_the_published_are_told_by_a_run_and_its_plan(
    command: str, monkeypatch
):
    save_dataset(walks(300), "mine/walks-v0")
    monkeypatch.setitem(PUBLISHED, "mine/walks-v0", "0" * 64)
    one = spec("mine/walks-v0")
    entry = one if command == "run" else Sweep("grid", "", (Cell({"k": 0}, one),))
    Path("it.json").write_text(json.dumps(entry.to_json()))
    words = "is not the published one"
    assert words in invoke(command, "it.json", "--dry-run").stdout
    as_json = json.loads(invoke(command, "it.json", "--dry-run", "--json").stdout)
    assert words in as_json["strays"]["mine/walks-v0"]
    assert words in invoke(command, "it.json").stderr
    begun = next(Path("runs").glob("*/*/seed-0"))
    (begun / "result.json").unlink()
    again = invoke("resume", begun)
    assert again.exit_code == 0 and words in again.stderr


def test_make_show_and_verify_say_whether_data_are_the_published_ones(monkeypatch):
    made = "suite/mushr-none-1k-v0"
    assert "published" not in invoke("data", "make", made).stdout
    sha256 = dataset_card(made)["sha256"]
    for known, words in ((sha256, "  as published"), ("0" * 64, "not as published")):
        monkeypatch.setitem(PUBLISHED, made, known)
        assert words in invoke("data", "verify", made).stdout
        told = json.loads(invoke("data", "verify", made, "--json").stdout)
        assert told[made]["published"] is (known == sha256)
    assert "is not the published one" in invoke("data", "show", made).stdout
    monkeypatch.setitem(PUBLISHED, made, sha256)
    assert "bits     as published" in invoke("data", "show", made).stdout
    shutil.rmtree(Path("store") / made)
    assert "bits     as published" in invoke("data", "make", made).stdout


def test_what_is_published_is_what_the_kept_results_name_and_were_computed_on():
    named: set[str] = set()
    trained_on: dict[str, set[str]] = {}
    for path in RESULTS.glob("*/*/seed-*/result.json"):
        if ONE_PROCESSOR in path.parts:
            continue
        kept = Benchmark.from_json(json.loads(path.with_name("spec.json").read_bytes()))
        sources = [each for each in sources_of(kept) if each.startswith("suite/")]
        named.update(sources)
        told = json.loads(path.read_bytes()).get("data")
        if kept.data is not None and kept.data.kwargs.get("source") in sources:
            used = trained_on.setdefault(kept.data.kwargs["source"], set())
            used.add(told.get("source", told["sha256"]))
    assert named == PUBLISHED.keys()
    assert trained_on == {each: {PUBLISHED[each]} for each in trained_on}
    assert len(trained_on) == 6
