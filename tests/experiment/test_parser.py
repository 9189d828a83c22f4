"""Hydra's options where argparse checks help texts as they are added (Python 3.14)."""

import argparse
import sys

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra

from scmobench.experiment.application import launch
from scmobench.experiment.arguments import lazy_help


@pytest.fixture
def checked_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """argparse as in Python 3.14, also in an older one."""
    container = argparse._ActionsContainer
    if sys.version_info >= (3, 14):
        return

    def check(parser: argparse._ActionsContainer, action: argparse.Action) -> None:
        if action.help and hasattr(parser, "_get_formatter"):
            try:
                if "%" in action.help:
                    parser._get_formatter()._expand_help(action)
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError("badly formed help string") from error

    add_argument = container.add_argument

    def add(parser: argparse._ActionsContainer, *names: str, **options: object) -> argparse.Action:
        action = add_argument(parser, *names, **options)
        parser._check_help(action)
        return action

    monkeypatch.setattr(container, "_check_help", check, raising=False)
    monkeypatch.setattr(container, "add_argument", add)


def test_hydra_alone_stops_at_its_own_help(checked_help):
    with pytest.raises(ValueError, match="badly formed help"):
        get_args_parser()  # else lazy_help can go


def test_a_command_runs_and_texts_are_checked_again(checked_help, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()
    launch(["--cfg", "job", "--package", "task", "dataset=tiny_cite"])
    assert "name: predict_modality" in capsys.readouterr().out
    with pytest.raises(ValueError, match="badly formed help"):
        argparse.ArgumentParser().add_argument("--half", help=object())


def test_a_badly_formed_text_is_refused_also_meanwhile(checked_help):
    with lazy_help(), pytest.raises(ValueError, match="badly formed help"):
        argparse.ArgumentParser().add_argument("--half", help="%(nothing)s")


def test_a_python_without_the_check_stays_as_it_is(monkeypatch):
    monkeypatch.delattr(argparse._ActionsContainer, "_check_help", raising=False)
    with lazy_help():
        assert not hasattr(argparse._ActionsContainer, "_check_help")
