"""What a user installs: the wheel's contents, and that it works elsewhere."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 15_000_000  # bytes
NOT_SOURCE = (
    ".*",
    "build",
    "dist",
    "runs",
    "docs",
    "tests",
    "*.egg-info",
    "__pycache__",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution of a clean copy of the checkout."""
    source = tmp_path_factory.mktemp("source") / "project"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    built = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", built, source)
    assert len(list(built.glob("suite_bench-*.tar.gz"))) == 1
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fresh environment's programs, the wheel installed in it."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    programs = home / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python")
    _run(*pip, "install", "--no-deps", "--no-index", "--quiet", wheel)
    # The dependencies are borrowed from this interpreter instead of downloaded. A path
    # named in a .pth file does not have its own .pth files read, so that an editable
    # install of the checkout stays out of sight.
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages,) = home.glob("lib/python*/site-packages")
    (site_packages / "borrowed.pth").write_text("\n".join(sorted(paths)))
    return programs


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    # Neither the checkout on the path nor a setting of ours may lend a hand.
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _expected_files() -> set[str]:
    """Every module, scene, policy and model of the checkout, as the wheel names it."""
    suite = ROOT / "suite"
    files = [*suite.rglob("*.py"), *(suite / "envs" / "assets").glob("*.xml")]
    for folder in (
        "agents/checkpoints",
        "agents/behaviours",
        "worldmodels/checkpoints",
    ):
        for kept in (suite / folder).glob("*/"):
            files += kept.iterdir()
    names = {path.relative_to(ROOT).as_posix() for path in files}
    names |= {f"suite_bench/{path.name}" for path in (ROOT / "cli").glob("*.py")}
    specs = (ROOT / "benchmarks").glob("*.py")
    return names | {f"suite_bench/benchmarks/{path.name}" for path in specs}


@pytest.mark.slow
def test_wheel_holds_exactly_the_code_scenes_and_policies(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {name for name in names if ".dist-info/" not in name}
    assert shipped == _expected_files()
    assert "suite/envs/assets/pickcube.xml" in shipped


@pytest.mark.slow
def test_wheel_adds_two_names_to_site_packages(wheel: Path):
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "suite",
        "suite_bench",
    }


@pytest.mark.slow
def test_wheel_is_small(wheel: Path):
    assert wheel.stat().st_size <= LARGEST_WHEEL


@pytest.mark.slow
def test_installed_command_lists_benchmarks_from_another_folder(
    installed: Path, tmp_path: Path
):
    assert "pickcube-awr" in _run(installed / "suite-bench", "list", cwd=tmp_path)


@pytest.mark.slow
def test_installed_environment_steps_from_another_folder(
    installed: Path, tmp_path: Path
):
    code = (
        "import gymnasium as gym, suite\n"
        "env = gym.make('PickCube-v0')\n"
        "env.reset(seed=0)\n"
        "obs, *_ = env.step(env.action_space.sample())\n"
        "print(suite.__file__, obs.shape)"
    )
    path, shape = _run(installed / "python", "-c", code, cwd=tmp_path).split(maxsplit=1)
    assert Path(path).is_relative_to(installed.parent)
    assert shape.strip() == "(42,)"
    assert list(tmp_path.iterdir()) == []  # nothing is written where the user stands


def _declared() -> list[Requirement]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = [config["options"]["install_requires"]]
    lists += config["options.extras_require"].values()
    lines = (line.strip() for text in lists for line in text.splitlines())
    requirements = [Requirement(line) for line in lines if line and line[0] != "#"]
    return [each for each in requirements if each.name != "suite-bench"]


def test_constraints_pin_a_version_of_every_declared_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {
        pin.name.replace("_", "-").lower(): str(pin.specifier).removeprefix("==")
        for pin in pins
    }
    declared = _declared()
    assert {"numpy", "torch", "pytest"} <= {each.name for each in declared}
    for each in declared:
        pinned = versions.get(each.name.lower(), "nothing")
        assert pinned in each.specifier, f"{each} is pinned to {pinned}"
