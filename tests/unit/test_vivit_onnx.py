"""Lesson 2's model as an ONNX file says what it says in Keras."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from tutorial_utils.execution import ROOT

pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(not find_spec("onnxruntime"), reason="the extra onnx is not installed: run `make deep`"),
]

EXPORT = """
import sys
from pathlib import Path

import numpy as np

from tutorial_utils.datasets.organmnist3d import synthetic_organs
from tutorial_utils.recipes import vivit, vivit_onnx

folder = Path(sys.argv[1])
lesson = vivit.load_lesson(synthetic_organs(), folder)
model = lesson.build_vivit(lesson.IMPROVED)
vivit_onnx.export(lesson, model, folder / "vivit.onnx")
volumes = np.random.default_rng(0).random((3, *lesson.INPUT_SHAPE), np.float32)
np.savez(folder / "both.npz", volumes=volumes, probabilities=model.predict(volumes, verbose=0))
"""


def exported(folder, backend: str) -> subprocess.CompletedProcess:
    own = os.environ | {"KERAS_BACKEND": backend}
    command = [sys.executable, "-c", EXPORT, str(folder)]
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)


def test_an_exported_model_gives_the_same_probabilities_for_any_number_of_volumes(tmp_path):
    import onnxruntime

    done = exported(tmp_path, "torch")
    assert done.returncode == 0, done.stderr
    session, both = onnxruntime.InferenceSession(tmp_path / "vivit.onnx"), np.load(tmp_path / "both.npz")
    for count in (1, 3):
        (found,) = session.run(["probabilities"], {"volumes": both["volumes"][:count]})
        np.testing.assert_allclose(found, both["probabilities"][:count], atol=1e-4)


def test_another_backend_is_refused_by_name_and_nothing_is_written(tmp_path):
    done = exported(tmp_path, "tensorflow")
    assert "KERAS_BACKEND=tensorflow" in done.stderr and "set it to torch" in done.stderr
    assert not [*tmp_path.glob("*.onnx*")]
