"""A run of four pictures, one of them broken, as main.py leaves it behind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthdet.formats.logits import write_logits
from synthdet.formats.masks import write_mask
from synthdet.io.table import write_table

NASTY = "b</script><img src=x onerror=alert(1)>&\"'.png"  # a file in a folder "b<"
NAMES = ["a/red.png", "a/turned.jpg", NASTY, "b/broken.jpg"]
LOGITS = [2.5, -1.25, -3.0, 0.01]
VERDICTS = ["synthetic", "inconclusive", "real", "no answer"]


def make_run(folder: Path) -> Path:
    """Write pictures, table, output, report, masks and truth; gives the output."""
    for name in ("a", "b", "b<", "masks"):
        (folder / name).mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (60, 40), "red").save(folder / NAMES[0])
    Image.new("RGB", (60, 40), "green").save(folder / NAMES[1], exif=turned)
    Image.new("RGB", (60, 40), "blue").save(folder / NAMES[2])
    (folder / NAMES[3]).write_bytes(b"\xff\xd8 nothing of use")
    write_table(folder / "in.csv", ["filename"], ([name] for name in NAMES))
    write_logits(folder / "out.csv", NAMES, LOGITS)
    labels = ["1", "1", "0", "0"]
    records = zip(NAMES, labels, ["gan", "gan", "camera", "camera"], strict=True)
    write_table(folder / "truth.csv", ["filename", "label", "source"], records)
    half = np.zeros((40, 60), np.float32)
    half[:, :30] = 1
    write_mask(folder / "masks" / "red.npz", half, (40, 60))
    write_mask(folder / "masks" / "turned.npz", half, (40, 60))
    (folder / "out.csv.report.json").write_text(json.dumps(report()), encoding="utf-8")
    return folder / "out.csv"


def report() -> dict[str, Any]:
    rows = [
        {"row": row, "filename": name, "logit": logit, "verdict": verdict,
         "probability": None if verdict == "no answer" else 0.5}
        for row, (name, logit, verdict) in enumerate(zip(NAMES, LOGITS, VERDICTS, strict=True))
    ]  # fmt: skip
    rows[0]["agreement"] = {"views": 5, "agree": 4, "spread": 0.75}
    rows[1]["agreement"] = None
    return {
        "weights": {"name": "tiny", "version": "7"},
        "run": {
            "provider": "cpu",
            "precision": "fp32",
            "ended": "complete",
            "warnings": ["the GPU is not there"],
            "dropped": [{"step": "extra views", "row": 2}],
        },
        "speed": {"wall_seconds": 1.5, "images_per_second": 2.0},
        "verdicts": {"band": [-1.5, 2.0], "even_odds": 0.0, "stated": "At most 5 %.", "rows": rows},
        "fallbacks": [
            {"row": 3, "filename": NAMES[3], "status": "undecodable", "detail": "no decoder"}
        ],
        "notes": [{"row": 1, "filename": NAMES[1], "note": "alpha over white"}],
    }


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return make_run(tmp_path)
