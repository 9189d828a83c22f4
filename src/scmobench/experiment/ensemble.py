"""Ensembles: predictions of finished runs put together, then scored on the same road as any other."""

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from hydra import compose
from omegaconf import DictConfig, OmegaConf
from scipy.optimize import nnls

from scmobench.data.foreign import read_h5ad
from scmobench.data.reduce import SVD
from scmobench.experiment import records
from scmobench.experiment.code import code_digest
from scmobench.experiment.config import build, digest
from scmobench.experiment.progress import PRIMARY
from scmobench.experiment.run import SIMILARITY, cells, method_name, run, scored, sizes
from scmobench.machine import arithmetic
from scmobench.machine.meter import Meter
from scmobench.models.base import Answer
from scmobench.models.matching.assignment import assign_softmax
from scmobench.tasks.base import Task
from scmobench.types import EmbeddingData, MatchingData, PredictionData, Problem, TaskData

CHUNK = 1024  # cells


def run_ensemble(cfg: DictConfig, overrides: Sequence[str], method: str) -> dict[str, Any]:
    """Run the members that are not finished, combine their predictions, score the result.

    A member is `cfg` under the overrides that the ensemble names. Of k members with the same model
    member i has seed ``s * k + i`` where the ensemble has seed s, so that no two start alike and
    ensembles of different seeds share no member.

    Parameters
    ----------
    cfg : with ``ensemble.members`` (a list of lists of overrides) and ``ensemble.weights``:
        ``equal``; ``validation``, by the score that each member reports of its own validation cells;
        ``held_out``, by how the members do on the same training cells, see `held_out_weights`.
    overrides : those of the command line.
    method : the name that the tables show.

    Raises
    ------
    ValueError : unknown weights, or members that say no validation score.
    """
    members = member_configs(cfg, overrides)
    runs = [run(member, name) for member, name in members]
    task = build(cfg.task, Task, modules=cfg.modules)
    problem = task.split(cells(cfg), cfg.direction)
    identity = ensemble_identity(cfg, runs, method)
    where = records.folder(cfg.runs, identity)
    with records.claimed(where):
        if not cfg.force and (done := records.finished(where, identity)):
            records.clear_failure(cfg.runs, done)
            return done | {"skipped": True}
        trials = held_out_runs(members) if cfg.ensemble.weights == "held_out" else []
        weights = held_out_weights(cfg, trials) if trials else member_weights(cfg.ensemble.weights, runs)
        stored = _stored(cfg, runs)
        with Meter() as meter:
            answer = combine(problem.data, stored, weights, runs[0]["config"]["model"])
        spent = {
            "seconds": round(meter.seconds + sum(r["seconds"] for r in runs + trials), 3),
            "peak_memory_gb": max(meter.peak_memory_gb, *(r["peak_memory_gb"] for r in runs + trials)),
        }
        known = identity | pooled(runs, weights, problem) | spent
        if trials and cfg.task.name == "joint_embedding":
            known["label_supervised"] = True  # the weights are scores that labels of training cells gave
        return scored(cfg, task, problem, answer, known)


def _stored(cfg: DictConfig, runs: list[dict[str, Any]]) -> list[AnnData]:
    """Predictions of finished runs, with the factors of a matching's similarity."""
    return read_h5ad(*(records.folder(cfg.runs, r) / records.PREDICTION for r in runs), factors=SIMILARITY)


def member_configs(
    cfg: DictConfig, overrides: Sequence[str], composer: Callable[[list[str]], DictConfig] | None = None
) -> list[tuple[DictConfig, str]]:
    """Configuration and method name of each member; ``composer``: outside of a running application.

    Raises
    ------
    ValueError : the command line and a member set the same key, or the command line an ablation where
        the members are of several models, or a model where they name theirs; ``held_out`` weights with
        another ``score_on`` than ``test``.
    """
    if cfg.ensemble.weights == "held_out" and cfg.score_on != "test":
        raise ValueError(
            f"{cfg.ensemble.name} weights its members on held-out training cells, which needs score_on=test, "
            f"found {cfg.score_on}"
        )
    composer = composer or (lambda given: compose("config", overrides=given))
    inherited = [o for o in overrides if o.split("=")[0].lstrip("+~") not in ("ensemble", "seed", "sweep")]
    inherited = [o for o in inherited if not o.startswith(("hydra", "ensemble."))]
    named = OmegaConf.to_container(cfg.ensemble.members)
    result = []
    models = [next((o for o in own if o.startswith("model=")), "") for own in named]
    if len(set(models)) > 1 and (ablation := [o for o in inherited if o.startswith("ablation=")]):
        raise ValueError(
            f"{cfg.ensemble.name} has members of several models, {ablation[0]} is of one: leave it out, or "
            "set ensemble.members with it where it belongs"
        )
    lost = [o for o in inherited if o.lstrip("+~").split("=")[0].split(".")[0] == "model"]
    if all(models) and lost:
        raise ValueError(
            f"the members of {cfg.ensemble.name} name their models themselves, found {', '.join(lost)}: "
            "leave it out, or set ensemble.members with it where it belongs"
        )
    for i, own in enumerate(named):
        like = [place for place, model in enumerate(models) if model == models[i]]
        kept = [
            o for o in inherited if not (models[i] and o.lstrip("+~").split("=")[0].split(".")[0] == "model")
        ]
        keys = {o.split("=")[0] for o in own}
        if twice := [o for o in kept if o.lstrip("+~").split("=")[0] in keys]:
            raise ValueError(f"{cfg.ensemble.name} sets {', '.join(twice)} itself: leave it out")
        given = [*kept, *own, f"seed={cfg.seed * len(like) + like.index(i)}"]
        member = composer(given)
        result.append((member, method_name(member, given)))
    return result


def ensemble_identity(cfg: DictConfig, runs: list[dict[str, Any]], method: str) -> dict[str, Any]:
    """What makes two ensembles the same: their members, their weights, seed, arithmetic."""
    members = [[r["method"], r["config_hash"]] for r in runs]
    config = {"task": runs[0]["config"]["task"], "members": members, "weights": cfg.ensemble.weights}
    if cfg.score_on != "test":
        config["score_on"] = cfg.score_on
    shared = ("task", "dataset", "subtask", "direction", "normalization", "data_hash")
    known = {key: runs[0][key] for key in shared} | arithmetic.identity(cfg.arithmetic)
    return known | {
        "method": method,
        "kind": "ensemble",
        "seed": cfg.seed,
        "config": config,
        "config_hash": digest(config),
        "code": digest([code_digest(__name__, cfg.task.name), *(r["code"] for r in runs)]),
    }


def member_weights(rule: str, runs: list[dict[str, Any]]) -> np.ndarray:
    """Weights of the members, summing to 1.

    ``validation``: proportional to 1 / RMSE² (precision weighting) for prediction, to the validation
    accuracy for matching.

    Raises
    ------
    ValueError : an unknown rule, a member without a validation score, or ``validation`` for embeddings,
        whose members have losses that do not compare.
    """
    if rule == "equal":
        return np.full(len(runs), 1 / len(runs))
    if rule != "validation":
        raise ValueError(f"expected ensemble weights equal, validation or held_out, found {rule!r}")
    if runs[0]["task"] == "joint_embedding":
        raise ValueError(
            "the validation losses of embeddings do not compare: weight the members equally (seeds)"
        )
    missing = [r["method"] for r in runs if r["validation"] is None]
    if missing:
        raise ValueError(
            f"no validation score from {', '.join(sorted(set(missing)))}: weight the members equally"
        )
    score = np.array([r["validation"] for r in runs])
    return _shares(score**-2 if runs[0]["task"] == "predict_modality" else score)


def held_out_runs(members: list[tuple[DictConfig, str]]) -> list[dict[str, Any]]:
    """Each member fitted once more, without the cells that `training_cells_split` holds out."""
    trials = []
    for member, name in members:
        trial = member.copy()
        trial.score_on = "validation"
        trials.append(run(trial, name))
    return trials


def held_out_weights(cfg: DictConfig, trials: list[dict[str, Any]]) -> np.ndarray:
    """Weights by which the members do best on training cells that none of them saw, summing to 1.

    Prediction: the non-negative weights of the least squared error there (stacking, Breiman 1996,
    Machine Learning 24:49). Matching and embedding: proportional to the score.

    Parameters
    ----------
    trials : from `held_out_runs`.
    """
    if cfg.task.name != "predict_modality":
        found = (r["scores"][PRIMARY[cfg.task.name]]["value"] for r in trials)
        return _shares(np.array([np.nan if value is None else value for value in found]))
    inner = cfg.copy()
    inner.score_on = "validation"
    truth = build(cfg.task, Task, modules=cfg.modules).split(cells(inner), cfg.direction).solution.X
    stored = [member.X for member in _stored(cfg, trials)]
    gram, products = np.zeros((len(stored), len(stored))), np.zeros(len(stored))
    for start in range(0, truth.shape[0], CHUNK):
        rows = slice(start, start + CHUNK)
        answers = np.stack([_dense(X[rows]).ravel() for X in stored]).astype(np.float64)
        gram += answers @ answers.T
        products += answers @ _dense(truth[rows]).ravel()
    return convex_weights(gram, products)


def _shares(scores: np.ndarray) -> np.ndarray:
    """Scores scaled to sum 1; equal shares where they say nothing (all 0, or one missing)."""
    total = scores.sum()
    return scores / total if np.isfinite(total) and total > 0 else np.full(len(scores), 1 / len(scores))


def convex_weights(gram: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Non-negative weights w of wᵀ G w − 2 wᵀ p at its least, then scaled to sum 1 (near the best such w).

    ``gram`` holds the members' inner products, ``products`` theirs with the truth; members that say
    (nearly) the same share their weight by a ridge of 10⁻⁶ of the mean diagonal.
    """
    ridge = 1e-6 * (np.trace(gram) or 1.0) / len(gram)  # all members may say nothing but zeros
    factor = np.linalg.cholesky(gram + ridge * np.eye(len(gram)))
    weights, _ = nnls(factor.T, np.linalg.solve(factor, products))
    return _shares(weights)


def pooled(runs: list[dict[str, Any]], weights: np.ndarray, problem: Problem) -> dict[str, Any]:
    """What the record says of the members."""
    known = [r["validation"] for r in runs if r["validation"] is not None]
    return {
        "transductive": any(r["transductive"] for r in runs),
        "label_supervised": any(r["label_supervised"] for r in runs),
        "protocol": runs[0]["protocol"],
        "device": runs[0]["device"],
        "threads": runs[0].get("threads"),  # kept members may be older than it
        "validation": float(np.mean(known)) if len(known) == len(runs) else None,
        "parameters": sum(r["parameters"] or 0 for r in runs) or None,
        "report": {
            "members": [f"{r['method']} seed {r['seed']}" for r in runs],
            "weights": [round(float(w), 4) for w in weights],
        },
    } | sizes(problem)


@singledispatch
def combine(
    data: TaskData, members: list[AnnData], weights: np.ndarray, settings: Mapping[str, Any] | None = None
) -> Answer:
    """The members' predictions as one, in the way of the task; ``settings``: of the first member."""
    raise TypeError(f"expected the data of a task, found {type(data).__name__}")


@combine.register
def mean_prediction(
    data: PredictionData,
    members: list[AnnData],
    weights: np.ndarray,
    settings: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Weighted mean of the members' predictions."""
    return sum(w * _dense(m.X) for w, m in zip(weights, members, strict=True))


@combine.register
def mean_similarity(
    data: MatchingData, members: list[AnnData], weights: np.ndarray, settings: Mapping[str, Any] | None = None
) -> sp.csr_matrix:
    """Weighted mean of the members' similarities, then one assignment within batches.

    The mean of products is the product of the joined factors; it is assigned by `assign_softmax`, with the
    ``quantile`` of the settings. Members that keep no factors are put together by the weighted mean of
    their matchings, without a new assignment.
    """
    if not all(SIMILARITY in m.obsm for m in members):
        return sp.csr_matrix(sum(w * m.X for w, m in zip(weights, members, strict=True)))
    left = np.hstack([w * m.obsm[SIMILARITY] for w, m in zip(weights, members, strict=True)])
    right = np.hstack([m.varm[SIMILARITY] for m in members])
    batches = [cells.obs["batch"].to_numpy() for cells in (data.test_mod1, data.test_mod2)]
    quantile = (settings or {}).get("quantile", 0.995)
    return assign_softmax((left.astype(np.float32), right.astype(np.float32)), *batches, quantile=quantile)


@combine.register
def joined_embedding(
    data: EmbeddingData,
    members: list[AnnData],
    weights: np.ndarray,
    settings: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Members side by side, each centred and scaled to unit total variance, then SVD to the widest's size."""
    blocks = []
    for weight, member in zip(weights, members, strict=True):
        centred = _dense(member.X) - _dense(member.X).mean(axis=0)
        blocks.append(np.sqrt(weight) * centred / (np.linalg.norm(centred) or 1.0))
    return SVD(max(m.n_vars for m in members), seed=0).fit_transform(np.hstack(blocks))


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
