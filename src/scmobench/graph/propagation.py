"""Parameter-free propagation on the weighted cell-feature graph of one reduced modality."""

import numpy as np

CHUNK = 8192  # rows at a time where float64 copies are made


def propagate(matrix: np.ndarray, layers: int, *, first: int = 2) -> np.ndarray:
    r"""Cell states of layers 2 … L of the weight-free graph convolution.

    Nodes are the N cells and k features, the edge of cell i and feature j weighs
    :math:`M_{ij}`. Features start one-hot, cells at zero. In every layer, for both at once,

    .. math::
        p_U = M h_V, \quad p_V = M^\top h_U, \qquad
        h \leftarrow z\left(\tfrac12 h + \tfrac12 z(p)\right),

    where z subtracts the mean over *all* entries and divides by their standard deviation. It does nothing
    if all entries are the same, like the features' p in the first layer, which is zero.

    Time is 2·L·N·k² multiply-adds in dense BLAS. Memory beside the input: L + 1 arrays of N x k
    float32 and 24·`CHUNK`·k bytes. Means and deviations are summed in float64, the rest is float32.
    Source: Wen et al., KDD 2022, matching and joint-embedding heads. Deviation: the published code
    divides by the n-1 standard deviation (here n), and recognises "all zero" by the mean alone.

    Returns (L - first + 1) x N cells x k features, float32.

    Parameters
    ----------
    matrix : N cells x k features, the reduced modality (dense; negative weights are allowed).
    layers : L, at least 2.
    first : first layer that is kept: 2 as published, 1 for the standardised matrix itself as well.
    """
    if layers < 2:
        raise ValueError(f"propagation keeps layers 2 … L, so layers must be at least 2; found {layers}")
    weights = np.ascontiguousarray(matrix, dtype=np.float32)
    if min(weights.shape) == 0 or not np.isfinite(weights).all():
        raise ValueError(
            f"expected a finite, non-empty cells x features matrix; found shape {weights.shape} "
            "with missing, infinite or no values: check the reduction"
        )
    n_cells, n_features = weights.shape
    features = np.eye(n_features, dtype=np.float32)
    kept = np.empty((layers - first + 1, n_cells, n_features), dtype=np.float32)
    cells, message = np.zeros_like(weights), np.empty_like(weights)
    for layer in range(1, layers + 1):
        np.matmul(weights, features, out=message)  # needs the features of the layer before
        if layer < layers:  # the features of the last layer are not read
            heard = _transposed_product(weights, cells) if layer > 1 else np.zeros_like(features)
            features = _mixed(features, heard)
        cells = _mixed(cells, message)
        if layer >= first:
            kept[layer - first] = cells
    return kept


def standardised(matrix: np.ndarray) -> np.ndarray:
    """A float32 copy with mean 0 and standard deviation 1 over all entries; unchanged if all are the same."""
    result = np.array(matrix, dtype=np.float32, order="C")
    _standardise(result)
    return result


def _mixed(state: np.ndarray, message: np.ndarray) -> np.ndarray:
    """z(½ state + ½ z(message)), written into ``state``; ``message`` is overwritten."""
    _standardise(message)
    state += message
    state *= 0.5
    _standardise(state)
    return state


def _standardise(values: np.ndarray) -> None:
    """Subtract the mean of all entries and divide by their standard deviation, in place."""
    rows = range(0, values.shape[0], CHUNK)
    mean = sum(values[a : a + CHUNK].sum(dtype=np.float64) for a in rows) / values.size
    squares = sum(np.square(values[a : a + CHUNK] - mean, dtype=np.float64).sum() for a in rows)
    deviation = np.sqrt(squares / values.size)
    if deviation == 0.0:
        return
    values -= np.float32(mean)
    values *= np.float32(1.0 / deviation)


def _transposed_product(weights: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Mᵀ h_U, added up in float64 over chunks: N is large and the sum has both signs."""
    total = np.zeros((weights.shape[1], cells.shape[1]), dtype=np.float64)
    for a in range(0, weights.shape[0], CHUNK):
        total += weights[a : a + CHUNK].T @ cells[a : a + CHUNK]
    return total.astype(np.float32)
