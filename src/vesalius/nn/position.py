"""Where a cell of a grid is, as sines and cosines of its row and column."""

from __future__ import annotations

import torch
from torch import Tensor

from vesalius.errors import BadInputError


def sine_2d(height: int, width: int, dim: int, longest: float = 2.0, shortest: float = 4.0) -> Tensor:
    """`(height * width, dim)` encoding of the cells of a grid, row by row.

    The first half of the channels encodes the row, the second the column: sines, then cosines, of `2 pi p / w` for the
    cell's middle p as a share of the picture and wavelengths w in geometric steps (Vaswani et al., NeurIPS 2017, for
    two axes as in Carion et al., "DETR", ECCV 2020). The wavelengths end where the grid stops telling cells apart,
    instead of being the same for every grid.

    Args:
        height: Rows.
        width: Columns.
        dim: Channels, a multiple of 4.
        longest: Longest wavelength, in pictures; from 2 on no two places share all values.
        shortest: Shortest wavelength, in cells.

    Raises:
        BadInputError: `dim` is not a multiple of 4.
    """
    if dim % 4:
        raise BadInputError("position encoding does not fit", item=f"dim {dim}", why="it must be a multiple of 4")

    def axis(size: int) -> Tensor:
        ends = torch.tensor([1 / longest, max(size / shortest, 1 / longest)]).log()
        waves = torch.linspace(float(ends[0]), float(ends[1]), dim // 4).exp()
        angle = 2 * torch.pi * ((torch.arange(size) + 0.5) / size)[:, None] * waves
        return torch.cat([angle.sin(), angle.cos()], 1)

    rows, columns = axis(height)[:, None].expand(-1, width, -1), axis(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], 2).reshape(height * width, dim)
