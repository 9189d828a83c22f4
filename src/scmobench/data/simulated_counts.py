"""Counts of simulated cells: the read-outs of genes, proteins and peaks, see `scmobench.data.simulation`."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import scipy.sparse as sp

from scmobench.data.simulation import Cells

FIRST, FIRST_CHUNKS = 2_000_000, 4  # matrix entries of each of the first chunks, which share a random stream
CHUNK = 1 << 18  # entries of each later chunk: its arrays of 2 MB stay in a core's cache
Draw = Callable[[slice, np.random.Generator], np.ndarray]
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # entries of each row, columns and values


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
    level = base + _capture(cells, n_genes, batch_effect, rng)
    shape = 1 / np.exp(rng.normal(np.log(0.15), 0.4, n_genes))

    def draw(rows: slice, rng: np.random.Generator) -> np.ndarray:
        mean = cells.factors[rows] @ programs
        mean += level[cells.batch[rows]]
        np.exp(mean, out=mean)
        mean *= (umis * cells.depth[rows, 0] / mean.sum(1))[:, None]
        chance = rng.random(mean.shape)
        chance *= 1 + mean / np.exp(dropout_midpoint)
        mean *= chance >= 1  # the others are lost
        rate = rng.standard_gamma(shape, mean.shape)
        rate /= shape
        mean *= rate
        return rng.poisson(mean)

    return in_chunks(len(cells.type), n_genes, draw, rng)


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

    def draw(rows: slice, rng: np.random.Generator) -> np.ndarray:
        program = cells.factors[rows] @ own
        foreground = amplitude / (1 + np.exp(-6 * (program / span - 0.5)))
        background = np.exp(ambient + rng.normal(0, 0.35, foreground.shape))
        mean = (foreground + background) * np.exp(capture[cells.batch[rows]]) * cells.depth[rows, 1][:, None]
        return rng.poisson(mean * rng.standard_gamma(8.0, mean.shape) / 8.0)

    return in_chunks(len(cells.type), n, draw, rng)


def peak_counts(
    cells: Cells,
    programs: np.ndarray,
    genes: np.ndarray,
    fragments: float,
    batch_effect: float,
    rng: np.random.Generator,
) -> sp.csr_matrix:
    """Fragments in peaks, cells x peaks; peak j regulates gene ``genes[j]``, or none where that is -1.

    ``fragments`` is the median over peaks of a peak's mean in a cell of usual depth and no program.
    """
    n = len(genes)
    own = np.where(genes >= 0, programs[:, genes] * rng.uniform(0.8, 1.6, n), 0.0)
    marks = (rng.random(own.shape) < 0.05) * rng.uniform(0.8, 2.0, own.shape)
    own = np.where((genes < 0) & (rng.random(n) < 0.5), marks, own)
    base = rng.normal(np.log(fragments), 0.7, n)
    level = base + _capture(cells, n, batch_effect, rng)

    def draw(rows: slice, rng: np.random.Generator) -> np.ndarray:
        rate = cells.factors[rows] @ own
        rate += level[cells.batch[rows]]
        np.exp(rate, out=rate)
        rate *= cells.depth[rows, 1][:, None]
        return rng.poisson(rate)

    return in_chunks(len(cells.type), n, draw, rng)


def _capture(cells: Cells, n: int, batch_effect: float, rng: np.random.Generator) -> np.ndarray:
    """Log capture factors, batches x features."""
    return rng.normal(0, batch_effect, (int(cells.batch.max()) + 1, n))


def in_chunks(
    n_cells: int, n_features: int, draw: Draw, rng: np.random.Generator, workers: int | None = None
) -> sp.csr_matrix:
    """Counts of all cells, drawn some cells at a time, on all cores.

    The first 8 million entries come from ``rng`` itself, one chunk after the other. Each later chunk has a
    stream of its own, spawned from ``rng``. The result is therefore the same with any number of ``workers``
    (None: one for each core).
    """
    step, small = (max(1, size // n_features) for size in (FIRST, CHUNK))
    begun = min(n_cells, FIRST_CHUNKS * step)
    later = range(begun, n_cells, small)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:  # NumPy draws without the interpreter's lock
        others = pool.map(
            lambda start, stream: _rows(draw(slice(start, start + small), stream)),
            later,
            rng.spawn(len(later)),
        )
        first = (_rows(draw(slice(a, min(a + step, begun)), rng)) for a in range(0, begun, step))
        return _stacked(chain(first, others), n_features)


def _rows(counts: np.ndarray) -> Rows:
    """The entries of cells x features that are not zero."""
    at = np.flatnonzero(counts)
    n_entries = np.count_nonzero(counts, axis=1)
    first = np.arange(len(counts)) * counts.shape[1]
    return (
        n_entries,
        (at - np.repeat(first, n_entries)).astype(np.int32),
        counts.ravel()[at].astype(np.float32),
    )


def _stacked(parts: Iterator[Rows], n_features: int) -> sp.csr_matrix:
    """CSR float32 of the rows of all parts."""
    n_entries, columns, values = map(list, zip(*parts, strict=True))
    indptr = np.concatenate([[0], np.concatenate(n_entries).cumsum()])
    data = np.concatenate(values)
    values.clear()  # before the columns are put together: a full-size set has gigabytes of either
    return sp.csr_matrix((data, np.concatenate(columns), indptr), shape=(len(indptr) - 1, n_features))
