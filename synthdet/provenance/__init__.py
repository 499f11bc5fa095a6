"""What a file says of itself, apart from its pixels: signed manifests, tags, text, tables.

All of it but a verified C2PA signature can be written, copied or removed by anyone, so it stands
beside the logit and is never mixed into it. A file that says nothing is no evidence of anything:
most platforms strip what cameras and generators wrote.

containers    any file -> the few blocks that matter, bounded in bytes
texts         generators' own text, software and camera names
xmp           IPTC's digital source type and the creator tool
encoder       JPEG's quantisation tables -> their encoder and quality
c2pa          manifests, verified where c2pa-python is installed
"""

from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

from synthdet.errors import ImageError
from synthdet.io.decoding import DecodeLimits, WorkerPool
from synthdet.io.images import image_error, open_regular
from synthdet.provenance import c2pa, encoder, texts, xmp
from synthdet.provenance.containers import read_blocks
from synthdet.provenance.statement import Provenance, Statement, plain

__all__ = ["Provenance", "Statement", "read_many", "read_provenance"]


def read_provenance(path: Path) -> Provenance:
    """What the file at ``path`` says of itself.

    Reads at most `containers.MOST_BYTES` of metadata, however much there is, and never unpacks
    more; only the verification of a C2PA signature reads the whole file. Of files that nobody has
    seen, use `read_many`, which adds a clock and a memory limit.

    Raises:
        ImageError: missing, folder, unreadable or empty, as `synthdet.io.images.load_image`.
    """
    try:
        file = open_regular(path)
    except ImageError as error:
        raise image_error(error.fault, path, str(error)) from None
    with file:
        blocks = read_blocks(file)
        statements = [
            *c2pa.statements(file, blocks),
            *(said for packet in blocks.xmp for said in xmp.statements(packet, blocks.problems)),
            *texts.statements(blocks),
            *encoder.statements(blocks.tables),
        ]
    unique = tuple(dict.fromkeys(statements))
    return Provenance(blocks.format, unique, tuple(dict.fromkeys(blocks.problems)))


def read_many(
    paths: Iterable[Path], workers: int = 1, limits: DecodeLimits | None = None
) -> list[Provenance]:
    """What each file says of itself, read in worker processes with a clock and a memory limit.

    A file that cannot be read costs its own entry alone: it says nothing, and has one problem.
    """
    with WorkerPool(workers, limits or DecodeLimits(), _job) as pool:
        waiting = [pool.submit(path) for path in paths]
        return [_result(future) for future in waiting]


def _job(path: Path, _limits: DecodeLimits) -> Provenance:
    return read_provenance(path)


def _result(future: Future[Provenance]) -> Provenance:
    try:
        return future.result()
    except ImageError as error:
        return Provenance("", (), (plain(str(error)),))
