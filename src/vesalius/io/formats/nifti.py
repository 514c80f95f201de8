"""NIfTI through nibabel: lazily, within budget, slices turned the way a DICOM viewer shows them, affine to LPS.

The third stored axis (the slice axis) comes first: `(D, H, W)`. Slices along the body (axial) have rows towards the
back and columns towards the patient's left; coronal rows towards the feet and columns towards the left; sagittal rows
towards the feet and columns towards the back; the stack runs to the head, the back, or the left. Only the order of
voxels changes, never a value, and the affine goes with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vesalius.cases import Affine
from vesalius.errors import BadInputError
from vesalius.io.dicom.pixels import rescale
from vesalius.io.formats.stream import inflate, read_all
from vesalius.io.limits import Limits, check_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

AnyArray = npt.NDArray[Any]

#: Wanted (slice, row, column) directions, by where the slice axis points.
_WANTED = {"H": "HPL", "F": "HPL", "P": "PFL", "A": "PFL", "L": "LFP", "R": "LFP"}
_OPPOSITE = dict(zip("LRPAHF", "RLAPFH", strict=True))
_VIEWS = {"H": "AXIAL", "P": "CORONAL", "L": "SAGITTAL"}
_HEADER = 544  # bytes of the longer header (NIfTI-2) and the extension flag


def scan_nifti(stream: BinaryIO, item: str, limits: Limits) -> list[dict[str, Any]]:
    """What the header says, as fields of one `Image` for each time point.

    Raises:
        BadInputError: Damaged, or not an image in space.
        UnsafeInputError: Over the pixel budget.
    """
    header = _header(stream, item, limits)
    shape, times = _shape(header, item, limits)
    affine, spacing, faults = _geometry(header)
    meta: dict[str, Any] = {"format": "nifti", "dtype": str(header.get_data_dtype())}
    view = ""
    out_shape: tuple[int, ...] = shape[::-1]
    if affine is not None:
        order, _ = _turn(affine)
        out_shape = tuple(out_shape[i] for i in order)
        affine = turned(affine, shape[::-1])
        spacing = affine.spacing
        view = _VIEWS[affine.axis_codes()[0]]
    if header.get_data_dtype().fields is not None:
        out_shape = (*out_shape, 3)
    if faults:
        meta["faults"] = faults
    if is_pair(header):
        meta["pair"] = True
    flat = out_shape[0] == 1 and shape[2] == 1
    fields = {
        "kind": "2d" if flat else "3d",
        "shape": out_shape[1:] if flat else out_shape,
        "affine": affine,
        "spacing": spacing[1:] if flat and spacing else spacing,
        "view": view,
        "meta": meta,
    }
    return [fields] if times == 1 else [{**fields, "frame": t} for t in range(times)]


def read_nifti(
    stream: BinaryIO, item: str, limits: Limits, frame: int | None = None, *, voxels: BinaryIO | None = None
) -> AnyArray:
    """Values with the header's slope and intercept applied, `(D, H, W[, 3])` or `(H, W[, 3])` for a single slice.

    Args:
        stream: Plain or gzipped.
        item: Name for messages.
        limits: Budgets.
        frame: Time point of a 4-D file; None means the first.
        voxels: The other file of a pair.

    Raises:
        BadInputError: Damaged or cut off.
        UnsafeInputError: A bomb, or over the pixel budget.
    """
    header = _header(stream, item, limits)
    shape, times = _shape(header, item, limits)
    at = frame or 0
    if not 0 <= at < times:
        raise BadInputError("image has fewer time points than asked for", item=item, why=f"{at} of {times}")
    if is_pair(header) and voxels is None:
        raise BadInputError("NIfTI pair is cut in half", item=item, why="its voxels are in a file of their own")
    data = _bytes(voxels or stream, limits, item)
    dtype = header.get_data_dtype()
    count = int(np.prod(shape, dtype=np.int64))
    start = int(header["vox_offset"]) + at * count * dtype.itemsize
    if start < 0 or start + count * dtype.itemsize > len(data):
        raise BadInputError(
            "NIfTI is cut off", item=item, why=f"its header asks for {count * dtype.itemsize} bytes from {start}"
        )
    array: AnyArray = np.frombuffer(data, dtype, count, start).reshape(shape[::-1])
    if dtype.fields is not None:
        array = np.stack([array[c] for c in "RGB"], axis=-1)
    else:
        array = array.astype(dtype.newbyteorder("="))
        slope, intercept = header.get_slope_inter()
        if slope is not None:
            array = rescale(array, float(slope), float(intercept or 0.0), item)
    affine, _, _ = _geometry(header)
    if affine is not None:
        order, flips = _turn(affine)
        rest = range(3, array.ndim)
        array = np.transpose(array, (*order, *rest))
        array = np.flip(array, tuple(a for a, f in enumerate(flips) if f))
    array = np.ascontiguousarray(array)
    return array[0] if array.shape[0] == 1 and shape[2] == 1 else array


def stored_grid(array: AnyArray, stream: BinaryIO, item: str, limits: Limits) -> tuple[AnyArray, Affine]:
    """A mask on the volume that `read_nifti` gave, put back on the file's own grid.

    Args:
        array: `(D, H, W)`, turned as `read_nifti` turns.
        stream: The file's header.
        item: Name for messages.
        limits: Budgets.

    Returns:
        The same voxels in the file's `(k, j, i)` order, and the affine of those axes in LPS mm: the file's own, or the
        one that its readers assume where it has none.
    """
    header = _header(stream, item, limits)
    affine, _, _ = _geometry(header)
    if affine is None:
        return array, Affine(Affine.from_ras(np.asarray(header.get_best_affine())).matrix[:, [2, 1, 0, 3]])
    order, flips = _turn(affine)
    back = np.flip(array, tuple(a for a, f in enumerate(flips) if f))
    return np.ascontiguousarray(np.transpose(back, tuple(np.argsort(order)))), affine


def is_pair(header: Any) -> bool:
    """Whether the voxels lie in a file of their own: a NIfTI header says so, an Analyze header always means it."""
    if "magic" not in header.keys():  # noqa: SIM118 - a header is not a mapping
        return True
    return bytes(header["magic"]).startswith((b"ni1", b"ni2"))


def turned(affine: Affine, shape: Sequence[int]) -> Affine:
    """The affine after a volume of this shape was turned as this module turns volumes."""
    order, flips = _turn(affine)
    move = np.zeros((4, 4))
    move[3, 3] = 1.0
    for new, old in enumerate(order):
        move[old, new] = -1.0 if flips[new] else 1.0
        move[old, 3] = shape[old] - 1 if flips[new] else 0.0
    return affine.after(move)


def _turn(affine: Affine) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which old axis becomes each new axis, and which new axes are then flipped; the slice axis stays first."""
    codes = affine.axis_codes()
    wanted = _WANTED[codes[0]]
    order, flips = [], []
    for want in wanted:
        old = next(i for i, code in enumerate(codes) if code in (want, _OPPOSITE[want]))
        order.append(old)
        flips.append(codes[old] != want)
    return (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])


def _bytes(stream: BinaryIO, limits: Limits, item: str, most: int | None = None) -> bytes:
    stream.seek(0)
    packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    if most is not None and not packed:
        return stream.read(most)
    if most is not None:
        return inflate(stream.read(64 * most), limits, item, wbits=31, most=most)
    data = read_all(stream, limits, item)
    return inflate(data, limits, item, wbits=31) if packed else data


def _header(stream: BinaryIO, item: str, limits: Limits) -> Any:
    import nibabel as nib
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    raw = _bytes(stream, limits, item, _HEADER)
    two = raw[4:7] in (b"n+2", b"ni2")
    cls = nib.Nifti2Header if two else nib.Nifti1Header
    size = 540 if two else 348
    if len(raw) < size:
        raise BadInputError("NIfTI is cut off", item=item, why="it ends within its header")
    if not two and raw[344:347] not in (b"n+1", b"ni1"):
        cls = nib.AnalyzeHeader
    try:
        header = cls(raw[:size], check=False)
        header.get_data_dtype()
    except (WrapStructError, HeaderDataError, ValueError, KeyError) as error:
        raise BadInputError("NIfTI header is damaged", item=item, why=str(error)[:200]) from error
    return header


def _shape(header: Any, item: str, limits: Limits) -> tuple[tuple[int, int, int], int]:
    dim = [int(n) for n in header["dim"]]
    if not 1 <= dim[0] <= 7:
        raise BadInputError("NIfTI header is damaged", item=item, why=f"it says {dim[0]} axes")
    axes = dim[1 : dim[0] + 1]
    axes += [1] * (3 - len(axes))
    dtype = header.get_data_dtype()
    if dtype.kind not in "uif" and dtype.fields is None:
        raise BadInputError("NIfTI voxels are not read", item=item, why=f"their type is {dtype}")
    check_pixels(axes, max(dtype.itemsize, 1), limits, item)
    times = 1
    for n in axes[3:]:
        times *= n
    return (axes[0], axes[1], axes[2]), times


def _geometry(header: Any) -> tuple[Affine | None, tuple[float, float, float] | None, list[str]]:
    """Affine of the stored `(k, j, i)` axes in LPS, spacing, faults. The sform is taken before the qform."""
    faults: list[str] = []
    zooms = [abs(float(z)) for z in header["pixdim"][1:4]]
    spacing = (zooms[2], zooms[1], zooms[0]) if all(np.isfinite(z) and z > 0 for z in zooms) else None
    if "sform_code" not in header.keys():  # noqa: SIM118 - a header is not a mapping
        return None, spacing, ["Analyze 7.5 holds no orientation: left and right are not known"]
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    found: list[Affine] = []
    for name, code, get in (("sform", s_code, header.get_sform), ("qform", q_code, header.get_qform)):
        if code <= 0:
            continue
        try:
            ras = np.asarray(get(), dtype=np.float64)
            found.append(Affine(Affine.from_ras(ras).matrix[:, [2, 1, 0, 3]]))
        except Exception as error:  # nibabel raises several classes over a bad quaternion
            faults.append(f"{name} is not usable ({getattr(error, 'what', error)})")
    if len(found) == 2 and not np.allclose(found[0].matrix, found[1].matrix, atol=0.1):
        faults.append("sform and qform disagree: the sform is used")
    if not found:
        faults.append("no orientation: left and right are not known")
        return None, spacing, faults
    return found[0], spacing, faults
