"""Prompt adherence, on videos whose truth is known: each measure fails on its own kind of wrong video only."""

from dataclasses import fields, replace

import pytest
import torch
from diffusers import AutoencoderKL

from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets.fashion_mnist import fashion_mnist_tensors
from tutorial_utils.datasets.garments import SIDE
from tutorial_utils.datasets.moving import FRAMES, Scenes, choose_sprites, draw_scenes, paths, render
from tutorial_utils.measures import adherence
from tutorial_utils.measures.adherence import NONE, Adherence, Footage, judge_videos
from tutorial_utils.measures.metrics import Judge, load_judge
from tutorial_utils.recipes.vae import reconstruct

pytestmark = pytest.mark.usefixtures("one_thread")

COUNT = 12
MEASURES = {"colour", "direction", "speed", "garment", "consistent"}


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(grey: torch.Tensor, scenes: Scenes) -> torch.Tensor:
    """Rendered along the same paths whenever the scenes' motion is the same."""
    return render(grey, scenes, source(1))


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge()


@pytest.fixture(scope="module")
def known(judge) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures that the judge knows, so that a wrong answer is never its own slip."""
    grey, labels = (them[:300] for them in fashion_mnist_tensors("test"))
    right = judge.classify(grey.expand(-1, 3, -1, -1)) == labels
    return grey[right], labels[right]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return draw_scenes(COUNT, source(), held_out=False)


@pytest.fixture(scope="module")
def sprites(known, scenes) -> torch.Tensor:
    """The number of the picture that each scene shows."""
    return choose_sprites(known[1], scenes, source(2))


@pytest.fixture(scope="module")
def truth(known, scenes, sprites) -> torch.Tensor:
    return clips(known[0][sprites], scenes)


@pytest.fixture(scope="module")
def rivals(known, scenes, sprites) -> torch.Tensor:
    """The same scenes with the picture of the same class that is least like the first."""
    grey, labels = known
    alike = torch.corrcoef(grey.flatten(1))
    alike[labels[:, None] != labels] = 2
    return clips(grey[alike.argmin(1)[sprites]], scenes)


def assert_fails_only(wrong: set[str], found: Adherence) -> None:
    """Every clip fails every measure in `wrong`, and passes all others."""
    assert found.rates() == {name: float(name not in wrong) for name in found.rates()}
    assert set(found.rates()) == MEASURES and found.consistency.isfinite().all()


def test_a_hue_that_goes_back_and_forth_flickers(truth):
    """Red frames that turn 30 degrees to either side, yellow ones as before: by the clip's own hue, whatever it is."""
    red = truth.amax(2, keepdim=True) * torch.tensor([1.0, 0.15, 0.15]).view(3, 1, 1)
    turned = red.clone()
    turned[:, ::2, 1] = turned[:, ::2, 0] * (0.15 + 0.85 / 2)  # towards yellow, and every other one towards magenta
    turned[:, 1::2, 2] = turned[:, 1::2, 0] * (0.15 + 0.85 / 2)
    assert Footage(truth).hue_flicker.max() < 0.1 and Footage(red).hue_flicker.max() < 0.1
    assert torch.allclose(Footage(turned).hue_flicker, torch.tensor(30.0), atol=1.5)
    assert (Footage(truth.mean(2, keepdim=True).expand_as(truth)).hue_flicker == 0).all()
    dark = turned.clone()
    dark[:, 2:] = 0
    assert torch.allclose(Footage(dark).hue_flicker, torch.tensor(30.0), atol=1.5), "black frames have no hue"


def test_the_window_around_a_garment_at_the_edge_stays_on_the_canvas():
    clip = torch.zeros(1, FRAMES, 3, SIDE, SIDE)
    clip[0, 0, :, :6, -6:] = clip[0, 1, :, -6:, :6] = 1.0
    footage = Footage(clip)
    assert footage.corners[0, :2].tolist() == [[0, SIDE - 28], [SIDE - 28, 0]]
    assert footage.sprites[0, 0, :6, -6:].min() == footage.sprites[0, 1, -6:, :6].min() == 1


def test_brightness_is_of_the_garment_alone():
    clip = torch.zeros(2, FRAMES, 3, SIDE, SIDE)
    clip[0, :, 0, 10:20, 10:20] = 0.6
    clip[1, 3, 1, 10:12, 10:12] = 0.4
    assert torch.allclose(Footage(torch.cat([clip, 0 * clip[:1]])).brightness, torch.tensor([0.6, 0.4, 0.0]))


@pytest.mark.parametrize(
    ("told", "expected"),
    [([0, 1, 2, 3], 1.0), ([2, 2, 2], 0.0), ([0, 1, 0, 1], 0.5), ([NONE, 3, NONE], 0.0), ([NONE], 0.0)],
    ids=str,
)
def test_variety_is_how_evenly_choices_are_made(told, expected):
    assert adherence.variety(torch.tensor(told), 4) == pytest.approx(expected)


def test_true_clips_pass_every_measure(judge, truth, scenes):
    assert_fails_only(set(), judge_videos(judge, truth, scenes))


def test_garments_picked_at_random_are_judged_as_well_as_single_pictures(judge):
    grey, labels = fashion_mnist_tensors("test")
    scenes = draw_scenes(40, source(3))
    chosen = grey[choose_sprites(labels, scenes, source(4))]
    rates = judge_videos(judge, clips(chosen, scenes), scenes).rates()
    alone = (judge.classify(chosen.expand(-1, 3, -1, -1)) == scenes.garment).float().mean().item()
    assert rates["garment"] >= alone - 0.03 and rates["garment"] > 0.85
    assert rates["colour"] == rates["direction"] == rates["speed"] == rates["consistent"] == 1


def test_true_clips_keep_colour_motion_and_object_through_the_vae(judge, truth, scenes):
    vae = AutoencoderKL.from_pretrained(fetch("vae", "mini")).eval()
    after = reconstruct(vae, truth.flatten(0, 1)).unflatten(0, (COUNT, FRAMES))
    rates = judge_videos(judge, after, scenes).rates()
    assert rates.pop("garment") >= 0.8
    assert set(rates.values()) == {1.0}


def test_a_wrong_colour_fails_the_colour_only(judge, known, scenes, sprites):
    wrong = clips(known[0][sprites], replace(scenes, colour=(scenes.colour + 1) % 6))
    assert_fails_only({"colour"}, judge_videos(judge, wrong, scenes))


def test_a_grey_clip_has_no_colour(judge, truth, scenes):
    grey = truth.amax(2, keepdim=True).expand_as(truth)
    assert_fails_only({"colour"}, judge_videos(judge, grey, scenes))
    assert (Footage(grey).colour == NONE).all()


def test_a_reversed_clip_fails_the_direction_only(judge, truth, scenes):
    assert_fails_only({"direction"}, judge_videos(judge, truth.flip(1), scenes))


def test_a_frozen_clip_fails_the_motion_only(judge, truth, scenes):
    """Direction and speed: what stands still moves in no direction."""
    frozen = truth[:, :1].expand_as(truth)
    assert_fails_only({"direction", "speed"}, judge_videos(judge, frozen, scenes))
    assert all((read == NONE).all() for read in (Footage(frozen).direction, Footage(frozen).speed))


def test_slow_for_quick_and_quick_for_slow_fail_the_speed_only(judge, known, scenes, sprites):
    wrong = clips(known[0][sprites], replace(scenes, speed=1 - scenes.speed))
    assert_fails_only({"speed"}, judge_videos(judge, wrong, scenes))


def test_a_wrong_garment_fails_the_garment_only(judge, truth, scenes):
    other = replace(scenes, garment=(scenes.garment + 1) % 10)
    assert_fails_only({"garment"}, judge_videos(judge, truth, other))


def test_two_garments_of_a_class_in_turns_fail_the_consistency_only(judge, truth, rivals, scenes):
    flickering = truth.clone()
    flickering[:, 1::2] = rivals[:, 1::2]
    assert_fails_only({"consistent"}, judge_videos(judge, flickering, scenes))


def test_a_single_cut_to_another_garment_fails_the_consistency(truth, rivals):
    cut = torch.cat([truth[:, :4], rivals[:, 4:]], dim=1)
    assert (adherence.consistency(Footage(cut).sprites) < adherence.CONSISTENT).all()


@pytest.mark.parametrize("haze", [0.0, 0.1])
def test_a_black_clip_fails_everything(judge, truth, scenes, haze):
    black = haze * torch.rand(truth.shape, generator=source())
    assert_fails_only(MEASURES, judge_videos(judge, black, scenes))
    assert all((read == NONE).all() for read in vars(Footage(black).scenes(judge)).values())


def test_one_black_frame_leaves_the_rest_to_be_read(judge, truth, scenes):
    blinking = truth.clone()
    blinking[:, 2] = 0
    assert_fails_only({"consistent"}, judge_videos(judge, blinking, scenes))


def test_one_frame_alone_does_not_move(truth):
    lone = torch.zeros_like(truth)
    lone[:, 5] = truth[:, 5]
    assert (Footage(lone).velocity == 0).all()


def test_crops_are_the_sprites(known, truth, scenes, sprites):
    off = Footage(truth).corners - paths(scenes, source(1))
    assert off.abs().max() <= 1
    same = (off == 0).all(2).all(1)
    assert same.float().mean() >= 0.8
    expected = known[0][sprites].expand(-1, FRAMES, -1, -1)
    assert torch.allclose(Footage(truth).sprites[same], expected[same])


def squares(row_step: float, column_step: float) -> torch.Tensor:
    """One clip of a white square of 10 pixels that moves by so many pixels a frame, rounded to whole ones."""
    clip = torch.zeros(1, FRAMES, 3, SIDE, SIDE)
    for time, frame in enumerate(clip[0]):
        row, column = (round(27 + step * (time - 3.5)) for step in (row_step, column_step))
        frame[:, row : row + 10, column : column + 10] = 1
    return clip


@pytest.mark.parametrize(
    ("steps", "direction", "speed"),
    [
        ((0, -1), 0, 0),
        ((0, 2.6), 1, 1),
        ((-1.4, 0.5), 2, 0),  # not straight: the axis of the larger part
        ((3.4, 0), 3, 1),
        ((0, 0.3), NONE, NONE),
        ((6, 0), 3, NONE),
    ],
)
def test_motion_is_the_nearest_that_a_caption_names(steps, direction, speed):
    clip = squares(*steps)
    assert torch.allclose(Footage(clip).velocity, torch.tensor([steps], dtype=torch.float32), atol=0.1)
    assert [Footage(clip).direction.tolist(), Footage(clip).speed.tolist()] == [[direction], [speed]]


def test_each_clip_is_read_by_itself():
    footage = Footage(torch.cat([squares(0, -1), squares(0, 0.3), squares(3.4, 0)]))
    assert [footage.direction.tolist(), footage.speed.tolist()] == [[0, NONE, 3], [0, NONE, 1]]


def test_the_centre_of_mass_is_in_pixels_and_heeds_no_haze():
    clip = squares(0, 0)
    clip[..., :20, :] += 0.05
    assert torch.allclose(Footage(clip).centres, torch.tensor(31.5), atol=1e-3)


def test_rates_are_fractions_of_each_measure():
    yes, no = torch.tensor([True, True]), torch.tensor([False, True])
    rates = Adherence(yes, no, ~yes, yes, consistency=torch.tensor([0.2, 0.95])).rates()
    assert rates == {"colour": 1, "direction": 0.5, "speed": 0, "garment": 1, "consistent": 0.5}
    assert {field.name for field in fields(Adherence)} == MEASURES - {"consistent"} | {"consistency"}


def test_unsuitable_videos_are_refused(judge, truth, scenes):
    with pytest.raises(ValueError, match=r"torch.float32 \(12, 3, 8, 64, 64\): floats \(N, 8, 3, 64, 64\)"):
        judge_videos(judge, truth.transpose(1, 2), scenes)
    with pytest.raises(ValueError, match="torch.uint8"):
        judge_videos(judge, truth.byte(), scenes)
    with pytest.raises(ValueError, match=r"\(0, 8, 3, 64, 64\).* N at least 1"):
        Footage(truth[:0])
    with pytest.raises(ValueError, match="12 videos were given for 11 scenes"):
        judge_videos(judge, truth, scenes[:11])
    with pytest.raises(ValueError, match="from -1 to 1: bring them to 0 to 1"):
        judge_videos(judge, truth * 2 - 1, scenes)
    broken = truth.clone()
    broken[3, 0, 0, 0, :2] = torch.tensor([float("nan"), float("inf")])
    with pytest.raises(ValueError, match="2 values of the videos are infinite or not a number"):
        judge_videos(judge, broken, scenes)
