"""Everything synthdet raises on purpose.

    SynthdetError
    ├── UsageError        an argument that cannot be used                     exit code 2
    ├── InputError        the input table: missing, unreadable, not a table   exit code 2
    │   └── MaskError     one mask file that cannot be used
    ├── WeightsError      a weights folder: missing, corrupt, of another task exit code 2
    ├── OutputError       the output could not be written                     exit code 1
    └── ImageError        one file gave no pixels: costs its row, never the run

A message says what was found, what was expected and what to do, in one line.
"""

from typing import Literal

ImageFault = Literal[
    "missing",  # no such file, or no usable path in the row
    "folder",  # the path names something that is not a regular file
    "unreadable",  # the operating system refuses to open or read it
    "empty",  # zero bytes
    "undecodable",  # no decoder understands the bytes
    "too_large",  # more pixels than the limit
    "timeout",  # decoding ran past the per-image clock
    "memory",  # decoding ran past the per-image memory limit
    "crashed",  # the decoding worker died, or could not make views of the image
]


MaskFault = Literal[
    "unreadable",  # missing, damaged, or no .npz
    "arrays",  # more than one array, or none
    "type",  # numbers of another type than the format's
    "size",  # another size than the image's
    "range",  # values below 0, above 1, or not numbers
]


class SynthdetError(Exception):
    """Base of all errors raised on purpose; ``str(error)`` is one line for a person."""

    exit_code = 2


class UsageError(SynthdetError):
    """An argument that cannot be used."""


class InputError(SynthdetError):
    """The input table is missing, unreadable or not a table of image paths."""


class MaskError(InputError):
    """One mask file cannot be used; ``fault`` names the kind, the message says what was found."""

    def __init__(self, fault: MaskFault, message: str) -> None:
        super().__init__(message)
        self.fault: MaskFault = fault


class WeightsError(SynthdetError):
    """A weights folder is missing, corrupt, or made for another task."""


class OutputError(SynthdetError):
    """The output could not be written."""

    exit_code = 1


class ImageError(SynthdetError):
    """One file gave no pixels; ``fault`` names the kind, the message says what was found.

    ``size`` is the (height, width) of the stored raster, where the header could be read.
    """

    def __init__(
        self, fault: ImageFault, message: str, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(message)
        self.fault: ImageFault = fault
        self.size = size

    def __reduce__(
        self,
    ) -> tuple[type["ImageError"], tuple[ImageFault, str, tuple[int, int] | None]]:
        """Survive the trip from a decode worker, which pickles exceptions."""
        return type(self), (self.fault, str(self), self.size)
