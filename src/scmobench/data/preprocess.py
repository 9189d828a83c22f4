"""Preparation of counts: normalisation of each modality, TF-IDF, and the choice of variable features.

Every object has ``fit(X)`` and ``transform(X)`` and is fitted on training cells only, unless a method
is declared transductive. Sparse matrices stay sparse; an empty cell stays a row of zeros. Dimension
reduction stands in `scmobench.data.reduce`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

Matrix = np.ndarray | sp.spmatrix | sp.sparray


def as_csr(X: Matrix) -> sp.csr_matrix:
    """Cells x features as CSR float32, explicit zeros removed; the input is never changed."""
    csr = sp.csr_matrix(X, dtype=np.float32)
    if csr.nnz and not csr.data.all():
        csr = csr.copy()
        csr.eliminate_zeros()
    return csr


def row_sums(X: sp.csr_matrix) -> np.ndarray:
    """Total of each cell, float64."""
    return np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()


def scale_rows(X: sp.csr_matrix, factors: np.ndarray) -> sp.csr_matrix:
    """A new CSR float32 matrix whose row i is ``factors[i]`` times row i of ``X``."""
    data = X.data * np.repeat(factors.astype(np.float32), np.diff(X.indptr))
    return sp.csr_matrix((data, X.indices.copy(), X.indptr.copy()), shape=X.shape)


def inverse_or_zero(values: np.ndarray) -> np.ndarray:
    """1/x where x > 0, else 0: an empty cell or feature gives zeros, not NaN."""
    return np.divide(1.0, values, out=np.zeros(len(values)), where=values > 0)


class Normalizer(ABC):
    """From raw counts to the values that models see and predictions are scored on.

    The name is part of a result's identity: one metric on differently normalised targets gives
    different numbers.
    """

    name: ClassVar[str]

    @staticmethod
    def of(feature_type: str, name: str = "default") -> Normalizer:
        """The normaliser called ``name``, or with ``default`` the modality's own.

        GEX: `LogLibrary`, ADT: `CLR`, ATAC: `Binarize`.

        Raises
        ------
        ValueError : unknown modality or name.
        """
        own = {"GEX": LogLibrary, "ADT": CLR, "ATAC": Binarize}
        if name == "default":
            if feature_type not in own:
                raise ValueError(f"expected a modality of {sorted(own)}, found {feature_type!r}")
            return own[feature_type]()
        for kind in (LogLibrary, CLR, Binarize, Counts):
            if kind.name == name:
                return kind()
        known = ["default", *(kind.name for kind in (LogLibrary, CLR, Binarize, Counts))]
        raise ValueError(f"expected a normalisation of {known}, found {name!r}")

    def fit(self, X: Matrix) -> Normalizer:
        """Learn from the counts of the training cells (cells x features). Returns itself."""
        return self

    @abstractmethod
    def transform(self, X: Matrix) -> sp.csr_matrix:
        """Normalised values, CSR float32, non-negative, shape of ``X``."""

    def fit_transform(self, X: Matrix) -> sp.csr_matrix:
        """`fit` and `transform` on the same cells."""
        return self.fit(X).transform(X)


class LogLibrary(Normalizer):
    """Library-size normalisation: log(1 + x_ij · m / Σ_j x_ij), m the median training library size.

    The competition divided by scran's pooled size factors (Lun et al. 2016, Genome Biol. 17:75), an R
    package; the library size stands in for them, hence a name of its own.
    """

    name = "log_library"

    def fit(self, X: Matrix) -> LogLibrary:
        sums = row_sums(as_csr(X))
        if not (sums > 0).any():
            raise ValueError("expected counts in at least one training cell, found none; check the matrix")
        self.median_ = float(np.median(sums[sums > 0]))
        return self

    def transform(self, X: Matrix) -> sp.csr_matrix:
        X = as_csr(X)
        scaled = scale_rows(X, self.median_ * inverse_or_zero(row_sums(X)))
        np.log1p(scaled.data, out=scaled.data)
        return scaled


class CLR(Normalizer):
    """Centred log-ratio across the proteins of a cell: log(1 + x_j / exp(1/m · Σ_k log(1 + x_k))).

    The form of Seurat's ``NormalizeData(normalization.method = "CLR", margin = 2)``, after Stoeckius
    et al. 2017 (Nat. Methods 14:865). Deviation from the textbook ratio log(x_j / geometric mean):
    one is added inside both logarithms, so that zero counts stay zero and nothing is negative.
    """

    name = "clr"

    def transform(self, X: Matrix) -> sp.csr_matrix:
        X = as_csr(X)
        logs = sp.csr_matrix((np.log1p(X.data), X.indices, X.indptr), shape=X.shape)
        scaled = scale_rows(X, np.exp(-row_sums(logs) / X.shape[1]))
        np.log1p(scaled.data, out=scaled.data)
        return scaled


class Binarize(Normalizer):
    """Open or closed: 1 where a peak has any count in a cell, else 0."""

    name = "binarize"

    def transform(self, X: Matrix) -> sp.csr_matrix:
        X = as_csr(X)
        return sp.csr_matrix((np.ones_like(X.data), X.indices.copy(), X.indptr.copy()), shape=X.shape)


class Counts(Normalizer):
    """Counts as they are."""

    name = "counts"

    def transform(self, X: Matrix) -> sp.csr_matrix:
        X = as_csr(X)
        return X.copy()


class TFIDF:
    """Term frequency × inverse document frequency: x_ij / Σ_j x_ij · n / Σ_i x_ij, n training cells.

    The form used by GLUE (Cao & Gao 2022, Nat. Biotechnol. 40:1458, its ``tfidf``) and by the
    competition's matching winner. Deviation: a feature without training counts gets weight 0 where the
    source divides by zero, or by 1e-8.
    """

    def fit(self, X: Matrix) -> TFIDF:
        X = as_csr(X)
        self.idf_ = X.shape[0] * inverse_or_zero(np.asarray(X.sum(axis=0, dtype=np.float64)).ravel())
        return self

    def transform(self, X: Matrix) -> sp.csr_matrix:
        X = as_csr(X)
        if X.shape[1] != len(self.idf_):
            raise ValueError(
                f"expected the {len(self.idf_)} features of the training cells, found {X.shape[1]}"
            )
        weighted = scale_rows(X, inverse_or_zero(row_sums(X)))
        weighted.data *= self.idf_.astype(np.float32)[weighted.indices]
        return weighted

    def fit_transform(self, X: Matrix) -> sp.csr_matrix:
        return self.fit(X).transform(X)


def zscore_rows(X: np.ndarray, ddof: int = 0) -> np.ndarray:
    """Each cell (row) minus its own mean, over its own standard deviation; constant rows become zero.

    Parameters
    ----------
    X : cells x components.
    ddof : 0 for the population's standard deviation, 1 for the sample's.
    """
    X = np.asarray(X, dtype=np.float32)
    centred = X - X.mean(axis=1, keepdims=True)
    if X.shape[1] <= ddof:
        return np.zeros_like(X)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / (X.shape[1] - ddof))
    # a constant row leaves rounding error behind, which must not be blown up to unit size
    flat = deviation <= 1e-6 * np.abs(X).max(axis=1, keepdims=True, initial=0)
    return np.where(flat, 0, centred / np.where(flat, 1, deviation)).astype(np.float32)


class NoTrendError(ValueError):
    """The variance of the features follows no trend of their mean."""


def highly_variable(X: Matrix, n: int, method: str = "variance") -> np.ndarray:
    """Columns of the ``n`` most variable features, ascending.

    Parameters
    ----------
    X : cells x features of the training cells: normalised for ``variance``, raw counts for
        ``seurat_v3`` (Stuart et al. 2019, Cell 177:1888, by scanpy).
    n : how many; all of them where there are fewer.

    Raises
    ------
    ValueError : unknown method, or ``n`` below 1. `NoTrendError` : seurat_v3 cannot be fitted.
    """
    X = as_csr(X)
    if n < 1:
        raise ValueError(f"expected at least 1 feature to keep, found n={n}")
    if n >= X.shape[1]:
        return np.arange(X.shape[1])
    if method == "variance":
        from sklearn.utils.sparsefuncs import mean_variance_axis

        score = mean_variance_axis(X, axis=0)[1]
    elif method == "seurat_v3":
        score = _variance_of_standardised_counts(X)
    else:
        raise ValueError(f"expected method 'variance' or 'seurat_v3', found {method!r}")
    return np.sort(np.argsort(-score, kind="stable")[:n])


def _variance_of_standardised_counts(X: sp.csr_matrix) -> np.ndarray:
    import scanpy as sc
    from anndata import AnnData

    adata = AnnData(X)
    try:
        table = sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=1, inplace=False)
    except ValueError as error:  # loess: many features share a mean, as those found in one cell do
        raise NoTrendError(
            f"expected features whose variance follows their mean (seurat_v3), found {X.shape[1]} in "
            f"{X.shape[0]} cells to which no such trend can be fitted: leave out those found in few cells, "
            "or take all (top_genes as many as there are)"
        ) from error
    return np.nan_to_num(table.loc[adata.var_names, "variances_norm"].to_numpy(dtype=np.float64))
