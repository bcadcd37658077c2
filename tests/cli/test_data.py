from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import dataset, numbered
from test_failures import assert_one_sentence

import suite.wrappers as w
from suite import recipes
from suite.datasets import load_dataset, save_dataset
from suite_bench.data_new import _quoted


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def toy(store: Path) -> str:
    save_dataset(dataset(about="Walks.", env_id="Hopper-v5"), "mine/toy-v0")
    return "mine/toy-v0"


# --------------------------------------------------------------------- before anything
@pytest.mark.parametrize("arguments", [["data", "--help"], ["data", "list"]])
def test_help_and_list_load_nothing_heavy(arguments, store, tmp_path):
    heavy = {"torch", "mujoco", "stable_baselines3", "matplotlib", "minari", "h5py"}
    code = (
        "import sys; from suite_bench.main import main; "
        f"main({arguments!r}, standalone_mode=False); "
        f"print(sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == "[]\n" and done.stdout


def test_help_teaches_by_example(invoke):
    shown = invoke("data", "--help").stdout
    for command in ("list", "show", "make", "corrupt", "import", "verify", "stats"):
        assert f"\n  {command}" in shown
        told = invoke("data", command, "--help").stdout
        assert f"suite-bench data {command}" in told


# ----------------------------------------------------------------------- list and show
def test_list_shows_what_is_there_and_what_can_be_made(invoke, toy):
    shown = invoke("data", "list").stdout
    assert "mine/toy-v0" in shown and "297" in shown
    assert "suite/hopper-medium-v0" in shown
    found = json.loads(invoke("data", "list", "--json").stdout)
    (row,) = found["local"]
    assert (row["id"], row["transitions"], row["episodes"]) == (toy, 297, 8)
    assert row["mean_return"] == pytest.approx(dataset().returns.mean())
    assert "suite/hopper-medium-v0" in found["recipes"]


def test_list_shows_what_can_be_made_and_make_says_what_cannot(
    invoke, tmp_path, monkeypatch
):
    monkeypatch.setattr("suite.data.packaged.PACKAGED", tmp_path)
    (tmp_path / "hopper-strong").mkdir()
    (tmp_path / "hopper-strong" / "card.json").write_text("{}")
    found = json.loads(invoke("data", "list", "--json").stdout)
    robots = [each for each in found["recipes"] if "mushr" not in each]
    assert robots == ["suite/hopper-strong-v0"] and len(found["recipes"]) == 1 + 12
    done = invoke("data", "make", "suite/hopper-medium-v0")
    assert_one_sentence(done, 3, "no behaviour 'hopper-medium'")
    done = invoke("data", "stats", "suite/hopper-medium-v0")
    assert_one_sentence(done, 3, "`data list` shows all")


def test_show_tells_the_card(invoke, toy):
    shown = invoke("data", "show", toy).stdout
    assert "Walks." in shown and dataset().sha256 in shown and "Hopper-v5" in shown
    card = json.loads(invoke("data", "show", toy, "--json").stdout)
    assert card["sha256"] == dataset().sha256
    save_dataset(dataset(), "toy.npz")
    assert dataset().sha256 in invoke("data", "show", "toy.npz").stdout
    assert "297 transitions, 8 episodes" in shown


# ----------------------------------------------------------------------------- corrupt
WITH = (
    *("--with", "DropBestEpisodes percent=30"),
    *("--with", "RewardNoise std=0.1 seed=3"),
    *("--with", "suite.wrappers.gaps:DropTransitions rate=0.2"),
)


@pytest.mark.parametrize("target", ["mine/worse-v0", "worse.npz"])
def test_corrupt_does_what_wrappers_do_in_their_order(invoke, toy, target):
    done = invoke("data", "corrupt", toy, target, *WITH)
    assert done.exit_code == 0, done.output
    by_hand = w.DropBestEpisodes(dataset(), percent=30)
    by_hand = w.DropTransitions(w.RewardNoise(by_hand, std=0.1, seed=3), rate=0.2)
    stored = load_dataset(target)
    assert stored.sha256 == by_hand.sha256
    assert stored.sha256 in done.stdout
    lines = [line.split() for line in done.stdout.splitlines() if "=" in line]
    assert [line[0] for line in lines] == [
        "DropBestEpisodes",
        "RewardNoise",
        "DropTransitions",
    ]
    gone = len(dataset()) - len(w.DropBestEpisodes(dataset(), percent=30))
    assert lines[0][2:4] == ["2", str(-gone)]
    assert stored.card["parent"] == {"id": toy, "sha256": dataset().sha256}


def test_corrupt_as_json_is_the_card(invoke, toy):
    done = invoke("data", "corrupt", toy, "mine/worse-v0", *WITH, "--json")
    card = json.loads(done.stdout)
    assert card == load_dataset("mine/worse-v0").card
    assert [each["kind"] for each in card["corruptions"]] == [
        "DropBestEpisodes",
        "RewardNoise",
        "DropTransitions",
    ]


# ------------------------------------------------------------------------ make, import
def test_make_drives_a_car_and_minari_reads_it(invoke):
    done = invoke("data", "make", "suite/mushr-real-1k-v0", "--json")
    assert done.exit_code == 0, done.output
    card, stored = json.loads(done.stdout), load_dataset("suite/mushr-real-1k-v0")
    assert card["sha256"] == stored.sha256 and stored.num_episodes == 5
    assert card["gap"]["preset"] == "real" and card["env_id"] == "MuSHR-v0"
    refused = invoke("data", "make", "suite/mushr-real-v0", "--d4rl-scale")
    assert_one_sentence(refused, 2, "no car like that")


def test_a_folder_of_text_is_imported(invoke, tmp_path):
    rows = np.arange(24).reshape(3, 8) / 10
    (tmp_path / "logs").mkdir()
    np.savetxt(tmp_path / "logs" / "traj_7.txt", rows)
    scales = "--steer-scale", "4", "--speed-scale", "4", "--dt", "0.1"
    done = invoke("data", "import", tmp_path / "logs", "mine/car-v0", *scales)
    assert done.exit_code == 0, done.output
    stored = load_dataset("mine/car-v0")
    np.testing.assert_allclose(stored.actions, rows[:2, 6:] / 4, rtol=1e-6)
    assert stored.card["trajectories"]["dt"] == [0.1]
    log = tmp_path / "logs" / "traj_7.txt"
    done = invoke("data", "import", log, "mine/none-v0", *scales)
    assert_one_sentence(done, 2, "only for a folder of text")
    done = invoke("data", "import", tmp_path / "nowhere", "mine/none-v0")
    assert_one_sentence(done, 3, "there is no file")
    done = invoke("data", "import", tmp_path / "store", "mine/none-v0")
    assert_one_sentence(done, 3, "has neither plan_")


def test_make_collects_a_recipe_and_shows_its_card(invoke, monkeypatch):
    import test_recipes  # registers the environment

    import suite.agents.behaviour as behaviour

    small = replace(test_recipes.TOY, id="suite/hopper-medium-1k-v0", task="Hopper-v5")
    monkeypatch.setattr(recipes, "recipe", lambda dataset_id: small)
    monkeypatch.setattr(behaviour, "load_behaviour", test_recipes.found)
    done = invoke("data", "make", small.id, "--d4rl-scale")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines() == [f"collecting {small.id}"]
    made = load_dataset(small.id)
    assert made.sha256 in done.stdout and "left, right" in done.stdout
    assert made.card["references"] == {"d4rl": [-20.272305, 3234.3]}
    again = invoke("data", "make", small.id)
    assert_one_sentence(again, 3, f"there is a dataset '{small.id}' already; delete")


def test_import_takes_a_file_into_the_store(invoke):
    save_dataset(numbered(), "logs.npz")
    done = invoke("data", "import", "logs.npz", "mine/logs-v0")
    assert done.exit_code == 0, done.output
    assert load_dataset("mine/logs-v0").sha256 == numbered().sha256
    wide = np.zeros((4, 11))
    np.savez(
        "hopper.npz",
        observations=wide,
        next_observations=wide,
        actions=np.zeros((4, 3)),
        rewards=np.ones(4),
        terminals=np.zeros(4),
        timeouts=np.zeros(4),
    )
    env = ("--env", "Hopper-v5")
    done = invoke("data", "import", "hopper.npz", "a1/hop-v0", *env, "--d4rl-scale")
    assert done.exit_code == 0, done.output
    card = load_dataset("a1/hop-v0").card
    assert card["env_id"] == "Hopper-v5"
    assert card["spaces"]["action"] == {"low": [-1.0] * 3, "high": [1.0] * 3}
    assert card["references"]["d4rl"][1] == 3234.3


# ----------------------------------------------------------------------- verify, stats
def test_verify_says_what_is_intact_and_what_is_not(invoke, toy, store):
    save_dataset(numbered(), "mine/two-v0")
    done = invoke("data", "verify")
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["mine/toy-v0", "intact"],
        ["mine/two-v0", "intact"],
    ]
    found = json.loads(invoke("data", "verify", toy, "--json").stdout)
    assert found[toy]["sha256"] == dataset().sha256
    path = store / "mine" / "toy-v0" / "data" / "main_data.hdf5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    for command in (("verify",), ("stats", toy), ("corrupt", toy, "x.npz", *WITH)):
        assert_one_sentence(invoke("data", *command), 5, "main_data.hdf5 is damaged")
    done = invoke("data", "verify")  # one that is damaged stops no other
    assert done.stdout.startswith("mine/two-v0  intact")
    assert f"{toy}  damaged: {path} is damaged" in done.stderr
    assert "1 of 2 damaged, mine/toy-v0: " in done.stderr
    found = json.loads(invoke("data", "verify", "--json").stdout)
    assert "damaged" in found[toy] and "sha256" in found["mine/two-v0"]


def test_a_dataset_with_a_damaged_card_does_not_hide_the_others(invoke, toy, store):
    save_dataset(numbered(), "mine/two-v0")
    path = store / "mine" / "two-v0" / "data" / "metadata.json"
    path.write_text("{")
    done = invoke("data", "list")
    assert_one_sentence(done, 5, f"mine/two-v0: {path} is not JSON")
    assert toy in done.stdout and "suite/hopper-medium-v0" in done.stdout
    found = json.loads(invoke("data", "list", "--json").stdout)
    assert [row["id"] for row in found["local"]] == [toy]
    assert list(found["damaged"]) == ["mine/two-v0"]


def test_stats_show_numbers_a_histogram_and_a_picture(invoke, toy):
    done = invoke("data", "stats", toy, "--picture", "some/returns.png")
    assert done.exit_code == 0, done.output
    assert "297 transitions, 8 episodes (4 terminated, 4 truncated)" in done.stdout
    bars = [line for line in done.stdout.splitlines() if " to " in line]
    assert len(bars) == 20 and any(line.endswith("#" * 40) for line in bars)
    assert sum(int(line.split()[3]) for line in bars) == 8
    assert Path("some/returns.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(invoke("data", "stats", toy, "--json").stdout)
    assert found["returns"]["mean"] == pytest.approx(dataset().returns.mean())
    mean = dataset().returns.mean()
    scaled = 100 * (mean + 20.272305) / (3234.3 + 20.272305)
    assert found["d4rl_scale"] == pytest.approx(scaled)
    assert found["consistent"] is True and found["observations"] == 3


class Backwards:
    """An attack that says so on the card."""

    def __init__(self, by: float = 1.0, names: tuple[str, ...] = ()):
        self.by, self.names = by, names

    def __call__(self, array, data, rows, box):
        return np.full((len(rows), len(box)), -self.by)

    def to_json(self):
        return {"attack": "Backwards", "by": self.by, "names": list(self.names)}


@pytest.mark.parametrize("quotes", ["", "'"], ids=["as it is", "quoted"])
def test_an_attack_of_ones_own_is_a_part_on_the_command_line(invoke, toy, quotes):
    kwargs = {"by": 0.5, "names": ["a b"]}
    attack = json.dumps({"call": "test_data:Backwards", "kwargs": kwargs})
    change = f"AdversarialActions epsilon=2 attack={quotes}{attack}{quotes} rate=1"
    done = invoke("data", "corrupt", toy, "worse.npz", "--with", change)
    assert done.exit_code == 0, done.output
    worse, std = load_dataset("worse.npz"), dataset().actions.std(axis=0)
    np.testing.assert_allclose(
        worse.actions, dataset().actions - 2 * 0.5 * std, rtol=1e-5, atol=1e-6
    )
    (told,) = worse.card["corruptions"]
    assert told["params"]["attack"] == {
        "attack": "Backwards",
        "by": 0.5,
        "names": ["a b"],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('A x={"a": [1, "b c"]} y=[1, 2]', ['x={"a": [1, "b c"]}', "y=[1, 2]"]),
        ("""A x='{"a": "b=[1, 2]"}' y=1""", ['x={"a": "b=[1, 2]"}', "y=1"]),
        ('A x={"a": " b=[1, 2]"}', ['x={"a": " b=[1, 2]"}']),
        ("A name='std=[1, 2]'", ["name=std=[1, 2]"]),
        ("A x=[1,2]y", ["x=[1,2]y"]),
    ],
)
def test_json_needs_no_quotes_of_its_own_in_a_change(text: str, words: list[str]):
    assert shlex.split(_quoted(text)) == ["A", *words]


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_verify_passes_over_what_it_cannot_read_unless_asked_for_it(invoke, toy):
    import minari
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    observation = spaces.Dict({"goal": spaces.Box(-1, 1, (2,), np.float64)})
    make: Any = EpisodeBuffer
    buffer = make(
        observations={"goal": np.zeros((3, 2))},
        actions=np.zeros((2, 1)),
        rewards=[0.0, 1.0],
        terminations=[False, True],
        truncations=[False, False],
    )
    minari.create_dataset_from_buffers(
        "D4RL/dict-v0",
        [buffer],
        observation_space=observation,
        action_space=spaces.Box(-1, 1, (1,), np.float64),
    )
    done = invoke("data", "verify")
    assert done.exit_code == 0 and done.stdout.startswith(f"{toy}  intact")
    assert (
        "D4RL/dict-v0  not checked: D4RL/dict-v0 cannot be read: its obs" in done.stderr
    )
    found = json.loads(invoke("data", "verify", "--json").stdout)
    assert "only flat boxes" in found["D4RL/dict-v0"]["unread"]
    asked = invoke("data", "verify", "D4RL/dict-v0")
    assert_one_sentence(asked, 3, "only flat boxes of numbers can be read")


def test_a_dataset_in_a_format_that_is_not_installed_says_so(invoke, toy, monkeypatch):
    def lacking(*_: object, **__: object) -> None:
        raise ImportError("pyarrow is not installed. Please install it")

    monkeypatch.setattr("minari.MinariDataset", lacking)
    done = invoke("data", "stats", toy)
    assert_one_sentence(done, 3, "needs a package which is not installed: pyarrow")


def test_verify_does_not_pass_over_data_for_want_of_minari(invoke, toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    assert_one_sentence(invoke("data", "verify"), 3, "Minari datasets need minari")


# ---------------------------------------------------------------------------- failures
GOOD = ["--with", "DropBestEpisodes percent=30"]
FAILURES = [
    (["verify", "no.npz"], 3, "there is no file no.npz"),
    (["show", "mine/tay-v0"], 3, "there is no local dataset 'mine/tay-v0'; did"),
    (["stats", "mine/tay-v0"], 3, "did you mean mine/toy-v0"),
    (["stats", "no.npz"], 3, "there is no file no.npz"),
    (["verify", "mine/noise0.5-v0"], 3, "is no Minari id"),
    (["make", "suite/hopper-expert-v0"], 3, "there is no recipe for"),
    (
        ["corrupt", "mine/toy-v0", "no/x.npz", *GOOD],
        3,
        "there is no folder no for no/x",
    ),
    (["stats", "mine.csv"], 3, "a file of arrays ends in .npz, .hdf5 or .h5"),
    (["corrupt", "mine/toy-v0", "x.npz"], 2, "--with"),
    (["corrupt", "mine/toy-v0", "x.h5", *GOOD], 3, "written to .npz files"),
    (["corrupt", "mine/toy-v0", "mine/toy-v0", *GOOD], 3, "already; delete"),
    (["corrupt", "mine/toy-v0", "bad-id", *GOOD], 3, "is no Minari id"),
    (["corrupt", "no.npz", "x.npz", *GOOD], 3, "there is no file no.npz"),
    (["import", "no.hdf5", "mine/new-v0"], 3, "there is no file no.hdf5"),
    (["import", "bad.hdf5", "mine/new-v0"], 5, "bad.hdf5 is damaged"),
    (["import", "mine.npz", "mine/new-v0", "--env", "Nowhere-v0"], 3, "no environment"),
    (["import", "mine.npz", "mine/new-v0", "--env", "Hopper-v5"], 3, "another task"),
    (["import", "mine.npz", "mine/new-v0", "--d4rl-scale"], 2, "say which with --env"),
]
BAD_CHANGES = [
    ("DropBst percent=30", 2, "no wrapper 'DropBst'; did you mean DropBestEpisodes"),
    ("DropBestEpisodes percent", 2, "--with must read 'WRAPPER key=value ...'"),
    ("", 2, "--with must read 'WRAPPER key=value ...': it is empty"),
    ("collections:OrderedDict", 3, "makes OrderedDict of a dataset, not a dataset"),
    ("DropBestEpisodes 'percent=30", 2, "--with must read"),
    ("DropBestEpisodes percnt=30", 3, "takes no 'percnt'; it takes env, percent"),
    ("DropBestEpisodes", 3, "needs the argument 'percent'"),
    ("DropBestEpisodes percent=100", 3, "would remove all 8 episodes"),
    ("DropBestEpisodes percent=much", 3, "percent must be a number, got 'much'"),
    ("AdversarialActions rate=1", 3, "needs the argument 'attack'"),
    ("AdversarialActions attack=x", 3, "attack must be a function, such as"),
    ("nowhere:Thing", 3, "needs the module 'nowhere'"),
]


@pytest.mark.filterwarnings("ignore:.*settotalmass")
@pytest.mark.parametrize(("arguments", "code", "text"), FAILURES)
def test_a_failure_is_one_sentence_with_its_exit_code(
    invoke, toy, arguments, code, text
):
    save_dataset(dataset(), "mine.npz")
    Path("bad.hdf5").write_bytes(b"not at all")
    assert_one_sentence(invoke("data", *arguments), code, text)
    assert not Path("x.npz").exists()


@pytest.mark.parametrize(("change", "code", "text"), BAD_CHANGES)
def test_a_wrong_change_is_one_sentence_too(invoke, toy, change, code, text):
    done = invoke("data", "corrupt", toy, "x.npz", "--with", change)
    assert_one_sentence(done, code, text)
    assert not Path("x.npz").exists()


def test_a_full_disk_is_told(invoke, toy, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("suite.datasets.write_npz", full)
    done = invoke("data", "corrupt", toy, "x.npz", *GOOD)
    assert_one_sentence(done, 6, "No space left on device")
