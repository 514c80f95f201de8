"""The net: TinyViT, SAM's prompt encoder and mask decoder, and what names need beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SamConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPromptEncoder

from vesalius.nn.locate import Locator
from vesalius.nn.promptable import PAD, Masks, Prompts
from vesalius.nn.tiny_vit import OUT, STRIDE, TinyViT, fold

#: Side of the square that a picture is fitted into, and of the logits that come out.
SIDE = 256
#: Cells of a side of the encoder's map.
CELLS = SIDE // STRIDE
#: Bounds of logits that are given back as a prompt: a sure mistake can still be corrected.
BOUND = 10.0
#: Length of a sentence vector.
WORDS = 384


def _config() -> Any:
    prompts = {"image_size": SIDE, "patch_size": STRIDE, "hidden_size": OUT}
    decoder = {"hidden_size": OUT, "layer_norm_eps": 1e-5}
    config = SamConfig(prompt_encoder_config=prompts, mask_decoder_config=decoder)
    config.mask_decoder_config._attn_implementation = "sdpa"
    return config


class MaskDecoder(nn.Module):
    """Prompts and the picture's map to a mask: transformers' SAM parts, with words and presence added.

    A name becomes a token of its own, and, where nothing else is said, a coarse map of where it may be (`Locator`),
    which stands in for the mask so far.
    """

    def __init__(self) -> None:
        super().__init__()
        config = _config()
        self.prompts: Any = SamPromptEncoder(config)
        self.decoder: Any = SamMaskDecoder(config.mask_decoder_config)
        self.words = nn.Linear(WORDS, OUT)
        self.no_words = nn.Parameter(torch.zeros(OUT))
        self.present = nn.Linear(OUT, 1)
        self.locator = Locator(OUT, WORDS)
        #: Whether words and presence were trained: a checkpoint as published knows neither.
        self.tuned = False

    def forward(self, features: Tensor, prompts: Prompts) -> Masks:
        """`(n, OUT, CELLS, CELLS)` maps and what is said about each, row by row, to one mask each."""
        n = len(features)
        sparse = self._points(prompts.points, prompts.kinds)
        if self.tuned:
            said = (prompts.text.abs().sum(1, keepdim=True) > 0).to(features.dtype)
            word = said * self.words(prompts.text) + (1 - said) * self.no_words
            sparse = torch.cat([word[:, None], sparse], 1)
        d = self.decoder
        answers = torch.cat([d.iou_token.weight, d.mask_tokens.weight]).expand(n, -1, -1)
        tokens = torch.cat([answers, sparse], 1)[:, None]
        image = features + self._dense(prompts.previous)
        place = self._place().expand(n, -1, -1, -1)
        tokens, image = d.transformer(tokens, image, place, attention_similarity=None)
        tokens = tokens[:, 0]
        image = image.transpose(2, 3).reshape(features.shape)
        image = d.activation(d.upscale_layer_norm(d.upscale_conv1(image)))
        image = d.activation(d.upscale_conv2(image))
        vector = d.output_hypernetworks_mlps[0](tokens[:, 1])
        logits = torch.einsum("nc,nchw->nhw", vector, image)[:, None]
        overlap = d.iou_prediction_head(tokens[:, 0])[:, :1].clamp(0, 1)
        present = self.present(tokens[:, 0])[:, 0] if self.tuned else torch.full((n,), 20.0, device=features.device)
        return Masks(logits, overlap, present)

    def locate(self, features: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, SIDE, SIDE)` coarse logits of names, and `(n,)` the logit that each is there."""
        coarse, there = self.locator(self.locator.cells(self.locator.pooled(features)), words)
        whole = F.interpolate(coarse[:, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
        return whole, there

    def ask(self, features: Tensor, prompts: Prompts, *, locate: bool) -> tuple[Masks, Tensor]:
        """The masks, and `(n,)` the probability that each target is there.

        Args:
            features: Maps.
            prompts: What was said.
            locate: Whether names are all that was said: a coarse map of each then stands in for the mask so far.
        """
        if not locate:
            masks: Masks = self(features, prompts)
            return masks, masks.present.sigmoid()
        coarse, there = self.locate(features, prompts.text)
        masks = self(features, Prompts(prompts.points, prompts.kinds, prompts.text, coarse))
        return masks, ((there + masks.present) / 2).sigmoid()

    def _points(self, points: Tensor, kinds: Tensor) -> Tensor:
        """`(n, p, OUT)` tokens of clicks and box corners; a click alone is followed by "no more", as SAM has it."""
        p = self.prompts
        whole = bool(((kinds == 2) | (kinds == 3)).any(1).all())
        if not whole:
            points, kinds = F.pad(points, (0, 0, 0, 1)), F.pad(kinds, (0, 1), value=PAD)
        table = torch.cat([e.weight for e in p.point_embed] + [p.not_a_point_embed.weight])
        tokens: Tensor = p.shared_embedding(points) * (kinds != PAD)[..., None] + table[kinds]
        return tokens

    def _dense(self, previous: Tensor) -> Tensor:
        fresh = torch.isnan(previous).flatten(1).any(1)
        none = self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        if fresh.all():
            return none.expand(len(previous), -1, CELLS, CELLS)  # type: ignore[no-any-return] # transformers is untyped
        drawn = self.prompts.mask_embed(torch.nan_to_num(previous).clamp(-BOUND, BOUND)[:, None])
        return torch.where(fresh[:, None, None, None], none, drawn)

    def _place(self) -> Tensor:
        at = (torch.arange(CELLS, device=self.no_words.device) + 0.5) / CELLS
        grid = torch.stack([at[None].expand(CELLS, -1), at[:, None].expand(-1, CELLS)], -1)
        place: Tensor = self.prompts.shared_embedding(grid[None])
        return place.permute(0, 3, 1, 2)


def encoder_from_published(state: Mapping[str, Tensor]) -> TinyViT:
    """The frozen encoder with the weights of the published checkpoint; every tensor of its part is used."""
    net = TinyViT()
    own = {k.removeprefix("image_encoder."): v for k, v in state.items() if k.startswith("image_encoder.")}
    net.load_state_dict(fold(own))
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return] # torch's stub lacks it alone


def decoder_from_published(state: Mapping[str, Tensor]) -> MaskDecoder:
    """The decoder with the weights of the published checkpoint; words and presence are as they were made."""
    net = MaskDecoder()
    own = {new: v for k, v in state.items() if (new := _rename(k))}
    missing, unknown = net.load_state_dict(own, strict=False)
    ours = ("words.", "no_words", "present.", "locator.")
    left = [k for k in missing if not k.startswith(ours)]
    if left or unknown:
        raise RuntimeError(f"missing {left}, unknown {unknown}")
    return net


#: Parts of names: as published, as transformers has them.
_NAMES = (
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "prompts.shared_embedding.positional_embedding"),
    ("prompt_encoder.point_embeddings.", "prompts.point_embed."),
    ("prompt_encoder.mask_downscaling.0.", "prompts.mask_embed.conv1."),
    ("prompt_encoder.mask_downscaling.1.", "prompts.mask_embed.layer_norm1."),
    ("prompt_encoder.mask_downscaling.3.", "prompts.mask_embed.conv2."),
    ("prompt_encoder.mask_downscaling.4.", "prompts.mask_embed.layer_norm2."),
    ("prompt_encoder.mask_downscaling.6.", "prompts.mask_embed.conv3."),
    ("prompt_encoder.", "prompts."),
    ("mask_decoder.output_upscaling.0.", "decoder.upscale_conv1."),
    ("mask_decoder.output_upscaling.1.", "decoder.upscale_layer_norm."),
    ("mask_decoder.output_upscaling.3.", "decoder.upscale_conv2."),
    ("mask_decoder.", "decoder."),
)


def _rename(name: str) -> str:
    """A published name to ours, or "" for the encoder's."""
    for old, new in _NAMES:
        if name.startswith(old):
            name = new + name[len(old) :]
            break
    else:
        return ""
    if ".norm" in name:
        return name.replace(".norm_final_attn.", ".layer_norm_final_attn.").replace(".norm", ".layer_norm")
    if "_mlps." in name or "iou_prediction_head." in name:
        for old, new in ((".layers.0.", ".proj_in."), (".layers.1.", ".layers.0."), (".layers.2.", ".proj_out.")):
            if old in name:
                return name.replace(old, new)
    return name
