"""Tiny random checkpoints in the official format, held against transformers' own forward pass."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTModel,
)

from tests.tolerance import REPEATED, close
from vesalius.cases import Image
from vesalius.errors import BadInputError, MissingError, VesaliusError
from vesalius.models import load

RNG = np.random.default_rng(0)
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ["[PAD]", "[UNK]", "<s>", "</s>", "a", "chest", "x-ray", "of", "pneumonia", "no", "finding", "the", "left"]
UNKNOWN = {"unk_token": "[UNK]"}
SPECIAL = {"pad_token": "[PAD]", "bos_token": "<s>", "eos_token": "</s>"}
TEXTS = ["a chest x-ray", "no finding", "a chest x-ray of the left pneumonia " * 4]


def _tokenizer(folder, *, mask):
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, **UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    names = ["input_ids", "attention_mask"] if mask else ["input_ids"]
    fast = PreTrainedTokenizerFast(tokenizer_object=made, model_input_names=names, **UNKNOWN, **SPECIAL)
    fast.save_pretrained(folder)
    return fast


def _make(kind, folder):
    """Save a checkpoint; returns the official model and tokenizer."""
    torch.manual_seed(1)
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    text = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 12}
    image = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "rescale_factor": 1 / 255}
    tokenizer = None
    if kind == "clip":
        ids = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
        model = CLIPModel(CLIPConfig(text_config={**text, **ids}, vision_config=vision, projection_dim=10))
        size = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
        tokenizer = _tokenizer(folder, mask=True)
    elif kind == "siglip":
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
        size = {"size": {"height": 32, "width": 32}}
        tokenizer = _tokenizer(folder, mask=False)
    elif kind == "dinov2":
        model = Dinov2Model(Dinov2Config(**{**vision, "mlp_ratio": 2}))
        size = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    else:
        model = ViTModel(ViTConfig(**vision), add_pooling_layer=False)
        size = {"size": {"height": 32, "width": 32}}
    for parameter in model.parameters():  # official initialisation leaves some at zero, which would hide mistakes
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    model.save_pretrained(folder)
    settings = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 3, **image, **size}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return model.eval(), tokenizer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Kind to (folder, official model, official tokenizer)."""
    out = {}
    for kind in ("clip", "siglip", "dinov2", "vit"):
        folder = tmp_path_factory.mktemp(kind)
        out[kind] = (folder, *_make(kind, folder))
    return out


def _features(out):
    return (out if isinstance(out, torch.Tensor) else out.pooler_output).numpy()


def _unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2", "vit"])
def test_image_features_are_those_of_transformers(made, kind):
    folder, official, _ = made[kind]
    ours = load(f"dir:{folder}")
    images = [Image(array=RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(3)]
    pixels = torch.from_numpy(np.concatenate([ours.preprocess(i) for i in images]))
    assert pixels.shape == (3, 3, 32, 32)
    with torch.inference_mode():
        if kind in ("clip", "siglip"):
            want = _features(official.get_image_features(pixel_values=pixels))
        else:
            want = official(pixel_values=pixels).last_hidden_state[:, 0].numpy()
    got = ours.embed(images)
    assert got.shape == (3, ours.dim)
    close(got, _unit(want))
    assert np.abs(got[0] - got[1]).max() > 1e-3  # pictures are told apart


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_text_features_are_those_of_transformers(made, kind):
    folder, official, tokenizer = made[kind]
    ours = load(f"dir:{folder}")
    options = {"padding": "max_length"} if kind == "siglip" else {"padding": True}
    with torch.inference_mode():
        # Each alone as well: with a mask, what is beside a text does not matter.
        batch = tokenizer(TEXTS, truncation=True, max_length=12, return_tensors="pt", **options)
        batch.pop("token_type_ids", None)
        want = _features(official.get_text_features(**batch))
        alone = []
        for text in TEXTS:
            one = tokenizer([text], truncation=True, max_length=12, return_tensors="pt", **options)
            one.pop("token_type_ids", None)
            alone.append(_features(official.get_text_features(**one)))
    got = ours.embed_text(TEXTS)
    close(got, _unit(want))
    close(got, _unit(np.concatenate(alone)))
    assert ours.dim == ours.embed([Image(array=np.zeros((8, 8), np.uint8))]).shape[1] == got.shape[1]
    assert np.abs(got[0] - got[1]).max() > 1e-3


@pytest.mark.parametrize("kind", ["dinov2", "vit"])
def test_image_only_checkpoints_have_no_text(made, kind):
    with pytest.raises(MissingError, match="no text tower"):
        load(f"dir:{made[kind][0]}").embed_text(["x"])


def _copy(folder, target, leave=(), **replace):
    target.mkdir()
    for file in folder.iterdir():
        if file.name not in leave:
            (target / file.name).write_bytes(replace.get(file.name, file.read_bytes()))
    return target


@pytest.mark.parametrize(
    ("kind", "gone", "said"),
    [
        ("clip", ["preprocessor_config.json"], "preprocessor_config.json"),
        ("clip", ["tokenizer.json"], "tokenizer"),
        ("siglip", ["tokenizer.json"], "tokenizer"),
        ("vit", ["model.safetensors"], "weights"),
        ("dinov2", ["config.json"], "config.json"),
    ],
)
def test_a_missing_piece_is_named(made, tmp_path, kind, gone, said):
    folder = _copy(made[kind][0], tmp_path / "part", leave=gone)
    with pytest.raises(MissingError, match=said):
        load(f"dir:{folder}")


def test_no_folder_is_said(tmp_path):
    with pytest.raises(MissingError, match="no such model folder"):
        load(f"dir:{tmp_path / 'nowhere'}")


def test_pickled_weights_are_refused(made, tmp_path):
    folder = _copy(made["vit"][0], tmp_path / "pickled", leave=["model.safetensors"])
    torch.save(made["vit"][1].state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(BadInputError, match="pickled"):
        load(f"dir:{folder}")


CODE = "import pathlib\npathlib.Path({path!r}).write_text('ran')\nclass M: pass\n"


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_checkpoint_never_runs_its_own_code(made, tmp_path, file):
    folder = _copy(made["clip"][0], tmp_path / "code")
    mark = tmp_path / "ran"
    (folder / "own.py").write_text(CODE.format(path=str(mark)))
    config = json.loads((folder / file).read_text())
    config["auto_map"] = {"AutoModel": "own.M", "AutoConfig": "own.M", "AutoTokenizer": ["own.M", "own.M"]}
    (folder / file).write_text(json.dumps(config))
    with pytest.raises(BadInputError):
        load(f"dir:{folder}")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", "{"),
        ("config.json", "[]"),
        ("config.json", '{"model_type": "bert"}'),
        ("config.json", "{}"),
        ("preprocessor_config.json", "{}"),
        ("preprocessor_config.json", '{"size": {"shortest_edge": 32}}'),
        ("preprocessor_config.json", '{"size": {"height": 32, "width": 32}}'),
        ("preprocessor_config.json", '{"size": "large", "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}'),
        ("preprocessor_config.json", '{"size": {"height": 32}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}'),
        ("preprocessor_config.json", '{"size": 32, "resample": 99, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}'),
        ("preprocessor_config.json", '{"size": 32, "image_mean": 0.5, "image_std": 0.5}'),
        ("model.safetensors", "not weights"),
    ],
)
def test_a_broken_checkpoint_is_refused(made, tmp_path, file, text):
    folder = _copy(made["vit"][0], tmp_path / "broken", **{file: text.encode()})
    with pytest.raises(VesaliusError):
        load(f"dir:{folder}")


def test_weights_that_do_not_fit_are_refused(made, tmp_path):
    """A tensor the config asks for and the file lacks would be filled with random numbers."""
    from safetensors.torch import load_file, save_file

    folder = _copy(made["vit"][0], tmp_path / "partial")
    state = load_file(folder / "model.safetensors")
    state.pop(sorted(state)[0])
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VesaliusError):
        load(f"dir:{folder}")


def test_fingerprints_follow_weights_and_preprocessing(made, tmp_path):
    base = load(f"dir:{made['vit'][0]}").fingerprint
    assert load(f"dir:{_copy(made['vit'][0], tmp_path / 'same')}").fingerprint == base
    settings = json.loads((made["vit"][0] / "preprocessor_config.json").read_text())
    changed = json.dumps({**settings, "resample": 2}).encode()
    other = _copy(made["vit"][0], tmp_path / "other", **{"preprocessor_config.json": changed})
    assert load(f"dir:{other}").fingerprint != base


def test_a_checkpoint_can_be_added_to_the_store(made, tmp_path, monkeypatch):
    from vesalius.models import store

    monkeypatch.setenv("VESALIUS_HOME", str(tmp_path / "home"))
    entry = store.add(made["clip"][0], "tiny-clip")
    assert entry.origin == "added"
    stored, direct = load("tiny-clip"), load(f"dir:{made['clip'][0]}")
    assert stored.fingerprint == direct.fingerprint
    assert stored.name == "tiny-clip"
    close(stored.embed_text(TEXTS), direct.embed_text(TEXTS), REPEATED)
