"""For a machine with a GPU: the lessons at `mini` on it, then U-ViT-H/2 and Latte-1 at their real sizes.

python tests/benchmarks/gpu.py [--skip-lessons]

About ten minutes. The published models have random weights here, which cost what trained ones do, and nothing is
downloaded. What is measured goes into `docs/report.md` under the GPU's name.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import real_sizes
from report import REPORT, with_section
from tutorial_utils import files, preflight, runtime
from tutorial_utils.execution import ROOT, execute, find_notebooks
from tutorial_utils.sampling import by_class, latte
from tutorial_utils.sampling.latte_config import Config, load_config

import torch
from diffusers import DDIMScheduler, LattePipeline
from transformers import T5Tokenizer

sys.path.insert(0, str(ROOT / "tests" / "unit"))
import t5_tokenizer

IMAGES = 32
ASKED = {name[:2]: table["full"] for name, table in preflight._table().items()}


def main() -> None:
    """Measure all that runs, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip-lessons", action="store_true")
    options = parser.parse_args()
    files.require_place(REPORT.parent, "the report")
    where = runtime.device()
    if where.type != "cuda":
        sys.exit("There is no CUDA GPU here that this PyTorch can use.")
    name = torch.cuda.get_device_name(where)
    rows = []
    for what, value in itertools.chain([] if options.skip_lessons else lessons(), uvit(where), clips(where)):
        rows.append(f"| {what} | {value} |")
        print(rows[-1])
    table = "\n".join(rows)
    about = f"{date.today()}, torch {torch.__version__}. `make gpu` writes this section. Random weights; n = 1 each."
    page = with_section(REPORT.read_text(encoding="utf-8"), name, f"{about}\n\n| | |\n|---|---|\n{table}")
    with files.draft(REPORT) as partial:
        partial.write_text(page, encoding="utf-8")


def lessons() -> Iterator[tuple[str, str]]:
    """Each lesson at `mini`, with its facts; lesson 2 on the backend that uses a GPU."""
    os.environ |= {"TUTORIAL_SCALE": "mini", "KERAS_BACKEND": "torch"}
    for path in find_notebooks():
        _, outcome = execute(path, lambda done, total: None)
        yield f"`{outcome.name}` at `mini`", outcome.error or f"{outcome.seconds:.0f} s, {outcome.facts} facts"


def uvit(where: torch.device) -> Iterator[tuple[str, str]]:
    """Lesson 3 at `full`: a grid of images with its settings, in single precision."""
    with torch.device(where):
        sampler = by_class.sampler(real_sizes.uvit().eval(), real_sizes.vae().eval())
    labels, seeds = torch.arange(IMAGES), list(range(IMAGES))
    found = measured(lambda: sampler.samples(labels, seeds, by_class.SETTINGS["full"]), where, ASKED["03"]["gpu_gb"])
    yield (
        f"U-ViT-H/2, {IMAGES} images of 256x256, 25 guided steps, float32",
        f"{found}; computed {real_sizes.uvit_gb(IMAGES):.1f} GB",
    )


def clips(where: torch.device) -> Iterator[tuple[str, str]]:
    """Lesson 4 at `full`: a clip with its settings, with the weights kept in each of the card's two ways."""
    config = load_config(ROOT / "notebooks/configs/latte_full.yaml")
    half = runtime.dtype(where, large=True)
    with tempfile.TemporaryDirectory() as folder:
        t5_tokenizer.write(Path(folder))
        tokenizer = T5Tokenizer.from_pretrained(folder)
    for choice in ASKED["04"]["choices"]:
        offload = choice["options"]["cpu_offload"]
        pipeline = random_latte(tokenizer, where, half, offload)
        found = measured(lambda pipeline=pipeline: one_clip(pipeline, config), where, choice["gpu_gb"])
        what = f"Latte-1, a clip of 16 frames of 512x512, 50 guided steps, {half}, cpu_offload: {str(offload).lower()}"
        yield what, f"{found}; computed {real_sizes.latte_gb(half, offload):.1f} GB"
        pipeline.remove_all_hooks()
        del pipeline


def one_clip(pipeline: LattePipeline, config: Config) -> torch.Tensor:
    """From a sentence to pixels."""
    prompts = latte.encode(pipeline, t5_tokenizer.CAPTIONS[:1])
    return latte.Clips(pipeline, config.frames).videos(prompts, [0], config.settings)


def random_latte(tokenizer: T5Tokenizer, where: torch.device, half: torch.dtype, offload: bool) -> LattePipeline:
    """Latte-1's pipeline as `latte_model.load_pipeline` makes it, with random weights."""
    with torch.device(where), default_dtype(half):
        made = (real_sizes.text_encoder(), real_sizes.temporal_decoder(), real_sizes.transformer())
        text, decoder, network = (part.to(where) for part in made)  # diffusers makes some weights on the processor
    scheduler = DDIMScheduler.from_config(real_sizes.configuration("latte-1.scheduler.json"))
    pipeline = LattePipeline(tokenizer, text.eval(), decoder.eval(), network.eval(), scheduler)
    if offload:
        pipeline.to("cpu")
        torch.cuda.empty_cache()
        pipeline.enable_model_cpu_offload()
    return pipeline


@contextmanager
def default_dtype(kind: torch.dtype) -> Iterator[None]:
    """Make new weights of this kind."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def measured(call: Callable[[], object], where: torch.device, gpu_gb: float) -> str:
    """Seconds of the second of two calls, in no more memory than a card asks for, and the most that was used.

    Without a limit cuDNN takes as much for its own work as there is.
    """
    gc.collect()  # of what was measured before
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e9 * gpu_gb / torch.cuda.mem_get_info(where)[1])
    torch.cuda.reset_peak_memory_stats(where)
    try:
        for _ in range(2):
            torch.cuda.synchronize(where)
            started = time.perf_counter()
            call()
            torch.cuda.synchronize(where)
    except torch.OutOfMemoryError:
        return f"does not fit into the {gpu_gb} GB that the card asks for"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    seconds, peak = time.perf_counter() - started, torch.cuda.max_memory_allocated(where) / 1e9
    return f"{seconds:.1f} s in the {gpu_gb} GB that the card asks for, {peak:.1f} GB used"


if __name__ == "__main__":
    main()
