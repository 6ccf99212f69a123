"""A LattePipeline with random weights, of the miniature's form but smaller: what it draws is noise, but its own."""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, LattePipeline, LatteTransformer3DModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from tutorial_utils.assets import DATA
from tutorial_utils.diffusion import STABLE_DIFFUSION

WORDS = ["a", "red", "blue", "sneaker", "coat", "moving", "left", "right", "up", "quickly", "blurry"]


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=120
    )


def build() -> LattePipeline:
    """Clips of 8 frames, 64x64, with the VAE that the course ships."""
    torch.manual_seed(0)
    text = T5Config(vocab_size=14, d_model=16, d_kv=8, num_heads=2, d_ff=32, num_layers=2, dropout_rate=0.0)
    transformer = LatteTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=16,
        attention_bias=True,
        sample_size=8,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=16,
        video_length=8,
    )
    with torch.no_grad():  # as initialised, the text hardly matters
        for block in transformer.transformer_blocks:
            block.attn2.to_v.weight *= 20
            block.attn2.to_q.weight *= 5
    return LattePipeline(
        tokenizer=tokenizer(),
        text_encoder=T5EncoderModel(text).eval(),
        vae=AutoencoderKL.from_pretrained(DATA / "checkpoints/vae-mini").eval(),
        transformer=transformer.eval(),
        scheduler=DDIMScheduler.from_config(
            STABLE_DIFFUSION,
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            clip_sample=False,
        ),
    )
