"""A lesson shows and computes the same, whatever other tools on this machine were told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tutorial_utils import surroundings, working
from tutorial_utils.assets import downloads
from tutorial_utils.assets.copies import AssetError, Copy
from tutorial_utils.execution import execute

WILD_RC = """
figure.facecolor: black
savefig.facecolor: red
savefig.dpi: 300
savefig.bbox: tight
text.usetex: True
font.size: 30
axes.grid: True
axes.prop_cycle: cycler('color', ['k'])
image.cmap: jet
image.origin: lower
image.interpolation: bicubic
lines.linewidth: 9
figure.constrained_layout.use: False
"""


def python(code: str, folder: Path, **variables: str) -> str:
    """What a fresh Python prints, with a home of its own and some variables."""
    env = os.environ | {"HOME": str(folder)} | variables
    env = {name: value for name, value in env.items() if name not in ("KERAS_HOME", "KERAS_BACKEND")} | variables
    paths = f"import sys; sys.path[:0] = {[path for path in sys.path if 'tests' in path]!r}\n"
    result = subprocess.run([sys.executable, "-c", paths + code], cwd=folder, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


# --- Keras ----------------------------------------------------------------------------------------------------------

KERAS = """
import tutorial_utils, os
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
print(keras.backend.backend(), keras.config.floatx(), keras.config.image_data_format(), keras.config.epsilon())
print(keras.config.max_epochs() if hasattr(keras.config, "max_epochs") else None)
"""
WILD_KERAS = {"backend": "absent", "floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}


def test_keras_is_as_the_lesson_wants_it(tmp_path):
    pytest.importorskip("keras")
    for folder, text in ((".keras", "{ no JSON"), ("other", json.dumps(WILD_KERAS))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "keras.json").write_text(text)
    theirs = {"KERAS_HOME": str(tmp_path / "other"), "KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"}
    said = python(KERAS, tmp_path, **theirs)
    assert said.split() == ["tensorflow", "float32", "channels_last", "1e-07", "None"]


# --- matplotlib -----------------------------------------------------------------------------------------------------

PICTURES = """
import tutorial_utils, hashlib, json
from figures import FIGURES, animation
made = {name: figure("a text")._repr_mimebundle_()[0]["image/png"] for name, figure in FIGURES.items()}
made["animation"] = animation("a text")._repr_mimebundle_()[0]["image/png"]
print(json.dumps({name: hashlib.sha256(png.encode()).hexdigest() for name, png in made.items()}))
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return json.loads(python(PICTURES, tmp_path_factory.mktemp("plain")))


@pytest.mark.parametrize("place", ["variable", "folder"])
def test_every_figure_looks_the_same_under_any_matplotlibrc(place, plain, tmp_path):
    files = {
        "variable": tmp_path / "other" / "wild",
        "folder": tmp_path / "matplotlibrc",
    }
    files[place].parent.mkdir(parents=True, exist_ok=True)
    files[place].write_text(WILD_RC)
    variables = {"MATPLOTLIBRC": str(files[place])} if place == "variable" else {}
    assert json.loads(python(PICTURES, tmp_path, MPLBACKEND="nonsense", **variables)) == plain


# --- Kernels --------------------------------------------------------------------------------------------------------

CELLS = [
    "import warnings; warnings.warn('a hint')",
    "1 + 1\n'the last'",
    "try:\n    assert False\nexcept AssertionError:\n    print('asserts hold')",
    "import os; print(sorted(name for name in os.environ if name in ('PYTHONPATH', 'PYTHONSTARTUP')))",
    "print('spoilt' in globals())",
]
RUN = (
    "import sys; from pathlib import Path; from tutorial_utils import __main__, execution\n"
    "execution.ROOT = Path('.').absolute(); sys.argv[1:] = ['run', '--out', 'pages']; sys.exit(__main__.main())"
)


def test_a_kernel_knows_nothing_of_other_work(tmp_path):
    (tmp_path / "notebooks").mkdir()
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "01_any.ipynb")
    profile = tmp_path / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "00.py").write_text("spoilt = True; print('hello from my start-up')")
    (profile / "ipython_config.py").write_text("c.InteractiveShell.ast_node_interactivity = 'all'")
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": [sys.executable, "-c", "raise SystemExit(7)"], "display_name": "Mine", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    template = tmp_path / "jupyter" / "nbconvert" / "templates" / "classic"
    template.mkdir(parents=True)
    (template / "conf.json").write_text("{")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "numpy.py").write_text("raise ImportError('another numpy')")
    python(
        RUN,
        tmp_path,
        IPYTHONDIR=str(tmp_path / "ipython"),
        JUPYTER_PATH=str(tmp_path / "jupyter"),
        JUPYTER_DEFAULT_PROVISIONER_NAME="absent",
        PYTHONSTARTUP=str(profile / "startup" / "00.py"),
        PYTHONOPTIMIZE="1",
        PYTHONWARNINGS="error",
    )
    executed = nbformat.read(tmp_path / "pages" / "01_any.ipynb", as_version=4)
    said = [
        [output.get("text") or output.get("data", {}).get("text/plain") for output in cell.outputs]
        for cell in executed.cells
    ]
    assert "UserWarning: a hint" in said[0][0]
    assert said[1:] == [["'the last'"], ["asserts hold\n"], ["[]\n"], ["False\n"]]


def test_a_kernel_that_is_first_on_jupyters_path_is_not_taken(tmp_path, monkeypatch):
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["false"], "display_name": "Mine", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    cell = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "any.ipynb")
    notebook, outcome = execute(tmp_path / "any.ipynb", lambda done, total: None)
    assert not outcome.error and notebook.cells[0].outputs[0].text.strip() == sys.executable


# --- Variables ------------------------------------------------------------------------------------------------------

GONE = [
    *("KERAS_MAX_EPOCHS", "KERAS_NNX_ENABLED", "TF_USE_LEGACY_KERAS", "TF_XLA_FLAGS", "DIFFUSERS_ATTN_BACKEND"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONINSPECT"),
    *("JUPYTER_PATH", "JUPYTER_CONFIG_DIR", "JUPYTER_DEFAULT_PROVISIONER_NAME", "JPY_SESSION_NAME"),
]
STAY = [
    *("KERAS_BACKEND", "TUTORIAL_SCALE", "TUTORIAL_DEVICE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "CPU_LIMIT"),
    *("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HF_ENDPOINT", "HF_TOKEN", "HF_HOME"),
    *("MODELSCOPE_ENDPOINT", "XDG_CACHE_HOME", "PATH", "HOME", "LANG"),
]


@pytest.mark.parametrize("name", GONE)
def test_a_variable_of_other_work_reaches_no_kernel(name, monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ | {name: "theirs"})
    surroundings.clear()
    assert name not in os.environ


def test_what_leads_out_or_is_documented_stays(monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ | dict.fromkeys(STAY, "theirs"))
    surroundings.clear()
    assert {name: os.environ[name] for name in STAY} == dict.fromkeys(STAY, "theirs")


def test_in_jupyterlab_its_users_own_settings_stay(monkeypatch):
    theirs = {"JUPYTER_CONFIG_DIR": "theirs", "JUPYTER_PATH": "theirs"}
    monkeypatch.setattr(os, "environ", os.environ | theirs)
    surroundings.clear(keep_jupyter=True)
    assert {name: os.environ[name] for name in theirs} == theirs


# --- A proxy must win, and is named ---------------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "127.0.0.1:9", "socks5://127.0.0.1:9"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_does_not_answer_is_named(name, proxy, tmp_path, monkeypatch):
    from tutorial_utils.assets import store

    for other in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, proxy)
    copy = Copy.at(store.COURSE.find("vit", "full"), tmp_path)
    with pytest.raises(AssetError) as error:
        downloads.download(copy)
    assert "127.0.0.1:9" in str(error.value) and "HTTPS_PROXY" in str(error.value)


def test_keras_home_is_part_of_the_course():
    settings = json.loads((surroundings.KERAS_HOME / "keras.json").read_text())
    assert settings["backend"] == "tensorflow" and settings["floatx"] == "float32"
    assert working.ROOT in surroundings.KERAS_HOME.parents
