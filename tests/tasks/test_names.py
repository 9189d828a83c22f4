"""Names of a prediction and its solution: evidence of orientation and order where there are any."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scmobench.experiment.evaluate import evaluate
from scmobench.tasks.joint_embedding import JointEmbedding
from scmobench.tasks.match_modality import MatchModality
from scmobench.tasks.predict_modality import PredictModality
from scmobench.types import TASKS

TASK = {task.name: task for task in (PredictModality(), MatchModality(), JointEmbedding())}

N = 40
NAMED = list(product((True, False), repeat=2))  # rows, columns
ROWS, COLUMNS = [f"cell{i}" for i in range(N)], [f"other{i}" for i in range(N)]


def table(X, named: tuple[bool, bool], **more) -> AnnData:
    """A file whose rows and columns have names or not."""
    obs, var = (pd.DataFrame(index=n) if on else None for n, on in zip((ROWS, COLUMNS), named, strict=True))
    return AnnData(X, obs=obs, var=var, **more)


def files(task: str, prediction: tuple[bool, bool], solution: tuple[bool, bool]) -> tuple[AnnData, AnnData]:
    """A right prediction of N cells that is as wide as it is long, and its solution."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(N, N)).astype(np.float32)
    if task == "match_modality":
        ix = rng.permutation(N)
        truth = sp.csr_matrix((np.ones(N, np.float32), (ix, np.arange(N))), shape=(N, N))
        return table(truth, prediction), table(truth, solution, uns={"pairing_ix": ix.astype(float)})
    if task == "joint_embedding":
        answer = table(truth, prediction)
        answer.var_names = [f"dim{i}" for i in range(N)] if prediction[1] else answer.var_names
        return answer, table(np.abs(truth) + 1, solution)
    return table(truth, prediction), table(truth, solution)


def outcome(task: str, prediction: AnnData, solution: AnnData) -> str:
    """``scored``, or what the file was refused for."""
    try:
        TASK[task].check(prediction, solution)
    except ValueError as error:
        words = ("transposed", "another order", "are not the solution's", "twice")
        return next(word for word in words if word in str(error))
    return "scored"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solution_named", NAMED)
@pytest.mark.parametrize("named", NAMED)
def test_names_count_where_both_files_have_them(task, named, solution_named) -> None:
    prediction, solution = files(task, named, solution_named)
    rows = named[0] and solution_named[0]
    columns = named[1] and solution_named[1] and task != "joint_embedding"  # dimensions are not genes
    assert outcome(task, prediction, solution) == "scored"
    strange = (named[1] and solution_named[0]) or (named[0] and solution_named[1])
    strange = strange and (task != "joint_embedding" or solution_named[0])
    expected = "transposed" if rows or columns else "are not the solution's" if strange else "scored"
    assert outcome(task, prediction.T.copy(), solution) == expected
    for moved, known, axis in ((prediction[::-1], rows, 0), (prediction[:, ::-1], columns, 1)):
        moved = moved.copy()
        if not named[axis]:  # whoever moves rows without names numbers them anew
            setattr(moved, "var_names" if axis else "obs_names", list(map(str, range(N))))
        assert outcome(task, moved, solution) == ("another order" if known else "scored")


def test_what_is_scored_as_it_is_has_the_score_of_what_it_holds() -> None:
    """The competition's own layout: cells named in the solution alone, its columns nowhere."""
    prediction, solution = files("match_modality", (False, False), (True, False))
    value = {"right": 1.0, "transposed": float((prediction.X.T.multiply(prediction.X)).sum() / N)}
    for name, answer in (("right", prediction), ("transposed", prediction.T.copy())):
        assert outcome("match_modality", answer, solution) == "scored"
        assert evaluate("match_modality", answer, solution)["match_probability"].value == pytest.approx(
            value[name]
        )


@pytest.mark.parametrize("task", TASKS)
def test_numbers_are_names_only_where_they_are_out_of_order(task) -> None:
    prediction, solution = files(task, (False, False), (False, False))
    solution.obs_names = [str(i + 1) for i in range(N)]  # as R counts
    assert outcome(task, prediction, solution) == "scored"
    assert outcome(task, prediction[::-1].copy(), solution) == "are not the solution's"
    solution.obs_names = list(map(str, range(N)))
    assert outcome(task, prediction[::-1].copy(), solution) == "another order"
    prediction.obs_names = [str(i + 7) for i in range(N)]  # a slice of a longer table
    assert outcome(task, prediction, solution) == "scored"
    prediction, solution = files(task, (True, True), (True, True))
    solution.obs_names = [str(i + 1) for i in range(N)]
    assert outcome(task, prediction, solution) == "scored"


def test_columns_named_as_the_rows_are_told_apart_by_their_order() -> None:
    """Where mod2's cells keep their names, names alone do not tell rows from columns, their order does."""
    prediction, solution = files("match_modality", (True, True), (True, True))
    shuffled = [ROWS[k] for k in solution.uns["pairing_ix"].astype(int)]
    prediction.var_names = solution.var_names = shuffled
    assert outcome("match_modality", prediction, solution) == "scored"
    assert outcome("match_modality", prediction.T.copy(), solution) == "transposed"
    prediction.var_names = solution.var_names = ROWS
    assert outcome("match_modality", prediction.T.copy(), solution) == "scored"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("which", [0, 1])
def test_a_cell_that_is_there_twice_is_named(task, which) -> None:
    both = files(task, (True, True), (True, True))
    prediction, solution = both
    both[which].obs_names = ["cell1", *ROWS[1:]]
    assert outcome(task, prediction, solution) == "twice"
    with pytest.raises(ValueError, match=f"'cell1' twice in the {('prediction', 'solution')[which]}"):
        TASK[task].check(prediction, solution)
    prediction.obs_names = solution.obs_names  # as the message says
    assert outcome(task, prediction, solution) == "scored"


@pytest.mark.parametrize("task", TASKS)
def test_what_messages_advise_works(task) -> None:
    right, solution = files(task, (True, True), (True, True))
    moved = right[::-1].copy()
    assert outcome(task, moved, solution) == "another order"
    assert outcome(task, moved[solution.obs_names].copy(), solution) == "scored"
    assert outcome(task, right.T.copy(), solution) == "transposed"
    assert outcome(task, right.T.copy().T.copy(), solution) == "scored"
    other = right.copy()
    other.obs_names = [f"{name}-1" for name in ROWS]
    assert outcome(task, other, solution) == "are not the solution's"
    assert outcome(task, AnnData(other.X), solution) == "scored"
    other.obs_names = solution.obs_names
    assert outcome(task, other, solution) == "scored"
    if task != "joint_embedding":
        moved = right[:, ::-1].copy()
        assert outcome(task, moved, solution) == "another order"
        assert outcome(task, moved[:, solution.var_names].copy(), solution) == "scored"
