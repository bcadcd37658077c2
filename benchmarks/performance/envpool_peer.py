"""EnvPool's side of locomotion.py: steps one of Gymnasium's robots when asked.

It runs in an environment of its own. For each line of a number of threads on stdin it
steps all rows by the recorded actions, waiting for all of them each time as a vector
environment does, and answers with a JSON line of control steps a second.

    python envpool_peer.py HalfCheetah ACTIONS.npy
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time
from typing import Any

import numpy as np

REQUIREMENTS = ("envpool==1.2.5",)


@functools.cache
def pool(robot: str, rows: int, threads: int) -> Any:
    """So many environments in one pool."""
    envpool = importlib.import_module("envpool")
    settings = {"num_envs": rows, "num_threads": threads, "seed": 0}
    return envpool.make(f"{robot}-v5", env_type="gymnasium", **settings)


def main() -> None:
    """Answer until stdin ends."""
    actions = np.load(sys.argv[2]).astype(np.float64)  # (steps, N, A), as it wants them
    for line in sys.stdin:
        env = pool(sys.argv[1], actions.shape[1], int(line))
        env.reset()
        started = time.perf_counter()
        for action in actions:
            env.step(action)
        rate = actions[..., 0].size / (time.perf_counter() - started)
        print(json.dumps({"rate": rate}), flush=True)


if __name__ == "__main__":
    main()
