"""JPEG quantisation tables -> what they say of the program that compressed the image last."""

from collections.abc import Iterator

from synthdet.io.jpeg_tables import Tables, ijg_quality, photoshop_setting
from synthdet.provenance.statement import Statement


def statements(tables: Tables) -> Iterator[Statement]:
    """What the tables of a JPEG say; nothing for files of other formats."""
    if not tables:
        return
    preset = photoshop_setting(tables)
    quality, exact = ijg_quality(tables)
    if exact:
        said = f"quantisation tables of libjpeg at quality {quality}"
    elif preset:
        said = f"quantisation tables of Photoshop's setting {preset!r}"
    else:
        said = f"quantisation tables of no known encoder, near libjpeg's at quality {quality}"
    yield Statement("jpeg", "edited" if preset and not exact else "other", said)
