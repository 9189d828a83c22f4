"""What somebody may have meant: the nearest name, in a message of one line."""

import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from scmobench.experiment.arguments import group, key
from scmobench.experiment.settings import shown

# the name of a row: model, ablation, ensemble; settings that were changed; the hash of another configuration
ROW = re.compile(r"(?P<parts>[^+\[ ]+(?:\+[^+\[ ]+)*)(?:\[(?P<changed>.*)\])?(?: #.*)?")
CHANGES = re.compile(r",(?=[^,\]]*=|smoke(?:,|$))")  # between the settings of a row
LISTS = {"model": "scmobench models", "dataset": "scmobench data list"}  # commands that list a group
OTHERS = {  # a setting -> its names in other tools
    "trainer.accelerator=cuda or cpu": "accelerator cuda device devices gpu gpus",
    "trainer.max_epochs=NUMBER": "epochs max_epochs",
    "model=NAME": "method",
    "runs=FOLDER": "out output",
    "seed=NUMBER": "random_state",
    "nothing, since every run has all metrics": "metric metrics",
    "dataset=own dataset.h5mu=FILE": "h5mu mudata",
    "dataset=own dataset.h5ad=FILE": "h5ad adata anndata",
    "dataset=own dataset.tenx=FILE": "tenx",
    "dataset=own dataset.gex=FILE dataset.mod2=FILE": "gex mod2",
}
FILES = {".h5ad": "h5ad", ".h5mu": "h5mu", ".h5": "tenx"}  # setting of `Own` by the end of a name
REMOVED = ("~tuned", "~ablation", "~launcher", "~sweep")  # groups that a run may go without
OWN = ", and --config-dir FOLDER adds your own from FOLDER/model"


def nearest(word: str, known: Iterable[str], before: str = "", after: str = "") -> str:
    """``: did you mean NAME?`` for the known name that is most like ``word``; empty if none is.

    ``before`` and ``after`` stand around the name. Letters that are only exchanged are the likeliest slip.
    """
    names = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), names, 3, 0.6)
    found = found or [name for name in names if word and name.startswith(word.lower())]
    found.sort(key=lambda name: sorted(name) != sorted(word.lower()))  # keeps the order of the others
    return f": did you mean {before}{names[found[0]]}{after}?" if found else ""


def ours(word: str) -> str:
    """``: write NAME=...`` for a setting of ours that other tools call so; empty if there is none."""
    return next((f": write {ours}" for ours, others in OTHERS.items() if word in others.split()), "")


def no_such(kind: str, word: str, known: Sequence[str]) -> str:
    """A message for a name that does not exist."""
    meant = nearest(word, known, f"{kind}=")
    told = f"no {kind} {word!r}{meant or ';'}"
    if kind in LISTS:
        own = "; your own cells are dataset=own dataset.name=NAME" if kind == "dataset" else ""
        if own and (way := FILES.get(os.path.splitext(word)[1])):
            own += f" dataset.{way}={shlex.quote(word)}"
        return f"{told} `{LISTS[kind]}` lists them{own}"
    return told if meant else f"{told} there are {', '.join(known)}"


def check_typed(
    overrides: Sequence[str], options: Sequence[str], names: Callable[[str], Sequence[str]], mode: RunMode
) -> None:
    """Parse overrides, and raise ValueError with advice for those that can mean nothing.

    ``options`` are the first parts of keys, and ``names`` gives the choices of a group, none for another key.
    """
    for number, typed in enumerate(overrides):
        if "=" not in typed and not typed.startswith("~"):
            before, after = ["", *overrides][number], [*overrides, ""][number + 1]
            if after.startswith("=") or before.endswith("="):
                meant = re.sub(r" ?= ?", "=", _command(overrides))
                raise ValueError(f"expected no spaces around =, found {typed!r} alone: write {meant}")
            meant = [f"{name}={typed}" for name in options if typed in names(name)]
            meant += [f"{typed}=..."] if "." in typed and group(typed) in options else []
            near = f": did you mean {' or '.join(meant)}?" if meant else nearest(typed, options, after="=...")
            if not meant and (way := FILES.get(os.path.splitext(typed)[1])):
                near = f": write dataset=own dataset.{way}={shlex.quote(typed)}"
            raise ValueError(f"expected NAME=VALUE, found {typed}{near}")
        row = typed.removeprefix("model=")
        if row != typed and re.match(r"ensemble_|[\w-]+[+\[]", row) and row not in names("model"):
            tasks = [one.partition("=")[2] for one in overrides if key(one) == "task"]
            command = shlex.join(of_row(row, *tasks[:1]))
            raise ValueError(f"expected a model, found the row {row} of a table: write {command}")
    read = parsed(overrides)
    for one in read:
        _check_one(one, options, names)
    swept = [o.input_line for o in read if o.is_sweep_override() and group(o.input_line) != "hydra"]
    if swept and mode == RunMode.RUN:
        raise ValueError(
            f"several values make a sweep, found {' '.join(swept)}: add -m, as in scmobench run -m "
            f"{_command(overrides)}"
        )


def parsed(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra reads them. Raises ValueError for one that it cannot read."""
    parser, read = OverridesParser.create(), []
    for typed in overrides:
        try:
            read.append(parser.parse_override(typed))
        except HydraException as error:
            if re.match(r"\S+\s+=|\S+=\s", typed):
                meant = shlex.quote(re.sub(r"\s*=\s*", "=", typed, count=1))
                raise ValueError(
                    f"expected no spaces around =, found {shown(typed)}: write {meant}"
                ) from error
            raise ValueError(
                f"expected NAME=VALUE that can be read, found {shown(typed)}: close each bracket and quote; "
                f"a text with such signs stands in two pairs of quotes, \"{key(typed) or 'NAME'}='VALUE'\""
            ) from error
    return read


def refuse(overrides: Sequence[str], settings: Sequence[str], cells: bool) -> None:
    """Raise ValueError for overrides of what `sb.run` takes as an argument, and for several values.

    ``cells``: the data set is an argument too.
    """
    if cells and (twice := [override for override in overrides if group(override) == "dataset"]):
        raise ValueError(f"expected settings of the cells in load(data, ...), found {twice} in overrides")
    if apart := [override for override in overrides if key(override) in settings]:
        raise ValueError(f"expected {key(apart[0])} as an argument of run, found it in overrides: {apart[0]}")
    if lists := [one.input_line for one in parsed(overrides) if one.is_sweep_override()]:
        raise ValueError(f"expected one value for each override, found {lists[0]}: call run once for each")


def of_row(method: str, task: str = "predict_modality") -> list[str]:
    """The overrides that the name of a row of a table stands for; for another name those of a model."""
    if not (found := ROW.fullmatch(method)):
        return [f"model={method}"]
    told = []
    for place, part in enumerate(found["parts"].split("+")):
        ensemble = part.startswith("ensemble_")  # the first part where members name their models
        kind = "ensemble" if ensemble else "ablation" if place else "model"
        told.append(f"{kind}={part.removeprefix('ensemble_')}")
    for one in filter(None, re.split(CHANGES, found["changed"] or "")):
        place = "" if one.startswith("trainer.") else f"model.{task}."
        told.append("smoke=true" if one == "smoke" else place + one)
    return told


def _command(overrides: Sequence[str]) -> str:
    """The overrides as a shell takes them, without the one that Hydra adds."""
    return shlex.join(one for one in overrides if not one.startswith("hydra.mode="))


def _check_one(one: Override, options: Sequence[str], names: Callable[[str], Sequence[str]]) -> None:
    typed, place = str(one.input_line), one.key_or_group
    first = re.split(r"[./]", place)[0]
    if not typed.startswith(("+", "~")) and first not in (*options, "hydra"):
        rest = f"{place.removeprefix(first)}={typed.partition('=')[2]}"
        meant = ours(first) or nearest(first, options, after=rest)
        raise ValueError(f"no setting {first!r}{meant or '; there are ' + ', '.join(options)}")
    if typed[0] in "+~" and typed[1] != "+" and place in options and typed[0] + place not in REMOVED:
        wrong = f"expected {place}={'...' if typed[0] == '~' else typed.partition('=')[2]}"
        raise ValueError(f"{wrong}, found {typed}: {place} is there already, and every run needs it")
    if typed == "tuned=null":
        raise ValueError(
            "expected the name of a file in conf/tuned, found tuned=null: for none, write ~tuned"
        )
    known = [] if first == "hydra" else names(place)
    if known and not typed.startswith("~"):
        values = list(one.sweep_string_iterator()) if one.is_sweep_override() else [one.value()]
        for value in values:
            if value is None or isinstance(value, int | float | list):
                raise ValueError(f"expected {place} to be one of {', '.join(known)}, found {typed}")
            if isinstance(value, str) and value not in known:
                told = no_such(place, value, known)
                own = place == "model" and value.isidentifier() and "did you mean" not in told
                raise ValueError(told + (OWN if own else ""))


def for_key(message: str, overrides: Sequence[str], compose: Callable[[list[str]], DictConfig]) -> str:
    """Advice for a key that Hydra does not find (``message``): the nearest one beside its place.

    ``compose`` makes the configuration of other overrides. Empty if there is no such key in the message.
    """
    did = r"(?:override|append to config\.? .*?key|delete from config\.?)"
    if not (found := re.search(rf"Could not {did} '([^']+)'", message)):
        return ""
    *place, last = found[1].split(".")
    typed = next((one for one in overrides if key(one) == found[1]), f"{found[1]}=")
    groups = [one for one in overrides if "." not in key(one) or group(one) == "hydra"]
    node = compose([one for one in groups if one != typed])  # another wrong key would end this, too
    for number, part in enumerate(place):
        if part not in node or not OmegaConf.is_dict(node[part]):
            place, last = place[:number], part
            break
        if OmegaConf.is_interpolation(node, part):  # trainer: ${trainer}
            there = [OmegaConf.to_container(node)[part].strip("${}"), *place[number + 1 :], last]
            return f"no setting {found[1]!r}: did you mean {'.'.join(there)}={typed.partition('=')[2]}?"
        node = node[part]
    known = [str(name) for name in node if name != "_target_"]
    before = ".".join([*place, ""]) if place else ""
    if found[1] == last and last in known:  # hidden
        told = f"expected no folder {last!r} in --config-dir or hydra.searchpath, which hides the setting"
        return f"{told} {last}: keep your YAML in a folder of its own"
    if last in known and before + last == found[1] and OmegaConf.is_dict(node[last]):
        there = ", ".join(map(str, node[last]))
        return f"expected values of {found[1]} for {there}; to add another, write {shlex.quote(f'++{typed}')}"
    if last in known:
        advice = "add logger=wandb" if before + last == "wandb" else f"write {before}{last}=VALUE"
        return f"no setting {found[1]!r}, as {before}{last} has none within: {advice}"
    if place == ["dataset"] and last in compose(["dataset=own"]).dataset:
        return f"no setting {found[1]!r} of dataset={node.name}: for your own cells add dataset=own"
    rest = f"{found[1].removeprefix(before + last)}={typed.partition('=')[2]}"
    if deeper := [name for name in known if OmegaConf.is_dict(node[name]) and last in node[name]]:
        return f"no setting {found[1]!r}: did you mean {before}{deeper[0]}.{last}{rest}?"
    if meant := nearest(last, known, before, rest) or ours(last):
        return f"no setting {found[1]!r}{meant}"
    listed = ", ".join(known) if known else "none"
    if place[:1] == ["model"] and place[1:]:
        listed += f"; add a setting of your class that the YAML leaves out by +{found[1]}=VALUE"
    return f"no setting {last!r} in {before.rstrip('.') or 'the configuration'}; there are {listed}"
