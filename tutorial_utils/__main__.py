"""The command line: ``python -m tutorial_utils --help``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from tutorial_utils import assets as asset_store
from tutorial_utils import runtime

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Helpers of the video transformer notebooks.")
assets_app = typer.Typer(no_args_is_help=True, help="The checkpoints and data sets of the lessons.")
app.add_typer(assets_app, name="assets")
console = Console()

ScaleOption = Annotated[str | None, typer.Option("--scale", help="mini or full; TUTORIAL_SCALE by default.")]


def stop(error: Exception | str) -> NoReturn:
    """End with one message and a non-zero exit status."""
    Console(stderr=True).print(str(error), style="red", markup=False, highlight=False)
    raise typer.Exit(1)


def chosen_scale(option: str | None) -> runtime.Scale:
    """The scale from the command line or the environment."""
    try:
        return runtime.as_scale(option, "--scale") if option else runtime.scale()
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
        names = lessons(lesson)
    except ValueError as error:
        stop(error)
    cards = [card_of(name, chosen_scale(scale)) for name in names]
    for card in cards:
        typer.echo(f"{card}\n")
    raise typer.Exit(0 if all(card.ready for card in cards) else 1)


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="Beginnings of notebook names, such as 01.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the executed .ipynb and .html copies.")] = Path("build"),
    in_place: Annotated[bool, typer.Option("--in-place", help="Store the new outputs in notebooks/.")] = False,
) -> None:
    """Execute notebooks at TUTORIAL_SCALE and summarise what they took."""
    from tutorial_utils.execution import find_notebooks

    try:
        scale, paths = runtime.scale(), find_notebooks(names)
    except ValueError as error:
        stop(error)
    if in_place and scale != "mini":
        stop(f"TUTORIAL_SCALE={scale}: the notebooks are committed with the outputs of 'mini'; use --out instead.")
    outcomes = [run_one(path, None if in_place else out) for path in paths]
    summarise(outcomes)
    raise typer.Exit(1 if any(outcome.error for outcome in outcomes) else 0)


def run_one(path: Path, out: Path | None):
    """Execute one notebook under a progress line; write its copies to `out`, or itself if that is None."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from tutorial_utils.execution import execute, write_html, write_notebook

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(path.stem, total=None)
        notebook, outcome = execute(path, lambda done, total: progress.update(task, completed=done, total=total))
    if out is not None:
        write_notebook(notebook, out / path.name)
        write_html(notebook, out / f"{path.stem}.html")
    elif not outcome.error:
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


@assets_app.command("list")
def assets_list() -> None:
    """Every checkpoint and data set at both scales, and where it is."""
    table = Table("asset", "scale", "kind", "size", "licence", "where")
    for asset in asset_store.manifest():
        table.add_row(asset.name, asset.scale, asset.kind, f"{asset.size_bytes / 1e6:,.1f} MB", asset.licence, "")
    console.print(table)


@assets_app.command("fetch")
def assets_fetch(
    names: Annotated[list[str], typer.Argument(help="Names from `assets list`.")], scale: ScaleOption = None
) -> None:
    """Download what is missing, verify it, and print the folder."""
    for name in names:
        try:
            typer.echo(asset_store.fetch(name, chosen_scale(scale)))
        except (ValueError, asset_store.AssetError) as error:
            stop(error)


@assets_app.command("verify")
def assets_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names from `assets list`; all by default.")] = None,
    scale: ScaleOption = None,
) -> None:
    """Compare what is here with the manifest, byte by byte."""
    os.environ.setdefault("TUTORIAL_SCALE", "mini")


if __name__ == "__main__":
    app()
