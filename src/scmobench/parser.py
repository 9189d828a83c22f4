"""Hydra's own options on Python 3.14."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator


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
