"""Building the cell-feature graph: batch features against a loop over cells, and cost against cells.

Simulated matrices, 10 % filled, and the RNA of data sets. Each is built in a process of its own. Prints JSON.

    python benchmarks/graph_building.py [--cells 1000 4000 16000 66175] [--features 13953] [--loop-cells 1000]
                                        [--datasets pbmc10x_cite snareseq_mop]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp


def simulated(cells: int, features: int, filled: float = 0.1) -> sp.csr_matrix:
    """CSR of log1p counts with about the given share of non-zeros; columns sorted and distinct."""
    rng = np.random.default_rng(0)
    counts = rng.binomial(features, filled, cells)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.empty(indptr[-1], np.int32)
    for start, n in zip(indptr, counts, strict=False):
        gaps = rng.choice(features, n, replace=False, shuffle=False)
        indices[start : start + n] = np.sort(gaps)
    data = np.log1p(rng.integers(1, 20, indptr[-1], dtype=np.int32).astype(np.float32))
    return sp.csr_matrix((data, indices, indptr), shape=(cells, features))


def loop_over_cells(X: sp.csr_matrix) -> np.ndarray:
    """The nine numbers cell by cell, each made dense (1 x features) first, as in the published code."""
    rows = []
    for cell in X:
        dense = cell.toarray()
        values = dense[dense.nonzero()]
        quartiles = [np.percentile(values, q) for q in (25, 50, 75)]
        more = [dense.max(), len(values) / 1000, values.mean(), values.std()]
        rows.append([dense.mean(), dense.std(), *quartiles, *more])
    return np.array(rows)


def seconds_of(call: Callable[[], np.ndarray], repeats: int) -> tuple[np.ndarray, float]:
    """Result, and the shortest time of a few calls (the first one also starts threads)."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return result, min(times)


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def one(name: str, X: sp.csr_matrix, loop_cells: int) -> dict[str, str | float | int]:
    """Seconds and peak memory of graph, batch features and operators; of the loop on some cells."""
    from scmobench.graph.batch_features import cell_statistics
    from scmobench.graph.cell_feature import CellFeatureGraph

    held = peak_gb()
    batches = (np.arange(X.shape[0]) * 9 // X.shape[0]).astype(str)
    start = time.perf_counter()
    graph = CellFeatureGraph.build(X, batches=batches)
    built = time.perf_counter()
    graph.tensors()
    finished = time.perf_counter()
    some = X[:loop_cells]
    fast, quick = seconds_of(lambda: cell_statistics(some), 5)
    slow, slowly = seconds_of(lambda: loop_over_cells(some), 1)
    return {
        "data": name,
        "cells": X.shape[0],
        "features": X.shape[1],
        "edges": int(X.nnz),
        "seconds_graph_and_batch_features": built - start,
        "seconds_operators": finished - built,
        "seconds": finished - start,
        "matrix_gb": held,
        "peak_gb": peak_gb(),
        "loop_cells": some.shape[0],
        "loop_times_slower": slowly / quick,
        "largest_difference": float(np.abs(fast - slow).max()),
    }


def rna(dataset: str) -> sp.csr_matrix:
    """Normalised RNA of a data set, cells x features."""
    from scmobench.experiment.config import build, compose

    return sp.csr_matrix(build(compose([f"dataset={dataset}"]).dataset).load().mod1.X)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="*", default=[1000, 4000, 16000, 66175])
    parser.add_argument("--features", type=int, default=13953)
    parser.add_argument("--datasets", nargs="*", default=[])
    parser.add_argument("--loop-cells", type=int, default=1000)
    parser.add_argument("--one", help="one size or data set, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        simulate = arguments.one.isdigit()
        X = simulated(int(arguments.one), arguments.features) if simulate else rna(arguments.one)
        print(json.dumps(one("simulated" if simulate else arguments.one, X, arguments.loop_cells)))
        return
    table = []
    for data in [*map(str, arguments.cells), *arguments.datasets]:
        command = [sys.executable, __file__, "--one", data, "--features", str(arguments.features)]
        command += ["--loop-cells", str(arguments.loop_cells)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        table.append(json.loads(done.stdout.splitlines()[-1]))
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
