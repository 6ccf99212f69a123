"""What lies beside a checkpoint: its log and its measurements, as they are written and read."""

import json
import math
from dataclasses import asdict

import pytest

from tutorial_utils.recipes.reports import read_report, write_csv, write_report
from tutorial_utils.sampling.diffusion import Settings


def test_a_table_is_written_with_a_header(tmp_path):
    write_csv(tmp_path / "new" / "a.csv", [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    assert (tmp_path / "new" / "a.csv").read_text() == "epoch,loss\n1,0.5\n2,0.25\n"


def test_infinity_which_json_lacks_is_written_as_null_and_nonsense_is_refused(tmp_path):
    write_report(tmp_path, [{"step": 1}], {"settings": asdict(Settings(guidance_interval=(0.5, math.inf)))}, "")
    assert json.loads((tmp_path / "metrics.json").read_text())["settings"]["guidance_interval"] == [0.5, None]
    with pytest.raises(ValueError, match="nan"):
        write_report(tmp_path, [{"step": 1}], {"loss": math.nan}, "")


def test_what_is_written_is_read_again_with_its_numbers_as_numbers(tmp_path):
    metrics = {"classes": ["连衣裙", "Tasche"], "accuracy": 0.5}
    write_report(tmp_path, [{"network": "ViT", "step": 1}, {"network": "ViT", "step": 2}], metrics, "# Über\n")
    rows = [{"network": "ViT", "step": 1.0}, {"network": "ViT", "step": 2.0}]
    assert read_report(tmp_path) == (metrics, rows)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "# Über\n"
