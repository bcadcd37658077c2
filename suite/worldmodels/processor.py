"""What the processor is fast at, as far as it decides how networks are computed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch


def has_avx2() -> bool:
    """Whether torch's kernels here are those of AVX2, neither wider nor narrower."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def is_amd() -> bool:
    """Whether it is AMD's, for which MKL does not take its fast functions."""
    return "AuthenticAMD" in _described()


def has_fast_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Whether products in bfloat16 are faster than in float32 there."""
    if torch.device(device).type != "cpu":
        return True
    # By avx512_bf16 AMD's cores multiply at twice float32's rate, Intel's at half of
    # it: those are fast by their matrix units alone, which a guest need not get to see.
    return "amx_bf16" in _described() or (is_amd() and "avx512_bf16" in _described())


@cache  # it stays the same, and is long where there are many cores
def _described() -> str:
    info = Path("/proc/cpuinfo")
    return info.read_text() if info.exists() else ""
