"""Datasets come back as they were stored; what cannot be one is one clear sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer
from stored import dataset, numbered

import suite.wrappers as w
from suite.data.minari_files import root
from suite.datasets import (
    Dataset,
    build_dataset,
    corrupt,
    dataset_card,
    load_dataset,
    save_dataset,
    verify,
)
from suite.parts import Part
from suite.storage import IntegrityError
from suite.transitions import BY_TRANSITION, LAYOUT


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Path:
    """Minari's local store, in a folder of the test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def assert_same(one: Dataset, other: Dataset) -> None:
    for name in LAYOUT:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
        assert getattr(one, name).dtype == getattr(other, name).dtype
    assert one.sha256 == other.sha256


def odd() -> Dataset:
    """Episodes left out, rows missing, next_obs that no obs follows."""
    data = w.DropTransitions(w.DropBestEpisodes(dataset(), 30), 0.2)
    return w.RandomDynamics(w.RandomObservations(data))


# ------------------------------------------------------------------------ round trips
@pytest.mark.parametrize("target", ["suite/toy-v0", "toy-v3", "a/b/toy_1-v12", "x.npz"])
@pytest.mark.parametrize("make", [dataset, numbered, odd])
def test_a_dataset_comes_back_bit_for_bit(target: str, make: Any):
    data = make()
    save_dataset(data, target)
    again = load_dataset(target)
    assert_same(again, data)
    assert again.card["sha256"] == data.sha256
    for key in ("spaces", "corruptions", "parent"):
        assert again.card.get(key) == data.card.get(key)


def test_minari_reads_what_is_stored():
    data = dataset(env_id="Pendulum-v1", about="Walks.")
    save_dataset(data, "suite/toy-v0")
    assert list(minari.list_local_datasets()) == ["suite/toy-v0"]
    theirs = minari.load_dataset("suite/toy-v0")
    assert (theirs.total_episodes, theirs.total_steps) == (8, len(data))
    assert theirs.observation_space == data.observation_space
    for index, episode in enumerate(theirs.iterate_episodes()):
        ours = data.episode(index)
        np.testing.assert_array_equal(episode.observations[:-1], ours.obs)
        np.testing.assert_array_equal(episode.observations[1:], ours.next_obs)
        np.testing.assert_array_equal(episode.actions, ours.actions)
        np.testing.assert_array_equal(episode.rewards, ours.rewards)
        np.testing.assert_array_equal(episode.terminations, ours.terminated)
        np.testing.assert_array_equal(episode.truncations, ours.truncated)
    (note,) = theirs.storage.get_episode_metadata([4])
    assert note["rewards_sum"] == data.episode(4).returns[0]
    for is_eval in (False, True):
        spec = theirs.recover_environment(eval_env=is_eval).spec
        assert spec is not None and spec.id == "Pendulum-v1"


def test_reference_scores_are_stored_only_where_the_card_has_them():
    save_dataset(dataset(env_id="Pendulum-v1"), "suite/toy-v0")
    with pytest.raises(ValueError, match="Reference score"):
        minari.get_normalized_score(minari.load_dataset("suite/toy-v0"), np.ones(1))
    scores = {"d4rl": [-20.0, 30.0]}
    save_dataset(dataset(env_id="Pendulum-v1", references=scores), "suite/toy-v1")
    theirs = minari.load_dataset("suite/toy-v1")
    assert minari.get_normalized_score(theirs, np.array([5.0])) == [0.5]


@pytest.mark.filterwarnings("ignore:`.*` is set to None")
@pytest.mark.filterwarnings("ignore:env_spec is None")
def test_a_dataset_that_minari_made_is_read_with_its_true_next_obs():
    data = numbered()
    minari_made("other/toy-v0", data)
    again = load_dataset("other/toy-v0")
    for name in (*BY_TRANSITION, "lengths"):
        np.testing.assert_array_equal(getattr(again, name), getattr(data, name))
    assert again.card["id"] == "other/toy-v0" and "sha256" not in again.card
    assert verify("other/toy-v0")["recorded"] is False


def minari_made(dataset_id: str, data: Dataset, **changes: Any) -> None:
    """As Minari's own tools would store it: 64-bit numbers, T + 1 observations."""
    buffers = []
    for index in range(data.num_episodes):
        one = data.episode(index)
        arrays = {
            "observations": np.concatenate([one.obs, one.next_obs[-1:]]).astype(float),
            "actions": one.actions,
            "rewards": one.rewards.astype(float),
            "terminations": one.terminated,
            "truncations": one.truncated,
            **changes,
        }
        make: Any = EpisodeBuffer
        buffers.append(make(**arrays))
    minari.create_dataset_from_buffers(
        dataset_id,
        buffers,
        observation_space=data.observation_space,
        action_space=data.action_space,
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of d3rlpy and the old gym that it imports
def test_d3rlpys_minari_loader_misaligns_and_ours_does_not():
    # Rows encode (episode, step): a shift shows.
    from d3rlpy.datasets import get_minari

    data = numbered((5, 4, 6, 3))
    save_dataset(data.with_card({"env_id": "Pendulum-v1"}), "suite/numbered-v0")
    theirs, _ = get_minari("suite/numbered-v0")
    shifts = []
    for episode in theirs.episodes:
        obs: Any = episode.observations
        shifts.append(int((obs[:, 1] != episode.rewards[:, 0] % 1000).sum()))
    assert shifts[0] == 0 and min(shifts[1:]) > 0  # only the first episode is right
    ours = load_dataset("suite/numbered-v0")
    step, episode = ours.rewards % 1000, ours.rewards // 1000
    np.testing.assert_array_equal(ours.obs, np.stack([episode, step], 1))
    np.testing.assert_array_equal(ours.next_obs, np.stack([episode, step + 1], 1))


# -------------------------------------------------------------------- others' layouts
def d4rl_arrays(data: Dataset, with_next: bool = True) -> dict[str, np.ndarray]:
    arrays = {
        "observations": data.obs,
        "actions": data.actions,
        "rewards": data.rewards,
        "terminals": data.terminated,
        "timeouts": data.truncated,
    }
    return {**arrays, "next_observations": data.next_obs} if with_next else arrays


def write(path: str, arrays: dict[str, Any]) -> str:
    if path.endswith(".npz"):
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
            file["infos/qpos"] = np.zeros(3)  # D4RL has more; it is let be
            file["metadata/algorithm"] = "SAC"
    return path


@pytest.mark.parametrize("path", ["theirs.hdf5", "theirs.h5", "theirs.npz"])
def test_files_with_the_keys_of_d4rl_are_read(path: str):
    data = numbered()
    again = load_dataset(write(path, d4rl_arrays(data)))
    assert_same(again, data)
    assert again.card["source"] == path
    column = {**d4rl_arrays(data), "rewards": data.rewards[:, None].astype(float)}
    assert_same(load_dataset(write("column.npz", column)), data)


@pytest.mark.parametrize("path", ["theirs.hdf5", "theirs.npz"])
def test_without_next_observations_those_that_nobody_knows_are_left_out(path: str):
    # Terminated: 0, 2, 4. Truncated: 1 (of one step: nothing is left of it), 3, 5.
    data = numbered((3, 1, 2, 4, 1, 2))
    again = load_dataset(write(path, d4rl_arrays(data, with_next=False)))
    assert again.episode_ids.tolist() == [0, 2, 3, 4, 5]
    assert again.lengths.tolist() == [3, 2, 3, 1, 1]
    assert again.card["transitions_without_next_obs"] == 3
    episode, step = again.obs.T
    np.testing.assert_array_equal(again.rewards, 1000 * episode + step)
    known = ~again.terminated
    np.testing.assert_array_equal(again.next_obs[known][:, 1], step[known] + 1)
    np.testing.assert_array_equal(again.next_obs[~known], again.obs[~known])
    assert again.truncated.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0, 1]


def test_what_ends_with_the_data_is_truncated():
    data = numbered((3, 4))
    arrays = {**d4rl_arrays(data), "timeouts": np.zeros(7)}
    assert load_dataset(write("cut.npz", arrays)).truncated.tolist() == [0] * 6 + [1]


# ------------------------------------------------------------------------ corruptions
CHANGES = [
    Part("suite.wrappers:DropBestEpisodes", {"percent": 30}),
    Part("suite.wrappers:RewardNoise", {"std": 0.1, "seed": 4}),
]


def test_corruptions_of_a_specification_are_wrappers():
    data = dataset()
    by_hand = w.RewardNoise(w.DropBestEpisodes(data, percent=30), std=0.1, seed=4)
    assert_same(corrupt(data, CHANGES), by_hand)
    save_dataset(data, "suite/toy-v0")
    assert_same(load_dataset("suite/toy-v0", CHANGES), by_hand)
    kwargs = {"source": "suite/toy-v0", "corruptions": CHANGES}
    part = Part("suite.datasets:load_dataset", kwargs)
    assert_same(build_dataset(part), by_hand)
    swapped = corrupt(data, CHANGES[::-1])
    told = [each["kind"] for each in swapped.card["corruptions"]]
    assert told == ["RewardNoise", "DropBestEpisodes"]


def test_a_change_that_makes_no_dataset_is_refused():
    for change in (Part("collections:OrderedDict"), lambda data: data.obs):
        with pytest.raises(ValueError, match="of a dataset, not a dataset; name a wra"):
            corrupt(dataset(), [change])


def test_a_card_is_read_without_the_rest(monkeypatch):
    for target in ("suite/toy-v0", "toy.npz"):
        save_dataset(dataset(), target)
        stored = load_dataset(target).card
        with monkeypatch.context() as patched:
            patched.setattr("suite.datasets.read_file", None)
            patched.setattr("suite.datasets.read_minari", None)
            assert dataset_card(target) == stored


def test_the_card_of_a_stored_corruption_names_its_parent():
    save_dataset(dataset(), "suite/toy-v0")
    worse = load_dataset("suite/toy-v0", CHANGES)
    save_dataset(worse, "suite/worse-v0")
    card = load_dataset("suite/worse-v0").card
    assert card["parent"] == {"id": "suite/toy-v0", "sha256": dataset().sha256}
    assert (card["id"], card["sha256"]) == ("suite/worse-v0", worse.sha256)


# ------------------------------------------------------------------------------ damage
def test_every_flipped_bit_is_found(store: Path):
    save_dataset(odd(), "suite/toy-v0")
    folder = store / "suite" / "toy-v0" / "data"
    files = sorted(folder.iterdir())
    assert {each.name for each in files} == {
        "MANIFEST.json",
        "main_data.hdf5",
        "metadata.json",
    }
    verify("suite/toy-v0")
    rng, found = np.random.default_rng(0), 0
    for number in range(200):
        path = files[number % 3]
        good = path.read_bytes()
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        try:
            verify("suite/toy-v0")
        except IntegrityError as reason:
            assert str(folder) in str(reason) and "\n" not in str(reason)
            found += 1
        path.write_bytes(good)
    verify("suite/toy-v0")
    assert found == 200


@pytest.mark.parametrize("name", ["MANIFEST.json", "main_data.hdf5", "metadata.json"])
@pytest.mark.parametrize("what", ["removed", "emptied", "halved"])
def test_a_file_that_is_not_whole_is_found(store: Path, name: str, what: str):
    save_dataset(dataset(), "suite/toy-v0")
    path = store / "suite" / "toy-v0" / "data" / name
    content = path.read_bytes()
    path.unlink()
    if what != "removed":
        path.write_bytes(content[: len(content) // 2] if what == "halved" else b"")
    lost = name == "metadata.json" and what == "removed"  # then there is no dataset
    with pytest.raises(ValueError if lost else IntegrityError):
        verify("suite/toy-v0")


def test_a_flipped_bit_of_an_npz_is_found_or_changes_nothing():
    # A zip guards its contents; its own notes, such as the time of day, it does not.
    data = odd()
    save_dataset(data, "toy.npz")
    good, rng, found = Path("toy.npz").read_bytes(), np.random.default_rng(0), 0
    for _ in range(200):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        Path("toy.npz").write_bytes(bad)
        try:
            assert_same(load_dataset("toy.npz"), data)
        except (IntegrityError, ValueError) as reason:
            assert "toy.npz" in str(reason) and "\n" not in str(reason)
            found += 1
    assert found > 150


def test_a_zip_that_lost_its_last_entries_is_refused():
    # One bit makes them a comment of the entry before: card and hash would be gone.
    save_dataset(odd(), "toy.npz")
    content = bytearray(Path("toy.npz").read_bytes())
    entry = content.rfind(b"timeouts.npy") - 46  # of the list at the end
    assert content[entry : entry + 4] == b"PK\x01\x02"
    following = len(content) - 22 - (entry + 46 + len("timeouts.npy"))
    content[entry + 32 : entry + 34] = following.to_bytes(2, "little")
    Path("toy.npz").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"it counts 9 arrays and lists 6"):
        load_dataset("toy.npz")


def test_nothing_is_left_of_a_write_that_fails(store: Path, monkeypatch):
    monkeypatch.setattr("suite.data.minari_files._notes", lambda dataset: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_dataset(dataset(), "suite/toy-v0")
    assert [path.name for path in (store / "suite").iterdir()] == [
        "namespace_metadata.json"
    ]


def test_what_is_there_is_never_replaced():
    for target in ("suite/toy-v0", "toy.npz"):
        save_dataset(dataset(), target)
        with pytest.raises(ValueError, match=r"already; delete .* or choose another"):
            save_dataset(numbered(), target)
        assert_same(load_dataset(target), dataset())


# ------------------------------------------------------------------ one clear sentence
def changed(**arrays: Any) -> dict[str, Any]:
    return {**d4rl_arrays(numbered()), **arrays}


def with_nan(name: str) -> dict[str, Any]:
    values = getattr(numbered(), {"observations": "obs"}.get(name, name)).copy()
    values[7] = np.nan
    return changed(**{name: values})


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in changed().items() if key != name}


M = len(numbered())
BAD_FILES = [
    (
        with_nan("rewards"),
        r"rewards must be finite, got nan at transition 7 \(step 3 of",
    ),
    (with_nan("observations"), r"observations must be finite, got nan at transition 7"),
    (with_nan("actions"), r"actions must be finite, got nan"),
    (changed(rewards=np.full(M, np.inf)), "rewards must be finite, got inf"),
    (changed(rewards=np.full(M, 1e300)), "rewards must be finite, got inf"),
    (changed(rewards=np.zeros(M - 1)), f"as many rows .* rewards {M - 1}"),
    (changed(rewards=np.zeros((M, 2))), r"one number a step, got shape \(297, 2\)"),
    (
        changed(observations=np.zeros(M)),
        r"observations must have two axes, .*\(297, 1\)",
    ),
    (changed(actions=np.zeros(M)), r"actions must have two axes, .*\(297, 1\)"),
    (
        changed(observations=np.zeros((M, 3))),
        r"next_observations must have one shape, got \(297, 3\) and \(297, 2",
    ),
    (changed(observations=np.full((M, 2), "a")), "observations must be .* of <U1"),
    (changed(actions=np.zeros((M, 0))), r"need an entry, got shapes .* and \(297, 0\)"),
    (changed(terminals=np.full(M, 2)), "terminals must be true or false, got other"),
    (without("timeouts"), "it has no timeouts; it needs observations, actions"),
    (without("rewards"), "it has no rewards;"),
    ({key: value[:0] for key, value in changed().items()}, "the dataset is empty"),
    ({"x": np.zeros(3)}, "no observations and no actions and no rewards"),
    (
        changed(lengths=np.array([M]), episode_ids=np.array([4]), card="{}"),
        "episode 4 ends before its last transition",
    ),
    (changed(lengths=np.array([1, 2]), card="{}"), "2 lengths that .* 2 episode ids"),
    (
        changed(episode_ids=np.zeros(8), card="{}"),
        "episode ids must be different numbers",
    ),
]


@pytest.mark.parametrize(("arrays", "words"), BAD_FILES)
def test_a_file_that_holds_no_dataset_is_one_clear_sentence(arrays, words):
    paths = ["bad.npz"]
    if not {"lengths", "episode_ids"} & set(arrays) and "<U1" not in words:
        paths.append("bad.hdf5")
    for path in paths:
        with pytest.raises(ValueError, match=words) as caught:
            load_dataset(write(path, arrays))
        told = str(caught.value)
        assert told.startswith(f"{path} holds no dataset: ") and "\n" not in told


@pytest.mark.parametrize("path", ["bad.npz", "bad.hdf5", "bad.h5"])
@pytest.mark.parametrize(
    "content", [b"", b"nothing of the kind", b"PK\x03\x04", "half"]
)
def test_a_file_that_is_none_is_one_clear_sentence(path: str, content: bytes | str):
    if isinstance(content, str):
        whole = Path(write(path, changed())).read_bytes()
        content = whole[: len(whole) // 2]
    Path(path).write_bytes(content)
    with pytest.raises(IntegrityError, match=rf"^{path} is damaged, or no ") as caught:
        load_dataset(path)
    assert "\n" not in str(caught.value)


def test_an_array_that_is_called_an_archive_is_refused():
    np.save("array.npy", np.zeros(3))
    Path("array.npy").rename("array.npz")
    with pytest.raises(IntegrityError, match=r"array.npz is damaged, or no npz file"):
        load_dataset("array.npz")


@pytest.mark.parametrize(
    "name", ["card", "lengths", "episode_ids", "next_observations"]
)
def test_an_array_of_ours_that_lost_its_name_is_missed(name: str):
    # Both notes of a name in a zip changed alike: no checksum knows of it.
    save_dataset(odd(), "toy.npz")
    content = Path("toy.npz").read_bytes()
    assert content.count(f"{name}.npy".encode()) == 2 + content.count(
        f"next_{name}.npy".encode()
    )
    renamed = content.replace(f"{name}.npy".encode(), f"x{name[1:]}.npy".encode())
    Path("toy.npz").write_bytes(renamed)
    if name == "lengths":  # they follow from where episodes end
        return assert_same(load_dataset("toy.npz"), odd())
    with pytest.raises(IntegrityError, match=r"toy.npz is damaged: it"):
        load_dataset("toy.npz")


def test_a_file_in_which_no_episode_ends_says_so_on_its_card():
    ends = {"terminals": np.zeros(M), "timeouts": np.zeros(M)}
    data = load_dataset(write("endless.npz", changed(**ends)))
    assert data.num_episodes == 1 and "one long episode" in data.card["no_ends"]
    assert "no_ends" not in load_dataset(write("ends.npz", changed())).card


def test_an_npz_that_needs_unpickling_is_refused():
    np.savez("bad.npz", observations=np.array([{}], dtype=object))
    with pytest.raises(IntegrityError, match="allow_pickle=False"):
        load_dataset("bad.npz")


BAD_IDS = [
    ("suite/noise0.5-v0", "is no Minari id: it must read namespace/name-v0, .* n0p5"),
    ("suite/hopper-medium", "is no Minari id"),
    ("suite/hopper medium-v0", "is no Minari id"),
    ("../hopper-v0", "is no Minari id"),
    ("/etc/hopper-v0", "is no Minari id"),
    ("s/hopper-v0", "is no Minari id"),
    ("suite//hopper-v0", "is no Minari id"),
    ("suite/höpper-v0", "is no Minari id"),
    ("", "is no Minari id"),
    ("data.csv", r"is no Minari id.*; a file of arrays ends in \.npz"),
]


@pytest.mark.parametrize(("dataset_id", "words"), BAD_IDS)
def test_an_id_that_minari_refuses_is_one_clear_sentence(dataset_id, words, store):
    for call in (load_dataset, lambda name: save_dataset(dataset(), name)):
        with pytest.raises(ValueError, match=words) as caught:
            call(dataset_id)
        assert "\n" not in str(caught.value)
    assert not list(store.rglob("*")) if store.exists() else True


def test_what_is_not_there_is_told_with_what_is_near():
    save_dataset(dataset(), "suite/hopper-medium-v0")
    with pytest.raises(
        ValueError, match=r"no local dataset 'suite/hoper-medium-v0'; did"
    ):
        load_dataset("suite/hoper-medium-v0")
    with pytest.raises(ValueError, match=r"did you mean|`data list`") as caught:
        load_dataset("suite/hopper-expert-v0")
    assert "data make" not in str(caught.value)  # nothing would make it
    with pytest.raises(ValueError, match="data make suite/hopper-medium-20k-v0"):
        load_dataset("suite/hopper-medium-20k-v0")
    with pytest.raises(ValueError, match=r"there is no folder no/where for no/where/x"):
        save_dataset(dataset(), "no/where/x.npz")
    with pytest.raises(ValueError, match=r"there is no file nowhere\.npz"):
        load_dataset("nowhere.npz")
    with pytest.raises(ValueError, match=r"written to \.npz files, got some\.hdf5"):
        save_dataset(dataset(), "some.hdf5")


BAD_EPISODES = [
    (
        {"observations": np.zeros((2, 2))},
        "episode 0 has 2 observations, 3 actions",
    ),
    (
        {"actions": np.zeros((4, 2), np.float32)},
        "episode 0 has 4 observations, 4 actions",
    ),
    ({"rewards": np.array([1.0, np.nan, 1.0])}, "rewards must be finite, got nan"),
    (
        {"terminations": np.array([True, False, False])},
        "ends before its last transition",
    ),
]


@pytest.mark.filterwarnings("ignore:`.*` is set to None")
@pytest.mark.filterwarnings("ignore:env_spec is None")
@pytest.mark.parametrize(("arrays", "words"), BAD_EPISODES)
def test_a_minari_dataset_that_makes_no_sense_is_one_clear_sentence(arrays, words):
    minari_made("other/bad-v0", numbered((3,)), **arrays)
    with pytest.raises(ValueError, match=words) as caught:
        load_dataset("other/bad-v0")
    assert str(caught.value).startswith("other/bad-v0 holds no dataset: ")


@pytest.mark.parametrize("missing", ["minari", "h5py"])
def test_what_is_not_installed_is_named(missing: str, tmp_path: Path):
    # The door itself opens without: an npz needs neither.
    save_dataset(numbered(), tmp_path / "toy.npz")
    write(str(tmp_path / "toy.hdf5"), changed())
    save_dataset(numbered(), "suite/toy-v0")
    asked = {"minari": "suite/toy-v0", "h5py": str(tmp_path / "toy.hdf5")}[missing]
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from suite.datasets import load_dataset\n"
        f"print(len(load_dataset({str(tmp_path / 'toy.npz')!r})))\n"
        f"try: load_dataset({asked!r})\n"
        "except ValueError as reason: print(reason)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    count, told = done.stdout.splitlines()
    assert int(count) == M
    assert f"needs {missing}" in told or f"need {missing}" in told
    assert "not installed; install suite-bench[offline]" in told


def test_the_store_is_minaris(monkeypatch, tmp_path):
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert root() == tmp_path / ".minari" / "datasets"
