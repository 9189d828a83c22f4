"""Figures of the report: one row a method, its mean as a dot and ± sd as a line, as inline SVG.

Positions across are per cent of the axis, so that a figure fits any screen while its text keeps its size;
rows are stacked, and names set beside or above their dots, by the page's style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LONGEST = 30  # characters of a name in a figure
EM = 6.9  # width of a character, pixels
ROOM = 0.5  # how far controls may stretch the axis to each side, in lengths of the methods' axis
FAR = 4.0  # a gap of this many spans of the better half or more puts what is worse outside the axis


@dataclass(frozen=True)
class Row:
    """What a figure says of one method.

    ``role`` is ``method``, ``supervised`` or ``control``; ``solid`` says whether the dot is full, ``line``
    whether a dashed line carries the mean through the figure.
    """

    name: str
    rank: str
    text: str
    mean: float | None
    sd: float | None
    role: str
    solid: bool
    line: bool = False

    @property
    def reach(self) -> tuple[float, float]:
        """Mean ± sd."""
        return self.mean - (self.sd or 0.0), self.mean + (self.sd or 0.0)


@dataclass(frozen=True)
class Axis:
    """A linear axis."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Position of a value in per cent, at most those of the ends."""
        return 100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return self.low <= value <= self.high

    def ticks(self) -> list[tuple[float, str]]:
        """A few round values and how they are written."""
        rough = (self.high - self.low) / 7
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s for s in (power, 2 * power, 5 * power, 10 * power) if s >= rough * (1 - 1e-9))
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(i * step, f"{i * step:.{digits}f}".replace("-", "−")) for i in range(first, last + 1)]


def axis(rows: Sequence[Row], direction: str) -> Axis | None:
    """The axis on which the methods can be told apart: far worse ones and far controls lie outside it."""
    scored = [r for r in rows if r.mean is not None]
    if not scored:
        return None
    inner = [r for r in scored if r.role != "control"] or scored
    inner.sort(key=lambda r: -r.mean if direction == "max" else r.mean)
    for k in range(max(3, (len(inner) + 1) // 2), len(inner)):
        gap, span = abs(inner[k].mean - inner[k - 1].mean), abs(inner[k - 1].mean - inner[0].mean)
        if gap > FAR * span > 0:
            inner = inner[:k]
            break
    low, high = min(r.reach[0] for r in inner), max(r.reach[1] for r in inner)
    room = ROOM * (high - low)
    near = [r.mean for r in scored if r.role == "control" and low - room <= r.mean <= high + room]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.04 * (high - low) or 0.05 * abs(high) or 0.05
    return Axis(low - pad, high + pad)


def figure(
    blocks: Sequence[tuple[str, Sequence[Row]]], label: str, direction: str, about: str, number: int
) -> str:
    """A figure and its caption.

    Parameters
    ----------
    blocks : heading (or none) and rows, in the order in which they are shown.
    label : of the axis.
    direction : ``min`` or ``max``, towards better.
    about : what the figure shows, for readers that do not see it.
    number : of the figure, unique in the page.
    """
    blocks = [(head, rows) for head, rows in blocks if rows]
    rows = [row for _, members in blocks for row in members]
    scale = axis(rows, direction)
    lines, place = [], 0
    for head, members in blocks:
        if head:
            lines.append(f'<g class="row h" style="--i:{place}"><text class="k">{escape(head)}</text></g>')
            place += 1
        for row in members:
            lines.append(_row(row, scale, place))
            place += 1
    names = max((len(_short(row.name)) for row in rows), default=0)
    values = max((len(row.text) for row in rows), default=0)
    style = f"--n:{place};--w:{44 + EM * names:.0f}px;--v:{16 + EM * values:.0f}px"
    ids = f't{number}" aria-describedby="d{number}'
    told = "; ".join(f"{r.rank} {r.name} {r.text}" for r in rows if r.rank.isdigit())
    outside = [r for r in rows if r.mean is not None and not scale.holds(r.mean)]
    caption = "◂ ▸ outside the axis: " + ", ".join(r.name for r in outside) if outside else ""
    return "\n".join(
        [
            "<figure>",
            f'<svg class="plot" role="img" aria-labelledby="{ids}" style="{style}">',
            f'<title id="t{number}">{escape(about)}</title>',
            f'<desc id="d{number}">{escape(told or "no ranked method")}</desc>',
            *([_back(scale, rows, label, direction)] if scale else []),
            *lines,
            "</svg>",
            *([f"<figcaption>{escape(caption)}.</figcaption>"] if caption else []),
            "</figure>",
        ]
    )


def _back(scale: Axis, rows: Sequence[Row], label: str, direction: str) -> str:
    """Grid, ticks, dashed lines, the label and the arrow towards better."""
    parts = ['<g class="back">']
    for value, text in scale.ticks():
        x = f"{scale.at(value):.2f}%"
        parts.append(f'<line x1="{x}" x2="{x}" y2="100%"/><text x="{x}" y="100%" dy="15">{text}</text>')
    for row in rows:
        if row.line and row.mean is not None and scale.holds(row.mean):
            x = f"{scale.at(row.mean):.2f}%"
            parts.append(
                f'<line class="ref" x1="{x}" x2="{x}" y2="100%"><title>{escape(row.name)}</title></line>'
            )
    parts.append(f'<text x="50%" y="100%" dy="32">{escape(label)}</text>')
    end, words = ("0", "← better") if direction == "min" else ("100%", "better →")
    if direction in ("min", "max"):
        parts.append(f'<text class="{direction}" x="{end}" y="100%" dy="32">{words}</text>')
    return "".join([*parts, "</g>"])


def _row(row: Row, scale: Axis | None, place: int) -> str:
    kind = f"row {row.role}" + ("" if row.solid else " hollow")
    full = f"<title>{escape(row.name)}</title>" if row.name != _short(row.name) else ""
    text = f'<text class="k">{escape(row.rank)}</text>'
    text += f'<text class="m">{full}{escape(_short(row.name))}</text>'
    text += f'<text class="v" x="100%">{escape(row.text)}</text>'
    if row.mean is None:
        return f'<g class="{kind}" style="--i:{place}">{text}</g>'
    if scale.holds(row.mean):
        x = scale.at(row.mean)
        low, high = (scale.at(end) for end in row.reach)
        mark = f'<circle cx="{x:.2f}%" r="4"/>'
        if row.sd is not None:
            mark = f'<line x1="{low:.2f}%" x2="{high:.2f}%"/>' + mark
    else:
        end, sign = ("0", "◂") if row.mean < scale.low else ("100%", "▸")
        mark = f'<text class="out" x="{end}" dy="4">{sign}</text>'
    return f'<g class="{kind}" style="--i:{place}">{text}<g>{mark}</g></g>'


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
