"""Run folders, and what fills them: seeds, checkpoints, logs, results.

runs/<benchmark>/<label>-<digest>/seed-<n>/
    spec.json     the whole specification; ``suite-bench run spec.json`` reruns it
    origin.json   command, device, versions, commit and processor of the start
    metrics.csv   a row for each update
    eval.csv      a row for each evaluation; it precedes the update of its iteration
    policies/<n>/ the policy after n updates, where the benchmark asks for it
    policy/       the last policy; of a model fit it is model/, and models/<n>/ above
    model/        the last model, beside the policy of an agent that learns one
    details.npz   what the evaluation has to say beside, where it has
    result.json   written last: its presence means done
    timing.csv    wall-clock seconds of each phase
    timing.json   their sums, processor seconds, and when and with how many threads each
                  session ran
    run.log       what happened when
    checkpoints/  the newest two, after each update, or, where writing one takes longer
                  than a second, a twentieth of the time; removed when the seed is done

A run that was stopped, however it was, goes on from its newest checkpoint and ends with
the same bytes as one that never was, at the same versions on the same kind of
processor. That holds for everything above timing.csv.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from suite.benchmark import Benchmark
from suite.checkpoints import Checkpoints, Found
from suite.parts import ConfigError
from suite.running.artefacts import artefacts
from suite.running.process import cores, prepare_process, provenance, resolve_device
from suite.running.run_folder import RunFolder as RunFolder
from suite.running.training import Origin, Training
from suite.running.training import Progress as Progress
from suite.storage import IntegrityError as IntegrityError
from suite.storage import read_directory as read_directory
from suite.storage import read_json, remove_leftovers, write_json
from suite.storage import write_directory as write_directory

log = logging.getLogger("suite.runs")


def run_seed(
    spec: Benchmark,
    folder: RunFolder,
    seed: int,
    *,
    device: str = "auto",
    threads: int | None = None,
    command: str = "",
    fresh: bool = False,
) -> Generator[Progress, None, None]:
    """Run one seed of a benchmark into its folder; yields as it goes.

    A finished seed yields nothing. An unfinished one goes on after its newest
    checkpoint, or starts over if it has none yet.

    Args:
        spec: What to run.
        folder: Where, see ``RunFolder.of``.
        seed: Of everything random in the run.
        device: ``"auto"`` (CUDA if there is one), ``"cpu"`` or ``"cuda"``.
        threads: Threads that simulate; all cores if None. Results do not depend on it.
        command: What the user typed, for the record; that of the start counts.
        fresh: Start over, finished or not.

    Raises:
        RunBusy: If another process writes there.
        ConfigError: If the specification cannot be built, or what lies there is of
            another one or was begun on another device.
        FloatingPointError: If the training diverged.
        IntegrityError: If the start policy or every checkpoint is damaged.
        OSError: If the disk refuses.
    """
    home = folder.seed(seed)
    with folder.locked(seed):
        if folder.result(seed) is not None and not fresh:
            return
        needed = artefacts(spec, folder.path.parent.parent)
        prepare_process()
        found = None if fresh else _newest(folder, seed, spec)
        if found is None:
            origin = _begin(home, spec, device, command)
        else:
            origin = _origin(folder, seed, device)
        for leftovers in (home, home / "policies", home / "checkpoints"):
            remove_leftovers(leftovers)
        threads = threads or cores()
        with _log_file(home / "run.log"):
            log.info("started: %s", command or "from Python")
            with _nothing_left(home if found is None else None):
                training = Training(spec, home, seed, threads, origin, found, needed)
            for note in _notes(training, found):
                log.warning(note)
                yield training.progress(note=note)
            timing = _timing(home, training.updates, threads, command)
            write_json(home / "timing.json", timing)
            yield from training.train()
            training.finish(timing)
            shutil.rmtree(home / "checkpoints", ignore_errors=True)
            log.info("finished")


def _newest(folder: RunFolder, seed: int, spec: Benchmark) -> Found | None:
    home = folder.seed(seed)
    if not (home / "spec.json").exists():
        return None
    if Benchmark.from_json(read_json(home / "spec.json")).digest != spec.digest:
        raise ConfigError(
            f"{home} holds another specification; start over with --fresh, or choose "
            "another --out"
        )
    return Checkpoints(home / "checkpoints").newest()


def _begin(home: Path, spec: Benchmark, device: str, command: str) -> Origin:
    """An empty folder with what the run is; nothing that was there is left."""
    origin = Origin(command, resolve_device(device), provenance())
    if home.exists():
        # First: a folder half removed must not count as done.
        (home / "result.json").unlink(missing_ok=True)
        shutil.rmtree(home)
    home.mkdir()
    facts = {"command": origin.command, "device": origin.device, **origin.provenance}
    write_json(home / "origin.json", facts)
    write_json(home / "spec.json", spec.to_json())
    return origin


def _origin(folder: RunFolder, seed: int, device: str) -> Origin:
    """What the run that goes on was begun with."""
    facts = folder.origin(seed)
    command, began_on = facts.pop("command"), facts.pop("device")
    if device not in ("auto", began_on):
        raise ConfigError(
            f"{folder.seed(seed)} was begun on {began_on}; go on with --device "
            f"{began_on}, or start over with --fresh"
        )
    return Origin(command, resolve_device(began_on), facts)


def _notes(training: Training, found: Found | None) -> Iterator[str]:
    """What the user should know before it starts."""
    if training.unsaved is not None:
        yield f"an interruption will lose this run: {training.unsaved}"
    if found is None:
        return
    for damage in found.damaged:
        yield f"{damage}; falling back to the checkpoint before"
    now = provenance()
    if now not in (training.origin.provenance, *training.resumed_with):
        training.resumed_with.append(now)
    if now != training.origin.provenance:
        changes = "; ".join(_changes(training.origin.provenance, now))
        yield f"not what it was begun with, so results may differ: {changes}"
    yield f"continues from iteration {training.updates + 1}"


def _changes(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    flat = [{**facts, **facts["versions"]} for facts in (before, now)]
    for name in sorted({*flat[0], *flat[1]} - {"versions"}):
        old, new = (facts.get(name) for facts in flat)
        if old != new:
            yield f"{name} {old}, now {new}"


@contextlib.contextmanager
def _nothing_left(home: Path | None) -> Iterator[None]:
    """Remove a folder again if what should run in it cannot be built."""
    try:
        yield
    except Exception:  # a constructor may refuse its values by any
        if home is not None:
            shutil.rmtree(home)
        raise


def _timing(home: Path, updates: int, threads: int, command: str) -> dict[str, Any]:
    path = home / "timing.json"
    sessions = read_json(path)["sessions"] if path.exists() else []
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    session = {"started": started, "updates": updates, "threads": threads}
    return {"sessions": [*sessions, {**session, "command": command}]}


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    root = logging.getLogger("suite")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    except BaseException as reason:
        log.info("stopped: %s: %s", type(reason).__name__, reason)
        raise
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
