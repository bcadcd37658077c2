"""A sweep is data: cells, what is chosen of them, and where they lie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dials import DIALS, spec

from suite import sweep
from suite.cell import Cell
from suite.parts import ConfigError
from suite.results.figures import Bars, Curves
from suite.running.sweep_folder import SweepFolder
from suite.sweep import Sweep, SweepScale
from suite.unknown_names import UnknownName


def chosen(only: str) -> list[tuple[str, int]]:
    return [(trial.cell.label, trial.seed) for trial in DIALS.trials(only)]


# ------------------------------------------------------------------------------ cells
def test_a_cell_is_named_by_words_and_by_numbers_behind_their_axis():
    cell = Cell({"algo": "cql", "env": "hopper", "noise": 0.5, "k": 30}, spec(1))
    assert cell.label == "cql-hopper-noise0.5-k30"
    assert cell.folder_name == f"cql-hopper-noise0.5-k30-{cell.spec.digest[:8]}"


@pytest.mark.parametrize(
    ("axes", "cost", "text"),
    [
        ({}, 1, "needs an axis and a positive cost"),
        ({"k": 1}, 0, "got {'k': 1} and 0"),
        ({"k": 1}, float("nan"), "positive cost"),
        ({"seed": 1}, 1, "a plain name other than seed, got 'seed'"),
        ({"K k": 1}, 1, "got 'K k'"),
        ({"k": "../up"}, 1, "plain words and numbers of 0 or more, got '../up'"),
        ({"k": "a,b"}, 1, "got 'a,b'"),
        ({"k": -1}, 1, "got -1"),
        ({"k": True}, 1, "got True"),
        ({"k": None}, 1, "got None"),
    ],
)
def test_what_cannot_name_a_folder_is_refused(axes, cost, text):
    with pytest.raises(ConfigError, match=text.replace("{", r"\{")):
        Cell(axes, spec(1), cost)


# ------------------------------------------------------------------------------ sweeps
def test_a_sweep_is_the_same_after_json():
    document = json.loads(json.dumps(DIALS.to_json()))
    again = Sweep.from_json(document)
    assert again == DIALS and hash(again) == hash(DIALS)
    assert again.figures == DIALS.figures
    assert replace(DIALS, about="x") != DIALS


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"extra": 1}, "sweep has no 'extra'"),
        ({"name": "../x"}, r"plain names, got '\.\./x'"),
        ({"cells": []}, "needs a cell, got none"),
        ({"cells": [{"axes": {"k": 1}}]}, "cell needs 'spec'"),
        ({"figures": [{"kind": "pie"}]}, "kind is one of curves, bars, comparison"),
        ({"figures": [{"kind": "bars", "name": "../x"}]}, "plain names"),
        ({"figures": [{"kind": "bars", "name": "x", "y": 1}]}, "figure has no 'y'"),
        ({"figures": [{"kind": "bars", "name": "x", "conditions": ["k"]}]}, "'k'; did"),
        ({"baseline": "k7"}, "no condition 'k7'; there is k0, k30"),
        ({"tasks": "world"}, "the cell cql-hopper-k0 has no world"),
    ],
    ids=str,
)
def test_a_document_that_is_no_sweep_is_refused(change: dict[str, Any], text: str):
    with pytest.raises(ConfigError, match=text):
        Sweep.from_json({**DIALS.to_json(), **change})


def test_cells_of_one_name_or_of_different_metrics_are_refused():
    cells = [Cell({"k": 1}, spec(1)), Cell({"k": 1}, spec(2))]
    with pytest.raises(ConfigError, match="two cells of the sweep x have one name"):
        Sweep("x", "", tuple(cells))
    other = Cell({"k": 2}, replace(spec(2), metric="other"))
    with pytest.raises(ConfigError, match="differ in metric"):
        Sweep("x", "", (cells[0], other))


def test_a_condition_is_what_is_neither_task_nor_rival():
    assert DIALS.conditions == ["k0", "k30", "k60", "random30", "random60", "noise0.5"]
    assert replace(DIALS, rivals=None, figures=(), baseline=None).conditions[0] == (
        "cql-k0"
    )


# ------------------------------------------------------------------------------ scales
def test_a_scale_takes_its_cells_at_their_scale_and_says_so_in_its_name():
    small = DIALS.at_scale("smoke")
    assert small.name == "dials-smoke" and len(small.cells) == 12
    assert {cell.spec.total_timesteps for cell in small.cells} == {2000}
    assert small.conditions == ["k0", "k30", "k60"]
    names = [figure.name for figure in small.figures]
    assert "learning-curves" in names and "final" in names
    assert small.at_scale("default") == small


def test_a_figure_of_conditions_that_a_scale_lacks_is_left_out():
    figures = (Bars("controls", ("k0", "random30")), Bars("final"))
    small = replace(DIALS, figures=figures).at_scale("smoke")
    assert small.figures == (Bars("final"),)


def test_the_default_scale_has_the_name_of_the_sweep_and_all_cells():
    full = DIALS.at_scale("default")
    assert full.name == "dials" and len(full.cells) == 24
    with pytest.raises(UnknownName, match="no scale 'smok'; did you mean smoke"):
        DIALS.at_scale("smok")


def test_a_scale_may_choose_seeds():
    one = replace(spec(1), scales={"one": sweep_scale({"seeds": [4]})})
    grid = Sweep("x", "", (Cell({"k": 1}, one),), scales={"one": SweepScale("no time")})
    assert [trial.seed for trial in grid.at_scale("one").trials()] == [4]


def sweep_scale(settings: dict[str, Any]) -> Any:
    from suite.benchmark import Scale

    return Scale("no time", settings)


# ---------------------------------------------------------------------------- settings
def test_a_setting_is_changed_in_every_cell_and_told_by_the_name():
    changed = DIALS.with_settings({"total_timesteps": 500})
    assert {cell.spec.total_timesteps for cell in changed.cells} == {500}
    assert changed.name.startswith("dials-total_timesteps500-")
    assert [c.label for c in changed.cells] == [c.label for c in DIALS.cells]
    others = DIALS.with_settings({"total_timesteps": 501})
    assert len({DIALS.name, changed.name, others.name}) == 3
    assert changed.with_settings({"total_timesteps": 500}) == changed
    assert Sweep.from_json(changed.to_json()) == changed


def test_many_settings_still_make_a_plain_name():
    settings = {"env.num_envs": 1234567, "every": 87654321, "start": "a-policy" * 5}
    assert "-and" in DIALS.with_settings(settings).name


def test_the_name_does_not_depend_on_which_cells_there_are():
    some = replace(DIALS, cells=DIALS.cells[3:], figures=(), baseline=None)
    changes = {"every": 7, "env.num_envs": 3}
    assert some.with_settings(changes).name == DIALS.with_settings(changes).name
    # Nor on the order of settings, or on seeds.
    others = {"env.num_envs": 3, "every": 7, "seeds": [9]}
    assert DIALS.with_settings(others).name == DIALS.with_settings(changes).name


def test_other_seeds_lie_beside_those_that_are_there():
    more = DIALS.with_settings({"seeds": [7, 8]})
    assert more.name == DIALS.name
    assert {trial.seed for trial in more.trials()} == {7, 8}
    folders = [cell.folder_name for cell in more.cells]
    assert folders == [cell.folder_name for cell in DIALS.cells]


def test_what_the_cells_differ_in_is_refused():
    kinds = tuple(
        Cell({"steps": n}, replace(spec(1), every=n, total_timesteps=1000 * n))
        for n in (1, 2, 3)
    )
    grid = Sweep("x", "", kinds)
    with pytest.raises(
        ConfigError,
        match="cells of the sweep x differ in every: steps1 has 1, steps2 has 2; it",
    ):
        grid.with_settings({"every": 1})  # which the first one has already
    with pytest.raises(ConfigError, match="steps1: no setting 'evry'; a benchmark has"):
        grid.with_settings({"evry": 5})
    # They would still be three of a kind with other names.
    with pytest.raises(ConfigError, match="differ in total_timesteps"):
        grid.with_settings({"total_timesteps": 5})


def test_a_stored_sweep_keeps_the_seeds_that_were_run(tmp_path: Path):
    folder = SweepFolder(tmp_path)
    folder.store(DIALS.with_settings({"seeds": [5]}))
    assert {trial.seed for trial in folder.sweep().trials()} == {5}
    folder.store(DIALS)
    assert folder.sweep().cells[0].spec.seeds == (0, 1, 2, 5)
    before = (tmp_path / "sweep.json").stat().st_mtime_ns
    folder.store(DIALS.with_settings({"seeds": [1]}))
    assert (tmp_path / "sweep.json").stat().st_mtime_ns == before
    # A cell that is another one now has no such seeds.
    other = DIALS.cells[0].spec.with_settings({"total_timesteps": 777})
    cells = (replace(DIALS.cells[0], spec=other), *DIALS.cells[1:])
    folder.store(replace(DIALS, cells=cells))
    assert folder.sweep().cells[0].spec.seeds == (0, 1, 2)
    assert folder.sweep().cells[1].spec.seeds == (0, 1, 2, 5)


# --------------------------------------------------------------------------- selection
def test_the_dearest_units_come_first_and_of_two_alike_the_lower_seed():
    found = chosen("")
    assert len(found) == 72
    assert all(name.startswith("cql") for name, _ in found[:36])
    assert [seed for _, seed in found[:36]] == [0] * 12 + [1] * 12 + [2] * 12


def test_one_value_on_every_axis_is_one_unit():
    only = "algo=cql,env=hopper,k=30,seed=0"
    assert chosen(only) == [("cql-hopper-k30", 0)]


def test_values_are_joined_and_axes_intersected():
    found = chosen("algo=iql, k=0|60 ,env=hopper,seed=1|2")
    assert set(found) == {
        (name, seed) for name in ("iql-hopper-k0", "iql-hopper-k60") for seed in (1, 2)
    }


def test_a_cell_without_an_axis_is_not_chosen_by_it():
    assert {name for name, _ in chosen("k=30|0|60")} == {
        f"{algo}-{env}-k{k}"
        for algo in ("cql", "iql")
        for env in ("hopper", "halfcheetah")
        for k in (0, 30, 60)
    }
    assert {name for name, _ in chosen("noise=0.5,algo=cql")} == {
        "cql-hopper-noise0.5",
        "cql-halfcheetah-noise0.5",
    }


@pytest.mark.parametrize(
    ("only", "text"),
    [
        ("alg=cql", "no axis 'alg'; did you mean algo?"),
        ("algo=cpl", "no algo 'cpl'; did you mean cql"),
        ("k=45", "no k '45'; there is 0, 30, 60"),
        ("seed=7", "no seed '7'; there is 0, 1, 2"),
        ("k", "must read axis=value, got 'k'"),
        ("k=30,random=30", "no cell of the sweep dials is at k=30,random=30"),
    ],
)
def test_a_selection_of_nothing_says_what_there_is(only, text):
    with pytest.raises(UnknownName) as refused:
        DIALS.trials(only)
    assert text in str(refused.value)


# ---------------------------------------------------------------------- the registry
def test_a_sweep_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweep, "_registered", {})
    assert sweep.register(DIALS) is DIALS and sweep.get("dials") is DIALS
    sweep.register(replace(DIALS))
    with pytest.raises(ValueError, match="there is another sweep called 'dials'"):
        sweep.register(replace(DIALS, about="x"))
    with pytest.raises(UnknownName, match="no sweep 'dial'; did you mean dials"):
        sweep.get("dial")


def test_a_cell_that_cannot_be_built_is_named():
    wrong = Cell({"k": 1}, spec(1).with_settings({"agent.call": "dials:Nobody"}))
    grid = Sweep("x", "", (wrong,))
    with pytest.raises(ConfigError, match=r"k1: 'dials' has no 'Nobody'"):
        grid.check(grid.trials())


# ---------------------------------------------------------------------------- a folder
def test_a_folder_tells_what_is_run_in_it(tmp_path: Path):
    folder = SweepFolder.of(DIALS, tmp_path)
    with pytest.raises(ConfigError, match=r"there is no sweep in .*dials; give a fol"):
        folder.sweep()
    folder.store(DIALS)
    written = (folder.path / "sweep.json").stat()
    folder.store(DIALS)  # as another one that runs the same would
    assert (folder.path / "sweep.json").stat().st_ino == written.st_ino
    assert folder.sweep() == DIALS
    trial = DIALS.trials()[0]
    assert folder.state(trial) == "new"
    assert folder.job(trial, "cpu", "x").path == (
        tmp_path / "dials" / trial.cell.folder_name
    )


def test_figures_are_data():
    drawn = Curves("a", "y", conditions=("k0",))
    grid = replace(DIALS, figures=(drawn,))
    assert Sweep.from_json(grid.to_json()).figures == (drawn,)
    with pytest.raises(ConfigError, match="needs a linear axis"):
        Curves("a", "y", spread="z", is_log=True)
