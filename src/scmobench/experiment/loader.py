"""Composes configurations as Hydra does, and refuses those that would run code.

Shared YAML must not be able to run code. Wherever a configuration is composed (for a run, a sweep, one of its
jobs in a worker, or in Python), this refuses what Hydra itself would build, call or set in the environment.
"""

import errno
import functools
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hydra._internal import hydra as hydra_application
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scmobench.experiment import choices
from scmobench.experiment.advice import check_typed, for_key, parsed
from scmobench.experiment.arguments import key
from scmobench.experiment.ranges import check_numbers
from scmobench.machine.terminal import visible

# what users can put right themselves: a message without a traceback
USER_ERRORS = (ValueError, OSError, HydraException, OmegaConfBaseException, yaml.YAMLError)
LONGEST = 1000  # characters of a message
# of the system's own messages: what it expected, and what to do
ROOM = ("room on the disk", "make room, or name another folder; TMPDIR=FOLDER does so for temporary files")
RIGHT = ("permission for this file or folder", "ask its owner, or name another folder")
SYSTEM = {errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EACCES: RIGHT, errno.EPERM: RIGHT, errno.EROFS: RIGHT}
NO_TEMPORARY = ("a folder for temporary files", "name one that can be written by TMPDIR=FOLDER")
ALIASES = 20  # in a YAML file; a hundred can stand for 10**15 values
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
COMMANDS = ("setup", "additional_parameters", "runtime_env", "custom_search_space")  # a plugin runs these
DISABLED = {"version": 1, "root": {"level": "ERROR"}, "disable_existing_loggers": True}
FIXED = {
    "run": {"dir": "."},
    "sweep": {"dir": "${runs}", "subdir": "."},
    "output_subdir": None,
    "verbose": False,
    "job.chdir": False,
    "job.env_copy": [],
    "job.env_set": {},
    "job_logging": DISABLED,
    "hydra_logging": DISABLED,
}


def conf_dir() -> Path:
    """The folder of YAML files: inside an installed package, else at the checkout's root."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/ in {package} or at {package.parents[1]}: reinstall scmobench")


def one_line(error: BaseException) -> str:
    """An error's message in one line, with that of its cause if Hydra only points to the cause."""
    said = str(error)
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        said += f" {error.__cause__}"
    if isinstance(error, OSError):
        known = NO_TEMPORARY if "No usable temporary" in said else SYSTEM.get(error.errno)
        said = f"expected {known[0]}, found {said}: {known[1]}" if known else said
    said = " ".join(said.split()).partition(" Config search path:")[0].partition(" See https://hydra.cc")[0]
    said = re.sub(r" full_key: (\S*)( (reference|object)_type=\S+)*", r" (at \1)", said)
    said = visible(said) or type(error).__name__
    return said if len(said) <= LONGEST else f"{said[:LONGEST]} ..."


class CheckedLoader(ConfigLoaderImpl):
    """Composes configurations and checks them. A sweep takes it along into its workers."""

    def load_configuration(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: Any, **settings: Any
    ) -> DictConfig:
        """The composed configuration. Raises ValueError if it cannot be composed or is refused."""
        try:
            self._check_typed(overrides, run_mode)
            cfg = super().load_configuration(config_name, overrides, run_mode, *args, **settings)
        except HydraException as error:
            again = partial(super().load_configuration, config_name, run_mode=RunMode.MULTIRUN)
            told = one_line(error)
            if unlike := re.match(r"Error merging override (\S+)", told):
                told = f"expected a value of the kind that `--cfg job` shows, found {unlike[1]}"
            raise ValueError(for_key(told, overrides, again) or told) from error
        except KeyError as error:  # of `hydra.job.env_copy`, which the check below would refuse
            raise ValueError(f"expected no variables for Hydra to copy, found {error}") from error
        except RecursionError as error:
            raise ValueError("expected lists and mappings within each other at most 50 deep") from error
        check_hydra(cfg, overrides)
        check_modules(cfg, overrides)
        if run_mode == RunMode.RUN:
            choices.check_name(cfg, overrides, conf_dir())
            choices.check_choices(cfg)
            choices.check_files(cfg, overrides)
            choices.typed_over_smoke(cfg, overrides)
            check_numbers(cfg)
            choices.check_task(cfg, overrides)
        return cfg

    def _check_typed(self, overrides: list[str], run_mode: RunMode) -> None:
        """Raise ValueError for overrides that mean nothing here, or that Hydra would import."""
        listed = check_searchpath([override for override in overrides if key(override) == "hydra.searchpath"])
        known = [str(one.path) for one in self.config_search_path.get_path()]
        folders = [Path(place.removeprefix("file://")) for place in (*known, *listed)]

        def names(group: str) -> list[str]:
            return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})

        check_typed(overrides, choices.OPTIONS.split(), names, run_mode)


hydra_application.ConfigLoaderImpl = CheckedLoader  # used by `hydra.main` and `compose` alike


def environment(name: str, *default: Any) -> str | None:
    """``${oc.env:NAME}``, of the suite's own variables only: records keep settings, but not secrets."""
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


def check_searchpath(places: Sequence[str]) -> list[str]:
    """Sources of YAML in these overrides. Raises ValueError for one that is no folder: Hydra imports it."""
    found = []
    for given in parsed(places):
        value = given.value()
        for place in value if isinstance(value, list) else [value]:
            if not Path(str(place).removeprefix("file://")).is_dir():
                raise ValueError(f"expected a list of folders in hydra.searchpath, found {place}")
            found.append(str(place))
    return found


def check_hydra(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Raise ValueError if Hydra's own node would build or set something that is not ours."""
    node = OmegaConf.to_container(cfg.hydra, resolve=False)
    callbacks = node["callbacks"] if isinstance(node["callbacks"], dict) else {"": node["callbacks"]}
    for name, found in callbacks.items():
        if found not in _shipped_callbacks():
            raise ValueError(
                f"expected no callback of Hydra but those of conf/, found hydra.callbacks.{name}"
            )
    for name in ("launcher", "sweeper"):
        _check_plugin(node[name], f"hydra.{name}", [key(override) for override in overrides])
    for name, right in FIXED.items():
        found = functools.reduce(lambda inside, part: inside[part], name.split("."), node)
        if found != right or type(found) is not type(right):
            raise ValueError(
                f"expected hydra.{name} to be {right}, as in conf/config.yaml, found {found}: leave it out; "
                "runs and their output go to the folder runs=, environment variables are set in the shell"
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
    children = node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else ())
    for name, value in children:
        if name == "_target_" and value not in PLUGINS:
            raise ValueError(f"expected {place}._target_ to be one of {', '.join(PLUGINS)}, found {value}")
        if name in COMMANDS and value and f"{place}.{name}" not in given:
            raise ValueError(
                f"expected {place}.{name} on the command line, found it in YAML: it is a command to run; "
                f"leave it out there, or give it as {place}.{name}=..."
            )
        _check_plugin(value, f"{place}.{name}", given)


def check_modules(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Raise ValueError if YAML allows modules: only the user who runs it may do that."""
    typed = any(o.lstrip("+").startswith("modules=") for o in overrides)
    listed = OmegaConf.select(cfg, "hydra.sweeper.params") or {}
    if (cfg.get("modules") and not typed) or any("modules" in name.split(".")[0] for name in listed):
        raise ValueError(
            "expected `modules` on the command line alone, found it in YAML: leave it out there, and if you "
            "trust the modules, give modules=[NAME]"
        )


def refuse_hidden(folder: str | Path) -> None:
    """Check a folder of the user's own YAML.

    Raises FileNotFoundError if it does not exist, and ValueError if a file in it has too many aliases or the
    name of a shipped one, which Hydra would read instead.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"expected a folder of configurations at {folder}, found none")
    for shipped in sorted(conf_dir().glob("*/**/*.yaml")):
        file = Path(folder) / shipped.relative_to(conf_dir())
        if file.is_file():
            raise ValueError(
                f"{file} has the name of a shipped file, which would be read in its place: rename it, e.g. "
                f"my_{file.name}"
            )
    groups = [path.name for path in conf_dir().iterdir() if path.is_dir()]
    for file in (file for group in (*groups, "hydra") for file in Path(folder, group).rglob("*.yaml")):
        try:
            aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(file.read_text("utf-8")))
        except UnicodeDecodeError as error:
            raise ValueError(
                f"expected UTF-8 in {file}, found other text at byte {error.start}: save it as UTF-8"
            ) from error
        except (OSError, ValueError, yaml.YAMLError):
            continue  # Hydra says so when it reads the file
        if aliases > ALIASES:
            raise ValueError(f"expected at most {ALIASES} aliases in {file}, found {aliases}: write them out")
