"""One-to-one matching of cells within each batch: maximum-weight bipartite assignment, pruned.

Similarities are made in chunks of float32.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from scmobench.models.matching.pruned import (
    TOP_K,
    Block,
    candidates,
    chunks,
    solve_batch,
    solve_dense,
    solve_sparse,
)

HELD_CELLS = 5000  # up to here similarities of a batch are made once and held: 100 MB

Sides = tuple[np.ndarray, np.ndarray]


def assign(sides: Sides, batch1: Sequence[str], batch2: Sequence[str], top_k: int = TOP_K) -> sp.csr_matrix:
    """The one-to-one matching within batches that has the largest total similarity.

    It is the optimum of the full problem to six digits (see `scmobench.models.matching.pruned`). Returns n x
    n CSR float32 with a single 1 in each row and column. Raises ValueError for shapes that do not fit, values
    that are not finite, and a batch with different numbers of cells on the two sides.

    Parameters
    ----------
    sides : mod1 cells x d and mod2 cells x d. The similarity is their product left · rightᵀ, which is made
        in chunks and never held whole.
    batch1, batch2 : batch of each mod1 cell (row) and of each mod2 cell (column).
    top_k : pairs that the solver begins with for each row and each column.
    """
    return _matched(sides, batch1, batch2, lambda block, n: solve_batch(block, n, top_k))


def assign_softmax(
    sides: Sides, batch1: Sequence[str], batch2: Sequence[str], quantile: float = 0.995
) -> sp.csr_matrix:
    """Matching by S' = softmax over rows + softmax over columns of logits, pruned by quantile.

    Within each batch, pairs are kept that reach the ``quantile`` of their row or of their column of S' (as
    `numpy.quantile` interpolates it: the n - ceil(quantile (n - 1)) largest of n, and all that equal the
    least of them). The matching is the one with the largest total S' among the kept pairs, or among all
    pairs if the kept ones hold no full matching. This is the inference of scMoGNN (Wen et al. 2022, KDD,
    modality matching), after the competition's winning contrastive entry. Deviation: above 5,000 cells the
    number of kept pairs is exact, ties are cut, and the optimum is found as in `assign`.

    The logits (with the temperature in them) are the product of ``sides``. ``quantile`` is in [0, 1); 0
    keeps all pairs. Everything else is as in `assign`.
    """
    return _matched(sides, batch1, batch2, lambda logits, n: _softmax_partners(logits, n, quantile))


def _softmax_partners(logits: Block, n: int, quantile: float) -> np.ndarray:
    weights = softmax_sum(_held(logits, n) if n <= HELD_CELLS else logits, n)
    kept = n - int(np.ceil(quantile * (n - 1)))
    try:
        return solve_sparse(*candidates(weights, n, kept, ties=n <= HELD_CELLS), n)
    except ValueError:  # SciPy found no full matching
        if n > HELD_CELLS:
            return solve_batch(weights, n, TOP_K, warm=True)
        return solve_dense(weights(np.arange(n), np.arange(n)))


def _held(block: Block, n: int) -> Block:
    whole = block(np.arange(n), np.arange(n))
    return lambda rows, columns: whole[np.ix_(rows, columns)]


def _matched(
    sides: Sides, batch1: Sequence[str], batch2: Sequence[str], solve: Callable[[Block, int], np.ndarray]
) -> sp.csr_matrix:
    """The matching that ``solve`` finds in each batch: partner of each row, by position in the batch."""
    left, right = checked_sides(sides, len(batch1), len(batch2))
    partner = np.empty(len(batch1), dtype=np.int64)
    for rows, columns in shared_batches(batch1, batch2):
        first, second = left[rows], right[columns]
        found = solve(lambda r, c, first=first, second=second: first[r] @ second[c].T, len(rows))
        partner[rows] = columns[found]
    return permutation(partner)


def checked_sides(sides: Sides, n1: int, n2: int) -> list[np.ndarray]:
    """Both sides of a similarity of ``n1`` x ``n2`` cells, float32; ValueError if they do not fit."""
    sides = [np.asarray(side, dtype=np.float32) for side in sides]
    shapes = [side.shape for side in sides]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"expected sides of n x d and n x d, found {shapes[0]} and {shapes[1]}")
    if (shapes[0][0], shapes[1][0]) != (n1, n2):
        raise ValueError(f"expected sides of {n1} and {n2} cells (as the batch labels), found {shapes}")
    if not all(np.isfinite(side).all() for side in sides):
        raise ValueError("expected finite similarities, found NaN or infinity")
    return sides


def shared_batches(batch1: Sequence[str], batch2: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of each batch; ValueError if their numbers differ."""
    first, second = np.asarray(batch1).astype(str), np.asarray(batch2).astype(str)
    names = np.union1d(first, second).tolist()
    groups = [(np.flatnonzero(first == name), np.flatnonzero(second == name)) for name in names]
    for name, (rows, columns) in zip(names, groups, strict=True):
        if len(rows) != len(columns):
            raise ValueError(
                f"a one-to-one matching needs as many mod1 as mod2 cells in each batch; batch {name!r} has "
                f"{len(rows)} and {len(columns)}: check obs['batch'] of both modalities"
            )
    yield from groups


def permutation(partner: np.ndarray) -> sp.csr_matrix:
    """0/1 matrix with the 1 of row i in column ``partner[i]``, CSR float32."""
    n = len(partner)
    return sp.csr_matrix((np.ones(n, dtype=np.float32), partner, np.arange(n + 1)), shape=(n, n))


def softmax_sum(block: Block, n: int) -> Block:
    """Softmax over rows + softmax over columns of n x n logits that ``block`` makes, float32.

    Returns a function like ``block``: positions of rows, positions of columns -> rows x columns.
    """
    everything = np.arange(n)

    def scale(by_row: bool) -> tuple[np.ndarray, np.ndarray]:
        """Largest logit of each row (column), and the sum that its softmax divides by."""
        found = []
        for part in chunks(n):
            logits = block(part, everything) if by_row else block(everything, part)
            largest = logits.max(axis=int(by_row), keepdims=True)
            np.exp(np.subtract(logits, largest, out=logits), out=logits)
            found.append((largest.ravel(), logits.sum(axis=int(by_row))))
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    (row_max, row_sum), (column_max, column_sum) = scale(True), scale(False)

    def softmaxes(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        logits = block(rows, columns)
        total = np.exp(logits - row_max[rows, None])
        total /= row_sum[rows, None]
        np.exp(np.subtract(logits, column_max[columns], out=logits), out=logits)
        logits /= column_sum[columns]
        return np.add(total, logits, out=total)

    return softmaxes
