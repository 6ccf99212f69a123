"""A tokenizer in the files of T5's published one, with pieces learned from a few captions."""

import json
from pathlib import Path

import sentencepiece

CAPTIONS = ("a dog floats in space", "the sun sets over a calm sea", "tropical fish dart through clear water")
PIECES = 32


def write(folder: Path) -> None:
    """Write `spiece.model` and the three JSON files that lie beside it."""
    folder.mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CAPTIONS * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=PIECES,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=3,
    )
    (folder / "spiece.vocab").unlink()
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    extra = [f"<extra_id_{number}>" for number in range(100)]
    files = {
        "special_tokens_map.json": special | {"additional_special_tokens": extra},
        "added_tokens.json": {name: PIECES + 99 - number for number, name in enumerate(extra)},
        "tokenizer_config.json": special
        | {"tokenizer_class": "T5Tokenizer", "extra_ids": 100, "model_max_length": 512, "legacy": True},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
