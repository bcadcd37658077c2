"""What the pages tell a stranger to write works as it stands, and passes the lint."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from exported import DATA, required
from test_registry import (
    assert_copies_go_on,
    assert_goes_back_exactly,
    assert_single_is_row_zero,
    assert_spec_survives_json,
    vector,
)

from suite import benchmark
from suite.agents.advantages import GAE, Rollout
from suite.benchmark import get, names
from suite.data.recording import recorded
from suite.envs.replay import ReplayEnv
from suite.runs import RunFolder, run_seed

ROOT = Path(__file__).parents[1]
PAGES = {
    "point_mass": ROOT / "docs" / "envs" / "README.md",
    "reward_clip": ROOT / "docs" / "wrappers.md",
    "clip_to_quantile": ROOT / "docs" / "datasets.md",
    "td0": ROOT / "docs" / "agents.md",
    "pickcube_noisy": ROOT / "docs" / "benchmarks.md",
}


def written(name: str) -> str:
    """The file that a page has under "To write one" (or "a corruption")."""
    section = re.split(r"\n## To write .*\n", PAGES[name].read_text())[1]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    is_whole = found[1].startswith('"""')
    return found[1] if is_whole else f'"""A file of its theme."""\n\n{found[1]}'


@pytest.fixture
def module(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """That file, imported."""
    (tmp_path / f"{request.param}.py").write_text(written(request.param))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(benchmark, "_registered", {n: get(n) for n in names()})
    yield importlib.import_module(request.param)
    del sys.modules[request.param]


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_tells_to_write_passes_the_lint(name: str, tmp_path: Path):
    (tmp_path / f"{name}.py").write_text(written(name))
    ruff = (sys.executable, "-m", "ruff")
    for command in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        done = subprocess.run(
            [*ruff, *command, "--config", ROOT / "pyproject.toml", tmp_path],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["point_mass"], indirect=True)
def test_the_environment_keeps_the_contract(module: Any):
    gym.register(
        id="Written-v0",
        entry_point="point_mass:PointMassEnv",
        vector_entry_point="point_mass:PointMassVectorEnv",
    )
    try:
        rows = vector("Written-v0", mode="disabled")
        assert_single_is_row_zero(gym.make("Written-v0"), rows)
        assert_goes_back_exactly(vector("Written-v0"))
        assert_copies_go_on(vector("Written-v0"))
        assert_spec_survives_json(gym.make("Written-v0"))
    finally:
        del gym.registry["Written-v0"]


@pytest.mark.parametrize("module", ["point_mass"], indirect=True)
def test_the_environment_moves_as_its_formula_says(module: Any):
    env = module.PointMassVectorEnv(1, autoreset_mode="disabled")
    env.reset(seed=0)
    env.simulation.set_state(None, np.array([[0.0, 1.0, 0.5]]))
    obs, reward, terminated, _, _ = env.step(np.ones((1, 1)))
    # x = 0.1 * 1 + 0.1^2 / 2, v = 1 + 0.1; 0.395 m are left.
    np.testing.assert_allclose(obs, [[0.105, 1.1, 0.5]], rtol=1e-6)
    assert reward[0] == pytest.approx(-0.395) and not terminated[0]


@pytest.mark.parametrize("module", ["reward_clip"], indirect=True)
def test_the_wrapper_clips(module: Any):
    env = module.RewardClip(gym.make("Pendulum-v1"), low=-1.0, high=-0.5)
    env.reset(seed=0)
    rewards = [env.step(np.zeros(1, np.float32))[1] for _ in range(20)]
    assert min(rewards) == -1.0 and max(rewards) <= -0.5
    given = required(module.RewardClip, {"env": None})
    assert given["low"] < given["high"]
    with pytest.raises(ValueError, match="low must be below high, got"):
        module.RewardClip(env, 1.0, 0.0)


@pytest.mark.parametrize("module", ["clip_to_quantile"], indirect=True)
def test_the_corruption_of_stored_data_clips(module: Any):
    given = required(module.ClipToQuantile, {"env": None})
    clipped = module.ClipToQuantile(DATA, **given)
    assert clipped.rewards.max() == np.quantile(DATA.rewards, given["share"])
    again = recorded(module.ClipToQuantile(ReplayEnv(DATA), **given))
    assert again.sha256 == clipped.sha256 != DATA.sha256


@pytest.mark.parametrize("module", ["td0"], indirect=True)
def test_the_estimator_is_gae_without_a_trace(module: Any):
    rng = np.random.default_rng(0)
    shape = (40, 6)
    terminated = rng.random(shape) < 0.1
    truncated = (rng.random(shape) < 0.1) & ~terminated
    ends = rng.normal(size=shape) * (terminated | truncated)
    ends[-1] = rng.normal(size=6)
    rewards, values = rng.normal(size=(2, *shape))
    empty = np.zeros((*shape, 1))
    r = Rollout(empty, empty, rewards, terminated, truncated, values, ends, rewards)
    ours, theirs = module.TD0(0.9)(r), GAE(0.9, 0.0)(r)
    np.testing.assert_allclose(ours.advantages, theirs.advantages, atol=1e-12)
    np.testing.assert_allclose(ours.returns, theirs.returns, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["pickcube_noisy"], indirect=True)
def test_the_benchmark_runs(module: Any, tmp_path: Path):
    spec = get("pickcube-noisy")
    for scale in spec.scales:
        spec.at_scale(scale).check()
    smoke = spec.at_scale("smoke")
    folder = RunFolder.of(smoke, tmp_path)
    list(run_seed(smoke, folder, 0, device="cpu"))
    assert folder.result(0) is not None and smoke.label == "smoke"
