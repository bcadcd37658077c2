"""Films: what a driver of ``suite.agents.driving`` does, in pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from suite.benchmark import Benchmark
from suite.envs.mushr import DT
from suite.parts import ConfigError, build

SHRINK = 2  # every second pixel of 480 x 640
COLOURS = 64


def drive_film(
    spec: Benchmark, *, seed: int = 0, steps: int = 240, every: int = 2
) -> list[np.ndarray]:
    """Pictures (240, 320, 3) uint8 of a drive by a benchmark's driver.

    Args:
        spec: Its agent is a ``Driver``.
        seed: Of start and plans.
        steps: Control steps; fewer if the car leaves the track.
        every: Steps between two pictures.

    Raises:
        ConfigError: If its agent does not drive.
    """
    kwargs = {**spec.env.kwargs, "render_mode": "rgb_array"}
    spec = replace(spec, env=replace(spec.env, kwargs=kwargs))
    env = spec.make_env(1)
    available = {"make_env": spec.make_env, "seed": seed, "device": "cpu", "threads": 1}
    driver = build(spec.agent, available, env=env)
    if not hasattr(driver, "act"):
        raise ConfigError(f"{spec.name} has no driver to film, got {spec.agent.call}")
    _, info = env.reset(seed=seed)
    wheel, pictures = driver.begin(1), []
    for step in range(steps):
        if step % every == 0:
            pictures.append(env.render()[0][::SHRINK, ::SHRINK])
        action = driver.act(driver.seen(env, info["state"], wheel), wheel)
        _, _, terminated, truncated, info = env.step(action)
        if terminated.any() or truncated.any():
            break
    env.close()
    return pictures


def write_gif(path: Path, pictures: list[np.ndarray], every: int) -> None:
    """Write pictures of a drive as a GIF that plays in real time, for ever."""
    from PIL import Image

    images = [Image.fromarray(p).quantize(COLOURS) for p in pictures]
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=round(1000 * every * DT),
        loop=0,
        optimize=True,
    )
