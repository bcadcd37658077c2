"""What activations cost beside the matrix product before them.

    python benchmarks/performance/activations.py [--rounds 15]

Run it on an idle machine. 256 rows of 512 numbers, a product with 512 x 512; contenders
take turns on one thread, and medians of processor time are printed, of values alone and
of values with gradients. The last line is one JSON object of milliseconds and ratios to
the product.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from report import finish, rounded
from torch import Tensor
from torch.nn import functional
from turns import turns

from suite.running.process import prepare_process
from suite.worldmodels.activations import GROUP, group_softmax, mish

ROWS, UNITS = 256, 512
Work = Callable[[], Any]


def torchs_softmax(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, GROUP)).softmax(dim=-1).flatten(-2)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "torch's Mish": functional.mish,
    "Mish": mish,
    "torch's softmax of groups": torchs_softmax,
    "softmax of groups": group_softmax,
}


def contenders() -> dict[str, Work]:
    """The product, and each function with and without its gradient."""
    x, weight, change = (torch.randn(n, UNITS) for n in (ROWS, UNITS, ROWS))
    learned, into = x.clone().requires_grad_(), torch.empty_like(x)
    works: dict[str, Work] = {"product": lambda: torch.mm(x, weight, out=into)}
    for name, function in FUNCTIONS.items():
        works[name] = lambda function=function: function(x)
        works[f"{name}, gradient"] = lambda function=function: torch.autograd.grad(
            function(learned), learned, change
        )
    return works


def main() -> None:
    """Measure, print the table, and the JSON line."""
    parser = argparse.ArgumentParser(description="What activations cost.")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    prepare_process()
    torch.manual_seed(0)
    seconds = turns(contenders(), args.rounds, 20, time.process_time)
    ratios = {name: each / seconds["product"] for name, each in seconds.items()}
    for name, each in seconds.items():
        print(f"{name:36} {1e3 * each:6.2f} ms  {ratios[name]:5.2f} of the product")
    milliseconds = rounded({n: 1e3 * s for n, s in seconds.items()}, 3)
    ratios = rounded(ratios, 3)
    finish("activations", **vars(args), milliseconds=milliseconds, ratios=ratios)


if __name__ == "__main__":
    main()
