"""The published U-ViT's networks and outputs, on which ours are compared (see `tests/data/README.md`)."""

import json
from pathlib import Path

from safetensors import safe_open

from tutorial_utils.networks.uvit import UViT

REFERENCE = Path(__file__).parents[1] / "data" / "uvit_reference.safetensors"


def build(reference: dict, kind: str) -> UViT:
    """The reference network "cond" or "uncond", from the file's tensors."""
    with safe_open(REFERENCE, "pt") as file:
        network = UViT(**json.loads(file.metadata()[f"{kind}.config"]))
    start = f"{kind}.model."
    network.load_state_dict({key.removeprefix(start): reference[key] for key in reference if key.startswith(start)})
    return network.eval()
