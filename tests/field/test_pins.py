"""constraints.txt installs wherever the README says, from wheels alone: nothing has to be compiled there.

Resolved once for all platforms, from what the package index says about each package; none is downloaded.
"""

from __future__ import annotations

import os
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import canonicalize_name, parse_wheel_filename

from tutorial_utils import bootstrap, installer

ROOT = Path(__file__).parents[2]
OLDEST = "{}.{}.0".format(*bootstrap.OLDEST)  # Debian 12 has 3.11.2
PYTHONS = [(3, minor) for minor in range(bootstrap.OLDEST[1], bootstrap.NEWEST[1] + 1)]
GLIBC = 28  # 2.28 is what torch asks for: Debian 10, Ubuntu 20.04, Enterprise Linux 8
UNREACHABLE = ("Request failed", "Failed to fetch", "not found in the cache")


def linux(machine: str) -> list[str]:
    return [*(f"manylinux_2_{minor}_{machine}" for minor in range(5, GLIBC + 1)), f"manylinux2014_{machine}",
            f"manylinux2010_{machine}", f"manylinux1_{machine}"]  # fmt: skip


PLATFORMS = {
    "Linux on x86-64": (linux("x86_64"), {"sys_platform": "linux", "platform_machine": "x86_64"}),
    "Linux on aarch64": (linux("aarch64"), {"sys_platform": "linux", "platform_machine": "aarch64"}),
    "Windows": (["win_amd64"], {"sys_platform": "win32", "platform_machine": "AMD64"}),
    "macOS 14 on Apple silicon": (
        list(mac_platforms((14, 0), "arm64")),
        {"sys_platform": "darwin", "platform_machine": "arm64"},
    ),
}
NAMES = {"linux": ("Linux", "posix"), "win32": ("Windows", "nt"), "darwin": ("Darwin", "posix")}


def tags(python: tuple[int, int], platforms: list[str]) -> set[Tag]:
    """What an interpreter takes."""
    own = "cp{}{}".format(*python)
    return {*cpython_tags(python, [own], platforms), *compatible_tags(python, own, platforms)}


def applies(package: dict, python: tuple[int, int], about: dict[str, str]) -> bool:
    """Whether a package is needed on a platform, which pip asks in these words."""
    system, name = NAMES[about["sys_platform"]]
    version = "{}.{}".format(*python)
    words = {
        "python_version": version,
        "python_full_version": f"{version}.0",
        "platform_system": system,
        "os_name": name,
    }
    return "marker" not in package or Marker(package["marker"]).evaluate({**about, **words})


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """What is installed where: for each package its version, its wheels, and a marker of the platforms that need it."""
    if not find_spec("uv"):
        pytest.skip("this environment has no uv")
    ways = installer.connections(sys.executable, os.environ)
    for partial in ("extra-index-url", "find-links"):  # they may have the builds for this machine alone
        ways.pop(partial, None)
    folder = tmp_path_factory.mktemp("pins")
    command = [sys.executable, "-I", "-m", "uv", "pip", "compile", "pyproject.toml", "--all-extras", "--quiet"]
    command += ["--constraint", "constraints.txt", "--universal", "--python-version", OLDEST, "--no-build"]
    command += ["--format", "pylock.toml", "--output-file", str(folder / "pylock.toml")]
    try:
        installer.run(command, installer.for_uv(os.environ, ways, str(folder)), "The pins do not fit together", ROOT)
    except installer.SetupError as error:
        if any(sign in str(error) for sign in UNREACHABLE):
            pytest.skip("the package index cannot be reached")
        raise
    return tomllib.loads((folder / "pylock.toml").read_text(encoding="utf-8"))["packages"]


@pytest.mark.parametrize("python", PYTHONS, ids="{0[0]}.{0[1]}".format)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_package_has_a_wheel(packages, platform, python):
    platforms, about = PLATFORMS[platform]
    taken = tags(python, platforms)
    needed = [package for package in packages if applies(package, python, about)]
    assert {"torch", "tensorflow", "jupyterlab"} <= {package["name"] for package in needed}
    wheels = {
        f"{package['name']}=={package['version']}": [wheel["url"].rpartition("/")[-1] for wheel in package["wheels"]]
        for package in needed
    }
    without = {
        name for name, files in wheels.items() if not any(parse_wheel_filename(file)[3] & taken for file in files)
    }
    assert without == set()


def test_every_package_of_every_platform_is_pinned(packages):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    needed = {
        package["name"]: package["version"]
        for package in packages
        if any(applies(package, python, about) for python in PYTHONS for _, about in PLATFORMS.values())
    }
    assert needed.items() <= pins.items()
