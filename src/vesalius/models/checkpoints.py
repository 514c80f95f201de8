"""Checkpoints in the official transformers format: CLIP, SigLIP, DINOv2, ViT. Safetensors only, no remote code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from vesalius.errors import BadInputError, MissingError
from vesalius.models.embedding import TowerEmbedder, batch_size_for
from vesalius.models.manifest import Manifest, describe_files
from vesalius.models.preprocess import ViewPreprocess
from vesalius.models.protocols import AnyArray, FloatArray

#: model_type to whether it has a text tower.
SUPPORTED = {"clip": True, "siglip": True, "siglip2": False, "dinov2": False, "vit": False}
_PIL_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_TOKENIZERS = ("tokenizer.json", "spiece.model", "vocab.json")
_UNIT = (1.0, 1.0, 1.0)


def describe_checkpoint(folder: Path, name: str) -> Manifest:
    """A manifest for a checkpoint folder that has none; every piece must be there.

    Raises:
        MissingError: Not a folder, or config, preprocessing, weights or tokenizer are missing.
        BadInputError: The kind is not supported, or the weights are pickled.
    """
    if not folder.is_dir():
        raise MissingError("no such model folder", item=str(folder))
    config = _json(folder, "config.json")
    kind = config.get("model_type")
    if kind not in SUPPORTED or kind == "siglip2":
        raise BadInputError(
            "checkpoint kind is not supported", item=f"{folder}: {kind}", why=f"known: {', '.join(sorted(SUPPORTED))}"
        )
    own = ("config.json", "tokenizer_config.json", "preprocessor_config.json")
    if any(_json(folder, name).get("auto_map") for name in own if (folder / name).is_file()):
        raise BadInputError("checkpoint wants to run its own code", item=str(folder), fix="remote code is never run")
    if not any(folder.glob("*.safetensors")):
        pickled = [p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth"))]
        raise (
            BadInputError(
                "checkpoint has pickled weights only",
                item=f"{folder}: {pickled[0]}",
                fix="convert it to safetensors first",
            )
            if pickled
            else MissingError("checkpoint has no weights", item=str(folder), fix="add model.safetensors")
        )
    if SUPPORTED[kind] and not any((folder / t).is_file() for t in _TOKENIZERS):
        raise MissingError("checkpoint has no tokenizer", item=str(folder), why=f"none of {', '.join(_TOKENIZERS)}")
    vision = config.get("vision_config", config)
    dim = config.get("projection_dim") if kind == "clip" else vision.get("hidden_size", 768)
    files = {n: f for n, f in describe_files(folder).items() if n.endswith((".safetensors", ".json", ".txt", ".model"))}
    return Manifest(
        name=name,
        kind="transformers",
        title=f"{kind} checkpoint",
        capabilities=("embed", "text") if SUPPORTED[kind] else ("embed",),
        dim=int(dim or 512),
        preprocess=_preprocess(folder, kind).to_dict(),
        files=files,
        notes={"model_type": kind},
    )


class CheckpointEmbedder(TowerEmbedder):
    """A transformers checkpoint as an embedder.

    CLIP and SigLIP give their projected image and text features; DINOv2 and ViT the class token after the last norm.

    Args:
        folder: The checkpoint folder.
        name: Name for messages and indexes.
        device: torch device.
    """

    def __init__(self, folder: Path, name: str, device: str = "cpu") -> None:
        if (folder / "model.json").is_file():
            self.manifest = Manifest.read(folder)
            self.manifest.require_whole(folder)
        else:
            self.manifest = describe_checkpoint(folder, name)
        super().__init__(
            name,
            self.manifest.fingerprint,
            self.manifest.dim,
            ViewPreprocess.from_dict(self.manifest.preprocess),
            batch_size=batch_size_for(device),
        )
        from transformers import AutoModel, AutoTokenizer

        self.kind = str(self.manifest.notes["model_type"])
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            model, loaded = AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
            )
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **options) if SUPPORTED[self.kind] else None
        except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, SafetensorError) as error:
            raise BadInputError("cannot load checkpoint", item=str(folder), why=str(error)[:300]) from error
        # transformers fills what the file lacks with random numbers. A ViT's pooler is not used here.
        absent = {k for k in loaded["missing_keys"] if not (self.kind == "vit" and k.startswith("pooler."))}
        if absent:
            raise MissingError(
                "checkpoint lacks weights", item=str(folder), why=f"{len(absent)} tensor(s), {min(absent)} the first"
            )
        self._model = model.eval().requires_grad_(False).to(device)
        self.device = device

    @torch.inference_mode()
    def _forward_views(self, views: AnyArray) -> FloatArray:
        pixels = torch.from_numpy(np.ascontiguousarray(views)).to(self.device)
        if SUPPORTED[self.kind]:
            out = self._model.get_image_features(pixel_values=pixels)
            features = out if isinstance(out, torch.Tensor) else out.pooler_output
        else:
            features = self._model(pixel_values=pixels).last_hidden_state[:, 0]
        return features.float().cpu().numpy()

    @torch.inference_mode()
    def _forward_texts(self, texts: Sequence[str]) -> FloatArray:
        if self._tokenizer is None:
            return super()._forward_texts(texts)
        length = min(int(self._model.config.text_config.max_position_embeddings), 512)
        out = []
        for start in range(0, len(texts), 64):
            # SigLIP was trained with every text padded to the full length; CLIP with a mask.
            padding = "max_length" if self.kind == "siglip" else True
            batch = self._tokenizer(
                list(texts[start : start + 64]),
                padding=padding,
                truncation=True,
                max_length=length,
                return_tensors="pt",
            )
            keep = {k: v.to(self.device) for k, v in batch.items() if k in ("input_ids", "attention_mask")}
            got = self._model.get_text_features(**keep)
            out.append((got if isinstance(got, torch.Tensor) else got.pooler_output).float().cpu().numpy())
        return np.concatenate(out)


def _preprocess(folder: Path, kind: str) -> ViewPreprocess:
    """The image side of `preprocessor_config.json` as our own fields."""
    p = _json(folder, "preprocessor_config.json")
    try:
        return _views(p, kind, folder)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInputError(
            "cannot read preprocessing",
            item=str(folder / "preprocessor_config.json"),
            why=f"{type(error).__name__}: {error}",
        ) from error


def _views(p: dict[str, Any], kind: str, folder: Path) -> ViewPreprocess:
    if not p.get("do_resize", True) or "size" not in p:
        raise BadInputError("preprocessing has no size", item=str(folder / "preprocessor_config.json"))
    size, crop = p["size"], p.get("crop_size")
    if isinstance(size, int):
        size = {"shortest_edge": size} if kind in ("clip", "dinov2") else {"height": size, "width": size}
    normalise = p.get("do_normalize", True)
    common: dict[str, Any] = {
        "resample": _PIL_FILTERS[p.get("resample", 3 if kind != "vit" else 2)],
        "mean": _three(p["image_mean"]) if normalise else (0.0, 0.0, 0.0),
        "std": _three(p["image_std"]) if normalise else _UNIT,
        "rescale": float(p.get("rescale_factor", 1 / 255)) if p.get("do_rescale", True) else 1.0,
    }
    if "shortest_edge" in size:
        if not p.get("do_center_crop", True) or crop is None:
            raise BadInputError(
                "preprocessing keeps no fixed size", item=str(folder), why="shortest_edge without a crop"
            )
        if isinstance(crop, int):
            crop = {"height": crop, "width": crop}
        return ViewPreprocess(
            int(crop["height"]), int(crop["width"]), fit="crop", shortest=int(size["shortest_edge"]), **common
        )
    return ViewPreprocess(int(size["height"]), int(size["width"]), **common)


def _three(values: Any) -> tuple[float, float, float]:
    r, g, b = values
    return float(r), float(g), float(b)


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise MissingError(
            "checkpoint is not whole", item=str(path), why=f"there is no {name}", fix="copy the whole checkpoint folder"
        )
    try:
        data = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInputError("cannot read checkpoint", item=str(path), why=str(error)) from error
    if not isinstance(data, dict):
        raise BadInputError("cannot read checkpoint", item=str(path), why="not a JSON object")
    return data
