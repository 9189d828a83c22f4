"""Pages: the templates in ``templates/``, filled with what they show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from scmobench.leaderboard.tables import ABSENT, escaped, score

TEMPLATES = Path(__file__).with_name("templates")


def filled(template: str, **shown: Any) -> str:
    """The text of a page; an HTML page escapes whatever it is given."""
    return _environment().get_template(template).render(shown)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests["present"] = pd.notna
    for write in (escaped, flags, inline, interval, number):
        environment.filters[write.__name__] = write
    return environment


def number(value: Any, digits: int, absent: str = ABSENT) -> str:
    """A number with a fixed number of decimals."""
    return f"{value:.{digits}f}" if pd.notna(value) else absent


def interval(row: Mapping[str, Any]) -> str:
    """The confidence interval of a row of the standings."""
    return f"{score(row['ci_low'])} – {score(row['ci_high'])}" if pd.notna(row["ci_low"]) else ABSENT


def flags(row: Mapping[str, Any]) -> str:
    """T and L of a row of the standings; those of published figures are not known."""
    letters = "T" * bool(row["transductive"]) + "L" * bool(row["label_supervised"])
    return letters if row["source"] == "ours" else "?"


def inline(markdown: str) -> Markup:
    """Code and emphasis of Markdown text as HTML."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(markdown)))
    return Markup(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text))
