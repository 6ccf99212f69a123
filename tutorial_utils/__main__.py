"""The command line: ``python -m tutorial_utils --help``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

try:
    import typer
except ModuleNotFoundError:  # another Python's than the course's
    sys.exit(
        "This Python lacks the course's packages: `make notebooks` once, then `.venv/bin/python -m tutorial_utils`."
    )
from rich import box
from rich.console import Console
from rich.table import Table

from tutorial_utils import failures, files, runtime, surroundings, translations, working
from tutorial_utils.assets import store
from tutorial_utils.assets.copies import AssetError
from tutorial_utils.assets.manifest import Asset
from tutorial_utils.progress import bar

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Helpers of the video transformer notebooks.",
    epilog="Exit status: 0 done; 1 not done, and said why; 2 no such command or option; 130 interrupted with Ctrl-C.",
)
assets_app = typer.Typer(no_args_is_help=True, help="The checkpoints and data sets of the lessons.")
app.add_typer(assets_app, name="assets")
sample_app = typer.Typer(no_args_is_help=True, help="Images and videos, generated into a folder.")
app.add_typer(sample_app, name="sample")
export_app = typer.Typer(no_args_is_help=True, help="The miniatures in formats of other programs.")
app.add_typer(export_app, name="export")
console = Console()

INTERRUPTED = 130
"""The exit status after Ctrl-C, by a custom of shells."""

ScaleOption = Annotated[str | None, typer.Option("--scale", help="mini or full; TUTORIAL_SCALE by default.")]
LanguageOption = Annotated[str | None, typer.Option("--language", help="en or zh; TUTORIAL_LANGUAGE by default.")]


def stop(error: Exception | str) -> NoReturn:
    """End with one message and a non-zero exit status."""
    complain(words(error))
    raise typer.Exit(1)


def words(error: Exception | str) -> str:
    """What an error says to a person."""
    return failures.in_a_line(error) if isinstance(error, OSError) else str(error)


def complain(message: str) -> None:
    """Print a message in red on stderr, a line of it as one line however narrow the terminal is."""
    with contextlib.suppress(ValueError):  # of a language that there is not
        message = translations.say(message)
    with contextlib.suppress(OSError):  # nobody can be told that nobody can be told
        Console(stderr=True).print(message, style="red", markup=False, highlight=False, soft_wrap=True, emoji=False)


def chosen_scale(option: str | None) -> runtime.Scale:
    """The scale from the command line or the environment."""
    try:
        return runtime.scale(option, "--scale")
    except ValueError as error:
        stop(error)


def chosen_language(option: str | None) -> translations.Language:
    """The language from the command line or the environment."""
    try:
        return translations.find(option, "--language") if option else translations.current()
    except ValueError as error:
        stop(error)


def require_place(folder: Path, option: str = "--out") -> None:
    """Stop unless results can be written to a folder: it is better to know before there are any."""
    try:
        files.require_place(folder, option)
    except ValueError as error:
        stop(error)


@app.command()
def preflight(
    lesson: Annotated[str | None, typer.Argument(help="For example 01; every lesson by default.")] = None,
    scale: ScaleOption = None,
) -> None:
    """Can this machine run a lesson, and what will it use?"""
    from tutorial_utils.preflight import lessons
    from tutorial_utils.preflight import preflight as card_of

    try:
        cards = [card_of(name, chosen_scale(scale)) for name in lessons(lesson)]
    except ValueError as error:
        stop(error)
    for card in cards:
        typer.echo(f"{card}\n")
    raise typer.Exit(0 if all(card.ready for card in cards) else 1)


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="Beginnings of notebook names, such as 01.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the executed .ipynb and .html copies.")] = Path("build"),
    in_place: Annotated[bool, typer.Option("--in-place", help="Store the new outputs in notebooks/.")] = False,
    language: LanguageOption = None,
) -> None:
    """Execute notebooks at TUTORIAL_SCALE and summarise what they took. The copies are in your language."""
    chosen = chosen_language(language)
    surroundings.clear()
    from tutorial_utils.execution import ROOT, find_notebooks, obstacle

    if out.resolve() == ROOT / "notebooks":
        stop(f"--out {out} would overwrite the committed notebooks: use --in-place if that is what you want.")
    try:
        scale, paths = runtime.scale(), find_notebooks(names)
        obstacles = {path: words for path in paths if (words := obstacle(path))}
    except ValueError as error:
        stop(error)
    require_place(paths[0].parent if in_place else out)
    if in_place and scale != "mini":
        stop(f"TUTORIAL_SCALE={scale}: the notebooks are committed with the outputs of 'mini'; use --out instead.")
    if obstacles and names:
        stop("\n".join(obstacles.values()))
    for words in obstacles.values():
        typer.echo(words)
    outcomes = [run_one(path, None if in_place else out, chosen) for path in paths if path not in obstacles]
    summarise(outcomes)
    raise typer.Exit(1 if any(outcome.error for outcome in outcomes) else 0)


@app.command()
def editions(
    names: Annotated[list[str] | None, typer.Argument(help="Beginnings of notebook names, such as 01.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for student/, instructor/ and slides/.")] = Path("build/editions"),
    language: LanguageOption = None,
) -> None:
    """Write the lessons for learners, with gaps; for teachers, with plan and wrong answers to expect; and as slides."""
    from tutorial_utils import teaching
    from tutorial_utils.execution import find_notebooks

    chosen = chosen_language(language)
    require_place(out)
    try:
        for lesson in find_notebooks(names):
            for name, write in teaching.written(lesson, chosen).items():
                write(out / name)
                typer.echo(out / name)
    except (ValueError, OSError) as error:
        stop(error)


@app.command()
def site(out: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path("build/site")) -> None:
    """Make a site of the course, in every language, from the stored notebooks. Needs `make site` once."""
    from tutorial_utils.website import build

    require_place(out)
    try:
        build.build(out)
    except (ValueError, OSError) as error:
        stop(error)
    typer.echo(out / "index.html")


@app.command("translations")
def update_translations() -> None:
    """Bring the catalogues and the README of each language up to date, and say what is due to be translated."""
    from tutorial_utils import catalogues

    for language in translations.LANGUAGES.values():
        if language is not translations.ENGLISH:
            for name, lacking in catalogues.update(language).items():
                typer.echo(f"{language.name} {name}: {len(lacking)} due")


def run_one(path: Path, out: Path | None, language: translations.Language):
    """Execute one notebook under a progress line; write its copies to `out`, or itself if that is None."""
    from tutorial_utils.execution import execute, hide_places, write_notebook
    from tutorial_utils.pages import write_html

    with bar(path.stem, "cells") as progress:
        notebook, outcome = execute(path, progress)
    if out is not None:
        language.translate(notebook, path.stem)
        write_notebook(notebook, out / path.name)
        write_html(notebook, out / f"{path.stem}.html", language)
    elif not outcome.error:
        hide_places(notebook)
        write_notebook(notebook, path)
    if outcome.error:
        console.print(f"{path.stem} stopped {outcome.error}", style="red", markup=False, highlight=False)
    return outcome


def summarise(outcomes: list) -> None:
    """A table with a row per notebook."""
    table = Table("notebook", "time", "peak memory", "facts checked", "result")
    for one in outcomes:
        result = "[red]failed[/]" if one.error else "[green]passed[/]"
        table.add_row(one.name, f"{one.seconds:.0f} s", f"{one.peak_memory_gb:.1f} GB", str(one.facts), result)
    console.print(table)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Option(help="Where your copies are, or will be; work/ by default.")] = None,
    edition: Annotated[str, typer.Option(help="student, with gaps to fill, or instructor.")] = "student",
    language: LanguageOption = None,
) -> None:
    """JupyterLab on copies of the lessons that are yours to change. Other options are JupyterLab's own."""
    surroundings.clear(keep_jupyter=True)
    from tutorial_utils import teaching

    chosen = chosen_language(language)
    editions = teaching.editions(chosen)
    if edition not in editions:
        stop(f"--edition {edition!r} is unknown: choose one of {', '.join(editions)}.")
    folder = folder or working.home(edition, chosen)
    require_place(folder, "--folder")
    os.environ["TUTORIAL_LANGUAGE"] = chosen.code  # for the kernels
    for newer in working.bring(folder, editions[edition], chosen):
        typer.echo(newer)
    command = [sys.executable, "-m", "jupyterlab", str(folder)]  # the module: the script may not start, if it was moved
    command += [*working.OFFLINE, "--ServerApp.kernel_spec_manager_class=tutorial_utils.execution.OwnKernels"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # as in a container; who is root knows it
    raise typer.Exit(serve([*command, *context.args]))


def serve(command: list[str]) -> int:
    """Run a program that asks its own question at Ctrl-C, to its end: its status."""
    process = subprocess.Popen(command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return process.wait()


@app.command()
def reset(
    lesson: Annotated[str, typer.Argument(help="The beginning of its name, such as 03.")],
    folder: Annotated[Path | None, typer.Option(help="Where your copies are; work/ by default.")] = None,
    language: LanguageOption = None,
) -> None:
    """Begin a lesson anew: a fresh copy of it, with yours kept beside it."""
    chosen = chosen_language(language)
    folder = folder or working.home(language=chosen)
    require_place(folder, "--folder")
    try:
        kept = working.reset(folder, lesson, chosen)
    except ValueError as error:
        stop(error)
    for fresh, former in kept.items():
        typer.echo(f"{fresh} is new{f'; yours is {former.name} now' if former else ''}.")


@app.command()
def bundle(
    out: Annotated[Path, typer.Option(help="Folder to fill, on a stick or where the class's machines can read it.")],
    names: Annotated[list[str] | None, typer.Argument(help="Names from `assets list`; all by default.")] = None,
    scale: ScaleOption = None,
) -> None:
    """Fetch and verify what a class needs, into one folder, and try whether the lessons can use it.

    If interrupted, run it again to go on.
    """
    from tutorial_utils.assets import bundle as bundles

    chosen = chosen_scale(scale)
    require_place(out)
    try:
        wanted = store.COURSE.choose(names or (), chosen)
        if obstacle := bundles.obstacle(wanted, out):
            stop(obstacle)
        files.make_shared(out)
        typer.echo(bundles.announcement(wanted, out))
    except (ValueError, OSError) as error:
        stop(error)
    table, failed = Table("asset", "size", "what happened"), False
    for asset in wanted:
        try:
            outcome = bundles.add(asset, out)
            if asset.is_published:
                from tutorial_utils.sampling.dry_run import (
                    rehearse,  # imports torch, which what is bundled does not need
                )

                rehearse(asset, out / asset.folder_name)
        except (ValueError, OSError, AssetError) as error:
            complain(words(error))
            outcome, failed = "[red]failed[/]", True
        table.add_row(asset.name, asset.size, outcome)
    console.print(table)
    if failed:
        stop("Not everything is there. Run the same command again: it goes on from what has come.")
    typer.echo(bundles.instructions(wanted, out))


@assets_app.command("list")
def assets_list() -> None:
    """Every checkpoint and data set, and where it is."""
    layout = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False, "show_edge": False}
    table = Table("asset", "scale", "kind", "size", "licence", **layout)
    table.add_column("where", overflow="fold")
    try:
        for asset, scales in entries():
            table.add_row(asset.name, scales, asset.kind, asset.size, asset.licence, whereabouts(asset))
    except ValueError as error:
        stop(error)
    console.print(table)


@assets_app.command("fetch")
def assets_fetch(
    names: Annotated[list[str], typer.Argument(help="Names from `assets list`.")], scale: ScaleOption = None
) -> None:
    """Download what is missing, verify it, and print the folders."""
    chosen = chosen_scale(scale)
    try:
        for name in names:  # a slip in the last name should not be found after an hour of downloads
            store.COURSE.find(name, chosen)
        for name in names:
            typer.echo(store.COURSE.fetch(name, chosen))
    except (ValueError, AssetError) as error:
        stop(error)


@assets_app.command("verify")
def assets_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names from `assets list`; all by default.")] = None,
    scale: Annotated[str | None, typer.Option(help="mini or full; both by default.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Download again just what is damaged.")] = False,
) -> None:
    """Compare what is here with the manifest, byte by byte; a name of which nothing is here counts as a problem."""
    chosen = None if scale is None else chosen_scale(scale)
    absent, damaged = set(names or ()), False
    try:
        for name in absent:
            store.COURSE.find(name, chosen)
        for asset, scales in entries(chosen):
            if names and asset.name not in names:
                continue
            present = store.COURSE.present(asset)
            problems = [problem for copy in present for problem in copy.damage().values()]
            state = "not sound:" if problems else f"{'sound, ' if present else ''}{whereabouts(asset)}"
            typer.echo(f"{asset.name} ({scales}): {state}")
            for problem in problems:
                complain(f"  {problem}")
            if problems and not repair:
                typer.echo(f"  {present[0].remedy}")
            damaged |= bool(problems) and not (repair and repaired(asset))
            if present or asset.kind == "generated":
                absent.discard(asset.name)
    except ValueError as error:
        stop(error)
    for name in sorted(absent):
        complain(f"{name} is not on this machine.")
    raise typer.Exit(1 if damaged or absent else 0)


def repaired(asset: Asset) -> bool:
    """Whether an asset could be repaired; it is said, too."""
    try:
        problems = store.COURSE.repair(asset.name, asset.scale)
    except AssetError as error:
        problems = [str(error)]
    for problem in problems:
        complain(f"  {problem}")
    if not problems:
        typer.echo(f"{asset.name}: repaired, sound")
    return not problems


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="vit, vae, uvit, latte or vivit.")],
    images: Annotated[
        Path | None, typer.Option(help="Own pictures for vit, vae or uvit: a folder with a subfolder for each class.")
    ] = None,
    share: Annotated[float, typer.Option(help="0.01 takes a hundredth of the recipe's steps.")] = 1.0,
    out: Annotated[
        Path | None, typer.Option(help="A new folder for the network and its card; in build/ if not given.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder for the state from which an interrupted run goes on; a cache if not given."),
    ] = None,
) -> None:
    """Train a network by the recipe of its miniature. If interrupted, run it again to go on.

    In full, two processor cores take about 1.5 hours for vit or vivit, 3.5 for vae
    and 14 for uvit (24,800 steps, half a step a second); a GPU takes minutes.
    Try --share 0.01 first.
    """
    from tutorial_utils.recipes import orders

    runtime.quiet_libraries()
    try:
        made = orders.Order(recipe, images, share).carry_out(out, work)
    except (ValueError, OSError, AssetError) as error:
        stop(error)
    for card in sorted(made.rglob("README.md")):
        *_, text = card.read_text(encoding="utf-8").split("\n---\n", 1)  # without the lines that are for programs
        typer.echo(f"{card}:\n{text}")


@sample_app.command("uvit")
def sample_uvit(
    out: Annotated[Path, typer.Option(help="Folder for samples.npz and grid.png; interrupted runs go on from it.")],
    classes: Annotated[str, typer.Option(help="Numbers or names, separated by commas; or all.")] = "all",
    num: Annotated[int, typer.Option(min=1, help="Samples of each class.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Sample k of a seed is the same in every run.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the scheduler; the lesson's by default.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="1 is none; the lesson's by default.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="The lesson's by default.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at once.")] = 50,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A folder that `train uvit` has made; the network of the scale if not given.")
    ] = None,
    scale: ScaleOption = None,
) -> None:
    """Images by class (lesson 3). With several processes: accelerate launch -m tutorial_utils sample uvit ..."""
    chosen = chosen_scale(scale)
    require_place(out)
    from tutorial_utils.sampling import by_class, diffusion, shards

    runtime.quiet_libraries()
    given = {"steps": steps, "guidance_scale": guidance, "scheduler": scheduler}
    given = {name: value for name, value in given.items() if value is not None}
    first = shards.is_main_process()
    try:
        settings = replace(by_class.SETTINGS["mini" if checkpoint else chosen], **given)
        diffusion.set_timesteps(diffusion.make_scheduler(settings.scheduler), settings.steps)
        network, vae, known = by_class.load_own(checkpoint) if checkpoint else by_class.load(chosen)
        besides = {"checkpoint": by_class.digest_of(checkpoint)} if checkpoint else {}
        labels = [label for label in by_class.chosen_classes(classes, known) for _ in range(num)]
        with bar("sampling", "batches", shown=first) as progress:
            sampler = by_class.sampler(network, vae, batch_size)
            by_class.sample_to_folder(sampler, labels, seed, settings, out, progress, besides)
    except (ValueError, OSError, AssetError) as error:
        stop(error)
    if first:
        typer.echo(out)


@sample_app.command("latte")
def sample_latte(
    config: Annotated[Path, typer.Option(help="What to generate, such as notebooks/configs/latte_mini.yaml.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the clips, the file's by default; interrupted runs go on from it.")
    ] = None,
    scale: ScaleOption = None,
) -> None:
    """Clips from sentences (lesson 4). With several processes: accelerate launch -m tutorial_utils sample latte ..."""
    chosen = chosen_scale(scale)
    from tutorial_utils.figures import films
    from tutorial_utils.preflight import preflight as card_of
    from tutorial_utils.sampling import latte, latte_config, latte_model, shards

    runtime.quiet_libraries()
    first = shards.is_main_process()
    try:
        with contextlib.suppress(FileNotFoundError):  # which the next line says better
            config = working.lesson_file(config)
        wanted = latte_config.load_config(config, card_of("04", chosen).options)
        folder = out or wanted.out
        require_place(folder)
        films.ffmpeg()
        pipeline = latte_model.load_pipeline(wanted, chosen)
        with plain_warnings(latte.PromptWarning, shown=first):
            prompts = latte.encode(pipeline, wanted.prompts, wanted.negative_prompt)
        clips = latte.Clips(pipeline, wanted.frames, wanted.temporal_attention, wanted.batch_size)
        with bar("sampling", "batches", shown=first) as progress:
            latte.sample_to_folder(clips, prompts, wanted, folder, progress)
    except (ValueError, OSError, AssetError) as error:
        stop(error)
    if first:
        typer.echo(folder)


@export_app.command("onnx")
def export_onnx(
    out: Annotated[Path, typer.Option(help="A folder of its own; one of an earlier export is replaced.")],
) -> None:
    """The miniatures as ONNX files, with all that a web page needs to run the lessons' models without Python."""
    require_place(out)
    runtime.quiet_libraries()
    from tutorial_utils.web import export

    try:
        export.export(out, typer.echo)
    except (ValueError, OSError, AssetError) as error:
        stop(error)
    typer.echo(out)


@app.command("lab-page")
def lab_page(
    out: Annotated[Path, typer.Option(help="Folder for site/lab/ and lab.html.")] = Path("build"),
) -> None:
    """The miniatures live in a web page: as a folder for a server, and as one file that opens without any."""
    require_place(out)
    runtime.quiet_libraries()
    from tutorial_utils.web import page

    try:
        for made in page.build(out, typer.echo):
            typer.echo(made)
    except (ValueError, OSError, AssetError) as error:
        stop(error)


@contextlib.contextmanager
def plain_warnings(kind: type[Warning], shown: bool = True) -> Iterator[None]:
    """Print the warnings of one kind as a line each, at the end; leave out all others."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", kind)
        yield
    for warning in caught:
        if shown and issubclass(warning.category, kind):
            complain(str(warning.message))


def entries(scale: runtime.Scale | None = None) -> list[tuple[Asset, str]]:
    """The assets of one scale or of both, each with its scale; one that both scales share comes once, with "both"."""
    shared_by: dict[Asset, list[Asset]] = {}
    for asset in store.COURSE.assets:
        if scale in (None, asset.scale):
            shared_by.setdefault(replace(asset, scale=""), []).append(asset)
    return [(shared[0], "both" if len(shared) > 1 else shared[0].scale) for shared in shared_by.values()]


def whereabouts(asset: Asset) -> str:
    """Where an asset is, or what has to happen before it is anywhere."""
    if not asset.is_published:
        return asset.kind
    copy = store.COURSE.sound(asset)
    return f"in the cache at {copy.folder}" if copy else "to download"


def main() -> int:
    """Run the command line; a wrong command or option is one line, as every other mistake is."""
    failures.any_encoding()
    try:
        status = app(standalone_mode=False) or 0
        if sys.stdout:
            sys.stdout.flush()  # what cannot be written is better found now than at Python's end
    except typer.TyperException as error:
        if message := error.format_message():  # empty where only the help is shown
            complain(f"{message} (--help shows what there is.)")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough, as head does
        failures.nobody_listens()
        return 1
    except Exception as error:
        if not failures.is_systems(error):
            raise
        failures.nobody_listens()
        complain(failures.in_a_line(error))
        return 1
    if status == INTERRUPTED:  # typer makes a status of Ctrl-C
        complain("Interrupted: what was finished is kept, and the same command goes on from there.")
    return status


if __name__ == "__main__":
    sys.exit(main())
