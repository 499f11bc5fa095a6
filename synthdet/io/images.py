"""Any image file -> uint8 HxWx3 RGB, upright, or an ImageError that says why not.

Pillow decodes. This module adds what a run over files nobody has seen needs: it never blocks on a
pipe, refuses bombs before they unpack, keeps what a damaged file still holds, and scales every
mode by the range its type declares, never by an image's own maximum. Colour profiles are not
applied: that would move the traces a detector looks for. A JPEG is decoded at its full scale
even where a reduced view is wanted: native crops are wanted of every image besides, and libjpeg's
scaled decoding gives other pixels than the area average that models were trained on.

A decoder that hangs or crashes takes its process with it: see `synthdet.io.decoding`.
"""

import errno
import os
import reprlib
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from synthdet.errors import ImageError, ImageFault
from synthdet.io.jpeg_tables import ijg_quality

# What is decoded, by Pillow's names. Left out are EPS, for which Pillow starts Ghostscript; IPTC,
# which opens the file in it as anything; and those for which Pillow has no decoder of its own.
RASTERS = {
    "AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "GBR", "GIF", "HEIF",
    "ICNS", "ICO", "IM", "IMT", "JPEG", "JPEG2000", "MCIDAS", "MPO", "MSP", "PCD", "PCX", "PIXAR",
    "PNG", "PPM", "PSD", "QOI", "SGI", "SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM",
    "XVTHUMB",
}  # fmt: skip
MAX_PIXELS = 178_000_000  # where Pillow, too, begins to speak of bombs

Size = tuple[int, int]  # (height, width)
_Pixels = npt.NDArray[np.uint8]
_Scalar = TypeVar("_Scalar", bound=np.generic)

# What Pillow's plugins were seen to raise on damaged files; Pillow documents no list.
DECODER_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip

# EXIF orientation (tag 0x0112) -> are the axes swapped; then the step down and the step across.
_ORIENTATIONS = {
    1: (False, 1, 1), 2: (False, 1, -1), 3: (False, -1, -1), 4: (False, -1, 1),
    5: (True, 1, 1), 6: (True, 1, -1), 7: (True, -1, -1), 8: (True, -1, 1),
}  # fmt: skip

# The share of a damaged image's rows without which it is given up: a header of some bytes may
# promise millions of pixels, and whatever follows is paid for all of them.
_LEAST_STANDING = 0.05
_STRIP_PIXELS = 2**20  # pixels converted at a time, so that a conversion adds little memory
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # more than 8 bits a sample
_CUSTOMARY_WHITES = (1, 2**8 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1)  # see _black_and_white
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")

_turn = [threading.Lock()]  # Pillow's switches are process-wide


@dataclass(frozen=True)
class LoadedImage:
    """One decoded image.

    Attributes:
        pixels: uint8 HxWx3 RGB, 0 to 255, contiguous, upright: the EXIF orientation is applied.
        stored_size: (height, width) of the raster in the file, before the orientation.
        orientation: EXIF orientation of the file, 1 (upright) to 8.
        notes: what a reader of the result should know: "first of several frames",
            "alpha over white", or "truncated: " and the decoder's words, where the file is
            damaged and the pixels are what could still be decoded.
        jpeg_quality: of a JPEG, the quality 1 to 100 of libjpeg that its tables are nearest to.
    """

    pixels: _Pixels
    stored_size: Size
    orientation: int
    notes: tuple[str, ...]
    jpeg_quality: int | None = None


def load_image(path: Path, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """Decode the first image in the file at ``path``, whatever kind its name claims.

    Threads may call this at the same time; they take turns.

    Raises:
        ImageError: with the fault missing, folder, unreadable, empty, undecodable, too_large
            (more than ``max_pixels``) or memory.
    """
    try:
        with open_regular(path) as file, _turn[0]:
            return _decode(file, max_pixels)
    except ImageError as error:
        fault, reason = error.fault, str(error)
    except Image.DecompressionBombError as error:
        found = str(error).split(" exceeds")[0]
        fault, reason = "too_large", f"{found}, expected at most {max_pixels:,} pixels"
    except MemoryError:
        fault, reason = "memory", "decoding it takes more memory than is allowed"
    # Raised out here, the error does not keep alive the frames whose buffers filled the memory.
    size = stored_size(path) if fault in ("undecodable", "too_large", "memory") else None
    raise image_error(fault, path, reason, size)


def stored_size(path: Path) -> Size | None:
    """(height, width) of the raster in a file, from its header alone; None where that says nothing.

    To be called where a clock runs: a header may take as long to read as an image.
    """
    try:
        with (
            open_regular(path) as file,
            _turn[0],
            _pillow(MAX_PIXELS, lenient=False),
            identify(file) as image,
        ):
            return raster_size(image)
    except (ImageError, MemoryError, Image.DecompressionBombError, *DECODER_ERRORS):
        return None


def leave_decoding() -> None:
    """Let the next file be decoded beside one that hangs in another thread."""
    _turn[0] = threading.Lock()


def image_error(fault: ImageFault, path: Path, reason: str, size: Size | None = None) -> ImageError:
    """An ImageError that names the file, in one line whatever the name holds."""
    return ImageError(fault, f"{_NAMES.repr(os.fspath(path))}: {reason}", size)


_NAMES = reprlib.Repr()
_NAMES.maxstring = 300  # longer names lose their middle


def open_regular(path: Path) -> BinaryIO:
    """Look before opening: opening a pipe would wait for its other end for ever.

    Raises:
        ImageError: with the fault missing, folder, unreadable or empty.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("folder", "not a regular file, expected an image file")
        if status.st_size == 0:
            raise ImageError("empty", "zero bytes, expected an image: copy the file anew")
        return path.open("rb")
    except ValueError as error:  # a NUL or a lone surrogate
        raise ImageError("missing", f"no usable path: {_line(error)}") from error
    except OSError as error:
        names_nothing = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
        fault: ImageFault = "missing" if error.errno in names_nothing else "unreadable"
        raise ImageError(fault, (error.strerror or "cannot be opened").lower()) from error


def _decode(file: BinaryIO, max_pixels: int) -> LoadedImage:
    """Strictly, so that an intact file is never marked; then whatever a damaged one still holds."""
    try:
        with _pillow(max_pixels, lenient=False):
            return _read(file, max_pixels)
    except UnidentifiedImageError:
        damage = _unidentified(file)
    except DECODER_ERRORS as error:
        damage = _line(error)
    with _pillow(max_pixels, lenient=True), suppress(*DECODER_ERRORS):
        return _read(file, max_pixels, damage)
    raise ImageError("undecodable", damage)


@contextmanager
def _pillow(max_pixels: int, lenient: bool) -> Iterator[None]:
    """Set Pillow's switches for one decode and put them back, warnings silenced."""
    saved = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    # `_read` holds the image to the limit; this one holds what plugins unpack before that.
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, lenient
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = saved


def _read(file: BinaryIO, max_pixels: int, damage: str | None = None) -> LoadedImage:
    """Decode the first frame; with ``damage``, keep the part that can be decoded."""
    with identify(file) as image:
        if image.width * image.height > max_pixels:
            found = f"{image.width} x {image.height} pixels"
            raise ImageError("too_large", f"{found}, expected at most {max_pixels:,} pixels")
        # Pillow turns TIFFs upright while it loads them, and forgets how they were stored.
        upright = image.format == "TIFF"
        orientation = _orientation(image) if upright else 1
        _load(image, damage)
        orientation = orientation if upright else _orientation(image)
        notes = _notes(image, damage)
        quality = _jpeg_quality(image)
        pixels = _to_rgb(image)
    del image  # and its pixels, before those of the result are perhaps copied
    if not upright:
        pixels = turn_upright(pixels, orientation)
    swapped = _ORIENTATIONS[orientation][0]
    height, width = pixels.shape[:2]
    stored = (width, height) if swapped else (height, width)
    return LoadedImage(pixels, stored, orientation, notes, quality)


def identify(file: BinaryIO) -> ImageFile.ImageFile:
    """Open by content, as one of `RASTERS`.

    The file has no name here: an ending would change the order of plugins.
    """
    for teach in (Image.preinit, Image.init, lambda: _is_heif(file) and _register_heif()):
        teach()
        with suppress(UnidentifiedImageError):
            return _open(file)
    return _open(file)


def _open(file: BinaryIO) -> ImageFile.ImageFile:
    file.seek(0)
    return Image.open(file, formats=[name for name in Image.ID if name in RASTERS])


def _is_heif(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:] in _HEIF_BRANDS


def _register_heif() -> bool:
    """Teach Pillow HEIC, on the first such file, where the optional pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _unidentified(file: BinaryIO) -> str:
    if _is_heif(file):
        return "a HEIC picture that no decoder takes: is pillow-heif installed?"
    file.seek(0)
    return f"no decoder knows this kind of file, it begins with {file.read(8)!r}"


def _load(image: ImageFile.ImageFile, damage: str | None) -> None:
    """Decode; with ``damage``, an error in the middle keeps the rows before it."""
    try:
        image.load()
    except DECODER_ERRORS:
        if damage is None:
            raise
        image.tile = []  # nothing left to decode: the next call hands out what there is
        image.load()
    if damage is not None and _standing_rows(image) < _LEAST_STANDING * image.height:
        raise ImageError("undecodable", damage)


def _standing_rows(image: ImageFile.ImageFile) -> int:
    """Rows of a damaged image that have been decoded: those that are not zeros throughout."""
    strips = (np.asarray(strip) for _, strip in _strips(image))
    return sum(int(strip.any(axis=tuple(range(1, strip.ndim))).sum()) for strip in strips)


def _orientation(image: Image.Image) -> int:
    """EXIF (or XMP) orientation, 1 to 8; nonsense counts as upright."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except DECODER_ERRORS:  # a damaged EXIF block costs the orientation, not the image
        return 1
    return next((value for value in _ORIENTATIONS if value == found), 1)


def turn_upright(array: npt.NDArray[_Scalar], orientation: int) -> npt.NDArray[_Scalar]:
    """HxW or HxWxC as stored -> HxW… or WxH… upright, contiguous.

    Args:
        array: of the stored raster: its pixels, or a map of them.
        orientation: EXIF's, 1 to 8.
    """
    swap, down, across = _ORIENTATIONS[orientation]
    axes = array.swapaxes(0, 1) if swap else array
    return np.ascontiguousarray(axes[::down, ::across])


def raster_size(image: Image.Image) -> Size:
    """(height, width) of the raster in the file, of an image that is open and not loaded."""
    # Of a TIFF, Pillow gives the size that it will have once it is turned upright.
    swapped = image.format == "TIFF" and _ORIENTATIONS[_orientation(image)][0]
    return (image.width, image.height) if swapped else (image.height, image.width)


def turn_to_stored(array: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """HxW of an upright image -> a view of it as the file's raster lies.

    Args:
        array: one number for each pixel of `LoadedImage.pixels`.
        orientation: that of the `LoadedImage`.
    """
    swap, down, across = _ORIENTATIONS[orientation]
    axes = array[::down, ::across]
    return axes.swapaxes(0, 1) if swap else axes


def _notes(image: Image.Image, damage: str | None) -> tuple[str, ...]:
    notes = [] if damage is None else [f"truncated: {damage}"]
    with suppress(*DECODER_ERRORS):  # counting frames may run into damage behind the first one
        if getattr(image, "is_animated", False):
            notes.append("first of several frames")
    if image.has_transparency_data:
        notes.append("alpha over white")
    return tuple(notes)


def _jpeg_quality(image: ImageFile.ImageFile) -> int | None:
    tables = getattr(image, "quantization", None)  # JPEG and its kin alone have it
    return ijg_quality(tables)[0] if tables else None


# ---- modes


def _to_rgb(image: Image.Image) -> _Pixels:
    """Any loaded Pillow image -> uint8 HxWx3 RGB, adding little more than the result's memory."""
    convert = _converter(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, strip in _strips(image):
        pixels[top : top + strip.height] = convert(strip)
    return pixels


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """(row, part of the image from that row on), from top to bottom."""
    rows = max(1, _STRIP_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _converter(image: Image.Image) -> Callable[[Image.Image], _Pixels]:
    """How strips of this image become uint8 of a shape that fits HxWx3."""
    if image.mode in _DEEP_MODES:
        return _deep_converter(image)
    if image.has_transparency_data:
        return _over_white
    if image.mode == "RGB":
        return np.asarray
    # CMYK comes right from Pillow, which takes every CMYK JPEG to be inverted, as Adobe writes
    # them and as browsers read them.
    return lambda strip: np.asarray(strip.convert("RGB"))


def _over_white(strip: Image.Image) -> _Pixels:
    rgba = strip.convert("RGBA")
    paper = Image.new("RGB", strip.size, "white")
    paper.paste(rgba, mask=rgba)
    return np.asarray(paper)


def _deep_converter(image: Image.Image) -> Callable[[Image.Image], _Pixels]:
    bits, signed = _declared(image)
    black, white = _black_and_white(image, bits, signed)
    transparent = image.info.get("transparency")

    def convert(strip: Image.Image) -> _Pixels:
        samples = _samples(strip, signed)
        share = np.clip((samples - black) / (white - black), 0.0, 1.0)
        grey = (share * 255 + 0.5).astype(np.uint8)
        if transparent is not None:
            grey[samples == transparent] = 255
        return grey[:, :, np.newaxis]

    return convert


def _black_and_white(image: Image.Image, bits: int, signed: bool) -> tuple[float, float]:
    """The sample values that stand for black and white in a deep image.

    Up to 16 bits the type declares them: 0 and 65535, say, or -32768 and 32767. 32-bit integers
    and floats declare nothing of use. There, white is the smallest customary full scale (1 for
    floats, 255, 65535, then the 32-bit ones) that holds the largest value of the image, with a
    tenth to spare for the overshoot of resampling; black is 0, and so is all below it.
    """
    if bits <= 16:
        return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    parts = (_samples(strip, signed) for _, strip in _strips(image))
    largest = max(float(part.max(where=np.isfinite(part), initial=0.0)) for part in parts)
    whites = _CUSTOMARY_WHITES if image.mode == "F" else _CUSTOMARY_WHITES[1:]
    return 0.0, next((float(white) for white in whites if largest <= 1.1 * white), largest)


def _declared(image: Image.Image) -> tuple[int, bool]:
    """Bits a sample, and whether samples are signed, of a deep image."""
    if image.mode == "F":
        return 32, True
    tags = getattr(image, "tag_v2", None)
    if tags is not None:  # a TIFF
        return int(tags.get(_BITS_PER_SAMPLE, (1,))[0]), tags.get(_SAMPLE_FORMAT, (1,))[0] == 2
    # Pillow stretches the samples of a PGM to 16 bits, whatever their maximum.
    return (32, True) if image.mode == "I" and image.format != "PPM" else (16, False)


def _samples(strip: Image.Image, signed: bool) -> npt.NDArray[np.float64]:
    """float64 HxW, where what is not a number has become 0."""
    values = np.asarray(strip)
    if values.dtype == np.int32 and not signed:
        values = values.view(np.uint32)  # Pillow holds unsigned files in a signed type
    return np.where(np.isnan(values), 0.0, values.astype(np.float64))


_SAMPLE_FORMAT, _BITS_PER_SAMPLE = 339, 258  # TIFF tags


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
