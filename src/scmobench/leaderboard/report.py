"""The leaderboard as one HTML page: a figure and a folded table for every comparable group of runs.

The page needs nothing beside itself: no script, no font, no network. What its cells say is what the
Markdown tables say; published figures, which are comparable with none of it, stay in their own pages.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import count
from urllib.parse import quote

import pandas as pd

from scmobench.leaderboard.figures import Row, figure
from scmobench.leaderboard.roster import Record, comparable
from scmobench.leaderboard.standings import Metadata, fullest
from scmobench.leaderboard.tables import (
    ABSENT,
    GENERATED,
    LEGEND,
    TITLES,
    arranged,
    first_against_second,
    groups,
    heading,
    provenance,
    row_texts,
    same_scores,
)

PAGE = "index.html"
TITLE = "scmobench: leaderboard"
ABOUT = """\
Methods that integrate multimodal single-cell data, scored on the same cells by the same code. A figure holds
runs that may be compared with each other: of one task, data set, subtask, normalisation, data hash and
protocol. A dot is the mean of the metric that its task is ranked by, the line through it ± sd over seeds,
the number behind it that of the seeds; the number before the name is the rank, best first, and the arrow
below the axis points to better. Controls are grey, with dashed lines through the figure; ◂ and ▸ are means
outside the axis. A hollow dot has no rank: its mean rests on fewer metrics than that of others, or no other
rests on as many. Ablations and settings changed by hand are folded away below the figure, and count in the
ranks. So are the tables of all metrics."""
KEY = (
    ("method", "method"),
    ("supervised", "label-supervised method, ranked in a track of its own"),
    ("control", "control"),
)
VARIANT = re.compile(r"[+\[]")
BLOCKS = {"method": "Methods", "supervised": "Label-supervised track", "control": "Controls"}
STYLE = """\
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f23;--dim:#5c6570;--line:#d9dee3;--method:#1a5fb4;
--supervised:#b0490a;--control:#868e96;--h:23px}
@media (prefers-color-scheme:dark){:root{--bg:#15181c;--fg:#e4e7ea;--dim:#a3abb3;--line:#353b42;
--method:#6cb0ff;--supervised:#ffa657;--control:#8b949e}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:100rem;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,sans-serif}
header,nav{max-width:60rem}
h1,h2,h3,h4{line-height:1.25;margin:1.6em 0 .4em;overflow-wrap:anywhere}
h1{margin-top:.3em}h2{border-bottom:2px solid var(--line)}h4{margin-top:.6em}
a{color:var(--method)}
nav ul{padding:0;margin:.2em 0 .8em;list-style:none;display:flex;flex-wrap:wrap;gap:.2em 1.2em}
nav{margin-top:1rem}
nav p{margin:0;font-weight:600}
.key span{margin-right:1.2em;white-space:nowrap}
.key .method{color:var(--method)}.key .supervised{color:var(--supervised)}.key .control{color:var(--control)}
.key b{color:var(--fg);font-weight:400;white-space:normal}
.groups{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,42rem),1fr));gap:1rem 2.5rem}
article{min-width:0;max-width:60rem}
.about,figcaption,.notes{color:var(--dim);font-size:.85rem;margin:.2em 0;overflow-wrap:anywhere}
figure{margin:.6em 0}
summary{cursor:pointer;padding:.15em 0;font-size:.95rem}
.scroll{overflow-x:auto;margin:.4em 0}
table{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums}
th,td{padding:.2em .6em;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
thead th{vertical-align:bottom}thead th:first-child{text-align:left}
th[scope=row],th[scope=rowgroup]{text-align:left;font-weight:400;position:sticky;left:0;background:var(--bg)}
th[scope=rowgroup]{color:var(--dim);font-style:italic}
abbr{cursor:help;text-decoration:underline dotted}
tr.control{color:var(--dim);font-style:italic}tr.supervised th{color:var(--supervised)}
.plot{display:block;margin:0 var(--v) 44px var(--w);width:calc(100% - var(--w) - var(--v));
height:calc(var(--n)*var(--h));font-size:12.5px;overflow:visible}
.plot text{fill:var(--fg);font-variant-numeric:tabular-nums}
.back line{stroke:var(--line)}.back .ref{stroke:var(--control);stroke-dasharray:2 4}
.plot .back text{fill:var(--dim);text-anchor:middle}
.plot .back .min{text-anchor:start;fill:var(--fg)}.plot .back .max{text-anchor:end;fill:var(--fg)}
.row{transform:translateY(calc(var(--i)*var(--h) + 16px));--c:var(--method)}
.row g{transform:translateY(-4px)}
.m{transform:translateX(calc(28px - var(--w)))}.v{transform:translateX(var(--v))}
.k{transform:translateX(calc(20px - var(--w)))}.h .k{transform:translateX(calc(0px - var(--w)))}
.plot .v,.plot .k{text-anchor:end}.plot .h .k{text-anchor:start;font-style:italic}.plot .k{fill:var(--dim)}
.supervised{--c:var(--supervised)}.control{--c:var(--control)}
.plot .control text{fill:var(--dim)}
.row line{stroke:var(--c);stroke-width:2}.row circle{fill:var(--c);stroke:var(--c);stroke-width:1.5}
.hollow circle{fill:var(--bg)}
.plot .row .out{fill:var(--c);text-anchor:middle}
@media (max-width:40rem){:root{--h:36px}body{padding:.6rem}
.plot{font-size:11.5px;margin:0 8px 44px;width:calc(100% - 16px)}
.row text{paint-order:stroke;stroke:var(--bg);stroke-width:4px}
.row g{transform:translateY(10px)}.m{transform:translateX(18px)}.v{transform:translateX(8px)}
.k{transform:translateX(12px)}.h .k{transform:translateX(-8px)}}
@media print{:root{--h:17px}nav,summary{display:none}.scroll{overflow:visible}table{font-size:6px}
th,td{padding:1px 2px;white-space:normal}th[scope]{position:static}
figure,.about{break-inside:avoid}h2,h3,h4,h4+.about{break-after:avoid}.about,figcaption{font-size:inherit}
body{font-size:11px;max-width:none;padding:0}.groups{display:block}.plot{font-size:11px}
.plot *{print-color-adjust:exact}}"""


def report_page(
    standings: pd.DataFrame,
    metrics: Metadata,
    failures: Sequence[Record] = (),
    published: Collection[str] = (),
) -> str:
    """The page.

    Parameters
    ----------
    standings : of our runs, from `scmobench.leaderboard.standings.standings`.
    metrics : task -> metric -> metadata.
    failures : failed records that still count.
    published : tasks that have a page of published figures.
    """
    tasks = [task for task in TITLES if task in set(standings["task"])]
    found = {task: groups(standings[standings["task"] == task]) for task in tasks}
    number = count(1)
    parts = [
        f'<!DOCTYPE html>\n{GENERATED}\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{TITLE}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>",
        _header(),
        _navigation(found),
        "<main>",
    ]
    for task in tasks:
        parts += [f'<section id="{task}">\n<h2>{TITLES[task]}</h2>', _files(task, task in published)]
        failed = [r for r in failures if r["task"] == task]
        for dataset in dict.fromkeys(key["dataset"] for key, _ in found[task]):
            own = [(key, rows) for key, rows in found[task] if key["dataset"] == dataset]
            parts.append(f'<section id="{escape(_anchor(task, dataset))}">\n<h3>{escape(dataset)}</h3>')
            parts.append('<div class="groups">')
            parts += [_group(key, rows, metrics[task], failed, number) for key, rows in own]
            parts.append("</div>\n</section>")
        parts.append("</section>")
    return "\n".join([*parts, "</main>\n</body>\n</html>\n"])


def _header() -> str:
    legend = re.split(r"^- ", LEGEND, flags=re.M)[1:]
    items = "\n".join(f"<li>{_inline(' '.join(item.split()))}</li>" for item in legend)
    key = "".join(f'<span class="{name}">● <b>{words}</b></span>' for name, words in KEY)
    return (
        f'<header>\n<h1>{TITLE}</h1>\n<p>{escape(ABOUT)}</p>\n<p class="key">{key}</p>\n'
        f"<details><summary>What the numbers and columns mean</summary>\n<ul>\n{items}\n</ul></details>"
        "\n</header>"
    )


def _navigation(found: Mapping[str, Sequence[tuple[dict[str, str], pd.DataFrame]]]) -> str:
    lines = ['<nav aria-label="Tasks and data sets">']
    for task, members in found.items():
        lines.append(f'<p><a href="#{task}">{TITLES[task]}</a></p>\n<ul>')
        for dataset in dict.fromkeys(key["dataset"] for key, _ in members):
            lines.append(f'<li><a href="#{quote(_anchor(task, dataset))}">{escape(dataset)}</a></li>')
        lines.append("</ul>")
    return "\n".join([*lines, "</nav>"])


def _files(task: str, published: bool) -> str:
    text = f'The same as <a href="{task}.md">Markdown</a> and <a href="{task}.csv">CSV</a>.'
    if published:
        text += f' <a href="published_{task}.md">Published figures</a> are comparable with nothing here.'
    return f'<p class="about">{text}</p>'


def _group(
    key: Mapping[str, str], rows: pd.DataFrame, metrics: Mapping, failures: Sequence[Record], number: count
) -> str:
    """Figure, folded ablations and folded table of one comparable group."""
    order, cells, entries = arranged(rows, metrics)
    first, direction = order[0], metrics[order[0]]["direction"]
    notes: dict[str, int] = {}
    texts = {e: row_texts(e, entries[e], cells, order, notes) for e in entries}
    full = fullest([r for e in entries if (r := cells.get((*e, first))) and pd.notna(r["mean"])])
    drawn = {e: _drawn(cells.get((*e, first)), entries[e], texts[e], full) for e in entries}
    variants = [e for e in entries if VARIANT.search(e[0]) and e[2] == "method"]
    bases = {VARIANT.split(e[0])[0] for e in variants}
    blocks = _blocks([drawn[e] for e in entries if e not in variants])
    label, where = heading(first, metrics), f"{key['subtask']} of {key['dataset']}"
    failed = [r for r in failures if comparable(r) == tuple(key.values())]
    parts = [
        f"<article>\n<h4>{escape(key['subtask'])}</h4>",
        f'<p class="about">{_inline(provenance(key, rows))}</p>',
        figure(blocks, label, direction, f"{label}, {where}: methods and controls", next(number)),
    ]
    for role in ("method", "supervised"):
        track = [e for e in entries if drawn[e].role == role]
        told = first_against_second([cells.get((*e, first)) for e in track])
        told += same_scores(track, cells, order)
        parts += [f'<p class="about">{escape(line)}</p>' for line in told if line]
    if variants:
        beside = [e for e in entries if e in variants or e[0] in bases]
        blocks = _blocks([replace(drawn[e], line=e[0] in bases) for e in beside])
        about = f"{label}, {where}: ablations and changed settings"
        told = f"<details><summary>Ablations and changed settings ({len(variants)})</summary>"
        parts.append(f"{told}\n{figure(blocks, label, direction, about, next(number))}\n</details>")
    header = ["Method", "Rank", label, "Scaled", "95 % CI", *(heading(m, metrics) for m in order[1:])]
    table = _table([*header, "Seconds", "GB", "Flags"], [(drawn[e], texts[e]) for e in entries], notes, where)
    return "\n".join([*parts, table, *_failed(failed), "</article>"])


def _drawn(row: Mapping | None, some: Mapping, texts: Sequence[str], full: Sequence[Mapping]) -> Row:
    """Row of a figure, from a row of the Markdown table."""
    control = some["kind"] == "control"
    fully = any(row is other for other in full)
    role = "supervised" if some["label_supervised"] is True else "method"
    known = row is not None and pd.notna(row["mean"])
    return Row(
        name=some["method"],
        rank=texts[0],
        text=_plain(texts[2])[0],
        mean=float(row["mean"]) if known else None,
        sd=float(row["sd"]) if known and pd.notna(row["sd"]) else None,
        role="control" if control else role,
        solid=texts[0].isdigit() or (control and fully),
        line=control and fully,
    )


def _blocks(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    found = {role: [row for row in rows if row.role == role] for role in BLOCKS}
    alone = not found["supervised"]
    return [("" if role == "method" and alone else BLOCKS[role], found[role]) for role in BLOCKS]


def _table(header: Sequence[str], rows: Sequence[tuple[Row, list[str]]], notes: Mapping, where: str) -> str:
    """All metrics, folded; the reason why there is no number is its title, and below the table."""
    reasons = {str(place): text for text, place in notes.items()}
    lines = [
        "<details><summary>All metrics</summary>",
        f'<div class="scroll" role="region" tabindex="0" aria-label="All metrics, {escape(where)}">\n<table>',
        "<thead><tr>" + "".join(f'<th scope="col">{escape(name)}</th>' for name in header) + "</tr></thead>",
    ]
    for role, name in BLOCKS.items():
        members = [(row, texts) for row, texts in rows if row.role == role]
        if not members:
            continue
        lines.append(f'<tbody>\n<tr><th scope="rowgroup" colspan="{len(header)}">{name}</th></tr>')
        for row, texts in members:
            body = "".join(f"<td>{_cell(text, reasons)}</td>" for text in (texts[0], *texts[2:-1]))
            css = "" if role == "method" else f' class="{role}"'
            lines.append(f'<tr{css}><th scope="row">{escape(row.name)}</th>{body}</tr>')
        lines.append("</tbody>")
    lines.append("</table></div>")
    lines += [f'<p class="notes">{escape("; ".join(notes))}</p>'] if notes else []
    return "\n".join([*lines, "</details>"])


def _cell(markdown: str, reasons: Mapping[str, str]) -> str:
    """A cell of the Markdown table as HTML."""
    text, place = _plain(markdown)
    reason = reasons.get(place, "the run failed" if markdown == "failed" else "")
    shown = f'<abbr title="{escape(reason)}">{escape(text)}</abbr>' if reason else escape(text)
    return f"<strong>{shown}</strong>" if markdown.startswith("**") else shown


def _plain(markdown: str) -> tuple[str, str]:
    """Text and note of a Markdown cell; a failed run has no number either."""
    text, _, place = markdown.strip("*").removesuffix("</sup>").partition("<sup>")
    return ABSENT if text == "failed" else text, place


def _failed(failures: Sequence[Record]) -> list[str]:
    told = []
    for run in failures:
        message = " ".join(str(run.get("message") or "no message").split())[:300]
        told.append(f"<li>{escape(run['method'])}, seed {escape(str(run['seed']))}: {escape(message)}</li>")
    return (
        [f'<p class="about">Failed runs ({len(told)}):</p>\n<ul class="about">', *told, "</ul>"]
        if told
        else []
    )


def _inline(markdown: str) -> str:
    """Code and emphasis of the tables' Markdown."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(markdown))
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)


def _anchor(task: str, dataset: str) -> str:
    return "-".join(f"{task} {dataset}".split())
