"""The distances between all cells, each computed once: sums to groups of cells, and the nearest cells."""

from typing import NamedTuple

import numpy as np

from scmobench.compiled import compiled

TILE = 256
CHUNK = 64
LANES = 8
ROUNDING = 1e-12  # squared distances closer than this share of the largest squared norm may be equal


class Distances(NamedTuple):
    """What the metrics need of the Euclidean distances of all pairs of cells."""

    to_type: np.ndarray  # cells x types, sum of the distances to the cells of each type
    to_batch: np.ndarray  # cells x batches, the same of each batch within the cell's own type
    nearest: np.ndarray  # cells x k, the nearest cells, itself among them
    length: np.ndarray  # their distances, float32


def all_pairs(embedding: np.ndarray, types: np.ndarray, batches: np.ndarray, k: int) -> Distances:
    """Sums and neighbours in one pass over tiles of the upper triangle, in memory of n x (types + k).

    Rounds as scikit-learn: squared distances |x|^2 + |y|^2 - 2 xy in float64, their square roots in the
    embedding's precision, sums in float64.

    Parameters
    ----------
    embedding : cells x dimensions, float32 or float64.
    types, batches : a whole number from 0 for each cell.
    k : fewer than the cells, or there are no neighbours.
    """
    order = np.lexsort((batches, types))  # so that the cells of a group are one stretch of a tile
    types, batches = (np.ascontiguousarray(codes[order], np.int64) for codes in (types, batches))
    points = np.ascontiguousarray(embedding[order], np.float64)
    n, norms = len(points), np.einsum("ij,ij->i", points, points)
    to_type, to_batch = np.zeros((n, types.max() + 1)), np.zeros((n, batches.max() + 1))
    nearest, squared = np.zeros((n, k + 1), np.int64), np.full((n, k + 1), np.inf)
    nearest[:, 0], squared[:, 0] = np.arange(n), -1  # before any other cell
    change = np.flatnonzero(np.diff(types) | np.diff(batches)) + 1
    ends = np.append(change, n)[np.searchsorted(change, np.arange(n), side="right")]
    places = (types, batches, ends, norms, to_type, to_batch, nearest, squared, squared[:, k].copy())
    for first in range(0, n, TILE):
        for second in range(first, n, TILE):
            products = points[first : first + TILE] @ points[second : second + TILE].T
            _add_tile(products, first, second, embedding.dtype == np.float32, *places)
    back = np.argsort(order)
    if _rounding_decides(squared, norms.max()):
        return Distances(to_type[back], to_batch[back], *nearest_cells(embedding, k))
    squared = np.maximum(squared[back, :k], 0).astype(embedding.dtype)
    length = np.sqrt(squared).astype(np.float32)
    return Distances(to_type[back], to_batch[back], order[nearest[back, :k]], length)


def nearest_cells(embedding: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact Euclidean neighbours of each cell, itself among them, also where distances are equal.

    Returns indices and distances, each cells x k, nearest first.
    """
    from sklearn.neighbors import NearestNeighbors

    # One more than needed, as in scanpy: this decides which k of several ties are kept.
    search = NearestNeighbors(n_neighbors=min(k + 1, len(embedding)), algorithm="brute").fit(embedding)
    distances, indices = search.kneighbors(embedding)
    # Rounding leaves some cells at 1e-7 from themselves, as if they were their own nearest neighbour.
    distances[indices == np.arange(len(embedding))[:, None]] = 0
    return indices[:, :k], distances[:, :k].astype(np.float32)


@np.errstate(invalid="ignore")  # of fewer cells than neighbours, the farthest are at infinity
def _rounding_decides(squared: np.ndarray, largest: float) -> bool:
    """Whether, but for rounding, a cell lies on its nearest one, or two tie for its last neighbour."""
    apart = ROUNDING * largest
    return not ((squared[:, 1] > apart) & (squared[:, -1] - squared[:, -2] > apart)).all()


@compiled("void(float64[::1], float64, float64[::1], boolean, float64[::1])")
def _to_distances(line, norm, norms, single, out):
    """Turn scalar products of one cell with others into squared distances, in place, and distances."""
    for j in range(line.size):
        line[j] = (-2 * line[j] + norm) + norms[j]
        positive = 0.0 if line[j] < 0 else line[j]
        out[j] = np.sqrt(np.float32(positive)) if single else np.sqrt(positive)


@compiled("float64(float64[::1])")
def _sum(values):
    """Eight partial sums, which a processor adds at once, so that the order is the same on each."""
    a = b = c = d = e = f = g = h = 0.0
    whole = values.size // LANES * LANES
    for j in range(0, whole, LANES):
        a += values[j]
        b += values[j + 1]
        c += values[j + 2]
        d += values[j + 3]
        e += values[j + 4]
        f += values[j + 5]
        g += values[j + 6]
        h += values[j + 7]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for j in range(whole, values.size):
        total += values[j]
    return total


@compiled("void(int64[::1], float64[::1], int64, float64)")
def _insert(nearest, squared, cell, value):
    """Keep a cell among the nearest, in order of distance."""
    at = squared.size - 1
    while at > 0 and squared[at - 1] > value:
        squared[at], nearest[at] = squared[at - 1], nearest[at - 1]
        at -= 1
    squared[at], nearest[at] = value, cell


@compiled("boolean(float64[::1], float64, float64[::1])")
def _any_below(values, limit, limits):
    hits = 0
    for j in range(values.size):
        hits += (values[j] < limit) | (values[j] < limits[j])
    return hits > 0


@compiled("void(float64[::1], int64, int64, int64[:,::1], float64[:,::1], float64[::1])")
def _keep_nearest(line, cell, second, nearest, squared, limits):
    """Offer the squared distances of one cell to it, and to the cells from ``second`` on the other way."""
    k = squared.shape[1]
    for start in range(0, line.size, CHUNK):
        stop = min(start + CHUNK, line.size)
        if not _any_below(line[start:stop], limits[cell], limits[second + start : second + stop]):
            continue
        for j in range(start, stop):
            value, other = line[j], second + j
            if value < limits[cell]:
                _insert(nearest[cell], squared[cell], other, value)
                limits[cell] = squared[cell, k - 1]
            if value < limits[other]:
                _insert(nearest[other], squared[other], cell, value)
                limits[other] = squared[other, k - 1]


@compiled(
    "void(float64[:,::1], int64, int64, boolean, int64[::1], int64[::1], int64[::1], float64[::1],"
    " float64[:,::1], float64[:,::1], int64[:,::1], float64[:,::1], float64[::1])"
)
def _add_tile(
    products, first, second, single, types, batches, ends, norms, to_type, to_batch, nearest, squared, limits
):
    """Add the distances between the cells from ``first`` and those from ``second`` on, both ways."""
    rows, columns = products.shape
    out, below = np.empty(columns), np.zeros(columns)
    for i in range(rows):
        cell = first + i
        _to_distances(products[i], norms[cell], norms[second : second + columns], single, out)
        later = i + 1 if first == second else 0
        _keep_nearest(products[i, later:], cell, second + later, nearest, squared, limits)
        if first == second:
            out[i] = 0
        start = 0
        while start < columns:
            other = second + start
            stop = min(ends[other] - second, columns)
            total = _sum(out[start:stop])
            to_type[cell, types[other]] += total
            if types[other] == types[cell]:
                to_batch[cell, batches[other]] += total
            start = stop
        if first == second:
            continue
        for j in range(columns):
            below[j] += out[j]
        if i + 1 < min(ends[cell] - first, rows):
            continue
        for j in range(columns):
            to_type[second + j, types[cell]] += below[j]
            if types[second + j] == types[cell]:
                to_batch[second + j, batches[cell]] += below[j]
            below[j] = 0
