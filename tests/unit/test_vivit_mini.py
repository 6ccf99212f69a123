"""ViViT-mini as it ships: small files, which say what their cards say, with either backend."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from tutorial_utils.assets.store import fetch
from tutorial_utils.execution import ROOT
from tutorial_utils.recipes.reports import read_report

pytestmark = pytest.mark.skipif(not find_spec("keras"), reason="a light environment has no Keras")

NAMES = ("original", "joint", "factorised-encoder", "factorised-self-attention", "factorised-dot-product")

ELSEWHERE = """
import sys
from pathlib import Path

import numpy as np

from tutorial_utils.datasets.organmnist3d import synthetic_organs
from tutorial_utils.recipes import vivit

lesson = vivit.load_lesson(synthetic_organs(), Path(sys.argv[2]))
model = lesson.keras.saving.load_model(sys.argv[1], compile=False)
np.save(Path(sys.argv[2]) / "found.npy", model.predict(np.load(sys.argv[3]), verbose=0))
"""


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    from tutorial_utils.datasets.organmnist3d import synthetic_organs
    from tutorial_utils.recipes import vivit

    return vivit.load_lesson(synthetic_organs(), tmp_path_factory.mktemp("best"))


@pytest.fixture(scope="module")
def volumes(lesson):
    return np.asarray(lesson.convert(*lesson.data.test)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_as_right_as_its_card_says(lesson, volumes, name):
    report, _ = read_report(fetch("vivit") / name)
    stated = next(one["test_accuracy"] for one in report["seeds"] if one["seed"] == report["seed"])
    model = lesson.keras.saving.load_model(fetch("vivit") / name / "vivit.keras", compile=False, safe_mode=True)
    answers = model.predict(volumes, batch_size=64, verbose=0).argmax(axis=1)
    assert np.mean(answers == lesson.data.test[1]) == pytest.approx(stated, abs=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_small(name):
    size = (fetch("vivit") / name / "vivit.keras").stat().st_size
    assert size < (4_000_000 if name == "original" else 1_000_000)


def test_a_model_says_the_same_when_keras_computes_with_torch(lesson, volumes, tmp_path):
    path = fetch("vivit") / "joint" / "vivit.keras"
    np.save(tmp_path / "few.npy", volumes[:8])
    command = [sys.executable, "-c", ELSEWHERE, str(path), str(tmp_path), str(tmp_path / "few.npy")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": "torch"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    here = lesson.keras.saving.load_model(path, compile=False).predict(volumes[:8], verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), here, atol=1e-4)
