"""What one run makes and another one needs: ``run:NAME`` in a specification.

A start policy or a pretrained critic may be the result of a benchmark. A specification
names it instead of a folder, ``"run:pickcube-critic"``; ``"run:pickcube-critic/2"`` is
that of seed 2, ``"run:pickcube-critic@quick"`` that of another scale. It is looked up
below the same output folder, and the result of the run that used it says which it was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.benchmark import Benchmark, get
from suite.parts import ConfigError
from suite.running.run_folder import RunFolder
from suite.storage import MANIFEST

PREFIX = "run:"
_REFERENCE = re.compile(r"run:([A-Za-z0-9_.-]+)(?:@([a-z0-9]+))?(?:/(\d{1,9}))?")


@dataclass(frozen=True)
class Artefact:
    """The policy, or the fitted model, that a finished run left.

    Attributes:
        reference: As the specification has it.
        path: Its folder.
        digest: Of the specification that made it.
        sha256: Of its manifest, which holds the hashes of its files.
    """

    reference: str
    path: Path
    digest: str
    sha256: str

    def to_json(self) -> dict[str, str]:
        """What a result says of it; the path depends on the machine."""
        return {
            "reference": self.reference,
            "digest": self.digest,
            "sha256": self.sha256,
        }


def artefacts(spec: Benchmark, out: str | Path) -> list[Artefact]:
    """The results that a benchmark needs, in the order of their references.

    Args:
        spec: The benchmark.
        out: The output folder, below which the runs lie.

    Raises:
        ConfigError: If a reference is misspelt, or its run has not finished; says how
            to run it.
        UnknownName: If there is no such benchmark.
    """
    return [_artefact(reference, Path(out)) for reference in references(spec)]


def references(spec: Benchmark) -> list[str]:
    """The references of a benchmark, sorted."""
    found: set[str] = set()
    _replaced(_built(spec), lambda text: found.add(text) or text)
    return sorted(found)


def referred(reference: str) -> tuple[Benchmark, str, int]:
    """What a reference means: the benchmark at its scale, that scale and the seed.

    Raises:
        ConfigError: If it is misspelt.
        UnknownName: If there is no such benchmark or scale.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ConfigError(
            f"{reference!r} must read run:NAME, run:NAME@SCALE or run:NAME/SEED, such "
            "as run:pickcube-critic"
        )
    scale = match[2] or "default"
    return get(match[1]).at_scale(scale), scale, int(match[3] or 0)


def located(spec: Benchmark, needed: Sequence[Artefact]) -> Benchmark:
    """The benchmark with folders in the places of its references."""
    paths = {artefact.reference: str(artefact.path) for artefact in needed}
    document = spec.to_json()
    return Benchmark.from_json(
        {**document, **_replaced(_built(spec), paths.__getitem__)}
    )


def _built(spec: Benchmark) -> dict[str, Any]:
    """What a run builds; its other scales need nothing now."""
    document = spec.to_json()
    names = ("agent", "evaluation", "start", "data")
    return {name: document[name] for name in names if name in document}


def _artefact(reference: str, out: Path) -> Artefact:
    spec, scale, seed = referred(reference)
    folder = RunFolder.of(spec, out)
    if folder.result(seed) is None:
        raise ConfigError(
            f"{reference} has not been run into {folder.path}; first run: suite-bench "
            f"run {spec.name} --scale {scale} --seeds {seed} --out {out}"
        )
    path = folder.seed(seed) / "policy"
    if not path.exists():  # a fit's
        path = folder.seed(seed) / "model"
    manifest = (path / MANIFEST).read_bytes()
    return Artefact(reference, path, spec.digest, hashlib.sha256(manifest).hexdigest())


def _replaced(value: Any, by: Callable[[str], str]) -> Any:
    """A JSON document whose references are passed through a function."""
    if isinstance(value, dict):
        return {name: _replaced(item, by) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, by) for item in value]
    if isinstance(value, str) and value.startswith(PREFIX):
        return by(value)
    return value
