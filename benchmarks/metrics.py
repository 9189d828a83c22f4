"""The six joint-embedding metrics beside scib's and scib-metrics': CPU seconds, memory and values.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py --out results/speed/metrics.json \\
        --scib-metrics /path/to/an/environment/with/scib-metrics/bin/python

Simulated cells, in three batches and 15 types along a line. All packages score the same embedding. Each runs
in a process of its own, so that peak memory is its own. scib-metrics needs jax, and so its own interpreter.
What does not run, or takes longer than ``--limit``, is shown as a dash.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

SIX = ("nmi", "asw_label", "asw_batch", "graph_conn", "cc_cons", "ti_cons_batch_mean")
PSEUDOTIMES = ("pseudotime_order_GEX", "pseudotime_order_ADT")
BY_DESIGN = {
    "nmi": "ours: the competition's Louvain at 20 resolutions, exact neighbours; the others: Leiden at 10, "
    "approximate neighbours",
    "asw_label": "ours as scib; scib-metrics computes in float32",
    "asw_batch": "ours as scib; scib-metrics computes in float32",
    "graph_conn": "ours: exact neighbours; the others: approximate, scib-metrics with edges of one direction",
    "cc_cons": "ours as scib; scib-metrics does not have it",
    "ti_cons_batch_mean": "ours: exact neighbours; scib: approximate ones; scib-metrics does not have it",
}


def blobs(cells: int, genes: int, dimensions: int, seed: int) -> AnnData:
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
    return AnnData(x, obs=obs, uns={"organism": "human"}, obsm={"X_emb": embedding})


def _counts(signal: np.ndarray, rng: np.random.Generator) -> sp.csr_matrix:
    """log1p of Poisson counts, about one value in ten above zero."""
    return sp.csr_matrix(np.log1p(rng.poisson(0.1 * np.exp(0.5 * signal))), dtype=np.float32)


def ours(cells: AnnData) -> dict[str, Callable[[], float]]:
    """The graph is timed with the first metric that needs it."""
    from scmobench.experiment.evaluate import metrics
    from scmobench.metrics.neighbors import ScoredEmbedding

    scored, chosen = ScoredEmbedding(cells.obsm["X_emb"], cells), metrics("joint_embedding")
    return {name: lambda metric=chosen[name]: metric(scored).value for name in SIX}


def scib(cells: AnnData) -> dict[str, Callable[[], float]]:
    """As its documentation calls it, on scanpy's neighbours."""
    import scanpy
    import scib

    me, keys = scib.metrics, {"label_key": "cell_type", "embed": "X_emb"}

    def nmi() -> float:
        scanpy.pp.neighbors(cells, n_neighbors=15, use_rep="X_emb")
        me.cluster_optimal_resolution(cells, "cell_type", "cluster", verbose=False)
        return me.nmi(cells, "cluster", "cell_type")

    def trajectory() -> float:
        parts = [me.trajectory_conservation(cells, cells, "cell_type", name, "batch") for name in PSEUDOTIMES]
        return sum(parts) / 2

    cycle = {"batch_key": "batch", "embed": "X_emb", "organism": "human", "recompute_cc": False}
    return {
        "nmi": nmi,
        "asw_label": lambda: me.silhouette(cells, **keys),
        "asw_batch": lambda: me.silhouette_batch(cells, batch_key="batch", verbose=False, **keys),
        "graph_conn": lambda: me.graph_connectivity(cells, "cell_type"),
        "cc_cons": lambda: me.cell_cycle(cells, cells, **cycle),
        "ti_cons_batch_mean": trajectory,
    }


def scib_metrics(cells: AnnData) -> dict[str, Callable[[], float]]:
    """The four of the six that the package has."""
    import scib_metrics
    from scib_metrics.nearest_neighbors import pynndescent

    x, types, batches = cells.obsm["X_emb"], *(cells.obs[c].to_numpy(str) for c in ("cell_type", "batch"))
    found = []

    def nmi() -> float:
        found.append(pynndescent(x, 15))
        return scib_metrics.nmi_ari_cluster_labels_leiden(found[0], types)["nmi"]

    return {
        "nmi": nmi,
        "asw_label": lambda: scib_metrics.silhouette_label(x, types),
        "asw_batch": lambda: scib_metrics.silhouette_batch(x, types, batches),
        "graph_conn": lambda: scib_metrics.graph_connectivity(found[0], types),
    }


SIDES = {"ours": ours, "scib": scib, "scib-metrics": scib_metrics}
PACKAGES = {
    "ours": ("scikit-learn", "numba", "scanpy", "numpy", "scipy"),
    "scib": ("scib", "scanpy", "umap-learn", "igraph", "scikit-learn"),
    "scib-metrics": ("scib-metrics", "jax", "pynndescent", "igraph"),
}


def timed(side: str, file: str) -> dict:
    """CPU seconds and value of each metric; a library that a metric loads first is part of its time."""
    functions, seconds, values = SIDES[side](anndata.read_h5ad(file)), {}, {}
    for name, function in functions.items():
        start = time.process_time()
        values[name] = float(function())
        seconds[name] = round(time.process_time() - start, 2)
    return {
        "cpu_seconds": seconds,
        "all_cpu_seconds": round(sum(seconds.values()), 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load": round(os.getloadavg()[0], 1),
        "values": values,
        "versions": {name: _version(name) for name in PACKAGES[side]},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def in_a_process(command: list[str], limit: float) -> dict | None:
    """The JSON that a command prints last; None where it does not end in time or fails."""
    one_thread = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=limit, env=os.environ | one_thread
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def table(sizes: list[dict]) -> str:
    """Markdown: CPU seconds, memory and values by size and package."""
    lines = ["| cells | | " + " | ".join(SIX) + " | all, s | peak, MB |", "| --: | :-- |" + " --: |" * 8]
    for size in sizes:
        for side, found in size["packages"].items():
            found = found or {"cpu_seconds": {}, "values": {}, "all_cpu_seconds": "—", "peak_rss_mb": "—"}
            seconds = found["cpu_seconds"]
            cells = [
                f"{found['values'][name]:.6f}, {seconds[name]} s" if name in seconds else "—" for name in SIX
            ]
            cells += [str(found["all_cpu_seconds"]), str(found["peak_rss_mb"])]
            lines.append(f"| {size['cells']:,} | {side} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measured(cells: int, asked: argparse.Namespace) -> dict:
    """One size: simulate the cells once, then each package in turn."""
    packages = {}
    with TemporaryDirectory() as folder:
        file = f"{folder}/cells.h5ad"
        options = ["--one", "simulate", file, "--cells", str(cells), "--genes", str(asked.genes)]
        options += ["--dimensions", str(asked.dimensions), "--seed", str(asked.seed)]
        subprocess.run([sys.executable, __file__, *options], check=True)
        small = cells <= asked.others_up_to
        for side in SIDES:
            runs = {"ours": True, "scib": small, "scib-metrics": small and asked.scib_metrics}[side]
            python = asked.scib_metrics if side == "scib-metrics" else sys.executable
            command = [str(python), __file__, "--one", side, file]
            packages[side] = in_a_process(command, asked.limit) if runs else None
    return {"cells": cells, "genes": asked.genes, "dimensions": asked.dimensions, "packages": packages}


def main() -> None:
    """Measure every size and package, print the table, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--genes", type=int, default=4_000)
    parser.add_argument("--dimensions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--others-up-to", type=int, default=30_000, help="cells up to which they run")
    parser.add_argument("--scib-metrics", type=Path, help="a Python interpreter that has scib-metrics")
    parser.add_argument("--limit", type=float, default=900, help="seconds for one size of one package")
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        step, file = asked.one
        warnings.simplefilter("ignore")
        if step == "simulate":
            blobs(asked.cells[0], asked.genes, asked.dimensions, asked.seed).write_h5ad(file)
        else:
            print("\n" + json.dumps(timed(step, file)))
        return
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "values_that_differ_by_design": BY_DESIGN,
        "sizes": [],
    }
    for cells in asked.cells:
        report["sizes"].append(measured(cells, asked))
        if asked.out:
            asked.out.write_text(json.dumps(report, indent=2) + "\n")
    print(table(report["sizes"]), *(f"{name}: {why}" for name, why in BY_DESIGN.items()), sep="\n")


if __name__ == "__main__":
    main()
