"""One list of pins: pyproject.toml, constraints.txt, environment.yml and the running environment agree."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tutorial_utils import bootstrap

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
LESSON_2 = EXTRAS["lesson2"]
DIRECT = [Requirement(text) for text in [*PYPROJECT["project"]["dependencies"], *LESSON_2]]
CONSTRAINTS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINS = {canonicalize_name(pin.name): pin for pin in CONSTRAINTS}
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PYTHONS = SpecifierSet(PYPROJECT["project"]["requires-python"])

NEEDED = [
    "jupyterlab",
    "torch",
    "torchvision",
    "tensorflow",
    "keras",
    "medmnist",
    "matplotlib",
    "modelscope",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "einops",
    "torchinfo",
    "torchmetrics",
    "imageio",
    "imageio-ffmpeg",
    "ipywidgets",
    "scikit-learn",
    "scikit-image",
    "typer",
    "nbval",
    "pytest",
    "ruff",
]


def pinned_version(name: str) -> str:
    (specifier,) = PINS[canonicalize_name(name)].specifier
    return specifier.version


def test_every_constraint_is_exact_and_none_is_given_twice():
    for pin in CONSTRAINTS:
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin
    assert len(PINS) == len(CONSTRAINTS)


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_a_direct_dependency_has_a_pin_that_agrees_with_pyproject(requirement):
    assert canonicalize_name(requirement.name) in PINS
    assert requirement.specifier, "how old may it be?"
    assert requirement.specifier.contains(pinned_version(requirement.name))


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_package_of_an_extra_is_pinned(extra):
    assert {canonicalize_name(Requirement(text).name) for text in EXTRAS[extra]} <= PINS.keys()


def test_what_is_left_out_of_a_light_environment_is_an_extra():
    assert bootstrap.WHOLE in EXTRAS
    assert {Requirement(text).name for text in EXTRAS[bootstrap.WHOLE]} == {"keras", "medmnist", "tensorflow"}


def test_no_direct_dependency_is_declared_twice():
    names = [canonicalize_name(requirement.name) for requirement in DIRECT]
    assert sorted(names) == sorted(set(names))


def test_the_build_system_is_pinned_to_the_same_version():
    for text in PYPROJECT["build-system"]["requires"]:
        requirement = Requirement(text)
        assert str(requirement.specifier) == f"=={pinned_version(requirement.name)}"


@pytest.mark.parametrize("name", NEEDED)
def test_a_package_that_the_lessons_need_is_declared(name):
    assert canonicalize_name(name) in {canonicalize_name(requirement.name) for requirement in DIRECT}


def test_nbval_is_the_version_that_the_wiring_reaches_into():
    assert pinned_version("nbval") == "0.11.0"


def test_torch_and_torchvision_are_a_pair():
    wants = [Requirement(text) for text in distribution("torchvision").requires]
    (torch,) = [requirement for requirement in wants if requirement.name == "torch"]
    assert torch.specifier.contains(pinned_version("torch"))


def conda_python() -> str:
    (python,) = [text for text in CONDA["dependencies"] if isinstance(text, str) and text.startswith("python=")]
    return python.removeprefix("python=")


def test_condas_python_satisfies_requires_python():
    assert conda_python() in PYTHONS


def test_conda_leaves_every_pin_to_constraints_txt():
    names = [text for text in CONDA["dependencies"] if isinstance(text, str)]
    assert names == [f"python={conda_python()}", "pip"]
    (section,) = [part for part in CONDA["dependencies"] if isinstance(part, dict)]
    assert section == {"pip": ["--constraint constraints.txt", "--editable .[lesson2]"]}


def test_bootstrap_accepts_the_pythons_that_pyproject_accepts():
    for minor in range(8, 20):
        accepted = bootstrap.OLDEST <= (3, minor) <= bootstrap.NEWEST
        assert accepted == (f"3.{minor}" in PYTHONS), f"3.{minor}"


def test_every_installed_package_has_its_pinned_version():
    installed = {canonicalize_name(found.name): found.version for found in distributions()}
    both = installed.keys() & PINS.keys()
    assert len(both) >= len(DIRECT) - len(LESSON_2)  # a light environment has none of these
    pinned = {name: Version(pinned_version(name)) for name in both}
    released = {name: Version(Version(installed[name]).public) for name in both}  # torch's builds have names: +cpu
    differing = {name: installed[name] for name in both if released[name] != pinned[name]}
    assert differing == {}


@pytest.mark.skipif(sys.platform != "linux", reason="constraints.txt was frozen on Linux")
def test_everything_that_a_dependency_brings_is_pinned_too():
    unpinned, seen, queue = set(), set(), [(requirement, "") for requirement in DIRECT]
    while queue:
        requirement, extra = queue.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if name not in PINS:
            unpinned.add(name)
        extras = {"", *requirement.extras}
        for wanted in extras - {done for known, done in seen if known == name}:
            seen.add((name, wanted))
            try:
                brings = distribution(name).requires or []
            except PackageNotFoundError:
                brings = []
            queue += [(Requirement(text), wanted) for text in brings]
    assert len(seen) > len(DIRECT)
    assert unpinned == set()
