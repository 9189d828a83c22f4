"""Time of the six joint-embedding metrics against the number of cells, on simulated blobs.

    OMP_NUM_THREADS=2 python benchmarks/metrics.py --cells 10849 30000

Prints one JSON object: seconds of each metric and of all six, the peak memory of each size's own process,
and the versions that were timed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

SIX = ("nmi", "asw_label", "asw_batch", "graph_conn", "cc_cons", "ti_cons_batch_mean")


def blobs(cells: int, genes: int, dimensions: int, seed: int) -> tuple[np.ndarray, AnnData]:
    """An embedding of Gaussian cell types along a line, and its GEX: batches, cycle scores, pseudotime."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(15, size=cells)
    batch = rng.integers(3, size=cells)
    centres = 0.4 * rng.normal(size=(15, dimensions)) + np.arange(15)[:, None] * 0.1
    embedding = (centres[kind] + rng.normal(size=(cells, dimensions))).astype(np.float32)
    order = embedding.mean(axis=1) + 0.1 * rng.normal(size=cells)
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical([f"b{b}" for b in batch]),
            "cell_type": pd.Categorical([f"type{k}" for k in kind]),
            "S_score": rng.normal(size=cells),
            "G2M_score": rng.normal(size=cells),
            "pseudotime_order_GEX": np.argsort(np.argsort(order)) / cells,
            "pseudotime_order_ADT": np.argsort(np.argsort(-order)) / cells,
        },
        index=[f"cell{i}" for i in range(cells)],
    )
    loadings = rng.normal(size=(dimensions, genes)) / np.sqrt(dimensions)
    blocks = np.array_split(embedding, max(1, cells // 2000))
    x = sp.vstack([_counts(block @ loadings, rng) for block in blocks], format="csr")
    return embedding, AnnData(x, obs=obs, uns={"organism": "human"})


def _counts(signal: np.ndarray, rng: np.random.Generator) -> sp.csr_matrix:
    """log1p of Poisson counts, about one value in ten above zero."""
    return sp.csr_matrix(np.log1p(rng.poisson(0.1 * np.exp(0.5 * signal))), dtype=np.float32)


def timed(cells: int, genes: int, dimensions: int, seed: int) -> dict:
    """Seconds of each metric on one embedding; the graph is timed with the first that needs it."""
    from scmobench.experiment.evaluate import metrics
    from scmobench.metrics.neighbors import ScoredEmbedding

    embedding = ScoredEmbedding(*blobs(cells, genes, dimensions, seed))
    chosen = metrics("joint_embedding")
    start = time.perf_counter()
    import scib  # noqa: F401  (imports are timed apart)

    seconds = {"imports": time.perf_counter() - start}
    values = {}
    spent = time.process_time()
    for name in SIX:
        start = time.perf_counter()
        values[name] = chosen[name](embedding).value
        seconds[name] = time.perf_counter() - start
    spent = time.process_time() - spent
    return {
        "cells": cells,
        "genes": genes,
        "dimensions": dimensions,
        "seconds": {k: round(v, 2) for k, v in seconds.items()},
        "six_seconds": round(sum(seconds[name] for name in SIX), 2),
        "six_cpu_seconds": round(spent, 2),
        "load": os.getloadavg()[0],
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "values": values,
    }


def main() -> None:
    """Time each size in a process of its own, so that peak memory is that size's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[10_849, 30_000])
    parser.add_argument("--genes", type=int, default=4_000)
    parser.add_argument("--dimensions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(timed(asked.cells[0], asked.genes, asked.dimensions, asked.seed)))
        return
    sizes = []
    for cells in asked.cells:
        options = {"cells": cells, "genes": asked.genes, "dimensions": asked.dimensions, "seed": asked.seed}
        command = [sys.executable, __file__, "--one"]
        command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        sizes.append(json.loads(done.stdout.splitlines()[-1]))
    packages = ("scib", "scanpy", "scikit-learn", "igraph", "numpy")
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "versions": {name: version(name) for name in packages},
        "sizes": sizes,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
