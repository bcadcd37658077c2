"""Policies that made a dataset: SAC's and TQC's actors, as data and without SB3."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from suite.data.packaged import PACKAGED as PACKAGED
from suite.data.packaged import behaviour_names as behaviour_names
from suite.storage import IntegrityError, parse_json, read_directory, write_directory
from suite.unknown_names import no_such

SHARD = 64  # rows that pass the network together, always
LOG_STD = (-20.0, 2.0)  # as in Stable-Baselines3, after Haarnoja et al. 2018
# Of squashed actions. Processors add up a matrix product in orders of their own, and a
# simulated robot makes another episode of one last bit. In double precision they differ
# by about 1e-15, and one number in about 1e11 lies so near to the middle of two steps
# that it is rounded to another: a million transitions are the same everywhere.
STEP = 2.0**-14


@dataclass(frozen=True, eq=False)
class SquashedGaussian:
    """tanh(N(mu(s), sigma(s))) in the box of actions: a ``Behaviour`` to collect with.

    What it does at one observation does not depend, bit for bit, on the others that are
    asked at the same time, nor on the processor: rows pass the network in double
    precision and in shards of ``SHARD``, the last one padded, and what comes out is
    rounded to ``STEP`` of half the box.

    Args:
        hidden: Weights (n, m) and biases (n,) of the layers with ReLU.
        mu: Those of the layer of means.
        log_std: Those of the layer of log standard deviations, clipped to ``LOG_STD``.
        low: Lower bounds of the actions (A,).
        high: Upper bounds (A,).

    Source: Haarnoja et al. 2018, appendix C, arXiv:1801.01290.
    """

    hidden: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    mu: tuple[torch.Tensor, torch.Tensor]
    log_std: tuple[torch.Tensor, torch.Tensor]
    low: np.ndarray
    high: np.ndarray

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Of one step's draws."""
        return self.low.shape

    def draw(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Standard normal."""
        return generator.standard_normal(shape)

    def act(self, obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Actions (N, A) float32 for observations (N, O) and standard normals (N, A).

        Noise of 0 gives the action of the highest density before the squashing, SB3's
        deterministic one.
        """
        mean, std = self.gaussian(obs)
        squashed = torch.tanh(mean + std * torch.as_tensor(noise)).numpy()
        share = 0.5 * (np.rint(squashed / STEP) * STEP + 1.0)
        return (self.low + share * (self.high - self.low)).astype(np.float32)

    @torch.inference_mode()
    def gaussian(self, obs: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation (N, A) float64 before the squashing."""
        count = len(obs)
        shape = -(-count // SHARD) * SHARD, obs.shape[1]
        padded = torch.zeros(shape, dtype=torch.float64)
        padded[:count] = torch.as_tensor(obs)
        parts = [self._shard(shard) for shard in padded.split(SHARD)]
        mean, log_std = (torch.cat(each)[:count] for each in zip(*parts, strict=True))
        return mean, log_std.clamp(*LOG_STD).exp()

    def _shard(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        linear = torch.nn.functional.linear
        *hidden, mu, log_std = self._doubles
        for weight, bias in hidden:
            x = linear(x, weight, bias).relu()
        return linear(x, *mu), linear(x, *log_std)

    @functools.cached_property
    def _doubles(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        pairs = (*self.hidden, self.mu, self.log_std)
        return [(weight.double(), bias.double()) for weight, bias in pairs]


def behaviour_of(actor: Any) -> SquashedGaussian:
    """The policy of a Stable-Baselines3 or contrib SAC or TQC actor.

    Args:
        actor: Such as ``SAC.load(path).actor``: a flat observation, an MLP with ReLU.

    Raises:
        ValueError: If it is another kind of network.
    """
    nn = torch.nn
    layers = [*getattr(actor, "latent_pi", ())]
    kinds = {nn.Linear, nn.ReLU}
    heads = [getattr(actor, name, None) for name in ("mu", "log_std")]
    fits = layers and {type(layer) for layer in layers} <= kinds
    if not fits or any(type(head) is not nn.Linear for head in heads):
        raise ValueError(
            "only SAC's and TQC's squashed Gaussian MLP actors with ReLU can be taken "
            f"over, got {actor}"
        )
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return SquashedGaussian(
        tuple(_weights(layer) for layer in linears),
        _weights(heads[0]),
        _weights(heads[1]),
        actor.action_space.low.astype(np.float32),
        actor.action_space.high.astype(np.float32),
    )


def _weights(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(p.detach().cpu().float().clone() for p in (layer.weight, layer.bias))  # pyright: ignore[reportReturnType]


# --------------------------------------------------------------------------- on disk
def save_behaviour(
    policy: SquashedGaussian, folder: Path, card: dict[str, Any]
) -> None:
    """Write a behaviour to a folder that ``load_behaviour`` reads; atomic, hashed.

    Args:
        policy: What to write.
        folder: Where; replaced if it exists.
        card: Provenance, any JSON.
    """
    tensors = {
        f"{name}.{part}": _smallest(tensor).contiguous()
        for name, pair in _named(policy)
        for part, tensor in zip(("weight", "bias"), pair, strict=True)
    }
    sizes = [len(bias) for _, bias in policy.hidden]
    plan = {
        "kind": "squashed-gaussian",
        "obs_size": policy.hidden[0][0].shape[1],
        "hidden": sizes,
        "action_low": policy.low.tolist(),
        "action_high": policy.high.tolist(),
    }
    text = json.dumps({**card, "behaviour": plan}, indent=2, sort_keys=True)
    files = {"policy.safetensors": save_tensors(tensors), "card.json": text.encode()}
    write_directory(folder, files)


def _smallest(tensor: torch.Tensor) -> torch.Tensor:
    """In half precision if nothing is lost."""
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def _named(policy: SquashedGaussian) -> list[tuple[str, Sequence[torch.Tensor]]]:
    hidden = [(f"hidden.{i}", pair) for i, pair in enumerate(policy.hidden)]
    return [*hidden, ("mu", policy.mu), ("log_std", policy.log_std)]


def load_behaviour(name: str | Path) -> SquashedGaussian:
    """A packaged behaviour by name, or a saved one by folder.

    Args:
        name: One of ``behaviour_names()``, or a folder of ``save_behaviour``.

    Raises:
        ValueError: If there is no such behaviour; names the near ones.
        IntegrityError: If a file is damaged.
    """
    folder = PACKAGED / name if str(name) in behaviour_names() else Path(name)
    if not (folder / "card.json").is_file():
        if folder.is_dir():
            raise ValueError(f"{folder} holds no behaviour: it has no card.json")
        raise ValueError(no_such("behaviour", str(name), behaviour_names()))
    files = read_directory(folder)
    try:
        plan = parse_json(files["card.json"], folder / "card.json")["behaviour"]
        return _built(plan, load_tensors(files["policy.safetensors"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as reason:
        raise IntegrityError(
            f"{folder} does not hold a behaviour of ours: {reason}"
        ) from None


def load_card(name: str | Path) -> dict[str, Any]:
    """What a behaviour's maker wrote down of it.

    Raises:
        IntegrityError: If a file is damaged.
    """
    folder = PACKAGED / name if str(name) in behaviour_names() else Path(name)
    return parse_json(read_directory(folder)["card.json"], folder / "card.json")


def _built(plan: dict[str, Any], tensors: dict[str, torch.Tensor]) -> SquashedGaussian:
    sizes, actions = [plan["obs_size"], *plan["hidden"]], len(plan["action_low"])
    if not 2 <= len(sizes) <= 20 or len(plan["action_high"]) != actions:
        raise ValueError(f"its layers have sizes {sizes}")
    names = [*(f"hidden.{i}" for i in range(len(sizes) - 1)), "mu", "log_std"]
    shapes = [*itertools.pairwise(sizes), *[(sizes[-1], actions)] * 2]
    found = []
    for name, (inside, outside) in zip(names, shapes, strict=True):
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        if weight.shape != (outside, inside) or bias.shape != (outside,):
            raise ValueError(f"{name} has shape {tuple(weight.shape)}")
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise ValueError(f"{name} is not finite")
        found.append((weight.float(), bias.float()))
    bounds = np.array([plan["action_low"], plan["action_high"]], np.float32)
    return SquashedGaussian(tuple(found[:-2]), found[-2], found[-1], *bounds)
