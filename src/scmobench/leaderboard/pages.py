"""Pages: the templates in ``templates/``, filled with what they show."""

import re
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from scmobench.leaderboard.plain_words import direction, pair
from scmobench.leaderboard.tables import escaped, score


def filled(template: str, **shown: Any) -> str:
    """The text of a page; an HTML page escapes whatever it is given."""
    return TEMPLATES.get_template(template).render(shown)


def _breakable(name: str) -> Markup:
    """A name as HTML that may break after ``_`` and ``+``."""
    return Markup(re.sub(r"([_+])", r"\1<wbr>", escape(name)))


def _inline(markdown: str) -> Markup:
    """Code and emphasis of Markdown as HTML."""
    markdown = str(markdown)  # text that a macro returns counts as safe HTML, which would not be escaped
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(markdown))
    return Markup(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text))


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=lambda name: ".html" in name,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.tests["missing"] = pd.isna
TEMPLATES.filters.update(escaped=escaped, breakable=_breakable, inline=_inline, score=score)
TEMPLATES.filters.update(direction=direction, pair=pair)
