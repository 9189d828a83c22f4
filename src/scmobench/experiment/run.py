"""One experiment, on one screen."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits

from scmobench.data.matrix import checked_matrix
from scmobench.data.source import Source
from scmobench.data.split import training_cells_split
from scmobench.experiment import records
from scmobench.experiment.code import code_digest
from scmobench.experiment.config import (
    build,
    check,
    digest,
    for_subtask,
    not_installed,
    own_code,
    without_places,
)
from scmobench.experiment.evaluate import evaluate, intervals
from scmobench.machine import arithmetic
from scmobench.machine.meter import Meter
from scmobench.models.base import Answer, Model, SolutionControl
from scmobench.tasks.base import Task
from scmobench.tasks.predicted_types import predicted_types
from scmobench.types import EmbeddingData, Paired, Problem, TaskData

SIMILARITY = "similarity_factors"
MODEL = Model | SolutionControl
# what of the trainer can change a prediction; the rest is about where and how loudly it runs
TRAINING_CHOICES = ("precision", "max_epochs", "max_seconds", "check_val_every_n_epoch")


def run(cfg: DictConfig, method: str, paired: Paired | None = None) -> dict[str, Any]:
    """Seed, dataset, task, fit, predict, check, evaluate, record.

    Parameters
    ----------
    cfg : the composed configuration (conf/config.yaml).
    method : the name that the tables show (`method_name`).
    paired : cells in memory, instead of those that the configuration names.

    Returns
    -------
    The record. A run that is finished already, or by another process meanwhile, is not repeated: its
    record comes back with ``skipped`` set.
    """
    paired = paired or cells(cfg)
    task = build(cfg.task, Task, modules=cfg.modules)
    problem = task.split(paired, cfg.direction)
    settings = for_subtask(model_block(cfg, task.name, problem.data.subtask), problem.data.subtask)
    check(settings, MODEL, modules=cfg.modules)
    identity = identify(cfg, method, problem, settings, paired.hash)
    where = records.folder(cfg.runs, identity)
    with records.claimed(where):
        if not cfg.force and (done := records.finished(where, identity)):
            records.clear_failure(cfg.runs, done)
            return done | {"skipped": True}
        if settings.get("trainer"):
            settings["trainer"]["folder"] = str(records.training_folder(where, identity, fresh=cfg.force))
        model = build(settings, MODEL, modules=cfg.modules)
        with Meter() as meter:
            answer = respond(model, problem, cfg.seed)
        spent = {"seconds": meter.seconds, "peak_memory_gb": meter.peak_memory_gb}
        with threadpool_limits(threads(), user_api="openmp"):
            factors = model.similarity(at_prediction(model, problem)) if isinstance(model, Model) else None
        return scored(cfg, task, problem, answer, identity | describe(model, problem) | spent, factors)


def cells(cfg: DictConfig) -> Paired:
    """The dataset through its checks, or what ``score_on`` makes of it to choose settings by.

    ``validation``: the training cells, split again (`training_cells_split`). ``predicted_types``: all cells,
    for an embedding, the test cells' types said by a classifier (`predicted_types`).

    Raises
    ------
    ValueError : a ``score_on`` that the task or the dataset does not serve.
    """
    paired = build(cfg.dataset, Source, modules=cfg.modules).load()
    if cfg.score_on == "predicted_types":
        if cfg.task.name != "joint_embedding":
            raise ValueError(f"score_on=predicted_types is of joint_embedding, found task={cfg.task.name}")
        return predicted_types(paired)
    return training_cells_split(paired) if cfg.score_on == "validation" else paired


def scored(
    cfg: DictConfig,
    task: Task,
    problem: Problem,
    answer: Answer,
    known: dict[str, Any],
    factors: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Check, evaluate and keep an answer: prediction first, record last, each written whole.

    ``factors`` of a matching's similarity are stored with the prediction, for ensembles.
    """
    prediction = task.pack(answer, problem.data, known["method"])
    if factors is not None:
        prediction.obsm[SIMILARITY], prediction.varm[SIMILARITY] = factors
    task.check(prediction, problem.solution)
    where = records.folder(cfg.runs, known)
    if not cfg.ensemble.members:
        known = known | {"tuning": (cfg.model.get("tuning") or {}).get(task.name)}
    known = known | {"prediction_hash": records.prediction_hash(prediction), "versions": records.versions()}
    known["arithmetic"] = arithmetic.check(cfg.arithmetic)  # of the libraries that the run has loaded
    records.write_prediction(where / records.PREDICTION, prediction)
    # a deterministic method gives every seed the same prediction, and that is scored once
    result = (None if cfg.force else records.scores_of_same(where.parent, known)) or {
        "scores": {k: asdict(v) for k, v in evaluate(task.name, prediction, problem.solution).items()},
        "interval": intervals(task.name, prediction, problem.solution),
    }
    record = known | result | {"status": "ok", "message": "", "finished": records.now()}
    record["attempt"] = records.attempts(cfg.runs, record) + 1
    records.write_record(where, record)
    records.clear_failure(cfg.runs, record)
    return record


def respond(model: Model | SolutionControl, problem: Problem, seed: int) -> Answer:
    """The model's answer; only a control that says so is handed the solution.

    Numba, below scanpy, sets OpenMP to all cores, torch's threads included: the last digits of a run
    would depend on what ran before it in the process. Threads are put back to what OMP_NUM_THREADS says.
    """
    with threadpool_limits(threads(), user_api="openmp"):
        if isinstance(model, SolutionControl):
            return model.answer(problem.solution, seed)
        if not isinstance(model, Model):
            found = type(model).__name__
            raise TypeError(f"expected a scmobench.models.base.Model, found {found}: inherit from it")
        seen = problem.data.for_fit(model.transductive, model.label_supervised)
        fitted = model.fit(seen, seed)
        if not isinstance(fitted, Model):
            raise TypeError(f"expected fit to end in `return self`, found that it returns {fitted!r}")
        answer = fitted.predict(at_prediction(model, problem))
        answer = checked_matrix(answer, "what predict returns")
        return answer.tocsr() if sp.issparse(answer) else answer


def at_prediction(model: Model, problem: Problem) -> TaskData:
    """All inputs; the training cells' labels only for a model that says that it uses them."""
    return problem.data if model.label_supervised else replace(problem.data, labels=None)


def threads() -> int | None:
    """OpenMP threads that the environment asks for; None where it doesn't say."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list is by level of nesting
    return int(first) if first.isdigit() and int(first) > 0 else None


def model_block(cfg: DictConfig, task: str, subtask: str = "") -> dict[str, Any]:
    """The settings of a model for a task; with ``smoke=true`` under its ``smoke`` settings.

    Raises
    ------
    ValueError : the model does not serve the task or subtask; says which it serves. A package that
        it requires is not installed.
    """
    model = OmegaConf.to_container(cfg.model, resolve=True)
    if task not in model:
        serves = [key for key, value in model.items() if isinstance(value, dict) and "_target_" in value]
        raise ValueError(f"model {model['name']!r} does not serve {task}; it serves {', '.join(serves)}")
    if subtask and subtask not in model.get("subtasks", [subtask]):
        raise ValueError(f"model {model['name']!r} serves {', '.join(model['subtasks'])}, not {subtask}")
    if lacking := not_installed(model):
        raise ValueError(lacking)
    return model[task] | (model.get("smoke", {}) if cfg.smoke else {})


def identify(
    cfg: DictConfig, method: str, problem: Problem, settings: dict[str, Any], data_hash: str
) -> dict[str, Any]:
    """What makes two runs the same: data, task, resolved settings, code, seed, arithmetic."""
    task = OmegaConf.to_container(cfg.task, resolve=True)
    trainer = {k: v for k, v in (settings.get("trainer") or {}).items() if k in TRAINING_CHOICES}
    config = {"task": task, "model": settings | ({"trainer": trainer} if trainer else {})}
    if cfg.score_on != "test":
        config["score_on"] = cfg.score_on
    if code := own_code(config, cfg.modules):
        config["source"] = code
    described = without_places(config)
    return {
        "task": task["name"],
        "dataset": problem.data.dataset,
        "subtask": problem.data.subtask,
        "direction": cfg.direction,
        "method": method,
        "kind": cfg.model.get("kind", "method"),
        "seed": cfg.seed,
        "normalization": dict(problem.normalization),
        "config": described,
        "config_hash": digest(described),
        "data_hash": data_hash,
        "code": code_digest(__name__, task["name"], [config, OmegaConf.to_container(cfg.dataset)]),
    } | arithmetic.identity(cfg.arithmetic)


def describe(model: Model | SolutionControl, problem: Problem) -> dict[str, Any]:
    """What the record says of the model and the sizes."""
    report = model.report() if isinstance(model, Model) else {}
    return {
        "transductive": model.transductive,
        "label_supervised": model.label_supervised,
        "protocol": problem.solution.uns.get("protocol", ""),
        "device": report.pop("device", "cpu"),
        "threads": threads() or os.cpu_count(),
        "validation": report.pop("validation", None),
        "parameters": report.pop("parameters", None),
        "report": report,
    } | sizes(problem)


def sizes(problem: Problem) -> dict[str, int]:
    """Training cells, scored cells, and how many are both: in an embedding all cells are placed."""
    data, solution = problem.data, problem.solution
    if not isinstance(data, EmbeddingData):
        return {"n_train": data.train_mod1.n_obs, "n_test": solution.n_obs, "n_test_seen": 0}
    train = data.mod1.obs["is_train"].to_numpy(bool)
    scored = solution.obs["is_scored"].to_numpy(bool) if "is_scored" in solution.obs else np.ones_like(train)
    n = train.sum(), scored.sum(), (train & scored).sum()
    return dict(zip(("n_train", "n_test", "n_test_seen"), map(int, n), strict=True))


def method_name(cfg: DictConfig, overrides: list[str]) -> str:
    """The name in the tables: model, ``+`` the ablation, ``[...]`` settings changed by hand, or smoke."""
    smoke = ["smoke"] if cfg.smoke else []
    if cfg.ensemble.get("unlike", False):  # its members name their models and settings themselves
        return "+".join(filter(None, (cfg.variant, cfg.ensemble.name))) + "[smoke]" * len(smoke)
    name = "+".join(filter(None, (cfg.model.name, cfg.variant, cfg.ensemble.name)))
    given = [o.lstrip("+~") for o in overrides]
    changed = [o.split(".", 2)[2] for o in given if o.startswith("model.") and o.count(".") >= 2] + smoke
    if "trainer" in cfg.model.get(cfg.task.name, {}):
        changed += [
            o for o in given if o.split("=")[0] in {f"trainer.{choice}" for choice in TRAINING_CHOICES}
        ]
    return name + (f"[{','.join(sorted(changed))}]" if changed else "")
