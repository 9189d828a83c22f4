"""Normalisation of each modality: the values that models see and predictions are scored on."""

import numpy as np
import scipy.sparse as sp

from scmobench.data.preprocess import Matrix, as_csr, inverse_or_zero, log1p, row_sums, scale_rows


def normalize(counts: Matrix, kind: str, train: np.ndarray) -> tuple[sp.csr_matrix, str]:
    """The values that models see and predictions are scored on, and the name of the normalisation.

    GEX: `log_library`, ADT: `clr`, ATAC: `binarize`. The name is part of a result's identity: one metric on
    differently normalised targets gives different numbers.

    Parameters
    ----------
    counts : raw, cells x features; left untouched.
    train : which cells to fit on, bool.

    Returns
    -------
    CSR float32, non-negative, shape of ``counts``, whose indices it may share; ``log_library``, ``clr`` or
    ``binarize``.

    Raises
    ------
    ValueError : an unknown modality, or no counts in any training cell.
    """
    X = as_csr(counts)
    if kind == "GEX":
        return log_library(X, row_sums(X)[train]), "log_library"
    if kind == "ADT":
        return clr(X), "clr"
    if kind == "ATAC":
        return binarize(X), "binarize"
    raise ValueError(f"expected a modality of GEX, ADT, ATAC, found {kind!r}")


def log_library(X: sp.csr_matrix, training_sizes: np.ndarray) -> sp.csr_matrix:
    """Library-size normalisation: log(1 + x_ij · m / Σ_j x_ij), m the median training library size.

    The competition divided by scran's pooled size factors (Lun et al. 2016, Genome Biol. 17:75), an R
    package; here the library size takes their place.
    """
    sizes = training_sizes[training_sizes > 0]
    if not len(sizes):
        raise ValueError("expected counts in at least one training cell, found none; check the matrix")
    return log1p(scale_rows(X, float(np.median(sizes)) * inverse_or_zero(row_sums(X))))


def clr(X: sp.csr_matrix) -> sp.csr_matrix:
    """Centred log-ratio across the proteins of a cell: log(1 + x_j / exp(1/m · Σ_k log(1 + x_k))).

    The form of Seurat's ``NormalizeData(normalization.method = "CLR", margin = 2)``, after Stoeckius
    et al. 2017 (Nat. Methods 14:865). Deviation from the textbook ratio log(x_j / geometric mean):
    one is added inside both logarithms, so that zero counts stay zero and nothing is negative.
    """
    logs = sp.csr_matrix((np.log1p(X.data), X.indices, X.indptr), shape=X.shape)
    return log1p(scale_rows(X, np.exp(-row_sums(logs) / X.shape[1])))


def binarize(X: sp.csr_matrix) -> sp.csr_matrix:
    """1 where a peak has any count in a cell, else 0."""
    return sp.csr_matrix((np.ones_like(X.data), X.indices, X.indptr), shape=X.shape)
