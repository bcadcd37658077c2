"""The layers hold: who may import whom, read from the source and seen at run time."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "suite": "suite",
    "cli": "suite_bench",
    "benchmarks": "suite_bench.benchmarks",
}

ROOT_PACKAGE = ("suite", "suite._version")  # may load anything, when asked
DATA = ("suite.arrays", "suite.transitions", "suite.playback")  # below every layer
BEHIND = ("data", "results", "running")  # folders of modules that are services, too


def services() -> Iterator[str]:
    """The other modules at the top of `suite`, and those behind them.

    They stand beside the layers: they name an agent by a string and load it only when
    asked for.
    """
    for path in sorted((ROOT / "suite").rglob("*.py")):
        place = path.relative_to(ROOT / "suite").with_suffix("").parts
        name = ".".join(("suite", *place))
        if len(place) == 1 or place[0] in BEHIND:
            if name not in (*DATA, "suite.__init__", "suite._version"):
                yield name.removesuffix(".__init__")


SERVICES = tuple(services())
SIMULATION = (*DATA, "suite.envs", "suite.wrappers")
# What each part of `suite` may import from `suite`, beside itself and the version.
MAY_IMPORT = {
    "suite.arrays": (),
    "suite.transitions": (),
    "suite.playback": DATA,
    "suite.envs": DATA,
    "suite.wrappers": DATA,
    **dict.fromkeys(SERVICES, (*SIMULATION, *SERVICES)),
    "suite.worldmodels": (*SIMULATION, *SERVICES),
    "suite.agents": (*SIMULATION, *SERVICES, "suite.worldmodels"),
}
WRAPPERS_NEED_ONLY = {"numpy", "gymnasium", "suite"}
LEARNING = {"torch", "stable_baselines3", "sb3_contrib", "d3rlpy"}
TERMINAL = {"click", "rich"}


@dataclass(frozen=True)
class Import:
    """One import statement: whose, of what, where, and whether loading runs it."""

    importer: str
    target: str
    line: int
    at_load: bool

    @property
    def package(self) -> str:
        return self.target.partition(".")[0]


def imports(module: str, source: str, *, is_package: bool = False) -> list[Import]:
    """Every import of a module, relative ones resolved."""
    package = module if is_package else module.rpartition(".")[0]
    return [
        Import(module, target, node.lineno, at_load)
        for node, at_load in _statements(ast.parse(source, module), at_load=True)
        for target in _targets(node, package)
    ]


def _statements(
    node: ast.AST, *, at_load: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_load
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _statements(child, at_load=False)
        else:
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _statements(child, at_load=at_load and not deferred)


def _targets(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        parts = package.split(".")
        above = ".".join(parts[: len(parts) - node.level + 1])
        base = f"{above}.{base}".rstrip(".")
    # `from suite import envs` imports suite.envs, `from suite.arrays import Snapshot`
    # suite.arrays: the longer name serves both, since parts are matched by prefix.
    return [f"{base}.{alias.name}" for alias in node.names]


def part_of(name: str) -> str | None:
    """The part of `suite` a module belongs to, None if to none."""
    for part in MAY_IMPORT:
        if name == part or name.startswith(f"{part}."):
            return part
    return None


def violation(found: Import) -> str | None:
    """What an import breaks, in one sentence, or None."""
    for rule in (_upward, _heavy_wrapper, _learning_env, _eager_service, _terminal):
        broken = rule(found)
        if broken:
            return f"{found.importer}:{found.line} imports {found.target}: {broken}"
    return None


def _upward(found: Import) -> str | None:
    if found.importer.partition(".")[0] != "suite":
        return None
    if found.package == "suite_bench":
        return "the library knows nothing of its command line"
    importer, target = part_of(found.importer), part_of(found.target)
    if found.importer in ROOT_PACKAGE:
        return None
    if importer is None:
        return f"{found.importer} belongs to no layer; give it one in this test"
    if found.package != "suite" or found.target.startswith("suite._version"):
        return None
    if target == importer or target in MAY_IMPORT[importer]:
        return None
    return f"{importer} may import only {', '.join(MAY_IMPORT[importer]) or 'no layer'}"


def _heavy_wrapper(found: Import) -> str | None:
    if part_of(found.importer) != "suite.wrappers":
        return None
    if found.package in WRAPPERS_NEED_ONLY | sys.stdlib_module_names:
        return None
    return "a wrapper runs with NumPy and Gymnasium alone"


def _learning_env(found: Import) -> str | None:
    below_learning = part_of(found.importer) in (*DATA, "suite.envs")
    if below_learning and found.package in LEARNING:
        return "a simulator needs no learning library"
    return None


def _eager_service(found: Import) -> str | None:
    is_service = found.importer in (*ROOT_PACKAGE, *SERVICES)
    if is_service and found.at_load and found.package in LEARNING:
        return "it costs seconds; import it inside the function that needs it"
    return None


def _terminal(found: Import) -> str | None:
    is_specs = found.importer.startswith("suite_bench.benchmarks")
    is_library = found.importer.partition(".")[0] == "suite"
    if (is_specs or is_library) and found.package in TERMINAL:
        return "click and rich belong to the command line"
    return None


def project_imports() -> list[Import]:
    """Every import of the shipped code; the speed harnesses are free."""
    found = []
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT / folder)
            if inside.parts[0] == "performance":
                continue
            module = ".".join([package, *inside.with_suffix("").parts])
            is_package = path.name == "__init__.py"
            module = module.removesuffix(".__init__")
            found += imports(module, path.read_text(), is_package=is_package)
    return found


def test_every_import_of_the_project_keeps_to_its_layer():
    found = project_imports()
    # Guards against reading nothing: these imports are known to be there.
    edges = {(part_of(each.importer), part_of(each.target)) for each in found}
    assert {("suite.envs", "suite.arrays"), ("suite.agents", "suite.arrays")} <= edges
    assert [broken for each in found if (broken := violation(each))] == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("suite.envs.reacher", "import suite.agents.ppo", "envs may import only"),
        (
            "suite.envs.reacher",
            "from suite import wrappers",
            "envs may import only",
        ),
        (
            "suite.envs.reacher",
            "from ..agents import ppo",
            "envs may import only",
        ),
        ("suite.envs.reacher", "import suite", "envs may import only"),
        ("suite.envs.reacher", "import torch.nn", "no learning library"),
        ("suite.envs.reacher", "def f():\n    import d3rlpy", "no learning library"),
        ("suite.arrays", "from suite.envs import batch", "may import only no layer"),
        ("suite.arrays", "import torch", "no learning library"),
        ("suite.wrappers.reward", "from suite.envs import batch", "may import only"),
        ("suite.wrappers.reward", "import scipy", "NumPy and Gymnasium alone"),
        ("suite.wrappers.reward", "import mujoco", "NumPy and Gymnasium alone"),
        ("suite.worldmodels.flow", "import suite.agents", "may import only"),
        ("suite.runs", "def f():\n    import suite.agents", "may import only"),
        ("suite.runs", "import torch", "inside the function"),
        ("suite.results", "import torch", "inside the function"),
        ("suite.running.jobs", "import d3rlpy", "inside the function"),
        ("suite.data.cards", "def f():\n    import suite.agents", "may import only"),
        ("suite.runs", "try:\n    import torch\nexcept OSError: pass", "inside the"),
        ("suite", "from stable_baselines3 import PPO", "inside the function"),
        ("suite.newlayer.part", "import math", "belongs to no layer"),
        ("suite.agents.ppo", "import suite_bench.main", "its command line"),
        ("suite.agents.ppo", "from rich import print", "belong to the command line"),
        ("suite.benchmark", "import click", "belong to the command line"),
        (
            "suite_bench.benchmarks.pickcube",
            "import click",
            "belong to the command line",
        ),
    ],
)
def test_an_import_against_the_layers_is_named(
    module: str, source: str, complaint: str
):
    (found,) = imports(module, source)
    assert complaint in (violation(found) or "nothing")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("suite.envs.reacher", "from suite.envs.batch import BatchEnv"),
        ("suite.envs.reacher", "from suite.arrays import Snapshot"),
        ("suite.envs.reacher", "import mujoco"),
        ("suite.wrappers.reward", "from suite.arrays import Restorable"),
        ("suite.wrappers.reward", "from . import adapters"),
        ("suite.wrappers.reward", "from collections.abc import Mapping"),
        ("suite.worldmodels.flow", "import torch"),
        ("suite.agents.mpc", "import suite.worldmodels.imagine"),
        ("suite.agents.ppo", "from suite._version import __version__"),
        ("suite.runs", "def f():\n    import torch"),
        ("suite.runs", "if TYPE_CHECKING:\n    import torch"),
        ("suite", "def f():\n    import suite.agents.policies"),
        ("suite_bench.main", "import click"),
        ("suite_bench.run", "import suite.agents.ppo"),
    ],
)
def test_an_import_within_the_layers_is_let_through(module, source):
    (found,) = imports(module, source)
    assert violation(found) is None


def test_relative_imports_of_a_package_resolve_to_itself():
    (found,) = imports("suite.envs", "from . import batch", is_package=True)
    assert found.target == "suite.envs.batch"


# An environment in closed form is made of these.
NUMPY_ONLY = (
    *("suite.envs.batch", "suite.envs.single", "suite.envs.simulation"),
    *("suite.envs.task", "suite.wrappers"),
)


@pytest.mark.parametrize("module", ["suite", *SERVICES, *NUMPY_ONLY])
def test_loading_it_loads_no_simulator_and_no_learning_library(module):
    heavy = sorted({"mujoco", *LEARNING})
    code = f"import sys, {module}; print(sorted(set(sys.modules) & set({heavy})))"
    assert _python(code) == "[]"


def test_importing_the_library_registers_its_environments():
    code = "import gymnasium, suite; print('PickCube-v0' in gymnasium.registry)"
    assert _python(code) == "True"


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
