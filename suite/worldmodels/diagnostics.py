"""How far a fitted model can be trusted: open-loop errors and calibration.

Shapes: H steps, B windows of real episodes, E members, S numbers of a state.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch

from suite.worldmodels.experience import Experience
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.normaliser import STD_FLOOR, Normaliser

STEPS = (1, 5, 10)  # whose errors are told
MOST_WINDOWS = 256
MOST_STEPS = 4096
NINETY = 1.6449  # deviations within which 90 % of a normal variable lie


class Windows(NamedTuple):
    """Stretches of real episodes.

    Attributes:
        states: (H + 1, B, S).
        actions: (H, B, A), as the model takes them.
    """

    states: torch.Tensor
    actions: torch.Tensor


def model_actions(space: gym.Space, actions: np.ndarray) -> np.ndarray:
    """Actions of a space as a model takes them: choices (...) one-hot, (..., A)."""
    if isinstance(space, gym.spaces.Discrete):
        return np.eye(int(space.n), dtype=np.float32)[actions - space.start]
    return actions


def windows(
    states: Any,
    actions: Any,
    next_states: Any,
    done: Any,
    *,
    unstable: Any = False,
    horizon: int = STEPS[-1],
    most: int = MOST_WINDOWS,
) -> Windows | None:
    """Windows of H steps of rollouts, none beyond an episode's end, evenly chosen.

    Args:
        states: (T, K, S).
        actions: (T, K, A).
        next_states: (T, K, S), never those of the next episode.
        done: (T, K) bool, whether an episode ended with the step.
        unstable: (T, K) bool, whether the step was given up and is no part of any.
        horizon: H.
        most: B at most.

    Returns:
        They, or None if no episode is so long.
    """
    states, actions, next_states = (
        torch.as_tensor(np.asarray(each), dtype=torch.float32)
        for each in (states, actions, next_states)
    )
    done = np.asarray(done)
    first, row = _starts(done, np.broadcast_to(unstable, done.shape), horizon)
    if not len(first):
        return None
    chosen = np.linspace(0, len(first) - 1, min(most, len(first))).round().astype(int)
    first, row = torch.as_tensor(first[chosen]), torch.as_tensor(row[chosen])
    steps = torch.arange(horizon)[:, None] + first
    last = next_states[steps[-1], row]
    return Windows(torch.cat([states[steps, row], last[None]]), actions[steps, row])


def _starts(
    done: np.ndarray, unstable: np.ndarray, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """Steps and rows at which no episode ends before the window's last step."""
    total = len(done) - horizon + 1
    if total < 1:
        return np.empty(0, int), np.empty(0, int)
    ends = np.concatenate([np.zeros((1, done.shape[1]), int), done.cumsum(axis=0)])
    goes_on = ends[horizon - 1 :][:total] == ends[:total]
    first, row = np.nonzero(goes_on & ~unstable[horizon - 1 :][:total])
    return first, row


@torch.no_grad()
def open_loop(dynamics: LearnedDynamics, found: Windows) -> torch.Tensor:
    """What the means of each elite come to under the actions alone, (H + 1, E, B, S).

    Every member is on a trajectory of its own; the start is the real one.
    """
    device, size = dynamics.is_elite.device, dynamics.state_size
    elites = dynamics.elites
    state = found.states[0].to(device).expand(dynamics.ensemble.members, -1, -1)
    trajectory = [state]
    for action in found.actions.to(device):
        state = dynamics(state, action).mean[..., :size]
        trajectory.append(state)
    return torch.stack(trajectory)[:, elites].cpu()


def prediction_errors(
    dynamics: LearnedDynamics, found: Windows, steps: tuple[int, ...] = STEPS
) -> dict[str, float]:
    """How wrong open-loop predictions are.

    Returns:
        ``prediction_error``: mean squared error over H states, the exact start among
        them, in the state's own units: CS285's mean prediction error (MPE), averaged
        over windows and members. ``error_<k>``: root mean squared error after k steps
        in units of each number's deviation over the windows, constants left out; 1
        is as bad as to predict the mean.
    """
    errors = open_loop(dynamics, found) - found.states[:, None]
    spread = found.states.flatten(0, 1).double().std(dim=0, correction=0)
    varies = spread > STD_FLOOR
    relative = errors[..., varies] / spread[varies]
    told = {"prediction_error": float(errors[:-1].square().mean())}
    for k in steps:
        if k < len(errors):
            told[f"error_{k}"] = float(relative[k].square().mean().sqrt())
    return told


@torch.no_grad()
def outcome_errors(dynamics: LearnedDynamics, data: Experience) -> dict[str, float]:
    """Whether the model's reward and end are the environment's, a step ahead.

    Use it to see a reward of the wrong sign or an end that was forgotten before a
    return does. Given functions are asked about the real next state, learned ones
    about the elites' mean.

    Returns:
        ``reward_error``: root mean squared error in units of the rewards' deviation,
        or their own if they are constant; ``end_error``: in what share of the steps the
        episode ended in one of the two alone.
    """
    device, size = dynamics.is_elite.device, dynamics.state_size
    if len(data) > MOST_STEPS:
        data = data[torch.linspace(0, len(data) - 1, MOST_STEPS).long()]
    state, action = data.states.to(device), data.actions.to(device)
    outcome = data.next_states.to(device)
    if None in (dynamics.functions["reward"], dynamics.functions["terminated"]):
        mean = dynamics.predict(state, action).mean.mean(dim=0)
        outcome = torch.cat([outcome.to(mean), mean[:, size:]], dim=1)
    _, reward, ends = dynamics.settle(state, action, outcome)
    rewards = data.rewards.cpu().double()
    spread = float(rewards.std(correction=0))
    error = (reward.cpu().double() - rewards).square().mean().sqrt()
    return {
        "reward_error": float(error) / (spread if spread > STD_FLOOR else 1.0),
        "end_error": float((ends.cpu() != (data.terminated.cpu() > 0)).double().mean()),
    }


@torch.no_grad()
def one_step_error(dynamics: LearnedDynamics, found: Windows) -> float:
    """Mean squared error of one step's normalised change: what the loss measures."""
    state, after = found.states[:-1].flatten(0, 1), found.states[1:].flatten(0, 1)
    means, _ = _changes(dynamics, state, found.actions.flatten(0, 1), after)
    return float(means.square().mean())


@torch.no_grad()
def calibration(dynamics: LearnedDynamics, found: Windows) -> dict[str, float]:
    """Whether a probabilistic ensemble knows how wrong it is, a step ahead.

    Returns:
        ``coverage_90``: how often a number of the true next state lies within the
        central 90 % of the normal distribution that has the mixture's mean and
        variance; 0.9 is calibrated, less is overconfident. ``nll``: mean negative
        log-likelihood of a number under the mixture of the elites, of changes
        normalised as in the fit. Empty for deterministic members.

    Source: Lakshminarayanan et al. 2017, section 2.4, arXiv:1612.01474.
    """
    if dynamics.ensemble.heads == 1:
        return {}
    state, after = found.states[:-1].flatten(0, 1), found.states[1:].flatten(0, 1)
    errors, std = _changes(dynamics, state, found.actions.flatten(0, 1), after)
    assert std is not None
    variance = (std.square() + errors.square()).mean(0) - errors.mean(0).square()
    within = errors.mean(0).abs() <= NINETY * variance.sqrt()
    log_density = -(errors / std).square() / 2 - std.log() - math.log(2 * math.pi) / 2
    mixture = log_density.logsumexp(dim=0) - math.log(len(errors))
    return {
        "coverage_90": float(within.float().mean()),
        "nll": float(-mixture.mean()),
    }


def _changes(
    dynamics: LearnedDynamics,
    state: torch.Tensor,
    action: torch.Tensor,
    after: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Each elite's error and deviation (E, B, S) in units of the fit's targets."""
    device, size = dynamics.is_elite.device, dynamics.state_size
    scale = dynamics.output_scale
    if not isinstance(scale, Normaliser):
        raise ValueError(
            "a frozen model has lost the units of its fit; give the model that it was "
            "frozen from"
        )
    prediction = dynamics.predict(state.to(device), action.to(device))
    errors = (prediction.mean[..., :size] - after.to(device)) / scale.std[:size]
    std = prediction.std
    return errors, None if std is None else std[..., :size] / scale.std[:size]
