"""State of an agent: its critic; weights and optimizers as ``suite.worldmodels``."""

from __future__ import annotations

from stable_baselines3.common.policies import ActorCriticPolicy

from suite.worldmodels.state import load_optimizer as load_optimizer
from suite.worldmodels.state import load_weights as load_weights
from suite.worldmodels.state import optimizer_state as optimizer_state


def is_critic(name: str) -> bool:
    """Whether a tensor of an SB3 actor-critic policy belongs to its critic."""
    return "value_net" in name


def copy_critic(source: ActorCriticPolicy, target: ActorCriticPolicy) -> None:
    """Copy a critic's weights into another policy; its actor stays as it is.

    Raises:
        ValueError: If the source was saved without its critic, or the two critics have
            different shapes.
    """
    own = target.state_dict()
    critic = {n: t for n, t in source.state_dict().items() if is_critic(n)}
    if not critic or any(tensor.isnan().any() for tensor in critic.values()):
        raise ValueError(
            "the policy has no critic or was saved without its critic; pretrain one, "
            "such as by suite-bench run pickcube-critic"
        )
    for name, tensor in critic.items():
        if name not in own or own[name].shape != tensor.shape:
            raise ValueError(
                f"the critic does not fit: {name} has shape {tuple(tensor.shape)}, the "
                f"agent's {tuple(own[name].shape) if name in own else 'has none'}; "
                "give the agent the same net_arch"
            )
    target.load_state_dict({**own, **critic})
