"""What one experiment may be told: the keys of conf/config.yaml, and what values each takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from scmobench.experiment.settings import fits, in_words, shown
from scmobench.machine.arithmetic import ARITHMETIC
from scmobench.machine.files import checked_name
from scmobench.tasks.base import DIRECTIONS

SEEDS = 2**32  # what numpy takes
OPTIONS = (
    "task dataset model trainer logger tuned ablation ensemble launcher sweep "
    "seed direction official_files score_on arithmetic variant runs force smoke modules"
)
KINDS = {
    **dict.fromkeys(("task", "dataset", "model"), dict[str, Any]),
    "ensemble": Mapping[str, Any],
    "official_files": Mapping[str, str],
    "score_on": Literal["test", "validation", "predicted_types"],
    "arithmetic": Literal[ARITHMETIC],
    "runs": str,
    "force": bool,
    "smoke": bool,
    "modules": str | Sequence[str],
}
MEMBERS = {"members": Sequence[Sequence[str]], "weights": str, "unlike": bool}
MODELS = ("method", "control")


def check_choices(cfg: DictConfig) -> None:
    """Refuse what is no run at all, so that it leaves no record and no folder.

    Raises
    ------
    ValueError : an option that there is not, a value of another kind, a seed that is no whole number from
        0 on, an unknown direction, a model that does not say what it is.
    OmegaConfBaseException : a value that refers to nothing, or is missing.
    """
    if unknown := sorted(set(cfg) - set(OPTIONS.split()) - {"hydra"}, key=str):
        raise ValueError(f"expected one of the options {OPTIONS}, found {', '.join(map(str, unknown))}")
    if not isinstance(cfg.seed, int) or isinstance(cfg.seed, bool) or not 0 <= cfg.seed < SEEDS:
        raise ValueError(
            f"expected seed to be a whole number from 0 to {SEEDS - 1}, found {cfg.seed!r}; "
            "several seeds: scmobench run -m seed=0,1,2"
        )
    if cfg.direction not in DIRECTIONS:
        raise ValueError(
            f"expected direction to be one of {DIRECTIONS}, found {cfg.direction!r}; "
            "both: scmobench run -m direction=from_gex,to_gex"
        )
    plain = {key: _plain(cfg[key]) for key in cfg if key != "hydra"}
    for key, kind in KINDS.items():
        if not fits(plain[key], kind):
            raise ValueError(f"expected {key} to be {in_words(kind)}, found {shown(plain[key])}")
    for key, kind in MEMBERS.items():
        if not fits(plain["ensemble"].get(key, False), kind):
            found = shown(plain["ensemble"].get(key))
            raise ValueError(f"expected ensemble.{key} to be {in_words(kind)}, found {found}")
    members = [o for one in plain["ensemble"].get("members", ()) for o in one]
    if code := [o for o in members if o.lstrip("+~").startswith(("modules", "hydra"))]:
        raise ValueError(f"expected members to set what they are, found {', '.join(code)}: leave it out")
    named = {f"{group}.name": plain[group].get("name") for group in ("task", "dataset", "model")}
    named |= {key: plain[key] for key in ("runs", "variant")}
    named["ensemble.name"] = plain["ensemble"].get("name")
    for key, name in named.items():
        if name is not None or key not in ("variant", "ensemble.name"):
            checked_name(key, name)
    if not fits(smoke := plain["model"].get("smoke") or {}, Mapping[str, Any]):
        raise ValueError(f"expected model.smoke to be a mapping of settings, found {shown(smoke)}")
    if (kind := plain["model"].get("kind", "method")) not in MODELS:
        raise ValueError(f"expected the model's `kind:` to be one of {MODELS}, found {kind!r}")


def _plain(value: Any) -> Any:
    if not OmegaConf.is_config(value):
        return value
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
