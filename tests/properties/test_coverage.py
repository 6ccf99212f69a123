"""Every public function and method is held to its docstring by a property, or it says here why it cannot be."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from strategies import TRIED

import tutorial_utils

MODULES = [name for _, name, is_package in pkgutil.iter_modules(tutorial_utils.__path__) if not is_package]

WITHOUT = {
    "it takes nothing from its caller": [
        "assets.cache_roots",
        "assets.manifest",
        "openmp.set_up",
        "runtime.cores",
        "runtime.quiet_libraries",
        "runtime.scale",
        "runtime.silent_startup",
        "sampling.imagenet_classes",
        "shards.is_main_process",
    ],
    "it is about servers, disks and the manifest, whose faults have tests of their own": [
        "assets.Asset.copies",
        "assets.Asset.location",
        "bundle",
        "downloads",
        "files.size_of",
        "preflight.to_come",
    ],
    "it is for dry runs, which have tests of their own": ["dry_run", "uvit.on_disk"],
    "it is a part of a network, and tried with the whole": [
        "uvit.Attention.forward",
        "uvit.Block.forward",
        "uvit.Mlp.forward",
        "uvit.PatchEmbed.forward",
        "uvit.UViT.embed",
        "uvit.UViT.unpatchify",
    ],
    "a library calls it, or has made it": ["execution.SilentOutput.sync_state", "plotting.LessonFigure.set"],
    "it runs before this library is installed": ["bootstrap"],
    "it is a command, and tested as one": ["__main__"],
}


def public_callables() -> set[str]:
    """Functions as ``module.function``, methods as ``module.Class.method``."""
    found = set()
    for short in MODULES:
        module = importlib.import_module(f"tutorial_utils.{short}")
        own = [member for member in vars(module).values() if getattr(member, "__module__", None) == module.__name__]
        methods = [method for kind in own if inspect.isclass(kind) for method in vars(kind).values()]
        found |= {f"{short}.{one.__qualname__}" for one in [*own, *methods] if inspect.isfunction(one)}
    return {name for name in found if not any(part.startswith(("_", "<")) for part in name.split(".")[1:])}


def test_every_public_function_is_tried_with_any_input(request):
    files = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    if request.config.option.keyword or not files <= {item.path.name for item in request.session.items}:
        pytest.skip("only after all the others")
    tried = {name.removeprefix("tutorial_utils.") for name, _ in TRIED}
    excused = {name for names in WITHOUT.values() for name in names}
    left = {name for name in public_callables() - tried if excused.isdisjoint({name, name.split(".")[0]})}
    assert not left, f"{sorted(left)} need a property, or a reason not to have one"
