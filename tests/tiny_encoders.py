"""Encoders of each kind that open_clip has, with random weights, small enough for tests: folders for `local-dir:`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

from tests.tiny_coca import write_tiny_coca

DIMENSION = 16
CONTEXT = 12
"""Tokens of a text, of which two mark its beginning and end."""
WORDS = ("a", "an", "the", "cat", "fox", "owl", "dog", "of", "number", "red", "green", "blue", "on", "sofa", "two")
_VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
_TEXT = {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
_HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def write_clip(folder: Path, *, seed: int = 0, layers: int = 1) -> Path:
    """A transformer for pictures and one for texts, as CLIP is made."""
    vision, text = ({**config, "layers": layers} for config in (_VISION, _TEXT))
    return _write(folder, {"embed_dim": DIMENSION, "vision_cfg": vision, "text_cfg": text}, {}, seed)


def write_siglip(folder: Path, *, seed: int = 0) -> Path:
    """A tower of timm that pools by attention, and a text tower that reads padding too and pools the last place."""
    folder.mkdir(parents=True)
    _write_tokenizer(folder, "t5")
    vision = {
        "timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none",
        "image_size": 160,
    }  # fmt: skip
    text = {
        "context_length": CONTEXT, "vocab_size": len(WORDS) + 8, "width": 32, "heads": 2, "layers": 1,
        "hf_tokenizer_name": "a/siglip", "tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True,
        "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
    }  # fmt: skip
    config = {"embed_dim": 64, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision}
    preprocessing = {**_HALF, "interpolation": "bicubic", "resize_mode": "squash"}
    return _write(folder, config | {"text_cfg": text}, preprocessing, seed)


def write_bert(folder: Path, *, seed: int = 0) -> Path:
    """A text tower of transformers of the kind bert, which masks its padding, 0."""
    from transformers import BertConfig

    return _write_hugging_face(folder, BertConfig, "bert", seed)


def write_roberta(folder: Path, *, seed: int = 0) -> Path:
    """A text tower of transformers of the kind xlm-roberta, whose padding is 1, and whose places count from it."""
    from transformers import XLMRobertaConfig

    return _write_hugging_face(folder, XLMRobertaConfig, "roberta", seed)


ENCODERS: dict[str, Callable[[Path], Path]] = {
    "clip": write_clip,
    "siglip": write_siglip,
    "coca": write_tiny_coca,
    "bert": write_bert,
    "roberta": write_roberta,
}


def _write_hugging_face(folder: Path, kind: type[Any], tokenizer: str, seed: int) -> Path:
    folder.mkdir(parents=True)
    _write_tokenizer(folder, tokenizer)
    numbers = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2} if tokenizer == "roberta" else {}
    kind(
        vocab_size=len(WORDS) + 8, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=40, **numbers,
    ).save_pretrained(folder)  # fmt: skip
    text = {
        "context_length": CONTEXT, "hf_model_name": str(folder), "hf_tokenizer_name": str(folder),
        "hf_model_pretrained": False, "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler",
    }  # fmt: skip
    return _write(folder, {"embed_dim": DIMENSION, "vision_cfg": _VISION, "text_cfg": text}, {}, seed)


def _write_tokenizer(folder: Path, kind: str) -> None:
    """A tokenizer of transformers that knows WORDS; `kind` says how it marks ends and padding."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {
        "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
        "roberta": ("<s>", "<pad>", "</s>", "<unk>"),
        "t5": ("<pad>", "</s>", "<unk>"),
    }[kind]
    unknown = special[-1] if kind != "bert" else special[1]
    vocabulary = {word: number for number, word in enumerate((*special, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    first, last = {"bert": ("[CLS]", "[SEP]"), "roberta": ("<s>", "</s>"), "t5": ("", "</s>")}[kind]
    marks = [(mark, vocabulary[mark]) for mark in (first, last) if mark]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}".strip(), special_tokens=marks)
    padding = {"bert": "[PAD]", "roberta": "<pad>", "t5": "</s>"}[kind]  # as SigLIP has it: the end mark
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=padding, unk_token=unknown).save_pretrained(folder)


def _write(folder: Path, config: dict[str, Any], preprocessing: dict[str, Any], seed: int) -> Path:
    """Write weights drawn from `seed`, and what open_clip must know of them."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in config.items() if name != "custom_text"}
    has_own_text = config.get("custom_text") or "hf_model_name" in config["text_cfg"]
    torch.manual_seed(seed)
    model = (open_clip.CustomTextCLIP if has_own_text else open_clip.CLIP)(**settings)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder
