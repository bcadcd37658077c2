"""mbrl-lib's side of planning.py: scores one set of action sequences when asked.

It runs in an environment of its own, with the same torch as ours. For each line
"tanh" or "silu" on stdin it evaluates the sequences of WORK.npz once, and answers
with a JSON line of processor seconds and scores.

    python mbrl_peer.py WORK.npz
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

VERSION = "0.2.0"
# mbrl-lib pins hydra-core 1.0.3, which does not import under Python 3.11.
REQUIREMENTS = (
    f"mbrl=={VERSION}",
    "hydra-core==1.3.2",
    "omegaconf==2.3.0",
    "antlr4-python3-runtime==4.9.3",
    "PyYAML",
    "termcolor",
)
NO_NOISE = -80.0  # of logvar


def evaluator(work: Any, activation: str) -> Any:
    """``() -> scores (N,)`` by ``ModelEnv.evaluate_action_sequences``.

    Args:
        work: ``state`` (S,), ``actions`` (N, H, A), ``mean`` and ``std`` of the inputs
            (S + A,), and ``weight0``, ``bias0`` ... (E, in, out) and (E, 1, out), whose
            last layer has the means only; a logvar of nearly no noise is put beside.
        activation: ``"tanh"`` or ``"silu"``.
    """
    models = importlib.import_module("mbrl.models")
    layers = [(work[f"weight{i}"], work[f"bias{i}"]) for i in range(3)]
    members, inputs, hidden = layers[0][0].shape
    size = layers[-1][0].shape[-1]
    name = {"tanh": "torch.nn.Tanh", "silu": "torch.nn.SiLU"}[activation]
    network = models.GaussianMLP(
        inputs,
        size,
        "cpu",
        num_layers=2,
        ensemble_size=members,
        hid_size=hidden,
        deterministic=False,
        propagation_method="fixed_model",
        activation_fn_cfg={"_target_": name},
    )
    weight, bias = layers[-1]
    silent = np.full_like(bias, NO_NOISE)
    layers[-1] = (
        np.concatenate([weight, np.zeros_like(weight)], axis=-1),
        np.concatenate([bias, silent], axis=-1),
    )
    network.min_logvar.data[:] = NO_NOISE - 1
    own = [layer[0] for layer in network.hidden_layers] + [network.mean_and_logvar]
    for layer, (weight, bias) in zip(own, layers, strict=True):
        layer.weight.data[:] = torch.as_tensor(weight)
        layer.bias.data[:] = torch.as_tensor(bias)
    model = models.OneDTransitionRewardModel(
        network, target_is_delta=True, normalize=True, learned_rewards=False
    )
    model.input_normalizer.mean = torch.as_tensor(work["mean"])[None]
    model.input_normalizer.std = torch.as_tensor(work["std"])[None]
    spaces = SimpleNamespace(observation_space=None, action_space=None)
    env = models.ModelEnv(spaces, model, _never, _reward)
    sequences, state = torch.as_tensor(work["actions"]), work["state"]
    return lambda: env.evaluate_action_sequences(sequences, state, members)


def _never(action: torch.Tensor, next_obs: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(next_obs), 1, dtype=torch.bool)


def _reward(action: torch.Tensor, next_obs: torch.Tensor) -> torch.Tensor:
    """CS285's cheetah, as somebody writes it for mbrl-lib."""
    thigh, shin, foot = next_obs[:, 6], next_obs[:, 7], next_obs[:, 8]
    raised = (thigh > 0.2).float() + (shin > 0).float() + (foot > 0).float()
    return (next_obs[:, 9] - 10 * raised)[:, None]


def main() -> None:
    """Answer until stdin ends."""
    torch.set_num_threads(1)
    work = dict(np.load(sys.argv[1]))
    evaluators = {name: evaluator(work, name) for name in ("tanh", "silu")}
    for line in sys.stdin:
        started = time.process_time()
        scores = evaluators[line.strip()]()
        seconds = time.process_time() - started
        print(json.dumps({"seconds": seconds, "scores": scores.tolist()}), flush=True)


if __name__ == "__main__":
    main()
