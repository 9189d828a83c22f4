"""Submissions: predictions of a method from outside, packed with a card, and scored anew by the suite."""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from anndata import AnnData
from omegaconf import OmegaConf
from scipy.sparse import csr_matrix

from scmobench.experiment.archive import Card, pack, unpack
from scmobench.experiment.config import compose, digest
from scmobench.experiment.evaluate import evaluate, intervals
from scmobench.experiment.exchange import read_predictions
from scmobench.experiment.loader import one_line
from scmobench.experiment.plan import Plan
from scmobench.experiment.records import prediction_hash, versions
from scmobench.experiment.run import sizes
from scmobench.machine.files import TEMPORARY

EXTERNAL = "external"
ROWS = 1000  # that are compared at once
COMMAND = "scmobench leaderboard --submissions FOLDER"


def submit(card: Card, predictions: Mapping[int, Path], out: Path) -> Path:
    """Pack predictions by seed, once they are known to fit the suite's cells. Returns the archive.

    The card's data hash is set to that of the suite's cells. Raises FileNotFoundError if there is no such
    prediction, and ValueError for one that could not be scored; the message says what to change.
    """
    plan = _plan(card)
    _checked(plan, predictions)
    return pack(out, replace(card, data_hash=plan.cells.hash), predictions)


def score_folder(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Score every archive (``*.zip``) in a folder; a line on standard error names its other files.

    Returns records of their predictions, and a line for each archive that is refused. One does not stop the
    others. Raises FileNotFoundError if there is no such folder, or no archive in it.
    """
    present = sorted(Path(folder).glob("*"))
    archives = [path for path in present if path.suffix.lower() == ".zip"]
    if not archives:
        raise FileNotFoundError(
            f"expected archives of `scmobench submit` (*.zip) in {folder}, found none: name their folder"
        )
    if others := [repr(path.name) for path in present if path not in archives]:
        print(f"ignored: {', '.join(others)}", file=sys.stderr)
    records, refused = [], []
    plans: dict[tuple[str, ...], Plan] = {}
    homes: dict[str, Path] = {}  # of runs and of predictions, by their description
    for path in archives:
        try:
            fresh = scored(path, plans)
            held = [one for record in fresh for one in _descriptions(record)]
            if again := next((one for one in held if one in homes), ""):
                raise ValueError(f"{homes[again].name!r} holds {again} already: leave out one of them")
            homes |= dict.fromkeys(held, path)
            records += fresh
        except Exception as error:  # whatever an archive holds, the others are scored
            refused.append(f"{path.name!r} is refused: {one_line(error)}")
    return records, refused


def scored(path: Path, plans: dict[tuple[str, ...], Plan]) -> list[dict[str, Any]]:
    """Records of the predictions in an archive, one a seed.

    ``plans`` keeps the problems that are loaded, for the next archive. Raises ValueError for an archive that
    is refused.
    """
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        card, files = unpack(path, Path(folder))
        problem = (card.task, card.dataset, card.direction)
        plan = plans[problem] = plans.get(problem) or _plan(card)
        if card.data_hash != plan.cells.hash:
            ours, theirs = plan.cells.hash[:12], card.data_hash[:12] or "none"
            raise ValueError(
                f"expected predictions of the cells of {card.dataset} with hash {ours}, found {theirs} on "
                "the card: predict the suite's cells, and submit again"
            )
        answers = _checked(plan, files)
    return [_record(plan, card, seed, *answers[seed]) for seed in sorted(answers)]


def _plan(card: Card) -> Plan:
    return Plan(compose([f"task={card.task}", f"dataset={card.dataset}", f"direction={card.direction}"]))


def _checked(plan: Plan, files: Mapping[int, Path]) -> dict[int, tuple[AnnData, str]]:
    """Predictions by seed as the metrics take them, and the hashes of their values."""
    answers: dict[int, tuple[AnnData, str]] = {}
    for seed, path in files.items():
        try:
            (found,) = read_predictions(plan.problem.solution, path)
            answer = plan.task.check(found, plan.problem.solution)[0]
            hashed = prediction_hash(answer)
            answers[seed] = answer, hashed
        except ValueError as error:
            told = str(error).replace(str(path), path.name)
            raise ValueError(told if path.name in told else f"{path.name}: {told}") from error
        if holds_solution(answers[seed][0], plan.problem.solution):
            raise ValueError(
                f"{path.name}: expected what a method predicts, found the solution's own values: "
                "give the file of the prediction"
            )
        if twins := [files[other].name for other in answers if other != seed and answers[other][1] == hashed]:
            raise ValueError(
                f"expected another prediction for each seed, found the same in {twins[0]} and {path.name}: "
                "a deterministic method has one seed, so give one file"
            )
    return answers


def holds_solution(prediction: AnnData, solution: AnnData) -> bool:
    """Whether a prediction is the solution in every value, as if one file was taken for the other."""
    one, other = prediction.X, solution.X
    if one is None or other is None or one.shape != other.shape:
        return False
    blocks = (slice(start, start + ROWS) for start in range(0, one.shape[0], ROWS))
    return all(abs(csr_matrix(one[rows]) - csr_matrix(other[rows])).max() == 0 for rows in blocks)


def _descriptions(record: Mapping[str, Any]) -> list[str]:
    """What no other archive may hold: this seed, and the same prediction as another seed."""
    what = " ".join(record[key] for key in ("task", "dataset", "subtask", "method"))
    return [f"{what} seed {record['seed']}", f"{what} prediction {record['prediction_hash'][:16]}"]


def _record(plan: Plan, card: Card, seed: int, prediction: AnnData, hashed: str) -> dict[str, Any]:
    """A record as that of a run, without what only a run can tell: settings, time, memory."""
    task, problem = plan.task, plan.problem
    scores = evaluate(task.name, prediction, problem.solution)
    return (
        plan.attempt
        | {
            "status": "ok",
            "message": "",
            "kind": EXTERNAL,
            "source": EXTERNAL,
            "command": COMMAND,
            "dataset": plan.cells.name,
            "subtask": problem.data.subtask,
            "method": card.name,
            "seed": seed,
            "config": {"task": OmegaConf.to_container(plan.cfg.task, resolve=True), "model": None},
            "config_hash": digest(asdict(card)),
            "data_hash": plan.cells.hash,
            "normalization": dict(problem.normalization),
            "protocol": problem.solution.uns.get("protocol", ""),
            "transductive": card.transductive,
            "label_supervised": card.label_supervised,
            "prediction_hash": hashed,
            "scores": {name: asdict(score) for name, score in scores.items()},
            "interval": intervals(task.name, prediction, problem.solution),
            "report": {key: getattr(card, key) for key in ("authors", "description", "licence", "link")},
            "versions": versions(),
        }
        | sizes(problem)
    )
