"""The command line: whatever is wrong is a line and a status that is not zero."""

from __future__ import annotations

from unittest import mock

import pytest
from commandline import REQUEST, run, tiny_networks
from fetching import change_course
from hypothesis import given
from hypothesis import strategies as st
from strategies import numbers_outside

from tutorial_utils import execution
from tutorial_utils.assets import store


def assert_is_refused_in_a_line(*arguments: str) -> None:
    status, out, err = run(*arguments)
    assert status not in (0, None) and len(err.strip().splitlines()) == 1, (arguments, err)
    assert all(line.startswith("sampling ━") for line in out.splitlines()), out  # a progress bar


words = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12)
names = words.filter(lambda word: not any(path.name.startswith(word) for path in execution.find_notebooks()))
COMMANDS = [
    ["preflight"],
    ["run"],
    ["assets", "list"],
    ["assets", "fetch"],
    ["assets", "verify"],
    ["sample", "uvit"],
    ["sample", "latte"],
    ["bundle"],
    ["train"],
]
NEEDED = {
    "fetch": ["vit"],
    "uvit": ["--out", "nowhere"],
    "latte": ["--config", "notebooks/configs/latte_mini.yaml"],
    "bundle": ["--out", "nowhere"],
    "train": ["vae", "--out", "nowhere"],
}


@given(command=st.sampled_from(COMMANDS), option=words)
def test_an_unknown_option_is_refused(command, option):
    assert_is_refused_in_a_line(*command, f"--{option.strip('-') or 'x'}")


@given(command=st.sampled_from([[], ["assets"], ["sample"]]), word=names)
def test_an_unknown_command_is_refused(command, word):
    assert_is_refused_in_a_line(*command, word)


@given(command=st.sampled_from(COMMANDS[:2] + COMMANDS[3:5]), word=names)
def test_an_unknown_name_is_refused(command, word):
    assert_is_refused_in_a_line(*command, word)


@given(
    command=st.sampled_from([command for command in COMMANDS if command[-1] not in ("run", "list", "train")]),
    scale=words,
)
def test_an_unknown_scale_is_refused(command, scale):
    needed = NEEDED.get(command[-1], [])
    assert_is_refused_in_a_line(*command, *needed, f"--scale={scale}")


def ways(option: str, values: st.SearchStrategy) -> st.SearchStrategy:
    return values.map(lambda value: f"{option}={value}")


def unsound(least: int, most: int | None = None) -> st.SearchStrategy:
    """Numbers that an option does not take; 2.0 is 2 there."""
    return numbers_outside(least, most).filter(lambda value: value != "3" and not (value == value // 1 >= least))


WRONG_OPTIONS = st.one_of(
    ways("--num", unsound(1)),
    ways("--seed", unsound(0)),
    ways("--steps", unsound(1, 1000) | st.just(1001)),
    ways("--batch-size", unsound(1)),
    ways("--guidance", st.floats(max_value=0, exclude_max=True) | st.sampled_from(["nan", "inf", "much"])),
    ways("--scheduler", words),
    ways("--classes", words.map(lambda word: f"x{word}") | st.sampled_from(["2", "-1", "0,,1", "0,hat"])),
)


@tiny_networks
@given(option=WRONG_OPTIONS)
def test_a_wrong_option_of_sampling_is_refused_before_anything_is_written(tmp_path_factory, option):
    out = tmp_path_factory.getbasetemp() / "never"
    assert_is_refused_in_a_line("sample", "uvit", "--num=1", "--out", str(out), option)
    assert not out.exists()


OCCUPIED = {
    "a file": lambda out: out.write_text("mine"),
    "samples of nobody knows what": lambda out: (out.mkdir(), (out / "samples.npz").write_bytes(b"")),
    "a request that is cut short": lambda out: (out.mkdir(), (out / "request.json").write_text('{"labels": [')),
    "a request of another kind": lambda out: (out.mkdir(), (out / "request.json").write_text("[]")),
}


@tiny_networks
@pytest.mark.parametrize("occupy", OCCUPIED.values(), ids=OCCUPIED)
def test_a_folder_that_cannot_be_gone_on_with_is_refused(tmp_path, occupy):
    occupy(tmp_path / "out")
    assert_is_refused_in_a_line(*REQUEST, str(tmp_path / "out"))


@given(content=st.binary(max_size=40) | words.map(str.encode))
def test_a_configuration_that_is_none_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    for config in (str(path), f"{path}.missing"):
        status, out, err = run("sample", "latte", "--config", config)
        assert status == 1 and out == "" and all(line.startswith(config) for line in err.strip().splitlines())


VARIABLES = {
    "TUTORIAL_SCALE": [
        command for command in COMMANDS if command not in (["assets", "list"], ["assets", "verify"], ["train"])
    ],
    "TUTORIAL_DATA": [["assets", "list"], ["assets", "fetch", "--scale=full"]],
    "TUTORIAL_DEVICE": [["preflight"], ["sample", "uvit"], ["sample", "latte"], ["train"]],
}


@pytest.mark.parametrize("variable", VARIABLES)
@given(data=st.data(), word=words)
def test_an_unknown_value_of_a_variable_is_refused(variable, data, word):
    command = data.draw(st.sampled_from(VARIABLES[variable]))
    with mock.patch.dict("os.environ", {variable: f"x{word}"}):
        assert_is_refused_in_a_line(*command, *NEEDED.get(command[:2][-1], []))


@pytest.mark.parametrize("command", [["bundle", "--out"], [*REQUEST]], ids=["bundle", "sample"])
def test_a_file_in_the_place_of_a_folder_is_refused(command, tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/below"):
        assert_is_refused_in_a_line(*command, str(tmp_path / place))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "command", [["assets", "fetch"], ["bundle"], ["sample", "uvit"], ["sample", "latte"], ["train"]]
)
def test_what_is_left_out_is_asked_for(command):
    assert_is_refused_in_a_line(*command)


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_bundled_checkpoint_that_is_damaged_is_named(damage, tmp_path, monkeypatch):
    copy = tmp_path / "data" / "checkpoints" / "uvit-mini"
    copy.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for path in (store.COURSE.data / "checkpoints/uvit-mini").iterdir():
        if path.suffix != ".safetensors":
            (copy / path.name).write_bytes(path.read_bytes())
        elif damage == "cut short":
            (copy / path.name).write_bytes(path.read_bytes()[:2_000])
    change_course(data=tmp_path / "data")
    status, _, err = run(*REQUEST, str(tmp_path / "out"))
    problem, remedy = err.strip().splitlines()
    assert status == 1 and not (tmp_path / "out").exists()
    assert "model.safetensors is" in problem and "git checkout" in remedy
