"""A real sentence encoder, tiny: a BERT of two layers with random weights, saved as sentence-transformers saves one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

LETTERS = "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长高血压失眠饭感冒咳嗽头疼睡觉怎办"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def save_encoder(
    folder: Path,
    pooling: dict[str, Any] | None = None,
    dense: int = 0,
    told: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """The folder of an encoder that reads 64 characters; `pooling` is its pooling configuration (None: no modules),
    `dense` the width of a linear layer after it, `told` its config_sentence_transformers.json."""
    torch.manual_seed(seed)
    vocabulary = {
        token: place for place, token in enumerate((*SPECIAL, *dict.fromkeys(LETTERS), *"abcdefghijklmnopqrstuvwxyz?"))
    }
    words = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=4))
    words.normalizer = normalizers.BertNormalizer(lowercase=False)
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split("", "isolated")]
    )
    words.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    BertModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if pooling is None:
        return folder
    kinds = ["", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    paths = ["", "1_Pooling", *(["2_Dense"] if dense else []), f"{2 + bool(dense)}_Normalize"]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind or 'Transformer'}"}
        for at, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": True})
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **pooling})
    if told:
        _write(folder / "config_sentence_transformers.json", told)
    if dense:
        activation = "torch.nn.modules.activation.Tanh"
        _write(
            folder / "2_Dense" / "config.json",
            {"in_features": 32, "out_features": dense, "activation_function": activation},
        )
        save_file(
            {"linear.weight": torch.randn(dense, 32), "linear.bias": torch.randn(dense)},
            folder / "2_Dense" / "model.safetensors",
        )
    return folder


def _write(path: Path, what: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(what), "utf-8")
