"""The leaderboard: from records and published figures to CSV, Markdown, a page and the README's tables."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from scmobench.experiment.config import conf_dir
from scmobench.experiment.kept import read
from scmobench.leaderboard.comparison import between_seeds, compare, largest, verdict
from scmobench.leaderboard.methods import methods_page
from scmobench.leaderboard.published import join_published, published_page, published_table, read_published
from scmobench.leaderboard.readme import readme_section, replaced, update_readme
from scmobench.leaderboard.report import PAGE, report_page
from scmobench.leaderboard.roster import Record, latest
from scmobench.leaderboard.standings import COLUMNS, Metadata, standings
from scmobench.leaderboard.tables import TITLES, heading, primary, task_page
from scmobench.machine.files import whole

__all__ = [
    "between_seeds",
    "compare",
    "is_current",
    "join_published",
    "largest",
    "leaderboard",
    "metric_metadata",
    "readme_section",
    "render",
    "standings",
    "update_readme",
    "verdict",
    "write",
]
RANKED_BY = {
    "predict_modality": {"rmse": {"label": "RMSE", "direction": "min", "primary": True}},
    "match_modality": {
        "match_probability": {"label": "match probability", "direction": "max", "primary": True}
    },
    "joint_embedding": {"mean": {"label": "mean of six", "direction": "max", "primary": True}},
}
DIFFERENCE_LINES = 40


def leaderboard(
    records: Iterable[Record | str | Path],
    out: str | Path,
    readme: str | Path | None = None,
    check: bool = False,
    published: str | Path | None = None,
    methods: str | Path | None = None,
) -> list[Path]:
    """Make all tables and the page of figures, or check that those on disk are current.

    Parameters
    ----------
    records : records, or folders that hold them.
    out : folder of the tables.
    readme : a file whose marked part is written too.
    check : write nothing.
    published : CSV of published figures; by default ``published/published.csv`` beside ``out``,
        else that of the checkout, else none.
    methods : a file for the page of methods.

    Returns
    -------
    Files that were written (with ``check``: that are current).

    Raises
    ------
    SystemExit : with ``check``, where a file is not current; its message is the difference.
    """
    out = Path(out)
    runs = _records(records)
    found = _published(out, published)
    figures = read_published(found) if found else None
    if check:
        expected = render(runs, figures)
        contents = {out / name: text for name, text in expected.items()} | {out / PAGE: _page(runs, figures)}
        if readme:
            contents[Path(readme)] = _readme(runs, Path(readme))
        if methods:
            contents[Path(methods)] = methods_page(runs)
        if stale := [_difference(path, text) for path, text in contents.items() if _read(path) != text]:
            raise SystemExit("not current; this makes them anew: make leaderboard\n" + "\n".join(stale))
        return list(contents)
    written = [*write(runs, figures, out), _put(out / PAGE, _page(runs, figures))]
    if readme:
        metrics = metric_metadata()
        update_readme(readme, readme_section(standings(runs, metrics), metrics))
        written.append(Path(readme))
    if methods:
        written.append(_put(Path(methods), methods_page(runs)))
    return written


def render(
    records: Iterable[Record], published: pd.DataFrame | None = None, metrics: Metadata | None = None
) -> dict[str, str]:
    """Name and content of every table file; the order of the records does not matter."""
    metrics = metrics or metric_metadata()
    records = list(records)
    ours = standings(records, metrics)
    failures = [r for r in latest(records) if r["status"] != "ok"]
    files = {}
    for task in TITLES:
        rows = ours[ours["task"] == task]
        figures = None if published is None else published[published["task"] == task]
        if not rows.empty:
            joined = rows if figures is None else join_published(rows, figures)
            failed = [r for r in failures if r["task"] == task]
            files[f"{task}.csv"] = _csv(joined)
            files[f"{task}.md"] = task_page(task, joined, metrics[task], failed)
        if figures is not None and not figures.empty:
            first = primary(metrics[task])
            table = published_table(figures, first, metrics[task][first]["direction"])
            files[f"published_{task}.csv"] = _csv(figures)
            files[f"published_{task}.md"] = published_page(task, table, heading(first, metrics[task]))
    return files


def write(
    records: Iterable[Record],
    published: pd.DataFrame | None,
    out: str | Path,
    metrics: Metadata | None = None,
) -> list[Path]:
    """Write every table into a folder; see `render`."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    return [_put(out / name, text) for name, text in render(records, published, metrics).items()]


def is_current(readme: str | Path, records: str | Path | None = None) -> bool:
    """Whether the README's tables are those of the kept records (``results/records`` beside it)."""
    readme = Path(readme)
    runs = read([records or readme.parent / "results" / "records"])
    return readme.read_text(encoding="utf-8") == _readme(runs, readme)


def metric_metadata(folder: str | Path | None = None) -> dict[str, dict[str, dict]]:
    """Metadata of all metrics, task -> metric -> metadata, the one that a task is ranked by first.

    Read from the key ``metadata`` of ``conf/metric/<task>/<metric>.yaml``, so that making tables imports
    none of the packages that compute metrics. Metrics marked ``extra`` come last.
    """
    folder = Path(folder or conf_dir() / "metric")
    metrics: dict[str, dict[str, dict]] = {}
    for task, ranked_by in RANKED_BY.items():
        found = {}
        for path in sorted((folder / task).glob("*.yaml")):
            node = OmegaConf.to_container(OmegaConf.load(path))
            found[path.stem] = {"label": path.stem, **(node or {}).get("metadata", {})}
        if not any(metadata.get("primary") for metadata in found.values()):
            for name, metadata in ranked_by.items():
                found[name] = {**metadata, **found.get(name, {}), "primary": True}
        metrics[task] = dict(sorted(found.items(), key=_place))
    return metrics


def _place(item: tuple[str, dict]) -> tuple[bool, bool, str]:
    name, metadata = item
    return not metadata.get("primary"), bool(metadata.get("extra")), name


def _csv(rows: pd.DataFrame) -> str:
    columns = [column for column in COLUMNS if column != "by_seed"]
    return rows[columns].to_csv(index=False, float_format="%.8g", lineterminator="\n")


def _records(records: Iterable[Record | str | Path]) -> list[Record]:
    items = [records] if isinstance(records, str | Path) else list(records)
    runs = [item for item in items if isinstance(item, dict)]
    folders = [item for item in items if not isinstance(item, dict)]
    return runs + (read(folders) if folders else [])


def _published(out: Path, given: str | Path | None) -> Path | None:
    if given:
        if not Path(given).is_file():
            raise FileNotFoundError(f"expected published figures at {given}, found no file")
        return Path(given)
    usual = Path("published") / "published.csv"
    places = (out.resolve().parent / usual, conf_dir().parent / "results" / usual)
    return next((path for path in places if path.is_file()), None)


def _readme(runs: list[Record], path: Path) -> str:
    metrics = metric_metadata()
    return replaced(path.read_text(encoding="utf-8"), readme_section(standings(runs, metrics), metrics), path)


def _page(runs: list[Record], published: pd.DataFrame | None) -> str:
    metrics = metric_metadata()
    failures = [r for r in latest(runs) if r["status"] != "ok"]
    tasks = set() if published is None else set(published["task"])
    return report_page(standings(runs, metrics), metrics, failures, tasks)


def _put(path: Path, text: str) -> Path:
    with whole(path.resolve()) as partial:  # a link stays one
        partial.write_text(text, encoding="utf-8")
    return path


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _difference(path: Path, text: str) -> str:
    lines = difflib.unified_diff(
        _read(path).splitlines(), text.splitlines(), f"{path} on disk", f"{path} expected", lineterm="", n=0
    )
    shown = list(lines)
    more = len(shown) - DIFFERENCE_LINES
    return "\n".join(shown[:DIFFERENCE_LINES] + ([f"… {more} more lines"] if more > 0 else []))
