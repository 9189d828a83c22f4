"""One training step of scMoGNN's published settings: sparse products against gather and scatter.

Hidden 48, 4 layers, 2 embedding blocks, no pathway, full batch (Wen et al. 2022, competition entry), and no
edge dropout, as the published code runs it.
Each path runs in a process of its own; the ratio is of one call of this script. ``step_over_products`` is
the step against its sparse products alone (7 forward, 7 backward), timed in turn in the same process.
``--scaling`` goes from 1,000 cells to the official data's size, against products by one CSR over all columns
(``untiled``) instead of the reference. Prints JSON.

    python benchmarks/training_step.py [--sizes starter_kit pbmc10x_cite] [--repeats 5] [--edge-dropout 0]
    python benchmarks/training_step.py --scaling [--repeats 3]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from graph_building import simulated

DATA = Path(os.environ.get("SCMOBENCH_DATA", "data"))
SIZES = {  # folder, cells, features, filled share, targets
    "starter_kit": ("neurips_bmmc_cite_starter", 600, 1000, 0.33, 134),
    "pbmc10x_cite": ("pbmc10x_cite", 10849, 4000, 0.106, 14),
}
SCALING = [1000, 4000, 16000, 66175]  # cells
SIZES |= {f"simulated_{n}": ("", n, 13953, 0.1, 134) for n in SCALING}
HIDDEN, LAYERS = 48, 4


def matrix_of(size: str) -> tuple[sp.csr_matrix, str]:
    """Log counts of the real data where they are, else random values of the same size and filling."""
    folder, cells, features, filled, _ = SIZES[size]
    path = DATA / folder / "gex.h5ad"
    if not folder or not path.is_file():
        return simulated(cells, features, filled), "simulated"
    import anndata

    X = sp.csr_matrix(anndata.read_h5ad(path).X, dtype=np.float32)
    X.eliminate_zeros()
    X.data = np.log1p(X.data)
    return X, "real"


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def one(size: str, path: str, repeats: int, edge_dropout: float) -> dict[str, float | str | int]:
    """Seconds of a step (forward, backward, update) and the memory it takes beyond the graph."""
    import torch

    from scmobench.graph.cell_feature import CellFeatureGraph
    from scmobench.graph.operator import compressed_pair
    from scmobench.nn.scmognn import ScMoGNN
    from scmobench.nn.sparse import SparseOperator

    X, source = matrix_of(size)
    torch.manual_seed(0)
    graph = CellFeatureGraph.build(X).tensors()
    if path != "fused":  # along the edges alone, also where the fused path multiplies densely
        graph.matrix = SparseOperator(compressed_pair(X, reads=X.nnz))
    target = torch.rand(X.shape[0], SIZES[size][-1])
    net = ScMoGNN(
        X.shape[1],
        target.shape[1],
        hidden=HIDDEN,
        layers=LAYERS,
        embedding_blocks=2,
        readout="cat",
        edge_dropout=edge_dropout,
        fused=path != "gathered",
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    inputs = [torch.rand(n, HIDDEN) for n in X.shape]
    before, seconds, products = peak_gb(), [], []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        optimiser.zero_grad()
        loss = (net(graph) - target).square().mean().sqrt()
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
        for _ in range(2 * LAYERS - 1 if path != "gathered" else 0):  # the last layer leaves features alone
            graph.matrix.multiply(inputs[1])
            graph.matrix.multiply(inputs[0], transpose=True)
        products.append(time.perf_counter() - start - seconds[-1])
    alone = {}
    if path != "gathered":
        alone["products_seconds_median"] = float(np.median(products[1:]))
        alone["step_over_products"] = float(np.median(np.divide(seconds[1:], products[1:])))
    return {
        "data": source,
        "cells": X.shape[0],
        "features": X.shape[1],
        "edges": int(X.nnz),
        "operator": type(graph.matrix).__name__ if path != "gathered" else "gather and scatter",
        "threads": torch.get_num_threads(),
        "seconds_best": min(seconds[1:]),
        "seconds_median": float(np.median(seconds[1:])),
        **alone,
        "peak_gb": peak_gb(),
        "step_gb": peak_gb() - before,
        "loss": float(loss.detach()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES)[:2])
    parser.add_argument(
        "--scaling", action="store_true", help="against untiled products, 1,000 to 66,175 cells"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--edge-dropout", type=float, default=0.0)
    parser.add_argument("--one", nargs=2, metavar=("SIZE", "PATH"), help="one measurement, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(*arguments.one, arguments.repeats, arguments.edge_dropout)))
        return
    table = {}
    for size in list(SIZES)[2:] if arguments.scaling else arguments.sizes:
        row = {}
        for path in ("fused", other := "untiled" if arguments.scaling else "gathered"):
            command = [sys.executable, __file__, "--one", size, path, "--repeats", str(arguments.repeats)]
            command += ["--edge-dropout", str(arguments.edge_dropout)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row[path] = json.loads(done.stdout.splitlines()[-1])
        fused, slow = row["fused"], row[other]
        row["times_faster"] = slow["seconds_median"] / fused["seconds_median"]
        if not arguments.scaling:  # both hold the same graph, and next to nothing else
            row["share_of_peak_memory"] = fused["peak_gb"] / slow["peak_gb"]
            row["share_of_step_memory"] = fused["step_gb"] / slow["step_gb"]
        table[size] = row
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
