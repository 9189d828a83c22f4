"""Speed of the pruned assignment beside SciPy's dense solver, in one process after the other.

Cells are two noisy views of points on a sphere, in 64 dimensions: 2,000 and 5,000 cells of one batch
by both solvers, then 20,009 cells in the three batches of the competition's Multiome test set size
(the largest with 8,000), by the pruned solver and as the matching heads do it (``softmax``: similarity times
e^2.74, softmax over rows and columns, pairs above the 0.995 quantile). Prints JSON: seconds, peak memory of
the process, total similarity, and the relative difference to the dense optimum. ``typed``: the same for cells
of twelve types of which a twentieth shows another type in its second view, so that the pairs above the
quantile hold no full matching and all pairs come into question.

    python benchmarks/assignment.py
"""

import json
import resource
import sys
import time
from multiprocessing import get_context
from typing import Any

import numpy as np

SIZES = (2_000, 5_000)
BATCHES = (8_000, 6_500, 5_509)
DIMENSIONS = 64
NOISE = 1.0
SCALE = np.exp(2.739896)  # published, GEX-ADT


def factors(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy views of the same n points at unit length; rows of the second in another order."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((n, DIMENSIONS))
    views = [points + NOISE * rng.standard_normal((n, DIMENSIONS)) for _ in range(2)]
    left, right = ((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for v in views)
    return left, right[rng.permutation(n)]


def typed(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two views of cells of twelve unequal types, a twentieth of which changes its type between them."""
    rng = np.random.default_rng(0)
    centres, own = 2 * rng.standard_normal((12, 20)), rng.standard_normal((n, 20))
    kind = rng.choice(12, size=n, p=np.arange(1, 13) / 78)
    other = np.where(rng.random(n) < 0.05, rng.integers(12, size=n), kind)
    views = [centres[k] + own + 0.5 * rng.standard_normal((n, 20)) for k in (kind, other)]
    left, right = ((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for v in views)
    return left, right[rng.permutation(n)]


def measure(solver: str, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Seconds, peak memory (GB) and total similarity of one solver on batches of these sizes."""
    parts = [(typed if solver == "typed" else factors)(n) for n in sizes]
    left, right = (np.concatenate(views) for views in zip(*parts, strict=True))
    batch = np.repeat(np.arange(len(sizes)).astype(str), sizes)
    start = time.perf_counter()
    if solver == "dense":
        from scipy.optimize import linear_sum_assignment

        partner = linear_sum_assignment(left @ right.T, maximize=True)[1]
    else:
        from scmobench.models.matching.assignment import assign, assign_softmax

        start = time.perf_counter()
        if solver in ("softmax", "typed"):
            partner = assign_softmax((left * np.float32(SCALE), right), batch, batch).indices
        else:
            partner = assign((left, right), batch, batch).indices
    seconds = time.perf_counter() - start
    total = np.einsum("ij,ij->", left, right[partner], dtype=np.float64)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024**2 if sys.platform != "darwin" else 1024**3
    )
    return {"cells": sum(sizes), "seconds": seconds, "peak_gb": peak, "total": float(total)}


def main() -> None:
    """Each measurement in a fresh process, so that its peak memory is its own."""
    context = get_context("spawn")
    jobs = [(solver, (n,)) for n in SIZES for solver in ("dense", "pruned")] + [
        ("pruned", BATCHES),
        ("softmax", BATCHES),
        ("typed", BATCHES),
    ]
    found = []
    for job in jobs:
        with context.Pool(1) as pool:
            found.append(pool.apply(measure, job))
    rows = []
    for dense, pruned in zip(found[0:-3:2], found[1:-3:2], strict=True):
        rows.append(
            {
                "cells": dense["cells"],
                "dense": dense,
                "pruned": pruned,
                "dense_over_pruned_seconds": dense["seconds"] / pruned["seconds"],
                "relative_difference": abs(1 - pruned["total"] / dense["total"]),
            }
        )
    whole = dict(zip(("pruned", "softmax", "typed"), found[-3:], strict=True))
    rows.append({"cells": sum(BATCHES), "batches": BATCHES} | whole)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
