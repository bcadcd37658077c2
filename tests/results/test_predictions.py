"""Pictures of what a run's model predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from toys import TOY_MBPO, TOY_MODEL, TOY_MPC, TOY_PPO, TOY_PWM

from suite import load_policy
from suite.benchmark import Env
from suite.parts import Part
from suite.results.predictions import Predicted, predicted
from suite.running.run_folder import RunFolder
from suite.runs import run_seed
from suite.worldmodels.latent_stored import load_latent
from suite_bench.main import main


def finished(spec, out: Path) -> Path:
    folder = RunFolder.of(spec, out)
    list(run_seed(spec, folder, 0, device="cpu", threads=1))
    return folder.seed(0)


@pytest.mark.parametrize(
    "spec", [TOY_MPC, TOY_MBPO, TOY_MODEL], ids=lambda spec: spec.name
)
def test_a_finished_seeds_model_is_drawn_beside_the_truth(tmp_path, spec):
    home = finished(spec, tmp_path)
    found = predicted(home, steps=2, seed=3)  # where that episode ends
    assert found.true.shape == found.predicted.shape == (3, 1)
    assert found.true[0] == found.predicted[0] and 0.5 <= found.true[0, 0] <= 1
    assert (np.abs(np.diff(found.true[:, 0])) <= 1 / 3 + 1e-6).all()
    done = CliRunner().invoke(
        main, ["predictions", str(home), "--steps", "2", "--episode", "3"]
    )
    assert done.exit_code == 0, done.output
    assert "mean prediction error over 2 states: " in done.stdout
    assert (home / "predictions.png").stat().st_size > 1000


def test_a_model_of_choices_is_given_them_one_hot(tmp_path):
    ensemble = Part(
        "suite.worldmodels.ensemble:Ensemble",
        {"members": 2, "inputs": 4, "outputs": 2, "hidden": [8]},
    )
    proposal = Part("suite.agents.proposals:Categorical", {})
    settings = {
        "agent.planner": Part(
            "suite.agents.planners:CEM",
            {"horizon": 3, "candidates": 6, "elites": 3, "proposal": proposal},
        ),
        "agent.fit.dynamics": Part(
            "suite.worldmodels.learned:LearnedDynamics", {"ensemble": ensemble}
        ),
    }
    spec = replace(
        TOY_MPC.with_settings(settings), env=Env("toys:ChosenToy-v0", num_envs=4)
    )
    found = predicted(finished(spec, tmp_path), steps=2, seed=1)
    assert np.isfinite(found.predicted).all() and found.true.shape == (3, 1)


def test_the_error_is_the_mean_square_over_all_states_but_the_last():
    true = np.array([[0.0, 0.0], [1.0, 2.0], [9.0, 9.0]])
    guess = np.array([[0.0, 0.0], [2.0, 4.0], [0.0, 0.0]])
    assert Predicted("x", true, guess).error == (1 + 4) / 4


def test_what_has_no_model_or_is_not_finished_is_refused(tmp_path):
    without, planned = (str(finished(spec, tmp_path)) for spec in (TOY_PPO, TOY_MPC))
    for arguments, message in (
        ([str(tmp_path)], "there is no policy in"),
        ([without], "a run of suite.agents.ppo:PPO leaves no"),
        ([planned, "--steps", "3", "--episode", "3"], "ended after 2 of 3 steps; ask"),
        (
            [str(tmp_path), "--steps", "0"],
            "steps must be at least 2, since the first state is given, got 0",
        ),
    ):
        done = CliRunner().invoke(main, ["predictions", *arguments])
        assert done.exit_code == 3 and message in done.stderr


# ------------------------------------------------------------------------ what is kept
def test_a_run_leaves_its_latent_model_beside_the_policy(tmp_path):
    home = finished(TOY_PWM, tmp_path)
    policy: Any = load_policy(str(home / "policy"))
    model = load_latent(home / "model")
    assert model.end is not None
    own = dict(model.encoder.named_parameters())
    for name, weights in policy.encoder.named_parameters():
        assert torch.equal(weights, own.pop(name))
    assert not own


def test_a_model_that_cannot_be_written_costs_no_run(tmp_path, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise ValueError("it is of a part of another module")

    monkeypatch.setattr("suite.agents.pwm.save_latent", refuse)
    home = finished(TOY_PWM, tmp_path)
    assert (home / "result.json").is_file() and not (home / "model").exists()
    assert "the model is not kept: it is of a part of another module" in caplog.text
