"""The files that other hosts read take the pins that make takes, and name what is there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tutorial_utils import bootstrap
from tutorial_utils.execution import ROOT


def test_codespaces_sets_up_as_make_does_with_a_python_that_suits():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    target = container["postCreateCommand"].removeprefix("make ")
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    major, minor = map(int, re.search(r"(\d)\.(\d+)$", container["image"]).groups())
    assert bootstrap.OLDEST <= (major, minor) <= bootstrap.NEWEST


@pytest.mark.skipif(sys.platform == "win32", reason="Binder is Linux")
def test_binder_installs_the_pinned_torch_for_processors_and_then_the_package_with_its_pins(tmp_path):
    recorder = tmp_path / "pip"
    recorder.write_text('#!/bin/sh\necho "$@" >> "$PIP_CALLS"\n')
    recorder.chmod(0o755)
    calls = tmp_path / "calls"
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PIP_CALLS": str(calls)}
    subprocess.run([ROOT / "binder" / "postBuild"], cwd=ROOT, env=environment, check=True)
    first, second = calls.read_text().splitlines()
    pins = dict(re.findall(r"^(torch|torchvision)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert first.endswith(f"/whl/cpu torch=={pins['torch']} torchvision=={pins['torchvision']}")
    assert "--constraint constraints.txt" in second and second.endswith("--editable .")
    python = (ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-")
    assert bootstrap.OLDEST <= tuple(map(int, python.split("."))) <= bootstrap.NEWEST


def test_the_workflow_tests_the_oldest_and_the_newest_python_on_three_systems():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == [".".join(map(str, one)) for one in (bootstrap.OLDEST, bootstrap.NEWEST)]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    named = {Path(word).name for step in workflow["jobs"]["test"]["steps"] for word in step.get("run", "").split()}
    assert {"tutorial_utils.bootstrap", "pytest"} <= named
