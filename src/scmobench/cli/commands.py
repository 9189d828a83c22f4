"""What each command does. Heavy packages are imported by the command that needs them."""

import argparse
import json
from pathlib import Path
from typing import Any

from scmobench.machine.files import file_name

COMMITTED = [Path("results/records")]
USAGE = """\
usage: scmobench run [-m] [-q] [--config-dir FOLDER] NAME=VALUE ...

Make one run or, with -m, a run for each combination of the listed values.

  scmobench run model=knn dataset=mini_cite
  scmobench run model=scmognn dataset=mini_cite task=joint_embedding seed=1
  scmobench run model=knn model.predict_modality.k=50          another setting
  scmobench run -m model=knn,svd_linear seed=0,1,2             six runs
  scmobench run sweep=predict_modality dataset=mini_cite       a whole table
  scmobench run dataset=own dataset.h5mu=mine.h5mu model=knn   your own cells

  task=      predict_modality (default), match_modality, joint_embedding
  model=     one of `scmobench models`        dataset=    one of `scmobench data list`
  direction= from_gex or to_gex               seed=       0, 1, 2 ...
  runs=      folder of the results: runs      force=true  make a finished run again
  ablation=, ensemble=, sweep=, trainer.max_epochs=, launcher=: see conf/ and results/guide.md

  -m, --multirun       several runs              -q, --quiet   no progress, only the results
  --config-dir FOLDER  your own YAML             --cfg job     show the settings, run nothing
`scmobench validate NAME=VALUE ...` checks everything and stops before the fit."""


def run(options: argparse.Namespace) -> None:
    if {"--help", "-h"} & set(options.arguments):
        print(USAGE)
        return
    from scmobench.experiment.application import launch

    launch(options.arguments)


def _checked(task: str, solution: Path, *predictions: Path) -> list[tuple[Any, Any]]:
    """Each prediction with the solution, as they are scored; all are AnnData."""
    from scmobench.data.foreign import read_scored
    from scmobench.experiment.applicable import of_task
    from scmobench.experiment.config import build, compose

    given, *answers = read_scored(solution, *predictions)
    of_task(task, given)
    found = build(compose([f"task={task}"]).task)
    return [found.check(answer, given) for answer in answers]


def score(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from scmobench.experiment import display
    from scmobench.experiment.evaluate import evaluate, intervals

    (both,) = _checked(options.task, options.solution, options.prediction)
    scores = {name: asdict(score) for name, score in evaluate(options.task, *both).items()}
    if options.json:
        print(json.dumps(scores, indent=1))
    else:
        display.scores(options.task, scores, intervals(options.task, *both))


def compare(options: argparse.Namespace) -> None:
    from scmobench.experiment import display
    from scmobench.experiment.evaluate import paired_test, primary

    (first, solution), (second, _) = _checked(options.task, options.solution, *options.predictions)
    found = paired_test(options.task, first, second, solution)
    if options.json:
        print(json.dumps({"metric": primary(options.task).name} | found._asdict(), indent=1))
    else:
        print(display.verdict(primary(options.task), found, *map(str, options.predictions)))


def models(options: argparse.Namespace) -> None:
    from scmobench.experiment import catalogue
    from scmobench.experiment.config import headlines
    from scmobench.machine import terminal

    found, words = catalogue.models(options.task), headlines("model")
    short = {"predict_modality": "predict", "match_modality": "match", "joint_embedding": "embed"}
    rows = []
    for name, about in found.sort_values("kind", ascending=False, kind="stable").iterrows():
        tasks = " ".join(short.get(task, task) for task in about["tasks"])
        lacks = catalogue.lacks(name)
        rows.append((name, about["kind"], tasks, f"{words[name]}{lacks and f' ({lacks})'}"))
    terminal.table(rows, ("model", "kind", "tasks", "what it is"))


def metrics(options: argparse.Namespace) -> None:
    from scmobench.experiment import catalogue
    from scmobench.experiment.config import headlines
    from scmobench.experiment.display import ARROWS
    from scmobench.machine import terminal

    found = catalogue.metrics(options.task)
    words = {task: headlines(f"metric/{task}") for task in found["task"].unique()}
    rows = [(name, m["task"], ARROWS[m["direction"]], words[m["task"]][name]) for name, m in found.iterrows()]
    terminal.table(rows, ("metric", "task", "better", "what it is"))


def leaderboard(options: argparse.Namespace) -> None:
    from scmobench.experiment import kept
    from scmobench.leaderboard import comparison
    from scmobench.leaderboard import write as leaderboard
    from scmobench.leaderboard.published import paper_table

    if options.keep:
        _check_folder(options.keep, "records", "--keep")
    committed = options.records == COMMITTED
    if not committed:
        options.records = [_ours(folder) for folder in options.records]
        options.compare = options.compare and _ours(options.compare)
    found = kept.read(options.records)
    if not found:
        raise ValueError(
            f"expected records of runs (record.json, *.jsonl) below {', '.join(map(str, options.records))}, "
            "found none: name the folder that `scmobench run` wrote to (runs=)"
        )
    out = options.out or (options.records[0].parent if committed else options.records[0]) / "leaderboard"
    if options.keep and options.check:
        raise ValueError("--check writes nothing and --keep keeps records: give one of them")
    if options.keep:
        kept.keep(found, options.keep)
        found = kept.read([options.keep])
    if options.compare:
        print(comparison.verdict(comparison.compare(found, kept.read([options.compare]))))
    if options.paper:
        print(paper_table(found))
    if options.readme and not options.readme.is_file():
        raise FileNotFoundError(f"expected a file with the tables' markers at {options.readme}, found none")
    _check_folder(out, "tables")
    external, refused = [], []
    if options.submissions:
        from scmobench.experiment.submission import score_folder

        external, refused = score_folder(options.submissions)
    paths = leaderboard.leaderboard(
        [*found, *external], out, readme=options.readme, check=options.check, methods=options.methods
    )
    print(*(f"{'current' if options.check else 'written'}: {path}" for path in paths), sep="\n")
    if refused:
        raise SystemExit(
            "\n".join([*refused, f"scmobench: {len(refused)} submissions are refused, see above"])
        )


def submit(options: argparse.Namespace) -> None:
    from dataclasses import fields

    from scmobench.experiment.archive import Card
    from scmobench.experiment.submission import submit

    given = {f.name: getattr(options, f.name) for f in fields(Card) if hasattr(options, f.name)}
    seeds = options.seeds or list(range(len(options.predictions)))
    count = len(options.predictions)
    if not len({*seeds}) == len(seeds) == count or min(seeds) < 0:
        raise ValueError(f"expected {count} different seeds from 0 on, one a prediction, found {seeds}")
    card = Card(**given)
    usual = file_name("-".join((card.name, card.task, card.dataset, card.direction)), ".zip")
    out = options.out or Path(usual)
    if out.is_dir():
        raise ValueError(f"expected a file for the archive, found the folder {out}: give --out {out / usual}")
    print(f"written: {submit(card, dict(zip(seeds, options.predictions, strict=True)), out)}")


def _check_folder(out: Path, what: str, option: str = "--out") -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"expected a folder for the {what} at {out}, found a file: name another by {option}")


def _ours(folder: Path) -> Path:
    """``results/records`` of the checkout, from every folder that the command runs in."""
    from scmobench.experiment.config import conf_dir

    ours = conf_dir().parent / folder
    return ours if folder in COMMITTED and not folder.is_dir() and ours.is_dir() else folder


def figures(options: argparse.Namespace) -> None:
    _check_folder(options.out, "pictures")
    from scmobench.figures.gallery import figures

    print(*(f"written: {path}" for path in figures(options.runs, options.out)), sep="\n")


def validate(options: argparse.Namespace) -> None:
    from scmobench.experiment.validate import validate, validate_all

    if options.override or options.config_dir:
        print(validate(options.override, options.config_dir))
    else:
        validate_all()
