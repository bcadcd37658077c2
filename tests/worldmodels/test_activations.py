"""Our activations are torch's, to rounding, and so are their gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from suite.worldmodels.activations import group_softmax, mish


def softmax(x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(-1, (-1, 8)).softmax(-1).flatten(-2)


PAIRS = [(mish, functional.mish), (group_softmax, softmax)]
# Far out, where what is computed on the way could overflow.
NUMBERS = torch.cat([torch.linspace(-70, 70, 160), torch.linspace(-3, 3, 160)])


@pytest.fixture(autouse=True, params=["AVX2", "AVX512"])
def capability(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each processor has its own way to the same numbers."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)


@pytest.mark.parametrize(("own", "torchs"), PAIRS, ids=["mish", "softmax"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(320,), (10, 32), (2, 5, 32)], ids=str)
def test_values_and_gradients_are_those_of_torch(own, torchs, dtype, shape):
    x = NUMBERS.to(dtype).reshape(shape)
    weights = torch.randn(
        shape, dtype=dtype, generator=torch.Generator().manual_seed(0)
    )
    found = []
    for function in (own, torchs):
        at = x.clone().requires_grad_()
        value = function(at)
        (slope,) = torch.autograd.grad((weights * value).sum(), at)
        with torch.no_grad():
            found.append((value.detach(), slope, function(x)))
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)
    assert torch.equal(found[0][0], found[0][2])  # with gradients or without


@pytest.mark.parametrize("own", [mish, group_softmax])
def test_gradients_are_those_of_finite_differences(own):
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(3, 16, dtype=torch.float64, generator=drawn, requires_grad=True)
    assert torch.autograd.gradcheck(own, x)


def test_numbers_beyond_all_bounds_stay_finite():
    x = torch.tensor([-1e30, -1e4, -100.0, 100.0, 1e4, 1e30, 0.0, 1.0])
    x.requires_grad_()
    for own in (mish, group_softmax):
        value = own(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
        assert torch.isfinite(value).all() and torch.isfinite(slope).all()
    torch.testing.assert_close(mish(x), functional.mish(x))


@pytest.mark.parametrize("own", [mish, group_softmax])
def test_what_goes_in_is_not_overwritten(own):
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    own(x)
    own(x.requires_grad_()).sum().backward()
    assert torch.equal(x, before)
