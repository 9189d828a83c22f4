"""Which pinned packages have no wheel for a Python and a platform that the suite supports.

    make wheels-check

Resolves the package with all its extras under constraints.txt by uv, which reads metadata and downloads no
wheel, and compares the names of all wheels with what each Python on each platform takes. Prints a table and
exits with 1 where something would have to be compiled.
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
GLIBC = 28  # 2.28: RHEL 8, Debian 10
MACOS = (14, 0)
SOURCE_ONLY = {"antlr4-python3-runtime", "docrep"}  # pure Python: builds without a compiler anywhere
PLATFORMS = {
    "Linux x86-64": ("linux", "Linux", "x86_64"),
    "Linux arm64": ("linux", "Linux", "aarch64"),
    "macOS arm64": ("darwin", "Darwin", "arm64"),
}


def locked(folder: Path) -> list[dict]:
    """Packages of every extra on every platform: name, version, marker and files of each."""
    file = folder / "pylock.toml"
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--all-extras", "--format", "pylock.toml"]
    command += ["--python-version", ".".join(map(str, PYTHONS[0])), "--constraints", "constraints.txt"]
    subprocess.run([*command, "--output-file", str(file), "pyproject.toml"], cwd=ROOT, check=True)
    return tomllib.loads(file.read_text())["packages"]


def tags(python: tuple[int, int], platform: str) -> set[Tag]:
    """What this Python takes on this platform."""
    system, _, machine = PLATFORMS[platform]
    if system == "darwin":
        names = list(mac_platforms(MACOS, machine))
    else:
        names = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
        names += [f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    interpreter = f"cp{python[0]}{python[1]}"
    return {*cpython_tags(python, platforms=names), *compatible_tags(python, interpreter, names)}


def needed(package: dict, python: tuple[int, int], platform: str) -> bool:
    """Whether the package is installed there at all."""
    system, name, machine = PLATFORMS[platform]
    version = ".".join(map(str, python))
    place = {"sys_platform": system, "platform_system": name, "platform_machine": machine, "os_name": "posix"}
    place |= {"python_version": version, "python_full_version": f"{version}.0"}
    return "marker" not in package or Marker(package["marker"]).evaluate(place)


def lacking(packages: Iterable[dict], python: tuple[int, int], platform: str) -> list[str]:
    """Names and versions of what is needed there and has no wheel for it."""
    taken, found = tags(python, platform), []
    for package in packages:
        names = [wheel.get("name") or wheel["url"].rpartition("/")[2] for wheel in package.get("wheels", ())]
        fits = any(taken & parse_wheel_filename(name.replace("%2B", "+"))[3] for name in names)
        if needed(package, python, platform) and not fits and package["name"] not in SOURCE_ONLY:
            found.append(f"{package['name']} {package['version']}")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packages = locked(Path(folder))
    wrong = 0
    print(f"{len(packages)} packages; no wheel anywhere but pure Python: {', '.join(sorted(SOURCE_ONLY))}")
    for platform in PLATFORMS:
        for python in PYTHONS:
            found = lacking(packages, python, platform)
            wrong += len(found)
            print(f"{platform:14}{'.'.join(map(str, python)):8}{', '.join(found) or 'all have wheels'}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
