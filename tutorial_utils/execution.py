"""Executing the notebooks from top to bottom: into `build/` to look at, or in place to commit.

A name that fits no notebook, and a file that is none, are a ValueError.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbclient.output_widget import OutputWidget
from nbformat import NotebookNode

from tutorial_utils import failures, files, require
from tutorial_utils.checks import MARK
from tutorial_utils.working import ROOT

WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Outcome:
    """What one execution took, and why it failed if it did."""

    name: str
    seconds: float
    peak_memory_gb: float
    facts: int
    error: str = ""


def find_notebooks(names: list[str] | None = None) -> list[Path]:
    """The numbered notebooks in order, or those whose file name starts with one of `names`."""
    every = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not names:
        return every
    for name in names:
        if not any(path.name.startswith(name) for path in every):
            raise ValueError(f"No notebook starts with {name!r}: choose from {[path.stem for path in every]}.")
    return [path for path in every if path.name.startswith(tuple(names))]


def obstacle(path: Path) -> str:
    """What keeps a notebook from running here: packages that it imports and a light environment lacks; or nothing."""
    code = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "code"]
    if lacking := sorted({name for source in code for name in _imported(source) if not _is_here(name)}):
        return f"{path.stem} needs what is not installed here: {', '.join(lacking)}. `make LIGHT=0` installs it."
    return ""


def _imported(source: str) -> set[str]:
    """The packages that a cell imports whatever happens."""
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a magic of IPython's, or no code
        return set()
    names = [name.name for one in statements if isinstance(one, ast.Import) for name in one.names]
    names += [one.module for one in statements if isinstance(one, ast.ImportFrom) and not one.level]
    return {name.partition(".")[0] for name in names}


def _is_here(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def client_for(notebook: NotebookNode, folder: Path, **options: Any) -> NotebookClient:
    """What runs a notebook's cells in a kernel of its own, which starts in `folder`; `options` as NotebookClient's."""
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        kernel_manager_class=OwnKernel,
        record_timing=False,
        coalesce_streams=True,  # or a busy machine stores a printed line in two pieces
        extra_arguments=["--log-level=ERROR"],  # a hint on encrypting loopback connections helps no learner
        resources={"metadata": {"path": str(folder)}},
        **options,
    )
    client.widget_registry = {"@jupyter-widgets/output": {"OutputModel": SilentOutput}}
    return client


def execute(path: Path, progress: Callable[[int, int], None]) -> tuple[NotebookNode, Outcome]:
    """Run every cell of a notebook in a fresh kernel, stopping at the first error.

    Args:
        progress: called with the number of code cells done and their total, after each.

    Returns:
        The notebook with its outputs, without widget state; and what it took.
    """
    notebook = read_notebook(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # what an earlier run left is no result of this one, should it stop
            cell.outputs, cell.execution_count = [], None
    total, done, at = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells), 0, 0

    def begin(cell: NotebookNode, cell_index: int) -> None:
        nonlocal at
        at = cell_index

    def count(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
        nonlocal done
        done += 1
        progress(done, total)

    client = client_for(notebook, path.parent, on_cell_start=begin, on_cell_executed=count)
    started, error = time.perf_counter(), ""
    with PeakMemory() as memory:
        try:
            _execute(client)
        except CellExecutionError as failure:
            error = f"under '{heading_above(notebook, at)}': {failure.ename}: {failure.evalue}"
        except DeadKernelError:
            error = f"under '{heading_above(notebook, at)}': the kernel died, as it does when memory runs out"
        except RuntimeError as failure:
            error = f"before its first cell: {require.shortened(failure, 200)}"
    strip_widgets(notebook)
    seconds = time.perf_counter() - started
    return notebook, Outcome(path.stem, seconds, memory.peak / 1e9, count_facts(notebook), error)


class OwnKernels(KernelSpecManager):
    """The kernel of this very Python under the name python3, whatever other kernels are on Jupyter's path."""

    def _kernel_dirs_default(self) -> list[str]:
        return []


class OwnKernel(AsyncKernelManager):
    """Starts it."""

    def _kernel_spec_manager_default(self) -> OwnKernels:
        return OwnKernels()


def _execute(client: NotebookClient) -> None:
    """`client.execute()`, which Ctrl-C ends at once.

    nbclient answers Ctrl-C by stopping the kernel, and then waits for what the kernel has to say. It leaves the signal
    alone where it does not run in the main thread.
    """
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.execute)
        try:
            while wait([running], timeout=0.5).not_done:  # on Windows only a wait with an end can be interrupted
                pass
        except KeyboardInterrupt:
            while wait([running], timeout=0.2).not_done:
                for kernel in psutil.Process().children():
                    kernel.kill()
            raise
        running.result()


def read_notebook(path: Path) -> NotebookNode:
    """A notebook in the present format."""
    try:
        notebook = nbformat.reads(files.edited_text(path), as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # those of files, of JSON, and of every version of the format
        if failures.is_memory(error):
            raise
        reason = require.shortened(error, 200) or type(error).__name__
        raise ValueError(f"{path} could not be read as a notebook: {reason}") from error
    return notebook


class SilentOutput(OutputWidget):
    """Catches what is shown inside a live control, and does not tell the kernel.

    nbclient 0.11 answers every such output on the socket on which it waits for the cell's end. Now and then the
    notice of that end is lost (ZeroMQ announces a message once), and the notebook hangs.
    """

    def sync_state(self) -> None:
        pass


class PeakMemory:
    """The largest resident memory of this process's children, in bytes, sampled five times a second."""

    def __enter__(self) -> PeakMemory:
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.2):
            self.peak = max(self.peak, sum(map(_resident, me.children(recursive=True))))


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it ended in the meantime
        return 0


def heading_above(notebook: NotebookNode, cell_index: int) -> str:
    """The last heading before a cell, for a report that a reader can follow."""
    heading = "the beginning"
    for cell in notebook.cells[:cell_index]:
        if cell.cell_type == "markdown":
            heading = first_heading(cell.source) or heading
    return heading


def first_heading(markdown: str) -> str | None:
    """The text of the first heading in a markdown cell."""
    match = re.search(r"^#+ +(.+)$", markdown, re.MULTILINE)
    return match.group(1).strip() if match else None


def count_facts(notebook: NotebookNode) -> int:
    """How many facts `check` asserted."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return sum(line.startswith(MARK) for output in outputs for line in output.get("text", "").splitlines())


def strip_widgets(notebook: NotebookNode) -> None:
    """Remove live controls from a stored notebook: without a kernel, viewers show an error in their place."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]


def known_places() -> list[str]:
    """Folders of this machine that an output may name, the longest first."""
    places = [ROOT, Path(tempfile.gettempdir())]
    with contextlib.suppress(RuntimeError):  # there is no home
        places.append(Path.home())
    return sorted({str(place) for place in places if len(place.parts) > 1}, key=len, reverse=True)


def hide_places(notebook: NotebookNode) -> None:
    """Leave only "…" of where a notebook was executed: nobody else's folders have these names."""
    places = re.compile(rf"(?:{'|'.join(map(re.escape, known_places()))})(?=([\\/])?)")
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        for texts in (output, output.get("data", {})):
            for kind in texts.keys() & {"text", "text/plain", "text/html"}:
                texts[kind] = places.sub(lambda end: "…" if end[1] else "…/", texts[kind])


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, as a whole or not at all."""
    write_whole(path, nbformat.writes(notebook) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text, as a whole or not at all, into a folder that is made if it is lacking."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.draft(path) as partial:
        partial.write_text(text, encoding="utf-8")
