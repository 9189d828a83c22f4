"""Counts of simulated cells: the read-outs of genes, proteins and peaks, see `scmobench.data.simulation`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from scmobench.data.simulation import Cells

CHUNK = 2_000_000  # matrix entries simulated at a time: 16 MB an array


def gene_counts(
    cells: Cells,
    programs: np.ndarray,
    umis: float,
    batch_effect: float,
    dropout_midpoint: float,
    rng: np.random.Generator,
) -> sp.csr_matrix:
    """Gene counts, cells x genes: negative-binomial around N_c p_cg with logistic dropout.

    ``umis`` is the median library; ``batch_effect`` the sd of log capture factors per batch and gene;
    at ln mu = ``dropout_midpoint`` half of the counts are lost.
    """
    n_genes = programs.shape[1]
    base = rng.normal(0, 1.0, n_genes)
    capture = _capture(cells, n_genes, batch_effect, rng)
    shape = 1 / np.exp(rng.normal(np.log(0.15), 0.4, n_genes))

    def draw(rows: slice) -> np.ndarray:
        mean = np.exp(cells.factors[rows] @ programs + (base + capture[cells.batch[rows]]))
        mean *= (umis * cells.depth[rows, 0] / mean.sum(1))[:, None]
        lost = rng.random(mean.shape) * (1 + mean / np.exp(dropout_midpoint)) < 1
        mean *= rng.standard_gamma(shape, mean.shape) / shape
        mean[lost] = 0
        return rng.poisson(mean)

    return _in_chunks(len(cells.type), n_genes, draw)


def protein_counts(
    cells: Cells, programs: np.ndarray, genes: np.ndarray, batch_effect: float, rng: np.random.Generator
) -> sp.csr_matrix:
    """Protein counts, cells x proteins; protein p is made from gene ``genes[p]``."""
    n = len(genes)
    own = programs[:, genes]
    span = np.abs(own).max(0).clip(min=0.5)
    amplitude = np.exp(rng.normal(np.log(60), 0.7, n))
    ambient = rng.normal(np.log(4), 0.6, n)
    capture = _capture(cells, n, batch_effect, rng)

    def draw(rows: slice) -> np.ndarray:
        program = cells.factors[rows] @ own
        foreground = amplitude / (1 + np.exp(-6 * (program / span - 0.5)))
        background = np.exp(ambient + rng.normal(0, 0.35, foreground.shape))
        mean = (foreground + background) * np.exp(capture[cells.batch[rows]]) * cells.depth[rows, 1][:, None]
        return rng.poisson(mean * rng.standard_gamma(8.0, mean.shape) / 8.0)

    return _in_chunks(len(cells.type), n, draw)


def peak_counts(
    cells: Cells, programs: np.ndarray, genes: np.ndarray, batch_effect: float, rng: np.random.Generator
) -> sp.csr_matrix:
    """Fragments in peaks, cells x peaks; peak j regulates gene ``genes[j]``, or none where that is -1."""
    n = len(genes)
    own = np.where(genes >= 0, programs[:, genes] * rng.uniform(0.8, 1.6, n), 0.0)
    marks = (rng.random(own.shape) < 0.05) * rng.uniform(0.8, 2.0, own.shape)
    own = np.where((genes < 0) & (rng.random(n) < 0.5), marks, own)
    base = rng.normal(np.log(0.12), 0.7, n)
    capture = _capture(cells, n, batch_effect, rng)

    def draw(rows: slice) -> np.ndarray:
        rate = np.exp(cells.factors[rows] @ own + (base + capture[cells.batch[rows]]))
        return rng.poisson(rate * cells.depth[rows, 1][:, None])

    return _in_chunks(len(cells.type), n, draw)


def _capture(cells: Cells, n: int, batch_effect: float, rng: np.random.Generator) -> np.ndarray:
    """Log capture factors, batches x features."""
    return rng.normal(0, batch_effect, (int(cells.batch.max()) + 1, n))


def _in_chunks(n_cells: int, n_features: int, draw: Callable[[slice], np.ndarray]) -> sp.csr_matrix:
    step = max(1, CHUNK // n_features)
    chunks = (draw(slice(start, start + step)) for start in range(0, n_cells, step))
    return sp.vstack([sp.csr_matrix(chunk, dtype=np.float32) for chunk in chunks], format="csr")
