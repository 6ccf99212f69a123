"""Faults that people make: a line of the package or of a lesson, and what somebody could have written in its place.

None is a change that makes no difference. A fault that no fact of its lesson notices shows what the lesson does not
assert, or does not teach.
"""

from __future__ import annotations

from dataclasses import dataclass

LESSON = "the lesson"
"""Where a fault is that stands in a lesson's own cells."""


@dataclass(frozen=True)
class Fault:
    """What stands once in `where`, and a mistake in its place.

    Attributes:
        lesson: the beginning of the name of a lesson that uses the line.
        where: a module, as seen from `tutorial_utils/`, or `LESSON`.
        what: the mistake, in a few words.
    """

    lesson: str
    where: str
    old: str
    new: str
    what: str


PATCHES, ATTENTION, UVIT = (f"networks/{name}.py" for name in ("patches", "attention", "uvit"))
METRICS, ADHERENCE, INTERVALS = (f"measures/{name}.py" for name in ("metrics", "adherence", "intervals"))
DIFFUSION, BY_CLASS, LATTE = (f"sampling/{name}.py" for name in ("diffusion", "by_class", "latte"))
GARMENTS, MOVING, ORGANS, AXES = (f"datasets/{name}.py" for name in ("garments", "moving", "organs", "axes"))
IMAGES, ORGANMNIST = (f"datasets/{name}.py" for name in ("images", "organmnist3d"))
RECIPE, TRAINING = (f"recipes/{name}.py" for name in ("latte", "training"))

TO_PATCHES = '"... c (row h) (col w) -> ... (row col) (c h w)"'
TO_IMAGES = '"... (row col) (c h w) -> ... c (row h) (col w)"'
MIXED = "reached = (layer + identity) / 2 @ reached"

IN_LESSON_1 = [
    (PATCHES, TO_PATCHES, TO_PATCHES.replace("(row col)", "(col row)"), "patches read column by column"),
    (PATCHES, TO_PATCHES, TO_PATCHES.replace("(c h w)", "(h w c)"), "within a patch the channel varies fastest"),
    (PATCHES, TO_IMAGES, TO_IMAGES.replace("c (row h) (col w)", "c (row w) (col h)"), "patches put back transposed"),
    (PATCHES, "start = side % step // 2", "start = side % step", "trimmed on one side only"),
    (ATTENTION, MIXED, "reached = reached @ (layer + identity) / 2", "rollout multiplied in the wrong order"),
    (ATTENTION, MIXED, "reached = layer @ reached", "rollout without the residual connection"),
    (ATTENTION, MIXED, "reached = (layer + identity) @ reached", "rollout without its half"),
    (ATTENTION, "reached[:, 0, 1:]", "reached[:, 1:, 0]", "rollout reads [CLS]'s column, not its row"),
    (ATTENTION, "weights.mean(dim=2)", "weights[:, :, 0]", "rollout of the first head alone"),
    (ATTENTION, "weights[layer, :, :, 0, 1:]", "weights[layer, :, :, 1:, 0]", "who looks at [CLS], not where it looks"),
    (ATTENTION, "weights[layer, :, :, 0, 1:]", "weights[layer, :, :, 0, :-1]", "maps begin one token too early"),
    (ATTENTION, "-1, (rows, columns))", "-1, (columns, rows)).mT", "maps with rows and columns exchanged"),
    (INTERVALS, 'proportion_ci(method="wilson")', 'proportion_ci(0.9, method="wilson")', "an interval of 90%"),
    (LESSON, "processor.image_mean) / processor.image_std", "processor.image_mean) * processor.image_std",
     "multiplied by the standard deviation"),
    (LESSON, "(1 + torch.erf(x / 2**0.5))", "(1 + torch.erf(x / 2))", "GELU without its root"),
    (LESSON, "q.shape[-1] ** 0.5).softmax(dim=-1) @ v", "q.shape[-1] ** 0.5).softmax(dim=-2) @ v",
     "softmax over the queries"),
    (LESSON, "torch.from_numpy(garment_labels[:how_many])", "torch.from_numpy(garment_labels[:how_many]).roll(1)",
     "labels shifted by one"),
    (LESSON, "if number in silent else", "if number + 1 in silent else", "the layer before is silenced"),
    (LESSON, "ranking = scores.argsort(dim=1, descending=True)", "ranking = scores.argsort(dim=1)",
     "the least attended are removed first"),
]  # fmt: skip

IN_LESSON_2 = [
    (ORGANS, 'volume[..., ::-1] if side == "left"', 'volume[:, ::-1] if side == "left"',
     "left organs turned front to back"),
    (ORGANMNIST, "draw_organs([names[label] for label in labels]", "draw_organs([names[label - 1] for label in labels]",
     "volumes of the organ before"),
    (AXES, "_alike(np.flip(a, axis), b) - _alike(a, b)", "_alike(a, b) - _alike(np.flip(a, axis), b)",
     "the sign of the gain turned"),
    (AXES, "rest[int(drifts[0].argmax())]", "rest[int(drifts[0].argmin())]", "the axis of the least drift"),
    (LESSON, "tf.where(flip, others, labels)", "tf.where(flip, labels, labels)",
     "volumes mirrored without their labels"),
    (LESSON, "[1 + layout.left_right]", "[layout.left_right]", "mirrored along the axis before"),
    (LESSON, "return tf.image.convert_image_dtype(volumes, tf.float32)[", "return tf.cast(volumes, tf.float32)[",
     "values left from 0 to 255"),
    (LESSON, "first = shape[1] // self.frames // 2", "first = 0", "frames from the beginning of their parts"),
    (LESSON, "np.repeat(filters[None], depth, axis=0) / depth", "np.repeat(filters[None], depth, axis=0)",
     "inflated filters that are not divided"),
    (LESSON, 'return x if over == "space" else', 'return x if over == "time" else', "space and time exchanged"),
    (LESSON, "ops.swapaxes(k, -1, -2)) / q.shape[-1] ** 0.5", "ops.swapaxes(k, -1, -2))",
     "attention without its scale"),
    (LESSON, "weights = ops.softmax(scores)", "weights = ops.softmax(scores, axis=-2)", "softmax over the queries"),
    (LESSON, "x = x + mixer(norm(x))", "x = mixer(norm(x))", "no residual connection"),
    (LESSON, "over_space, over_time = T * S**2, S * T**2", "over_space, over_time = S * T**2, T * S**2",
     "pairs over space and time exchanged"),
    (LESSON, "+ np.eye(x.shape[1] * x.shape[2])) / 2 @ mixed", "+ 0) @ mixed",
     "rollout without the residual connection"),
    (LESSON, "return mixed.mean(axis=-2)", "return mixed.mean(axis=-1)", "rollout summed along rows, not columns"),
    (LESSON, "test_volumes, test_labels = data.test", "test_volumes, test_labels = data.train",
     "tested on the training set"),
]  # fmt: skip

IN_LESSON_3 = [
    (DIFFUSION, "return share.sqrt(), (1 - share).sqrt()", "return share, 1 - share", "shares without their roots"),
    (DIFFUSION, "return share.sqrt(), (1 - share).sqrt()", "return (1 - share).sqrt(), share.sqrt()",
     "signal and noise exchanged"),
    (DIFFUSION, "return (noisy - noise * output) / signal", "return (noisy + noise * output) / signal",
     "noise added, not taken away"),
    (DIFFUSION, "return signal * noisy - noise * output", "return signal * noisy + noise * output", "the sign of v"),
    (DIFFUSION, "return unconditional + scale *", "return conditional + scale *", "guidance counted from the class"),
    (DIFFUSION, "conditional, unconditional = both", "unconditional, conditional = both", "guided away from the class"),
    (DIFFUSION, "torch.float32) + 1).expand", "torch.float32)).expand", "times one too early"),
    (DIFFUSION, "if low <= level <= high", "if low <= share <= high", "the interval compared with the share of noise"),
    (DIFFUSION, "one.normal_(generator=source)", "one.normal_(generator=sources[0])", "noise from the first seed only"),
    (DIFFUSION, "np.random.SeedSequence(entropy)", "np.random.SeedSequence(sum(entropy))", "runs that share samples"),
    (UVIT, "torch.cat([angles.cos(), angles.sin()]", "torch.cat([angles.sin(), angles.cos()]", "sines before cosines"),
    (UVIT, "block(tokens, skips.pop())", "block(tokens, skips.pop(0))", "skips first in, first out"),
    (UVIT, "(p1 p2 c) -> n c (h p1) (w p2)", "(p1 p2 c) -> n c (h p2) (w p1)", "patches put back transposed"),
    (BY_CLASS, "vae.dtype) / vae.config.scaling_factor", "vae.dtype)", "decoded without the scale"),
    (BY_CLASS, "(none + 1,), none,", "(none + 1,), none - 1,", "guided away from the last class"),
    (METRICS, "last_hidden_state[:, 0]", "last_hidden_state[:, 1:].mean(1)", "features of the patches, not of [CLS]"),
    (METRICS, "indices[own] = candidates[chosen]", "indices[own] = chosen",
     "places in the class for places in the set"),
    (METRICS, "features[labels == label].var(0)", "features.var(0)", "variety of all classes together"),
    (LESSON, "pictures.to(vae.device, vae.dtype) * 2 - 1", "pictures.to(vae.device, vae.dtype)",
     "pictures encoded from 0 to 1"),
    (LESSON, "signal * epsilon - noise * x_0", "noise * epsilon - signal * x_0", "v with its shares exchanged"),
    (LESSON, "x = signal.item() * clean + share.item() * noise", "x = signal.item() * clean - share.item() * noise",
     "a step to the other side"),
]  # fmt: skip

IN_LESSON_4 = [
    (LATTE, "masked_fill(beyond, -torch.inf)", "masked_fill(beyond, 0)", "the mask of the prompts forgotten"),
    (LATTE, "prompts.lengths[:, None])", "prompts.lengths[:, None] - 1)", "the last token masked, too"),
    (LATTE, "times - 1,", "times,", "times one too late"),
    (LATTE, "prompts.embeddings.device) + len(prompts),", "prompts.embeddings.device),",
     "guided away from the prompt itself"),
    (LATTE, "torch.cat([prompts.embeddings, prompts.negatives])", "torch.cat([prompts.negatives, prompts.embeddings])",
     "the prompt and what is to be avoided exchanged"),
    (LATTE, '"n c f h w -> n f c h w"', '"n c f h w -> n f c w h"', "clips transposed"),
    (ATTENTION, "unflatten(0, (-1, attention.heads))", "unflatten(0, (attention.heads, -1)).transpose(0, 1)",
     "heads and clips mixed up"),
    (ADHERENCE, "mass.sum(3) @ places / total, mass.sum(2) @ places / total",
     "mass.sum(2) @ places / total, mass.sum(3) @ places / total", "rows and columns of the centre exchanged"),
    (ADHERENCE, "(times - middle[:, None])", "(middle[:, None] - times)", "time runs backwards"),
    (ADHERENCE, "pairs).amax((2, 3)).amin(1)", "pairs).amax((2, 3)).amax(1)", "the best pair of frames, not the worst"),
    (ADHERENCE, "windows[clip, frame, rows, columns]", "windows[clip, frame, columns, rows]",
     "sprites cut out at the mirrored place"),
    (MOVING, '"left": (0, -1), "right": (0, 1)', '"left": (0, 1), "right": (0, -1)', "left and right exchanged"),
    (MOVING, "(labels == garment).nonzero()", "(labels == (garment + 1) % 10).nonzero()", "pictures of the next class"),
    (MOVING, "% len(FASHION_CLASSES) == 0", "% len(FASHION_CLASSES) == 1", "combinations that training has seen"),
    (RECIPE, "signal * epsilon - noise * x", "signal * epsilon + noise * x", "the sign of v in training"),
    (LESSON, 'in_time = rearrange(tokens, "n f s -> (n s) f")', 'in_time = rearrange(tokens, "n f s -> (n f) s")',
     "sequences over space, not over time"),
    (LESSON, '"f (h w) l -> l f h w", h=side', '"f (w h) l -> l f h w", h=side', "maps of words transposed"),
    (LESSON, "(2 * films.flatten(0, 1) - 1)", "films.flatten(0, 1)", "clips encoded from 0 to 1"),
    (LESSON, "self.B = nn.Parameter(torch.zeros(rows, rank)", "self.B = nn.Parameter(torch.ones(rows, rank)",
     "LoRA that does not begin at nothing"),
]  # fmt: skip

FAULTS = [
    Fault(lesson, *fault)
    for lesson, faults in {"01": IN_LESSON_1, "02": IN_LESSON_2, "03": IN_LESSON_3, "04": IN_LESSON_4}.items()
    for fault in faults
]
