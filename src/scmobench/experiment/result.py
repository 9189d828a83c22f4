"""The result of a run as Python users get it, and the run of a method that is an object in memory."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scmobench.experiment import records
from scmobench.experiment.display import title
from scmobench.experiment.ensemble import run_ensemble
from scmobench.experiment.evaluate import evaluate, metrics
from scmobench.experiment.plan import Plan, idle
from scmobench.experiment.ranges import check_object
from scmobench.experiment.run import asked, predictions, respond, run
from scmobench.experiment.settings import shown
from scmobench.experiment.validate import checked, naming_choice
from scmobench.machine.memory import metered
from scmobench.models.base import Model
from scmobench.tasks.base import Task
from scmobench.types import Paired, TaskData


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes
    ----------
    scores : metric -> value, the ranking metric first; NaN where a metric does not apply to the data.
    reasons : metric -> why its value is missing or partial; empty where all metrics apply.
    prediction : AnnData. Prediction: test cells x target features. Matching: test cells x test cells, one
        row's weights sum to 1. Joint embedding: all cells with their annotation, the embedding in
        ``obsm["X_emb"]``, ready for ``sc.pl.umap`` after ``sc.pp.neighbors(a, use_rep="X_emb")``.
    record : what was run (method, seed, configuration, data hash, versions), its cost and its scores.
    """

    scores: pd.Series
    reasons: dict[str, str]
    prediction: AnnData
    record: dict[str, Any]

    def __repr__(self) -> str:
        return f"Result of {title(self.record)}\n{self.scores.to_string()}"


class Adapted(Model):
    """An object with ``fit`` and ``predict`` that is no `Model`, but takes and returns what one does.

    ``transductive`` and ``label_supervised`` are optional attributes; without them both are False.
    """

    def __init__(self, method: Any) -> None:
        able = all(callable(getattr(method, name, None)) for name in ("fit", "predict"))
        if not able or isinstance(method, type):
            hint = f": give an object, {method.__name__}(...)" if able else ""
            raise TypeError(
                f"expected the name of a model or an object with fit and predict, found {shown(method)}{hint}"
            )
        if "X" in signature(method.fit).parameters:  # scikit-learn's
            raise TypeError(
                f"expected a method with fit(data, seed) and predict(data), found {shown(method)} with "
                f"fit{signature(method.fit)}: write a class that calls it, as README.md shows"
            )
        self.method = method
        self.transductive = getattr(method, "transductive", False)
        self.label_supervised = getattr(method, "label_supervised", False)

    def fit(self, data: TaskData, seed: int) -> Model:
        asked(self.method, "fit", data, seed)
        return self

    def predict(self, data: TaskData) -> Any:
        return asked(self.method, "predict", data)


def run_plan(plan: Plan) -> Result:
    """Make a run of a named model, or of an ensemble, and read its prediction.

    Raises ValueError for an ensemble of cells in memory, and for an ablation that changes nothing.
    """
    if plan.cfg.ensemble.members and plan.paired is not None:
        raise ValueError(
            "an ensemble needs a data set by its name, found a file or cells in memory: use the command, "
            "scmobench run dataset=own dataset.h5mu=FILE ensemble=..."
        )
    checked(plan)
    if told := idle(plan):
        raise ValueError(told)
    with naming_choice(plan):
        record = run_ensemble(plan) if plan.cfg.ensemble.members else run(plan)
    (prediction,) = predictions(records.folder(plan.cfg.runs, record) / records.PREDICTION)
    return result(prediction, record, plan.cells)


def run_object(method: Any, cells: Paired, task: Task, direction: str, seed: int) -> Result:
    """Run a method that is an object in memory, as a named one is run; nothing is written.

    Raises ValueError for a setting of one of our classes that is out of its range.
    """
    check_object(method)
    problem = task.split(cells, direction)
    model = method if isinstance(method, Model) else Adapted(method)
    with metered() as spent:
        answer = respond(model, problem, seed)
    prediction = task.pack(answer, problem.data, type(method).__name__)
    found = evaluate(task.name, *task.check(prediction, problem.solution))
    record = {
        "task": task.name,
        "dataset": cells.name,
        "subtask": problem.data.subtask,
        "method": type(method).__name__,
        "seed": seed,
        "data_hash": cells.hash,
        "scores": {name: asdict(value) for name, value in found.items()},
        "versions": records.versions(),
    } | spent
    return result(prediction, record, cells)


def result(prediction: AnnData, record: dict[str, Any], cells: Paired) -> Result:
    """A run with its prediction; a joint embedding gets the annotation of its cells."""
    scores = series(record["task"], record["scores"])
    if record["task"] == "joint_embedding":
        embedding = {"X_emb": np.asarray(prediction.X)}
        obs = cells.obs.loc[prediction.obs_names]
        prediction = AnnData(obs=obs, obsm=embedding, uns=prediction.uns)
    return Result(scores, scores.attrs["reasons"], prediction, record)


def series(task: str, scores: Mapping[str, Mapping[str, Any]]) -> pd.Series:
    """Scores as a Series, the ranking metric first; ``attrs["reasons"]`` says why a value is missing."""
    scores = {name: scores[name] for name in metrics(task) if name in scores}
    values = {name: np.nan if s["value"] is None else s["value"] for name, s in scores.items()}
    table = pd.Series(values, dtype=float, name="score").rename_axis("metric")
    table.attrs["reasons"] = {name: s["reason"] for name, s in scores.items() if s["reason"]}
    return table
