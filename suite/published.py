"""The data that the results in docs/ were computed on, by their hashes.

One id is one content, on every processor, so whoever makes the data again can be told
whether they are the same to the bit. They are not if a recipe, or a library that
simulates, has changed between the two.
"""

from __future__ import annotations

# A hash of every dataset that a result under docs/results/ names; a test compares them.
PUBLISHED = {
    "suite/halfcheetah-medium-v0": (
        "d5c0997660fac11394762e3dba3ccf7002c1c88ed775bfd34a6d0437d8c7d27c"
    ),
    "suite/hopper-medium-v0": (
        "ad9feea7313c3751ce45324940d164f15d3a0fbf3c4c2f3b4d5c837b429a8814"
    ),
    "suite/mushr-real-40k-v0": (
        "416ef71bff7b468449f2ed863a4497b1cd7798a84708da49d4824f9d58dac987"
    ),
    "suite/mushr-real-v0": (
        "fe4f80dafc09eb368875e3f69f9e4158fcfab3246d9380e0f3c415e59181d992"
    ),
    "suite/mushr-real-seed1-v0": (
        "f84c3106ee0d2ededbb5acb8ab02a7ca6176eca94be05b2962a8702c6af29ae7"
    ),
    "suite/mushr-real-seed2-v0": (
        "346468bc8f406cec72b47f8284a66e36d831aae7e48c351b1bfdecdd8f857ed0"
    ),
}


def other_numbers(dataset_id: str, sha256: str | None) -> str | None:
    """A sentence for data that have a published id and other numbers than those."""
    known = PUBLISHED.get(dataset_id)
    if known is None or known == sha256:
        return None
    return (
        f"{dataset_id} holds other numbers (sha256 {str(sha256)[:12]}) than the data "
        f"of docs/RESULTS.md ({known[:12]}), so results will differ; to have those, "
        f"delete it and run suite-bench data make {dataset_id}"
    )


def compared(dataset_id: str, sha256: str | None) -> str:
    """In two words or a sentence; nothing for an id that never was published."""
    if dataset_id not in PUBLISHED:
        return ""
    return other_numbers(dataset_id, sha256) or "as published"
