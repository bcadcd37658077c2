"""PickCube: a policy trained from scratch, then finetuned on a sparse reward.

Settings and reference numbers are those of the experiment log whose results these
benchmarks reproduce: finetuning a capable but noisy policy for 50,000 environment steps
by regression onto advantages from re-rollouts (``pickcube-awr``), by PPO
(``pickcube-gae``), and not at all (``pickcube-logstd``).
"""

from __future__ import annotations

from suite.benchmark import Benchmark, Env, Part, Reference, Scale, register
from suite.parts import Ref
from suite_bench.benchmarks.sizes import (
    PAPER_EVALUATION,
    SMALL_EVALUATION,
    TINY_BATCH,
    TINY_EVALUATION,
)

NETWORK = {
    "net_arch": {"pi": [256, 256, 256], "vf": [256, 256, 256]},
    "activation_fn": Ref("torch.nn:Tanh"),
}
EVALUATION = Part("suite.evaluation:SuccessRate", {"envs": 128, "min_episodes": 512})
METRIC = "success_log_metric"
# By action dimension, the mean over the three seeds of pickcube-awr at its end.
AWR_LOG_STD = [-2.78, -3.36, -2.88, -3.31, -2.01, -2.52, -1.78, -1.42]
FINETUNED = Env("PickCube-v0", num_envs=100, kwargs={"reward_mode": "sparse"})


def log_rows(shares: list[float]) -> tuple[tuple[int, int, float], ...]:
    """The log's table: iterations of 5,000 environment steps, evaluated before each."""
    return tuple(
        (i + 1, 5000 * i, round(share / 100, 4)) for i, share in enumerate(shares)
    )


register(
    Benchmark(
        name="pickcube-ppo",
        about=(
            "PPO from scratch on the dense reward, kept after 0, 50, 100, 200 and 300 "
            "updates. The policies that the other PickCube benchmarks start from and "
            "roll out again are from this training, with their noise set."
        ),
        env=Env(
            "PickCube-v0", num_envs=512, kwargs={"reward_mode": "normalized_dense"}
        ),
        agent=Part(
            "suite.agents.ppo:PPO",
            {
                "policy": "MlpPolicy",
                "advantage": Part(
                    "suite.agents.advantages:GAE",
                    {"gamma": 0.8, "lam": 0.9, "bootstrap_on_success": True},
                ),
                "n_steps": 50,
                "batch_size": 800,
                "n_epochs": 4,
                "gamma": 0.8,
                "gae_lambda": 0.9,
                "vf_coef": 0.25,  # the log's 0.5 on a loss with a half in it
                "ent_coef": 0.0,
                "max_grad_norm": 0.5,
                "learning_rate": 3e-4,
                "target_kl": 0.1 / 1.5,  # Stable-Baselines3 stops at 1.5 times it
                "policy_kwargs": {**NETWORK, "log_std_init": -0.5},
            },
        ),
        total_timesteps=300 * 512 * 50,
        evaluation=EVALUATION,
        metric=METRIC,
        every=25,
        checkpoint_at=(0, 50, 100, 200, 300),
        scales={
            "smoke": Scale(
                "seconds", {**TINY_BATCH, **TINY_EVALUATION, "checkpoint_at": [0, 1]}
            ),
            "quick": Scale(
                "3 minutes; the cube is not picked yet",
                {
                    "total_timesteps": 25 * 512 * 50,
                    "checkpoint_at": [0, 25],
                    **SMALL_EVALUATION,
                },
            ),
            "default": Scale("an hour"),
            "paper": Scale("an hour and a half a seed", PAPER_EVALUATION),
        },
        reference=Reference(
            "the log's starting policy (its checkpoint 101, 134 episodes, one seed)",
            ((101, 100 * 512 * 50, 0.627),),
        ),
    )
)

register(
    Benchmark(
        name="pickcube-awr",
        about=(
            "Finetune a capable but noisy policy on the sparse reward by "
            "advantage-weighted regression. The advantage of every action is Q - V of "
            "a good policy, measured by rolling out restored simulator states again, "
            "16 times each."
        ),
        env=FINETUNED,
        start="pickcube-expert",
        agent=Part(
            "suite.agents.awr:AWR",
            {
                "policy": "MlpPolicy",
                "advantage": Part(
                    "suite.agents.rerollout:LookaheadReRollout",
                    {
                        "policy": Part(
                            "suite.agents.policies:load_policy",
                            {"name": "pickcube-optimal"},
                        ),
                        "samples": 16,
                        "gamma": 0.8,
                    },
                ),
                "beta": 0.5,
                "max_weight": 20.0,
                "n_steps": 50,
                "batch_size": 1000,
                "n_epochs": 200,
                "gamma": 0.8,
                "vf_coef": 0.0,
                "max_grad_norm": 0.5,
                "learning_rate": 3e-4,
                "policy_kwargs": NETWORK,
            },
        ),
        total_timesteps=50_000,
        evaluation=EVALUATION,
        metric=METRIC,
        scales={
            "smoke": Scale(
                "seconds",
                {**TINY_BATCH, **TINY_EVALUATION, "agent.advantage.samples": 1},
            ),
            "quick": Scale(
                "3 minutes",
                {
                    "total_timesteps": 20_000,
                    "agent.advantage.samples": 4,
                    "agent.n_epochs": 100,
                    **SMALL_EVALUATION,
                },
            ),
            "default": Scale("18 minutes; the log's protocol"),
            "paper": Scale("21 minutes a seed, three seeds", PAPER_EVALUATION),
        },
        reference=Reference(
            "the experiment log, AWR with 16 samples and beta 0.5 (one seed, "
            "about 130 to 240 episodes an evaluation)",
            log_rows([62.7, 76.6, 91.0, 94.7, 98.2, 95.3, 97.9, 99.2, 96.8, 97.7]),
        ),
    )
)

register(
    Benchmark(
        name="pickcube-gae",
        about=(
            "Finetune the same policy for the same environment steps by PPO with a "
            "fresh critic and generalised advantage estimation, 100 epochs an "
            "iteration."
        ),
        env=FINETUNED,
        start="pickcube-expert",
        agent=Part(
            "suite.agents.ppo:PPO",
            {
                "policy": "MlpPolicy",
                "advantage": Part(
                    "suite.agents.advantages:GAE",
                    {"gamma": 0.8, "lam": 0.9, "bootstrap_on_success": False},
                ),
                "n_steps": 50,
                "batch_size": 1000,
                "n_epochs": 100,
                "gamma": 0.8,
                "gae_lambda": 0.9,
                "clip_range": 0.2,
                "normalize_advantage": True,
                "target_kl": None,  # the log's 100 never stops either
                "vf_coef": 0.25,  # the log's 0.5 on a loss with a half in it
                "ent_coef": 0.0,
                "max_grad_norm": 0.5,
                "learning_rate": 3e-4,
                "policy_kwargs": NETWORK,
            },
        ),
        total_timesteps=50_000,
        evaluation=EVALUATION,
        metric=METRIC,
        scales={
            "smoke": Scale("seconds", {**TINY_BATCH, **TINY_EVALUATION}),
            "quick": Scale(
                "2 minutes", {"total_timesteps": 20_000, **SMALL_EVALUATION}
            ),
            "default": Scale("5 minutes; the log's protocol"),
            "paper": Scale("6 minutes a seed, three seeds", PAPER_EVALUATION),
        },
        reference=Reference(
            "the experiment log, GAE baseline with 100 epochs (one seed, about 130 to "
            "150 episodes an evaluation)",
            log_rows([62.7, 60.0, 65.4, 72.5, 74.3, 78.3, 82.3, 86.7, 91.4, 92.0]),
        ),
    )
)

register(
    Benchmark(
        name="pickcube-logstd",
        about=(
            "The control arm: the same policy, not trained at all, with its "
            "exploration noise set to what AWR ends with. What it scores, AWR did not "
            "need to learn."
        ),
        env=FINETUNED,
        start="pickcube-expert",
        agent=Part(
            "suite.agents.policies:Frozen",
            {"policy": "MlpPolicy", "log_std": AWR_LOG_STD, "policy_kwargs": NETWORK},
        ),
        total_timesteps=0,
        evaluation=EVALUATION,
        metric=METRIC,
        scales={
            "smoke": Scale("seconds", TINY_EVALUATION),
            "quick": Scale("seconds", SMALL_EVALUATION),
            "default": Scale("10 seconds"),
            "paper": Scale("20 seconds a seed, three seeds", PAPER_EVALUATION),
        },
    )
)
