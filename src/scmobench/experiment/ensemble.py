"""Ensembles: predictions of finished runs are combined, and scored like any other prediction."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from omegaconf import DictConfig, OmegaConf

from scmobench.data.reduce import SVD
from scmobench.experiment import display, records
from scmobench.experiment.arguments import group, key
from scmobench.experiment.code import code_digest
from scmobench.experiment.config import build, digest
from scmobench.experiment.plan import Plan
from scmobench.experiment.run import MODEL, SIMILARITY, Answered, predictions, recorded, run
from scmobench.experiment.weights import dense, held_out_weights, member_weights
from scmobench.machine import terminal
from scmobench.machine.memory import metered
from scmobench.models.base import Answer
from scmobench.models.matching.assignment import assign_softmax
from scmobench.types import MatchingData, PredictionData, TaskData


def run_ensemble(plan: Plan) -> dict[str, Any]:
    """Make the runs of the members that are not finished, combine their predictions, and score the result.

    ``ensemble.weights`` is ``equal``, ``validation`` (see `member_weights`) or ``held_out``
    (`held_out_weights`, from each member fitted once more on a part of the training cells).
    """
    rule, parts = plan.cfg.ensemble.weights, members(plan)
    for part in parts:  # a mistake in the settings of the last member is said before the first one fits
        build(plan.settings_of(part.cfg), MODEL, modules=part.cfg.modules)
    plan.begun, runs = True, list(_carried_out(parts))
    config = {
        "task": runs[0]["config"]["task"],
        "members": [[r["method"], r["config_hash"]] for r in runs],
        "weights": rule,
    }
    code = digest([code_digest(__name__, plan.cfg.task.name), *(r["code"] for r in runs)])

    def answer(_: Path) -> Answered:
        if rule == "held_out":
            held_out = [Plan(_validation(member.cfg), member.name) for member in parts]
            trials = list(_carried_out(held_out, "on held-out cells, "))
            truth = Plan(_validation(plan.cfg)).problem.solution
            weights = held_out_weights(trials, _stored(plan.cfg, trials), truth)
        else:
            trials, weights = [], member_weights(rule, runs)
        stored, settings = _stored(plan.cfg, runs), runs[0]["config"]["model"]
        with metered() as spent:
            answer = combine(plan.problem.data, stored, weights, settings.get("quantile", 0.995))
        about = pooled(runs, weights)
        if trials and plan.cfg.task.name == "joint_embedding":
            about["label_supervised"] = True  # labels of training cells gave the scores that are the weights
        about["seconds"] = round(spent["seconds"] + sum(r["seconds"] for r in runs + trials), 3)
        about["peak_memory_gb"] = max(r["peak_memory_gb"] for r in [spent, *runs, *trials])
        return Answered(answer, about)

    return recorded(plan, plan.identity(config, code) | {"kind": "ensemble"}, answer)


def _carried_out(parts: Sequence[Plan], how: str = "") -> Iterator[dict[str, Any]]:
    """Make the members' runs, and yield their records. On a terminal, each prints a line."""
    for number, part in enumerate(parts, 1):
        which = f"{how}member {number}/{len(parts)}"
        with terminal.bar(f"{which}: {part.name} seed {part.cfg.seed}"):
            record = run(part)
        terminal.announce(f"  {which}  {display.line(record)}")
        yield record


def members(plan: Plan) -> list[Plan]:
    """The members of an ensemble: its own plan under the overrides that it lists for each.

    Of k members with the same model, member i has seed ``s * k + i`` if the ensemble has seed s. So no two
    members have the same seed, and ensembles of different seeds share no member.
    Raises ValueError for a key that the command line and a member both set, for an ablation or a model beside
    members of several models, for ``held_out`` weights with another ``score_on`` than ``test``, and for
    ``validation`` weights of embeddings.
    """
    ensemble, score_on = plan.cfg.ensemble, plan.cfg.score_on
    if ensemble.weights == "validation" and plan.cfg.task.name == "joint_embedding":
        raise ValueError(
            f"{ensemble.name} weights its members by validation losses, and those of embeddings do not "
            "compare: use ensemble=seeds"
        )
    if ensemble.weights == "held_out" and score_on != "test":
        raise ValueError(
            f"{ensemble.name} weights its members on held-out training cells, which needs score_on=test, "
            f"found {score_on}"
        )
    own = "ensemble", "seed", "sweep", "hydra"
    inherited = [override for override in plan.overrides if group(override) not in own]
    listed = OmegaConf.to_container(ensemble.members)
    models = [next((o for o in overrides if o.startswith("model=")), "") for overrides in listed]
    ablations = [override for override in inherited if override.startswith("ablation=")]
    if len(set(models)) > 1 and ablations:
        raise ValueError(
            f"{ensemble.name} has members of several models, {ablations[0]} is of one: leave it out, or set "
            "ensemble.members with it where it belongs"
        )
    of_model = [override for override in inherited if group(override) == "model"]
    if all(models) and of_model:
        raise ValueError(
            f"the members of {ensemble.name} name their models themselves, found {', '.join(of_model)}: "
            "leave it out, or set ensemble.members with it where it belongs"
        )
    plans = []
    for number, (overrides, model) in enumerate(zip(listed, models, strict=True)):
        kept = [override for override in inherited if not (model and override in of_model)]
        keys = set(map(key, overrides))
        if twice := [override for override in kept if key(override) in keys]:
            raise ValueError(f"{ensemble.name} sets {', '.join(twice)} itself: leave it out")
        seed = plan.cfg.seed * models.count(model) + models[:number].count(model)
        plans.append(Plan.composed([*kept, *overrides, f"seed={seed}"], plan.folder))
    return plans


def _validation(cfg: DictConfig) -> DictConfig:
    """The same experiment on the training cells alone."""
    inner = cfg.copy()
    inner.score_on = "validation"
    return inner


def _stored(cfg: DictConfig, runs: list[dict[str, Any]]) -> list[AnnData]:
    """Predictions of finished runs, with the factors of a matching's similarity."""
    return predictions(*(records.folder(cfg.runs, r) / records.PREDICTION for r in runs), factors=SIMILARITY)


def pooled(runs: list[dict[str, Any]], weights: np.ndarray) -> dict[str, Any]:
    """What the record tells about the members."""
    known = [r["validation"] for r in runs if r["validation"] is not None]
    return {
        "transductive": any(r["transductive"] for r in runs),
        "label_supervised": any(r["label_supervised"] for r in runs),
        "protocol": runs[0]["protocol"],
        "device": runs[0]["device"],
        "threads": runs[0].get("threads"),  # older records lack it
        "validation": float(np.mean(known)) if len(known) == len(runs) else None,
        "parameters": sum(r["parameters"] or 0 for r in runs) or None,
        "report": {
            "members": [f"{r['method']} seed {r['seed']}" for r in runs],
            "weights": [round(float(w), 4) for w in weights],
        },
    }


def combine(data: TaskData, members: list[AnnData], weights: np.ndarray, quantile: float = 0.995) -> Answer:
    """The members' predictions as one.

    Prediction: the weighted mean. Matching: see `mean_similarity`. Embedding: the members side by side, each
    centred and scaled to unit total variance, then an SVD to the size of the widest.
    """
    if isinstance(data, PredictionData):
        return sum(w * dense(m.X) for w, m in zip(weights, members, strict=True))
    if isinstance(data, MatchingData):
        return mean_similarity(data, members, weights, quantile)
    blocks = []
    for weight, member in zip(weights, members, strict=True):
        centred = dense(member.X) - dense(member.X).mean(axis=0)
        blocks.append(np.sqrt(weight) * centred / (np.linalg.norm(centred) or 1.0))
    return SVD(max(m.n_vars for m in members), seed=0).fit_transform(np.hstack(blocks))


def mean_similarity(
    data: MatchingData, members: list[AnnData], weights: np.ndarray, quantile: float
) -> sp.csr_matrix:
    """Weighted mean of the members' similarities, then one assignment within batches (`assign_softmax`).

    The mean of products is the product of the joined factors. If a member keeps no factors, the result is the
    weighted mean of the matchings, without a new assignment.
    """
    if not all(SIMILARITY in m.obsm for m in members):
        return sp.csr_matrix(sum(w * m.X for w, m in zip(weights, members, strict=True)))
    left = np.hstack([w * m.obsm[SIMILARITY] for w, m in zip(weights, members, strict=True)])
    right = np.hstack([m.varm[SIMILARITY] for m in members])
    batches = [cells.obs["batch"].to_numpy() for cells in (data.test_mod1, data.test_mod2)]
    return assign_softmax((left.astype(np.float32), right.astype(np.float32)), *batches, quantile=quantile)
