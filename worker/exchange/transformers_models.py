"""ResNet and ViT of transformers, with their weights under the names that torchvision and timm have for them."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from worker.exchange.imported_model import ImportedModel, Unsupported, allowed

_SUPPORTED = "Of transformers, ResNet (18, 34, 50, 101 layers) and ViT (tiny, small, base) are supported"
_RESNETS = {
    ("basic", (2, 2, 2, 2)): "torchvision/resnet18",
    ("basic", (3, 4, 6, 3)): "torchvision/resnet34",
    ("bottleneck", (3, 4, 6, 3)): "torchvision/resnet50",
    ("bottleneck", (3, 4, 23, 3)): "torchvision/resnet101",
}
_VITS = {  # (width, heads, side of a patch)
    (192, 3, 16): "timm/vit_tiny_patch16_224",
    (384, 6, 16): "timm/vit_small_patch16_224",
    (768, 12, 16): "torchvision/vit_b_16",
    (768, 12, 32): "torchvision/vit_b_32",
}
_RESNET_NAMES = (
    (r"^resnet\.embedder\.embedder\.convolution", "conv1"),
    (r"^resnet\.embedder\.embedder\.normalization", "bn1"),
    (r"^resnet\.encoder\.stages\.(\d)\.layers\.(\d+)\.", lambda m: f"layer{int(m[1]) + 1}.{m[2]}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"\.layer\.(\d)\.convolution\.", lambda m: f".conv{int(m[1]) + 1}."),
    (r"\.layer\.(\d)\.normalization\.", lambda m: f".bn{int(m[1]) + 1}."),
    (r"^classifier\.1\.", "fc."),
)
_VIT_NAMES = (  # of transformers, torchvision, timm
    (r"^vit\.embeddings\.cls_token$", "class_token", "cls_token"),
    (r"^vit\.embeddings\.position_embeddings$", "encoder.pos_embedding", "pos_embed"),
    (r"^vit\.embeddings\.patch_embeddings\.projection\.", "conv_proj.", "patch_embed.proj."),
    (r"^vit\.encoder\.layer\.(\d+)\.", r"encoder.layers.encoder_layer_\1.", r"blocks.\1."),
    (r"\.attention\.attention\.qkv\.", ".self_attention.in_proj_", ".attn.qkv."),
    (r"\.attention\.output\.dense\.", ".self_attention.out_proj.", ".attn.proj."),
    (r"\.layernorm_before\.", ".ln_1.", ".norm1."),
    (r"\.layernorm_after\.", ".ln_2.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.0.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.3.", ".mlp.fc2."),
    (r"^vit\.layernorm\.", "encoder.ln.", "norm."),
    (r"^classifier\.", "heads.head.", "head."),
)
_RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as PIL numbers them


def read(config: dict[str, Any], processor: dict[str, Any], checkpoint: Path) -> ImportedModel:
    """A model saved by transformers; the checkpoint is rewritten with the tensor names of torchvision or timm.

    Raises:
        Unsupported: it is of another kind, or computes something else than the networks on the allow-list.
    """
    state = load_file(checkpoint)
    if config["model_type"] == "resnet":
        name = _resnet(config)
        state = {_rename(key, _RESNET_NAMES): tensor for key, tensor in state.items()}
    elif config["model_type"] == "vit":
        name = _vit(config)
        pairs = [(old, new[name.startswith("timm/")]) for old, *new in _VIT_NAMES]
        state = {_rename(key, pairs): tensor for key, tensor in _fuse_qkv(state).items()}
    else:
        raise Unsupported(f"{_SUPPORTED}, and not {config['model_type']}.")
    save_file(state, checkpoint)
    description = {"architecture": allowed(name), "classes": _classes(config)}
    return ImportedModel(checkpoint, description | _preprocessing(processor))


def _resnet(config: dict[str, Any]) -> str:
    name = _RESNETS.get((config.get("layer_type", "bottleneck"), tuple(config.get("depths", ()))))
    plain = config.get("hidden_act") == "relu" and not (
        config.get("downsample_in_bottleneck") or config.get("downsample_in_first_stage")
    )
    if name is None or not plain or config.get("num_channels", 3) != 3:
        raise Unsupported(f"{_SUPPORTED}; this ResNet is built otherwise.")
    return name


def _vit(config: dict[str, Any]) -> str:
    name = _VITS.get((config["hidden_size"], config["num_attention_heads"], config["patch_size"]))
    if name is None or config.get("hidden_act") != "gelu" or config.get("num_channels", 3) != 3:
        raise Unsupported(f"{_SUPPORTED}; this ViT is built otherwise.")
    return name


def _rename(key: str, pairs: Any) -> str:
    for old, new in pairs:
        key = re.sub(old, new, key)
    return key


def _fuse_qkv(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Concatenate query, key and value: torchvision and timm have one tensor for the three, in this order."""
    fused = {key: tensor for key, tensor in state.items() if ".attention.attention." not in key}
    for key in state:
        if ".attention.attention.query." in key:
            parts = [state[key.replace(".query.", f".{part}.")] for part in ("query", "key", "value")]
            fused[key.replace(".query.", ".qkv.")] = torch.cat(parts)
    return fused


def _classes(config: dict[str, Any]) -> list[str]:
    names = config.get("id2label", {})
    return [names[key] for key in sorted(names, key=int)]


def _preprocessing(processor: dict[str, Any]) -> dict[str, Any]:
    """What preprocessor_config.json says; without one, nothing is known about the images."""
    if not processor:
        return {}
    kind = processor.get("image_processor_type") or processor.get("feature_extractor_type", "")
    size = processor["size"]
    if isinstance(size, int):  # as older files have it
        size = {"height": size, "width": size}
    height = size.get("shortest_edge") or size["height"]
    prepared = {
        "size": [height, size.get("width", height)],
        "mean": processor["image_mean"],
        "std": processor["image_std"],
        "interpolation": _RESAMPLING[processor.get("resample", 2)],
    }
    if kind.startswith("ConvNext") and height < 384:  # from there on it stretches, too
        crop_pct = processor.get("crop_pct") or 0.875
        return {"preprocessing": prepared | {"resize": "crop", "crop_pct": crop_pct}}
    if kind.startswith(("ConvNext", "ViT")):
        return {"preprocessing": prepared | {"resize": "stretch"}}
    raise Unsupported(f"Images are prepared by {kind or 'something without a name'}, which is not supported.")
