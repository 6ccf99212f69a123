"""Every public function and method is held to its docstring by a property, or it says here why it cannot be."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from strategies import TRIED

import tutorial_utils

PREFIX = "tutorial_utils."
MODULES = [
    name.removeprefix(PREFIX)
    for _, name, is_package in pkgutil.walk_packages(tutorial_utils.__path__, PREFIX)
    if not is_package and not name.startswith("tutorial_utils.recipes")  # programs, with tests of their own
]

WITHOUT = {
    "it takes nothing from its caller": [
        "checks.untrue",
        "checks.voice",
        "figures.plotting.any_sign",
        "figures.palette.fills",
        "figures.palette.styles",
        "openmp.set_up",
        "runtime.cores",
        "runtime.quiet_libraries",
        "runtime.silent_startup",
        "sampling.by_class.imagenet_classes",
        "sampling.shards.is_main_process",
    ],
    "it is about servers, disks and the manifest, whose faults have tests of their own": [
        "assets.bundle",
        "assets.downloads",
        "assets.manifest.read",
        "assets.store.Store.caches",
        "assets.store.Store.choose",
        "assets.store.Store.copies",
        "assets.store.Store.present",
        "files.size_of",
        "preflight.to_come",
    ],
    "it runs the lessons' cells, which have tests of their own": ["definitions", "execution.client_for"],
    "it is tried with what calls it": [
        "execution.write_whole",
        "figures.alt",
        "pages.markdown_to_html",
        "progress",
        "require.unreadable",
        "sampling.sampler.Sampler.fill",
    ],
    "it is about what a machine does to us, and tests/field walks over all the places that it holds for": [
        "execution.hide_places",
        "execution.known_places",
        "failures",
        "figures.plotting.LessonFigure.draw",
        "figures.films",
        "files.alone",
        "files.digest",
        "files.draft_folder",
        "files.make_shared",
        "files.nearest",
        "files.open_to_all",
        "files.require_place",
        "surroundings",
        "working",
    ],
    "it is for dry runs, which have tests of their own": [
        "networks.uvit.on_disk",
        "sampling.dry_run",
    ],
    "it is a part of a network, and tried with the whole": [
        "networks.uvit.Attention.forward",
        "networks.uvit.Block.forward",
        "networks.uvit.Mlp.forward",
        "networks.uvit.PatchEmbed.forward",
        "networks.uvit.UViT.embed",
        "networks.uvit.UViT.unpatchify",
    ],
    "a library calls it, or has made it": ["execution.SilentOutput.sync_state", "figures.plotting.LessonFigure.set"],
    "it is about the course's own exercises, each of which is tried with right and wrong answers": [
        "editions",
        "exercises",
        "slides",
        "teaching",
        "checks.agree",
        "checks.is_numeric",
        "checks.plain",
        "checks.short",
    ],
    "it runs before this library is installed": ["bootstrap", "installer", "launch"],
    "it makes the site of this repository's own texts, and is tested on them": [
        "pages.formula",
        "pages.with_a_pause",
        "website",
    ],
    "it writes this repository's own files, and is tested on them": ["catalogues", "links"],
    "it is about this repository's own texts, and is tested on them": ["spoken", "translations"],
    "it makes the course's own page, whose networks and samples are compared with torch's": ["web"],
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
    excused = tuple(f"{name}." for names in WITHOUT.values() for name in names)
    left = {name for name in public_callables() - tried if not f"{name}.".startswith(excused)}
    assert not left, f"{sorted(left)} need a property, or a reason not to have one"
