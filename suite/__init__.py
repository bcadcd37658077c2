"""suite-bench: composable environments, wrappers, world models and agents.

Importing this package registers the environment ids with Gymnasium and nothing else: it
imports neither torch nor MuJoCo.

    import gymnasium as gym
    import suite

    env = gym.make("PickCube-v0")
"""

from __future__ import annotations

import suite.envs as envs
from suite._version import __version__ as __version__

__all__ = ["__version__", "envs", "load_policy"]


def load_policy(name: str, device: str = "cpu"):
    """Load a packaged policy by name, for example ``"pickcube-expert"``.

    Use it to evaluate, finetune or re-roll a trained policy without training one.

    Args:
        name: One of the packaged names; a wrong one lists the near ones.
        device: Torch device of the returned policy.

    Returns:
        A ``stable_baselines3`` ``ActorCriticPolicy`` in evaluation mode, or what an
        offline agent left; both have ``predict(obs)``.

    Raises:
        ValueError: If no packaged policy has that name.
        suite.runs.IntegrityError: If the file does not match its recorded hash.
    """
    # Imported here because torch and SB3 cost two seconds that `import suite` must not.
    from suite.running.process import silence_old_gym

    silence_old_gym()
    from suite.agents.policies import load_policy as load

    return load(name, device)
