"""Weights of an ensemble's members."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from scipy.optimize import nnls

from scmobench.experiment.evaluate import primary

CHUNK = 1024  # cells


def member_weights(rule: str, runs: list[dict[str, Any]]) -> np.ndarray:
    """Weights of the members, summing to 1, by their records.

    ``validation``: proportional to 1 / RMSE² (precision weighting) for prediction, to the validation accuracy
    for matching. Raises ValueError for a member without a validation score.
    """
    if rule == "equal":
        return np.full(len(runs), 1 / len(runs))
    if missing := {r["method"] for r in runs if r["validation"] is None}:
        raise ValueError(f"no validation score from {', '.join(sorted(missing))}: weight the members equally")
    score = np.array([r["validation"] for r in runs])
    return _shares(score**-2 if runs[0]["task"] == "predict_modality" else score)


def held_out_weights(trials: list[dict[str, Any]], predictions: list[AnnData], truth: AnnData) -> np.ndarray:
    """Weights of the members, summing to 1, by their scores on training cells that none of them saw.

    Prediction: the non-negative weights of the least squared error there (stacking, Breiman 1996,
    Machine Learning 24:49). Matching and embedding: proportional to the score. ``trials`` and ``predictions``
    are the records and predictions of members that were fitted without these cells, ``truth`` their solution.
    """
    task = trials[0]["task"]
    if task != "predict_modality":
        found = [r["scores"][primary(task).name]["value"] for r in trials]
        return _shares(np.array([np.nan if value is None else value for value in found]))
    gram, products = np.zeros((len(trials), len(trials))), np.zeros(len(trials))
    for start in range(0, truth.n_obs, CHUNK):
        rows = slice(start, start + CHUNK)
        answers = np.stack([dense(member.X[rows]).ravel() for member in predictions]).astype(np.float64)
        gram += answers @ answers.T
        products += answers @ dense(truth.X[rows]).ravel()
    return convex_weights(gram, products)


def convex_weights(gram: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Non-negative weights w that minimise wᵀ G w − 2 wᵀ p, then scaled to sum 1.

    ``gram`` holds the members' inner products, ``products`` their inner products with the truth. A ridge of
    10⁻⁶ of the mean diagonal splits the weight between members that are (nearly) equal.
    """
    ridge = 1e-6 * (np.trace(gram) or 1.0) / len(gram)  # all members may predict nothing but zeros
    factor = np.linalg.cholesky(gram + ridge * np.eye(len(gram)))
    weights, _ = nnls(factor.T, np.linalg.solve(factor, products))
    return _shares(weights)


def _shares(scores: np.ndarray) -> np.ndarray:
    """Scores scaled to sum 1; equal shares if all are 0 or one is missing."""
    total = scores.sum()
    return scores / total if np.isfinite(total) and total > 0 else np.full(len(scores), 1 / len(scores))


def dense(matrix: Any) -> np.ndarray:
    """The matrix as a NumPy array."""
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
