from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
import torch
from click.testing import Result
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from toys import TOY

from suite.agents.policies import load_policy, save_policy
from suite.running.run_folder import RunFolder
from suite_bench import errors

HOME = Path("runs") / "toy" / f"default-{TOY.digest[:8]}"


def assert_one_sentence(result: Result, code: int, text: str) -> None:
    unexpected = (
        "".join(traceback.format_exception(result.exception))
        if result.exception and not isinstance(result.exception, SystemExit)
        else result.stderr
    )
    assert result.exit_code == code, unexpected
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and text in last
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["run", "pickcube-arw"], 2, "did you mean pickcube-awr"),
        (["show", "pickcube"], 2, "no benchmark 'pickcube'; did you mean"),
        (["run", "zzz"], 2, "no benchmark 'zzz'; there is cs285-q2, "),
        (["run", "toy", "--scale", "smok"], 2, "no scale 'smok'; did you mean smoke?"),
        (["run", "toy", "--seeds", "2-0"], 2, "--seeds must read 0, 0-2 or 0,3"),
        (["run", "toy", "--seeds", "one"], 2, "got 'one'"),
        (["run", "toy", "--seeds", ""], 2, "got ''"),
        (["run", "toy", "--seeds", "-1"], 2, "got '-1'"),
        (["run", "toy", "--seeds", "0-999999"], 2, "--seeds must read"),
        (
            ["run", "toy", "--seeds", "0", "--set", "seeds=[7]"],
            *(2, "--seeds and --set seeds say the same"),
        ),
        (["run", "toy", "--set", "n_epochs"], 2, "--set: a setting must read key="),
        (["run", "toy", "--threads", "0"], 2, "--threads"),
        (["run", "toy", "--device", "tpu"], 2, "--device"),
        (["run", "absent.json"], 2, "there is no file absent.json"),
        (["runn", "toy"], 2, "runn"),
        (["run", "toy", "--set", "agent.n_epoch=5"], 3, "agent has advantage, batch_"),
        (["run", "toy", "--set", "agent.n_epochs=many"], 3, 'must be int, got "many"'),
        (["run", "toy", "--set", "agent.batch_size=null"], 3, "must be int, got null"),
        (["run", "toy", "--set", "env.id=Toi-v0"], 3, "no environment 'Toi-v0'"),
        (["run", "toy", "--set", "agent.call=a:b"], 3, "needs the module 'a'"),
        (["run", "toy", "--set", "agent.gae_lambda=NaN"], 3, "must be finite"),
        (["run", "toy", "--set", "start=nobody"], 3, "no policy 'nobody'"),
        (["run", "toy", "--set", "start=nobody", "--dry-run"], 3, "no policy 'nobody'"),
        (["run", "toy", "--set", "evaluation.envs=0"], 3, "needs positive numbers"),
        (["report", "."], 3, "there are no runs in"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_answered_in_one_sentence(invoke, arguments, code, text):
    assert_one_sentence(invoke(*arguments), code, text)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "bad.json is not JSON"),
        ("[]", "specification must be a JSON object"),
        ('{"name": 3}', "name must be str, got 3"),
        ('{"nme": "x"}', "specification has no 'nme'"),
    ],
)
def test_a_bad_specification_file_is_bad_data(invoke, content: str, text: str):
    Path("bad.json").write_text(content)
    assert_one_sentence(invoke("run", "bad.json"), 3, text)


def test_cuda_that_is_not_there_is_bad_configuration(invoke, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = invoke("run", "toy", "--device", "cuda")
    assert_one_sentence(result, 3, "use --device cpu")


@pytest.mark.parametrize("rate", ["1e10", "1e30"])
def test_a_training_that_diverges_exits_4(invoke, rate):
    settings = (f"agent.learning_rate={rate}", "agent.max_grad_norm=1e30")
    result = invoke("run", "toy", "--set", settings[0], "--set", settings[1])
    assert_one_sentence(result, 4, "the policy has diverged")


def test_a_policy_with_nan_actions_exits_4(invoke):
    invoke("run", "toy")
    policy = load_policy(HOME / "seed-0" / "policy")
    with torch.no_grad():
        policy.get_parameter("action_net.bias").fill_(float("nan"))
    save_policy(policy, Path("nan"), {})
    result = invoke("run", "toy", "--set", "start=nan")
    assert_one_sentence(result, 4, "its action_net.bias reached nan")


def test_a_damaged_policy_file_exits_5_and_is_named(invoke):
    invoke("run", "toy")
    weights = HOME / "seed-0" / "policy" / "policy.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    result = invoke("run", "toy", "--set", f"start={weights.parent}")
    assert_one_sentence(result, 5, "policy.safetensors is damaged")


@pytest.mark.parametrize("name", ["result.json", "eval.csv"])
def test_a_damaged_result_exits_5_and_is_named(invoke, name: str):
    invoke("run", "toy")
    (HOME / "seed-0" / name).write_text("success_log_metric\n{")
    assert_one_sentence(invoke("report", HOME), 5, name)


def test_an_output_folder_that_is_a_file_exits_6(invoke):
    Path("taken").write_text("")
    result = invoke("run", "toy", "--out", "taken")
    assert_one_sentence(result, 6, "Not a directory: taken")


def test_an_output_folder_that_is_read_only_exits_6(invoke, monkeypatch):
    Path("locked").mkdir(mode=0o555)
    if os.access("locked", os.W_OK):  # the superuser writes anywhere
        real = Path.mkdir

        def mkdir(self: Path, *args, **kwargs) -> None:
            if self.is_relative_to("locked"):
                raise PermissionError(13, "Permission denied", str(self))
            real(self, *args, **kwargs)

        monkeypatch.setattr(Path, "mkdir", mkdir)
    result = invoke("run", "toy", "--out", "locked")
    assert_one_sentence(result, 6, "Permission denied: locked")


def test_a_folder_that_another_run_writes_into_exits_6(invoke):
    with RunFolder(HOME).locked(0):
        assert_one_sentence(invoke("run", "toy"), 6, "another run is writing into")


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        ("interrupt", 130, "interrupted; seed 0 is saved after 1 update; go on with"),
        ("sigterm", 143, "terminated; seed 0 is saved after 1 update; go on with"),
        ("bug", 1, "unexpected ZeroDivisionError: of a bug; please report it"),
    ],
)
def test_an_end_on_the_way_loses_no_row(invoke, kind: str, code: int, text: str):
    trouble = f'evaluation={{"call": "toys:Trouble", "kwargs": {{"kind": "{kind}"}}}}'
    result = invoke("run", "toy", "--set", trouble)
    assert_one_sentence(result, code, text)
    (home,) = Path("runs/toy").glob("*/seed-0")
    assert (home / "metrics.csv").read_text().count("\n") == 2
    assert (home / "eval.csv").read_text().count("\n") == 2
    assert not (home / "result.json").exists()


def test_debug_shows_the_traceback(invoke):
    trouble = 'evaluation={"call": "toys:Trouble", "kwargs": {"kind": "bug"}}'
    result = invoke("--debug", "run", "toy", "--set", trouble)
    assert isinstance(result.exception, ZeroDivisionError)


def test_an_error_of_many_lines_becomes_one():
    shown = errors.explained(ValueError("first\n   second\n\nthird"))
    assert shown.format_message() == "first second third"


KEYS = st.sampled_from(
    "agent agent.n_epochs agent.call agent.advantage agent.policy_kwargs every seeds "
    "env.num_envs env.id start wrappers checkpoint_at evaluation".split()
)
VALUES = st.sampled_from(
    [
        *("-1", "0", "null", "[]", "{}", "1e999", "x:y", '{"ref": 3}', '{"call": "a"}'),
        *('{"call": 3, "kwargs": {}}', '{"call": "os:getcwd", "kwargs": 3}'),
    ]
)


@hypothesis_settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(key=KEYS | st.text(max_size=12), value=VALUES | st.text(max_size=12))
def test_no_setting_whatsoever_leads_to_a_traceback(invoke, key: str, value: str):
    result = invoke("run", "toy", "--dry-run", "--set", f"{key}={value}")
    assert result.exit_code in (0, 2, 3), (key, value, result.exception)
    assert result.exit_code == 0 or result.stderr.splitlines()[-1].startswith("Error:")


def test_exit_codes_are_those_that_help_promises():
    codes = {
        name: failure.exit_code
        for name, failure in vars(errors).items()
        if isinstance(failure, type) and issubclass(failure, errors.Failure)
    }
    assert codes == {
        "Failure": 1,
        "WrongUse": 2,
        "BadConfig": 3,
        "Diverged": 4,
        "NotIntact": 5,
        "NoResources": 6,
        "Interrupted": 130,
        "Stopped": 143,
    }
