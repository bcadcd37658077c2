"""Checkpoints survive kills, bad disks and bad people."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

from suite import storage
from suite.agents.policies import load_policy, save_policy
from suite.checkpoints import Checkpoints, pack, require_like, unpack
from suite.storage import IntegrityError, remove_leftovers, write_directory


def tree() -> dict[str, Any]:
    return {
        "weights": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
        "nested": [{"deep": np.arange(3, dtype=np.uint64)}, 1, None, True, "text"],
        "scalar": np.array(2.5, np.float32),
        "big": (1 << 127) + 1,  # a PCG64 state
        "floats": [0.1, math.inf, -math.inf, math.nan],
        "empty": {"array": np.zeros((0, 3)), "dict": {}, "list": []},
    }


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif hasattr(expected, "dtype"):
        assert (type(found), found.dtype) == (type(expected), expected.dtype)
        assert tuple(found.shape) == tuple(expected.shape)
        assert np.array_equal(found, expected)
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found)
    else:
        assert (found, type(found)) == (expected, type(expected))


# --------------------------------------------------------------------- there and back
def test_a_tree_comes_back_as_it_was(tmp_path: Path):
    assert_same(unpack(pack(tree()), tmp_path), tree())


def test_tensors_that_share_memory_come_back(tmp_path: Path):
    shared = torch.arange(4.0)
    found = unpack(pack({"a": shared, "b": shared[:2]}), tmp_path)
    assert_same(found, {"a": shared, "b": shared[:2]})


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"a": (1, 2)}, "got tuple at /a"),
        ({"a": [np.int64(1)]}, "got int64 at /a/0"),
        ({"a": np.array([object()])}, "got ndarray at /a"),
        ({1: 2}, "got 1 in its root"),
        ({"$numpy": "a"}, r"got '\$numpy' in its root"),
        ({"a": len}, "got builtin_function_or_method"),
    ],
)
def test_what_a_checkpoint_cannot_hold_is_refused_when_it_is_written(bad, complaint):
    with pytest.raises(TypeError, match=complaint):
        pack(bad)


# ------------------------------------------------------------------------ a full shelf
def test_the_newest_two_are_kept_and_the_newest_is_read(tmp_path: Path):
    shelf = Checkpoints(tmp_path / "c")
    assert shelf.newest() is None
    for updates in (1, 2, 9, 10):
        shelf.save(updates, {"x": updates})
    assert shelf.numbers() == [9, 10]
    assert sorted(os.listdir(tmp_path / "c")) == ["10", "9"]
    found = shelf.newest()
    assert found and (found.tree, found.damaged) == ({"x": 10, "updates": 10}, ())


def test_a_damaged_one_is_named_and_the_one_before_is_taken(tmp_path: Path):
    shelf = Checkpoints(tmp_path)
    for updates in (1, 2):
        shelf.save(updates, {"x": updates})
    (tmp_path / "2" / "tree.json").write_bytes(b"{}")
    found = shelf.newest()
    assert found and found.tree["x"] == 1
    assert "2/tree.json is damaged" in found.damaged[0]
    shelf.save(2, {"x": 20})  # the resumed run gets there again
    assert shelf.numbers() == [1, 2]
    found = shelf.newest()
    assert found and (found.tree["x"], found.damaged) == (20, ())


def test_if_all_are_damaged_their_files_are_named(tmp_path: Path):
    shelf = Checkpoints(tmp_path)
    for updates in (1, 2):
        shelf.save(updates, {"x": np.ones(2)})
    (tmp_path / "1" / "arrays.safetensors").unlink()
    (tmp_path / "2" / "tree.json").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"2/tree\.json .*1/arrays\.safetensors"):
        shelf.newest()


def test_one_under_another_name_is_refused(tmp_path: Path):
    shelf = Checkpoints(tmp_path)
    shelf.save(3, {})
    (tmp_path / "3").rename(tmp_path / "4")
    with pytest.raises(IntegrityError, match="4 is not the checkpoint that its name"):
        shelf.newest()


@pytest.mark.parametrize("call", range(6))
def test_a_full_disk_leaves_the_previous_one(tmp_path, monkeypatch, call):
    shelf = Checkpoints(tmp_path)
    shelf.save(1, {"x": np.ones(3)})
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > call:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if call < 5:  # two files, the manifest, the directory and its parent
        with pytest.raises(OSError, match="No space left on device"):
            shelf.save(2, {"x": np.zeros(3)})
    else:
        shelf.save(2, {"x": np.zeros(3)})
    monkeypatch.undo()
    found = shelf.newest()
    assert found and found.damaged == ()
    assert found.tree["updates"] == (1 if call < 4 else 2)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_leftovers_of_dead_writers_are_removed_and_nothing_else(tmp_path: Path):
    for name in (".3.tmp-17", ".result.json.old-9"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("")
    for name in (".policy.tmp-5", "result.json", ".seed-0.lock", ".a.tmp-x"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "absent")
    assert sorted(os.listdir(tmp_path)) == [".a.tmp-x", ".seed-0.lock", "result.json"]


# ------------------------------------------------------------------------ kills, flips
SAVE_LOOP = """
import sys
from pathlib import Path
import numpy as np
from suite.checkpoints import Checkpoints
shelf = Checkpoints(Path(sys.argv[1]))
updates = int(sys.argv[2])
while True:
    updates += 1
    shelf.save(updates, {"x": np.full(30_000, updates)})
    print(updates, flush=True)
"""


@pytest.mark.slow
def test_two_hundred_kills_while_saving_always_leave_a_checkpoint(tmp_path: Path):
    # A process is started seldom, since that takes long, and stopped at 200 random
    # moments: a copy of the folder is what a kill at that moment would have left.
    rng = random.Random(0)
    shelf, done, kills = Checkpoints(tmp_path / "c"), 0, 0
    while kills < 200:
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_LOOP, str(shelf.folder), str(done)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert int(process.stdout.readline()) == done + 1
        for _ in range(20):
            time.sleep(rng.uniform(0, 0.02))  # a random share of some saves
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            newest = intact(shelf)
            assert newest >= done
            done, kills = newest, kills + 1
            process.send_signal(signal.SIGCONT)
        process.kill()
        told = [done, *map(int, process.stdout.read().split())]
        process.stdout.close()
        process.wait()
        done = intact(shelf)
        # What was said to be saved is there; one more may be.
        assert done in (max(told), max(told) + 1)
        remove_leftovers(shelf.folder)
        assert len(os.listdir(shelf.folder)) in (2, 3)  # three: killed before pruning


def intact(shelf: Checkpoints) -> int:
    """After how many updates the newest is, which must be whole."""
    found = shelf.newest()
    assert found and found.damaged == ()
    updates = found.tree["updates"]
    assert np.array_equal(found.tree["x"], np.full(30_000, updates))
    return updates


def test_two_hundred_flipped_bits_are_all_found_and_their_files_named(tmp_path: Path):
    shelf = Checkpoints(tmp_path)
    shelf.save(1, tree())
    files = sorted((tmp_path / "1").iterdir())
    assert [path.name for path in files] == [
        *("MANIFEST.json", "arrays.safetensors", "tensors.safetensors", "tree.json"),
    ]
    rng = random.Random(0)
    for flip in range(200):
        path = files[flip % 4]
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(IntegrityError, match=f"1/{path.name}"):
            shelf.newest()
        path.write_bytes(content)
    assert shelf.newest()


# ---------------------------------------------------------------------- hostile files
class Bomb:
    """Unpickling it leaves a trace."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("EXECUTED",)


def zipped() -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../EXECUTED", "")
    return buffer.getvalue()


def header(entries: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str, shape: list[int], end: int, begin: int = 0) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


DEEP = b"[" * 100_000
BAD_TENSORS: dict[str, bytes] = {
    "pickle": pickle.dumps(Bomb()),
    "zip with ..": zipped(),
    "empty": b"",
    "truncated": save_tensors({"x": torch.ones(8)})[:-4],
    "longer": save_tensors({"x": torch.ones(8)}) + b"0000",
    "huge shape": header({"x": entry("F32", [2**40, 2**40], 4)}, bytes(4)),
    "huge empty shape": header({"x": entry("F32", [0, 2**62, 2**62], 0)}),
    "negative shape": header({"x": entry("F32", [-1], 4)}, bytes(4)),
    "huge header": header(b"{}", length=2**62),
    "header beyond file": header(b"{}", length=100),
    "overlapping": header(
        {"x": entry("F32", [1], 4), "y": entry("F32", [1], 4)}, bytes(4)
    ),
    "unknown dtype": header({"x": entry("PICKLE", [1], 4)}, bytes(4)),
    "deep header": header(DEEP),
    "yaml tag": b"!!python/object/apply:os.mkdir ['EXECUTED']\n",
}
BAD_JSON: dict[str, bytes] = {
    "yaml tag": b"!!python/object/apply:os.mkdir ['EXECUTED']\n",
    "pickle": pickle.dumps(Bomb()),
    "NaN": b'{"schema": 1, "tree": {"updates": NaN}, "policy": {"obs_size": NaN}}',
    "deep": DEEP,
    "deep objects": b'{"a":' * 100_000,
    "a list": b"[1, 2]",
    "null": b"null",
    "not text": b"\xff\xfe\x00",
    "huge number": b'{"schema": 1, "tree": ' + b"9" * 5000 + b"}",
    "too deep a tree": b'{"schema": 1, "tree": ' + b"[" * 950 + b"]" * 950 + b"}",
    "no tree": b'{"schema": 1}',
    "another version": b'{"schema": 99, "tree": {}}',
    "an array that is not there": b'{"schema": 1, "tree": {"x": {"$numpy": "/y"}}}',
    "an array by a list": b'{"schema": 1, "tree": {"x": {"$numpy": []}}}',
}


def _manifest_of(files: dict[str, bytes], name: str) -> Callable[[Path], None]:
    """A manifest with a good hash that names a file elsewhere."""

    def damage(folder: Path) -> None:
        (folder.parent / "secret").write_bytes(b"s")
        body = {"schema": 1, "files": {name: storage._entry(b"s")}, "extra": {}}
        (folder / "MANIFEST.json").write_bytes(storage._render_manifest(body))

    return damage


def _body(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        body = {"schema": 1, "files": {}, "extra": {}, **changes}
        (folder / "MANIFEST.json").write_bytes(storage._render_manifest(body))

    return damage


def _file(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return damage


def _link_a_file(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            path.rename(folder.parent / "elsewhere")
            path.symlink_to(folder.parent / "elsewhere")
            return


def _link_the_manifest(folder: Path) -> None:
    (folder / "MANIFEST.json").rename(folder.parent / "elsewhere")
    (folder / "MANIFEST.json").symlink_to(folder.parent / "elsewhere")


def _pipe(folder: Path) -> None:
    (folder / "MANIFEST.json").unlink()
    os.mkfifo(folder / "MANIFEST.json")  # whoever opens it waits for ever


def _grow(folder: Path) -> None:
    os.truncate(next(folder.glob("*.safetensors")), 1 << 42)  # 4 TB, sparse


DAMAGES: dict[str, Callable[[Path], None]] = {
    "../ in the manifest": _manifest_of({}, "../secret"),
    "an absolute name": _manifest_of({}, "/etc/hostname"),
    "files as a list": _body(files=["tree.json"]),
    "an entry as a list": _body(files={"tree.json": [1], "card.json": [1]}),
    "no files": _body(files=None),
    "deep manifest": _file("MANIFEST.json", DEEP),
    "extra file": _file("extra.pkl", pickle.dumps(Bomb())),
    "linked file": _link_a_file,
    "linked manifest": _link_the_manifest,
    "manifest as a pipe": _pipe,
    "file made huge": _grow,
}


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("EXECUTED"))
    assert not (tmp_path.parent / "EXECUTED").exists()


@pytest.fixture(scope="module")
def policy_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("policy") / "p"
    save_policy(load_policy("pickcube-optimal"), folder, {})
    return storage.read_directory(folder)


def refuse_policy(folder: Path) -> None:
    with pytest.raises(IntegrityError, match=str(folder)):
        load_policy(folder)


def refuse_checkpoint(shelf: Path) -> None:
    with pytest.raises(IntegrityError, match=str(shelf)):
        Checkpoints(shelf).newest()


@pytest.mark.parametrize("kind", BAD_TENSORS)
def test_hostile_tensors_are_refused(tmp_path, policy_files, kind):
    bad = BAD_TENSORS[kind]
    write_directory(tmp_path / "p", {**policy_files, "policy.safetensors": bad})
    refuse_policy(tmp_path / "p")
    good = pack({"updates": 1, "x": torch.ones(8), "y": np.ones(1)})
    for name in ("tensors.safetensors", "arrays.safetensors"):
        write_directory(tmp_path / "c" / "1", {**good, name: bad})
        refuse_checkpoint(tmp_path / "c")


@pytest.mark.parametrize("kind", BAD_JSON)
def test_hostile_json_is_refused(tmp_path, policy_files, kind):
    bad = BAD_JSON[kind]
    write_directory(tmp_path / "p", {**policy_files, "card.json": bad})
    refuse_policy(tmp_path / "p")
    write_directory(tmp_path / "c" / "1", {"tree.json": bad})
    refuse_checkpoint(tmp_path / "c")


@pytest.mark.parametrize("kind", DAMAGES)
def test_hostile_directories_are_refused(tmp_path, policy_files, kind):
    write_directory(tmp_path / "p" / "1", policy_files)
    DAMAGES[kind](tmp_path / "p" / "1")
    refuse_policy(tmp_path / "p" / "1")
    (tmp_path / "elsewhere").unlink(missing_ok=True)
    Checkpoints(tmp_path / "c").save(1, {"x": np.ones(2)})
    DAMAGES[kind](tmp_path / "c" / "1")
    refuse_checkpoint(tmp_path / "c")


@pytest.mark.parametrize(
    "change",
    [
        {"net_arch": [10**6, 10**6]},
        {"net_arch": [1, 10**12]},
        {"net_arch": {"pi": [4], "vf": [10**12]}},
        {"net_arch": ["256"]},
        {"net_arch": [[4]]},
        {"net_arch": {"pi": [-4], "vf": [4]}},
        {"net_arch": "x"},
        {"obs_size": 10**15},
        {"obs_size": True},
        {"activation": "os:mkdir"},
        {"activation": ["tanh"]},
        {"action_low": "low"},
        {"action_low": [1.0] * 8, "action_high": [-1.0] * 7},
        {"action_low": {"a": 1}},
    ],
    ids=str,
)
def test_a_card_with_an_impossible_network_is_refused(tmp_path, policy_files, change):
    card = json.loads(policy_files["card.json"])
    card["policy"].update(change)
    files = {**policy_files, "card.json": json.dumps(card).encode()}
    write_directory(tmp_path / "p", files)
    refuse_policy(tmp_path / "p")


@pytest.mark.parametrize(
    "change",
    [
        lambda x: {k: v.double() for k, v in x.items()},
        lambda x: {k: v.half() for k, v in x.items()},
        lambda x: {**x, "more": torch.ones(1)},
        lambda x: {k: v for k, v in x.items() if k != "log_std"},
        lambda x: {k: v.flatten() for k, v in x.items()},
    ],
    ids=["float64", "float16", "one more", "one less", "other shapes"],
)
def test_weights_of_another_form_are_refused_not_cast(tmp_path, policy_files, change):
    weights = change(load_policy("pickcube-optimal").state_dict())
    files = {**policy_files, "policy.safetensors": save_tensors(weights)}
    write_directory(tmp_path / "p", files)
    refuse_policy(tmp_path / "p")


def test_a_linked_checkpoint_is_refused(tmp_path: Path):
    Checkpoints(tmp_path / "real").save(1, {})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "1").symlink_to(tmp_path / "real" / "1")
    refuse_checkpoint(tmp_path / "c")


def test_arrays_that_the_tree_does_not_name_are_refused(tmp_path: Path):
    files = pack({"updates": 1}) | {
        "arrays.safetensors": save_arrays({"x": np.ones(1)})
    }
    write_directory(tmp_path / "1", files)
    refuse_checkpoint(tmp_path)


def test_the_first_difference_in_form_is_named():
    model = {"a": {"b": np.zeros((2, 3), np.float32)}, "n": 1}
    require_like({"a": {"b": np.ones((2, 3), np.float32)}, "n": 7}, model, "it")
    for other, complaint in (
        ({"a": {"b": np.zeros((2, 3))}, "n": 1}, r"it\.a\.b .* not ndarray float64"),
        ({"a": {"b": np.zeros(6, np.float32)}, "n": 1}, r"not ndarray float32 \(6,\)"),
        ({"a": {"b": torch.zeros(2, 3)}, "n": 1}, "not Tensor"),
        ({"a": {}, "n": 1}, r"it\.a does not fit: it should hold \['b'\]"),
        ({"a": 3, "n": 1}, "not int"),
        ({"a": model["a"], "n": 1.0}, "it.n does not fit: it should be int, not float"),
    ):
        with pytest.raises(IntegrityError, match=complaint):
            require_like(other, model, "it")
