"""Moving garments: what a clip shows is what its caption and its truth say."""

import pytest
import torch

from tutorial_utils.datasets import moving
from tutorial_utils.datasets.garments import COLOURS, SIDE, hue
from tutorial_utils.datasets.moving import (
    DIRECTIONS,
    FRAMES,
    LANGUAGES,
    SPEEDS,
    Scenes,
    captions,
    draw_scenes,
    render,
    sayings,
)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(garment=7, colour=0, direction=0, speed=0) -> Scenes:
    return Scenes(*(torch.tensor([value]) for value in (garment, colour, direction, speed)))


def centres(clips: torch.Tensor) -> torch.Tensor:
    """The centre of mass of every frame of clips (N, F, 3, H, W), (N, F, 2) as (row, column)."""
    mass, places = clips.sum(2), torch.arange(SIDE, dtype=torch.float32)
    total = mass.sum((2, 3))
    return torch.stack([(mass.sum(3) * places).sum(2) / total, (mass.sum(2) * places).sum(2) / total], dim=-1)


def test_every_direction_and_speed_moves_as_its_name_says():
    for direction, step in enumerate(DIRECTIONS.values()):
        for speed, pixels in enumerate(SPEEDS.values()):
            clip = render(torch.ones(1, 1, 28, 28), scene(direction=direction, speed=speed), source())
            moved = centres(clip).diff(dim=1)[0]
            assert torch.allclose(
                moved, pixels * torch.tensor(step, dtype=torch.float32).expand(FRAMES - 1, 2), atol=1e-3
            )


def test_sprites_never_leave_the_canvas():
    scenes = draw_scenes(2000, source())
    corners = moving.paths(scenes, source(1))
    assert corners.min() >= 0 and corners.max() <= SIDE - 28
    assert (corners.float().mean(1) - 18).abs().max() <= moving.JITTER + max(SPEEDS.values())


def test_a_clip_has_the_colour_of_its_scene():
    for colour, rgb in enumerate(COLOURS.values()):
        clip = render(torch.rand(1, 1, 28, 28), scene(colour=colour), source())
        assert clip.shape == (1, FRAMES, 3, SIDE, SIDE) and clip.min() >= 0 and clip.max() <= 1
        expected = hue(torch.tensor(rgb)[None, :, None, None])
        assert torch.allclose(hue(clip[0]), expected.expand(FRAMES), atol=0.1)


def test_captions_name_what_is_shown():
    assert captions(scene()) == ["a red sneaker moving left"]
    assert captions(scene(garment=9, colour=4, direction=3, speed=1)) == ["a blue ankle boot moving down quickly"]
    spoken = {captions(scene(speed=1), source(seed))[0] for seed in range(60)}
    assert len(spoken) > 8 and all(" red " in words and " left" in words for words in spoken)
    assert all(words.endswith(("quickly", "fast")) for words in spoken)


def test_what_a_caption_need_not_say_it_can_leave_out():
    quick, slow = scene(garment=9, colour=4, direction=3, speed=1), scene()
    assert captions(quick, said=()) == ["an ankle boot"] and captions(quick, said=("colour",)) == ["a blue ankle boot"]
    assert captions(quick, said=("speed",)) == ["an ankle boot moving quickly"]
    assert captions(slow, said=("colour", "speed")) == ["a red sneaker moving"]
    assert captions(slow, said=("direction", "speed")) == ["a sneaker moving left"]


def test_captions_are_chinese_too():
    assert captions(scene(speed=1), language="zh") == ["一只红色的运动鞋快速向左移动"]
    assert captions(scene(garment=0, colour=5, direction=2), language="zh") == ["一件品红色的T恤向上移动"]
    assert captions(scene(), language="zh", said=()) == ["一只运动鞋"]
    spoken = {captions(scene(speed=1), source(seed), "zh")[0] for seed in range(60)}
    assert len(spoken) > 8 and all("红" in words and "左" in words and "快" in words for words in spoken)


def test_the_words_of_a_language_say_one_thing_each():
    for language in LANGUAGES.values():
        for part, size in moving.SIZES.items():
            words = [word for choices in getattr(language, part) for word in choices]
            assert len(getattr(language, part)) == size and len(set(words)) == len(words)


def test_people_say_it_in_any_way():
    """Each language half of the time, half of them everything; with articles and stops or without."""
    count = 2_000
    scenes = Scenes(*(torch.full((count,), value) for value in (7, 0, 0, 1)))
    said = sayings(scenes, source())
    english = [words for words in said if words.isascii()]
    assert 0.45 < len(english) / count < 0.55
    shoes = ("sneaker", "running shoe", "运动鞋", "球鞋")
    assert all(any(shoe in words for shoe in shoes) for words in said)
    full = [
        words for words in english if "red" in words and "left" in words and words.rstrip(".!")[-4:] in ("ckly", "fast")
    ]
    assert 0.45 < len(full) / len(english) < 0.55
    for mark in ("the ", "a ", "running", "sneaker"):
        assert any(words.startswith(mark) for words in english), mark
    assert {words[-1] for words in said} >= {".", "!", "。", "！"} and "a sneaker" in english
    assert sayings(scenes[:5], source()) == said[:5]


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"language": "de"}, "in the language 'de': choose one of en, zh"),
        ({"said": ("colour", "size")}, "cannot say the size: choose among colour, direction, speed"),
        ({"said": ("direction",)}, "says the speed, too"),
    ],
    ids=str,
)
def test_captions_that_there_are_not_are_refused(asked, refusal):
    with pytest.raises(ValueError, match=refusal):
        captions(scene(), **asked)


def test_a_tenth_of_the_combinations_is_held_out_and_every_part_of_them_is_seen():
    seen, new = draw_scenes(5000, source(), False), draw_scenes(5000, source(), True)
    assert not seen.held_out().any() and new.held_out().all()
    combinations = {tuple(row) for row in torch.stack([new.garment, new.colour, new.direction], 1).tolist()}
    assert len(combinations) == 24
    for part in ("garment", "colour", "direction", "speed"):
        assert set(getattr(new, part).tolist()) <= set(getattr(seen, part).tolist())
    assert abs(draw_scenes(5000, source()).held_out().float().mean() - 0.1) < 0.02


def test_the_same_seed_gives_the_same_clips():
    grey = torch.rand(4, 1, 28, 28)
    first, again = (render(grey, draw_scenes(4, source(3)), source(5)) for _ in range(2))
    assert torch.equal(first, again)


def test_sprites_are_of_the_scenes_garment():
    labels = torch.arange(50) % 10
    scenes = draw_scenes(100, source())
    assert torch.equal(labels[moving.choose_sprites(labels, scenes, source())], scenes.garment)
    with pytest.raises(ValueError, match="no picture of a sneaker"):
        moving.choose_sprites(torch.zeros(5, dtype=torch.int64), scene(), source())


def test_wrong_sprites_are_refused():
    with pytest.raises(ValueError, match="2 sprites were given for 1 scenes"):
        render(torch.rand(2, 1, 28, 28), scene(), source())
    with pytest.raises(ValueError, match=r"images are .*\(1, 1, 32, 32\)"):
        render(torch.rand(1, 1, 32, 32), scene(), source())
