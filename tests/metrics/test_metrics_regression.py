"""Prediction metrics against scikit-learn, SciPy and dense loops."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, mean_squared_error

from scmobench.metrics import regression

CORRELATIONS = [
    f"{kind}_{name}" if kind == "overall" else f"mean_{name}_{kind}"
    for name in ("pearson", "spearman")
    for kind in ("per_cell", "per_gene", "overall")
]
ALL = ["rmse", "mae", *CORRELATIONS]
REFERENCE = {"pearson": pearsonr, "spearman": spearmanr}


def matrices(n: int = 40, m: int = 23, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts with many zeros and ties, and a noisy prediction with negative values and zeros."""
    rng = np.random.default_rng(seed)
    truth = np.log1p(rng.poisson(0.6, size=(n, m))).astype(np.float32)
    prediction = np.round(truth + rng.normal(scale=0.5, size=(n, m)), 1).astype(np.float32)
    prediction[rng.random((n, m)) < 0.4] = 0
    return truth, prediction


def by_loop(name: str, truth: np.ndarray, prediction: np.ndarray) -> float:
    """A correlation metric by one SciPy call a row, column or matrix; 0 where it is not defined."""
    truth, prediction = truth.astype(float), prediction.astype(float)
    correlation = REFERENCE["spearman" if "spearman" in name else "pearson"]
    if name.startswith("overall"):
        pairs = [(truth.ravel(), prediction.ravel())]
    elif name.endswith("gene"):
        pairs = list(zip(truth.T, prediction.T, strict=True))
    else:
        pairs = list(zip(truth, prediction, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(np.mean([np.nan_to_num(correlation(t, p)[0]) for t, p in pairs]))


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csc_matrix, sp.csr_array])
@pytest.mark.parametrize("name", CORRELATIONS)
def test_correlations_equal_a_loop_over_scipy(name, form, monkeypatch):
    monkeypatch.setattr(regression, "BLOCK", 100)  # several blocks even here
    truth, prediction = matrices()
    score = getattr(regression, name)(form(truth), prediction)
    assert score == pytest.approx(by_loop(name, truth, prediction), abs=1e-10)
    both = getattr(regression, name)(form(truth), form(prediction))
    assert both == pytest.approx(score, abs=1e-10)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_errors_equal_scikit_learn(form):
    truth, prediction = matrices()
    flat = truth.astype(float).ravel(), prediction.astype(float).ravel()
    assert regression.rmse(form(truth), form(prediction)) == pytest.approx(mean_squared_error(*flat) ** 0.5)
    assert regression.mae(form(truth), form(prediction)) == pytest.approx(mean_absolute_error(*flat))


@pytest.mark.parametrize("name", ALL)
def test_permuting_cells_and_features_changes_nothing(name):
    truth, prediction = matrices()
    rng = np.random.default_rng(1)
    order = np.ix_(rng.permutation(40), rng.permutation(23))
    score = getattr(regression, name)
    assert score(truth[order], prediction[order]) == pytest.approx(score(truth, prediction), abs=1e-12)


def test_a_constant_row_or_column_counts_as_no_correlation():
    truth, prediction = (x.astype(float) for x in matrices(n=11, m=13))
    prediction[2] = 0.1  # their mean is not 0.1 in floating point
    prediction[:, 3] = 0.1
    assert prediction[2].mean() != 0.1
    for name in CORRELATIONS:
        assert getattr(regression, name)(truth, prediction) == pytest.approx(
            by_loop(name, truth, prediction), abs=1e-10
        )
    assert regression.pearson_per_cell(truth, prediction)[2] == 0
    assert regression.spearman_per_cell(truth, prediction)[2] == 0
    assert regression.pearson_per_cell(truth.T, prediction.T)[3] == 0


@pytest.mark.parametrize("name", CORRELATIONS)
def test_zeros_correlate_with_nothing(name):
    truth, _ = matrices()
    assert getattr(regression, name)(truth, np.zeros_like(truth)) == 0
    assert getattr(regression, name)(truth, sp.csr_matrix(truth.shape, dtype=np.float32)) == 0


def test_per_cell_errors_average_to_the_score():
    truth, prediction = matrices()
    squared = regression.squared_error_per_cell(truth, prediction)
    assert squared.shape == (40,)
    assert np.sqrt(squared.mean()) == pytest.approx(regression.rmse(truth, prediction))


def test_input_is_left_alone():
    truth, prediction = (sp.csr_matrix(x) for x in matrices())
    before = truth.copy(), prediction.copy()
    for name in ALL:
        getattr(regression, name)(truth, prediction)
    assert (truth != before[0]).nnz == 0
    assert (prediction != before[1]).nnz == 0


def test_a_transposed_prediction_is_refused():
    truth, prediction = matrices()
    for name in ALL:
        with pytest.raises(ValueError, match=r"\(40, 23\) and \(23, 40\)"):
            getattr(regression, name)(truth, prediction.T)
