"""The tower: SAME padding by brute force, map shapes, and what the published ImageNet weights see in photographs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image as Pillow

from tests.tolerance import REPEATED, close
from vesalius.nn.efficientnet import FEATURES, EfficientNetLite0, SameConv2d, from_published


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("shape", [(7, 7), (8, 8), (9, 12), (1, 2)])
def test_same_padding_by_brute_force(kernel, stride, shape):
    torch.manual_seed(0)
    conv = SameConv2d(2, 3, kernel, stride, bias=True)
    x = torch.randn(1, 2, *shape)
    got = conv(x)
    rows, columns = (math.ceil(s / stride) for s in shape)
    assert got.shape == (1, 3, rows, columns)
    # TensorFlow: total padding p, p // 2 before, the rest after.
    before = [max((math.ceil(s / stride) - 1) * stride + kernel - s, 0) // 2 for s in shape]
    for r in range(rows):
        for c in range(columns):
            want = conv.bias.clone()
            for i in range(kernel):
                for j in range(kernel):
                    y, z = r * stride + i - before[0], c * stride + j - before[1]
                    if 0 <= y < shape[0] and 0 <= z < shape[1]:
                        want = want + conv.weight[:, :, i, j] @ x[0, :, y, z]
            close(got[0, :, r, c], want)


@pytest.mark.parametrize("side", [64, 70])
def test_the_pyramid_halves_and_pools(side):
    tower = EfficientNetLite0().eval()
    pixels = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    with torch.inference_mode():
        maps = tower.pyramid(pixels)
        pooled = tower(pixels)
        as_float = tower(pixels.float())
    size = side
    for channels, stage in zip(tower.stage_channels, maps.stages, strict=True):
        size = math.ceil(size / 2)
        assert stage.shape == (2, channels, size, size)
    size = math.ceil(size / 2)
    assert maps.tokens.shape == (2, FEATURES, size, size)
    close(pooled, maps.tokens.mean((2, 3)))
    close(pooled, as_float, REPEATED)


def test_dropping_paths_is_for_training_alone():
    tower = EfficientNetLite0(drop_path=0.9)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        tower.eval()
        close(tower(pixels), tower(pixels), REPEATED)
        torch.manual_seed(0)
        tower.train()
        assert not torch.allclose(tower(pixels), tower(pixels), rtol=0.01)


@pytest.fixture(scope="module")
def published():
    from vesalius.models.manifest import sha256
    from vesalius.training.nano.tower import IMAGENET

    path = IMAGENET.path()
    assert sha256(path) == IMAGENET.sha256
    state = torch.load(path, map_location="cpu", weights_only=True)
    tower = EfficientNetLite0()
    tower.load_state_dict(from_published(state))
    return tower.eval(), state["_fc.weight"], state["_fc.bias"]


#: Photograph to the ImageNet classes that are right for it.
SEEN = {
    "chelsea": {281, 282, 283, 284, 285},  # cats
    "coffee": {504, 967, 968, 969, 925},  # mug, espresso, cup
    "rocket": {657, 812, 744},  # missile, space shuttle, projectile
}


@pytest.mark.parametrize("name", list(SEEN))
def test_published_weights_know_photographs(published, name):
    tower, weight, bias = published
    picture = Pillow.fromarray(getattr(skimage.data, name)()).convert("RGB")
    short = 256
    w, h = picture.size
    picture = picture.resize((round(w * short / min(w, h)), round(h * short / min(w, h))), Pillow.Resampling.BICUBIC)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    pixels = torch.from_numpy(np.array(picture.crop((left, top, left + 224, top + 224)))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        scores = F.linear(tower(pixels), weight, bias)[0]
    assert scores.shape == (1000,)
    assert set(scores.topk(3).indices.tolist()) & SEEN[name]
    if name == "chelsea":
        assert int(scores.argmax()) in SEEN[name]
