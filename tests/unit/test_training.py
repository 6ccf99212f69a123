"""A run on a tiny regression: it learns, its log and its average are right, and a resumed run is the same run."""

import csv
import json
import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tutorial_utils.recipes.training import Run, cached, command, hybrid_optimizers, load_state, write_csv, write_report
from tutorial_utils.sampling.diffusion import Settings

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS, EVERY = 10, 4  # rows after steps 4, 8 and 10
RATE = 0.05


@dataclass(frozen=True)
class Recipe:
    seed: int = 7
    ema_decay: float = 0.9
    widths: tuple[int, ...] = (3, 8, 1)


class Tiny(nn.Module):
    """A regression with everything that a state must hold: matrices, running statistics and chance."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 8))
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.layers(x)).squeeze(1)


def start(path, recipe: Recipe = Recipe(), seed: int = 0) -> Run:
    torch.manual_seed(seed)
    model = Tiny()
    return Run(path, model, hybrid_optimizers(model, RATE, 0.01, blocks="layers"), recipe)


def regression(model: nn.Module) -> torch.Tensor:
    x = torch.randn(16, 3)
    return F.mse_loss(model(x), x.sum(1))


def measure(model: nn.Module) -> dict:
    x = torch.linspace(-1, 1, 30).view(10, 3)
    return {"held_out": F.mse_loss(model(x), x.sum(1)).item()}


def fit(run: Run, steps: int = STEPS, loss_of=regression, rate_at=lambda step: RATE, measure=measure) -> Run:
    run.fit(steps, rate_at, loss_of, measure, EVERY)
    return run


def figures(run: Run) -> list[dict]:
    """The rows without the seconds, which no two runs share."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.rows]


def assert_same_run(found: Run, expected: Run) -> None:
    assert found.step == expected.step
    assert figures(found) == figures(expected)
    for part in ("model", "average"):
        state = getattr(expected, part).state_dict()
        for name, value in getattr(found, part).state_dict().items():
            assert torch.equal(value, state[name]), f"{part}: {name}"


# --- Resuming -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [2, 4, 6, 9])
def test_a_run_cut_off_anywhere_and_resumed_ends_exactly_as_an_uninterrupted_one(tmp_path, cut):
    whole = fit(start(tmp_path / "whole.pt"))
    run = start(tmp_path / "cut.pt")

    def power_fails(model: nn.Module) -> torch.Tensor:
        if run.step == cut:
            raise KeyboardInterrupt
        return regression(model)

    with pytest.raises(KeyboardInterrupt):
        fit(run, loss_of=power_fails)
    # the resumed run starts from other weights where there is a state, which must replace them
    resumed = start(tmp_path / "cut.pt", seed=99 if cut >= EVERY else 0)
    assert resumed.step == cut // EVERY * EVERY
    torch.rand(5)  # whatever else the process draws makes no difference
    assert_same_run(fit(resumed), whole)
    assert [row["step"] for row in whole.rows] == [4, 8, 10]


def test_a_finished_run_is_not_trained_again(tmp_path):
    done = fit(start(tmp_path / "run.pt"))

    def fail(model):
        raise AssertionError("trained again")

    assert_same_run(fit(start(tmp_path / "run.pt", seed=99), loss_of=fail), done)


def test_what_a_recipe_keeps_as_its_best_is_resumed(tmp_path):
    run = start(tmp_path / "run.pt")
    run.best = {"held_out": 0.5, "weights": {"w": torch.ones(2)}}
    run.save()
    resumed = start(tmp_path / "run.pt")
    assert resumed.best["held_out"] == 0.5 and torch.equal(resumed.best["weights"]["w"], torch.ones(2))


@pytest.mark.parametrize("change", [{"seed": 8}, {"ema_decay": 0.5}, {"widths": (3, 8)}], ids=str)
def test_a_state_of_another_recipe_is_refused_and_kept(tmp_path, change):
    fit(start(tmp_path / "run.pt"))
    with pytest.raises(ValueError, match=r"run.pt belongs to another recipe, .*choose another --work folder"):
        start(tmp_path / "run.pt", replace(Recipe(), **change))
    assert load_state(tmp_path / "run.pt")["step"] == STEPS


def test_the_seed_decides_what_is_drawn(tmp_path):
    same = [fit(start(tmp_path / f"{index}.pt")) for index in range(2)]
    other = fit(start(tmp_path / "other.pt", Recipe(seed=8)))
    assert figures(same[0]) == figures(same[1]) != figures(other)


# --- Learning -----------------------------------------------------------------------------------------------------


def test_the_loss_falls(tmp_path):
    run = fit(start(tmp_path / "run.pt"), steps=120)
    assert run.rows[-1]["train_loss"] < 0.5 * run.rows[0]["train_loss"]
    assert run.rows[-1]["held_out"] < 0.5 * run.rows[0]["held_out"]


def test_every_optimizer_takes_the_rate_of_the_step(tmp_path):
    run, asked, taken = start(tmp_path / "run.pt"), [], []
    for optimizer in run.optimizers:
        optimizer.register_step_pre_hook(lambda it, *_: taken.append([group["lr"] for group in it.param_groups]))
    fit(run, rate_at=lambda step: asked.append(step) or 0.001 * (step + 1))
    assert asked == list(range(STEPS))
    assert taken == [[0.001 * (step + 1)] for step in range(STEPS) for _ in run.optimizers]


def test_no_gradient_is_left_over_for_the_next_step(tmp_path):
    run = fit(start(tmp_path / "run.pt"))
    assert all(p.grad is None for p in run.model.parameters())


def test_the_average_starts_at_the_first_weights_and_decays(tmp_path):
    run, expected = start(tmp_path / "run.pt"), None
    for _ in range(4):
        run.descend(regression(run.model), RATE)
        weight = run.model.head.weight.detach()
        expected = weight.clone() if expected is None else 0.9 * expected + 0.1 * weight
        torch.testing.assert_close(run.average.module.head.weight, expected)
    assert not torch.allclose(run.average.module.head.weight, run.model.head.weight)


# --- The log ------------------------------------------------------------------------------------------------------


def test_a_row_holds_the_mean_loss_since_the_last_one(tmp_path):
    losses = []

    def recorded(model: nn.Module) -> torch.Tensor:
        assert model.training
        loss = regression(model)
        losses.append(loss.item())
        return loss

    run = fit(start(tmp_path / "run.pt"), loss_of=recorded)
    means = [sum(part) / len(part) for part in (losses[:4], losses[4:8], losses[8:])]
    assert [row["train_loss"] for row in run.rows] == pytest.approx(means, abs=1e-5)
    assert all(row["seconds"] >= 0 for row in run.rows)


def test_the_figures_are_those_of_the_average_in_eval_mode_and_come_without_gradients(tmp_path):
    run = start(tmp_path / "run.pt")

    def look(model: nn.Module) -> dict:
        assert model is run.average.module and not model.training
        assert torch.is_inference_mode_enabled()
        return measure(model)

    fit(run, measure=look)
    assert run.rows[-1]["held_out"] == pytest.approx(measure(run.average.module.eval())["held_out"], abs=1e-5)


def test_the_rows_make_a_table(tmp_path):
    run = fit(start(tmp_path / "run.pt"))
    write_csv(tmp_path / "curve.csv", run.rows)
    with (tmp_path / "curve.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(row["step"]) for row in table] == [4, 8, 10]
    assert [float(row["held_out"]) for row in table] == [row["held_out"] for row in run.rows]


def test_the_mean_loss_is_right_after_a_run_is_prolonged(tmp_path):
    fit(start(tmp_path / "run.pt"), steps=6)
    run = fit(start(tmp_path / "run.pt"), steps=8, loss_of=lambda model: 0 * regression(model) + 1)
    assert run.rows[-1]["train_loss"] == pytest.approx(1)


def test_muon_takes_matrices_between_hidden_layers_only():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.scale_shift_table = nn.Parameter(torch.zeros(6, 4))

    model = nn.ModuleDict({"blocks": nn.Sequential(Block(), Block()), "head": nn.Linear(4, 2)})
    muon, adam = hybrid_optimizers(model, 1e-3, 0.0, blocks="blocks")
    taken = {id(p) for group in muon.param_groups for p in group["params"]}
    assert taken == {id(block.linear.weight) for block in model["blocks"]}
    assert len(taken) + sum(len(group["params"]) for group in adam.param_groups) == len(list(model.parameters()))


def test_a_recipe_is_a_command(monkeypatch, tmp_path, capsys):
    def recipe(out: Path, work: Path, device: torch.device) -> None:
        """Train a thing."""
        write_report(out, [{"step": 1, "loss": 0.5}], {"loss": 0.5}, f"# on {device}, state in {work.name}\n")

    monkeypatch.chdir(tmp_path)  # where the state is to lie
    monkeypatch.setattr(sys, "argv", ["recipe", "--out", str(tmp_path / "out"), "--work", "state", "--device", "cpu"])
    with pytest.raises(SystemExit, match="0"):
        command(recipe)
    written = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert written == {
        "README.md": "# on cpu, state in state\n",
        "metrics.json": '{\n  "loss": 0.5\n}\n',
        "training.csv": "step,loss\n1,0.5\n",
    }
    monkeypatch.setattr(sys, "argv", ["recipe", "--help"])
    with pytest.raises(SystemExit, match="0"):
        command(recipe)
    assert "Train a thing." in capsys.readouterr().out


def test_infinity_which_json_lacks_is_written_as_null_and_nonsense_is_refused(tmp_path):
    write_report(tmp_path, [{"step": 1}], {"settings": asdict(Settings(guidance_interval=(0.5, math.inf)))}, "")
    assert json.loads((tmp_path / "metrics.json").read_text())["settings"]["guidance_interval"] == [0.5, None]
    with pytest.raises(ValueError, match="nan"):
        write_report(tmp_path, [{"step": 1}], {"loss": math.nan}, "")


def test_what_takes_long_is_made_once(tmp_path):
    made = []

    def make() -> dict:
        made.append(1)
        return {"x": torch.arange(3)}

    path = tmp_path / "new" / "x.pt"
    assert torch.equal(cached(path, make)["x"], cached(path, make)["x"]) and made == [1]
