"""Policy gradients through models whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracle import GAMMA, PUSH, Integrator, riccati
from torch import Tensor, nn

from suite.agents.advantages import GAE, Rollout
from suite.agents.lookahead import look_ahead, td_lambda
from suite.worldmodels.dynamics import Transition

KNOWN_GAIN = torch.tensor([[2.43128, 3.363815]], dtype=torch.float64)
KNOWN_WORTH = [[12.52827, 3.00769], [3.00769, 4.5142]]
SOMEWHERE = [[0.5, 0.5]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


# ------------------------------------------------------------ the linear regulator
def loss(gain: Tensor, horizon: int, detach: bool, last: float = 1.0) -> Tensor:
    """Mean cost of u = -K x from 256 starts, with the optimal value behind it."""
    worth = torch.tensor(KNOWN_WORTH, dtype=torch.float64)
    if last == 1.0:
        worth = riccati()[1]
    found = look_ahead(
        Integrator(),
        normal(256, 2),
        lambda x, h: -x @ gain.T,
        lambda x: -last * (x @ worth * x).sum(dim=-1),
        horizon,
        gamma=GAMMA,
        detach=detach,
    )
    return -found.objective.mean()


def gradient(gain: Any, horizon: int, detach: bool, last: float = 1.0) -> np.ndarray:
    leaf = torch.as_tensor(gain, dtype=torch.float64).clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, horizon, detach, last), leaf)[0].numpy()[0]


def test_the_riccati_equation_has_the_known_solution():
    gain, worth = riccati()
    np.testing.assert_allclose(gain, KNOWN_GAIN, atol=5e-6)
    np.testing.assert_allclose(worth, KNOWN_WORTH, atol=5e-6)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("horizon", [1, 4, 16])
def test_the_gradient_vanishes_at_the_optimal_gain(horizon, detach):
    assert abs(gradient(riccati()[0], horizon, detach)).max() < 1e-9


def test_without_a_value_behind_the_horizon_it_does_not():
    found = gradient(riccati()[0], 4, detach=False, last=0.0)
    np.testing.assert_allclose(found, [1.13, 0.20], atol=5e-3)


def test_one_discount_too_many_would_show():
    # The last value weighed by gamma^(H + 1), as the authors' code does.
    found = gradient(riccati()[0], 4, detach=False, last=GAMMA)
    np.testing.assert_allclose(found, [0.0113, 0.0020], atol=5e-5)


@pytest.mark.parametrize(
    ("detach", "known"),
    [(False, [-22.7257, -24.2188]), (True, [-28.2855, -34.9666])],
)
def test_the_gradient_elsewhere_is_the_known_one(detach, known):
    np.testing.assert_allclose(gradient(SOMEWHERE, 16, detach), known, atol=5e-5)


def test_it_is_that_of_finite_differences():
    step, found = 1e-5, []
    for index in range(2):
        ends = torch.tensor(SOMEWHERE, dtype=torch.float64).repeat(2, 1, 1)
        ends[0, 0, index] += step
        ends[1, 0, index] -= step
        up, down = (float(loss(end, 16, detach=False)) for end in ends)
        found.append((up - down) / (2 * step))
    np.testing.assert_allclose(gradient(SOMEWHERE, 16, False), found, rtol=1e-8)


def test_descent_finds_the_optimal_gain():
    gain = torch.tensor(SOMEWHERE, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([gain], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        cost = loss(gain, 4, detach=False)
        cost.backward()
        return cost

    optimizer.step(closure)
    np.testing.assert_allclose(gain.detach(), KNOWN_GAIN, atol=1e-4)


# ----------------------------------------------------- networks, in double precision
SIZE, ACTIONS, ROWS, HORIZON = 3, 2, 4, 3


def network(inputs: int, outputs: int, seed: int) -> nn.Module:
    net = nn.Sequential(nn.Linear(inputs, 5), nn.Mish(), nn.Linear(5, outputs)).double()
    with torch.no_grad():
        for index, part in enumerate(net.parameters()):
            part.copy_(normal(*part.shape, seed=seed + index))
    return net


class Curved:
    """Smooth dynamics, reward and probability of ending, of random networks."""

    def __init__(self, *, is_unsure: bool = False):
        self.motion = network(SIZE + ACTIONS, SIZE, 10)
        self.paid, self.end = network(SIZE + ACTIONS, 1, 20), network(SIZE, 1, 30)
        if is_unsure:
            self.truncated = lambda z: z[:, 0] > 0.5

    def start(self, state: Tensor) -> Tensor:
        return state

    def step(self, z: Tensor, action: Tensor, *, generator: Any = None) -> Transition:
        both = torch.cat([z, action], dim=1)
        ends = torch.zeros(len(z), dtype=torch.bool)
        return Transition(
            torch.tanh(self.motion(both)), self.paid(both)[:, 0], terminated=ends
        )

    def going_on(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.end(z))[:, 0]

    def observe(self, z: Tensor) -> Tensor:
        return z


NOISE, START = normal(HORIZON, ROWS, ACTIONS, seed=3), normal(ROWS, SIZE, seed=4)
VALUE = network(SIZE, 1, 50)


def curved(actor: nn.Module, detach: bool, given: Tensor | None = None, **kind: bool):
    """A lookahead under an actor with fixed noise.

    Args:
        actor: Of states.
        detach: As ``look_ahead``.
        given: What the actor sees instead of the states, (H, B, S).
        **kind: Of the model.
    """

    def act(shown: Tensor, h: int) -> Tensor:
        seen = shown if given is None else given[h]
        return torch.tanh(actor(seen) + 0.3 * NOISE[h])

    return look_ahead(
        Curved(**kind), START, act, lambda z: VALUE(z)[..., 0], HORIZON,
        gamma=0.9, detach=detach,
    )  # fmt: skip


def differences(actor: nn.Module, objective: Any) -> Tensor:
    """The gradient of a function of the actor's weights, by central differences."""
    found, step = [], 1e-6
    for part in actor.parameters():
        flat = part.data.view(-1)
        for index in range(len(flat)):
            values, kept = [], float(flat[index])
            for sign in (1, -1):
                flat[index] = kept + sign * step
                values.append(float(objective().detach()))
            flat[index] = kept
            found.append((values[0] - values[1]) / (2 * step))
    return torch.tensor(found, dtype=torch.float64)


def by_autograd(actor: nn.Module, objective: Tensor) -> Tensor:
    parts = torch.autograd.grad(objective, list(actor.parameters()))
    return torch.cat([part.flatten() for part in parts])


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_the_whole_gradient_is_that_of_finite_differences():
    actor = network(SIZE, ACTIONS, 40)
    found = by_autograd(actor, curved(actor, detach=False).objective.mean())
    wanted = differences(actor, lambda: curved(actor, False).objective.mean())
    assert relative(found, wanted) < 1e-6


def test_the_detached_one_is_that_of_actions_that_stay():
    actor = network(SIZE, ACTIONS, 40)
    nominal = curved(actor, detach=True)
    found = by_autograd(actor, nominal.objective.mean())
    wanted = differences(
        actor, lambda: curved(actor, True, given=nominal.seen).objective.mean()
    )
    assert relative(found, wanted) < 1e-6
    # It is another gradient, not a rounded one.
    whole = by_autograd(actor, curved(actor, detach=False).objective.mean())
    assert relative(found, whole) > 0.01


def test_both_see_the_same_return():
    actor = network(SIZE, ACTIONS, 40)
    one, other = (curved(actor, detach) for detach in (True, False))
    assert torch.equal(one.objective, other.objective)
    assert torch.equal(one.seen, other.seen) and not one.seen.requires_grad


def test_the_return_is_its_sum_written_out():
    actor = network(SIZE, ACTIONS, 40)
    found = curved(actor, detach=True)
    total, alive = torch.zeros(ROWS).double(), torch.ones(ROWS).double()
    for h in range(HORIZON):
        torch.testing.assert_close(found.alive[h], alive)
        total += 0.9**h * alive * found.rewards[h]
        alive = alive * found.going_on[h]
    total += 0.9**HORIZON * alive * VALUE(found.seen[-1])[:, 0]
    torch.testing.assert_close(found.objective, total)


def test_where_the_model_gives_up_the_value_stands_for_the_rest():
    actor = network(SIZE, ACTIONS, 40)
    found = curved(actor, detach=True, is_unsure=True)
    assert found.cut is not None and found.cut[0].any() and not found.cut[0].all()
    after = 0.9 * found.going_on[0] * VALUE(found.seen[1])[:, 0]
    cut = found.cut[0]
    torch.testing.assert_close(found.objective[cut], (found.rewards[0] + after)[cut])
    assert not found.alive[1][cut].any()


def test_a_model_without_probabilities_ends_where_it_says():
    class Ending(Integrator):
        def step(self, z: Tensor, action: Tensor, *, generator: Any = None):
            found = super().step(z, action)
            return found._replace(terminated=found.next_z[:, 0] > 0)

    found = look_ahead(
        Ending(), normal(8, 2), lambda x, h: -x[:, :1], lambda x: x.sum(-1), 5,
        gamma=0.5,
    )  # fmt: skip
    assert torch.equal(found.going_on.bool(), found.seen[1:, :, 0] <= 0)


def test_a_horizon_of_nothing_is_refused():
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        look_ahead(Integrator(), START, lambda x, h: x, lambda x: x, 0, gamma=1.0)


# --------------------------------------------------------------------- TD(lambda)
def naive(r: Tensor, c: Tensor, v: Tensor, cut: Tensor, gamma: float, lam: float):
    """The mean of all n-step returns, weighed by (1 - lam) lam^(n - 1), one by one."""
    horizon, rows = r.shape
    found = torch.zeros_like(r)
    for row in range(rows):
        for start in range(horizon):
            last = start  # the step that the longest return ends with
            while last < horizon - 1 and not cut[last, row]:
                last += 1
            total, reached, paid = 0.0, 1.0, 0.0
            for n, h in enumerate(range(start, last + 1), 1):
                paid += gamma ** (n - 1) * reached * float(r[h, row])
                reached *= float(c[h, row])
                value = paid + gamma**n * reached * float(v[h, row])
                weight = lam ** (n - 1) * (1 - lam if h < last else 1)
                total += weight * value
            found[start, row] = total
    return found


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_returns_are_the_naive_sum(lam):
    r, v = normal(6, 40, seed=1), normal(6, 40, seed=2)
    c = torch.rand(6, 40, generator=generator(3)).double()
    c = torch.where(c < 0.2, 0.0, torch.where(c > 0.6, 1.0, c))  # some surely end
    cut = torch.rand(6, 40, generator=generator(4)) < 0.2
    found = td_lambda(r, c, v, gamma=0.9, lam=lam, cut=cut)
    torch.testing.assert_close(found, naive(r, c, v, cut, 0.9, lam))
    none = torch.zeros_like(cut)
    torch.testing.assert_close(
        td_lambda(r, c, v, gamma=0.9, lam=lam), naive(r, c, v, none, 0.9, lam)
    )


@pytest.mark.parametrize("ends", [(), (2,), (4,), (1, 4)])
def test_returns_by_hand(ends):
    # Rewards of 1, values of 10, gamma 1/2, lambda 1: 2 - 2^(1-n) + 10 * 2^-n.
    r, v, c = torch.ones(5, 1), torch.full((5, 1), 10.0), torch.ones(5, 1)
    c[list(ends)] = 0
    found = td_lambda(r, c, v, gamma=0.5, lam=1.0)[:, 0].tolist()
    wanted = []
    for h in range(5):
        left = [end for end in ends if end >= h]
        n = (left[0] if left else 4) - h + 1
        wanted.append(2 - 2 ** (1 - n) + (0 if left else 10 * 2.0**-n))
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("seed", range(3))
def test_returns_are_those_of_generalised_advantages(seed):
    rng = np.random.default_rng(seed)
    values, rewards = rng.normal(size=(2, 7, 9)).astype(np.float32)
    after = rng.normal(size=(7, 9)).astype(np.float32)  # where episodes end
    terminated, truncated = rng.random((2, 7, 9)) < 0.2
    done = terminated | truncated
    next_values = np.where(done, after, np.roll(values, -1, axis=0))
    next_values[-1] = after[-1]
    last = done.copy()
    last[-1] = True
    ends, none = np.where(last, after, 0), np.zeros((7, 9))
    unused = np.zeros((7, 9, 1))
    rollout = Rollout(
        unused, unused, rewards, terminated, truncated, values, ends, none
    )
    tensors = (torch.tensor(a).double() for a in (rewards, ~terminated, next_values))
    found = td_lambda(*tensors, gamma=0.9, lam=0.8, cut=torch.tensor(done))
    wanted = GAE(0.9, 0.8)(rollout).returns
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_oracle_moves_as_written():
    step = Integrator().step(normal(3, 2), normal(3, 1, seed=1))
    assert step.next_z.shape == (3, 2) and PUSH.shape == (2, 1)
