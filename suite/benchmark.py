"""Benchmarks: frozen specifications of environment, agent and evaluation.

How one is built: each ``Part`` imports what it calls, its nested parts are built first,
and these are injected by parameter name wherever a callable takes them and its part
does not give them:

    make_env   make_env(num_envs, autoreset_mode="disabled", num_threads=1) makes
               the vector environment with its wrappers
    seed       the run's seed
    device     the torch device, "cpu" or "cuda"
    threads    how many threads may simulate
    data       the benchmark's data, where it has some
    env        what to act in, same-step autoreset (the agent's own part only)

A wrapper gets ``env``, what to wrap, and nothing else.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from suite.parts import (
    ConfigError,
    Part,
    arguments,
    build,
    canonical,
    check,
    from_json,
    frozen,
    registered_arguments,
    resolve,
    to_json,
    vector_entry_point,
)
from suite.settings import (
    change,
    differences,
    flat,
    label,
    overridden,
    record,
    require_fields,
)
from suite.unknown_names import UnknownName, no_such

INJECTED = ("make_env", "seed", "device", "threads", "data", "env")
# These say what an experiment is called and compared with, not what it computes.
DESCRIPTIVE = ("name", "about", "metric", "seeds", "scales", "reference", "baselines")


@dataclass(frozen=True)
class Env:
    """The environment of a benchmark.

    Args:
        id: A registered Gymnasium id that has a vector entry point; ``"module:Id-v0"``
            where a module other than ``suite`` registers it.
        num_envs: Rows of the training environment.
        kwargs: Passed to the vector entry point.
    """

    id: str
    num_envs: int = 1
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scale:
    """A named size of a benchmark.

    Args:
        time: How long one seed takes, for the reader.
        settings: Changes by dotted key, as ``--set`` takes them.
    """

    time: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """Published numbers to print beside ours.

    Args:
        source: Where they are from.
        rows: (iteration, environment steps before it, value of the metric in [0, 1]).
            The evaluation of iteration i precedes its update: i - 1 updates lie behind
            it.
    """

    source: str
    rows: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One experiment, complete: what a run needs and what its report says.

    Use it through ``get(name)``, change it by ``with_settings``, keep it as
    ``to_json``. Two are equal if their JSON is.

    Args:
        name: Unique, for the command line.
        about: What it shows, a sentence or two.
        env: The environment.
        agent: Has ``iterate(total_timesteps)``, ``policy``, ``sim_steps``,
            ``num_timesteps``.
        total_timesteps: Environment steps to collect; the estimator's own come on top.
            An agent that learns from data takes none: there it is updates, gradient
            steps or the generations of a search.
        evaluation: Called with (policy, key); returns a flat dict of numbers.
        metric: The headline key of the evaluation's result; ``suite.results.units``
            knows its unit.
        wrappers: Applied to every environment, the first one innermost.
        start: Name of a packaged policy or a folder to start from, or None.
        data: A ``suite.transitions.Dataset`` for an agent that takes ``data``, or None.
        seeds: What a run does if not told.
        every: Updates between evaluations; one always follows the last update.
        checkpoint_at: Numbers of updates after which the policy is kept.
        scales: Sizes by name; ``"default"`` is the specification as it is written.
        reference: Published numbers.
        baselines: What policies that know nothing score on the metric, by their names;
            printed beside every score.

    Raises:
        ConfigError: If a value is out of range or cannot be written as JSON.
    """

    name: str
    about: str
    env: Env
    agent: Part
    total_timesteps: int
    evaluation: Part
    metric: str
    wrappers: tuple[Part, ...] = ()
    start: str | None = None
    data: Part | None = None
    seeds: tuple[int, ...] = (0,)
    every: int = 1
    checkpoint_at: tuple[int, ...] = ()
    scales: Mapping[str, Scale] = field(default_factory=dict)
    reference: Reference | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._require_parts()
        env = replace(self.env, kwargs=frozen(self.env.kwargs))
        object.__setattr__(self, "env", env)
        object.__setattr__(self, "baselines", frozen(self.baselines))
        for name, least in (("total_timesteps", 0), ("every", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{name} must be {least} or more, got {getattr(self, name)}"
                )
        if env.num_envs < 1 or not self.seeds or min(self.seeds) < 0:
            raise ConfigError(
                "a benchmark needs a row and a seed of 0 or more, got "
                f"num_envs {env.num_envs} and seeds {list(self.seeds)}"
            )

    def _require_parts(self) -> None:
        if not isinstance(self.wrappers, (tuple, list)):
            raise ConfigError(
                f"wrappers must be a tuple of parts, got {self.wrappers!r}; a single "
                "one is written (part,)"
            )
        object.__setattr__(self, "wrappers", tuple(self.wrappers))
        parts = {"agent": self.agent, "evaluation": self.evaluation}
        parts |= {f"wrappers.{i}": part for i, part in enumerate(self.wrappers)}
        if self.data is not None:
            parts["data"] = self.data
        for name, part in parts.items():
            if not isinstance(part, Part):
                raise ConfigError(
                    f'{name} must read Part("module:attribute", {{...}}), as JSON '
                    '{"call": "module:attribute", "kwargs": {...}}, got '
                    f"{part!r}"
                )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Benchmark) and canonical(self) == canonical(other)

    def __hash__(self) -> int:
        return hash(canonical(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Benchmark.from_json, (self.to_json(),)  # a mappingproxy does not pickle

    # ------------------------------------------------------------------ as data
    def to_json(self) -> dict[str, Any]:
        """The whole specification as plain JSON values."""
        document = to_json(self)
        if self.data is None:  # specifications from before there was data keep digests
            del document["data"]
        if not self.baselines:
            del document["baselines"]
        return document

    @staticmethod
    def from_json(document: Any) -> Benchmark:
        """The benchmark of a document by ``to_json``.

        Raises:
            ConfigError: If a field is unknown, missing or of the wrong type.
        """
        require_fields(Benchmark, document, "specification")
        fields = {name: from_json(value) for name, value in document.items()}
        fields["env"] = record(Env, fields["env"], "env")
        scales = fields.get("scales", {}).items()
        fields["scales"] = {name: record(Scale, scale, name) for name, scale in scales}
        if fields.get("reference") is not None:
            fields["reference"] = record(Reference, fields["reference"], "reference")
        return Benchmark(**fields)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides what one seed computes."""
        return hashlib.sha256(canonical(self._computed()).encode()).hexdigest()

    # ------------------------------------------------------------------ changed
    def at_scale(self, name: str) -> Benchmark:
        """This benchmark at one of its sizes.

        Raises:
            UnknownName: If it has no such scale.
        """
        known = {"default": Scale(""), **self.scales}
        if name not in known:
            raise UnknownName(no_such("scale", name, known))
        return self.with_settings(known[name].settings)

    def with_settings(self, settings: Mapping[str, Any]) -> Benchmark:
        """This benchmark with other values at dotted keys, as ``--set`` takes them.

        Raises:
            ConfigError: If a key is unknown or a value is of the wrong type.
        """
        document = self.to_json()
        for key, value in settings.items():
            change(document, arguments(Benchmark), key, to_json(from_json(value)))
        return Benchmark.from_json(document)

    @property
    def settings(self) -> dict[str, Any]:
        """Every value that can be set, by dotted key."""
        return flat(self._computed())

    def _computed(self) -> dict[str, Any]:
        document = self.to_json()
        return {name: document[name] for name in document if name not in DESCRIPTIVE}

    @property
    def steps(self) -> str:
        """What ``total_timesteps`` counts."""
        return "environment steps" if self.data is None else "updates"

    @property
    def label(self) -> str:
        """What differs from the registered benchmark: a scale, then settings."""
        if self.name not in names():
            return "custom"
        base, ours = get(self.name), self.settings
        words = {
            name: differences(ours, overridden(base.settings, scale.settings))
            for name, scale in {"default": Scale(""), **base.scales}.items()
        }
        nearest = min(words, key=lambda name: len(words[name]))
        return label(nearest, words[nearest])

    # -------------------------------------------------------------------- built
    def check(self) -> None:
        """Import every part, see that argument names fit, load the start policy.

        Nothing is simulated.

        Raises:
            ConfigError: Naming the part and the argument.
            ValueError: If there is no such start policy.
            IntegrityError: If it is damaged.
        """
        self.check_data()
        injected: dict[str, Any] = dict.fromkeys(INJECTED)
        if self.data is None:
            del injected["data"]
        check(self.agent, injected)
        check(self.data, injected)  # the wrappers in it get the dataset as env
        del injected["env"]
        check(self.evaluation, injected)
        for part in self.wrappers:  # what the run knows is not theirs
            check(part, {"env": None})
        entry = Part(vector_entry_point(self.env.id), self.env.kwargs)
        check(entry, {"num_envs": 0, **registered_arguments(self.env.id)})
        # Where the result of a run lies is known when the output folder is.
        if self.start is not None and not self.start.startswith("run:"):
            resolve("suite.agents.policies:load_policy")(self.start)

    def check_data(self) -> None:
        """See that there is data exactly if the agent takes some.

        Raises:
            ConfigError: If not.
        """
        argument = arguments(resolve(self.agent.call)).get("data")
        if argument is None and self.data is not None:
            raise ConfigError(f"{self.agent.call} takes no data; leave data out")
        if argument is not None and argument.required and self.data is None:
            raise ConfigError(
                f"{self.agent.call} learns from data; give some, such as data="
                'Part("suite.datasets:load_dataset", {"source": "my-data.npz"})'
            )

    def make_env(
        self, num_envs: int, autoreset_mode: str = "disabled", *, num_threads: int = 1
    ) -> Any:
        """The wrapped vector environment.

        Args:
            num_envs: Rows.
            autoreset_mode: ``"disabled"``, ``"same_step"`` or ``"next_step"``.
            num_threads: Threads that step the rows, where the environment takes it.

        Raises:
            ConfigError: If the id is unknown.
        """
        import gymnasium as gym

        taken = arguments(resolve(vector_entry_point(self.env.id)))
        env: Any = gym.make_vec(
            self.env.id,
            num_envs=num_envs,
            vectorization_mode="vector_entry_point",
            autoreset_mode=autoreset_mode,
            **({"num_threads": num_threads} if "num_threads" in taken else {}),
            **to_json(self.env.kwargs),
        )
        for part in self.wrappers:  # make_vec refuses wrappers beside an entry point
            env = build(part, {}, env=env)
        return env


# --------------------------------------------------------------------- the registry
_registered: dict[str, Benchmark] = {}


def register(benchmark: Benchmark) -> Benchmark:
    """Make a benchmark known by its name; returns it.

    Raises:
        ValueError: If another one has that name.
    """
    if _registered.setdefault(benchmark.name, benchmark) != benchmark:
        raise ValueError(f"there is another benchmark called {benchmark.name!r}")
    return benchmark


def names() -> list[str]:
    """The names of all registered benchmarks, sorted."""
    importlib.import_module(
        "suite_bench.benchmarks"
    )  # registers ours; imports no torch
    return sorted(_registered)


def get(name: str) -> Benchmark:
    """The registered benchmark of that name.

    Raises:
        UnknownName: With the nearest names.
    """
    if name not in names():
        raise UnknownName(no_such("benchmark", name, names()))
    return _registered[name]
