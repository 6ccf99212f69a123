"""A run on a tiny regression: it learns, its log and its average are right, and a resumed run is the same run."""

import csv
import functools
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tutorial_utils.recipes import training
from tutorial_utils.recipes.reports import write_csv, write_report
from tutorial_utils.recipes.training import (
    Run,
    StackedMuon,
    cached,
    command,
    hybrid_optimizers,
    load_state,
    noise_table,
)
from tutorial_utils.sampling.diffusion import make_scheduler, signal_and_noise

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
    run.fit(steps, rate_at, lambda step: loss_of, measure, EVERY)
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


def cut_off(run: Run, cut: int) -> None:
    """Fit until the power fails before this step."""

    def power_fails(model: nn.Module) -> torch.Tensor:
        if run.step == cut:
            raise KeyboardInterrupt
        return regression(model)

    with pytest.raises(KeyboardInterrupt):
        fit(run, loss_of=power_fails)


# --- Resuming -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [2, 4, 6, 9])
def test_a_run_cut_off_anywhere_and_resumed_ends_exactly_as_an_uninterrupted_one(tmp_path, cut):
    whole = fit(start(tmp_path / "whole.pt"))
    cut_off(start(tmp_path / "cut.pt"), cut)
    # the resumed run starts from other weights where there is a state, which must replace them
    resumed = start(tmp_path / "cut.pt", seed=99 if cut >= EVERY else 0)
    assert resumed.step == cut // EVERY * EVERY
    torch.rand(5)  # whatever else the process draws makes no difference
    assert_same_run(fit(resumed), whole)
    assert [row["step"] for row in whole.rows] == [4, 8, 10]


@pytest.mark.parametrize("cut", [1, 3, 4, 6, 9])
def test_a_run_is_saved_on_the_way_too_and_its_log_is_that_of_an_uninterrupted_one(tmp_path, monkeypatch, cut):
    whole = fit(start(tmp_path / "whole.pt"))
    monkeypatch.setattr(training, "SAVED_EVERY", 0)
    cut_off(start(tmp_path / "cut.pt"), cut)
    resumed = start(tmp_path / "cut.pt", seed=99)
    assert resumed.step == cut
    assert_same_run(fit(resumed), whole)


def test_a_finished_run_is_not_trained_again(tmp_path, capsys):
    done = fit(start(tmp_path / "run.pt"))

    def fail(model):
        raise AssertionError("trained again")

    capsys.readouterr()
    assert_same_run(fit(start(tmp_path / "run.pt", seed=99), loss_of=fail), done)
    assert f"{STEPS}/{STEPS} steps" in capsys.readouterr().out


def test_what_a_recipe_keeps_as_its_best_is_resumed(tmp_path):
    run = start(tmp_path / "run.pt")
    run.best = {"held_out": 0.5, "weights": {"w": torch.ones(2)}}
    run.save()
    resumed = start(tmp_path / "run.pt")
    assert resumed.best["held_out"] == 0.5 and torch.equal(resumed.best["weights"]["w"], torch.ones(2))


CHANGES = {"of seed 7 in place of 8": {"seed": 8}, r"of widths \(3, 8, 1\) in place of \(3, 8\)": {"widths": (3, 8)}}


@pytest.mark.parametrize(("words", "change"), CHANGES.items(), ids=map(str, CHANGES.values()))
def test_a_state_of_another_recipe_is_refused_in_words_and_kept(tmp_path, words, change):
    fit(start(tmp_path / "run.pt"))
    with pytest.raises(ValueError, match=rf"run.pt belongs to another recipe, {words}: choose another --work folder"):
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
    for count in range(100):
        run.descend(regression(run.model), 0.01 * RATE)
        weight, kept = run.model.head.weight.detach(), min(0.9, (count + 1) / (count + 10))
        expected = weight.clone() if expected is None else kept * expected + (1 - kept) * weight
        torch.testing.assert_close(run.average.head.weight, expected)
    assert kept == 0.9
    assert not torch.allclose(run.average.head.weight, run.model.head.weight)


def test_the_average_follows_running_statistics_and_takes_over_counts(tmp_path):
    run = start(tmp_path / "run.pt")
    for _ in range(3):
        run.descend(regression(run.model), 0.0)
    norm, mean = run.model.layers[1], run.average.layers[1]
    assert mean.num_batches_tracked == norm.num_batches_tracked == 3
    assert not torch.equal(mean.running_mean, norm.running_mean) and mean.running_mean.abs().sum() > 0


def test_kinds_of_steps_have_a_loss_each(tmp_path):
    run, taken = start(tmp_path / "run.pt"), []

    def loss_of(kind: str, model: nn.Module) -> torch.Tensor:
        taken.append(kind)
        return regression(model)

    kinds = [functools.partial(loss_of, kind) for kind in ("even", "odd")]
    run.fit(5, lambda step: RATE, lambda step: kinds[step % 2], measure, EVERY)
    assert taken == ["even", "odd", "even", "odd", "even"]


@pytest.mark.parametrize("moved", [False, True], ids=["as it was", "as on a GPU"])
def test_a_state_is_resumed_wherever_it_was_made(tmp_path, moved):
    """A GPU's optimisers keep their learning rate and their count of steps where a recorded step finds them."""
    whole = fit(start(tmp_path / "whole.pt"))
    fit(start(tmp_path / "cut.pt"), steps=4)
    state = load_state(tmp_path / "cut.pt")
    for group in [group for optimizer in state["optimizers"] for group in optimizer["param_groups"]] if moved else ():
        group |= {"lr": torch.tensor(0.5), "capturable": True}
    training.save_state(tmp_path / "cut.pt", state)
    assert_same_run(fit(start(tmp_path / "cut.pt", seed=99)), whole)


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
        assert model is run.average and not model.training
        assert torch.is_inference_mode_enabled()
        return measure(model)

    fit(run, measure=look)
    assert run.rows[-1]["held_out"] == pytest.approx(measure(run.average.eval())["held_out"], abs=1e-5)


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


def test_stacked_muon_takes_the_steps_of_muon(tmp_path):
    """Tall, wide and square matrices, two of a shape, and one without a gradient, which stays as it is."""
    torch.manual_seed(0)
    mine = [nn.Parameter(torch.randn(shape)) for shape in ((8, 3), (3, 8), (5, 5), (8, 3), (8, 3))]
    theirs = [nn.Parameter(p.detach().clone()) for p in mine]
    options = {"lr": 0.02, "weight_decay": 0.1}
    stacked = StackedMuon(mine, **options)
    plain = torch.optim.Muon(theirs, **options, adjust_lr_fn="match_rms_adamw")
    idle = mine[-1].detach().clone()
    for _ in range(3):
        for one, other in zip(mine[:-1], theirs[:-1], strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        stacked.step()
        plain.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)  # Muon computes in bfloat16
    assert torch.equal(mine[-1], idle) and not torch.allclose(mine[0], theirs[3], atol=0.1)


def test_stacked_muon_takes_a_convolution_as_a_matrix_of_its_output_channels():
    torch.manual_seed(0)
    convolution = nn.Parameter(torch.randn(6, 2, 3, 3).contiguous(memory_format=torch.channels_last))
    matrix = nn.Parameter(convolution.detach().flatten(1))
    for p in (convolution, matrix):
        optimizer = StackedMuon([p], lr=0.1)
        for step in range(2):
            p.grad = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(step)).view_as(p)
            optimizer.step()
    torch.testing.assert_close(convolution.flatten(1), matrix, atol=2e-3, rtol=0)


def test_stacked_muon_is_resumed_with_its_momentum(tmp_path):
    def stepped(cut: bool) -> torch.Tensor:
        torch.manual_seed(0)
        p = nn.Parameter(torch.randn(4, 4))
        optimizer = StackedMuon([p], lr=0.1)
        for _ in range(4):
            if cut:
                state, optimizer = optimizer.state_dict(), StackedMuon([p], lr=0.1)
                optimizer.load_state_dict(state)
            p.grad = torch.randn(4, 4)
            optimizer.step()
        return p.detach()

    assert torch.equal(stepped(cut=True), stepped(cut=False))


def test_a_long_gradient_is_shortened(tmp_path):
    torch.manual_seed(0)
    model = Tiny()
    run = Run(tmp_path / "run.pt", model, [torch.optim.SGD(model.parameters())], Recipe(), clip=1e-3)
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    run.descend(1e6 * regression(model), 1.0)
    moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_a_run_remembers_what_it_ran_on(tmp_path, monkeypatch):
    fit(start(tmp_path / "run.pt"), steps=4)
    monkeypatch.setattr(training, "words_for", lambda device: "a borrowed GPU")
    run = fit(start(tmp_path / "run.pt"), steps=8)
    assert run.devices == ["1 processor cores", "a borrowed GPU"]
    assert fit(start(tmp_path / "run.pt"), steps=8).devices == run.devices


def test_the_noise_of_a_time_is_looked_up():
    scheduler = make_scheduler("ddim")
    table, times = noise_table(scheduler, torch.device("cpu")), torch.tensor([0, 500, 999])
    torch.testing.assert_close(table[:, times], torch.stack(signal_and_noise(scheduler, times)))


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


def test_what_takes_long_is_made_once(tmp_path):
    made = []

    def make() -> dict:
        made.append(1)
        return {"x": torch.arange(3)}

    path = tmp_path / "new" / "x.pt"
    assert torch.equal(cached(path, make)["x"], cached(path, make)["x"]) and made == [1]
