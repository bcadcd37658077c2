"""The data that results in docs/ were trained and evaluated on, by their hashes.

One id is one content, on every processor, so whoever makes the data again can be told
whether they are the same to the bit. They are not if a recipe, or a library that
simulates, has changed between the two.
"""

from __future__ import annotations

# Of every dataset that a specification under docs/results/ names, as a test asserts.
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
    "suite/mushr-real-ood-v0": (
        "a3e0436cafe7cfe6d8b0941296e94715e42469a9dd272aa55596832e7a40b155"
    ),
    "suite/mushr-real-test-v0": (
        "73a5be31d3b2a2ec21e92e80dc1041996d8bb0c273242f61ac7f99cd6df5c15d"
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


def is_published(dataset_id: str, sha256: str | None) -> bool | None:
    """Whether data are the published ones of their id; None where nobody can say."""
    known = PUBLISHED.get(dataset_id)
    return None if known is None or sha256 is None else sha256 == known


def other_numbers(dataset_id: str, sha256: str | None) -> str | None:
    """A sentence for data that are not the published ones of their id."""
    if is_published(dataset_id, sha256) is not False:
        return None
    return (
        f"{dataset_id} (sha256 {str(sha256)[:12]}) is not the published one "
        f"({PUBLISHED[dataset_id][:12]}), so results will differ from docs/RESULTS.md"
    )


def compared(dataset_id: str, sha256: str | None) -> str:
    """In two words or a sentence; nothing where nobody can say."""
    if is_published(dataset_id, sha256):
        return "as published"
    return other_numbers(dataset_id, sha256) or ""
