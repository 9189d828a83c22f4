"""What ``import scmobench`` offers: cells, problems, runs, scores and standings in Python.

Each name loads what it needs when it is first used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.matrix import checked_matrix
from scmobench.experiment.advice import refuse
from scmobench.experiment.arguments import quoted
from scmobench.experiment.catalogue import datasets, loaded, metrics, models, row, source_of
from scmobench.experiment.config import build, compose
from scmobench.experiment.evaluate import evaluate, known
from scmobench.experiment.settings import checked_arguments, plain
from scmobench.machine.terminal import hushed
from scmobench.tasks.base import Task
from scmobench.types import Paired, Problem

if TYPE_CHECKING:
    from scmobench.experiment.result import Result

__all__ = ["datasets", "leaderboard", "load", "metrics", "models", "run", "score", "split"]


@hushed()
@checked_arguments
def load(
    data: str | Path | Paired | Any = None,
    *,
    gex: AnnData | str | Path | None = None,
    mod2: AnnData | str | Path | None = None,
    modalities: Mapping[str, str] | None = None,
    **settings: Any,
) -> Paired:
    """Load paired cells, and check them.

    Parameters
    ----------
    data : the name of a data set (see `datasets`); a file (``.h5mu``, ``.h5ad``, Cell Ranger's ``.h5``) or
        Cell Ranger's folder; a MuData or AnnData in memory; cells that are loaded already.
    gex, mod2 : the two modalities instead of ``data``: two AnnData, or two ``.h5ad`` files.
    modalities : the names of both modalities in a MuData, e.g. ``{"gex": "my_rna", "adt": "my_prot"}``. Usual
        names (``rna``, ``prot``, ``adt``, ``atac``, ``peaks``) are known.
    **settings : settings of the data set, e.g. ``name="mine"``, ``batch="site"``, ``cell_type="celltype"``,
        ``test_batches=["s4"]``; see ``conf/dataset/own.yaml``. Features without counts are left out
        of cells in memory (``empty_features="drop"``), and refused in files.

    Returns
    -------
    `Paired`: ``mod1`` (gene expression) and ``mod2``, both cells x features, and ``obs``.

    Raises
    ------
    FileNotFoundError : a file is missing.
    ValueError : the cells cannot be used, or were changed after they were loaded.

    Examples
    --------
    >>> import scmobench as sb
    >>> cells = sb.load("tiny_cite")
    >>> cells.pair, cells.mod1.shape, cells.mod2.shape
    (('GEX', 'ADT'), (150, 120), (150, 20))
    """
    given = {"gex": gex, "mod2": mod2, "modalities": modalities} | settings
    return loaded(data, {name: plain(v) for name, v in given.items() if v is not None or name in settings})


@hushed()
@checked_arguments
def split(data: Any, task: str = "predict_modality", *, direction: str = "from_gex") -> Problem:
    """Cut cells into what a method may see and what only the scorer may see.

    Parameters
    ----------
    data : as for `load`.
    task : ``predict_modality``, ``match_modality`` or ``joint_embedding``.
    direction : ``from_gex`` (genes are the input) or ``to_gex``.

    Returns
    -------
    `Problem`: ``data`` for the method, ``solution`` for `score`.

    Raises
    ------
    ValueError : an unknown task or direction.

    Examples
    --------
    >>> import scmobench as sb
    >>> problem = sb.split("tiny_cite", "predict_modality")
    >>> problem.data.subtask, problem.data.test_mod1.n_obs, problem.solution.n_vars
    ('GEX2ADT', 44, 20)
    """
    return _task(task).split(load(data), direction)


@hushed(alone=True)
@checked_arguments
def run(
    model: str | Any,
    data: Any,
    *,
    task: str = "predict_modality",
    direction: str = "from_gex",
    seed: int = 0,
    runs: str | Path = "runs",
    overrides: Sequence[str] = (),
) -> "Result":
    """Fit a method, predict, score. In threads, runs wait for each other: start several in processes.

    Parameters
    ----------
    model : a name of `models` or of a row of the tables (``scmognn+ensemble_seeds``), or any object with
        ``fit(data, seed)`` and ``predict(data)``.
    data, task, direction : as for `load` and `split`.
    seed : seed of every random draw.
    runs : folder of records and predictions. A finished run of a named model is not repeated. The run of an
        object is not kept, because its settings are unknown.
    overrides : other settings of a named model, as on the command line, e.g.
        ``["model.predict_modality.k=10"]`` or ``["smoke=true"]``.

    Raises
    ------
    ValueError : the model is unknown or does not serve the task, or the cells or the answer are not valid.

    Examples
    --------
    >>> import scmobench as sb
    >>> result = sb.run("knn", "tiny_cite", runs="runs")
    >>> result.scores.index[0], result.prediction.shape
    ('rmse', (44, 20))
    """
    from scmobench.experiment.plan import Plan
    from scmobench.experiment.result import run_object, run_plan

    if not isinstance(model, str):
        if overrides:
            raise ValueError(f"expected no overrides for an object, found {overrides}: set it up instead")
        cfg = compose([f"task={known(task)}", f"seed={seed}"])
        return run_object(model, load(data), build(cfg.task, Task), direction, seed)
    source = source_of(data) if isinstance(data, str | Path) else None
    refuse(overrides, ("model", "task", "direction", "seed", "runs", "sweep"), cells=source is None)
    given = [*row(model, known(task)), *(source or ["dataset=own"]), f"task={task}", f"seed={seed}"]
    plan = Plan.composed([*given, f"direction={quoted(direction)}", f"runs={quoted(runs)}", *overrides])
    plan.paired = None if source else load(data)
    return run_plan(plan)


@hushed(alone=True)
@checked_arguments
def score(
    prediction: AnnData | str | Path | pd.DataFrame | np.ndarray | sp.spmatrix | sp.sparray,
    solution: AnnData | str | Path | Problem,
    task: str,
) -> pd.Series:
    """Score a prediction with every metric of its task.

    Parameters
    ----------
    prediction : AnnData or ``.h5ad`` in the competition's layout or with ``obsm["X_emb"]``; a table with
        names of cells and features; or an array as ``predict`` returns it, in the order of the problem's
        cells (matching: rows are scaled to sum to 1).
    solution : AnnData or ``.h5ad``, or what `split` returned. An array needs what `split` returned.
    task : ``predict_modality``, ``match_modality`` or ``joint_embedding``.

    Returns
    -------
    Series: metric -> value, the ranking metric first; NaN where a metric does not apply. ``attrs["reasons"]``
    says why, and how a metric was computed if there are several ways.

    Raises
    ------
    ValueError : the prediction does not fit the solution; the message says what was expected and found.

    Examples
    --------
    >>> import scmobench as sb
    >>> problem = sb.split("tiny_cite")
    >>> float(sb.score(problem.solution, problem, task="predict_modality")["rmse"])
    0.0
    """
    from scmobench.data.foreign import held, read_scored
    from scmobench.experiment.applicable import of_task
    from scmobench.experiment.exchange import read_predictions
    from scmobench.experiment.result import series

    judge, truth = _task(task), solution.solution if isinstance(solution, Problem) else solution
    if not isinstance(truth, AnnData) and isinstance(prediction, str | Path):
        truth, prediction = read_scored(Path(truth), Path(prediction))
    truth = of_task(task, held(truth))
    if isinstance(prediction, str | Path):
        (prediction,) = read_predictions(truth, Path(prediction))
    if not isinstance(prediction, AnnData | pd.DataFrame):
        if not isinstance(solution, Problem):
            raise TypeError("score: expected the Problem of split as the solution of an array, found another")
        prediction = judge.pack(checked_matrix(prediction, "the prediction"), solution.data, "prediction")
    found = evaluate(task, *judge.check(held(prediction), truth))
    return series(task, {name: asdict(value) for name, value in found.items()})


@hushed()
@checked_arguments
def leaderboard(*records: str | Path) -> pd.DataFrame:
    """Standings of recorded runs: one row for each data set, subtask, metric and method.

    Parameters
    ----------
    records : folders that runs wrote to, ``runs`` by default; ``results/records`` holds the kept ones.

    Returns
    -------
    DataFrame with, among others, the columns ``task dataset subtask metric method rank mean sd n scaled``.

    Raises
    ------
    FileNotFoundError : a folder does not exist.

    Examples
    --------
    >>> import scmobench as sb
    >>> _ = sb.run("knn", "tiny_cite", runs="runs")
    >>> list(sb.leaderboard("runs").query("metric == 'rmse'").method)
    ['knn']
    """
    from scmobench.experiment.kept import read
    from scmobench.leaderboard.standings import standings
    from scmobench.leaderboard.write import metric_metadata

    return standings(read(records or ("runs",)), metric_metadata())


def _task(name: str) -> Task:
    return build(compose([f"task={known(name)}"]).task, Task)
