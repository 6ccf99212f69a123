"""U-ViT: a Vision Transformer in place of diffusion's U-Net (Bao et al. 2023, https://arxiv.org/abs/2209.12152).

Time, class and image patches are all tokens of one sequence. The first half of the blocks hands its outputs over
to the second half through long skip connections: each is concatenated and mixed in by a linear layer. The names
of the arguments and of the weights are those of the published checkpoints, which load as they are.

Shapes: N images, C channels, H x W pixels of a latent, L tokens, D features (`embed_dim`).
Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor, nn

from tutorial_utils import require
from tutorial_utils.networks import checkpoints

IMAGENET256_HUGE = {
    "img_size": 32,
    "patch_size": 2,
    "in_chans": 4,
    "embed_dim": 1152,
    "depth": 28,
    "num_heads": 16,
    "mlp_ratio": 4,
    "qkv_bias": False,
    "mlp_time_embed": False,
    "num_classes": 1001,
    "conv": False,
}
"""The architecture of `imagenet256_uvit_huge.pth`: 500,832,016 parameters. A .pth file does not hold its own."""

PUBLISHED = {"imagenet256_uvit_huge.pth": IMAGENET256_HUGE}

SNAPSHOT = r"uvit-after-(\d{1,2}(?:\.\d+)?)%\.pt"
"""The names of files with a network's weights from earlier in its training: see `load_snapshots`."""


def timestep_embedding(times: Tensor, dim: int) -> Tensor:
    """Cosines and sines of the times at `dim / 2` frequencies, as positions are encoded in Vaswani et al. 2017.

    Args:
        times: floats (N,).
        dim: features, an even number.

    Returns:
        (N, dim), float32.
    """
    require.floats("times", times, "N")
    if dim < 2 or dim % 2:
        raise ValueError(f"dim={dim} must be even and at least 2.")
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=times.device))
    angles = times.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "n l (three h d) -> three n h l d", three=3, h=self.num_heads)
        x = F.scaled_dot_product_attention(q, k, v)  # (N, heads, L, D / heads)
        return self.proj(rearrange(x, "n h l d -> n l (h d)"))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, on each token alone."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """A transformer block; one of the second half first mixes in the output of its partner in the first half."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, qkv_bias: bool, skip: bool):
        super().__init__()
        self.skip_linear = nn.Linear(2 * dim, dim) if skip else None
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads, qkv_bias)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        if self.skip_linear is not None:
            x = self.skip_linear(torch.cat([x, skip], dim=-1))  # (N, L, 2 D) -> (N, L, D)
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Patches to tokens: a convolution whose stride is its kernel."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int):
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(self.proj(x), "n d h w -> n (h w) d")


class UViT(ModelMixin, ConfigMixin):
    """Predicts what a scheduler asks for (the published checkpoints: the noise) from a noisy latent, time and class.

    Args:
        img_size: side of the latent in pixels, a multiple of `patch_size`.
        patch_size: side of a patch in pixels.
        in_chans: channels of the latent.
        embed_dim: features of a token, a multiple of `num_heads`.
        depth: blocks besides the middle one, an even number: half of them before it, half after.
        num_heads: attention heads.
        mlp_ratio: hidden features of an MLP, in multiples of `embed_dim`.
        qkv_bias: whether queries, keys and values have a bias.
        mlp_time_embed: whether the time token passes an MLP first.
        num_classes: labels, the last one being "no class"; -1 for a network without classes.
        conv: whether a 3x3 convolution smooths over the patches' borders at the end.
    """

    @register_to_config
    def __init__(
        self,
        img_size: int = 32,
        patch_size: int = 2,
        in_chans: int = 4,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        mlp_time_embed: bool = False,
        num_classes: int = -1,
        conv: bool = True,
    ):
        super().__init__()
        require_sizes(img_size, patch_size, embed_dim, depth, num_heads, num_classes)
        if in_chans < 1 or mlp_ratio * embed_dim < 1:
            raise ValueError(
                f"in_chans={in_chans} and mlp_ratio={mlp_ratio} must leave at least one channel and feature."
            )
        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim)
        self.time_embed = (
            nn.Sequential(nn.Linear(embed_dim, 4 * embed_dim), nn.SiLU(), nn.Linear(4 * embed_dim, embed_dim))
            if mlp_time_embed
            else nn.Identity()
        )
        self.label_emb = nn.Embedding(num_classes, embed_dim) if num_classes > 0 else None
        self.extras = 1 if self.label_emb is None else 2
        tokens = self.extras + (img_size // patch_size) ** 2
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, embed_dim))

        sizes = (embed_dim, num_heads, mlp_ratio, qkv_bias)
        self.in_blocks = nn.ModuleList(Block(*sizes, skip=False) for _ in range(depth // 2))
        self.mid_block = Block(*sizes, skip=False)
        self.out_blocks = nn.ModuleList(Block(*sizes, skip=True) for _ in range(depth // 2))
        self.norm = nn.LayerNorm(embed_dim)
        self.decoder_pred = nn.Linear(embed_dim, patch_size**2 * in_chans)
        self.final_layer = nn.Conv2d(in_chans, in_chans, 3, padding=1) if conv else nn.Identity()

        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.apply(_initialise)

    @property
    def null_label(self) -> int | None:
        """The label that means "no class", the last one; None for a network without classes."""
        return None if self.label_emb is None else self.config.num_classes - 1

    # fmt: off
    def forward(self, x: Tensor, times: Tensor, labels: Tensor | None = None) -> Tensor:
        """One evaluation.

        Args:
            x: noisy latents (N, C, H, W), H = W = `img_size`, floats. The network computes in its own precision.
            times: floats (N,), 1 to the number of training steps.
            labels: integers (N,), 0 to `num_classes` - 1; None for a network without classes.

        Returns:
            (N, C, H, W) in the dtype of `x`.
        """
        self._require_inputs(x, times, labels)
        tokens, skips = self.embed(x, times, labels), []  # (N, L, D)
        for block in self.in_blocks:
            tokens = block(tokens)                        # (N, L, D)
            skips.append(tokens)
        tokens = self.mid_block(tokens)                   # (N, L, D)
        for block in self.out_blocks:
            tokens = block(tokens, skips.pop())           # (N, L, D), of the last block that has not been used
        patches = self.decoder_pred(self.norm(tokens))    # (N, L, p p C)
        return self.unpatchify(patches).to(x.dtype)       # (N, C, H, W)

    # fmt: on

    def embed(self, x: Tensor, times: Tensor, labels: Tensor | None) -> Tensor:
        """Class token (if any), time token and patch tokens, with their positions: (N, L, D)."""
        patches = self.patch_embed(x.to(self.pos_embed.dtype))  # (N, patches, D)
        embedding = timestep_embedding(times, self.config.embed_dim).to(patches.dtype)
        tokens = [self.time_embed(embedding)[:, None], patches]
        if self.label_emb is not None:
            tokens.insert(0, self.label_emb(labels)[:, None])
        return torch.cat([token.to(patches.dtype) for token in tokens], dim=1) + self.pos_embed

    def unpatchify(self, tokens: Tensor) -> Tensor:
        """Drop the tokens that are not patches, and lay the patches out: (N, L, p p C) to (N, C, H, W)."""
        p, side = self.config.patch_size, self.config.img_size // self.config.patch_size
        layout = "n (h w) (p1 p2 c) -> n c (h p1) (w p2)"
        return self.final_layer(rearrange(tokens[:, self.extras :], layout, h=side, p1=p, p2=p))

    def _require_inputs(self, x: Tensor, times: Tensor, labels: Tensor | None) -> None:
        side, channels, classes = self.config.img_size, self.config.in_chans, self.config.num_classes
        require.floats("x", x, f"N {channels} {side} {side}")
        if times.shape != x.shape[:1] or not times.is_floating_point():
            raise ValueError(
                f"times are {times.dtype} of shape {tuple(times.shape)}; one float per sample, ({len(x)},), is due."
            )
        if self.label_emb is None:
            if labels is not None:
                raise ValueError("labels were given to a network without classes (num_classes=-1): leave them out.")
            return
        if labels is None:
            raise ValueError(f"labels are missing: 0 to {classes - 2}, or {classes - 1} for no class.")
        if labels.shape != x.shape[:1] or labels.dtype not in (torch.int64, torch.int32):
            raise ValueError(
                f"labels are {labels.dtype} of shape {tuple(labels.shape)}; one integer per sample, ({len(x)},), "
                "is expected."
            )
        if require.unreadable(labels):
            return
        if len(labels) and (labels.min() < 0 or labels.max() >= classes):
            raise ValueError(f"labels go from {labels.min()} to {labels.max()}; allowed is 0 to {classes - 1}.")


def require_sizes(img_size: int, patch_size: int, embed_dim: int, depth: int, num_heads: int, num_classes: int) -> None:
    """Raise ValueError unless a network can be built with these sizes (as `UViT` describes them)."""
    if patch_size < 1 or img_size < patch_size or img_size % patch_size:
        raise ValueError(f"img_size={img_size} must be a multiple of patch_size={patch_size}.")
    if num_heads < 1 or embed_dim < 2 or embed_dim % num_heads or embed_dim % 2:
        raise ValueError(f"embed_dim={embed_dim} must be even and a multiple of num_heads={num_heads}.")
    if depth < 2 or depth % 2:
        raise ValueError(f"depth={depth} must be even and at least 2: half of it before the middle block, half after.")
    if num_classes != -1 and num_classes < 2:
        raise ValueError(f"num_classes={num_classes} must be -1 (no classes) or at least 2, the last being 'no class'.")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# --- Checkpoints --------------------------------------------------------------------------------------------------


def load_uvit(folder: Path) -> UViT:
    """A U-ViT from a folder: one that `save_pretrained` wrote, or one that holds a published .pth file.

    Returns:
        The network in eval mode, in float32, on the CPU, without gradients.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return _read_saved(folder)
    published = [folder / name for name in PUBLISHED if (folder / name).is_file()]
    if not published:
        raise ValueError(f"{folder} holds no U-ViT: expected config.json or one of {', '.join(PUBLISHED)}.")
    return read_published(published[0], PUBLISHED[published[0].name])


def _read_saved(folder: Path) -> UViT:
    """A folder that `save_pretrained` wrote."""
    if (kind := checkpoints.read_config(folder / "config.json").get("_class_name")) != UViT.__name__:
        raise ValueError(f"{folder} holds a {kind}, not a {UViT.__name__}.")
    return checkpoints.load(UViT, folder, exact=True).requires_grad_(False)


def load_snapshots(folder: Path) -> dict[str, UViT]:
    """A U-ViT as it was on the way: state dicts named after the share of its training, such as ``uvit-after-5%.pt``.

    Args:
        folder: one that `save_pretrained` wrote, with any number of such files beside the finished network.

    Returns:
        Networks as `load_uvit` gives them, by their share, such as ``"5%"``, in order; the last one, ``"100%"``, is the
        finished one.
    """
    finished = load_uvit(folder)
    config = checkpoints.arguments(UViT, Path(folder) / "config.json")
    shares = {
        match[1]: path for path in Path(folder).iterdir() if (match := re.fullmatch(SNAPSHOT, path.name, re.ASCII))
    }
    return {f"{share}%": read_published(shares[share], config) for share in sorted(shares, key=float)} | {
        "100%": finished
    }


def read_published(path: Path, config: dict) -> UViT:
    """A U-ViT from a published .pth file, whose weights are read without running any code that may be in it.

    Args:
        path: a file that `torch.save` wrote from a state dict.
        config: the arguments of `UViT`, such as `IMAGENET256_HUGE`.
    """
    network = on_disk(path, config)
    checkpoints.require_finite(network, path)
    return network.float().eval().requires_grad_(False)


def on_disk(path: Path, config: dict) -> UViT:
    """As `read_published`, but the weights stay on the disk, and whether they are finite is not looked at."""
    refusal = f"{path} does not hold this U-ViT's weights"
    return checkpoints.network_with(checkpoints.read_state_dict(path), lambda: UViT(**config), refusal)
