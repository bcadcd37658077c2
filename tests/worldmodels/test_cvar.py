"""CVaR is what its definition says, and its estimators are as biased as is known."""

from __future__ import annotations

import math

import pytest
import torch

from suite.worldmodels.cvar import CVaR, Exact, RockafellarUryasev, TopK

NOTHING = torch.tensor(torch.nan)
ESTIMATORS = [TopK(), Exact(), RockafellarUryasev(decay=0.0)]
EACH = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)


def minimised(losses: torch.Tensor, alpha: float) -> float:
    """min over tau of tau + mean(max(l - tau, 0)) / alpha; it lies at a sample."""
    excess = (losses[None] - losses[:, None]).clamp(min=0).mean(dim=1)
    return float((losses + excess / alpha).min())


@pytest.mark.parametrize("size", [1, 7, 10, 33])
@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 0.99, 1.0])
def test_exact_is_the_definition_on_a_sample(size, alpha):
    generator = torch.Generator().manual_seed(size)
    losses = torch.randn(size, generator=generator, dtype=torch.float64).exp()
    found = Exact().tail(losses, max(alpha, 1 / size), 1, NOTHING)
    assert float(found.value) == pytest.approx(minimised(losses, max(alpha, 1 / size)))
    assert float(found.weights.sum()) == pytest.approx(1)


@pytest.mark.parametrize("size", [5, 7, 20])
@pytest.mark.parametrize("alpha", [0.2, 0.35, 1.0])
def test_the_bound_at_the_batch_quantile_is_exact(size, alpha):
    generator = torch.Generator().manual_seed(size)
    losses = torch.rand(size, generator=generator, dtype=torch.float64)
    found = RockafellarUryasev(decay=0.0).tail(losses, alpha, 1, NOTHING)
    assert float(found.value) == pytest.approx(minimised(losses, alpha))


def test_hand_numbers():
    losses = torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0])
    # alpha 0.3 of 5 samples is 1.5: the largest whole, the next one half.
    assert float(Exact().tail(losses, 0.3, 1, NOTHING).value) == pytest.approx(7 / 1.5)
    assert float(TopK().tail(losses, 0.3, 1, NOTHING).value) == pytest.approx(4.5)
    weights = TopK().tail(losses, 0.4, 1, NOTHING).weights
    assert weights.tolist() == [0, 0.5, 0, 0.5, 0]
    assert float(TopK().tail(losses, 0.2, 3, NOTHING).value) == pytest.approx(4)
    assert float(Exact().tail(losses, 0.2, 3, NOTHING).value) == pytest.approx(4)


def test_k_is_that_of_the_log():
    # ceil(0.2 * 256) = 52; and 0.07 * 100, which is 7.000000000000001, is 7 samples.
    for alpha, size, k in ((0.2, 256, 52), (0.07, 100, 7), (0.2, 10, 2), (0.2, 1, 1)):
        weights = TopK().tail(torch.rand(size), alpha, 1, NOTHING).weights
        assert int((weights > 0).sum()) == k


@EACH
def test_alpha_one_is_the_mean(estimator):
    losses = torch.rand(3, 17, dtype=torch.float64)
    found = estimator.tail(losses, 1.0, 1, torch.full((3,), torch.nan))
    torch.testing.assert_close(found.value, losses.mean(dim=1))
    assert torch.equal(
        CVaR(alpha=1.0, estimator=estimator).tail(losses, 0, NOTHING).value,
        losses.mean(dim=1),
    )


@EACH
def test_rows_are_apart_and_their_order_does_not_matter(estimator):
    losses = torch.rand(4, 23, dtype=torch.float64)
    memory = torch.full((4,), torch.nan)
    together = estimator.tail(losses, 0.2, 1, memory).value
    for row in range(4):
        order = torch.randperm(23)
        alone = estimator.tail(losses[row, order], 0.2, 1, NOTHING).value
        torch.testing.assert_close(alone, together[row])


@EACH
def test_the_gradient_is_the_weights_and_equal_to_differences(estimator):
    losses = torch.rand(11, dtype=torch.float64, requires_grad=True)
    found = estimator.tail(losses, 0.3, 1, NOTHING)
    (gradient,) = torch.autograd.grad(found.value, losses)
    if not isinstance(estimator, RockafellarUryasev):
        torch.testing.assert_close(gradient, found.weights)
        assert torch.autograd.gradcheck(
            lambda x: estimator.tail(x, 0.3, 1, NOTHING).value, losses
        )
    used = losses.detach() >= losses.detach().sort(descending=True).values[3]
    assert ((gradient > 0) <= used).all() and float(gradient.max()) > 0


@pytest.mark.parametrize(
    ("draw", "cvar"),
    [
        # Uniform: the mean of [1 - alpha, 1]. Exponential: 1 - ln(alpha).
        (lambda u: u, lambda a: 1 - a / 2),
        (lambda u: -torch.log1p(-u), lambda a: 1 - math.log(a)),
    ],
    ids=["uniform", "exponential"],
)
@EACH
def test_large_samples_come_to_the_closed_form(estimator, draw, cvar):
    generator = torch.Generator().manual_seed(0)
    losses = draw(torch.rand(100_000, generator=generator, dtype=torch.float64))
    for alpha in (0.05, 0.2, 0.7):
        found = float(estimator.tail(losses, alpha, 1, NOTHING).value)
        assert found == pytest.approx(cvar(alpha), rel=0.01)


@pytest.mark.parametrize(
    ("size", "exact", "topk"),
    [(8, -0.11, -0.21), (16, -0.04, -0.17), (32, -0.016, -0.07)],
)
def test_the_bias_on_small_batches_is_the_known_one(size, exact, topk):
    # Lognormal, sigma 1.5, alpha 0.2: CVaR is exp(s^2/2) Phi(s - z_0.8) / alpha.
    sigma, alpha = 1.5, 0.2
    phi = 0.5 * (1 + math.erf((sigma - 0.8416212335729143) / math.sqrt(2)))
    truth = math.exp(sigma**2 / 2) * phi / alpha
    ranked = _mean_order_statistics(size, sigma)  # of the largest first
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(20_000, size, generator=generator, dtype=torch.float64)
    losses, memory = torch.exp(sigma * noise), torch.full((20_000,), torch.nan)
    for estimator, expected in ((Exact(), exact), (TopK(), topk)):
        # What it gives on the mean of each rank is what it gives on average.
        mean = float(estimator.tail(ranked, alpha, 1, NOTHING).value)
        assert mean / truth - 1 == pytest.approx(expected, abs=0.012)
        measured = float(estimator.tail(losses, alpha, 1, memory).value.mean())
        assert measured == pytest.approx(mean, rel=0.04)


def _mean_order_statistics(size: int, sigma: float) -> torch.Tensor:
    """E of the largest, the second largest ... of so many lognormal numbers."""
    z = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    below = torch.special.ndtr(z)
    density = torch.exp(sigma * z - z * z / 2) / math.sqrt(2 * math.pi)
    means = []
    for rank in range(1, size + 1):
        ways = size * math.comb(size - 1, rank - 1)
        chance = ways * below ** (size - rank) * (1 - below) ** (rank - 1)
        means.append(torch.trapezoid(chance * density, z))
    return torch.stack(means)


def test_a_threshold_follows_many_batches():
    generator = torch.Generator().manual_seed(2)
    estimator, memory, counts = RockafellarUryasev(decay=0.99), NOTHING, []
    for _ in range(1500):
        losses = torch.rand(8, generator=generator)
        _, weights, memory = estimator.tail(losses, 0.2, 1, memory)
        counts.append(int((weights > 0).sum()))
    # The mean of a batch's own threshold, the second largest of 8: 7 / 9.
    assert float(memory) == pytest.approx(7 / 9, abs=0.03)
    assert min(counts) == 1 and max(counts) >= 4


def test_the_tail_is_approached_as_told():
    cvar = CVaR(alpha=0.2, warm_start=3, anneal=3)
    found = [cvar.alpha_at(epoch) for epoch in range(8)]
    assert found == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.2])
    assert CVaR(alpha=0.2).alpha_at(0) == 0.2


def test_a_mixture_lies_between():
    losses = torch.rand(20)
    mean, tail = losses.mean(), TopK().tail(losses, 0.2, 1, NOTHING).value
    found = CVaR(alpha=0.2, mix=0.25).tail(losses, 0, NOTHING).value
    torch.testing.assert_close(found, 0.25 * tail + 0.75 * mean)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"alpha": 0.0}, r"alpha must be in \(0, 1\].*got 0.0"),
        ({"alpha": 1.5}, r"alpha must be in \(0, 1\].*got 1.5"),
        ({"apply_to": "pose"}, "apply_to must be .* got 'pose'"),
        ({"min_k": 0}, "min_k must be 1 or more"),
        ({"mix": 2.0}, r"mix must be in \[0, 1\], got 2.0"),
    ],
)
def test_what_cannot_be_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        CVaR(**kwargs)


def test_a_batch_smaller_than_its_tail_is_refused():
    with pytest.raises(ValueError, match="a batch of 4 samples has no 5"):
        CVaR(min_k=5).tail(torch.rand(4), 0, NOTHING)
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1"):
        RockafellarUryasev(decay=1)
