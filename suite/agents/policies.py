"""Policies as data: packaged ones by name, saved and loaded without unpickling."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    SquashedDiagGaussianDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy

from suite.agents.encoded_policy import EncodedPolicy
from suite.agents.planned_policy import PlannedPolicy, model_card
from suite.agents.ppo import PPO
from suite.agents.squashed import BoxPolicy, SquashedPolicy
from suite.agents.state import is_critic, load_weights
from suite.agents.tanh_policy import TanhPolicy
from suite.storage import IntegrityError, parse_json, read_directory, write_directory
from suite.unknown_names import no_such
from suite.worldmodels.learned import LearnedDynamics

PACKAGED = Path(__file__).parent / "checkpoints"
ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "silu": torch.nn.SiLU}


def policy_names() -> list[str]:
    """Names of the packaged policies."""
    return sorted(path.parent.name for path in PACKAGED.glob("*/card.json"))


def load_policy(name: str | Path, device: str = "cpu") -> Any:
    """A packaged policy by name, or a saved one by folder.

    Args:
        name: One of ``policy_names()``, or a folder written by ``save_policy``.
        device: Torch device.

    Returns:
        The policy, in evaluation mode: SB3's actor-critic, or what an offline agent
        left; both have ``predict(obs)``. If a critic was not kept, values are NaN.

    Raises:
        ValueError: If there is no such policy; names the near ones.
        suite.runs.IntegrityError: If a file is damaged.
    """
    folder = PACKAGED / name if str(name) in policy_names() else Path(name)
    if not (folder / "card.json").is_file():
        if folder.is_dir():
            raise ValueError(f"{folder} holds no policy: it has no card.json")
        raise ValueError(no_such("policy", str(name), policy_names()))
    files = read_directory(folder)
    try:
        plan = parse_json(files["card.json"], folder / "card.json")["policy"]
        if plan.get("kind") in MODELS:
            raise _NeedsCode(folder)
        _require_sane(plan)
        tensors = load_tensors(files["policy.safetensors"])
        # Building draws initial weights; loading a file must not move the global
        # generator that the training beside it uses.
        with torch.random.fork_rng(devices=[]):
            policy = _BUILT[plan.get("kind", "actor-critic")](plan)
        load_weights(policy, {**_no_critic(policy), **tensors}, "its policy")
    except _NeedsCode as reason:
        raise ValueError(str(reason)) from None
    except (IntegrityError, SafetensorError, *_MISFITS) as error:
        raise IntegrityError(
            f"{folder} does not hold a policy of ours: {error}"
        ) from error
    return policy.eval().to(device)


class _NeedsCode(Exception):
    """A model, whose planner and reward are not in the folder."""

    def __init__(self, folder: Path):
        super().__init__(
            f"{folder} holds a model, and its planner and reward are code: build the "
            "agent of the run's spec.json and give its policy the weights by "
            "suite.agents.planned_policy.load_planned(agent.policy, folder)"
        )


# What code raises that builds a network from a card that somebody else wrote.
_MISFITS = (
    *(KeyError, TypeError, ValueError, AttributeError, OverflowError),
    *(AssertionError, RuntimeError, MemoryError),
)
LARGEST = 10**8  # weights; a card must not make us allocate all memory


def _require_sane(plan: dict[str, Any]) -> None:
    """Refuse an architecture that could not be built, before it is."""
    arch, ends = plan["net_arch"], (plan["obs_size"], len(plan["action_low"]))
    branches = [arch["pi"], arch["vf"]] if isinstance(arch, dict) else [arch]
    chains = [[ends[0], *branch, ends[1]] for branch in branches]
    if any(type(size) is not int or size < 1 for chain in chains for size in chain):
        raise ValueError(f"its layers have sizes {chains}")
    weights = sum(a * b for chain in chains for a, b in itertools.pairwise(chain))
    if weights > LARGEST:
        raise ValueError(f"it would have {weights:,} weights")


def _no_critic(policy: torch.nn.Module) -> dict[str, torch.Tensor]:
    # NaN, not zero: whoever asks a critic that is not there must not get a number.
    state = policy.state_dict()
    return {k: torch.full_like(v, torch.nan) for k, v in state.items() if is_critic(k)}


def save_policy(
    policy: ActorCriticPolicy | BoxPolicy | TanhPolicy,
    folder: Path,
    card: dict[str, Any],
    *,
    with_critic: bool = True,
) -> None:
    """Write a policy to a folder that ``load_policy`` reads; atomic, hashed.

    Args:
        policy: An SB3 ``MlpPolicy`` for a Box action space, a ``SquashedPolicy``, an
            ``EncodedPolicy`` or a ``TanhPolicy``.
        folder: Where; replaced if it exists.
        card: Provenance, any JSON.
        with_critic: False halves the size, for policies that are only acted with.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in policy.state_dict().items()
        if with_critic or not is_critic(name)
    }
    card = {**card, "policy": architecture(policy)}
    write_directory(
        folder,
        {
            "policy.safetensors": save_tensors(tensors),
            "card.json": json.dumps(card, indent=2, sort_keys=True).encode() + b"\n",
        },
    )


@singledispatch
def architecture(policy: Any) -> dict[str, Any]:
    """What ``save_policy`` writes down to build the policy again.

    Another kind of policy is registered here and in ``_BUILT``.

    Raises:
        ValueError: If it is no plain MLP policy.
    """
    raise ValueError(
        f"only Gaussian and tanh MLP policies can be saved, got {type(policy).__name__}"
    )


@architecture.register
def _(policy: SquashedPolicy) -> dict[str, Any]:
    return policy.architecture()


@architecture.register
def _(policy: EncodedPolicy) -> dict[str, Any]:
    return policy.architecture()


@architecture.register
def _(policy: TanhPolicy) -> dict[str, Any]:
    return policy.architecture()


@architecture.register
def _(policy: PlannedPolicy) -> dict[str, Any]:
    return policy.architecture()


@architecture.register
def _(policy: LearnedDynamics) -> dict[str, Any]:
    return model_card(policy)


@architecture.register
def _(policy: ActorCriticPolicy) -> dict[str, Any]:
    names = {cls: name for name, cls in ACTIVATIONS.items()}
    space = policy.action_space
    if not isinstance(space, gym.spaces.Box) or policy.activation_fn not in names:
        raise ValueError(
            f"only Gaussian MLP policies with {sorted(ACTIVATIONS)} can be saved, got "
            f"{type(policy).__name__} for {space} with {policy.activation_fn.__name__}"
        )
    return {
        "net_arch": policy.net_arch,
        "activation": names[policy.activation_fn],
        "obs_size": int(np.prod(policy.observation_space.shape or ())),
        "action_low": space.low.tolist(),
        "action_high": space.high.tolist(),
    }


def _actor_critic(plan: dict[str, Any]) -> ActorCriticPolicy:
    low = np.array(plan["action_low"], np.float32)
    high = np.array(plan["action_high"], np.float32)
    return ActorCriticPolicy(
        gym.spaces.Box(-np.inf, np.inf, (plan["obs_size"],), np.float32),
        gym.spaces.Box(low, high, low.shape, np.float32),
        lambda _: 0.0,
        net_arch=plan["net_arch"],
        activation_fn=ACTIVATIONS[plan["activation"]],
        ortho_init=False,
    )


MODELS = ("planned", "dynamics")  # cards of what ``load_policy`` cannot build
# By what a card calls it; cards from before there were kinds say nothing.
_BUILT = {
    "actor-critic": _actor_critic,
    "encoded": EncodedPolicy.built,
    "squashed": SquashedPolicy.built,
    "tanh": TanhPolicy.built,
}


def copy_actor(source: ActorCriticPolicy, target: ActorCriticPolicy) -> None:
    """Copy actor weights and log_std into another policy; its critic stays as it is.

    Raises:
        ValueError: If the two actors have different shapes.
    """
    own = target.state_dict()
    actor = {
        name: tensor
        for name, tensor in source.state_dict().items()
        if not is_critic(name)
    }
    for name, tensor in actor.items():
        if name not in own or own[name].shape != tensor.shape:
            raise ValueError(
                f"the start policy does not fit: {name} has shape "
                f"{tuple(tensor.shape)}, the agent's "
                f"{tuple(own[name].shape) if name in own else 'has none'}; "
                "give the agent the same net_arch"
            )
    target.load_state_dict({**own, **actor})


def sample_actions(
    policy: ActorCriticPolicy,
    obs: np.ndarray,
    generator: torch.Generator | None = None,
) -> np.ndarray:
    """Actions for a batch of observations, inside the action space.

    Use it instead of ``policy.predict`` where randomness must not touch torch's global
    generator: evaluation beside a training, re-rollouts on several threads.

    Args:
        policy: Any SB3 actor-critic policy.
        obs: (N, O).
        generator: Where the noise comes from; None takes the most likely action.

    Returns:
        Actions (N, A), clipped to the action space.
    """
    with torch.inference_mode():
        distribution = policy.get_distribution(
            torch.as_tensor(obs, device=policy.device)
        )
        if generator is None:
            actions = distribution.mode()
        else:
            actions = draw(distribution, generator)
    actions = actions.cpu().numpy()
    space = policy.action_space
    if isinstance(space, gym.spaces.Box):
        if policy.squash_output:
            return policy.unscale_action(actions)
        return np.clip(actions, space.low, space.high)
    return actions


@singledispatch
def draw(distribution: Distribution, generator: torch.Generator) -> torch.Tensor:
    """A sample from an SB3 distribution with a generator of one's own."""
    raise TypeError(
        f"{type(distribution).__name__} cannot be sampled with an own generator; use "
        "a policy with a Gaussian or categorical distribution"
    )


@draw.register
def _(
    distribution: DiagGaussianDistribution, generator: torch.Generator
) -> torch.Tensor:
    normal = distribution.distribution
    noise = torch.randn(normal.mean.shape, generator=generator).to(normal.mean.device)
    return normal.mean + normal.stddev * noise


@draw.register
def _(
    distribution: SquashedDiagGaussianDistribution, generator: torch.Generator
) -> torch.Tensor:
    normal = distribution.distribution
    noise = torch.randn(normal.mean.shape, generator=generator).to(normal.mean.device)
    return torch.tanh(normal.mean + normal.stddev * noise)


@draw.register
def _(
    distribution: CategoricalDistribution, generator: torch.Generator
) -> torch.Tensor:
    probabilities = distribution.distribution.probs.cpu()
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


class Frozen(PPO):
    """An agent that does not learn: the control arm of a finetuning experiment.

    Use it to see what a start policy scores as it is, or with another exploration
    noise.

    Args:
        policy: As in SB3.
        env: As in SB3.
        log_std: The log standard deviation to act with, one number or one for each
            action dimension; the start policy's own if None.
        **kwargs: As in SB3.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        log_std: float | Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(policy, env, **kwargs)
        self._log_std = log_std

    def start_from(self, policy: ActorCriticPolicy) -> None:
        """Take over a policy's actor, then set log_std."""
        copy_actor(policy, self.policy)
        if self._log_std is not None:
            with torch.no_grad():
                own = self.policy.log_std
                own.copy_(torch.as_tensor(self._log_std).expand_as(own))

    def planned_updates(self, total_timesteps: int) -> int:
        """None."""
        return 0

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Nothing to do."""
        return iter(())
