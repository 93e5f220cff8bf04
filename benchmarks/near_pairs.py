"""Near pairs among a million hashes with their flips and turns, half of them in clusters; the truth by brute force.

Two tables: bits at random, and the hashes of made-up thumbnails that all share a sky above a ground, so that some bits
are nearly the same everywhere. Cluster members are their cluster's first picture, flipped or turned, with up to three
bits of each hash changed; one crowd has all the same hashes. The truth is what comparing all with all finds among a
part of the images: whole clusters, and as many of the others.
"""

import argparse
import resource
import time
from collections.abc import Iterator

import numpy as np
from scipy import fft

from benchmarks import record
from benchmarks.record import Row
from maskwright.audit.hashing import hashes
from maskwright.audit.neighbours import choose_fields, near_pairs
from maskwright.augment.dihedral import DIHEDRAL, compose

RADIUS, CROWD, SECONDS = 6, 1000, 60
_COMPOSED = np.array([[DIHEDRAL.index(compose(first, then)) for then in DIHEDRAL] for first in DIHEDRAL])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks near_pairs", description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--checked", type=int, default=20_000, help="images that brute force compares")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = {}
    for kind, make in {"bits at random": random_bits, "pictures": pictures}.items():
        rng = np.random.default_rng(arguments.seed)
        table, cluster = clustered(make(arguments.images // 2, rng), arguments.images, rng)
        rows |= measure(kind, table, checked_images(cluster, arguments.checked, rng))
    record.write("near_pairs", rows)


def measure(kind: str, table: np.ndarray, checked: np.ndarray) -> dict[str, Row]:
    """Search the table; return its time, and what it found among the checked images."""
    started, busy = time.perf_counter(), time.process_time()
    found = near_pairs(table, RADIUS)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    started = time.perf_counter()
    truth = set(compared_all(table[checked]))
    brute = time.perf_counter() - started
    inside = np.isin(found[:, :2], checked).all(axis=1)
    ends = np.searchsorted(checked, found[inside, :2])
    own = set(map(tuple, np.column_stack([ends, found[inside, 2:]]).tolist()))
    recall, precision = len(own & truth) / len(truth), len(own & truth) / max(len(own), 1)
    details = {
        "images": len(table),
        "pairs": len(found),
        "processor_seconds": round(busy, 1),
        "fields": " ".join(f"{f.width} bits ± {f.tolerance}" for f in choose_fields(len(table), RADIUS)),
        "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "all_with_all_would_take_hours": round(brute * (len(table) / len(checked)) ** 2 / 3600, 1),
    }
    exact = {
        "images": len(checked),
        "pairs": len(truth),
        "precision": precision,
        "brute_force_seconds": round(brute, 1),
    }
    return {
        f"{len(table):,} hashes, {kind}": Row(
            figure=round(seconds, 1), unit="s", target=f"< {SECONDS} s", reached=seconds < SECONDS, details=details
        ),
        f"recall, {kind}": Row(
            figure=recall,
            unit="of the pairs, with transform and distance",
            against="brute force",
            target="1",
            reached=recall == precision == 1,
            details=exact,
        ),
    }


def random_bits(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return (n, 8) hashes that have nothing in common."""
    return rng.integers(0, 2**64 - 1, (n, len(DIHEDRAL)), np.uint64, endpoint=True)


def pictures(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return (n, 8) hashes of thumbnails whose detail falls with frequency, as in photographs, below a brighter sky."""
    frequency = np.hypot(*np.ogrid[:8, :8])
    falling = np.where(frequency == 0, 0, 1 / np.maximum(frequency, 1))
    shared = np.zeros((8, 8))
    shared[:, 0] = 0, 3, 1, -0.8, -0.4, 0.4, 0.2, -0.2
    tables = []
    for start in range(0, n, 1 << 14):
        terms = np.zeros((min(1 << 14, n - start), 32, 32), np.float32)
        terms[:, :8, :8] = rng.normal(shared, 1, (len(terms), 8, 8)) * falling
        tables.append(hashes(fft.idctn(terms, axes=(1, 2))))
    return np.concatenate(tables)


def clustered(singles: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return n images' hashes in random order, and each image's cluster; -1 for those that are alone.

    The crowd, and clusters of 2 to 40 around some of the `singles`, are added to these.
    """
    members = n - len(singles)
    sizes = [min(CROWD, members // 10)]
    left = members - sizes[0]
    while left:
        sizes.append(min(1 + int(rng.geometric(0.25)), 39, left))
        left -= sizes[-1]
    first = rng.permutation(len(singles))[: len(sizes)]
    source = np.repeat(first, sizes)
    turned = _COMPOSED[rng.integers(0, len(DIHEDRAL), members)]
    flips = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, (3, members, 8), np.uint64))
    flips &= -(rng.random((members, 8)) < 0.9).astype(np.int64).view(np.uint64)
    turned[: sizes[0]], flips[: sizes[0]] = np.arange(8), 0
    copies = singles[source[:, None], turned] ^ flips
    cluster = np.concatenate([np.full(len(singles), -1), np.repeat(np.arange(len(sizes)), sizes)])
    cluster[first] = np.arange(len(sizes))
    order = rng.permutation(n)
    return np.concatenate([singles, copies])[order], cluster[order]


def checked_images(cluster: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return positions, ascending: whole clusters, the crowd first, for half of `count`; the rest from all others."""
    sizes = np.bincount(cluster[cluster >= 0])
    order = np.r_[0, 1 + rng.permutation(len(sizes) - 1)]
    taken = order[np.cumsum(sizes[order]) <= count // 2]
    whole = np.isin(cluster, taken)
    others = rng.choice(np.flatnonzero(~whole), count - int(whole.sum()), replace=False)
    return np.sort(np.concatenate([np.flatnonzero(whole), others]))


def compared_all(table: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """Yield (i, j, transform, bits) of every near pair, by the definition: image j turned against image i as it is."""
    for i in range(len(table) - 1):
        bits = np.bitwise_count(table[i, 0] ^ table[i + 1 :])
        for k in np.flatnonzero(bits.min(axis=1) <= RADIUS):
            yield i, int(i + 1 + k), int(bits[k].argmin()), int(bits[k].min())
