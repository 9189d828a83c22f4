"""The check of wheels, on names of files as a registry has them."""

import sys

import pytest

import wheels
from places import ROOT

MANYLINUX = "some-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"


def package(*files: str, **more: str) -> dict:
    named = [{"url": f"simple/{name}"} for name in files]
    return {"name": "some", "version": "1.0", "wheels": named} | more


@pytest.mark.parametrize(
    ("file", "python", "platform", "fits"),
    [
        ("some-1.0-py3-none-any.whl", (3, 14), "macOS arm64", True),
        (MANYLINUX, (3, 12), "Linux x86-64", True),
        (MANYLINUX, (3, 13), "Linux x86-64", False),
        (MANYLINUX, (3, 12), "Linux arm64", False),
        ("some-1.0-cp312-cp312-manylinux_2_34_x86_64.whl", (3, 12), "Linux x86-64", False),
        ("some-1.0-cp312-cp312-musllinux_1_1_x86_64.whl", (3, 12), "Linux x86-64", False),
        ("some-1.0-cp310-abi3-manylinux_2_28_aarch64.whl", (3, 14), "Linux arm64", True),
        ("some-1.0-cp314-cp314t-manylinux_2_28_aarch64.whl", (3, 14), "Linux arm64", False),
        ("some-1.0-cp313-cp313-macosx_14_0_arm64.whl", (3, 13), "macOS arm64", True),
        ("some-1.0-cp313-cp313-macosx_11_0_universal2.whl", (3, 13), "macOS arm64", True),
        ("some-1.0-cp313-cp313-macosx_15_0_arm64.whl", (3, 13), "macOS arm64", False),
        ("some-1.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl", (3, 11), "Linux x86-64", True),
    ],
)
def test_a_wheel_fits_its_python_and_platform(file, python, platform, fits):
    found = wheels.lacking([package(file)], python, platform)
    assert found == ([] if fits else ["some 1.0"])


def test_only_what_is_installed_there_must_have_a_wheel():
    old = package(marker="python_full_version < '3.12' and sys_platform == 'linux'")
    assert wheels.lacking([old], (3, 11), "Linux arm64") == ["some 1.0"]
    assert (
        wheels.lacking([old], (3, 12), "Linux arm64") == wheels.lacking([old], (3, 11), "macOS arm64") == []
    )


def test_pythons_checked_are_those_the_package_takes():
    metadata = (ROOT / "pyproject.toml").read_text()
    versions = [f"{major}.{minor}" for major, minor in wheels.PYTHONS]
    assert f'requires-python = ">={versions[0]},<3.{int(versions[-1][2:]) + 1}"' in metadata
    assert [v for v in versions if f"Python :: {v}" in metadata] == versions
    assert sys.version_info[:2] in wheels.PYTHONS
