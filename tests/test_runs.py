from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from toys import TOY

from suite import benchmark, runs, storage
from suite.agents.policies import load_policy
from suite.benchmark import Benchmark, get
from suite.parts import ConfigError
from suite.running.process import cores, env_seed, prepare_process, provenance
from suite.running.run_folder import RunBusy, RunFolder, summary
from suite.runs import Progress, run_seed
from suite.storage import (
    IntegrityError,
    Table,
    read_directory,
    read_json,
    read_table,
    write_directory,
    write_json,
)

FILES = {"card.json": b'{"a": 1}\n', "weights.bin": bytes(range(40))}


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(benchmark._registered, "toy", TOY)


def run(
    out: Path, spec: Benchmark = TOY, seed: int = 0, **kwargs: Any
) -> tuple[Path, list[Progress]]:
    """Run a seed to its end; its folder and what it told on the way."""
    folder = RunFolder.of(spec, out)
    told = list(run_seed(spec, folder, seed, device="cpu", **kwargs))
    return folder.seed(seed), told


# ------------------------------------------------------------------------- run folder
def test_a_run_leaves_the_files_that_its_docstring_promises(tmp_path: Path):
    home, _ = run(tmp_path)
    assert home == tmp_path / "toy" / f"default-{TOY.digest[:8]}" / "seed-0"
    assert {path.name for path in home.iterdir()} == {
        *("spec.json", "origin.json", "metrics.csv", "eval.csv", "run.log"),
        *("timing.csv", "timing.json", "policies", "policy", "result.json"),
    }
    assert {path.name for path in (home / "policies").iterdir()} == {"0", "2"}
    assert Benchmark.from_json(read_json(home / "spec.json")) == TOY


def test_each_iteration_is_evaluated_before_its_update_and_the_end_once_more(
    tmp_path: Path,
):
    home, told = run(tmp_path)
    kinds = ["eval" if each.evaluation else "update" for each in told]
    assert kinds == ["eval", "update"] * 3 + ["eval"]
    rows = read_table(home / "eval.csv")
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    assert [row["updates"] for row in rows] == [0, 1, 2, 3]
    assert [row["timesteps"] for row in rows] == [0, 32, 64, 96]
    assert [row["iteration"] for row in read_table(home / "metrics.csv")] == [1, 2, 3]
    assert {each.total_updates for each in told} == {3}


def test_evaluations_can_be_rare_but_never_leave_out_the_end(tmp_path: Path):
    home, _ = run(tmp_path, TOY.with_settings({"every": 2}))
    assert [row["updates"] for row in read_table(home / "eval.csv")] == [0, 2, 3]


def test_the_result_says_what_the_evaluations_found(tmp_path: Path):
    home, _ = run(tmp_path, command="suite-bench run toy")
    values = [row["success_log_metric"] for row in read_table(home / "eval.csv")]
    result = read_json(home / "result.json")
    assert result["final"] == values[-1]
    assert result["peak"] == max(values)
    assert result["peak_iteration"] == values.index(max(values)) + 1
    assert result["mean_of_last_3"] == pytest.approx(sum(values[-3:]) / 3)
    assert (result["timesteps"], result["sim_steps"]) == (96, 96)
    assert result["command"] == "suite-bench run toy"
    assert result["device"] == "cpu"
    assert result["versions"]["torch"] == torch.__version__
    timing = read_json(home / "timing.json")
    assert timing["sessions"][0]["threads"] == cores()
    assert timing["seconds"]["total"] >= timing["seconds"]["evaluation"] > 0
    assert timing["cpu_seconds"] > 0


def test_the_kept_policy_is_the_one_that_was_evaluated_last(tmp_path: Path):
    home, _ = run(tmp_path)
    first = load_policy(home / "policies" / "0").state_dict()
    last = load_policy(home / "policy").state_dict()
    assert not torch.equal(first["action_net.weight"], last["action_net.weight"])
    card = json.loads((home / "policy" / "card.json").read_bytes())
    assert card["updates"] == 3
    assert card["evaluation"] == read_table(home / "eval.csv")[-1]


def test_only_timing_and_log_hold_wall_clock_values(tmp_path: Path):
    names = ("metrics.csv", "eval.csv", "spec.json", "origin.json", "result.json")
    one, two = (run(tmp_path / name, threads=n)[0] for name, n in (("a", 1), ("b", 2)))
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert read_directory(one / "policy") == read_directory(two / "policy")
    assert "time/" not in (one / "metrics.csv").read_text()


def test_another_seed_is_another_run(tmp_path: Path):
    one, two = (run(tmp_path, seed=seed)[0] for seed in (0, 1))
    assert (one / "metrics.csv").read_bytes() != (two / "metrics.csv").read_bytes()


def test_training_is_the_same_whatever_is_evaluated(tmp_path: Path):
    often, rarely = (
        run(tmp_path, TOY.with_settings(settings))[0]
        for settings in ({}, {"every": 9, "evaluation.min_episodes": 50})
    )
    assert (often / "metrics.csv").read_bytes() == (rarely / "metrics.csv").read_bytes()
    tensors = "policy.safetensors"
    assert (often / "policy" / tensors).read_bytes() == (
        rarely / "policy" / tensors
    ).read_bytes()


def test_a_finished_seed_is_skipped_unless_asked_afresh(tmp_path: Path):
    home, _ = run(tmp_path)
    before = (home / "result.json").read_bytes()
    assert run(tmp_path)[1] == []
    assert (home / "result.json").read_bytes() == before
    assert len(run(tmp_path, fresh=True)[1]) == 7


def test_a_seed_stopped_before_its_first_update_starts_over(tmp_path: Path):
    folder = RunFolder.of(TOY, tmp_path)
    started = run_seed(TOY, folder, 0, device="cpu")
    next(started)
    started.close()
    home = folder.seed(0)
    assert folder.result(0) is None and folder.saved(0) is None
    assert "stopped: GeneratorExit" in (home / "run.log").read_text()
    (home / "leftover").write_text("of the first try")
    run(tmp_path)
    assert not (home / "leftover").exists()
    assert len(read_table(home / "eval.csv")) == 4


def test_two_runs_into_one_folder_are_refused(tmp_path: Path):
    folder = RunFolder.of(TOY, tmp_path)
    first = run_seed(TOY, folder, 0, device="cpu")
    next(first)
    with pytest.raises(RunBusy, match=r"another run is writing into .*seed-0"):
        next(run_seed(TOY, folder, 0, device="cpu", fresh=True))
    list(run_seed(TOY, folder, 1, device="cpu"))  # another seed is another folder
    assert len(list(first)) == 6
    assert list(run_seed(TOY, folder, 0)) == []


def test_a_start_policy_is_taken_over_with_a_fresh_critic(tmp_path: Path):
    base, _ = run(tmp_path, seed=5)
    spec = TOY.with_settings({"start": str(base / "policy"), "total_timesteps": 0})
    home, _ = run(tmp_path, spec)
    start = load_policy(base / "policy").state_dict()
    taken = load_policy(home / "policy").state_dict()
    for name in ("action_net.weight", "action_net.bias", "log_std"):
        assert torch.equal(start[name], taken[name])
    assert not torch.equal(start["value_net.weight"], taken["value_net.weight"])


def test_a_damaged_start_policy_is_refused_by_file(tmp_path: Path):
    base, _ = run(tmp_path)
    weights = base / "policy" / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match=r"policy\.safetensors is damaged"):
        run(tmp_path, TOY.with_settings({"start": str(base / "policy")}))


def test_a_training_that_diverges_is_named(tmp_path: Path):
    spec = TOY.with_settings({"agent.learning_rate": 1e30, "agent.max_grad_norm": 1e30})
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        run(tmp_path, spec)
    folder = RunFolder.of(spec, tmp_path)
    assert folder.result(0) is None
    assert "stopped: FloatingPointError" in (folder.seed(0) / "run.log").read_text()


def test_an_evaluation_without_the_metric_is_refused(tmp_path: Path):
    document = {**TOY.to_json(), "metric": "success"}
    with pytest.raises(ConfigError, match="gives no 'success', the metric of toy"):
        run(tmp_path, Benchmark.from_json(document))


def test_nothing_is_left_of_a_run_that_cannot_be_built(tmp_path: Path):
    spec = TOY.with_settings({"agent.n_epochs": 0})
    with pytest.raises(ValueError, match="n_epochs must be 1"):
        run(tmp_path, spec)
    folder = RunFolder.of(spec, tmp_path)
    assert folder.seeds() == [] and not folder.seed(0).exists()


def test_a_run_that_was_begun_survives_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = RunFolder.of(TOY, tmp_path)
    begun = run_seed(TOY, folder, 0, device="cpu")
    for _ in range(3):
        next(begun)
    begun.close()
    saved = folder.saved(0)
    assert saved is not None and saved > 0

    def refuse(*args: Any) -> None:
        raise ConfigError("no longer known")

    with monkeypatch.context() as here, pytest.raises(ConfigError, match="no longer"):
        here.setattr(runs, "Training", refuse)
        run(tmp_path)
    assert folder.saved(0) == saved
    _, told = run(tmp_path)
    assert any("continues from" in (each.note or "") for each in told)


def test_cuda_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = RunFolder.of(TOY, tmp_path)
    with pytest.raises(ConfigError, match="no CUDA device; use --device cpu"):
        next(run_seed(TOY, folder, 0, device="cuda"))


def test_pickcube_ppo_runs_what_the_plain_call_does(tmp_path: Path):
    from suite.agents.advantages import GAE
    from suite.agents.ppo import PPO

    home, _ = run(tmp_path, get("pickcube-ppo").at_scale("smoke"), seed=3)
    env = gym.make_vec(
        "PickCube-v0",
        num_envs=4,
        vectorization_mode="vector_entry_point",
        autoreset_mode="same_step",
    )
    agent = PPO(
        "MlpPolicy",
        env,
        advantage=GAE(0.8, 0.9, bootstrap_on_success=True),
        n_steps=10,
        batch_size=20,
        n_epochs=2,
        gamma=0.8,
        gae_lambda=0.9,
        vf_coef=0.25,
        target_kl=0.1 / 1.5,
        learning_rate=3e-4,
        max_grad_norm=0.5,
        ent_coef=0.0,
        seed=3,
        device="cpu",
        policy_kwargs={
            "net_arch": {"pi": [256] * 3, "vf": [256] * 3},
            "activation_fn": torch.nn.Tanh,
            "log_std_init": -0.5,
        },
    )
    assert agent.env is not None
    agent.env.seed(env_seed(3))
    for _ in agent.iterate(80):
        pass
    ours = load_policy(home / "policy").state_dict()
    for name, expected in agent.policy.state_dict().items():
        assert torch.equal(ours[name], expected), name


# ------------------------------------------------------------------------- its report
def results(folder: RunFolder, seed: int, values: list[float], *, done: bool) -> None:
    home = folder.seed(seed)
    home.mkdir(parents=True)
    write_json(home / "spec.json", TOY.to_json())
    table = Table(home / "eval.csv")
    for updates, value in enumerate(values):
        row = {"iteration": updates + 1, "updates": updates, "timesteps": 32 * updates}
        table.append({**row, "sim_steps": 0, "success_log_metric": value})
    result = {
        "schema": 2,
        "updates": len(values) - 1,
        "final": values[-1],
        "mean_of_last_3": sum(values[-3:]) / 3,
        "peak": max(values),
        **{"timesteps": 96, "sim_steps": 960},
    }
    if done:
        write_json(home / "timing.json", {"seconds": {"total": 2.0}})
        write_json(home / "result.json", result)


def test_a_summary_puts_the_mean_over_seeds_beside_the_reference(tmp_path: Path):
    folder = RunFolder.of(TOY, tmp_path)
    results(folder, 0, [0.0, 0.2, 0.9, 0.6], done=True)
    results(folder, 1, [0.1, 0.4, 0.5, 0.8], done=True)
    found = summary(folder)
    rows = found["rows"]
    assert [row["reference"] for row in rows] == [0.1, 0.2, 0.3, 0.5]
    means = [row["success_log_metric"]["mean"] for row in rows]
    assert means == pytest.approx([0.05, 0.3, 0.7, 0.7])
    # Two seeds: t(1, 97.5 %) = 12.7062 times half their distance.
    last = rows[-1]["success_log_metric"]
    assert last["high"] - last["mean"] == pytest.approx(12.7062 * 0.1, rel=1e-5)
    assert [row["is_end"] for row in rows] == [False, False, False, True]
    assert found["final"]["mean"] == pytest.approx(0.7)
    assert found["final"]["reference"] == 0.5
    assert found["peak"]["mean"] == pytest.approx((0.9 + 0.8) / 2)
    assert found["mean_of_last_3"]["reference"] == pytest.approx(1.0 / 3)
    assert (found["sim_steps"], found["seconds"]) == (960, 2.0)
    json.dumps(found, allow_nan=False)


def test_a_summary_tells_unfinished_seeds_and_leaves_them_out_of_totals(tmp_path: Path):
    folder = RunFolder.of(TOY, tmp_path)
    results(folder, 0, [0.0, 0.2, 0.9, 0.6], done=True)
    results(folder, 3, [1.0], done=False)
    found = summary(folder)
    assert (found["seeds"], found["unfinished"]) == ([0, 3], [3])
    assert found["rows"][0]["success_log_metric"]["mean"] == 0.5
    assert (found["final"]["mean"], found["final"]["seeds"]) == (0.6, 1)


def test_a_summary_compares_only_where_as_many_steps_lie_behind(tmp_path: Path):
    spec = TOY.with_settings({"env.num_envs": 2, "total_timesteps": 32})
    home, _ = run(tmp_path, spec)
    found = summary(RunFolder(home.parent))
    assert [row["timesteps"] for row in found["rows"]] == [0, 16, 32]
    assert [row["reference"] for row in found["rows"]] == [0.1, None, None]
    assert found["final"]["reference"] is None


def test_a_folder_without_runs_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="there are no runs in"):
        summary(RunFolder(tmp_path))


# ------------------------------------------------------------------- hashed directory
def test_what_was_written_is_read_back(tmp_path: Path):
    write_directory(tmp_path / "it", FILES, {"torch": "2.13"})
    assert read_directory(tmp_path / "it") == FILES
    assert json.loads((tmp_path / "it" / "MANIFEST.json").read_bytes())["extra"] == {
        "torch": "2.13"
    }
    assert os.listdir(tmp_path) == ["it"]


def test_a_directory_that_is_there_is_replaced(tmp_path: Path):
    write_directory(tmp_path / "it", FILES)
    write_directory(tmp_path / "it", {"other": b"new"})
    assert read_directory(tmp_path / "it") == {"other": b"new"}
    assert os.listdir(tmp_path) == ["it"]


@pytest.mark.parametrize("ours", [False, True])
def test_what_somebody_else_has_written_is_not_replaced(tmp_path: Path, ours: bool):
    home = tmp_path / "it"
    if ours:
        write_directory(home, FILES)
    home.mkdir(exist_ok=True)
    (home / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds thesis.*, which was not"):
        write_directory(home, FILES)
    assert (home / "thesis.txt").read_text() == "mine"
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is no directory; give a name"):
        write_directory(tmp_path / "notes.txt", FILES)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["it", "notes.txt"]


def test_an_empty_directory_and_a_damaged_one_of_ours_are_replaced(tmp_path: Path):
    (tmp_path / "it").mkdir()
    write_directory(tmp_path / "it", FILES)
    (tmp_path / "it" / "MANIFEST.json").write_bytes(b"damaged")
    write_directory(tmp_path / "it", FILES)
    assert read_directory(tmp_path / "it") == FILES


def test_every_flipped_bit_is_found_and_its_file_named(tmp_path: Path):
    write_directory(tmp_path / "it", FILES)
    flips = 0
    for path in sorted((tmp_path / "it").iterdir()):
        content = path.read_bytes()
        for position in range(len(content)):
            flipped = bytearray(content)
            flipped[position] ^= 1 << position % 8
            path.write_bytes(flipped)
            with pytest.raises(IntegrityError, match=path.name):
                read_directory(tmp_path / "it")
            flips += 1
        path.write_bytes(content)
    assert flips > 300
    assert read_directory(tmp_path / "it") == FILES


def _truncate(it: Path) -> None:
    (it / "weights.bin").write_bytes(FILES["weights.bin"][:-1])


def _link(it: Path) -> None:
    (it / "weights.bin").rename(it.parent / "weights.bin")
    (it / "weights.bin").symlink_to(it.parent / "weights.bin")


def _point_outside(it: Path) -> None:
    (it.parent / "secret").write_bytes(b"s")
    body = {"schema": 1, "files": {"../secret": storage._entry(b"s")}, "extra": {}}
    (it / "MANIFEST.json").write_bytes(storage._render_manifest(body))


def _come_from_the_future(it: Path) -> None:
    body = {"schema": 2, "files": {}, "extra": {}}
    (it / "MANIFEST.json").write_bytes(storage._render_manifest(body))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_truncate, r"weights\.bin is damaged"),
        (lambda it: (it / "weights.bin").unlink(), r"weights\.bin is missing"),
        (lambda it: (it / "more").write_bytes(b""), r"more is not in MANIFEST"),
        (lambda it: (it / "MANIFEST.json").unlink(), r"MANIFEST\.json is missing"),
        (lambda it: (it / "MANIFEST.json").write_bytes(b"[]"), r"MANIFEST.* damaged"),
        (_link, "not a plain file"),
        (_point_outside, r"'\.\./secret', which is not a plain file name"),
        (_come_from_the_future, "has schema 2, this version reads 1"),
    ],
)
def test_a_directory_that_was_tampered_with_is_refused(tmp_path, damage, complaint):
    write_directory(tmp_path / "it", FILES)
    damage(tmp_path / "it")
    with pytest.raises(IntegrityError, match=complaint):
        read_directory(tmp_path / "it")


@pytest.mark.parametrize("name", ["../up", "a/b", "/etc/x", ".hidden", "MANIFEST.json"])
def test_a_name_that_is_no_plain_file_name_is_not_written(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="plain name"):
        write_directory(tmp_path / "it", {name: b""})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", range(5))
def test_a_full_disk_at_any_moment_leaves_the_old_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
):
    write_directory(tmp_path / "it", FILES)
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > call:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    new = {"card.json": b"new", "weights.bin": b"new"}
    with pytest.raises(OSError, match="No space left"):
        write_directory(tmp_path / "it", new)
    # Four syncs precede the renaming (two files, the manifest, the directory).
    assert read_directory(tmp_path / "it") == (FILES if call < 4 else new)
    assert os.listdir(tmp_path) == ["it"]


# ------------------------------------------------------------------------ small files
def test_a_table_is_complete_after_every_row_and_takes_new_columns(tmp_path: Path):
    table = Table(tmp_path / "t.csv")
    table.append({"a": 1, "b": 0.1})
    assert (tmp_path / "t.csv").read_text() == "a,b\n1,0.1\n"
    table.append({"a": 2})
    table.append({"a": 3, "c": 1e-30})
    assert (tmp_path / "t.csv").read_text() == "a,b,c\n1,0.1,\n2,,\n3,,1e-30\n"
    assert read_table(tmp_path / "t.csv")[2] == {"a": 3.0, "c": 1e-30}


def test_files_that_are_not_what_they_should_be_are_named(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a\nx\n")
    with pytest.raises(IntegrityError, match=r"t\.csv is damaged"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"r\.json is not JSON"):
        read_json(tmp_path / "r.json")


# -------------------------------------------------------------------------- process
def test_the_process_is_prepared_for_one_torch_thread_and_a_silent_gym():
    import gym_notices.notices

    gym_notices.notices.notices["x"] = "Gym has been unmaintained"
    prepare_process()
    assert gym_notices.notices.notices == {}
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert torch.get_num_threads() == 1


def test_an_installed_copy_inside_a_strange_repository_claims_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("suite.running.process.__file__", str(tmp_path / "process.py"))
    assert provenance()["git_commit"] is None


def test_runs_exports_what_policies_are_stored_with():
    assert runs.IntegrityError is storage.IntegrityError
    assert runs.write_directory is storage.write_directory
