"""A run that was stopped ends with the bytes of one that was not."""

from __future__ import annotations

import functools
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from toys import RESUMABLE, TOY, TOY_PPO

from suite import benchmark
from suite.agents.ppo import PPO
from suite.arrays import NotRestorable, Restorable
from suite.benchmark import Benchmark, get, names
from suite.checkpoints import Checkpoints, Learner
from suite.parts import ConfigError
from suite.running.artefacts import references, referred
from suite.running.process import provenance
from suite.running.run_folder import RunFolder
from suite.runs import Progress, run_seed
from suite.storage import IntegrityError, read_json, write_json
from suite.wrappers import restorable
from suite_bench.main import main

UPDATES = 4
WALL_CLOCK = {"timing.csv", "timing.json", "run.log"}
SMOKE = get("pickcube-awr").at_scale("smoke")


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by name, as they are to a process that imports them."""
    for spec in RESUMABLE.values():
        monkeypatch.setitem(benchmark._registered, spec.name, spec)
    monkeypatch.setattr("suite.running.training.LONG", math.inf)  # on slow disks, too


def contents(home: Path) -> dict[str, bytes]:
    """Every file that must repeat, by path."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name not in WALL_CLOCK
    }


def start(out: Path, spec: Benchmark, **kwargs: Any):
    folder = RunFolder.of(spec, out)
    return run_seed(spec, folder, 0, **{"device": "cpu", "threads": 1, **kwargs})


@functools.cache
def uninterrupted(name: str) -> dict[str, bytes]:
    spec = {**RESUMABLE, "smoke": SMOKE}[name]
    with tempfile.TemporaryDirectory() as out:
        list(start(Path(out), spec))
        return contents(RunFolder.of(spec, out).seed(0))


def stopped(out: Path, spec: Benchmark, moments: int) -> Path:
    """Run up to a number of moments; the seed's folder."""
    run = start(out, spec)
    for _ in range(moments):
        next(run)
    run.close()
    return RunFolder.of(spec, out).seed(0)


def notes(told: list[Progress]) -> list[str]:
    return [each.note for each in told if each.note is not None]


def disturb_generators() -> None:
    """What another process would have: other states of every global generator."""
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)


@pytest.mark.parametrize("moments", range(1, 2 * UPDATES + 2))
@pytest.mark.parametrize("name", RESUMABLE)
def test_a_run_stopped_anywhere_ends_with_the_same_bytes(tmp_path, name, moments):
    spec = RESUMABLE[name]
    home = stopped(tmp_path, spec, moments)
    updates = moments // 2
    assert RunFolder(home.parent).saved(0) == (updates or None)
    disturb_generators()
    told = list(start(tmp_path, spec))
    expected = [f"continues from iteration {updates + 1}"] if updates else []
    assert notes(told) == expected
    assert contents(home) == uninterrupted(name)


def test_a_run_may_be_stopped_again_and_again(tmp_path: Path):
    home = tmp_path
    for sessions in range(UPDATES):
        # After the first: the note where it goes on, an evaluation, an update.
        home = stopped(tmp_path, TOY_PPO, 3 if sessions else 2)
        disturb_generators()
    list(start(tmp_path, TOY_PPO))
    assert contents(home) == uninterrupted("ppo")
    assert len(read_json(home / "timing.json")["sessions"]) == UPDATES + 1


def test_afresh_an_unfinished_run_starts_over(tmp_path: Path):
    home = stopped(tmp_path, TOY_PPO, 4)
    assert notes(list(start(tmp_path, TOY_PPO, fresh=True))) == []
    assert contents(home) == uninterrupted("ppo")


def test_the_result_states_the_first_command_and_timing_every_session(tmp_path: Path):
    run = start(tmp_path, TOY_PPO, command="first")
    for _ in range(4):
        next(run)
    run.close()
    list(start(tmp_path, TOY_PPO, command="second", threads=2))
    home = RunFolder.of(TOY_PPO, tmp_path).seed(0)
    assert read_json(home / "result.json")["command"] == "first"
    timing = read_json(home / "timing.json")
    told = [(s["command"], s["updates"], s["threads"]) for s in timing["sessions"]]
    assert told == [("first", 0, 1), ("second", 2, 2)]
    assert timing["seconds"]["total"] > timing["seconds"]["checkpoint"] > 0


def test_what_dead_writers_left_behind_is_removed(tmp_path: Path):
    home = stopped(tmp_path, TOY_PPO, 4)
    for left in ("checkpoints/.3.tmp-1", "policies/.2.old-1", ".policy.tmp-1"):
        (home / left).mkdir()
    list(start(tmp_path, TOY_PPO))
    assert contents(home) == uninterrupted("ppo")
    assert not [path for path in home.rglob(".*")]
    assert not (home / "checkpoints").exists()


# ------------------------------------------------------------- what is said or refused
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(tmp_path: Path):
    home = stopped(tmp_path, TOY_PPO, 6)
    path = home / "checkpoints" / "3" / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    told = notes(list(start(tmp_path, TOY_PPO)))
    assert told[0].startswith(f"{path} is damaged")
    assert told[0].endswith("falling back to the checkpoint before")
    assert told[1:] == ["continues from iteration 3"]
    assert all(note in (home / "run.log").read_text() for note in told)
    assert contents(home) == uninterrupted("ppo")


def test_without_an_intact_checkpoint_a_run_is_refused(tmp_path: Path):
    home = stopped(tmp_path, TOY_PPO, 6)
    for number in (2, 3):
        (home / "checkpoints" / str(number) / "tree.json").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"3/tree\.json .* with --fresh"):
        next(start(tmp_path, TOY_PPO))
    list(start(tmp_path, TOY_PPO, fresh=True))
    assert contents(home) == uninterrupted("ppo")


class Clock:
    """Time that passes by looking at it: every look is a second later."""

    def __init__(self) -> None:
        self.now, self.process_time = 0.0, time.process_time

    def perf_counter(self) -> float:
        self.now += 1.0
        return self.now


def test_checkpoints_that_take_long_are_written_seldom(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("suite.running.training.time", Clock())
    monkeypatch.setattr("suite.running.training.LONG", 0.5)
    monkeypatch.setattr("suite.running.training.SELDOM", 5)
    home = stopped(tmp_path, TOY_PPO, 2 * UPDATES)
    folders = sorted(path.name for path in (home / "checkpoints").iterdir())
    # The first one and, five times as long as it took later, another; two are left out.
    assert folders == ["1", "3"]
    assert notes(list(start(tmp_path, TOY_PPO))) == ["continues from iteration 4"]
    assert contents(home) == uninterrupted("ppo")


def test_another_specification_in_the_folder_is_refused(tmp_path: Path):
    home = stopped(tmp_path, TOY_PPO, 4)
    other = TOY_PPO.with_settings({"agent.n_epochs": 3})
    write_json(home / "spec.json", other.to_json())
    with pytest.raises(ConfigError, match="holds another specification"):
        next(start(tmp_path, TOY_PPO))


def test_another_device_is_refused(tmp_path: Path):
    stopped(tmp_path, TOY_PPO, 4)
    with pytest.raises(ConfigError, match="begun on cpu; go on with --device cpu"):
        next(start(tmp_path, TOY_PPO, device="cuda"))
    assert notes(list(start(tmp_path, TOY_PPO, device="auto")))


def test_other_versions_are_told_and_stay_in_the_result(tmp_path, monkeypatch):
    home = stopped(tmp_path, TOY_PPO, 4)
    ours = provenance()
    theirs = {**ours, "versions": {**ours["versions"], "torch": "9"}, "git_commit": "c"}
    monkeypatch.setattr("suite.runs.provenance", lambda: theirs)
    told = notes(list(start(tmp_path, TOY_PPO)))
    assert told[0].startswith("not what it was begun with, so results may differ: git_")
    assert f"torch {ours['versions']['torch']}, now 9" in told[0]
    assert told[0] in (home / "run.log").read_text()
    result = read_json(home / "result.json")
    assert result["versions"] == ours["versions"]
    assert result.pop("resumed_with") == [theirs]


FORGETFUL = {
    "call": "test_resume:Forgetful",
    "kwargs": {"policy": "MlpPolicy", "n_steps": 8, "batch_size": 16},
}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"wrappers": [{"call": "toys:Shift", "kwargs": {"by": 0.5}}]},
            "the wrapper Shift has no snapshot",
        ),
        ({"agent": FORGETFUL}, "Forgetful has no state and load_state"),
    ],
)
def test_a_run_that_cannot_be_saved_says_so_once_and_goes_on(
    tmp_path: Path, settings: dict[str, Any], reason: str
):
    spec = TOY.with_settings(settings)
    (told,) = notes(list(start(tmp_path, spec)))
    assert told.startswith(f"an interruption will lose this run: {reason}")
    folder = RunFolder.of(spec, tmp_path)
    assert folder.result(0) is not None
    assert told in (folder.seed(0) / "run.log").read_text()


class Forgetful:
    """An agent with nothing but what a run needs."""

    def __init__(self, env: Any, policy: str, n_steps: int, batch_size: int):
        self._ppo = PPO(policy, env, n_steps=n_steps, batch_size=batch_size)
        for name in ("policy", "env", "iterate", "planned_updates"):
            setattr(self, name, getattr(self._ppo, name))

    @property
    def num_timesteps(self) -> int:
        return self._ppo.num_timesteps

    @property
    def sim_steps(self) -> int:
        return self._ppo.sim_steps


class PassingOn(gym.vector.VectorWrapper):
    """A wrapper with a memory, that offers the snapshots of what it wraps."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)


def test_a_layer_that_only_passes_snapshots_on_is_not_restorable():
    inner = TOY.make_env(2)
    assert restorable(inner) is inner
    outer = PassingOn(inner)
    assert isinstance(outer, Restorable)
    with pytest.raises(NotRestorable, match="PassingOn has no snapshot, restore"):
        restorable(outer)


def _drop(*path: str) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        del tree[path[-1]]

    return change


def _turn(turned: Callable[[Any], Any], *path: str) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = turned(tree[path[-1]])

    return change


WEIGHT = "action_net.weight"
MISFITS = {
    "no learner": _drop("learner"),
    "no weight": _drop("learner", "policy", WEIGHT),
    "weight of float64": _turn(lambda x: x.double(), "learner", "policy", WEIGHT),
    "weight of other shape": _turn(lambda x: x.T, "learner", "policy", WEIGHT),
    "weight as array": _turn(lambda x: x.numpy(), "learner", "policy", WEIGHT),
    "memory of float64": _turn(
        lambda x: x.double(), "learner", "optimizer", "memory", "0", "exp_avg"
    ),
    "memory of other shape": _turn(
        lambda x: x[:1], "learner", "optimizer", "memory", "1", "exp_avg"
    ),
    "memory of nobody": _turn(
        lambda x: {**x, "99": {}}, "learner", "optimizer", "memory"
    ),
    "no learning rate": _turn(lambda x: [], "learner", "optimizer", "learning_rates"),
    "steps as text": _turn(str, "learner", "counters", "num_timesteps"),
    "other counter": _turn(lambda x: {**x, "__class__": 1}, "learner", "counters"),
    "obs of float64": _turn(lambda x: x.astype(float), "learner", "obs"),
    "fewer rows": _turn(lambda x: x[:2], "learner", "env", "state", "elapsed"),
    "rng of float64": _turn(
        lambda x: x.astype(float), "learner", "env", "state", "rng"
    ),
    "another layer": _turn(lambda x: {"state": {}, "inner": x}, "learner", "env"),
    "a strange estimator": _turn(lambda x: {"calls": 1}, "learner", "advantage"),
    "torch generator": _turn(lambda x: x[:8], "random", "torch"),
    "numpy generator": _turn(lambda x: {}, "random", "numpy"),
    "python generator": _turn(lambda x: x[:4], "random", "python", "words"),
    "torn table": _turn(lambda x: x + "1,2\n", "tables", "metrics"),
    "no clock": _drop("clock"),
}


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped(tmp_path_factory.mktemp("half"), TOY_PPO, 4)


@pytest.mark.parametrize("kind", MISFITS)
def test_an_intact_checkpoint_of_something_else_is_refused(tmp_path, half_done, kind):
    home = RunFolder.of(TOY_PPO, tmp_path).seed(0)
    shutil.copytree(half_done, home)
    found = Checkpoints(home / "checkpoints").newest()
    assert found
    MISFITS[kind](found.tree)
    Checkpoints(home / "checkpoints").save(2, found.tree)
    with pytest.raises(IntegrityError, match="checkpoints/2 is not of this benchmark"):
        next(start(tmp_path, TOY_PPO))


# ------------------------------------------------------------------ the agent by itself
def toy_agent(seed: int = 0) -> PPO:
    env = TOY_PPO.make_env(4, "same_step")
    return PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=2, seed=seed)


def parameters(agent: PPO) -> np.ndarray:
    flat = torch.nn.utils.parameters_to_vector(agent.policy.parameters())
    return flat.detach().numpy()


def test_an_agent_that_takes_over_a_state_does_not_reset_its_environment(monkeypatch):
    one = toy_agent()
    next(one.iterate(96))
    two = toy_agent(seed=1)
    two.load_state(one.state())
    assert isinstance(two, Learner)
    assert two.env is not None
    monkeypatch.setattr(two.env, "reset", None)
    assert len(list(two.iterate(96))) == 2
    assert (two.num_timesteps, two.sim_steps, two._n_updates) == (96, 96, 6)


def test_an_agent_that_took_over_a_state_can_begin_anew():
    one, two = toy_agent(), toy_agent()
    next(one.iterate(96))
    two.load_state(one.state())
    assert len(list(two.iterate(96))) == 2
    assert len(list(two.iterate(96))) == 3  # as SB3's learn does


def test_a_state_from_before_the_first_iteration_loads():
    one, two = toy_agent(), toy_agent(seed=1)
    two.load_state(one.state())
    assert np.array_equal(parameters(one), parameters(two))
    assert len(list(two.iterate(64))) == 2


def test_sb3_learns_and_saves_an_agent_that_took_over_a_state(tmp_path: Path):
    one, two = toy_agent(), toy_agent()
    next(one.iterate(64))
    two.load_state(one.state())
    two.learn(32, reset_num_timesteps=False)
    assert two.num_timesteps == 64
    two.save(tmp_path / "agent.zip")
    loaded = PPO.load(tmp_path / "agent.zip")
    assert np.array_equal(parameters(loaded), parameters(two))


def test_an_environment_of_sb3_alone_cannot_be_saved():
    with pytest.raises(NotRestorable, match="DummyVecEnv has no snapshot"):
        PPO("MlpPolicy", "CartPole-v1").state()


# ------------------------------------------------------------------------------- kills
KILLED = """
import os, signal, sys
import toys
from suite.running.process import prepare_process
prepare_process()
import torch
from suite import storage
from suite.agents import collection
from suite.agents.ppo import PPO
from suite.benchmark import Benchmark
from suite.running.run_folder import RunFolder
from suite.runs import run_seed
from suite.storage import read_json

point, calls, spec, out = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
spec = Benchmark.from_json(read_json(__import__("pathlib").Path(spec)))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def hook(owner, name):
    real, seen = getattr(owner, name), []
    def hooked(*args, **kwargs):
        seen.append(1)
        if len(seen) == calls:
            die()
        return real(*args, **kwargs)
    setattr(owner, name, hooked)

def half_a_write(path, content, real=storage._write_synced):
    if path.parent.name.startswith(".2.tmp-") and path.name == "tree.json":
        path.write_bytes(content[: len(content) // 2])
        die()
    real(path, content)

if point == "collection":
    hook(collection, "_ends")
elif point == "update":
    hook(torch.nn.utils, "clip_grad_norm_")
elif point == "plan":
    from suite.agents.planned_policy import PlannedPolicy
    hook(PlannedPolicy, "plan")
elif point in ("fit", "refit"):
    from suite.worldmodels.fit import Fit
    hook(Fit, "_step")
elif point == "gradient":
    from suite.agents.offline_learner import OfflineLearner
    hook(OfflineLearner, "update")
elif point == "policy":
    from suite.agents.first_order import FirstOrderUpdate
    hook(FirstOrderUpdate, "update")
elif point == "latent":
    from suite.worldmodels.latent_fit import LatentFit
    hook(LatentFit, "update")
elif point == "soft":
    from suite.agents.soft_update import SoftUpdate
    hook(SoftUpdate, "update")
else:
    storage._write_synced = half_a_write
folder = RunFolder(out)
for _ in run_seed(spec, folder, 0, device="cpu", threads=1):
    pass
"""
# The calls are of the second iteration: 8 (10) steps and 4 minibatches make one, or 4
# updates on data.
POINTS = {
    "collection": {"toy": 12, "smoke": 15},
    "update": {"toy": 6, "smoke": 6},
    "gradient": {"toy": 6},
    # An evaluation has up to 10 plans, the first iteration's fit 8 steps.
    "plan": {"toy": 12},
    "fit": {"toy": 10, "model": 6},
    # The first iteration explores and has none of both.
    "soft": {"toy": 6},
    "refit": {"toy": 4},
    # The first iteration has one block of updates, three of the model more.
    "policy": {"toy": 3},
    "latent": {"toy": 8},
}
ONLINE, OFFLINE = ("ppo", "awr", "rerollout", "smoke"), ("iql", "cql")
MODEL_BASED, OFF_POLICY = ("mpc", "model"), ("sac", "mbpo", "dyna")
KILLS = [
    *((name, point) for name in ONLINE for point in ("collection", "update")),
    *((name, "gradient") for name in OFFLINE),
    ("mpc", "plan"),
    *((name, "fit") for name in MODEL_BASED),
    *((name, "soft") for name in OFF_POLICY),
    *((name, "refit") for name in ("mbpo", "dyna")),
    *(("pwm", point) for point in ("policy", "latent", "checkpoint")),
    *((name, "checkpoint") for name in (*ONLINE, *OFFLINE, *MODEL_BASED, *OFF_POLICY)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "point"), KILLS)
def test_a_run_killed_anywhere_resumes_to_the_same_bytes(tmp_path, name, point):
    spec = {**RESUMABLE, "smoke": SMOKE}[name]
    folder = RunFolder.of(spec, tmp_path)
    write_json(tmp_path / "spec.json", spec.to_json())
    counts = POINTS.get(point, {})
    calls = counts.get(name, counts.get("toy", 0))
    killed = subprocess.run(
        [
            *(sys.executable, "-c", KILLED, point, str(calls)),
            *(str(tmp_path / "spec.json"), str(folder.path)),
        ],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert killed.returncode == -9, killed.stderr
    assert folder.saved(0) == 1 and folder.result(0) is None
    if point == "checkpoint":
        assert list((folder.seed(0) / "checkpoints").glob(".2.tmp-*"))
    done = CliRunner().invoke(main, ["resume", str(folder.path)])
    assert done.exit_code == 0, done.stderr
    assert "seed 0  continues from iteration 2\n" in done.stderr
    assert contents(folder.seed(0)) == uninterrupted(name)


def one_of_each_kind() -> list[str]:
    """The last of those benchmarks that differ in numbers only."""
    found: dict[Any, str] = {}
    for name in names():
        agent = get(name).agent
        advantage = getattr(agent.kwargs.get("advantage"), "call", None)
        needs = bool(references(get(name)))
        found[agent.call, advantage, needs] = name
    return list(found.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of_each_kind())
def test_another_process_computes_the_same_bytes(tmp_path, monkeypatch, name):
    arguments = ["run", name, "--scale", "smoke", "--threads", "1", "--device", "cpu"]
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for reference in references(get(name).at_scale("smoke")):
            needed, _, seed = referred(reference)
            folder = RunFolder.of(needed, tmp_path / place / "runs")
            list(run_seed(needed, folder, seed, device="cpu"))
    code = "from suite_bench.main import main; main()"
    there = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path / "there",
        env=environment(),
    )
    assert there.returncode == 0, there.stderr
    monkeypatch.chdir(tmp_path / "here")
    assert CliRunner().invoke(main, arguments).exit_code == 0
    (one,) = (tmp_path / "here" / "runs" / name).rglob("seed-0")
    (other,) = (tmp_path / "there" / "runs" / name).rglob("seed-0")
    assert contents(one) == contents(other)
    assert "result.json" in contents(one)


def environment() -> dict[str, str]:
    """Of a process that finds what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
