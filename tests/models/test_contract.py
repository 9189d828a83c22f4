"""The contract of every model in conf/model on every task that it serves."""

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData
from omegaconf import DictConfig, OmegaConf

from scmobench.data.labels import LABELS
from scmobench.experiment.config import build, compose, conf_dir, for_subtask, names
from scmobench.experiment.plan import model_block
from scmobench.experiment.run import respond
from scmobench.models.base import Answer, Model, SolutionControl
from scmobench.tasks.base import Task
from scmobench.types import TASKS, Paired, Problem, TaskData

DATASETS = {
    "tiny_cite": ("GEX-ADT", "GEX2ADT", "ADT2GEX"),
    "tiny_multiome": ("GEX-ATAC", "GEX2ATAC", "ATAC2GEX"),
}
NOT_ALONE = ("cajal_depth", "random")
"""Inductive methods that read the depth of a test cell's batch, or draw for each test cell in turn."""
MODELS = {name: OmegaConf.load(conf_dir() / "model" / f"{name}.yaml") for name in names("model")}


@dataclass(frozen=True)
class Case:
    """A model on a subtask of a tiny dataset."""

    model: str
    task: str
    dataset: str
    direction: str

    def __str__(self) -> str:
        return "-".join(dataclasses.astuple(self))


def cases() -> Iterator[Case]:
    for model, block in MODELS.items():
        for task in (name for name in TASKS if name in block):
            for dataset, subtasks in DATASETS.items():
                if not set(subtasks) & set(block.get("subtasks", subtasks)):
                    continue
                for direction in ("from_gex",) if task == "joint_embedding" else ("from_gex", "to_gex"):
                    yield Case(model, task, dataset, direction)


@dataclass(frozen=True)
class Answered:
    """The answer of a model to a case, and digests of the problem and random states before and after."""

    task: Task
    problem: Problem
    model: Model | SolutionControl
    answer: Answer
    before: str
    after: str
    seen: list[TaskData]  # the data that fit received


@cache
def paired(dataset: str) -> Paired:
    return build(OmegaConf.load(conf_dir() / "dataset" / f"{dataset}.yaml")).load()


def other_solution(cells: Paired, case: Case) -> Paired:
    """The same cells with the test cells' labels, and for prediction their target, in reverse order."""
    test = np.flatnonzero(~cells.obs["is_train"].to_numpy())
    order = np.arange(len(cells.obs))
    order[test] = test[::-1]
    obs = cells.obs.copy()
    for column in set(obs) - {"batch", "is_train", "is_scored"}:
        obs[column] = obs[column].array[order]
    if case.task != "predict_modality":
        return dataclasses.replace(cells, obs=obs)
    hidden = "mod2" if case.direction == "from_gex" else "mod1"
    target = getattr(cells, hidden).copy()
    target.X = target.X[order]
    for layer in target.layers:
        target.layers[layer] = target.layers[layer][order]
    return dataclasses.replace(cells, obs=obs, **{hidden: target})


def renamed(cells: Paired) -> Paired:
    """The same cells with other names of cells and features, in another alphabetical order."""
    obs = cells.obs.set_axis([f"cell {n}" for n in reversed(range(len(cells.obs)))])
    parts = {}
    for name in ("mod1", "mod2"):
        parts[name] = modality = getattr(cells, name).copy()
        modality.obs_names = obs.index
        modality.var_names = [f"{name} feature {n}" for n in reversed(range(modality.n_vars))]
    return dataclasses.replace(cells, obs=obs, **parts)


def digest(*parts: Any) -> str:
    """sha256 of the values, names and tables of AnnData, problems and arrays."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, AnnData):
            total.update(digest(part.X, *part.layers.values()).encode())
            total.update(part.obs.to_csv().encode() + part.var.to_csv().encode())
        elif sp.issparse(part):
            total.update(digest(part.data, part.indices, part.indptr).encode())
        elif isinstance(part, np.ndarray):
            total.update(np.ascontiguousarray(part).tobytes())
        elif dataclasses.is_dataclass(part):
            total.update(digest(*(getattr(part, f.name) for f in dataclasses.fields(part))).encode())
        else:
            total.update(repr(part).encode())
    return total.hexdigest()


@pytest.fixture(scope="module", params=list(cases()), ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    """One case after the other, with all tests of it."""
    return request.param


@pytest.fixture(scope="module")
def done(case: Case) -> Answered:
    """The answer to a case with seed 1, worked out once."""
    return work_out(case, paired(case.dataset))


@cache
def composed(model: str) -> DictConfig:
    """The settings of a model for all its tasks, which are the same on both sets."""
    task = next(name for name in TASKS if name in MODELS[model])
    return compose([f"task={task}", "dataset=tiny_cite", f"model={model}", "smoke=true"])


@cache
def task_of(name: str) -> Task:
    return build(compose([f"task={name}"]).task)


def work_out(case: Case, cells: Paired) -> Answered:
    for package in MODELS[case.model].get("requires", {}):
        pytest.importorskip(package)
    task = task_of(case.task)
    problem = task.split(cells, case.direction)
    settings = for_subtask(model_block(composed(case.model), case.task), problem.data.subtask)
    before = digest(problem, *random_states())
    model = build(settings)
    seen: list[TaskData] = []
    if not isinstance(model, SolutionControl):
        own = model.fit

        def fit(data: TaskData, seed: int) -> Model:
            seen.append(data)
            return own(data, seed)

        model.fit = fit
    answer = respond(model, problem, seed=1)
    model.__dict__.pop("fit", None)
    after = digest(problem, *random_states())
    return Answered(task, problem, model, answer, before, after, seen)


def random_states() -> tuple[np.ndarray, ...]:
    """Of the generators that the whole process shares."""
    _, keys, place, *_ = np.random.get_state()
    return torch.get_rng_state().numpy(), keys, np.array([place])


def numbers(thing: Any, seen: set[int]) -> Iterator[np.ndarray]:
    """Every array that can be reached from an object's attributes."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        yield thing
    elif isinstance(thing, torch.Tensor):
        yield thing.detach().numpy()
    elif isinstance(thing, pd.DataFrame | pd.Series):
        yield from numbers([coded(column) for _, column in pd.DataFrame(thing).items()], seen)
    elif isinstance(thing, AnnData):
        yield from numbers([thing.X, thing.obs, *thing.layers.values()], seen)
    elif isinstance(thing, dict):
        yield from (array for value in list(thing.values()) for array in numbers(value, seen))
    elif isinstance(thing, list | tuple | set):
        yield from (array for value in thing for array in numbers(value, seen))
    elif hasattr(thing, "__dict__") and not isinstance(thing, type):
        yield from numbers(vars(thing), seen)


def coded(column: pd.Series) -> np.ndarray:
    """Numbers as they are, anything else as the place among its sorted values."""
    return column.to_numpy() if column.dtype.kind in "fiu" else pd.factorize(column.astype(str), sort=True)[0]


@pytest.mark.parametrize("name", MODELS)
def test_model_file_has_what_the_tables_show(name: str) -> None:
    block = MODELS[name]
    assert block.name == name
    assert block.kind in ("method", "control")
    lacking = {"source", "description"} - set(block)
    assert not lacking, f"{name}.yaml lacks {lacking}"
    assert any(task in block for task in TASKS)
    known = {"name", "kind", "source", "description", "tuning", "smoke", "requires", "subtasks", *TASKS}
    assert set(block) <= known, f"unknown keys {set(block) - known}"


def test_answer_has_the_layout_of_its_task(done: Answered, case: Case) -> None:
    prediction = done.task.pack(done.answer, done.problem.data, case.model)
    done.task.check(prediction, done.problem.solution)
    assert list(prediction.obs_names) == list(done.problem.solution.obs_names)
    if case.task != "joint_embedding":
        assert list(prediction.var_names) == list(done.problem.solution.var_names)
    values = prediction.X.data if sp.issparse(prediction.X) else prediction.X
    assert np.isfinite(values).all()
    assert prediction.uns["method_id"] == case.model
    assert prediction.uns["dataset_id"] == case.dataset
    assert prediction.uns["subtask"] == done.problem.data.subtask


def test_data_solution_and_random_states_are_left_as_they_were(done: Answered) -> None:
    assert done.before == done.after


def test_same_seed_same_bytes_whatever_the_solution_and_the_names(done: Answered, case: Case) -> None:
    """A second fit, with the solution of the test cells in disorder for all but solution controls."""
    same = isinstance(done.model, SolutionControl)
    cells = paired(case.dataset)
    second = work_out(case, renamed(cells if same else other_solution(cells, case)))
    if not same:
        one, other = (
            digest(solution.X, solution.obs.to_csv(index=False))
            for solution in (done.problem.solution, second.problem.solution)
        )
        assert one != other
        assert done.model.report() == second.model.report(), "its validation and its epoch too"
    assert digest(done.answer) == digest(second.answer)


def test_an_inductive_model_reads_no_other_test_cell_and_fit_no_undeclared_label(
    done: Answered, case: Case
) -> None:
    """An inductive fit reads no test cell, and its prediction of a cell depends on no other test cell."""
    model, data = done.model, done.problem.data
    if isinstance(model, SolutionControl):
        assert not hasattr(model, "fit")
        return
    (seen,) = done.seen
    assert model.label_supervised or seen.labels is None
    if model.transductive:
        return
    if case.task == "joint_embedding":
        assert seen.mod1.obs["is_train"].all()
        assert seen.mod2.n_obs == data.mod1.obs["is_train"].sum()
    else:
        assert seen.test_mod1 is None
        assert getattr(seen, "test_mod2", None) is None
    if case.task == "predict_modality" and case.model not in NOT_ALONE:
        some = np.arange(0, data.test_mod1.n_obs, 3)
        few = dataclasses.replace(data, test_mod1=data.test_mod1[some].copy(), labels=None)
        found, whole = (m.toarray() if sp.issparse(m) else m for m in (model.predict(few), done.answer))
        np.testing.assert_allclose(found, whole[some], atol=1e-5)


def test_nothing_of_the_solution_is_kept(done: Answered, case: Case) -> None:
    hidden = [done.problem.solution.X] if case.task == "predict_modality" else []
    if case.task == "match_modality":
        hidden = [done.problem.solution.uns["pairing_ix"], done.problem.solution.X]
    if case.task == "joint_embedding":
        labels = done.problem.solution.obs
        test = ~done.problem.data.mod1.obs["is_train"].to_numpy()
        hidden = [coded(some[name]) for some in (labels, labels[test]) for name in LABELS if name in labels]
    assert hidden
    secrets = [m.data if sp.issparse(m) else m for m in hidden]
    for array in numbers(done.model, set()):
        for secret in secrets:
            assert not np.shares_memory(array, secret)
            assert array.shape != secret.shape or len(secret) < 2 or not np.array_equal(array, secret)
