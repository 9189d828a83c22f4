"""Where a number comes from: runs, settings, software, data, and the command that makes it again."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from scmobench.experiment.advice import of_row
from scmobench.experiment.kept import sortable, turn
from scmobench.leaderboard.panels import Panel
from scmobench.leaderboard.roster import Record

SEED = re.compile(r" seed=\d+")
SHOWN = ("device", "threads", "arithmetic", "tuning", "commit")


def overrides(record: Record) -> list[str]:
    """The overrides that a run was made with, read from its method's name, without its seed.

    Of a submission, which this suite did not run, what its card tells.
    """
    if record.get("kind") == "external":
        return [f"{name}: {text}." for name, text in (record.get("report") or {}).items() if text]
    told = [f"task={record['task']}", f"dataset={record['dataset']}"]
    told += ["direction=to_gex"] if record.get("direction") == "to_gex" else []
    return told + of_row(record["method"], record["task"])


def command(records: Sequence[Record]) -> str:
    """What makes the runs again: as the records tell it, else from the name of the method and the seeds.

    A submission has no command but that of its records.
    """
    seeds = sorted({str(record["seed"]) for record in records}, key=lambda seed: (len(seed), seed))
    several, last = ",".join(seeds), " -m" if len(seeds) > 1 else ""
    told = [SEED.sub("", record.get("command") or "") for record in records]
    if len(set(told)) == 1 and told[0]:
        return f"{told[0]} seed={several}{last}"
    if all(told):
        return "\n".join(dict.fromkeys(record["command"] for record in records))
    if records[0].get("kind") == "external":
        return ""
    words = [*overrides(records[0]), f"seed={several}"]
    return "scmobench run " + " ".join(map(shlex.quote, words)) + last


def provenance(records: Iterable[Record], panels: Iterable[Panel]) -> dict[str, Any]:
    """What the page tells of each method of each panel, as plain values.

    ``runs`` holds panel -> method -> seeds, hashes, software, command. Settings stand once each in
    ``configs``, by their hash, and sets of versions once each in ``versions``.
    """
    runs: dict[tuple, dict[tuple, Record]] = defaultdict(dict)
    for record in sorted((r for r in records if r["status"] == "ok"), key=turn):
        place = tuple(str(record.get(name) or "") for name in ("task", "dataset", "subtask", "data_hash"))
        runs[*place, record["method"]][record["config_hash"], record["seed"]] = record
    told: dict[str, Any] = {"runs": {}, "configs": {}, "versions": []}
    for panel in panels:
        place = tuple(panel.key[name] for name in ("task", "dataset", "subtask", "data_hash"))
        told["runs"][panel.id] = found = {}
        for row in panel.rows:
            name = row["method"].partition(" #")[0]
            same = [r for r in runs[*place, name].values() if r["config_hash"] in row["config_hash"]]
            if same:
                same.sort(key=lambda record: sortable([record["seed"]]))
                found[row["method"]] = _told(same, told)
    return told


def _told(records: Sequence[Record], told: dict[str, Any]) -> dict[str, Any]:
    """One method's runs in short; settings and versions go into the common lists."""
    versions = [record.get("versions") or {} for record in records]
    told["versions"] += [one for n, one in enumerate(versions) if one not in told["versions"] + versions[:n]]
    hashes = list(dict.fromkeys(record["config_hash"] for record in records))
    told["configs"] |= {record["config_hash"]: record.get("config") for record in records}
    shown = {name: {str(r[name]) for r in records if r.get(name) is not None} for name in SHOWN}
    return {
        "seeds": [record["seed"] for record in records],
        "config": hashes,
        "overrides": overrides(records[0]),
        "versions": sorted({told["versions"].index(one) for one in versions}),
        **{name: ", ".join(sorted(texts)) for name, texts in shown.items() if any(texts)},
        "command": command(records),
    }
