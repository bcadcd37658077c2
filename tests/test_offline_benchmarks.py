"""The specifications of benchmarks/offline.py."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from click.testing import CliRunner

from suite.agents.behaviour import PACKAGED
from suite.benchmark import Part, get, names
from suite.data.cards import D4RL, LOCAL
from suite.data.collection import UniformBehaviour, collect
from suite.parts import to_json
from suite.storage import read_json
from suite_bench.benchmarks.offline import AGENTS, ENVS, cell_spec
from suite_bench.main import main

OFFLINE = [name for name in names() if name.startswith("offline-")]
# d3rlpy's reproduction scripts for MuJoCo, as far as they differ from its defaults or
# decide the result; what we depart from is said in benchmarks/offline.py.
PAPER = {
    "cql": {
        "total_timesteps": 500_000,
        "agent.batch_size": 256,
        "agent.gamma": 0.99,
        "agent.tau": 0.005,
        "agent.n_critics": 2,
        "agent.actor_learning_rate": 1e-4,
        "agent.critic_learning_rate": 3e-4,
        "agent.temp_learning_rate": 1e-4,
        "agent.alpha_learning_rate": 0.0,
        "agent.conservative_weight": 5.0,
        "agent.n_action_samples": 10,
        "agent.net_arch": [256, 256],  # theirs: three layers
        "agent.alpha_threshold": 0.0,  # theirs: 10, without effect on any gradient
        "evaluation.episodes": 10,
    },
    "iql": {
        "total_timesteps": 500_000,
        "agent.batch_size": 256,
        "agent.gamma": 0.99,
        "agent.tau": 0.005,
        "agent.n_critics": 2,
        "agent.actor_learning_rate": 3e-4,
        "agent.critic_learning_rate": 3e-4,
        "agent.actor_decay": 500_000,
        "agent.expectile": 0.7,
        "agent.weight_temp": 3.0,
        "agent.max_weight": 100.0,
        "agent.return_span": 1000.0,
        "agent.net_arch": [256, 256],
        "evaluation.episodes": 10,
    },
}


@pytest.mark.parametrize("algo", PAPER)
@pytest.mark.parametrize("env", ENVS)
def test_at_paper_scale_every_field_is_that_of_the_table(algo, env):
    settings = cell_spec(algo, env).at_scale("paper").settings
    assert {key: settings[key] for key in PAPER[algo]} == PAPER[algo]
    normalizes = settings.get("agent.normalize_obs", False)
    assert normalizes == (algo == "td3bc")  # the other scripts do not


@pytest.mark.parametrize("algo", AGENTS)
def test_a_cell_corrupts_what_the_agent_sees_and_probes_what_was_clean(algo):
    change = Part("suite.wrappers:DropBestEpisodes", {"percent": 30})
    spec = cell_spec(algo, "hopper", [change], seeds=(0, 1))
    for scale in ("smoke", "quick", "default", "paper"):
        scaled = spec.at_scale(scale)
        scaled.check()
        assert scaled.data is not None
        assert scaled.data.kwargs["corruptions"] == (change,)
        assert ("agent.probe.call" in scaled.settings) is (algo != "bc")
        if algo != "bc":
            clean = to_json(scaled.agent)["kwargs"]["probe"]["kwargs"]["data"]
            assert clean["call"] == scaled.data.call
            assert "corruptions" not in clean["kwargs"]
    assert spec.seeds == (0, 1) and spec.digest != cell_spec(algo, "hopper").digest


@pytest.mark.parametrize("name", OFFLINE)
def test_updates_come_out_even_and_the_last_one_is_evaluated(name):
    for scale in ("smoke", "quick", "default", "paper"):
        spec = get(name).at_scale(scale)
        size = spec.settings.get("agent.updates_per_iteration", 1000)
        assert spec.total_timesteps % (size * spec.every) == 0
        decay = spec.settings.get("agent.actor_decay")
        assert decay in (None, spec.total_timesteps) or scale == "smoke"


def test_without_its_data_a_run_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    arguments = ["run", "offline-iql-hopper", "--out", str(tmp_path / "runs")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 3
    assert "suite-bench data make suite/hopper-medium-v0" in done.stderr


@pytest.mark.parametrize("robot", LOCAL)
def test_the_second_scale_ends_at_our_strong_behaviour(robot):
    card = read_json(PACKAGED / f"{robot}-strong" / "card.json")
    best = card["score"]["deterministic"]["return_mean"]
    assert LOCAL[robot][1] == pytest.approx(best, abs=0.01)
    assert cell_spec("iql", robot).settings["evaluation.local"] == list(LOCAL[robot])


BANDS = {"halfcheetah": (35, 50), "hopper": (35, 50), "walker2d": (50, 70)}


@pytest.mark.parametrize("robot", BANDS)
def test_the_medium_behaviour_is_of_medium_strength(robot):
    card = read_json(PACKAGED / f"{robot}-medium" / "card.json")
    worst, expert = D4RL[robot]
    points = 100 * (card["score"]["sampled"]["return_mean"] - worst) / (expert - worst)
    assert BANDS[robot][0] <= points <= BANDS[robot][1]


@pytest.mark.parametrize(
    ("robot", "name"), [("hopper", "Hopper"), ("walker2d", "Walker2d")]
)
def test_the_second_scale_begins_at_uniform_actions(robot, name):
    # HalfCheetah's is left out: its episodes have 1000 steps each.
    env = gym.make_vec(
        f"Batched{name}-v5",
        num_envs=16,
        vectorization_mode="vector_entry_point",
        autoreset_mode="disabled",
    )
    data = collect(env, UniformBehaviour(env.single_action_space), 6000, seed=1)
    error = np.std(data.returns) / np.sqrt(min(200, data.num_episodes))
    assert abs(data.returns.mean() - LOCAL[robot][0]) < 4 * np.sqrt(2) * error
