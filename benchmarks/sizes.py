"""Sizes that benchmarks share: settings for their scales, by dotted key.

The evaluations are ``suite.evaluation:SuccessRate``'s, the batch is that of ``PPO`` and
``AWR``.
"""

from __future__ import annotations

# A few episodes and two updates of 40 steps, so that a smoke run takes seconds.
TINY_EVALUATION = {
    "evaluation.envs": 8,
    "evaluation.min_episodes": 8,
    "evaluation.first_episode_envs": 8,
}
TINY_BATCH = {
    "env.num_envs": 4,
    "total_timesteps": 80,
    "agent.n_steps": 10,
    "agent.batch_size": 20,
    "agent.n_epochs": 2,
}
SMALL_EVALUATION = {
    "evaluation.min_episodes": 256,
    "evaluation.first_episode_envs": 256,
}
PAPER_EVALUATION = {"evaluation.min_episodes": 2000, "seeds": [0, 1, 2]}
