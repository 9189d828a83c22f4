"""Cells in which there is something to find, and small sets simulated by other settings than shipped ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from omegaconf import OmegaConf

from places import ROOT
from scmobench.experiment.config import build
from scmobench.types import EmbeddingData, Paired, PredictionData


def simulated(name: str = "tiny_cite", **changed: object) -> Paired:
    """A small shipped set, or cells that are simulated alike by other settings."""
    shipped = OmegaConf.load(ROOT / "conf" / "dataset" / f"{name}.yaml")
    return build(OmegaConf.merge(shipped, changed)).load()


def side(X: np.ndarray, kind: str, batch: object = "b") -> AnnData:
    """One modality: features are named by its first letter, and counts are those that log(1 + x) came of."""
    var = pd.DataFrame({"feature_types": kind}, index=[f"{kind[0].lower()}{j}" for j in range(X.shape[1])])
    obs = pd.DataFrame({"batch": batch}, index=[f"c{i}" for i in range(len(X))])
    cells = AnnData(sp.csr_matrix(X.astype(np.float32)), obs, var)
    cells.layers["counts"] = sp.csr_matrix(np.expm1(X).round().astype(np.float32))
    return cells


def planted(n: int, n_genes: int, shape: float, scale: float) -> tuple[PredictionData, np.ndarray]:
    """Proteins that follow three gene programs, 3 training batches and one for testing, and the truth."""
    rng = np.random.default_rng(0)
    programs = rng.gamma(1.0, 1.0, (n, 3))
    genes = rng.poisson(programs @ rng.gamma(shape, scale, (3, n_genes)))
    proteins = np.maximum(programs @ rng.random((3, 6)) + 0.1 * rng.standard_normal((n, 6)), 0)
    batch = np.repeat(["b1", "b2", "b3", "t1"], n // 4)
    mod1, mod2, train = side(np.log1p(genes), "GEX", batch), side(proteins, "ADT", batch), 3 * n // 4
    parts = mod1[:train].copy(), mod2[:train].copy(), mod1[train:].copy()
    return PredictionData("planted", "GEX2ADT", *parts), proteins[train:]


def overlapping(
    kind: np.ndarray, batch: np.ndarray, rng: np.random.Generator, spread: float = 1.0
) -> tuple[np.ndarray, AnnData]:
    """An embedding of four overlapping cell types along a line, and a solution whose 80 genes follow it.

    ``kind`` and ``batch`` number the type and the batch of each cell.
    """
    n = len(kind)
    embedding = rng.normal(size=(n, 5)) * spread + kind[:, None] * 1.2
    expression = np.maximum(embedding @ rng.normal(size=(5, 80)) + rng.normal(size=(n, 80)), 0)
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical([f"b{b}" for b in batch]),
            "cell_type": pd.Categorical([f"t{k}" for k in kind], ["t0", "t1", "t2", "t3", "unused"]),
            "S_score": embedding[:, 0] + rng.normal(size=n),
            "G2M_score": embedding[:, 1] + rng.normal(size=n),
            "pseudotime_order_GEX": embedding.sum(axis=1),
            "pseudotime_order_ATAC": embedding.sum(axis=1) + rng.normal(size=n),
        },
        index=[f"cell{i}" for i in range(n)],
    )
    gex = AnnData(sp.csr_matrix(expression, dtype=np.float32), obs=obs, uns={"organism": "human"})
    return embedding.astype(np.float32), gex


def some_cells(data: EmbeddingData, cells: np.ndarray | slice) -> EmbeddingData:
    """These cells of both modalities alone, in this order."""
    return replace(data, mod1=data.mod1[cells].copy(), mod2=data.mod2[cells].copy())


def error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.square(predicted - truth).mean()))
