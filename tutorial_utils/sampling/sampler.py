"""One sampler for pictures and clips: everything that sampling from a trained network takes, in one object.

Sample k of a run has its own seed, so it is the same in every batch, in every order, and on every process.
Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tutorial_utils import require
from tutorial_utils.datasets.images import as_bytes
from tutorial_utils.sampling import diffusion, shards
from tutorial_utils.sampling.diffusion import Settings, sample_seed


@dataclass(frozen=True)
class Sampler:
    """A network and what its samples are made with. Its labels are classes, or stand for sentences.

    Attributes:
        network: as `diffusion.sample` calls it.
        schedule: the configuration of a scheduler: the noise that the network was trained on.
        shape: of a latent: (C, H, W) of a picture, (C, F, H, W) of a clip.
        decode: turns latents (N, ...), on the network's device, into samples in [0, 1], on the CPU.
        null_labels: integers (K,): to each label the one that means "no class", or what is to be avoided. Its device is
            the network's.
        batch_size: how many samples are made at once.
    """

    network: diffusion.Network
    schedule: Mapping[str, object]
    shape: tuple[int, ...]
    decode: Callable[[Tensor], Tensor]
    null_labels: Tensor
    batch_size: int = 100

    def __post_init__(self) -> None:
        require.whole("batch_size", self.batch_size, 1)

    def steps(
        self, labels: Tensor | Sequence[int], seeds: Sequence[int], settings: Settings
    ) -> Iterator[diffusion.Step]:
        """Sample latents a step at a time: for each of the labels, integers (N,), with one seed each."""
        labels = self._understood(labels, seeds).to(self.null_labels.device)
        sources = diffusion.generators(seeds)
        return diffusion.sample(
            self.network,
            diffusion.make_scheduler(settings.scheduler, self.schedule),
            diffusion.draw_noise(sources, self.shape).to(labels.device),
            labels,
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            guidance_interval=settings.guidance_interval,
            null_label=self.null_labels[labels],
            sources=sources,
        )

    def samples(self, labels: Tensor | Sequence[int], seeds: Sequence[int], settings: Settings) -> Tensor:
        """Pictures (N, 3, H, W) or clips (N, F, 3, H, W) in [0, 1], on the CPU, for one or more labels (N,)."""
        labels = self._understood(labels, seeds, least=1)
        diffusion.generators(seeds)  # the last seed, too, is looked at before anything is sampled
        parts = [slice(start, start + self.batch_size) for start in range(0, len(labels), self.batch_size)]
        ends = (diffusion.last(self.steps(labels[part], seeds[part], settings)).latent for part in parts)
        return torch.cat([self.decode(latents) for latents in ends])

    def _understood(self, labels: Tensor | Sequence[int], seeds: Sequence[int], least: int = 0) -> Tensor:
        """The labels as a tensor (N,) of what the network knows, if there is a seed for each of them."""
        most = len(self.null_labels) - 1
        if isinstance(labels, Sequence):
            labels = torch.tensor([_label(one, most) for one in labels], dtype=torch.int64)
        if least and getattr(labels, "shape", None) == (0,):
            raise ValueError("There are no labels: give one for each sample that you want.")
        require.integers("labels", labels, "N", within=(0, most))
        if not isinstance(seeds, Sized):
            raise ValueError(f"seeds={seeds!r} must be a list: each of the {len(labels)} samples needs a seed.")
        if len(seeds) != len(labels):
            raise ValueError(f"{len(seeds)} seeds were given for {len(labels)} samples: each needs one.")
        return labels

    def fill(
        self,
        out: Path,
        request: dict,
        labels: Tensor,
        seed: int,
        settings: Settings,
        finish: Callable[[np.ndarray], shards.Saved],
        complete: Callable[[shards.Saved], None],
        keep: Callable[[slice, np.ndarray], None] = lambda numbers, samples: None,
        progress: shards.Progress = lambda done, total: None,
    ) -> None:
        """Write `samples.npz` into a folder: a sample for each label, in order; sample k has ``sample_seed(seed, k)``.

        An interrupted run goes on from the batches that it has finished, and processes share them: see `shards.fill`.

        Args:
            out, request, complete, progress: see `shards.fill`.
            keep: called with the numbers of each batch and its samples, bytes (N, ..., H, W, 3), as soon as they are
                there.
            finish: called with all samples at the end, returns what is to be saved beside their seeds.

        Raises:
            ValueError: `out` holds the samples of another request, or parts of them are missing at the end; or the
                labels, the seed or the settings are not allowed.
        """
        seeds = [sample_seed(seed, k) for k in range(len(labels))]
        require.integers("labels", labels, "N", least=1, within=(0, len(self.null_labels) - 1))
        self.steps(labels[:1], seeds[:1], settings)  # what makes no sense is refused before `out` is claimed

        def make(numbers: slice) -> np.ndarray:
            made = as_bytes(self.samples(labels[numbers], seeds[numbers], settings))
            keep(numbers, made)
            return made

        def finished(samples: np.ndarray) -> shards.Saved:
            return finish(samples) | {"seeds": np.array(seeds)}

        shards.fill(out, request, len(labels), self.batch_size, make, finished, complete, progress)


def _label(one: int, most: int) -> int:
    if isinstance(one, str):
        raise ValueError(f"{one!r} is a name, and a label from 0 to {most} is due: `names.index({one!r})`, say.")
    return require.whole("label", one, 0, most)
