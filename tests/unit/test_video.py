"""Animations: every frame as it is, over and over, captions that say what is wrong, and no half-written files."""

import base64
import io
import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image, ImageSequence

from tutorial_utils.figures import plotting, video
from tutorial_utils.figures.video import Animation, animate

RED = np.uint8(np.rint(255 * np.array(to_rgb(plotting.ACCENT))))


def moving(*shape: int, seed: int = 0) -> np.ndarray:
    """Floats in [0, 1) in which any two frames differ."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def clip(height: int = 6, width: int = 8) -> Animation:
    """Five frames with a still left half and a moving right one."""
    frames = np.random.default_rng(0).integers(0, 256, (5, height, width, 3), np.uint8)
    frames[:, :, : width // 2] = frames[0, :, : width // 2]
    return Animation(frames, fps=8, description="five frames")


def shown(animation: Animation) -> Image.Image:
    """The picture that a notebook gets."""
    return Image.open(io.BytesIO(base64.b64decode(animation._repr_mimebundle_()[0]["image/png"])))


def pixels(image: Image.Image) -> np.ndarray:
    """All frames, (F, H, W, 3)."""
    return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)])


def only_grey(picture: np.ndarray) -> bool:
    return bool((picture == picture[..., :1]).all())


# What a notebook shows


def test_a_notebook_gets_every_frame_exactly():
    animation = clip()
    image = shown(animation)
    assert (image.format, image.size, image.n_frames) == ("PNG", (8, 6), 5)
    np.testing.assert_array_equal(pixels(image), animation.frames)


def test_it_plays_for_ever_at_its_speed():
    image = shown(clip())
    assert image.info["loop"] == 0
    assert [frame.info["duration"] for frame in ImageSequence.Iterator(image)] == [125] * 5


def test_no_pixel_of_a_frame_is_seen_through():
    image = shown(clip())
    for frame in ImageSequence.Iterator(image):
        assert np.asarray(frame.convert("RGBA"))[..., 3].min() == 255


def test_a_pause_takes_its_time():
    frames = clip().frames[[0, 1, 1, 1, 2]]
    image = shown(Animation(frames, 10))
    assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(image)) == pytest.approx(500)
    np.testing.assert_array_equal(pixels(image)[-1], frames[-1])


@pytest.mark.parametrize("count", [1, 3])
def test_a_still_is_shown_too(count):
    frames = clip().frames[:1].repeat(count, 0)
    np.testing.assert_array_equal(pixels(shown(Animation(frames, 8)))[-1], frames[0])


def test_its_text_describes_it_without_its_data():
    assert clip()._repr_mimebundle_()[0]["text/plain"] == "Animation: five frames"
    texts = {animate(moving(2, 3, 4, 4, seed=seed))._repr_mimebundle_()[0]["text/plain"] for seed in (0, 1)}
    assert texts == {"Animation: 2 videos of 3 frames"}
    assert animate([moving(1, 4, 4)], title="A cell").description == "A cell: 1 video of 1 frame"
    assert repr(clip()) == "Animation(fps=8, description='five frames')"


# Files


@pytest.mark.parametrize("name", ["clip.png", "CLIP.PNG"])
def test_a_png_keeps_every_pixel(tmp_path, name):
    clip().save(tmp_path / name)
    image = Image.open(tmp_path / name)
    assert image.info["loop"] == 0
    np.testing.assert_array_equal(pixels(image), clip().frames)


def test_a_gif_keeps_every_frame_and_plays_for_ever(tmp_path):
    clip().save(str(tmp_path / "clip.gif"))
    image = Image.open(tmp_path / "clip.gif")
    assert (image.format, image.size, image.n_frames, image.info["loop"]) == ("GIF", (8, 6), 5, 0)
    np.testing.assert_array_equal(pixels(image), clip().frames)  # 48 pixels need no more than 256 colours


@pytest.mark.parametrize(("height", "width", "even"), [(48, 64, (48, 64)), (47, 63, (48, 64)), (50, 61, (50, 62))])
def test_an_mp4_keeps_every_frame_and_has_even_sides(tmp_path, capfd, height, width, even):
    shades = np.arange(20, 240, 40, np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (len(shades), height, width, 3))
    Animation(frames, 8).save(tmp_path / "clip.mp4")
    assert capfd.readouterr() == ("", "")
    read = iio.imread(tmp_path / "clip.mp4", plugin="FFMPEG")
    assert read.shape == (len(shades), *even, 3)
    assert np.abs(read.astype(int) - shades[:, None, None, None]).max() <= 4  # the added row and column too
    assert iio.immeta(tmp_path / "clip.mp4", plugin="FFMPEG")["fps"] == 8


@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4"])
def test_saving_replaces_a_file_and_leaves_nothing_else(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    path.write_text("an older file")
    umask = os.umask(0)
    os.umask(umask)
    clip().save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size > 100
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask  # others may read it, as any file written here


def test_another_suffix_is_an_error_that_names_it_and_what_is_allowed(tmp_path):
    for name, suffix in (("clip.webm", "'.webm'"), ("clip", "''")):
        with pytest.raises(ValueError, match=rf"{name} has the suffix {suffix}; choose one of \.png, \.gif, \.mp4"):
            clip().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4"])
def test_a_missing_folder_is_an_error_that_names_it(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=f"clip{suffix} cannot be saved: make the folder .*nowhere first"):
        clip().save(tmp_path / "nowhere" / f"clip{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4"])
def test_a_failure_half_way_leaves_the_older_file(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"clip{suffix}"
    path.write_text("an older file")

    def fail(self: Animation, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Animation, f"_write_{suffix[1:]}", fail)
    with pytest.raises(OSError, match="disk full"):
        clip().save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "an older file"


def test_a_failure_of_ffmpeg_is_an_error_in_its_words(tmp_path, capfd):
    with pytest.raises(OSError, match="ffmpeg could not write the video: .*draft.mp4"):
        clip()._write_mp4(tmp_path / "nowhere" / "draft.mp4")
    assert capfd.readouterr() == ("", "")


# The grid


def tiles(animation: Animation, count: int, columns: int, height: int, width: int) -> list[np.ndarray]:
    """The videos of a grid without captions, cut out where they must be."""
    corners = np.array([divmod(index, columns) for index in range(count)]) * (height + video.GAP, width + video.GAP)
    return [animation.frames[:, top : top + height, left : left + width] for top, left in corners + video.GAP]


@pytest.mark.parametrize(("side", "factor"), [(1, 10), (87, 10), (88, 11)])
def test_pixels_become_squares_of_whole_pixels_and_no_video_is_a_stamp(side, factor):
    videos = moving(3, 2, 6, 8)
    animation = animate(videos, columns=2, side=side)
    expected = np.uint8(np.rint(255 * videos)).repeat(factor, axis=2).repeat(factor, axis=3)
    height, width = expected.shape[2:]
    assert animation.frames.shape[1:3] == (2 * height + 3 * video.GAP, 2 * width + 3 * video.GAP)
    for tile, one in zip(tiles(animation, 3, 2, height, width), expected, strict=True):
        np.testing.assert_array_equal(tile, np.broadcast_to(one[..., None], tile.shape))
        tile[:] = 255
    assert animation.frames.min() == 255  # all else is white


@pytest.mark.parametrize("shape", [(4, 6, 8), (4, 1, 6, 8), (4, 3, 6, 8)])
@pytest.mark.parametrize("container", [np.array, torch.tensor])
def test_bytes_and_fractions_arrays_and_tensors_grey_and_colour_are_shown_alike(shape, container):
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = np.broadcast_to(np.moveaxis(values.reshape(4, -1, 6, 8), 1, -1), (4, 6, 8, 3))
    for one in (values, np.float32(values) / 255, values / 255):
        (tile,) = tiles(animate([container(one)], side=80), 1, 1, 60, 80)
        np.testing.assert_array_equal(tile[:, ::10, ::10], expected)


def test_a_tensor_of_videos_and_a_mix_of_grey_and_colour():
    both = torch.rand(2, 3, 1, 4, 4)
    np.testing.assert_array_equal(animate(both).frames, animate(list(both.numpy())).frames)
    assert len(animate([moving(3, 4, 4), moving(3, 3, 4, 4)]).frames) == 3


def test_floats_outside_are_clipped_and_the_videos_left_alone():
    one = np.array([[[-1.0, 0.5, 2.0, np.inf]]])
    (tile,) = tiles(animate([one], side=80), 1, 1, 20, 80)
    assert tile[0, 0, ::20, 0].tolist() == [0, 128, 255, 255]
    assert one.ravel().tolist() == [-1, 0.5, 2, np.inf]


def test_captions_are_red_where_the_answer_is_wrong_and_the_words_say_so():
    grey = moving(3, 2, 6, 8)
    animation = animate(grey, ["good", "█ bad", "good"], columns=3, right=[True, False, np.True_])
    third = animation.frames.shape[2] // 3
    parts = [animation.frames[0, :, start * third : (start + 1) * third] for start in range(3)]
    assert [only_grey(part) for part in parts] == [True, False, True]
    assert (parts[1] == RED).all(axis=-1).any()  # inside the block: letters are thin and blend with white
    assert only_grey(animate(grey, ["good", "█ bad", "good"], columns=3).frames)
    _, about = animation._repr_mimebundle_()
    assert "good; wrong: █ bad; good" in about["image/png"]["alt"]


def test_captions_and_title_stand_still_on_white_clear_of_the_videos():
    videos = np.full((2, 3, 6, 8), 128, np.uint8)
    plain, labelled = animate(videos, side=96), animate(videos, ["one\nline", "two"], side=96, title="A title")
    assert labelled.frames.shape[1] > plain.frames.shape[1]
    assert (labelled.frames == labelled.frames[0]).all()
    grey = (labelled.frames[0] == 128).all(axis=-1)
    rows, columns = grey.sum(axis=1) == 2 * 96, grey.sum(axis=0) >= 72
    assert (rows.sum(), columns.sum()) == (72, 2 * 96)  # whole, and in one row
    assert (labelled.frames[0][~rows] < 100).any() and (labelled.frames[0, -video.GAP :] == 255).all()
    assert (labelled.frames[0, :, [0, -1]] == 255).all()


def test_long_captions_and_titles_make_room_for_themselves():
    videos = moving(2, 2, 6, 8)
    short, long = animate(videos, ["a", "b"]), animate(videos, ["a", "a caption of very many words"])
    titled = animate(videos, title="a title of so many words that no two videos are as wide")
    for animation in (long, titled):
        assert animation.frames.shape[2] > short.frames.shape[2]
        assert (animation.frames[:, :, [0, -1]] == 255).all()  # nothing is cut off


def test_a_row_is_no_longer_than_the_videos():
    assert animate(moving(2, 2, 4, 4), columns=9).frames.shape == animate(moving(2, 2, 4, 4), columns=2).frames.shape


def test_the_frames_are_the_same_twice():
    first, second = (animate(moving(2, 2, 4, 4), ["a", "b"], title="twice").frames for _ in range(2))
    np.testing.assert_array_equal(first, second)


NAN = np.array([[[0.5, np.nan]]])
WRONG = {
    "no videos": (lambda: animate([]), "videos is empty"),
    "another number of frames": (
        lambda: animate([moving(3, 4, 4), moving(2, 4, 4)]),
        r"videos\[1\] has 2 frames of 4 x 4 pixels, videos\[0\] has 3 frames of 4 x 4 pixels",
    ),
    "another size": (lambda: animate([moving(3, 4, 4), moving(3, 4, 5)]), "3 frames of 4 x 5 pixels"),
    "a video not in a list": (lambda: animate(moving(3, 4, 4)), r"videos\[0\] has shape \(4, 4\).* in a list"),
    "two channels": (lambda: animate([moving(3, 2, 4, 4)]), r"shape \(3, 2, 4, 4\).* C 1 or 3"),
    "no frames": (lambda: animate([moving(0, 4, 4)]), r"shape \(0, 4, 4\)"),
    "integers": (lambda: animate([np.zeros((3, 4, 4), np.int64)]), r"videos\[0\] is int64; .*uint8"),
    "NaN": (lambda: animate([np.zeros((1, 1, 2)), NAN]), r"videos\[1\] has 1 NaN among its 2 values"),
    "too few captions": (lambda: animate(moving(3, 2, 4, 4), ["a", "b"]), "captions has length 2 for 3 videos"),
    "too many answers": (lambda: animate(moving(1, 2, 4, 4), right=[True, False]), "right has length 2 for 1 video;"),
    "no columns": (lambda: animate(moving(1, 2, 4, 4), columns=0), "columns=0; choose 1 or more"),
    "no speed": (lambda: animate(moving(1, 2, 4, 4), fps=0), "fps=0; choose 0.01 to 60"),
    "backwards": (lambda: Animation(clip().frames, -8), "fps=-8; choose"),
    "NaN speed": (lambda: Animation(clip().frames, float("nan")), "fps=nan; choose"),
    "frames of floats": (lambda: Animation(np.zeros((1, 2, 2, 3)), 8), r"float64 of shape \(1, 2, 2, 3\)"),
    "grey frames": (lambda: Animation(np.zeros((1, 2, 2), np.uint8), 8), r"uint8 of shape \(1, 2, 2\)"),
    "no frames at all": (lambda: Animation(np.zeros((0, 2, 2, 3), np.uint8), 8), r"\(0, 2, 2, 3\); they must be"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_data_that_does_not_fit_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
