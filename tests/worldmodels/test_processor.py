"""Which processors are said to be faster in bfloat16."""

from __future__ import annotations

import pytest

from suite.worldmodels import processor

AMD, INTEL = "vendor_id : AuthenticAMD\n", "vendor_id : GenuineIntel\n"


@pytest.mark.parametrize(
    ("described", "fast"),
    [
        (AMD + "flags : avx512f avx512_bf16", True),  # Zen 4: twice float32
        (AMD + "flags : avx2", False),
        (INTEL + "flags : avx512f avx512_bf16 amx_bf16", True),
        # A guest that is not let at the matrix units: 0.6 of float32.
        (INTEL + "flags : avx512f avx512_bf16", False),
        ("", False),  # nothing is known of it
    ],
)
def test_bfloat16_is_fast_by_matrix_units_or_on_amds(monkeypatch, described, fast):
    monkeypatch.setattr(processor, "_described", lambda: described)
    assert processor.has_fast_bfloat16() is fast


def test_bfloat16_is_fast_on_accelerators(monkeypatch):
    monkeypatch.setattr(processor, "_described", lambda: "")
    assert processor.has_fast_bfloat16("cuda")
