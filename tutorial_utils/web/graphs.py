"""The miniatures as ONNX files, with the switches that the page has: which patches, which skips, time or no time.

Each class here is one graph: what it takes and returns is what the page gives and gets. All weights are those of the
loaded networks. A file holds each in half precision where that loses nothing (the checkpoints are stored so), and casts
it back when it is loaded. `example` has an input of each name, of which the axes in `dynamic` may have any length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, LatteTransformer3DModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from einops import rearrange
from torch import Tensor, nn
from transformers import T5EncoderModel, ViTForImageClassification

from tutorial_utils import files
from tutorial_utils.networks.uvit import UViT

SMALL = 1_024
"""A weight of fewer numbers stays in single precision: a cast would cost more than it saves."""


class Vit(nn.Module):
    """ViT-mini, prepared as its image processor does, without the patches that are taken away (lesson 1)."""

    example: ClassVar = {"pixels": torch.rand(28, 28) * 255, "kept": torch.arange(9)}
    dynamic: ClassVar = {"kept": (0,)}
    outputs: ClassVar = ("logits", "attention")

    def __init__(self, model: ViTForImageClassification):
        super().__init__()
        model.set_attn_implementation("eager")  # the fused one never writes its weights down
        self.model = model
        self.register_buffer("enlarge", F.interpolate(torch.eye(28)[None], model.config.image_size, mode="linear")[0])

    def forward(self, pixels: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Grey (28, 28) from 0 to 255, and the numbers of T tokens that stay, [CLS] being 0.

        Returns:
            logits (10,) and attention (layers, heads, T, T), as `attention.attention_weights` gives it.
        """
        image = pixels
        for _ in range(2):  # along the rows, then along the columns, each to whole numbers: as Pillow does
            image = (image @ self.enlarge + 0.5).floor().T
        x = self.model.vit.embeddings((image / 127.5 - 1).expand(1, 3, -1, -1))[:, kept]
        weights = []
        for layer in self.model.vit.layers:
            attended, of_layer = layer.attention(layer.layernorm_before(x))
            x = x + attended
            x = x + layer.mlp(layer.layernorm_after(x))
            weights.append(of_layer[0])
        return self.model.classifier(self.model.vit.layernorm(x)[:, 0])[0], torch.stack(weights)


class Uvit(nn.Module):
    """U-ViT-mini with a switch for each long skip (lesson 3)."""

    example: ClassVar = {
        "x": torch.randn(2, 4, 8, 8),
        "times": torch.tensor([500.0, 500.0]),
        "labels": torch.tensor([3, 10]),
        "skips": torch.ones(3),
    }
    dynamic: ClassVar = {"x": (0,), "times": (0,), "labels": (0,)}
    outputs: ClassVar = ("noise",)

    def __init__(self, network: UViT):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, times: Tensor, labels: Tensor, skips: Tensor) -> Tensor:
        """As `UViT.forward`; `skips` (depth / 2,) multiply what each long skip carries, the innermost first."""
        tokens, carried = self.network.embed(x, times, labels), []
        for block in self.network.in_blocks:
            tokens = block(tokens)
            carried.append(tokens)
        tokens = self.network.mid_block(tokens)
        for switch, block in enumerate(self.network.out_blocks):
            tokens = block(tokens, carried.pop() * skips[switch])
        return self.network.unpatchify(self.network.decoder_pred(self.network.norm(tokens)))


class Decoder(nn.Module):
    """VAE-mini's decoder (lessons 3 and 4)."""

    example: ClassVar = {"latents": torch.randn(2, 4, 8, 8)}
    dynamic: ClassVar = {"latents": (0,)}
    outputs: ClassVar = ("images",)

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae, self.scaling = vae, vae.config.scaling_factor

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (N, 4, 8, 8), as the networks know them, to images (N, 3, 64, 64) from 0 to 1."""
        return (self.vae.decode(latents / self.scaling).sample / 2 + 0.5).clamp(0, 1)


class Recording(AttnProcessor):
    """The plain attention of `diffusers`, which also keeps the weights of its last call."""

    weights: Tensor

    def __call__(self, attn: Attention, *inputs: Tensor, **named: Tensor) -> Tensor:
        scores = attn.get_attention_scores

        def note(*of: Tensor) -> Tensor:
            self.weights = scores(*of)
            return self.weights

        attn.get_attention_scores = note
        try:
            return super().__call__(attn, *inputs, **named)
        finally:
            del attn.get_attention_scores


@dataclass
class Switch:
    """What all temporal blocks look at, during one evaluation."""

    on: Tensor | None = None


class Switched(nn.Module):
    """A temporal block that can be left out, with the numbers of the frames that the first one is given."""

    def __init__(self, block: nn.Module, switch: Switch, frames: Tensor | None):
        super().__init__()
        self.block, self.switch = block, switch
        self.register_buffer("frames", frames)

    def forward(self, x: Tensor, *others: Tensor | None) -> Tensor:
        numbered = x if self.frames is None else x + self.frames
        return torch.where(self.switch.on > 0, self.block(numbered, *others), x)


class Latte(nn.Module):
    """Latte-mini for one sentence, with what its frames read of it, and a switch for attention over time (lesson 4)."""

    example: ClassVar = {
        "x": torch.randn(2, 4, 8, 8, 8),
        "times": torch.tensor([500.0, 500.0]),
        "words": torch.randn(2, 6, 128),
        "temporal": torch.ones(1),
    }
    dynamic: ClassVar = {"x": (0,), "times": (0,), "words": (0, 1)}
    outputs: ClassVar = ("velocity", "reading")

    def __init__(self, transformer: LatteTransformer3DModel):
        super().__init__()
        self.transformer, self.switch = transformer, Switch()
        table = transformer.temp_pos_embed.clone()
        transformer.temp_pos_embed.zero_()  # it is added by the first block, which can be left out
        transformer.temporal_transformer_blocks = nn.ModuleList(
            Switched(block, self.switch, None if number else table)
            for number, block in enumerate(transformer.temporal_transformer_blocks)
        )
        self.readers = []
        for block in transformer.transformer_blocks:
            block.attn2.set_processor(reader := Recording())
            self.readers.append(reader)

    def forward(self, x: Tensor, times: Tensor, words: Tensor, temporal: Tensor) -> tuple[Tensor, Tensor]:
        """As `latte.prompted_network`: clips (N, 4, F, 8, 8), times from 1 on, and the embeddings (N, L, D) of N texts.

        Returns:
            the velocity, in the shape of `x`, and (layers, F, 16, L): what each place of a frame of the first clip
            reads of each token, the mean of all heads.
        """
        self.switch.on = temporal
        output = self.transformer(x, times - 1, words, return_dict=False)[0][:, : x.shape[1]]
        layout = "(n f h) p l -> n f h p l"
        heads, frames = self.transformer.config.num_attention_heads, x.shape[2]
        read = [rearrange(one.weights, layout, f=frames, h=heads)[0].mean(1) for one in self.readers]
        return output, torch.stack(read)


class Words(nn.Module):
    """Latte-mini's text encoder (lesson 4)."""

    example: ClassVar = {"ids": torch.tensor([[4, 31, 38, 25, 23, 1]]), "real": torch.ones(1, 6, dtype=torch.int64)}
    dynamic: ClassVar = {"ids": (1,), "real": (1,)}
    outputs: ClassVar = ("words",)

    def __init__(self, encoder: T5EncoderModel):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, real: Tensor) -> Tensor:
        """Tokens (1, L) and which of them are not only filled up, as 1 or 0, to embeddings (1, L, D)."""
        return self.encoder(input_ids=ids, attention_mask=real, return_dict=False)[0]


def write(graph: nn.Module, path: Path) -> None:
    """Write one of the graphs above as an ONNX file, whole or not at all.

    Raises:
        ValueError: the extra ``onnx`` is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter writes with it
    except ModuleNotFoundError as error:
        raise ValueError(
            f"Exporting needs {error.name}, which is not installed here: `make deep`, or the extra `onnx`, brings it."
        ) from error
    names = list(graph.example)
    free = {name: dict.fromkeys(dims, torch.export.Dim.DYNAMIC) for name, dims in graph.dynamic.items()}
    with torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            tuple(graph.example.values()),
            input_names=names,
            output_names=list(graph.outputs),
            dynamic_shapes=tuple(free.get(name, {}) for name in names),
            dynamo=True,
            verbose=False,
        )
    model = program.model_proto
    _halve(model)
    with files.draft(path) as partial:
        onnx.save(model, partial)


def _halve(model) -> None:
    """Store every weight in half precision that is the same number there."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < SMALL:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.metadata_props[:]
    for node in model.graph.node:  # where in torch's sources a node comes from: half of a small file, and places
        del node.metadata_props[:]
        node.doc_string = ""
