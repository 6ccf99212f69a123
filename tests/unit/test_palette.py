"""The figures' colours differ for the colour-blind too, and no line or bar is told by its colour alone."""

import itertools

import colour
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from tutorial_utils.figures import palette, plotting
from tutorial_utils.figures.palette import ACCENT, CONTRAST, INK, QUIET, SECOND

APART = 15
"""Between two colours in CAM02-UCS, at least; 1 is what is just noticed where they touch."""

LINES = 3
"""The contrast of a line to white, at least (WCAG 2.2, 1.4.11)."""


def place(color: str, deficiency: str | None) -> np.ndarray:
    """Where a colour lies in CAM02-UCS for an eye without one kind of cone (Machado et al. 2009, severity 1)."""
    light = colour.cctf_decoding(to_rgb(color), function="sRGB")
    if deficiency:
        light = np.clip(colour.matrix_cvd_Machado2009(deficiency, 1.0) @ light, 0, 1)
    return colour.XYZ_to_CAM02UCS(colour.RGB_to_XYZ(light, "sRGB"))


@pytest.mark.filterwarnings("ignore")  # tritanopia is an approximation, it says
@pytest.mark.parametrize("deficiency", [None, "Deuteranomaly", "Protanomaly", "Tritanomaly"])
def test_no_two_colours_are_alike_for_any_eye(deficiency):
    places = {color: place(color, deficiency) for color in (ACCENT, SECOND, QUIET, INK, "white")}
    distances = {pair: np.linalg.norm(places[pair[0]] - places[pair[1]]) for pair in itertools.combinations(places, 2)}
    assert min(distances.values()) >= APART, distances


@pytest.mark.filterwarnings("ignore")
def test_two_colours_that_are_known_to_be_confused_would_be_found():
    red, green = (place(color, "Deuteranomaly") for color in ("#b07050", "#8f8150"))
    assert np.linalg.norm(red - green) < APART < np.linalg.norm(place("#b07050", None) - place("#50b070", None))


def test_contrast_is_that_of_wcag():
    assert palette.contrast("black", "white") == pytest.approx(21)
    assert palette.contrast("#767676", "white") == pytest.approx(
        4.54, abs=0.005
    )  # the lightest grey for words on white
    assert palette.contrast("#777777", "white") == pytest.approx(4.48, abs=0.005)
    for one, other in itertools.combinations((ACCENT, SECOND, QUIET, INK), 2):
        lights = sorted(
            colour.RGB_to_XYZ(colour.cctf_decoding(to_rgb(c), function="sRGB"), "sRGB")[1] for c in (one, other)
        )
        assert palette.contrast(one, other) == pytest.approx((lights[1] + 0.05) / (lights[0] + 0.05), rel=1e-3)


def test_lines_stand_out_from_white_and_words_more():
    assert min(palette.contrast(color, "white") for color in (ACCENT, SECOND, QUIET, INK)) >= LINES
    assert min(palette.contrast(color, "white") for color in (ACCENT, SECOND, INK)) >= CONTRAST


def test_words_can_be_read_on_every_colour():
    colors = [
        ACCENT,
        SECOND,
        QUIET,
        INK,
        *colormaps["Blues"](np.linspace(0, 1, 256)),
        *np.random.default_rng(0).random((500, 3)),
    ]
    assert min(palette.contrast(palette.text_on(color), color) for color in colors) >= CONTRAST
    assert {palette.text_on(color) for color in (ACCENT, SECOND, INK)} == {"white"}


def test_lines_differ_without_their_colours_and_bars_too():
    looks = list(itertools.islice(palette.styles(), 20))
    assert len({(look["color"], look["linestyle"]) for look in looks}) == 20
    assert len({look["marker"] for look in looks[:12]}) == 12
    fills = list(itertools.islice(palette.fills(), 20))
    assert len({(fill["facecolor"], fill["hatch"]) for fill in fills}) == 20
    assert len({fill["hatch"] for fill in fills[:5]}) == 5


def test_every_series_of_a_figure_has_a_look_of_its_own_without_colour():
    curves = {f"line {k}": ([0, 1], [0, k]) for k in range(6)}
    for figure in (
        plotting.show_curves(curves, "x", "y"),
        plotting.show_rates({f"bars {k}": {"a": 0.5} for k in range(4)}, "right"),
    ):
        (ax,) = figure.axes
        looks = [(line.get_linestyle(), line.get_marker()) for line in ax.lines] + [
            bar.get_hatch() for bar in ax.patches
        ]
        assert len(looks) == len(set(looks)) >= 4
