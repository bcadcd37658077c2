"""The stored data that specifications name: are they there, are they those of before?

All of it is read off cards and results, not one transition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from suite.benchmark import Benchmark
from suite.data.published import PUBLISHED, other_numbers
from suite.datasets import dataset_card, require_source
from suite.parts import ConfigError, Part, canonical
from suite.running.run_folder import RunFolder
from suite.storage import IntegrityError

_LOAD = "suite.datasets:load_dataset"


def missing(specs: Iterable[Benchmark]) -> dict[str, str]:
    """Sources that some specifications name and that are not there, each with why."""
    found: dict[str, str] = {}
    for source in dict.fromkeys(s for spec in specs for s in sources_of(spec)):
        try:
            require_source(source)
        except ValueError as reason:
            found[source] = str(reason)
    return found


def strays(specs: Iterable[Benchmark]) -> dict[str, str]:
    """Sources under published ids that hold other data than those, each with advice."""
    named = dict.fromkeys(source for spec in specs for source in sources_of(spec))
    hashes = {each: _own_hash(each) for each in named if each in PUBLISHED}
    told = {each: other_numbers(each, sha256) for each, sha256 in hashes.items()}
    return {
        each: f"{sentence}; to have it, move this one away and run suite-bench data "
        f"make {each}"
        for each, sentence in told.items()
        if sentence
    }


def _own_hash(source: str) -> str | None:
    """Of its own numbers, off its card; None if there is none that can be read."""
    try:
        card = dataset_card(source)
    except (ValueError, IntegrityError):  # whoever loads it will say so
        return None
    return card.get("sha256") if isinstance(card, Mapping) else None


def require_data(specs: Iterable[Benchmark]) -> None:
    """Refuse specifications whose data are not there, a critic's probe included.

    Raises:
        ConfigError: With how to make what can be made.
    """
    reasons = missing(specs).values()
    if reasons:
        raise ConfigError("; and ".join(reasons))


def sources_of(spec: Benchmark) -> Iterator[str]:
    """Where the data of a specification, of its agent and of its scores come from."""
    for part in (spec.data, spec.agent, spec.evaluation):
        yield from _sources(part)


def _sources(value: Any) -> Iterator[str]:
    """The sources of all calls of ``load_dataset`` inside a value."""
    if isinstance(value, Part):
        if value.call == _LOAD:
            yield str(value.kwargs.get("source"))
        value = value.kwargs
    items = tuple(value.values()) if isinstance(value, Mapping) else value
    if isinstance(items, tuple):
        for item in items:
            yield from _sources(item)


class SameData:
    """Refuses results that were computed on other data than their neighbours.

    A specification names its data and does not hold them: the same name may have been
    made again, or elsewhere, with other numbers in it. Where two results say that they
    read the same, they must have read the same.

    Args:
        is_local: Whether what is stored here now counts, too. Without, results are
            compared with each other alone, as where no data are needed any more.
    """

    def __init__(self, *, is_local: bool):
        self._is_local = is_local
        self._known: dict[str, tuple[str, str]] = {}  # key -> hash, and who has it

    def take(self, folder: RunFolder, spec: Benchmark, seed: int) -> None:
        """Look at a seed's result, if it has one.

        Raises:
            IntegrityError: If its data are not those of the results before it, or not
                those that are stored here; names its folder.
        """
        data = spec.data
        try:
            result = folder.result(seed)
        except IntegrityError:  # for whoever wants to read it
            return
        told = (result or {}).get("data")
        if data is None or not isinstance(told, dict):
            return
        for name, part, sha256 in _told(data, seed, told):
            self._compare(name, part, sha256, folder.seed(seed))

    def _compare(self, name: str, part: Part, sha256: str, home: Path) -> None:
        if name not in self._known:
            stored = _stored(part) if self._is_local else None
            self._known[name] = stored or (sha256, f"those of {home}")
        known, who = self._known[name]
        if known != sha256:
            raise IntegrityError(
                f"{home} was trained on other data (sha256 {sha256[:12]}) than {who} "
                f"({known[:12]}), by the same specification; bring the same data back, "
                "or run all of it again with --fresh or into another --out"
            )


def _told(
    data: Part, seed: int, told: Mapping[str, Any]
) -> Iterator[tuple[str, Part, str]]:
    """What a result says of data, and of the source that they were made of."""
    plain = {name: data.kwargs[name] for name in data.kwargs if name != "corruptions"}
    source, is_corrupted = Part(data.call, plain), bool(data.kwargs.get("corruptions"))
    whole = told.get("sha256")
    # Noise may be drawn anew for each seed.
    if is_corrupted and isinstance(whole, str):
        yield f"{canonical(data)} seed {seed}", data, whole
    made_of = told.get("source", None if is_corrupted else whole)
    if isinstance(made_of, str):
        yield canonical(source), source, made_of


def _stored(part: Part) -> tuple[str, str] | None:
    """The hash on the card of what a part would load, if that can be said."""
    if part.call != _LOAD or set(part.kwargs) != {"source"}:
        return None
    source = str(part.kwargs["source"])
    try:
        require_source(source)
    except ValueError:
        return None
    card = dataset_card(source)
    sha256 = origin(card)
    return None if sha256 is None else (sha256, f"those of the local {source}")


def origin(card: Mapping[str, Any]) -> str | None:
    """The hash of what a card's data were made of, or their own if of nothing."""
    return (card.get("parent") or card).get("sha256")
