"""Latte-1's tokenizer comes as a SentencePiece file alone: it has to be readable with what is installed."""

import io

import sentencepiece
from transformers import AutoTokenizer

SETTINGS = '{"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}'


def test_a_sentencepiece_file_is_read_as_its_own_library_reads_it(tmp_path):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a red sneaker moves left", "a blue coat moves right"] * 20),
        model_writer=model,
        vocab_size=25,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=3,
    )
    (tmp_path / "spiece.model").write_bytes(model.getvalue())
    (tmp_path / "tokenizer_config.json").write_text(SETTINGS, encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).encode("a red coat", out_type=str)
    assert len(pieces) > 2 and tokenizer.tokenize("a red coat") == pieces
    assert tokenizer("a red coat").input_ids[-1] == tokenizer.eos_token_id
