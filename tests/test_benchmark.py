from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from toys import TOY, Shift

from suite import benchmark
from suite.benchmark import Benchmark, Env, get, names, register
from suite.parts import (
    ConfigError,
    Part,
    Ref,
    arguments,
    build,
    from_json,
    frozen,
    to_json,
)
from suite.running.artefacts import references, referred
from suite.runs import RunFolder, run_seed
from suite.settings import label, parse
from suite.unknown_names import UnknownName

# Every registered one is swept; nothing needs to be named here.
OURS = names()
SCALED = [(name, scale) for name in OURS for scale in get(name).scales]
RESULTS = [
    path
    for path in sorted(Path(__file__).parents[1].glob("docs/results/*/*/seed-*"))
    if path.parts[-3] in OURS  # the others are of sweeps
]


SHIFT = {"call": "toys:Shift", "kwargs": {"by": 1.0}}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    monkeypatch.setitem(benchmark._registered, "toy", TOY)
    return TOY


# ------------------------------------------------------------------------ every one
def test_the_sweep_finds_something():
    main = {"pickcube-awr", "pickcube-gae", "pickcube-logstd", "pickcube-ppo"}
    assert main <= set(OURS) and len(RESULTS) >= 10


@pytest.mark.parametrize("name", OURS)
def test_a_specification_survives_json_and_pickle(name: str):
    spec = get(name)
    again = Benchmark.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.digest == spec.digest
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize(("name", "scale"), SCALED)
def test_every_scale_applies_and_names_arguments_that_exist(name: str, scale: str):
    spec = get(name).at_scale(scale)
    spec.check()
    # One that only runs more seeds computes the same with each of them.
    scales = get(name).scales
    assert spec.label in [
        each for each in scales if get(name).at_scale(each).digest == spec.digest
    ]
    assert set(spec.checkpoint_at) <= set(range(updates(spec) + 1))


@pytest.mark.parametrize("name", OURS)
def test_every_benchmark_says_how_long_each_scale_takes(name: str):
    scales = get(name).scales
    others = ("bf16",)  # which some have
    usual = [scale for scale in scales if scale not in others]
    assert usual == ["smoke", "quick", "default", "paper"]
    assert all(scale.time for scale in scales.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_a_smoke_run_ends_with_its_metric(name: str, tmp_path: Path):
    # It must take seconds; benchmarks/sizes.py has sizes for that.
    spec = get(name).at_scale("smoke")
    for reference in references(spec):
        needed, _, seed = referred(reference)
        list(run_seed(needed, RunFolder.of(needed, tmp_path), seed, device="cpu"))
    folder = RunFolder.of(spec, tmp_path)
    list(run_seed(spec, folder, 0, device="cpu"))
    result = folder.result(0)
    assert result is not None and np.isfinite(result["final"])


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_committed_result_lies_where_its_specification_says(path: Path):
    """A changed digest or label would orphan it: a later run would not find it."""
    spec = Benchmark.from_json(json.loads((path / "spec.json").read_text()))
    assert RunFolder.of(spec, path.parents[2]).path == path.parent


def updates(spec: Benchmark) -> int:
    batch = spec.env.num_envs * spec.agent.kwargs.get("n_steps", 1)
    return spec.total_timesteps // batch


# ------------------------------------------------- against the log's settings tables
def test_awr_has_the_settings_of_the_log():
    spec = get("pickcube-awr")
    agent = spec.agent.kwargs
    rerollout = agent["advantage"].kwargs
    batch = spec.env.num_envs * agent["n_steps"]
    assert {
        "num_envs": spec.env.num_envs,
        "num_steps": agent["n_steps"],
        "batch_size": batch,
        "num_minibatches": batch // agent["batch_size"],
        "minibatch_size": agent["batch_size"],
        "update_epochs": agent["n_epochs"],
        "mc_samples": rerollout["samples"],
        "samples_per_env": 2 * rerollout["samples"],
        "num_mc_envs": 2 * rerollout["samples"] * spec.env.num_envs,
        "gamma": rerollout["gamma"],
        "awr_beta": agent["beta"],
        "awr_max_weight": agent["max_weight"],
        "total_timesteps": spec.total_timesteps,
        "iterations": updates(spec),
        "reward": spec.env.kwargs["reward_mode"],
        "checkpoint": spec.start,
        "optimal_checkpoint": rerollout["policy"].kwargs["name"],
        "critic": agent["vf_coef"],
    } == {
        "num_envs": 100,
        "num_steps": 50,
        "batch_size": 5000,
        "num_minibatches": 5,
        "minibatch_size": 1000,
        "update_epochs": 200,
        "mc_samples": 16,
        "samples_per_env": 32,
        "num_mc_envs": 3200,
        "gamma": 0.8,
        "awr_beta": 0.5,
        "awr_max_weight": 20.0,
        "total_timesteps": 50_000,
        "iterations": 10,
        "reward": "sparse",
        "checkpoint": "pickcube-expert",
        "optimal_checkpoint": "pickcube-optimal",
        "critic": 0.0,
    }


def test_gae_has_the_settings_of_the_log():
    spec = get("pickcube-gae")
    agent = spec.agent.kwargs
    assert spec.env == get("pickcube-awr").env
    assert spec.start == get("pickcube-awr").start
    assert to_json(agent["advantage"])["kwargs"] == {
        "gamma": 0.8,
        "lam": 0.9,
        "bootstrap_on_success": False,
    }
    assert (updates(spec), agent["n_epochs"], agent["batch_size"]) == (10, 100, 1000)
    assert (agent["clip_range"], agent["target_kl"]) == (0.2, None)
    # The log's loss is 0.5 * 0.5 * MSE; Stable-Baselines3's has no half.
    assert agent["vf_coef"] == 0.5 * 0.5


def test_ppo_has_the_settings_of_the_log():
    spec = get("pickcube-ppo")
    agent = spec.agent.kwargs
    batch = spec.env.num_envs * agent["n_steps"]
    assert (spec.env.num_envs, batch, updates(spec)) == (512, 25_600, 300)
    assert (batch // agent["batch_size"], agent["n_epochs"]) == (32, 4)
    assert 1.5 * agent["target_kl"] == pytest.approx(0.1)  # SB3's own factor
    assert agent["advantage"].kwargs["bootstrap_on_success"] is True
    assert agent["policy_kwargs"]["log_std_init"] == -0.5
    assert spec.checkpoint_at == (0, 50, 100, 200, 300)


@pytest.mark.parametrize(
    ("name", "first", "best", "last"),
    [("pickcube-awr", 0.627, 0.992, 0.977), ("pickcube-gae", 0.627, 0.92, 0.92)],
)
def test_the_reference_is_the_table_of_the_log(name, first, best, last):
    reference = get(name).reference
    assert reference is not None
    iterations, steps, values = zip(*reference.rows, strict=True)
    assert iterations == tuple(range(1, 11))
    assert steps == tuple(range(0, 50_000, 5_000))
    assert (values[0], max(values), values[-1]) == (first, best, last)


# ------------------------------------------------------------------------- settings
@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("total_timesteps", 7, ("total_timesteps",)),
        ("env.num_envs", 7, ("env", "num_envs")),
        ("env.glued", True, ("env", "kwargs", "glued")),
        ("agent.n_epochs", 7, ("agent", "kwargs", "n_epochs")),
        ("agent.kwargs.n_epochs", 7, ("agent", "kwargs", "n_epochs")),
        (
            "agent.advantage.lam",
            0.5,
            ("agent", "kwargs", "advantage", "kwargs", "lam"),
        ),
        ("agent.target_kl", None, ("agent", "kwargs", "target_kl")),
        (
            "agent.policy_kwargs.net_arch.0",
            9,
            ("agent", "kwargs", "policy_kwargs", "net_arch", 0),
        ),
        ("agent.call", "suite.agents.awr:AWR", ("agent", "call")),
    ],
)
def test_a_setting_changes_one_value_and_no_other(key: str, value: Any, path: tuple):
    expected = TOY.to_json()
    node = expected
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    assert TOY.with_settings({key: value}).to_json() == expected


def test_a_whole_number_given_for_a_float_becomes_one():
    changed = TOY.with_settings({"agent.advantage.lam": 1}).agent.kwargs["advantage"]
    assert isinstance(changed.kwargs["lam"], float)


def test_a_part_can_be_replaced_by_another():
    part = {"call": "suite.agents.advantages:MonteCarlo", "kwargs": {"gamma": 0.5}}
    changed = TOY.with_settings({"agent.advantage": part, "agent.advantage.gamma": 1})
    assert changed.agent.kwargs["advantage"] == Part(part["call"], {"gamma": 1.0})


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("agent.sampels", 5, "no setting 'agent.sampels'; agent has advantage, batch"),
        ("agent.advantage.lamda", 1, "has bootstrap_on_success, call, gamma, lam"),
        ("agnt.n_epochs", 5, "a benchmark has agent, checkpoint_at, data"),
        ("agent.n_epochs.more", 5, "agent.n_epochs has nothing to set inside"),
        ("agent.n_epochs", "many", 'agent.n_epochs must be int, got "many"'),
        ("agent.n_epochs", 2.5, "agent.n_epochs must be int, got 2.5"),
        ("agent.n_epochs", True, "agent.n_epochs must be int, got true"),
        ("agent.advantage.gamma", None, "must be float, got null"),
        ("agent.advantage", "GAE", 'an object such as {"call": ...}'),
        ("agent.env", 1, "no setting 'agent.env'"),
        ("agent.seed", 1, "no setting 'agent.seed'"),
        ("agent", 3, "for Part, got 3"),
        ("env.gravity", 1, "no setting 'env.gravity'; env has glued, id, num_envs"),
        ("env.num_threads", 2, "no setting"),
        ("env.id", "Toi-v0", "there is no environment 'Toi-v0'"),
        ("seeds", [0, "one"], "seeds must be a list of int"),
        ("seeds", [], "a seed of 0 or more"),
        ("total_timesteps", -1, "total_timesteps must be 0 or more, got -1"),
        ("every", 0, "every must be 1 or more, got 0"),
        ("name", "other", "no setting 'name'"),
        ("agent.learning_rate", float("nan"), "must be finite"),
        ("", 1, "no setting ''"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_right(key, value, complaint):
    with pytest.raises(ConfigError) as caught:
        TOY.with_settings({key: value}).check()
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=5", 5),
        ("a=0.5", 0.5),
        ("a=true", True),
        ("a=null", None),
        ("a=[1, 2]", [1, 2]),
        ("a=sparse", "sparse"),
        ('a="5"', "5"),
        ("a=b=c", "b=c"),
        ("a=", ""),
    ],
)
def test_a_value_is_json_or_else_text(text: str, value: Any):
    assert parse(text) == ("a", value)


@pytest.mark.parametrize("text", ["a", "=5", ""])
def test_a_setting_without_key_or_value_is_refused(text: str):
    with pytest.raises(ValueError, match="key=value"):
        parse(text)


# ------------------------------------------------------------------ digest and label
def test_the_digest_is_of_what_is_computed_not_of_how_it_is_told():
    document = TOY.to_json()
    for key, value in {
        "name": "other",
        "about": "",
        "seeds": [4],
        "scales": {},
    }.items():
        document[key] = value
    assert Benchmark.from_json(document).digest == TOY.digest


@pytest.mark.parametrize(
    "key", ["agent.n_epochs", "agent.advantage.lam", "total_timesteps", "env.num_envs"]
)
def test_the_digest_changes_with_every_setting(key: str):
    assert TOY.with_settings({key: 1}).digest != TOY.digest


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "default"),
        ({"seeds": [7]}, "default"),
        ({"total_timesteps": 32}, "smoke"),
        ({"agent.advantage.lam": 0.5}, "default-lam0.5"),
        ({"total_timesteps": 32, "agent.n_epochs": 9}, "smoke-n_epochs9"),
        (
            {"agent.advantage.call": "suite.agents.advantages:MonteCarlo"},
            "default-MonteCarlo",
        ),
        ({"start": "runs/some where/policy-3"}, "default-policy-3"),
        ({"agent.gamma": 0.9, "agent.n_epochs": 9}, "default-n_epochs9-agent.gamma0.9"),
        ({"agent.advantage.gamma": 0.5}, "default-gamma0.5"),  # the only one
        ({"wrappers": [SHIFT]}, "default-Shift-by1.0"),
        (
            {"wrappers": [SHIFT, SHIFT]},
            "default-Shift-wrappers.0.by1.0-Shift-wrappers.1.by1.0",
        ),
    ],
)
def test_the_label_says_what_differs(toy: Benchmark, settings, label):
    assert toy.with_settings(settings).label == label


@pytest.mark.parametrize(
    ("wrappers", "label"),
    [
        ([SHIFT, {**SHIFT, "kwargs": {"by": 2.0}}], "default-wrappers.1.by2.0"),
        ([SHIFT], "default-wrappers1"),
        ([], "default-wrappers0"),
    ],
)
def test_the_label_tells_wrappers_apart(monkeypatch, wrappers, label):
    two = replace(TOY, name="toy-two", wrappers=(from_json(SHIFT), from_json(SHIFT)))
    monkeypatch.setitem(benchmark._registered, "toy-two", two)
    assert two.with_settings({"wrappers": wrappers}).label == label


def test_a_label_without_room_says_how_many_more_differ():
    words = [f"learning_rate{i}" for i in range(9)]
    assert label("default", words[:3]).count("-") == 3
    assert label("default", words) == "-".join(["default", *words[:3]]) + "+6"
    # The length of the training goes first: committed results are called like that.
    some = [*words[:3], "total_timesteps123456"]
    assert label("default", some) == "-".join(["default", *words[:3]])
    assert label("default", some[2:]) == "default-learning_rate2-total_timesteps123456"


def test_a_value_too_long_to_spell_still_tells_labels_apart(toy: Benchmark):
    key = "agent.policy_kwargs.net_arch"
    one, other = (toy.with_settings({key: value}).label for value in ([8, 8], [9]))
    assert one != other
    assert one.startswith("default-net_arch") and other.startswith("default-net_arch")


def test_a_benchmark_nobody_registered_is_labelled_custom():
    document = {**TOY.to_json(), "name": "my own"}
    assert Benchmark.from_json(document).label == "custom"


# ----------------------------------------------------------------- names, bad files
def test_an_unknown_benchmark_is_answered_with_the_near_ones():
    with pytest.raises(UnknownName, match=r"did you mean pickcube-awr"):
        get("pickcube-arw")


def test_an_unknown_scale_is_answered_with_the_near_one():
    with pytest.raises(UnknownName, match=r"no scale 'quik'; did you mean quick\?"):
        get("pickcube-awr").at_scale("quik")


def test_a_part_without_arguments_may_leave_them_out():
    short = TOY.with_settings({"agent.advantage": {"call": "a:b"}})
    assert short.agent.kwargs["advantage"] == Part("a:b", {})
    assert short == Benchmark.from_json(short.to_json())


def test_a_second_benchmark_of_a_name_is_refused(toy: Benchmark):
    assert register(TOY) is TOY
    with pytest.raises(ValueError, match="another benchmark called 'toy'"):
        register(TOY.with_settings({"every": 2}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"agnet": 1}, "specification has no 'agnet'"),
        ({"about": 3}, "about must be str, got 3"),
        ({"agent": {"calls": "a:b"}}, "agent must read"),
        ({"wrappers": [{"calls": "a:b"}]}, "wrappers.0 must read Part"),
        ({"wrappers": [1]}, "wrappers must be a list"),
        ({"env": {"num_envs": 3}}, "env needs 'id'"),
        ({"reference": {"source": "x", "rows": [[1, 2]]}}, "rows must be"),
        ({"scales": {"smoke": {}}}, "smoke needs 'time'"),
    ],
)
def test_a_wrong_document_is_refused_by_field(change: dict[str, Any], complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        Benchmark.from_json({**TOY.to_json(), **change})


def test_a_document_that_lacks_a_field_is_refused():
    document = TOY.to_json()
    del document["metric"]
    with pytest.raises(ConfigError, match="specification needs 'metric'"):
        Benchmark.from_json(document)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"wrappers": ("suite.wrappers:RewardNoise",)}, "wrappers.0 must read Part"),
        ({"wrappers": "suite.wrappers:RewardNoise"}, "wrappers must be a tuple"),
        ({"wrappers": Part("a:b")}, r"a single one is written \(part,\)"),
        ({"evaluation": "suite.evaluation:SuccessRate"}, "evaluation must read Part"),
    ],
)
def test_what_is_no_part_is_refused_when_it_is_written(wrong, complaint):
    with pytest.raises(ConfigError, match=complaint):
        replace(TOY, **wrong)


class Needy(Shift):
    def __init__(self, env: Any, seed: int):
        super().__init__(env, by=float(seed))


def test_a_wrapper_that_wants_the_runs_seed_is_refused_before_the_run():
    with pytest.raises(ConfigError, match="Needy needs the argument 'seed'"):
        replace(TOY, wrappers=(Part(f"{__name__}:Needy"),)).check()


def test_wrappers_may_come_as_a_list():
    parts: Any = [Part("toys:Shift", {"by": 1.0})]
    assert replace(TOY, wrappers=parts) == replace(TOY, wrappers=tuple(parts))


# ---------------------------------------------------------------------------- parts
@dataclass(frozen=True)
class Inner:
    make_env: Any
    gamma: float = 0.5


@dataclass(frozen=True)
class Outer:
    env: Any
    inner: Inner
    seed: int = 0
    shape: Any = None
    kind: Any = None


OUTER = Part(
    f"{__name__}:Outer",
    {
        "inner": Part(f"{__name__}:Inner", {"gamma": 0.9}),
        "shape": {"pi": [3, 4]},
        "kind": Ref("builtins:int"),
    },
)


def test_parts_are_built_inside_out_and_injected_by_name():
    built = build(OUTER, {"make_env": "factory", "seed": 7, "unasked": 0}, env="env")
    assert built == Outer("env", Inner("factory", 0.9), 7, {"pi": [3, 4]}, int)


def test_what_a_part_gives_itself_is_not_injected():
    part = Part(OUTER.call, {**OUTER.kwargs, "seed": 1})
    assert build(part, {"make_env": "factory", "seed": 7}, env="env").seed == 1


def test_the_outer_environment_is_not_injected_into_nested_parts():
    nested = Part(OUTER.call, {"inner": OUTER})
    with pytest.raises(ConfigError, match="needs the argument 'env'"):
        build(nested, {"make_env": "factory"}, env="env")


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        (Part("nonsense", {}), "must read 'module:attribute'"),
        (Part("no_such_module:x", {}), "needs the module 'no_such_module'"),
        (Part(f"{__name__}:Absent", {}), "has no 'Absent'"),
        (Part(f"{__name__}:OURS", {}), "is not callable"),
        (Part(f"{__name__}:Inner", {"gama": 1}), "takes no 'gama'; it takes gamma, "),
        (Part(f"{__name__}:Inner", {}), "needs the argument 'make_env'"),
        (Part("builtins:range", {}), "range"),
    ],
)
def test_a_part_that_cannot_be_built_says_why(part: Part, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        build(part, {})


def test_arguments_passed_on_to_a_base_class_are_seen():
    taken = arguments(_awr())
    assert {"beta", "advantage", "n_epochs", "seed", "policy_kwargs"} <= set(taken)
    assert taken["n_epochs"].hint is int
    assert taken["policy"].required and not taken["beta"].required


def _awr() -> Any:
    from suite.agents.awr import AWR

    return AWR


def test_parts_are_equal_by_content_and_cannot_be_changed():
    one = Part("a:b", {"x": [1, 2], "y": 3})
    other = Part("a:b", {"y": 3, "x": (1, 2)})
    assert one == other and hash(one) == hash(other)
    assert one != Part("a:b", {"x": [1, 2], "y": 4})
    with pytest.raises(TypeError):
        one.kwargs["x"] = 5  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize("value", [float("inf"), object(), {1, 2}, b"bytes"])
def test_a_value_that_is_not_json_is_refused(value: Any):
    with pytest.raises(ConfigError, match="a setting must be"):
        frozen({"x": [value]})


# --------------------------------------------------------------------- environments
def test_wrappers_go_around_the_environment_the_first_one_innermost():
    shifts = tuple(Part("toys:Shift", {"by": float(by)}) for by in (1, 2))
    document = {**TOY.to_json(), "wrappers": [to_json(part) for part in shifts]}
    env = Benchmark.from_json(document).make_env(3, "same_step")
    assert isinstance(env, Shift) and env.by == 2
    assert isinstance(env.env, Shift) and env.env.by == 1
    assert env.unwrapped.metadata["autoreset_mode"] == "same_step"
    assert env.num_envs == 3


def test_an_environment_without_a_vector_form_is_refused():
    gym.register("Scalar-v0", entry_point="nowhere:Nothing")
    document = {**TOY.to_json(), "env": to_json(Env("Scalar-v0"))}
    with pytest.raises(ConfigError, match=r"no vector entry point, .* name one in its"):
        Benchmark.from_json(document).make_env(1)
