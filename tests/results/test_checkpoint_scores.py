"""Kept policies, played again."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from toys import TOY_PWM

from suite.agents.policies import load_policy
from suite.parts import ConfigError
from suite.results.checkpoint_scores import scored, stability
from suite.running.run_folder import RunFolder
from suite.runs import run_seed
from suite.scores import NormalizedReturn
from suite_bench.main import main


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = RunFolder.of(TOY_PWM, tmp_path_factory.mktemp("runs"))
    list(run_seed(TOY_PWM, folder, 0, device="cpu", threads=1))
    return folder.seed(0)


def test_kept_policies_play_the_same_episodes(home):
    found = list(scored(home, key=3))
    assert [each.updates for each in found] == [0, 2, -1]
    folders = (home / "policies" / "0", home / "policies" / "2", home / "policy")
    for each, folder in zip(found, folders, strict=True):
        wanted = NormalizedReturn(
            TOY_PWM.make_env, reference=None, episodes=4, steps=10
        )(load_policy(folder), 3)
        assert each.scores == wanted


def test_the_command_tells_each_and_how_stable_they_are(home):
    done = CliRunner().invoke(main, ["checkpoints", str(home), "--episodes", "2"])
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("  ")[-2].strip() for line in lines[:-1]] == [
        "0 updates",
        "2 updates",
        "the last",
    ]
    values = [float(line.split()[-1]) for line in lines[:-1]]
    mean = sum(values) / 3
    assert lines[-1] == f"peak {max(values):.4g}, mean of the last ten {mean:.4g}"


def test_the_last_ten_count():
    found = stability([*range(20)], "return_mean")
    assert (found.peak, found.last) == (19, 14.5)
    # Of errors the least is the best.
    assert stability([3.0, 1.0, 2.0], "prediction_error").peak == 1


def test_a_folder_without_policies_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no policy in"):
        list(scored(tmp_path))
