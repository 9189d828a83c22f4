"""Make one run: the model answers the problem, the answer is scored, the record is written."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from omegaconf import OmegaConf
from threadpoolctl import threadpool_limits

from scmobench.data.foreign import read_h5ad
from scmobench.data.matrix import checked_matrix
from scmobench.experiment import records
from scmobench.experiment.code import code_digest, own_code
from scmobench.experiment.config import build, check
from scmobench.experiment.evaluate import evaluate, intervals, primary, scores_by_cell
from scmobench.experiment.plan import TRAINING_CHOICES, Plan
from scmobench.experiment.settings import shown
from scmobench.experiment.tracking import check_tracking, track
from scmobench.machine import arithmetic
from scmobench.machine.files import writable
from scmobench.machine.memory import metered
from scmobench.models.base import Answer, Model, SolutionControl
from scmobench.types import EmbeddingData, Problem, TaskData

MODEL = Model | SolutionControl
SIMILARITY = "similarity_factors"


def run(plan: Plan) -> dict[str, Any]:
    """Make one run of a model, or find it finished, and return its record.

    A run that is finished already, or was finished by another process meanwhile, is not repeated: its record
    comes back with ``skipped`` set.
    """
    check(plan.settings, MODEL, modules=plan.cfg.modules)
    identity, settings = identify(plan), dict(plan.settings)
    if trained := bool(settings.get("trainer")):
        training = records.folder(plan.cfg.runs, identity) / records.TRAINING
        settings["trainer"] = settings["trainer"] | {"folder": str(training)}
    model = build(settings, MODEL, modules=plan.cfg.modules)

    def answer(where: Path) -> Answered:
        if trained:
            records.training_folder(where, identity, fresh=plan.cfg.force)
        return answered(model, plan.problem, plan.cfg.seed)

    return recorded(plan, identity, answer)


def identify(plan: Plan) -> dict[str, Any]:
    """The identity of a run of a model: two runs with the same identity are one run."""
    cfg, settings = plan.cfg, plan.settings
    choices = {k: v for k, v in (settings.get("trainer") or {}).items() if k in TRAINING_CHOICES}
    task = OmegaConf.to_container(cfg.task, resolve=True)
    config = {"task": task, "model": settings | ({"trainer": choices} if choices else {})}
    if own := own_code(config, cfg.modules):
        config["source"] = own
    code = code_digest(__name__, task["name"], [config, OmegaConf.to_container(cfg.dataset)])
    return plan.identity(config, code)


@dataclass
class Answered:
    """An answer, what the record tells about it, and the factors of a matching's similarity for ensembles."""

    answer: Answer
    about: dict[str, Any]
    factors: tuple[np.ndarray, np.ndarray] | None = None


def answered(model: Model | SolutionControl, problem: Problem, seed: int) -> Answered:
    """Ask a model, and measure the time and memory that it takes."""
    with metered() as spent:
        answer = respond(model, problem, seed)
    factors = None
    if isinstance(model, Model):
        with threadpool_limits(arithmetic.threads(), user_api="openmp"):
            factors = asked(model, "similarity", at_prediction(model, problem))
    if not (factors is None or (isinstance(factors, tuple) and len(factors) == 2)):
        raise ValueError(f"expected similarity to return two matrices or None, found {shown(factors)}")
    report = asked(model, "report") if isinstance(model, Model) else {}
    try:
        records.as_json({**report})
    except TypeError as error:
        raise ValueError(
            f"expected report to return a dict with text as keys, found {shown(report)}"
        ) from error
    about = {
        "transductive": model.transductive,
        "label_supervised": model.label_supervised,
        "protocol": problem.solution.uns.get("protocol", ""),
        "device": report.pop("device", "cpu"),
        "threads": arithmetic.threads() or os.cpu_count(),
        "validation": report.pop("validation", None),
        "parameters": report.pop("parameters", None),
        "report": report,
    }
    return Answered(answer, about | spent, factors)


def respond(model: Model | SolutionControl, problem: Problem, seed: int) -> Answer:
    """The model's answer. Only a `SolutionControl` is handed the solution.

    Numba, which scanpy uses, sets OpenMP to all cores, and torch's threads with it: the last digits of a run
    would depend on what ran before it in the process. This sets the threads back to OMP_NUM_THREADS.
    """
    with threadpool_limits(arithmetic.threads(), user_api="openmp"):
        if isinstance(model, SolutionControl):
            return model.answer(problem.solution, seed)
        if not isinstance(model, Model):
            found = type(model).__name__
            raise ValueError(f"expected a scmobench.models.base.Model, found {found}: inherit from it")
        for flag in ("transductive", "label_supervised"):
            if not isinstance(value := getattr(model, flag), bool):
                raise ValueError(f"expected {flag} of the method to be True or False, found {shown(value)}")
        seen = problem.data.for_fit(model.transductive, model.label_supervised)
        fitted = asked(model, "fit", seen, seed)
        if not isinstance(fitted, Model):
            raise ValueError(f"expected fit to end in `return self`, found that it returns {fitted!r}")
        answer = checked_matrix(
            asked(fitted, "predict", at_prediction(model, problem)), "what predict returns"
        )
        return answer.tocsr() if sp.issparse(answer) else answer


def asked(model: Any, name: str, *given: Any) -> Any:
    """What a method of a model returns. Raises ValueError if it does not take what it is given."""
    method = getattr(model, name)
    try:
        signature(method).bind(*given)
    except ValueError:  # compiled code does not say what it takes
        pass
    except TypeError as error:
        right = ", ".join(signature(getattr(Model, name)).parameters)
        found = ", ".join(["self", *signature(method).parameters])
        raise ValueError(f"expected {name}({right}), found {name}({found}): correct it") from error
    return method(*given)


def at_prediction(model: Model, problem: Problem) -> TaskData:
    """All inputs, with the training cells' labels only for a model that declares to use them."""
    return problem.data if model.label_supervised else replace(problem.data, labels=None)


def recorded(plan: Plan, identity: dict[str, Any], answer: Callable[[Path], Answered]) -> dict[str, Any]:
    """The record of a finished run with this identity, else of the answer that is made in its folder."""
    cfg, where = plan.cfg, records.folder(plan.cfg.runs, identity)
    tracked = OmegaConf.to_container(cfg.wandb, resolve=True) if cfg.wandb else None
    check_tracking(tracked)
    if not (cfg.force or os.access(where, os.W_OK)) and (done := records.finished(where, identity)):
        return done | {"skipped": True}  # from a folder that can only be read
    writable(cfg.runs, "name another by runs=FOLDER")
    with records.claimed(where):
        done = None if cfg.force else records.finished(where, identity)
        plan.begun = True
        record = done | {"skipped": True} if done else _kept(plan, where, identity, answer(where))
        if done and primary(plan.task.name).per_cell and not (where / records.CELLS).is_file():
            (prediction,) = predictions(where / records.PREDICTION)  # the run is older than files of cells
            records.write_cells(where, scores_by_cell(plan.task.name, prediction, plan.problem.solution))
        records.clear_failure(cfg.runs, record)
        if kept := track(record, where, tracked):
            print(kept)
    return record


def predictions(*files: Path, **asked: Any) -> list[AnnData]:
    """Predictions of finished runs (`read_h5ad`). ValueError: one is damaged; it says what heals it."""
    try:
        return read_h5ad(*files, **asked)
    except ValueError as error:
        raise ValueError(f"{error}; delete this file and repeat the command that made it") from error


def _kept(plan: Plan, where: Path, identity: dict[str, Any], answered: Answered) -> dict[str, Any]:
    """Check an answer, score it, and write the prediction and then the record, each whole."""
    cfg, task, solution = plan.cfg, plan.task, plan.problem.solution
    prediction = task.pack(answered.answer, plan.problem.data, plan.name)
    if answered.factors is not None:
        prediction.obsm[SIMILARITY], prediction.varm[SIMILARITY] = answered.factors
    task.check(prediction, solution)
    known = identity | answered.about | sizes(plan.problem)
    if not cfg.ensemble.members:
        known["tuning"] = (cfg.model.get("tuning") or {}).get(task.name)
    known |= {"prediction_hash": records.prediction_hash(prediction), "versions": records.versions()}
    known |= {"commit": records.commit(), "command": plan.command}
    known["arithmetic"] = arithmetic.check(cfg.arithmetic)  # of the libraries that the run has loaded
    records.write_prediction(where / records.PREDICTION, prediction)
    records.write_cells(where, scores_by_cell(task.name, prediction, solution))
    # a deterministic method makes the same prediction with every seed, and it is scored once
    result = (None if cfg.force else records.scores_of_same(where.parent, known)) or {
        "scores": {name: asdict(score) for name, score in evaluate(task.name, prediction, solution).items()},
        "interval": intervals(task.name, prediction, solution),
    }
    record = known | result | {"status": "ok", "message": "", "finished": records.now()}
    record["attempt"] = records.attempts(cfg.runs, record) + 1
    records.write_record(where, record)
    return record


def sizes(problem: Problem) -> dict[str, int]:
    """Training cells, scored cells, and how many are both: an embedding places all cells."""
    data, solution = problem.data, problem.solution
    if not isinstance(data, EmbeddingData):
        return {"n_train": data.train_mod1.n_obs, "n_test": solution.n_obs, "n_test_seen": 0}
    train = data.mod1.obs["is_train"].to_numpy(bool)
    scored = solution.obs["is_scored"].to_numpy(bool) if "is_scored" in solution.obs else np.ones_like(train)
    counts = {"n_train": train, "n_test": scored, "n_test_seen": train & scored}
    return {name: int(chosen.sum()) for name, chosen in counts.items()}
