"""Arguments of the command line."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from scmobench import __version__
from scmobench.cli import commands, datasets
from scmobench.cli.commands import COMMITTED
from scmobench.machine.files import path_of

TASKS = ("predict_modality", "match_modality", "joint_embedding")
Add = Callable[..., Any]
EXAMPLES = {
    "models": "scmobench models match_modality",
    "metrics": "scmobench metrics joint_embedding",
    "data": """\
scmobench data list                         every data set, and whether its files are at hand
scmobench data describe mini_cite           cells, features, batches, source and licence
scmobench data fetch mini_cite              download its files
scmobench data check own dataset.h5ad=mine.h5ad dataset.batch=donor     can your cells be used?
scmobench data export tiny_cite --out cells                             inputs and solution as h5ad""",
    "score": "scmobench score --task predict_modality --prediction mine.h5ad --solution cells/solution.h5ad",
    "compare": """\
scmobench compare --task predict_modality --predictions a.h5ad b.h5ad \\
  --solution cells/solution.h5ad""",
    "leaderboard": """\
scmobench leaderboard --records runs --out board                   your runs
scmobench leaderboard --records runs results/records --out board   beside ours""",
    "figures": "scmobench figures --runs runs --out pictures",
    "submit": """\
scmobench submit a.h5ad --name "My method" --task predict_modality --dataset tiny_cite \\
  --authors "A. Author" --description "ridge regression" --licence MIT --out mine.zip""",
    "validate": "scmobench validate model=scmognn dataset=tiny_cite",
}


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, with the word that was probably meant."""

    def error(self, message: str) -> NoReturn:
        from scmobench.experiment.advice import nearest

        if found := re.search(r"argument (.*): invalid choice: '(.*)' \(choose from (.*)\)", message):
            known = re.findall(r"\w+", found[3])
            message = f"expected {found[1]} to be one of {', '.join(known)}, found {found[2]!r}"
            message += nearest(found[2], known)
        self.exit(2, f"scmobench: {message}; `{self.prog} --help` shows how to call it\n")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Options and overrides in any order; argparse itself wants all overrides in one place.

    Hydra reads the arguments of ``run``.
    """
    if arguments[:1] == ["run"]:
        return argparse.Namespace(command=commands.run, arguments=arguments[1:])
    parser = _parser()
    options, rest = parser.parse_known_args(arguments or ["--help"])
    if rest and not (hasattr(options, "override") and all("=" in o and o[0] != "-" for o in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.override += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scmobench",
        description="A reproducible benchmark of multimodal single-cell integration.",
        epilog="Begin with `scmobench run model=knn dataset=mini_cite`; --help of a command has examples.",
    )
    parser.add_argument("--version", action="version", version=f"scmobench {__version__}")
    choices = parser.add_subparsers(required=True, metavar="COMMAND")
    for arguments in COMMANDS:
        name = arguments.__name__.strip("_")
        made = choices.add_parser(name, help=arguments.__doc__, add_help=name != "run")
        made.description = f"{arguments.__doc__[:1].upper()}{arguments.__doc__[1:]}."
        made.epilog = f"examples:\n{EXAMPLES.get(name, '')}"
        made.formatter_class = argparse.RawDescriptionHelpFormatter
        made.set_defaults(command=datasets.data if name == "data" else getattr(commands, name))
        arguments(made.add_argument)
    return parser


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers as 0,1,2, found {text!r}") from None


CONFIG_DIR = ("--config-dir", "-cd")  # as Hydra calls it
FOLDER = {"type": path_of, "metavar": "FOLDER", "help": "as for run: your own YAML"}
H5AD = {"required": True, "type": path_of, "help": "h5ad in the competition's layout"}


def _run(add: Add) -> None:
    """make a run or, with -m, several: scmobench run model=knn dataset=mini_cite"""


def _models(add: Add) -> None:
    """list the methods and controls"""
    add("task", nargs="?", choices=TASKS, help="those of one task")


def _metrics(add: Add) -> None:
    """list the metrics"""
    add("task", nargs="?", choices=TASKS, help="those of one task")


def _score(add: Add) -> None:
    """score a prediction from any source against a solution"""
    add("--json", action="store_true", help="print JSON")
    add("--task", required=True, choices=TASKS)
    add("--prediction", **H5AD)
    add("--solution", **H5AD)


def _compare(add: Add) -> None:
    """test which of two predictions of the same cells is better"""
    add("--json", action="store_true", help="print JSON")
    add("--task", required=True, choices=TASKS[:2])
    add("--predictions", nargs=2, metavar=("A", "B"), **H5AD)
    add("--solution", **H5AD)


def _leaderboard(add: Add) -> None:
    """make the tables from records"""
    add(
        "--records",
        nargs="+",
        type=path_of,
        default=COMMITTED,
        help="folders of runs or of kept records (default: results/records)",
    )
    add("--out", type=path_of, help="folder of the tables (default: RECORDS/leaderboard)")
    add("--readme", type=path_of, help="also write the tables into this file, between its markers")
    add("--methods", type=path_of, help="also write the page of methods there")
    add("--check", action="store_true", help="write nothing; fail if a table is not current")
    add("--keep", type=path_of, metavar="FOLDER", help="first keep the records there, as JSON lines")
    add("--compare", type=path_of, metavar="FOLDER", help="compare with the records kept there")
    add("--submissions", type=path_of, metavar="FOLDER", help="also score the archives of `submit` there")
    add("--paper", action="store_true", help="print the tables of the scMoGNN paper beside runs on its data")


def _figures(add: Add) -> None:
    """draw cells from the predictions of your runs"""
    add("--runs", nargs="+", type=path_of, default=[Path("runs")], help="folders of runs (default: runs)")
    add(
        "--out",
        type=path_of,
        default=Path("runs/figures"),
        help="folder of the pictures (default: runs/figures)",
    )


def _submit(add: Add) -> None:
    """pack predictions of another tool for `leaderboard --submissions`"""
    add("predictions", nargs="+", type=path_of, help="h5ad in the competition's layout, one a seed")
    add("--name", required=True, help="name of the method in the tables")
    add("--task", required=True, choices=TASKS)
    add("--dataset", required=True, help="a name of `scmobench data list`")
    add("--direction", default="from_gex", help="from_gex (default) or to_gex")
    for text in ("authors", "description", "licence"):
        add(f"--{text}", required=True)
    add("--link", default="", help="https://… of a paper or of the code")
    add("--transductive", action="store_true", help="the fit saw the test cells' inputs")
    add("--label-supervised", action="store_true", help="the fit saw training cells' labels")
    add(
        "--seeds", type=_seeds, default=(), metavar="0,1,…", help="one for each prediction (default: 0, 1, …)"
    )
    add("--out", type=path_of, metavar="FILE", help="the archive (default: NAME-TASK-DATASET-DIRECTION.zip)")


def _data(add: Add) -> None:
    """list, fetch, check, describe or export data sets"""
    add("action", choices=("list", "fetch", "check", "describe", "export"), help="what to do")
    add("dataset", nargs="?", help="a name of `scmobench data list`")
    add("override", nargs="*", help="e.g. dataset.path=my/folder")
    add("--task", choices=TASKS, help="task of competition data or of an export (default: predict_modality)")
    add("--direction", help="export: from_gex (default) or to_gex")
    add("--out", type=path_of, metavar="FOLDER", help="export: folder of the inputs and of solution.h5ad")
    add(*CONFIG_DIR, **FOLDER)


def _validate(add: Add) -> None:
    """check everything that a run needs, and fit nothing"""
    add("override", nargs="*", help="as for run; none: all data sets and models")
    add(*CONFIG_DIR, **FOLDER)


COMMANDS = (_run, _models, _metrics, _data, _score, _compare, _leaderboard, _figures, _submit, _validate)
