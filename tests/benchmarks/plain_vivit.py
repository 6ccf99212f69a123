"""Lesson 2's joint model and better recipe as one would write them in PyTorch: a plain loop, with fused attention.

What `bench_vivit_epoch.py` compares the lesson with: same sizes, same data, same augmentation.
"""

from tutorial_utils import runtime
from tutorial_utils.datasets.organmnist3d import organmnist3d

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

DIM, HEADS, BLOCKS, TUBELET, CLASSES, BATCH, SHIFT = 64, 8, 2, 7, 11, 32, 3


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm and around a residual connection."""

    def __init__(self):
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(DIM, eps=1e-6), nn.LayerNorm(DIM, eps=1e-6)
        self.qkv, self.mix = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.mlp = nn.Sequential(nn.Linear(DIM, 4 * DIM), nn.GELU(), nn.Linear(4 * DIM, DIM))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (N, L, DIM), and of the same shape what becomes of them."""
        q, k, v = rearrange(self.qkv(self.before_attention(x)), "n l (three h w) -> three n h l w", three=3, h=HEADS)
        x = x + self.mix(rearrange(F.scaled_dot_product_attention(q, k, v), "n h l w -> n l (h w)"))
        return x + self.mlp(self.before_mlp(x))


class Joint(nn.Module):
    """The joint model: volumes (N, 28, 28, 28) to logits (N, CLASSES)."""

    def __init__(self):
        super().__init__()
        self.embed, self.places = nn.Linear(TUBELET**3, DIM), nn.Parameter(0.02 * torch.randn(64, DIM))
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(DIM, eps=1e-6), nn.Linear(DIM, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Volumes to logits."""
        boxes = rearrange(x, "n (t a) (h b) (w c) -> n (t h w) (a b c)", a=TUBELET, b=TUBELET, c=TUBELET)
        return self.head(self.norm(self.blocks(self.embed(boxes) + self.places)).mean(1))


runtime.use_threads()
torch.manual_seed(0)
data = organmnist3d("mini")
volumes, labels = torch.from_numpy(data.train[0]).float() / 255, torch.from_numpy(data.train[1])
sides = {"left": "right", "right": "left"}
twins = torch.tensor(
    [data.names.index("-".join(sides.get(part, part) for part in name.split("-"))) for name in data.names]
)
model = Joint()
optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.1)


def augmented(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch moved by up to SHIFT voxels, and half of its pairs mirrored."""
    padded = F.pad(x[:, None], [SHIFT] * 6, mode="reflect")[:, 0]
    z, h, w = (slice(first, first + 28) for first in torch.randint(2 * SHIFT + 1, (3,)).tolist())
    moved, flip = padded[:, z, h, w], (torch.rand(len(y)) < 0.5) & (twins[y] != y)
    return torch.where(flip[:, None, None, None], moved.flip(3), moved), torch.where(flip, twins[y], y)


def epochs(count: int) -> None:
    """So many times over the training set."""
    for _ in range(count):
        for batch in torch.randperm(len(volumes)).split(BATCH):
            x, y = augmented(volumes[batch], labels[batch])
            loss = F.cross_entropy(model(x), y, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
