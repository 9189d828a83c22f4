"""Cells in which there is something to find, and cells simulated by other settings than the shipped ones."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from omegaconf import OmegaConf

from places import ROOT
from scmobench.experiment.config import build
from scmobench.types import Paired, PredictionData


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


def error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.square(predicted - truth).mean()))
