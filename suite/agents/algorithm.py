"""One of d3rlpy's algorithms, made to repeat: own noise, exact state."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from suite.agents.hasten import relu_in_place
from suite.agents.state import load_optimizer, load_weights, optimizer_state
from suite.checkpoints import require_like


class Algorithm:
    """d3rlpy's implementation of an algorithm with networks, optimizers and noise.

    Use it where d3rlpy's own classes would be: they save neither the number of updates
    nor the state of the generators that they draw from.

    Args:
        config: d3rlpy's.
        obs_size: Numbers of an observation.
        action_size: Numbers of an action.
        seed: Of initial weights and noise.
        device: ``"cpu"`` or ``"cuda"``.
        hasten: Is given d3rlpy's implementation, to let it do less.
    """

    def __init__(
        self,
        config: Any,
        obs_size: int,
        action_size: int,
        *,
        seed: int,
        device: str,
        hasten: Callable[[Any], None],
    ):
        self.device = device
        self.updates = 0
        self._cuda = [0] if device == "cuda" else []
        with torch.random.fork_rng(devices=self._cuda):
            torch.manual_seed(seed)
            # d3rlpy wants the number of the device, too.
            made = config.create(device=f"{device}:0")
            made.create_impl((obs_size,), action_size)
            self._noise = self._drawn_so_far()
        self.impl = made.impl
        self._networks: dict[str, Any] = self.impl.modules.get_torch_modules()
        relu_in_place(self._networks.values())
        hasten(self.impl)

    @contextlib.contextmanager
    def noise(self) -> Iterator[None]:
        """Torch's global generators in the state where this algorithm left them.

        d3rlpy draws from these. What others draw in between, such as an evaluation,
        makes no difference, and they are given back as they were.
        """
        with torch.random.fork_rng(devices=self._cuda):
            torch.set_rng_state(self._noise["cpu"])
            if self._cuda:
                torch.cuda.set_rng_state(self._noise["cuda"])
            yield
            self._noise = self._drawn_so_far()

    def _drawn_so_far(self) -> dict[str, torch.Tensor]:
        found = {"cpu": torch.get_rng_state()}
        if self._cuda:
            found["cuda"] = torch.cuda.get_rng_state()
        return found

    def update(self, batch: Any) -> dict[str, float]:
        """One gradient update, within ``noise()``; d3rlpy's losses by name."""
        # What its own update() adds is training mode, which changes nothing in networks
        # without dropout and batch normalisation.
        losses = self.impl.inner_update(batch, self.updates)
        self.updates += 1
        return losses

    @torch.no_grad()
    def values(self, obs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Every critic's values (C, N) of scaled observations and actions."""
        pairs = [torch.from_numpy(each).to(self.device) for each in (obs, actions)]
        found = [q(*pairs).q_value[:, 0] for q in self.impl.q_function]
        return torch.stack(found).cpu().numpy()

    @property
    def actor(self) -> list[torch.nn.Linear]:
        """The layers from observations to the mean action; not the deviation's."""
        return [
            layer
            for name, layer in self.impl.policy.named_modules()
            if isinstance(layer, torch.nn.Linear) and not name.endswith("logstd")
        ]

    # ------------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """Everything the next update depends on but its minibatch; live tensors."""
        return {
            "updates": self.updates,
            "networks": {n: dict(m.state_dict()) for n, m in self._networks.items()},
            "optimizers": {n: _optimizer_tree(o) for n, o in self._optimizers()},
            "noise": dict(self._noise),
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of another algorithm or other networks.
        """
        own = self.state()
        for name in ("updates", "noise"):
            require_like(tree[name], own[name], name)
        for name in ("networks", "optimizers"):
            _require_names(tree[name], own[name], name)
        for name, network in self._networks.items():
            load_weights(network, tree["networks"][name], name)
        for name, optimizer in self._optimizers():
            _load_optimizer(optimizer, tree["optimizers"][name])
        self._noise = dict(tree["noise"])
        self.updates = tree["updates"]

    def _optimizers(self) -> Iterator[tuple[str, Any]]:
        """d3rlpy's wrappers of optimizers by name."""
        for field in dataclasses.fields(self.impl.modules):
            value = getattr(self.impl.modules, field.name)
            if hasattr(value, "optim"):
                yield field.name, value


def _require_names(tree: Any, own: Sequence[str], where: str) -> None:
    require_like(dict.fromkeys(tree), dict.fromkeys(own), where)


def _optimizer_tree(wrapper: Any) -> dict[str, Any]:
    """Of d3rlpy's wrapper: what the optimizer and its schedule remember."""
    schedule = wrapper.state_dict()["lr_scheduler"]
    return {**optimizer_state(wrapper.optim), "schedule": schedule}


def _load_optimizer(wrapper: Any, tree: dict[str, Any]) -> None:
    own = _optimizer_tree(wrapper)["schedule"]
    require_like({"schedule": tree["schedule"]}, {"schedule": own}, "optimizer")
    load_optimizer(wrapper.optim, tree)
    if own is not None:
        wrapper._lr_scheduler.load_state_dict(tree["schedule"])
