"""Matching by shared nearest neighbours: the neighbourhoods of partners overlap."""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from scmobench.models.matching.assignment import checked_sides, chunks, shared_batches

PARTNERS = 1000  # of a cell: the competition allows no more on average


def shared_neighbours(
    first: np.ndarray, second: np.ndarray, batch1: Sequence[str], batch2: Sequence[str], k: int = 1
) -> sp.csr_matrix:
    r"""Jaccard index of the neighbourhoods of each pair of cells within its batch, rows scaled to sum 1.

    A cell's neighbourhood is its k nearest cells (cosine) in each modality; the cell itself is one of those
    of its own modality. For cell i of the first and j of the second modality, s_ij counts the cells that
    both have, and

    .. math:: P_{ij} \propto \frac{s_{ij}}{4k - s_{ij}}

    since either side holds 2k cells. With k = 1 a pair scores 1 if each is the other's nearest cell, and
    1/3 if only one is.

    Source: CLUE, the winner of the competition's matching task (Tu et al. 2022, NeurIPS), k = 1. Deviations:
    a cell is always a neighbour of itself, while the source may take an identical cell; a row keeps its
    `PARTNERS` largest weights. Returns mod1 cells x mod2 cells, CSR float32. Raises ValueError as `assign`.

    Parameters
    ----------
    first, second : mod1 cells and mod2 cells x dimensions of one space, e.g. the factors of a similarity
        (`Model.similarity`). Lengths of rows do not matter.
    batch1, batch2 : batch of each row of ``first`` and of ``second``.
    k : neighbours in each modality, at most the cells of the batch.
    """
    units = [normalize(side) for side in checked_sides((first, second), len(batch1), len(batch2))]
    blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for rows, columns in shared_batches(batch1, batch2):
        for part, weights in _batch(units[0][rows], units[1][columns], k):
            pairs = weights.tocoo()
            blocks.append((rows[part[pairs.row]], columns[pairs.col], pairs.data))
    row, column, value = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return sp.csr_matrix((value.astype(np.float32), (row, column)), shape=(len(batch1), len(batch2)))


def _batch(first: np.ndarray, second: np.ndarray, k: int) -> Iterator[tuple[np.ndarray, sp.csr_matrix]]:
    """Rows of one batch, a chunk at a time, and their weights (chunk x cells of ``second``)."""
    k = min(k, len(first), len(second))
    in_first, in_second = _neighbours(first, first, k), _neighbours(first, second, k)
    second_in_first = _neighbours(second, first, k).T.tocsr()
    second_in_second = _neighbours(second, second, k).T.tocsr()
    for part in chunks(len(first)):
        shared = in_second[part] @ second_in_second + in_first[part] @ second_in_first
        shared.data /= 4 * k - shared.data
        kept = _largest(shared.tocsr(), PARTNERS)
        # a row always holds a value: its nearest cell of the other modality has one
        kept.data /= np.repeat(np.asarray(kept.sum(axis=1)).ravel(), np.diff(kept.indptr))
        yield part, kept


def _neighbours(cells: np.ndarray, among: np.ndarray, k: int) -> sp.csr_matrix:
    """0/1 matrix of the k nearest of ``among`` (columns) to each of ``cells``, unit rows."""
    nearest = []
    for part in chunks(len(cells)):
        similarity = cells[part] @ among.T
        if cells is among:
            similarity[np.arange(len(part)), part] = np.inf
        nearest.append(np.argpartition(-similarity, k - 1, axis=1)[:, :k])
    columns = np.concatenate(nearest).ravel()
    shape = (len(cells), len(among))
    return sp.csr_matrix((np.ones(len(columns)), columns, np.arange(0, len(columns) + 1, k)), shape=shape)


def _largest(weights: sp.csr_matrix, number: int) -> sp.csr_matrix:
    """The largest ``number`` values of each row."""
    if np.diff(weights.indptr).max(initial=0) <= number:
        return weights
    row = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    order = np.lexsort((weights.indices, -weights.data, row))
    rank = np.arange(len(order)) - weights.indptr[row]
    kept = order[rank < number]
    return sp.csr_matrix((weights.data[kept], (row[kept], weights.indices[kept])), shape=weights.shape)
