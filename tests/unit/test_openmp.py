"""How torch's threads wait is said in time, or that it was too late."""

import subprocess
import sys

import pytest

from tutorial_utils import openmp

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libgomp is Linux's")

ASK = "; import os; print(*(os.environ.get(name) for name in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')))"


def python(code: str, **variables: str) -> subprocess.CompletedProcess:
    """What a fresh process says, which knows nothing of this one's settings."""
    return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)


def test_the_package_says_how_threads_wait_if_it_comes_before_torch():
    answer = python(f"import tutorial_utils{ASK}")
    assert answer.stdout.split() == [openmp.WAITING["GOMP_SPINCOUNT"], "None"] and answer.stderr == ""


def test_after_torch_it_warns_and_says_what_to_do():
    answer = python("import torch, tutorial_utils")
    assert "torch was imported before tutorial_utils" in answer.stderr
    assert "set GOMP_SPINCOUNT=1000 before Jupyter starts" in answer.stderr


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}], ids=str)
def test_what_the_learner_has_set_holds(own):
    answer = python(f"import torch, tutorial_utils{ASK}", **own)
    assert answer.stdout.split() == [own.get(name, "None") for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")]
    assert answer.stderr == ""
