"""Latte-1's tokenizer comes as a SentencePiece file alone: it has to be readable with what is installed."""

import sentencepiece
import t5_tokenizer
from transformers import AutoTokenizer


def test_a_sentencepiece_file_is_read_as_its_own_library_reads_it(tmp_path):
    t5_tokenizer.write(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    library = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    pieces = library.encode("a calm sea", out_type=str)
    assert len(pieces) > 2 and tokenizer.tokenize("a calm sea") == pieces
    assert tokenizer("a calm sea").input_ids[-1] == tokenizer.eos_token_id
