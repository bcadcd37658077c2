"""Weights and optimizer memory as trees for checkpoints, and back, cast to nothing."""

from __future__ import annotations

from typing import Any

import torch

from suite.checkpoints import require_like
from suite.storage import IntegrityError


def load_weights(module: torch.nn.Module, tree: dict[str, Any], where: str) -> None:
    """Load a ``state_dict`` of exactly the names, shapes and dtypes of a module.

    Use it instead of ``load_state_dict``, which casts other dtypes in silence.

    Args:
        module: What to load into.
        tree: Tensors by name.
        where: Its name, for the message.

    Raises:
        IntegrityError: If a name, shape or dtype differs.
    """
    own = module.state_dict()
    placed = {
        name: tensor.to(own[name].device) if name in own else tensor
        for name, tensor in tree.items()
    }
    require_like(placed, own, where)
    module.load_state_dict(placed)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What an optimizer remembers of each parameter, and its learning rates."""
    memory = optimizer.state_dict()["state"]
    return {
        "memory": {str(index): dict(slots) for index, slots in memory.items()},
        "learning_rates": [group["lr"] for group in optimizer.param_groups],
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tree: dict[str, Any]) -> None:
    """Take over an ``optimizer_state`` of the same parameters.

    Raises:
        IntegrityError: If it is of others.
    """
    full = optimizer.state_dict()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    rates = [group["lr"] for group in optimizer.param_groups]
    require_like(
        dict(enumerate(tree["learning_rates"])), dict(enumerate(rates)), "optimizer.lr"
    )
    memory = {int(index): slots for index, slots in tree["memory"].items()}
    for index, slots in memory.items():
        if not 0 <= index < len(parameters):
            raise IntegrityError(f"optimizer has no parameter {index}")
        for name, slot in slots.items():
            _require_fitting(slot, parameters[index], f"optimizer.{index}.{name}")
    full["state"] = memory
    for group, rate in zip(full["param_groups"], tree["learning_rates"], strict=True):
        group["lr"] = rate
    optimizer.load_state_dict(full)


def _require_fitting(slot: Any, parameter: torch.Tensor, where: str) -> None:
    """A slot is a number, or an array like its parameter, or one number of it."""
    if not isinstance(slot, torch.Tensor):
        return
    is_fitting = slot.dim() == 0 or slot.shape == parameter.shape
    if slot.dtype != parameter.dtype or not is_fitting:
        raise IntegrityError(
            f"{where} does not fit: it is {slot.dtype} {tuple(slot.shape)} for a "
            f"parameter of {parameter.dtype} {tuple(parameter.shape)}"
        )
