"""Arguments of ``scmobench run``: Hydra's options, and overrides as people type them."""

import argparse
import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

VALUED = "--config-dir -cd --package -p --cfg -c"
# all options of Hydra except those that name another first file, or a pickle to run again
OPTIONS = f"{VALUED} --info -i --help -h --hydra-help --version --resolve --run -r --multirun -m"
OPTIONS += " --shell-completion -sc"
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
# settings of any data set that are text
DATASET = (
    "name source licence organism empty_features empty_cells batch cell_type layer gex mod2 h5ad h5mu tenx "
    "kind labels folder path env dataset task url protocol"
)
TEXT = ("runs", *(f"dataset.{key}" for key in DATASET.split()))


def key(override: str) -> str:
    """The setting that an override changes: ``seed`` of ``seed=3``, ``+seed=3`` and ``~seed``."""
    return override.lstrip("+~").partition("=")[0]


def group(override: str) -> str:
    """The first part of that setting: ``model`` of ``model=knn`` and ``+model.predict_modality.k=5``."""
    return key(override).replace("/", ".").partition(".")[0]


def sorted_arguments(arguments: Sequence[str], settings: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Hydra's options with their values, and the overrides, because Hydra takes them in this order only.

    ``settings`` are names that people may take for options. Raises ValueError for another option, or an
    abbreviated one.
    """
    options, overrides, rest = [], [], iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        name, given, value = argument.partition("=")
        if name not in OPTIONS.split():
            if (setting := name.lstrip("-")) in settings:
                value = value if given else next(rest, "...")
                raise ValueError(f"expected settings without dashes, found {name}: write {setting}={value}")
            raise ValueError(
                f"expected one of the options {OPTIONS}, found {name}: leave it out; your own YAML goes into "
                "a folder named by --config-dir"
            )
        options += [name, os.path.expanduser(value)] if given else [name]
        if name in VALUED.split() and not given:
            options += [os.path.expanduser(value)] if (value := next(rest, "")) else []
        elif name in ("--info", "-i") and not given:  # its value may be left out
            value = next(rest, "")
            options.append(value if value in INFO else "all")
            overrides += [value] if value and value not in INFO else []
    return options, overrides


def as_text(overrides: Sequence[str]) -> list[str]:
    """The overrides, with quotes around the paths and names that Hydra would not read as text.

    Without quotes, Hydra's grammar refuses brackets, ``=``, ``~`` and accented letters in a value, and reads
    ``1_2`` as the number 12. Values that it reads as text, as null or as the list of a sweep stay as they
    are, unless a file has that whole name. A ``~`` at the start is the home folder.
    """
    parser = OverridesParser.create()
    return [_quoted(parser, override) for override in overrides]


def _quoted(parser: OverridesParser, override: str) -> str:
    place, given, value = override.partition("=")
    name = place.lstrip("+")
    if name == "direction":  # GEX→ADT, as the page prints it, and gex2adt
        return re.sub(r"\w+(→|2)\w+", lambda typed: typed[0].replace("→", "2").upper(), override)
    if not given or not (name in TEXT or (name.startswith("model.") and name.endswith(".pathway"))):
        return override
    with contextlib.suppress(HydraException):  # the grammar has no such value: the text is what was typed
        read = parser.parse_override(override)
        said = read.value()
        text = isinstance(said, str) or read.is_sweep_override()
        if said is None or said == value or (text and not os.path.exists(value)):
            return override
    return f"{place}={QuotedString(os.path.expanduser(value), Quote.single).with_quotes()}"


@contextlib.contextmanager
def lazy_help() -> Iterator[None]:
    """Let argparse accept help that is not a text.

    From Python 3.14 on, argparse formats the help of every argument as it is added. In Hydra 1.3 the help of
    ``--shell-completion`` is an object, so that every command would end in "badly formed help string".
    """
    check = getattr(argparse._ActionsContainer, "_check_help", None)
    if check is None:
        yield
        return

    def check_text(parser: argparse._ActionsContainer, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(parser, action)

    argparse._ActionsContainer._check_help = check_text
    try:
        yield
    finally:
        argparse._ActionsContainer._check_help = check


def quoted(value: str | Path) -> str:
    """A text given in Python as Hydra's grammar reads it."""
    if re.fullmatch(r"[a-z]+_[a-z]+|[A-Z]+2[A-Z]+", str(value)):
        return str(value)
    return QuotedString(str(value), Quote.single).with_quotes().replace("${", r"\${")  # ${ begins a reference
