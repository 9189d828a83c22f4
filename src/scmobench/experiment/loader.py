"""Hydra's loader of configurations, and what a configuration may say before Hydra acts on it.

Whoever shares YAML shares no code: what Hydra itself would build, call or set in the environment is refused
here, wherever a configuration is composed: for a run, a sweep, one of its jobs in a worker, or in Python.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal import hydra as hydra_application
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scmobench.experiment.choices import check_choices

# what a user can put right: said in a line, without a traceback
USER_ERRORS = (ValueError, TypeError, OSError, HydraException, OmegaConfBaseException, yaml.YAMLError)
LONGEST = 1000  # characters of a message
ALIASES = 20  # in a file of YAML; a hundred of them can stand for 10**15 values
VARIABLES = ("SCMOBENCH_", "RAY_ADDRESS")  # of the environment, that `${oc.env:...}` may read
PLUGINS = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
    *(f"optuna.samplers.{kind}Sampler" for kind in ("TPE", "Random", "Grid", "CmaEs", "NSGAII", "MOTPE")),
)
COMMANDS = ("setup", "additional_parameters", "runtime_env", "custom_search_space")  # what they say is run
FIXED = {
    "run": {"dir": "${runs}"},
    "sweep": {"dir": "${runs}", "subdir": "."},
    "output_subdir": None,
    "verbose": False,
    "job.chdir": False,
    "job.env_copy": [],
    "job.env_set": {},
}


def conf_dir() -> Path:
    """The folder of YAML files: inside an installed package, else at the checkout's root."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/ in {package} or at {package.parents[1]}: reinstall scmobench")


def one_line(error: BaseException) -> str:
    """What an error says, in one line: its own words, a word of its cause where those have none."""
    said = str(error)
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        said += f" {error.__cause__}"
    said = " ".join(said.split()).partition(" Config search path:")[0]
    said = (
        re.sub(r" full_key: (\S*)( (reference|object)_type=\S+)*", r" (at \1)", said) or type(error).__name__
    )
    return said if len(said) <= LONGEST else f"{said[:LONGEST]} ..."


class CheckedLoader(ConfigLoaderImpl):
    """Loads what Hydra composes, and checks it; goes with a sweep into its workers."""

    def load_configuration(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: Any, **settings: Any
    ) -> DictConfig:
        """The composed configuration.

        Raises
        ------
        ValueError : it cannot be composed, or says what none may say.
        """
        try:
            check_search_path(overrides)
            check_groups(overrides)
            cfg = super().load_configuration(config_name, overrides, run_mode, *args, **settings)
        except ConfigCompositionException as error:
            raise ValueError(one_line(error)) from error
        except KeyError as error:  # of `hydra.job.env_copy`, which the check below would refuse
            raise ValueError(f"expected no variables for Hydra to copy, found {error}") from error
        except RecursionError as error:
            raise ValueError("expected lists and mappings within each other at most 50 deep") from error
        check_hydra(cfg, overrides)
        check_modules(cfg, overrides)
        if run_mode == RunMode.RUN:
            check_choices(cfg)
        return cfg


hydra_application.ConfigLoaderImpl = CheckedLoader  # the one door: for `hydra.main` and `compose` alike


def environment(name: str, *default: Any) -> str | None:
    """``${oc.env:NAME}``, of the suite's own variables alone: settings are kept in records, secrets are not.

    Raises
    ------
    ValueError : another variable, or one that is not set and has no default.
    """
    if not name.startswith(VARIABLES):
        raise ValueError(
            f"expected a variable SCMOBENCH_... in ${{oc.env:...}}, found {name}: "
            "give its value on the command line, where the shell reads it: key=$NAME"
        )
    if name not in os.environ and not default:
        raise ValueError(f"expected the environment variable {name}, found that it is not set")
    value = os.environ.get(name, *default)
    return None if value is None else str(value)


OmegaConf.register_new_resolver("oc.env", environment, replace=True)


def check_search_path(overrides: Sequence[str]) -> None:
    """Refuse places of YAML other than folders: Hydra would import a package that holds some.

    Raises
    ------
    ValueError : such a place.
    """
    for given in (o for o in overrides if "hydra.searchpath" in o.split("=")[0]):
        for place in OverridesParser.create().parse_overrides([given])[0].value() or ():
            if not Path(str(place).removeprefix("file://")).is_dir():
                raise ValueError(f"expected folders in hydra.searchpath, found {place}")


def check_groups(overrides: Sequence[str]) -> None:
    """Refuse a number for the name of a file of conf/: Hydra does not say for which.

    Raises
    ------
    ValueError : such a choice.
    """
    for given in OverridesParser.create().parse_overrides(list(overrides)):
        group, chosen = given.key_or_group, given.value()
        if (conf_dir() / group).is_dir() and isinstance(chosen, int | float):
            names = ", ".join(sorted(file.stem for file in (conf_dir() / group).glob("*.yaml")))
            raise ValueError(f"expected {group} to be one of {names}, found {given.input_line}")


def check_hydra(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Check the node of Hydra itself: what it builds is ours or of a list, what it sets is as shipped.

    Raises
    ------
    ValueError : something else; says where.
    """
    node = OmegaConf.to_container(cfg.hydra, resolve=False)
    for name, found in node["callbacks"].items():
        if found not in _shipped_callbacks():
            raise ValueError(
                f"expected no callback of Hydra but those of conf/, found hydra.callbacks.{name}"
            )
    for name in ("launcher", "sweeper"):
        _check_plugin(node[name], f"hydra.{name}", [o.split("=")[0].lstrip("+") for o in overrides])
    for name in ("job_logging", "hydra_logging"):
        logging = node[name] or {}
        if set(logging) - {"version", "root", "disable_existing_loggers"} or "handlers" in (
            logging["root"] or ()
        ):
            raise ValueError(f"expected hydra/{name}=disabled, found another: the suite prints what it does")
    for name, right in FIXED.items():
        found = functools.reduce(lambda inside, key: inside[key], name.split("."), node)
        if found != right or type(found) is not type(right):
            raise ValueError(
                f"expected hydra.{name} to be {right}, as in conf/config.yaml, found {found}: leave it out; "
                "runs go to the folder runs=, environment variables are set in the shell"
            )
    if len(node["overrides"]["hydra"] + node["overrides"]["task"]) != len(overrides):
        raise ValueError("expected hydra.overrides to be those of the command line, found others in YAML")


@functools.cache
def _shipped_callbacks() -> list[Any]:
    files = [conf_dir() / "config.yaml", *sorted((conf_dir() / "launcher").glob("*.yaml"))]
    nodes = [OmegaConf.select(OmegaConf.load(file), "hydra.callbacks") for file in files]
    return [one for node in nodes if node is not None for one in OmegaConf.to_container(node).values()]


def _check_plugin(node: Any, place: str, given: Sequence[str]) -> None:
    if isinstance(node, str) and not node.isprintable():
        raise ValueError(f"expected {place} to be a line of text, found {node[:40]!r}")
    for key, value in (
        node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else ())
    ):
        if key == "_target_" and value not in PLUGINS:
            raise ValueError(f"expected {place}._target_ to be one of {', '.join(PLUGINS)}, found {value}")
        if key in COMMANDS and value and f"{place}.{key}" not in given:
            raise ValueError(
                f"expected {place}.{key} on the command line, found it in YAML: it says what is run; "
                f"leave it out there, or give it as {place}.{key}=..."
            )
        _check_plugin(value, f"{place}.{key}", given)


def check_modules(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse YAML that allows modules to itself: only who runs it can.

    Raises
    ------
    ValueError : ``modules`` in YAML, or in a sweep's lists.
    """
    typed = any(o.lstrip("+").startswith("modules=") for o in overrides)
    listed = OmegaConf.select(cfg, "hydra.sweeper.params") or {}
    if (cfg.get("modules") and not typed) or any("modules" in key.split(".")[0] for key in listed):
        raise ValueError(
            "expected `modules` on the command line alone, found it in YAML: leave it out there, and where "
            "you trust the modules say modules=[NAME]"
        )


def refuse_hidden(folder: str | Path) -> None:
    """Check a folder of the user's own YAML: of two files of a name Hydra would read the shipped one.

    Raises
    ------
    FileNotFoundError : there is no such folder.
    ValueError : a file has the name of a shipped one, or many aliases, which can stand for any number of
        values.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"expected a folder of configurations at {folder}, found none")
    for shipped in sorted(conf_dir().glob("*/**/*.yaml")):
        file = Path(folder) / shipped.relative_to(conf_dir())
        if file.is_file():
            raise ValueError(
                f"{file} has the name of a shipped one, which would be read in its place: rename it, e.g. "
                f"my_{file.name}"
            )
    groups = [path.name for path in conf_dir().iterdir() if path.is_dir()]
    for file in (file for group in (*groups, "hydra") for file in Path(folder, group).rglob("*.yaml")):
        try:
            aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(file.read_text()))
        except (OSError, ValueError, yaml.YAMLError):
            continue  # said where it is read
        if aliases > ALIASES:
            raise ValueError(f"expected at most {ALIASES} aliases in {file}, found {aliases}: write them out")
