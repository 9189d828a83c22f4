"""Deliberate faults, put into a copy of the code one at a time: the tests must catch each. `make faults`.

`python tests/faults.py WORDS` tries those whose kind and name have all of these words. The tables below hold,
under a file of the package and the tests that must fail: a name, the right text, the faulty text.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("src", "conf", "tests", "results", "benchmarks", "pyproject.toml", "README.md", "Makefile")
NO_TESTS = 5  # pytest's exit status where none is chosen


class Fault(NamedTuple):
    """What is wrong, in which file of the package; the tests; the right text there, and the faulty one."""

    kind: str
    file: str
    tests: str
    name: str
    right: str
    wrong: str


LEAKAGE = {
    ("types", "tasks"): [
        ("test inputs of a prediction reach fit", "return replace(self, test_mod1=None)", "return self"),
        ("test inputs of a matching reach fit", "test_mod1=None, test_mod2=None", "test_mod1=None"),
        ("test cells of an embedding reach fit", ".to_numpy()", ".to_numpy() | True"),
        ("labels reach every fit", "seen if label_supervised else replace(seen, labels=None)", "seen"),
    ],
    ("experiment/run", "own_models"): [
        ("training labels reach every predict", "replace(problem.data, labels=None)", "problem.data"),
        ("fit sees all that predict sees", ".for_fit(model.transductive, model.label_supervised)", ""),
    ],
    ("tasks/joint_embedding", "tasks"): [
        ("labels of test cells in an embedding", ".loc[train, known].copy()", "[known].copy()")
    ],
    ("tasks/predict_modality", "tasks"): [
        ("labels of test cells in a prediction", "labels=paired.obs.iloc[train][[", "labels=paired.obs[["),
        ("peaks of the target chosen on test cells", "_peaks(mod2.X[train])", "_peaks(mod2.X[test])"),
    ],
    ("tasks/match_modality", "tasks"): [
        ("labels of test cells in a matching", "labels = paired.obs.iloc[train][[", "labels = paired.obs[["),
        ("names of shuffled cells say which they are", "shuffled.obs_names = [f", "_ = [f"),
        ("test cells of a matching in their order", "rng.permutation(len(test))", "np.arange(len(test))"),
    ],
    ("tasks/base", "tasks"): [
        ("all labels in the inputs", 'paired.obs[["batch"]].copy()', "paired.obs.copy()"),
        ("normaliser fitted on all cells", "modality.X, kind, train)", "modality.X, kind, train | True)"),
    ],
    ("experiment/plan", "tuning"): [
        ("settings chosen on the test cells", "training_cells_split(paired) if", "paired if")
    ],
    ("experiment/plan", "api"): [
        ("settings are chosen on test cells in memory", " else paired", " and not self.paired else paired")
    ],
    ("tasks/predicted_types", "tuning"): [
        ("predicted types learn from test cells", "inputs[train], known", "inputs, types")
    ],
    ("training/validation", "validation"): [
        ("validation cells trained on", "np.setdiff1d(np.arange(n), held_out)", "np.arange(n)")
    ],
    ("models/prediction/networks", "mlp_rivals"): [
        ("markers chosen on validation cells", "cells.n_obs), held_out", "cells.n_obs), []"),
        ("validation cells of a regression trained on", "inputs.shape[0]), held_out", "inputs.shape[0]), []"),
    ],
    ("models/prediction/axx_mlp", "mlp_rivals"): [
        ("left-out folds trained on", "targets.shape[0]), held_out", "targets.shape[0]), []")
    ],
    ("models/scmognn/predict_network", "scmognn_predict"): [
        (
            "validation cells of the graph trained on",
            "np.arange(len(target)), held_out",
            "np.arange(len(target)), []",
        )
    ],
    ("models/matching/pair_networks", "models_matching"): [
        ("left-out batches trained on", "data.train_mod1.n_obs), cells", "data.train_mod1.n_obs), []")
    ],
}
PROVENANCE = {
    ("experiment/records", "code"): [
        ("a finished run of another version", 'version("scmobench")\n', 'version("scmobench") or True\n'),
        ("a finished run of other code", "items())", 'items() if key != "code")'),
        ("scores taken of other code", '"versions", "code")', '"versions")'),
        ("training of other code goes on", "fresh |= begun.read_text() != same", "begun.read_text()"),
    ],
    ("experiment/records", "records"): [
        ("a finished run of other data_hash", "items())", 'items() if key != "data_hash")'),
        ("a failed run counts as finished", ' == "ok" and record.keys()', " and record.keys()"),
        ("scores taken of other versions", '"versions", "code")', '"code")'),
        ("a run without its prediction counts", "if same and _readable(where / PREDICTION)", "if same"),
        (
            "hash of a prediction without places",
            "(matrix.indptr, matrix.indices, matrix.data) if",
            "(matrix.data,) if",
        ),
        ("other data in the same folder", ', identity["data_hash"][:8]]', "]"),
    ],
    ("experiment/records", "arithmetic records"): [
        ("a finished run of other arithmetic", "items())", 'items() if key != "arithmetic")')
    ],
    ("experiment/plan", "run"): [("seed not recorded", '"seed": cfg.seed,', '"seed": 0,')],
    ("experiment/plan", "config"): [
        ("length of training is no part of a run", '"precision", "max_epochs", ', '"precision", ')
    ],
    ("data/check", "data_check"): [
        ("hash without labels", "for column in sorted(obs.columns):", "for column in ():"),
        ("hash without names of features", ", *modality.var_names]", "]"),
        ("hash without values", '(X.indices, "<i4"), (X.data, "<f4"))', '(X.indices, "<i4"))'),
        ("hash without layers", "sorted(modality.layers)", "()"),
        ("hash without names of cells", "    add(obs.index)\n", ""),
    ],
    ("data/table", "foreign_cells"): [
        ("labels 1.1 and 1.10 are one type", "dtype=str, na_filter=False, ", "")
    ],
    ("data/annotated", "from_memory"): [
        ("whole numbers in X are counts", "elif counts", "elif counts and (modality.X.data % 1).any()")
    ],
    ("experiment/run", "own_models"): [
        ("a user's own code is no part of a run", "own_code(config, cfg.modules):", "{}:")
    ],
    ("experiment/plan", "tuning"): [
        ("a score on validation cells passes for one", '{"score_on": cfg.score_on}', "{}")
    ],
}
DEVIATIONS = {
    ("models/scmognn/match_network", "scmognn_match"): [
        ("targets of matching's decoders not detached", "mixtures[m].detach()", "mixtures[m]")
    ],
    ("models/scmognn/embed_network", "scmognn_embed"): [
        ("target of the embedding's decoder not detached", "mixture.detach()", "mixture"),
        ("short batches weigh less", "self.batch_size * block.norm(dim=1).mean()", "block.norm(dim=1).sum()"),
        ("layer weights decay", '"weight_decay": 0.0}', '"weight_decay": self.settings.weight_decay}'),
    ],
    ("training/best_epoch", "fit"): [("the best epoch by reference", "value.clone()", "value")],
    ("models/prediction/guanlab_krr", "guanlab_krr"): [
        ("one training batch halves the cells", " < 2 else None", " < 0 else None"),
        ("clip before the mean", "total / n), *self.bounds)", "total), *self.bounds) / n"),
    ],
    ("models/prediction/ls_lab", "ls_lab"): [
        ("normalisation after the activation", "norm_first=True", "batch_norm=True"),
        ("weights of all networks decay", "self.weight_decay if place else 0.0", "self.weight_decay"),
    ],
    ("models/prediction/boosting", "boosting"): [
        ("leaves are not shrunk", "np.bincount(leaf) + self.l2", "np.bincount(leaf)")
    ],
    ("models/matching/assignment", "assignment"): [
        ("one pair too few", "np.ceil(quantile * (n - 1))", "np.ceil(quantile * n)")
    ],
    ("models/matching/shared_neighbours", "shared_neighbours"): [
        ("a cell is no neighbour of itself", "part] = np.inf", "part] = -np.inf")
    ],
    ("nn/generator", "generator"): [
        ("words of a mask are drawn again", "BLOCK + 1 - at, at", "BLOCK + 1 - at, at - 1"),
        ("the half of a number at the end of a block is lost", "at = words[at]", "at = 0"),
    ],
    ("experiment/plan", "config"): [
        ("features in a step of a GPU as on a CPU", '== "cpu" else 0', '== "cpu" else features')
    ],
    ("nn/conv", "published_equations"): [
        ("published aggregation without the cell itself", "[:, None] + 1", "[:, None].clamp(min=1)"),
        ("published aggregation with two weights", "self.itself.weight = self.neighbours.weight", "pass"),
    ],
    ("models/matching/pruned", "assignment models_matching"): [
        ("ties at the threshold dropped", "(chunk >= np.partition", "(chunk > np.partition")
    ],
    ("metrics/matching", "metrics_matching metrics_undefined"): [
        ("a row without weight is no number", "np.where(total > 0, total, 1.0)", "total"),
        ("ties are closer than the true match", "(closer + ties / 2)", "(closer + ties)"),
        ("tied pairs one after the other", "above + right / 2", "above + right"),
    ],
    ("metrics/trajectory", "metrics_undefined metrics_embedding"): [
        ("no root cell counts as 0 everywhere", "if embedding.protocol == PROTOCOL:", "if True:"),
        ("crowded points have neighbours", "crowded > TIED", "crowded < TIED"),
        ("axes that may be rotated give a root", "SAME_EIGENVALUE).any()", "-1).any()"),
    ],
    ("metrics/cell_cycle", "metrics_undefined metrics_embedding"): [
        ("an embedding without variance has a cell cycle", "if not varies.any():", "if False:"),
        ("dead dimensions kept", "if not varies.all() and", "if False and"),
    ],
    ("data/preprocess", "preprocess"): [
        ("log ratio without one added", "(logs) / X.shape[1]", "(logs) / np.maximum(np.diff(X.indptr), 1)"),
        ("median of all libraries, empty ones too", "training_sizes[training_sizes > 0]", "training_sizes"),
    ],
}
STATISTICS = {
    ("leaderboard/standings", "standings"): [
        ("sd biased", '(table["n"] - 1).where', 'table["n"].where'),
        ("ranks the other way", '"min": 1.0, "max": -1.0', '"min": -1.0, "max": 1.0'),
        ("controls have ranks", ' & method & table["sign"]', ' & table["sign"]'),
        ("seeds without a score not told", '[table["n"] == table["tried"], ', '[table["n"] > 0, '),
        (
            "the worst control is the floor",
            'loss.where(trivial).groupby(column).transform("min")',
            'loss.where(trivial).groupby(column).transform("max")',
        ),
        ("scaled cut at 0 and 1", "(floor - top > TIE))", "(floor - top > TIE)).clip(0, 1)"),
        ("least memory", 'else "max") for cost', 'else "min") for cost'),
    ],
    ("leaderboard/evidence", "evidence standings"): [
        ("places after ties not left out", "1 + len(order) - len(left)", "group"),
        ("all in one group", "np.cumsum(corrected < LEVEL)", "np.cumsum(corrected < 0)"),
        ("one track for all", "(track == supervised)", "(track < 2)"),
        ("variants take ranks", "(~variant & (track", "((track"),
        ("untested methods tie", "(printed[others] == printed[leader])", "(printed[others] != '')"),
        ("a gap of squared errors", "np.sqrt(a) + np.sqrt(b)", "1 + 0 * a"),
        ("roots are tested", "self.by_seed**2 if self.root", "self.by_seed if self.root"),
        ("two seeds are enough", "FEWEST_SEEDS = 3", "FEWEST_SEEDS = 1"),
        ("seeds of other seeds", "np.where(used, x", "np.where(~used, x"),
    ],
    ("metrics/paired", "paired"): [
        ("no freedom lost", "np.subtract(n, 1)", "np.multiply(n, 100)"),
        ("all intervals of 90 %", "CONFIDENCE = 0.95", "CONFIDENCE = 0.9"),
        ("not corrected", "np.arange(len(tested), 0, -1)", "1"),
        ("corrected p-values out of order", "np.maximum.accumulate(steps)", "steps"),
    ],
    ("experiment/cell_differences", "evidence"): [
        ("pairs of any cells", 'names = ("task", "dataset", "subtask", "data_hash",', 'names = ("task",'),
        ("kept pairs of other predictions", 'r.get("prediction_hash")] for r in runs)', '""] for r in runs)'),
    ],
    ("leaderboard/comparison", "standings"): [
        ("sd of the kept seeds biased", '["reference"].std()', '["reference"].std(ddof=0)'),
        ("reproduced within two sd", 'means["sd"].clip', '2 * means["sd"].clip'),
    ],
    ("experiment/evaluate", "evaluate"): [
        ("an interval of 90 %", "(0.025, 0.975)", "(0.05, 0.95)"),
        ("an interval of squared errors", "np.sqrt(means) if metric.root else means", "means"),
        ("a difference the other way", "totals[0] - totals[1], low", "totals[1] - totals[0], low"),
    ],
    ("leaderboard/roster", "standings"): [
        ("overall of the subtasks that ended", " if len(same) == subtasks]", "]"),
        ("configurations averaged", '(runs["config_hash"] != default)', '(runs["config_hash"] == "")'),
        ("mean of six over what each run has", 'groupby(method).transform("any")', "eq(True)"),
        ("metrics of any control count", '(rows["kind"] != "control") & ~', "~"),
        ("the first attempt counts", 'keep="last"', 'keep="first"'),
    ],
}
SUBMISSIONS = {
    ("experiment/archive", "submission"): [
        ("a file of an archive may lead out of it", 'path.is_absolute() or ".."', '".."'),
        ("a link in an archive", "kind == stat.S_IFLNK", "kind == stat.S_IFSOCK"),
        ("a file twice in an archive", "if times > 1", "if times > 2"),
        ("a declared size of an archive is believed", "if declared > LARGEST:", "if declared < 0:"),
        ("a long list of files is read", "> DIRECTORY:", "> LARGEST:"),
        ("a submission takes the name of a method", "if self.name.casefold() in", "if self.name in {} and"),
    ],
    ("experiment/submission", "submission"): [
        (
            "predictions of other cells are scored",
            "card.data_hash != plan.cells.hash:",
            "not card.data_hash:",
        ),
        ("a submitted prediction is unchecked", "plan.task.check(found, plan.problem.solution)[0]", "found"),
        ("the solution is scored as a prediction", "if holds_solution(", "if False and holds_solution("),
        ("two archives of one method are averaged", 'if one in homes), "")', 'if False), "")'),
    ],
}
PICTURES = {
    ("figures/answers", "gallery"): [
        ("a picture of another prediction than the recorded one", ' == run.get("prediction_hash")', ""),
        ("a picture of other cells", 'run["data_hash"] == plan.cells.hash', 'run["data_hash"]'),
    ],
    ("figures/cells", "cells"): [
        ("features that hardly any cell has are named", 'r["detected"] >= DETECTED', 'r["detected"] >= 0'),
        ("success by another cell's type", "np.argsort(pairing(solution))", "pairing(solution)"),
    ],
}
KINDS = {"leakage": LEAKAGE, "provenance": PROVENANCE, "deviations": DEVIATIONS, "statistics": STATISTICS}
KINDS |= {"submissions": SUBMISSIONS, "pictures": PICTURES}
FAULTS = [
    Fault(kind, file, tests, *fault)
    for kind, table in KINDS.items()
    for (file, tests), faults in table.items()
    for fault in faults
]


def faulty(fault: Fault, root: Path) -> str:
    """The text of the file with the fault in it.

    Raises
    ------
    ValueError : the right text is not there once: the table is not current.
    """
    text = (root / "src" / "scmobench" / f"{fault.file}.py").read_text()
    if text.count(fault.right) != 1:
        raise ValueError(f"{fault.name}: expected once in {fault.file}.py, found {text.count(fault.right)}")
    return text.replace(fault.right, fault.wrong)


def files_of(fault: Fault, root: Path) -> list[str]:
    """The files of the tests that should catch it, wherever below tests/ they are."""
    return [str(file) for name in fault.tests.split() for file in (root / "tests").rglob(f"test_{name}.py")]


def passes(copy: Path, *chosen: str) -> bool:
    """Whether these tests pass in the copy, as far as the first that fails.

    Raises
    ------
    ValueError : they could not run.
    """
    line = [sys.executable, "-m", "pytest", "-x", "-q", *chosen]
    variables = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(line, cwd=copy, env=variables, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, NO_TESTS):
        raise ValueError(f"pytest ended with {done.returncode}: {done.stdout[-500:]}")
    return done.returncode != 1


def caught(fault: Fault, copy: Path) -> bool:
    """Whether a test of those named fails with the fault.

    Raises
    ------
    ValueError : the table is not current, or the tests could not run.
    """
    path = copy / "src" / "scmobench" / f"{fault.file}.py"
    right = path.read_text()
    path.write_text(faulty(fault, copy))
    try:
        return not passes(copy, *files_of(fault, copy))
    finally:
        path.write_text(right)


def main(words: list[str]) -> None:
    """Try the faults whose kind and name have all these words; exit 1 where one is not caught."""
    chosen = [f for f in FAULTS if all(word in f"{f.kind}: {f.name}" for word in words)]
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in NEEDED:
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, copy / name)
        for fault in chosen:
            try:
                said = "caught" if caught(fault, copy) else "MISSED"
            except ValueError as error:
                said = f"NOT TRIED ({error})"
            wrong += [fault] * (said != "caught")
            print(f"{fault.kind}: {fault.name}: {said}", flush=True)
        # pytest keeps a list of the tests that failed last
        if not passes(copy, "--last-failed", "--last-failed-no-failures=none"):
            sys.exit("expected tests that pass without a fault, found one that does not: see make test")
    print(f"{len(chosen) - len(wrong)} of {len(chosen)} faults caught")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
