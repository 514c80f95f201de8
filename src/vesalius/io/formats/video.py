"""Video through PyAV (an extra): frames as RGB, every n-th one when all of them are over budget."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError, MissingError
from vesalius.io.limits import Limits, check_pixels

AnyArray = npt.NDArray[Any]

#: Bytes of frames that a video is thinned to; `meta["step"]` says when it was.
AIM_BYTES = 512 * 2**20


def scan_video(stream: BinaryIO, item: str, limits: Limits) -> dict[str, Any]:
    """What the container says, as fields of `Image`; `meta` gets `fps` and, for a long video, `step`.

    Raises:
        MissingError: PyAV is not installed.
        BadInputError: No video stream in it, or damaged.
        UnsafeInputError: One frame alone is over the pixel budget.
    """
    av = _av(item)
    try:
        with av.open(stream, "r") as container:
            video = _stream(container, item)
            h, w = int(video.codec_context.height), int(video.codec_context.width)
            check_pixels((h, w, 3), 1, limits, item)
            rate = float(video.average_rate or 0)
            frames = int(video.frames)
            if not frames and container.duration and rate:
                frames = round(container.duration / 1e6 * rate)
    except av.error.FFmpegError as error:
        raise BadInputError("cannot read video", item=item, why=str(error)[:200]) from error
    step = max(1, math.ceil(max(frames, 1) * h * w * 3 / min(AIM_BYTES, limits.max_bytes, limits.max_pixels)))
    meta: dict[str, Any] = {"format": "video"}
    if rate:
        meta["fps"] = round(rate, 3)
    if step > 1:
        meta["step"] = step
    return {"kind": "video", "shape": (math.ceil(frames / step), h, w, 3) if frames else None, "meta": meta}


def read_video(stream: BinaryIO, item: str, limits: Limits, *, step: int = 1) -> AnyArray:
    """Every `step`-th frame, `(T, H, W, 3)` uint8.

    Raises:
        MissingError: PyAV is not installed.
        BadInputError: Damaged, or nothing in it decodes.
        UnsafeInputError: The frames are over the budget.
    """
    av = _av(item)
    out: list[AnyArray] = []
    try:
        with av.open(stream, "r") as container:
            video = _stream(container, item)
            for n, frame in enumerate(container.decode(video)):
                if n % step:
                    continue
                check_pixels((len(out) + 1, frame.height, frame.width, 3), 1, limits, item)
                out.append(frame.to_ndarray(format="rgb24"))
                if out[-1].shape != out[0].shape:
                    raise BadInputError("video changes its size", item=item)
    except av.error.FFmpegError as error:
        raise BadInputError("cannot read video", item=item, why=str(error)[:200]) from error
    if not out:
        raise BadInputError("video is empty", item=item)
    return np.stack(out)


def _av(item: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingError(
            "reading video needs PyAV",
            item=item,
            why="it is not installed",
            fix="install it: pip install 'vesalius[video]'",
        ) from error
    av.logging.set_level(None)
    return av


def _stream(container: Any, item: str) -> Any:
    if not container.streams.video:
        raise BadInputError("cannot read video", item=item, why="there is no video stream in it")
    video = container.streams.video[0]
    video.thread_type = "NONE"
    return video
