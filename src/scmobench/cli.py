"""The command line: run, score, compare, leaderboard, data, validate.

Each command imports the heavy packages that it needs, so that help comes at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scmobench import __version__
from scmobench.machine.arithmetic import prepare

if TYPE_CHECKING:
    from anndata import AnnData

TASKS = ("predict_modality", "match_modality", "joint_embedding")
COMMITTED = [Path("results/records")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script ``scmobench``."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        prepare(arguments)
    except ValueError as error:
        raise SystemExit(f"scmobench: {error}") from error
    if arguments[:1] == ["run"]:
        options = argparse.Namespace(command=_run, arguments=arguments[1:])
    else:
        options = _parsed(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning)  # of libraries about themselves
    warnings.filterwarnings("ignore", message=".* names are not unique")  # the suite's checks say it
    try:
        options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from scmobench.experiment.loader import USER_ERRORS, one_line

        if os.environ.get("SCMOBENCH_TRACEBACK") or not isinstance(error, USER_ERRORS):
            raise
        raise SystemExit(f"scmobench: {one_line(error)}") from error


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """Options and overrides in any order; argparse itself wants all overrides in one place."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not (hasattr(options, "override") and all("=" in o and o[0] != "-" for o in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.override += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scmobench", description="A reproducible benchmark of multimodal single-cell integration."
    )
    parser.add_argument("--version", action="version", version=f"scmobench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[Any], None], words: str) -> Callable[..., Any]:
        made = commands.add_parser(name, help=words, add_help=name != "run")
        made.set_defaults(command=command)
        return made.add_argument

    def path(text: str) -> Path:
        return Path(text).expanduser()

    h5ad = {"required": True, "type": path, "help": "h5ad in the competition's layout"}
    add("run", _run, "run an experiment or, with -m, a sweep: scmobench run task=… dataset=… model=… seed=…")

    score = add("score", _score, "score a prediction from any source against a solution, as JSON")
    score("--task", required=True, choices=TASKS)
    score("--prediction", **h5ad)
    score("--solution", **h5ad)

    compare = add("compare", _compare, "test two predictions of the same cells (Wilcoxon), as JSON")
    compare("--task", required=True, choices=TASKS[:2])
    compare("--predictions", nargs=2, metavar=("A", "B"), **h5ad)
    compare("--solution", **h5ad)

    board = add("leaderboard", _leaderboard, "make the tables from records")
    board("--records", nargs="+", type=path, default=COMMITTED, help="folders of runs or of kept records")
    board("--out", type=path, help="folder of the tables (default: RECORDS/leaderboard)")
    board("--readme", type=path, help="also write the tables into this file, between its markers")
    board("--methods", type=path, help="also write the page of methods there")
    board("--check", action="store_true", help="write nothing; fail if a table is not current")
    board("--keep", type=path, metavar="FOLDER", help="first keep the records there, as JSON lines")
    board("--compare", type=path, metavar="FOLDER", help="compare with the records kept there")

    data = add("data", _data, "list, fetch, check, describe or export data sets")
    data("action", choices=("list", "fetch", "check", "describe", "export"), help="what to do")
    data("dataset", nargs="?", help="a name of `scmobench data list`")
    data("override", nargs="*", help="e.g. dataset.path=my/folder")
    data("--task", choices=TASKS, help="task of competition data or of an export (default: predict_modality)")
    data("--direction", help="export: from_gex (default) or to_gex")
    data("--out", type=path, metavar="FOLDER", help="export: folder of the inputs and of solution.h5ad")

    validate = add("validate", _validate, "build everything that a run would need, and fit nothing")
    validate("override", nargs="*", help="as for run; none: all data sets and models")
    validate("--config-dir", type=path, metavar="FOLDER", help="as for run: your own YAML")
    return parser


def _run(options: argparse.Namespace) -> None:
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


def _score(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from scmobench.experiment.evaluate import evaluate

    (both,) = _checked(options.task, options.solution, options.prediction)
    scores = evaluate(options.task, *both)
    print(json.dumps({name: asdict(score) for name, score in scores.items()}, indent=1))


def _compare(options: argparse.Namespace) -> None:
    from scmobench.experiment.evaluate import paired_test, primary

    (first, solution), (second, _) = _checked(options.task, options.solution, *options.predictions)
    found = paired_test(options.task, first, second, solution)
    print(json.dumps({"metric": primary(options.task).name} | found._asdict(), indent=1))


def _leaderboard(options: argparse.Namespace) -> None:
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
    if options.readme and not options.readme.is_file():
        raise FileNotFoundError(f"expected a file with the tables' markers at {options.readme}, found none")
    if out.exists() and not out.is_dir():
        raise ValueError(f"expected a folder for the tables at {out}, found a file: name another by --out")
    paths = leaderboard.leaderboard(
        found, out, readme=options.readme, check=options.check, methods=options.methods
    )
    print(*(f"{'current' if options.check else 'written'}: {path}" for path in paths), sep="\n")


def _ours(folder: Path) -> Path:
    """``results/records`` of the checkout, from every folder that the command runs in."""
    from scmobench.experiment.config import conf_dir

    ours = conf_dir().parent / folder
    return ours if folder in COMMITTED and not folder.is_dir() and ours.is_dir() else folder


def _data(options: argparse.Namespace) -> None:
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


def _validate(options: argparse.Namespace) -> None:
    from scmobench.experiment.validate import validate, validate_all

    if options.override or options.config_dir:
        print(validate(options.override, options.config_dir))
    else:
        validate_all()
