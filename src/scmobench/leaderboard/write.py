"""The leaderboard: from records and published figures to CSV, the page, a picture and the README's tables."""

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from scmobench.experiment.config import contents
from scmobench.leaderboard.methods import methods_page
from scmobench.leaderboard.published import join_published, published_figures
from scmobench.leaderboard.readme import folder_page, pictures, readme_section, replaced
from scmobench.leaderboard.report import PAGE, boards, report_page
from scmobench.leaderboard.roster import Record
from scmobench.leaderboard.standings import COLUMNS, Metadata, standings
from scmobench.leaderboard.summary import Boards
from scmobench.leaderboard.tables import TITLES
from scmobench.machine.files import whole

DIFFERENCE_LINES = 40


def leaderboard(
    records: Sequence[Record],
    out: str | Path,
    readme: str | Path | None = None,
    check: bool = False,
    methods: str | Path | None = None,
) -> list[Path]:
    """Make all tables and the page of figures, or check that those on disk are current.

    Published figures are read from ``published/published.csv`` beside ``out``, else from the checkout's.

    Parameters
    ----------
    records : of runs, as `scmobench.experiment.kept.read` gives them.
    out : folder of the tables.
    readme : a file with a marked part that is written too.
    check : write nothing.
    methods : a file for the page of methods; without, the page links to ``methods.md`` beside ``out``.

    Returns the files that are current now. Raises SystemExit with ``check`` where a file is not current; its
    message is the difference. Raises ValueError if the README lacks its markers; then nothing is written.
    """
    metrics = metric_metadata()
    ours = standings(records, metrics)
    beside = Path(out).resolve().parent
    page = methods or beside / "methods.md"
    link = os.path.relpath(page, out) if methods or page.is_file() else ""
    found = boards(ours, metrics)
    made = tables(ours, found, published_figures(beside), metrics, records, beside / "figures", link)
    files = {Path(out) / name: text for name, text in made.items()}
    if readme:
        files[Path(readme)] = replaced(Path(readme), readme_section(found))
    if methods:
        files[Path(methods)] = methods_page(records)
    stale = {path: text for path, text in files.items() if _on_disk(path) != text}
    if check and stale:
        differences = "\n".join(_difference(path, text) for path, text in stale.items())
        raise SystemExit(f"not current; the same command without --check writes them\n{differences}")
    for path, text in stale.items():
        with whole(path.resolve()) as partial:  # a link stays one
            partial.write_text(text, encoding="utf-8")
    return list(files)


def tables(
    ours: pd.DataFrame,
    found: Boards,
    published: pd.DataFrame | None,
    metrics: Metadata,
    records: Iterable[Record],
    cells: Path | None = None,
    methods: str = "",
) -> dict[str, str]:
    """Name and content of every file that the leaderboard's folder holds.

    ``ours`` are the standings of the runs, the other arguments those of
    `scmobench.leaderboard.report.report_page`.
    """
    published = ours.head(0) if published is None else published
    files = {}
    for task in TITLES:
        rows, figures = (table[table["task"] == task] for table in (ours, published))
        if not rows.empty:
            files[f"{task}.csv"] = _csv(join_published(rows, figures))
        if not figures.empty:
            files[f"published_{task}.csv"] = _csv(figures)
    files |= pictures(found) | {"README.md": folder_page(found, set(published["task"]))}
    return files | {PAGE: report_page(found, metrics, published, records, cells, methods)}


def metric_metadata() -> dict[str, dict[str, dict]]:
    """Metadata of all metrics, task -> metric -> metadata, the one that a task is ranked by first.

    It is read from the key ``metadata`` of ``conf/metric/<task>/<metric>.yaml``, so that making tables
    imports none of the packages that compute metrics. Metrics marked ``extra`` come last.
    """
    metrics = {}
    for task in TITLES:
        found = {metric: node["metadata"] for metric, node in contents(f"metric/{task}").items()}
        order = sorted(found, key=lambda m: (not found[m].get("primary"), bool(found[m].get("extra"))))
        metrics[task] = {metric: found[metric] for metric in order}
    return metrics


def _csv(rows: pd.DataFrame) -> str:
    # a spreadsheet would calculate such a name
    table = rows[COLUMNS].replace({name: {r"^(?=[=+@-])": "'"} for name in ("dataset", "method")}, regex=True)
    return table.to_csv(index=False, float_format="%.8g", lineterminator="\n")


def _on_disk(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _difference(path: Path, text: str) -> str:
    """The first lines that differ."""
    if not path.is_file():
        return f"{path} is not there"
    old, new = _on_disk(path).splitlines(), text.splitlines()
    lines = list(difflib.unified_diff(old, new, f"{path} on disk", f"{path} expected", lineterm="", n=0))
    more = len(lines) - DIFFERENCE_LINES
    return "\n".join(lines[:DIFFERENCE_LINES] + ([f"… {more} more lines"] if more > 0 else []))
