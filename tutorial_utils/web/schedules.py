"""A scheduler of `diffusers` as a table of numbers, from which a page samples without knowing any of its formulas.

Every scheduler of the course is linear: its latent, at any step, is a sum of the noise at the start and of the
network's outputs so far, each times a number. The numbers are read off `diffusers` itself: sampled with a unit vector
in the place of the noise and of each output, a latent *is* the list of its coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tutorial_utils.sampling import diffusion


def table(name: str, steps: int, config: Mapping[str, object]) -> dict[str, list]:
    """What sampling takes with one of `diffusion.SCHEDULERS`, in so many steps, on a noise schedule.

    Returns:
        ``times`` (steps), as the networks take them, from 1 on; ``signal`` and ``noise`` (steps), the shares of the
        clean image and of the noise in the network's input; and ``rows`` (steps + 1). Row i < steps has 1 + i numbers:
        the shares of the starting noise and of the outputs of the steps before in the input of step i. The last row
        has those of the result.

    Raises:
        ValueError: there is no such scheduler, or it cannot take so many steps.
    """
    scheduler = diffusion.make_scheduler(name, dict(config))
    rows: list[list[float]] = []

    def network(x: torch.Tensor, times: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        rows.append(x[: len(rows) + 1, 0].tolist())
        return unit[len(rows)]

    unit = torch.eye(steps + 1, dtype=torch.float64)[..., None]  # (which, numbers, 1): each number as a sample
    taken = list(diffusion.sample(network, scheduler, unit[0], steps=steps))
    rows.append(taken[-1].latent[:, 0].tolist())
    times = torch.tensor([step.time for step in taken])
    signal, share = diffusion.signal_and_noise(scheduler, times)
    return {"times": (times + 1).tolist(), "signal": signal.tolist(), "noise": share.tolist(), "rows": rows}
