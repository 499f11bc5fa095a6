"""A weights folder on its way to workers that need not share a disk with the driver."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from synthdet.inference.weights import read_config, verify_files


@dataclass(frozen=True)
class ModelBytes:
    """The files of a weights folder.

    Attributes:
        files: name -> content.
        sha256: of ``config.json``, which holds the sha256 of every other file: it stands for the
            graph and for its calibration.
    """

    files: dict[str, bytes] = field(repr=False)
    sha256: str

    @classmethod
    def read(cls, folder: Path) -> "ModelBytes":
        """Read a weights folder; WeightsError where it is missing, corrupt or changed."""
        config = read_config(folder)
        verify_files(folder, config)
        files = {name: (folder / name).read_bytes() for name in ("config.json", *config.files)}
        return cls(files, hashlib.sha256(files["config.json"]).hexdigest())

    def unpack(self, folder: Path) -> Path:
        """Write the weights folder anew."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder
