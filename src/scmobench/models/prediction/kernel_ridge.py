"""Kernel ridge regression, exact or on landmarks."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import gen_batches

CHUNK = 2048  # cells


@dataclass(frozen=True)
class KernelRidge:
    """f(x) = Σ_j k(x, x_j) w_j over cells x_j, k(x, x') = exp(-|x - x'|² / (2 l²))."""

    places: np.ndarray  # the cells x_j, as rows of the table of cells that `fit_ridge` received
    weights: np.ndarray  # cells x_j x targets, float64
    gamma: float  # 1 / (2 l²)

    def predict(self, known: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Targets of ``cells``. ``known`` is the table that `fit_ridge` received."""
        points = known[self.places].astype(np.float64)
        found = np.empty((len(cells), self.weights.shape[1]))
        for part in gen_batches(len(cells), CHUNK):
            found[part] = rbf_kernel(cells[part].astype(np.float64), points, self.gamma) @ self.weights
        return found


def fit_ridge(
    cells: np.ndarray,
    targets: np.ndarray,
    members: np.ndarray,
    *,
    length_scale: float,
    alpha: float,
    landmarks: np.ndarray | None = None,
) -> KernelRidge:
    """Kernel ridge regression: exact, or on the Nyström approximation of the kernel.

    Exact: w = (K + α I)⁻¹ Y by Cholesky in float64, one n x n matrix. With landmarks m: K ≈ Φ Φᵀ,
    Φ = K_nm L⁻ᵀ, K_mm = L Lᵀ (Williams & Seeger 2001, NeurIPS 13), w = L⁻ᵀ (Φᵀ Φ + α I)⁻¹ Φᵀ Y, where
    only m x m matrices and a chunk of K_nm are held.

    Parameters
    ----------
    cells, targets : all training cells x inputs, and x targets.
    members, landmarks : rows of the cells to learn from and of the landmarks; None solves exactly.
    length_scale, alpha : l of the kernel, and the ridge penalty.
    """
    gamma = 1 / (2 * length_scale**2)
    if landmarks is None:
        K = rbf_kernel(cells[members].astype(np.float64), gamma=gamma)
        K.flat[:: len(K) + 1] += alpha
        return KernelRidge(members, _solved(K, targets[members]), gamma)
    points = cells[landmarks].astype(np.float64)
    K = rbf_kernel(points, gamma=gamma)
    # the smallest shift that rounding in a matrix of this size cannot turn negative
    K.flat[:: len(K) + 1] += max(1e-10, len(K) ** 2 * np.finfo(np.float64).eps)
    L = cholesky(K.T, lower=True, overwrite_a=True, check_finite=False)
    inner = np.diag(np.full(len(L), alpha))
    outer = np.zeros((len(L), targets.shape[1]))
    for part in gen_batches(len(members), CHUNK):
        chunk = rbf_kernel(points, cells[members[part]].astype(np.float64), gamma)
        features = solve_triangular(L, chunk, lower=True, overwrite_b=True, check_finite=False)
        inner += features @ features.T
        outer += features @ targets[members[part]]
    weights = solve_triangular(L, _solved(inner, outer), lower=True, trans="T", check_finite=False)
    return KernelRidge(landmarks, weights, gamma)


def _solved(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A⁻¹ B for a positive definite A, which is overwritten."""
    # the transpose of a symmetric matrix is itself, in the order that LAPACK overwrites without a copy
    factor = cho_factor(A.T, lower=True, overwrite_a=True, check_finite=False)
    return cho_solve(factor, B, check_finite=False)
