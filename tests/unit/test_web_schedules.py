"""A scheduler's table of numbers does what the scheduler does."""

import pytest
import torch

from tutorial_utils.assets.store import fetch
from tutorial_utils.networks import checkpoints
from tutorial_utils.sampling import diffusion, latte
from tutorial_utils.web import schedules

CLIPS = latte.schedule_of(checkpoints.read_config(fetch("latte", "mini") / "scheduler/scheduler_config.json"))
ALL = [(name, diffusion.UVIT) for name in diffusion.SCHEDULERS] + [("dpm-multi", CLIPS), ("unipc", CLIPS)]


@pytest.mark.parametrize(("name", "config"), ALL)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_sums_by_the_table_are_the_inputs_and_the_result_of_diffusers(name, config, steps):
    source = torch.Generator().manual_seed(0)
    noise, *outputs = torch.randn(1 + steps, 3, 4, 2, 2, generator=source)
    inputs, left = [], iter(outputs)

    def network(x, times, labels):
        inputs.append((x, times))
        return next(left)

    end = diffusion.last(diffusion.sample(network, diffusion.make_scheduler(name, config), noise, steps=steps))
    table = schedules.table(name, steps, config)
    sums = [sum(share * one for share, one in zip(row, [noise, *outputs], strict=False)) for row in table["rows"]]
    for (x, times), by_table, time in zip(inputs, sums, table["times"], strict=False):
        torch.testing.assert_close(by_table, x, atol=1e-4, rtol=1e-5)
        assert times.tolist() == [time] * 3
    torch.testing.assert_close(sums[-1], end.latent, atol=1e-4, rtol=1e-5)
    clean = diffusion._to_clean(
        config["prediction_type"], inputs[-1][0], outputs[-1], table["signal"][-1], table["noise"][-1]
    )
    torch.testing.assert_close(end.clean, clean, atol=1e-4, rtol=1e-5)


def test_an_input_knows_nothing_of_later_outputs():
    assert [len(row) for row in schedules.table("unipc", 4, diffusion.UVIT)["rows"]] == [1, 2, 3, 4, 5]


def test_what_a_scheduler_cannot_do_is_refused_by_name():
    with pytest.raises(ValueError, match="dpm-single"):
        schedules.table("dpm-single", 4, CLIPS)
    with pytest.raises(ValueError, match="There is no scheduler 'heun'"):
        schedules.table("heun", 4, diffusion.UVIT)
