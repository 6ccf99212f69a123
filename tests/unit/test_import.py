"""The package is light to import, and its parts know only what is below them."""

import ast
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
    "module", ["runtime", "assets", "checks", "patches", "datasets", "images", "preflight", "__main__"]
)
def test_a_module_that_computes_nothing_loads_no_framework(module):
    assert loaded_by(f"import tutorial_utils.{module}").isdisjoint(HEAVY)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_nothing_in_the_package_imports_its_recipes_or_its_tests(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    assert not [name for name in imported if name.startswith("tests") or "recipes" in name.split(".")]
