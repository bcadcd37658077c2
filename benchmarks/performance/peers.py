"""Peers that cannot be installed beside us: a process in an environment of its own.

A peer is a script that answers every line on stdin with one line of JSON on stdout.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Peer:
    """A process of another Python.

    Args:
        python: Its interpreter, see ``environment``.
        script: What it runs.
        arguments: For the script.
    """

    def __init__(self, python: Path, script: Path, *arguments: Path | str):
        command = [str(python), str(script), *map(str, arguments)]
        self._script = script
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str) -> Any:
        """Its answer to a line."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._script.name} ended; its error is above")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def environment(
    folder: Path, requirements: Sequence[str], shared: Sequence[Any] | None = None
) -> Path:
    """The interpreter of a virtual environment, which is made once.

    Args:
        folder: Where it lies, or is put.
        requirements: What is installed.
        shared: Modules of ours that it sees, with all that is installed beside them;
            then no requirement brings others along.
    """
    python = folder / "bin" / "python"
    if python.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    if shared is not None:
        seen = {str(Path(module.__file__ or "").parents[1]) for module in shared}
        (site / "shared.pth").write_text("\n".join(sorted(seen)) + "\n")
        pip.append("--no-deps")
    subprocess.run([*pip, *requirements], check=True)
    return python
