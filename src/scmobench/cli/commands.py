"""What each command does. Heavy packages are imported by the command that needs them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scmobench.machine.files import file_name

if TYPE_CHECKING:
    from anndata import AnnData

COMMITTED = [Path("results/records")]


def run(options: argparse.Namespace) -> None:
    from scmobench.experiment.application import launch

    try:
        launch(options.arguments)
    except KeyboardInterrupt:
        raise SystemExit("scmobench: interrupted; finished runs stay, the same command goes on") from None


def _checked(task: str, solution: Path, *predictions: Path) -> list[tuple[AnnData, AnnData]]:
    """Each prediction with the solution, as they are scored."""
    from scmobench.data.foreign import read_scored
    from scmobench.experiment.config import build, compose

    given, *answers = read_scored(solution, *predictions)
    found = build(compose([f"task={task}"]).task)
    return [found.check(answer, given) for answer in answers]


def score(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from scmobench.experiment.evaluate import evaluate

    (both,) = _checked(options.task, options.solution, options.prediction)
    scores = evaluate(options.task, *both)
    print(json.dumps({name: asdict(score) for name, score in scores.items()}, indent=1))


def compare(options: argparse.Namespace) -> None:
    from scmobench.experiment.evaluate import paired_test, primary

    (first, solution), (second, _) = _checked(options.task, options.solution, *options.predictions)
    found = paired_test(options.task, first, second, solution)
    print(json.dumps({"metric": primary(options.task).name} | found._asdict(), indent=1))


def leaderboard(options: argparse.Namespace) -> None:
    from scmobench.experiment import kept
    from scmobench.leaderboard import comparison
    from scmobench.leaderboard import write as leaderboard

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
        print(leaderboard.paper_table(found))
    if options.readme and not options.readme.is_file():
        raise FileNotFoundError(f"expected a file with the tables' markers at {options.readme}, found none")
    if out.exists() and not out.is_dir():
        raise ValueError(f"expected a folder for the tables at {out}, found a file: name another by --out")
    external, refused = _submitted(options.submissions)
    paths = leaderboard.leaderboard(
        [*found, *external], out, readme=options.readme, check=options.check, methods=options.methods
    )
    print(*(f"{'current' if options.check else 'written'}: {path}" for path in paths), sep="\n")
    if refused:
        raise SystemExit(
            "\n".join([*refused, f"scmobench: {len(refused)} submissions are refused, see above"])
        )


def _submitted(folder: Path | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Records of submissions, and why some are refused."""
    if folder is None:
        return [], []
    from scmobench.experiment.submission import score_folder

    return score_folder(folder)


def submit(options: argparse.Namespace) -> None:
    from dataclasses import fields

    from scmobench.experiment.card import Card
    from scmobench.experiment.submission import submit

    given = {f.name: getattr(options, f.name) for f in fields(Card) if hasattr(options, f.name)}
    seeds = options.seeds or list(range(len(options.predictions)))
    given_seeds, count = sorted(set(seeds)), len(options.predictions)
    if not len(given_seeds) == len(seeds) == count or given_seeds[0] < 0:
        raise ValueError(f"expected {count} different seeds from 0 on, one a prediction, found {seeds}")
    card = Card(**given)
    parts = (card.name, card.task, card.dataset, card.direction)
    out = options.out or Path(file_name("-".join(parts), ".zip"))
    print(f"written: {submit(card, dict(zip(seeds, options.predictions, strict=True)), out)}")


def _ours(folder: Path) -> Path:
    """``results/records`` of the checkout, from every folder that the command runs in."""
    from scmobench.experiment.config import conf_dir

    ours = conf_dir().parent / folder
    return ours if folder in COMMITTED and not folder.is_dir() and ours.is_dir() else folder


def figures(options: argparse.Namespace) -> None:
    from scmobench.figures.gallery import figures

    print(*(f"written: {path}" for path in figures(options.runs, options.out)), sep="\n")


def data(options: argparse.Namespace) -> None:
    from scmobench.data.source import Source
    from scmobench.experiment.config import build, compose, names

    if options.action == "list":
        print(*names("dataset"), sep="\n")
        return
    if not options.dataset:
        raise ValueError(f"expected a dataset after `data {options.action}`; see `scmobench data list`")
    if options.dataset not in names("dataset"):
        raise ValueError(f"no dataset {options.dataset!r}; there are {', '.join(names('dataset'))}")
    exports = options.action == "export"
    if exports and not options.out:
        raise ValueError("expected --out FOLDER, where `data export` writes the task's files")
    if not exports and (options.out or options.direction):
        raise ValueError("--out and --direction are of `data export`: leave them out")
    given = {"dataset": options.dataset, "task": options.task, "direction": options.direction}
    overrides = [*(f"{key}={value}" for key, value in given.items() if value), *options.override]
    if exports:
        from scmobench.experiment.export import export

        print(*export(overrides, options.out), sep="\n")
        return
    source = build(compose(overrides).dataset, Source)
    if options.action == "fetch":
        print(source.fetch() or f"{options.dataset}: nothing to fetch, it is made when it is asked for")
    elif options.action == "check":
        print(f"{options.dataset}: ok, sha256 {source.load().hash}")
    else:
        print(json.dumps(source.describe(), indent=1, default=str))


def validate(options: argparse.Namespace) -> None:
    from scmobench.experiment.validate import validate, validate_all

    if options.override or options.config_dir:
        print(validate(options.override, options.config_dir))
    else:
        validate_all()
