"""The package is light to import, and its wings know only what is below them."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import tutorial_utils

PACKAGE = Path(tutorial_utils.__file__).parent
HEAVY = {"torch", "tensorflow", "keras", "transformers", "diffusers", "modelscope", "torchvision", "jax"}


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    script = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    loaded = loaded_by("import tutorial_utils")
    assert "tutorial_utils" in loaded
    assert loaded.isdisjoint(HEAVY | {"numpy", "matplotlib"})


@pytest.mark.parametrize(
    "module",
    [
        "runtime",
        "checks",
        "preflight",
        "__main__",
        "assets.store",
        "assets.bundle",
        "datasets.fashion_mnist",
        "datasets.organmnist3d",
        "datasets.images",
        "networks.patches",
    ],
)
def test_a_module_that_computes_nothing_loads_no_framework(module):
    assert loaded_by(f"import tutorial_utils.{module}").isdisjoint(HEAVY)


# --- What may import what ---------------------------------------------------------------------------------------------


FLOORS = (
    {
        "openmp",
        "progress",
        "surroundings",
        "failures",
        "require",
        "files",
        "working",
        "editions",
        "checks",
        "bootstrap",
        "installer",
        "launch",
        "translations",
    },
    {"networks", "runtime", "execution"},
    {"assets", "catalogues", "definitions", "figures", "links", "pages", "spoken"},
    {"datasets", "preflight"},
    {"sampling", "measures"},
    {"exercises"},
    {"recipes", "slides", "teaching", "website"},
    {"web"},
    {"__main__"},
)
"""Wings and modules, from the ground up: each knows only what is on its own floor, inside its wing, or below."""


def module_of(path: Path) -> str:
    """A file's module inside the package, such as ``assets.store``; a wing by its own name."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__"}


def imports(path: Path) -> set[str]:
    """The package's modules that a file imports, wherever in it."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {name.removeprefix("tutorial_utils.") for name in named} & MODULES.keys()


def floor_of(module: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if module.split(".")[0] in floor)


def test_every_module_has_a_floor():
    assert {"assets", "assets.store", "sampling.latte", "__main__"} <= MODULES.keys()
    assert {module.split(".")[0] for module in MODULES} == set().union(*FLOORS)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_is_imported_from_above_or_from_beside(module):
    wing = module.split(".")[0]
    for imported in imports(MODULES[module]):
        beside = floor_of(imported) == floor_of(module) and imported.split(".")[0] != wing
        assert floor_of(imported) <= floor_of(module), f"{imported} is above"
        assert not (beside and "." in imported), f"{imported} is in another wing of the same floor"


def test_no_imports_go_in_a_circle():
    graphlib.TopologicalSorter({module: imports(path) - {module} for module, path in MODULES.items()}).prepare()


@pytest.mark.parametrize("wing", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_a_wing_has_a_docstring_of_one_sentence_and_hands_nothing_on(wing):
    (docstring,) = ast.parse((PACKAGE / wing / "__init__.py").read_text(encoding="utf-8")).body
    assert docstring.value.value.count("\n") == 0
