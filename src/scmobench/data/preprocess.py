"""Normalisation of each modality, and preparation of counts for methods: TF-IDF, choice of variable features.

Statistics are fitted on training cells only, unless a method is declared transductive. Sparse matrices stay
sparse; an empty cell stays a row of zeros. Dimension reduction is in `scmobench.data.reduce`.
"""

import numpy as np
import scipy.sparse as sp

from scmobench.machine.arithmetic import portable

Matrix = np.ndarray | sp.spmatrix | sp.sparray


def as_csr(X: Matrix) -> sp.csr_matrix:
    """Cells x features as CSR float32 without explicit zeros; the input is never changed."""
    csr = sp.csr_matrix(X, dtype=np.float32)
    if csr.nnz and not csr.data.all():
        csr = csr.copy()
        csr.eliminate_zeros()
    return csr


def row_sums(X: sp.csr_matrix) -> np.ndarray:
    """Total of each cell, float64."""
    return np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()


def scale_rows(X: sp.csr_matrix, factors: np.ndarray) -> sp.csr_matrix:
    """Row i of ``X`` times ``factors[i]``: new values, CSR float32, at the indices of ``X`` itself."""
    data = np.repeat(factors.astype(np.float32), np.diff(X.indptr))
    data *= X.data
    return sp.csr_matrix((data, X.indices, X.indptr), shape=X.shape)


def log1p(X: sp.csr_matrix) -> sp.csr_matrix:
    """log(1 + x) of every value, which is float32 and not negative, in place."""
    if portable():
        from scmobench.data.portable_log1p import log1p

        log1p(X.data)
    else:
        np.log1p(X.data, out=X.data)
    return X


def inverse_or_zero(values: np.ndarray) -> np.ndarray:
    """1/x where x > 0, else 0: an empty cell or feature gives zeros, not NaN."""
    return np.divide(1.0, values, out=np.zeros(len(values)), where=values > 0)


def normalize(counts: Matrix, kind: str, train: np.ndarray) -> tuple[sp.csr_matrix, str]:
    """The values that models see and predictions are scored on, and the name of the normalisation.

    GEX: `log_library`, ADT: `clr`, ATAC: `binarize`. The name is part of a result's identity: one metric on
    differently normalised targets gives different numbers. Returns CSR float32, non-negative, of the shape of
    ``counts``, whose indices it may share, and the name. Raises ValueError for an unknown modality, and
    without counts in any training cell.

    ``counts`` are raw, cells x features, and left untouched; ``train`` marks the cells to fit on.
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
    logs = log1p(sp.csr_matrix((X.data.copy(), X.indices, X.indptr), shape=X.shape))
    return log1p(scale_rows(X, np.exp(-row_sums(logs) / X.shape[1])))


def binarize(X: sp.csr_matrix) -> sp.csr_matrix:
    """1 where a peak has any count in a cell, else 0."""
    return sp.csr_matrix((np.ones_like(X.data), X.indices, X.indptr), shape=X.shape)


class TFIDF:
    """Term frequency × inverse document frequency: x_ij / Σ_j x_ij · n / Σ_i x_ij, n training cells.

    The form used by GLUE (Cao & Gao 2022, Nat. Biotechnol. 40:1458, its ``tfidf``) and by the
    competition's matching winner. Deviation: a feature without training counts gets weight 0 where the
    source divides by zero, or by 1e-8.
    """

    def fit(self, X: Matrix) -> "TFIDF":
        X = as_csr(X)
        self.idf_ = X.shape[0] * inverse_or_zero(np.asarray(X.sum(axis=0, dtype=np.float64)).ravel())
        return self

    def transform(self, X: Matrix) -> sp.csr_matrix:
        X = as_csr(X)
        weighted = scale_rows(X, inverse_or_zero(row_sums(X)))
        weighted.data *= self.idf_.astype(np.float32)[weighted.indices]
        return weighted


def zscore_rows(X: np.ndarray, ddof: int = 0) -> np.ndarray:
    """Each cell (row) minus its mean, over its standard deviation; constant rows become zero.

    ``ddof`` is 0 for the population's standard deviation, 1 for the sample's.
    """
    X = np.asarray(X, dtype=np.float32)
    centred = X - X.mean(axis=1, keepdims=True)
    if X.shape[1] <= ddof:
        return np.zeros_like(X)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / (X.shape[1] - ddof))
    # A constant row leaves rounding error, which must not be scaled up to unit size.
    flat = deviation <= 1e-6 * np.abs(X).max(axis=1, keepdims=True, initial=0)
    return np.where(flat, 0, centred / np.where(flat, 1, deviation)).astype(np.float32)


class NoTrendError(ValueError):
    """The variance of the features follows no trend of their mean."""


def highly_variable(X: Matrix, n: int, method: str = "variance") -> np.ndarray:
    """Columns of the ``n`` most variable features (or of all, if there are fewer), ascending.

    ``X`` holds the training cells x features: normalised for ``variance``, raw counts for ``seurat_v3``
    (Stuart et al. 2019, Cell 177:1888, by scanpy). Raises NoTrendError if seurat_v3 cannot be fitted.
    """
    X = as_csr(X)
    if n >= X.shape[1]:
        return np.arange(X.shape[1])
    if method == "variance":
        from sklearn.utils.sparsefuncs import mean_variance_axis

        score = mean_variance_axis(X, axis=0)[1]
    else:
        score = _variance_of_standardised_counts(X)
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
