"""Hydra's command line: its options beside the overrides, and its parser on Python 3.14."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence

VALUED = "--config-dir -cd --package -p --cfg -c"
# of Hydra's own not those that name another first file, or a pickle to run again
OPTIONS = f"{VALUED} --info -i --help -h --hydra-help --version --resolve --run -r --multirun -m"
OPTIONS += " --shell-completion -sc"
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


@contextlib.contextmanager
def lazy_help() -> Iterator[None]:
    """Let the help of an argument be something other than a text.

    From Python 3.14 on, argparse formats the help of every argument as it is added. The help of Hydra 1.3's
    ``--shell-completion`` is an object that becomes a text when it is shown, so that every command would end
    in "badly formed help string". Texts are checked as before. Older Pythons have no such check.
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


def sorted_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's options with their values, and overrides: it takes them in this order alone.

    Raises
    ------
    ValueError : another option, or one that is not written in full.
    """
    options, overrides, rest = [], [], iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        name, given, value = argument.partition("=")
        if name not in OPTIONS.split():
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
