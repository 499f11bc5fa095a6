"""A run -> one HTML file that needs nothing else: styles, program and images are in it."""

import base64
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthdet import __version__
from synthdet.decisions.verdicts import VERDICTS
from synthdet.errors import UsageError
from synthdet.io.files import write_atomically
from synthdet.report import charts
from synthdet.report.images import thumbnails
from synthdet.report.judged import judge
from synthdet.report.read import Item, Run

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).with_name("templates")


def write_page(run: Run, path: Path) -> None:
    """Write the page of a run, atomically.

    Raises:
        UsageError: Jinja2 is not installed.
        OutputError: the file cannot be written.
    """
    page = environment().get_template("page.html")
    parts = page.generate(
        **_context(run),
        images=_images(run),
        style=(_TEMPLATES / "page.css").read_text(encoding="utf-8"),
        program=(_TEMPLATES / "page.js").read_text(encoding="utf-8"),
    )
    with write_atomically(path) as stream:
        for part in parts:  # piece by piece, so that the images are never all in memory
            stream.write(part.encode("utf-8", "replace"))


def environment() -> "jinja2.Environment":
    """Jinja2, ready for the templates; calling it early refuses early.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise UsageError("the page needs Jinja2, which is not here: pip install jinja2") from error
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["figure"] = _figure
    return made


def _images(run: Run) -> Iterator[tuple[int, str, str]]:
    """Row and the base64 of its image and of its map, where there are any."""
    for item, (picture, heat) in zip(run.items, thumbnails(run.items), strict=True):
        if picture or heat:
            yield item.row, _base64(picture), _base64(heat)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _context(run: Run) -> dict[str, Any]:
    judged = judge(run)
    logits = [item.logit for item in run.items]
    truth = [item.synthetic for item in run.items]
    return {
        "title": run.title,
        "version": __version__,
        "report": run.report,
        "summary": _summary(run),
        "verdicts": Counter(item.verdict for item in run.items),
        "order": VERDICTS,
        "statuses": sorted(Counter(item.status for item in run.items).items()),
        "sources": sorted({item.source for item in run.items}),
        "items": [_row(item) for item in run.items],
        "fallbacks": [item for item in run.items if item.status != "ok"],
        "band": run.band,
        "judged": judged,
        "histogram": charts.histogram(logits, truth, run.band),
        "roc": charts.roc_curve(judged.roc, judged.figures["auc"]) if judged and judged.roc else "",
        "curve": charts.calibration_curve(judged.curve) if judged and judged.curve else "",
    }


def _summary(run: Run) -> list[tuple[str, str]]:
    """Name and value of what is said first of a run."""
    answered = sum(item.status == "ok" for item in run.items)
    counts = (len(run.items), answered, len(run.items) - answered)
    names = ("pictures", "answered", "fallbacks")
    facts = [(name, f"{count:,}") for name, count in zip(names, counts, strict=True)]
    if run.report:
        weights, speed = run.report["weights"], run.report["speed"]
        facts += [
            ("model", f"{weights['name']} {weights['version']}"),
            ("provider", run.report["run"]["provider"]),
            ("speed", f"{speed['images_per_second'] or 0:g} pictures/s"),
            ("time", f"{speed['wall_seconds']:.1f} s"),
        ]
    if run.band:
        facts.append(("inconclusive logits", f"{run.band[0]:+.2f} to {run.band[1]:+.2f}"))
    return facts


def _row(item: Item) -> Mapping[str, Any]:
    """What the page's program knows of a row; empty values are left out, for 5,000 of them."""
    said = [
        f"{one['source']}: {one['text']} ({one['meaning']})"
        for one in item.provenance.get("statements", [])
    ]
    said += [f"not read: {problem}" for problem in item.provenance.get("problems", [])]
    row = {
        "row": item.row,
        "name": item.name,
        "logit": round(item.logit, 4),
        "verdict": item.verdict,
        "chance": None if item.probability is None else round(item.probability, 4),
        "views": item.agreement,
        "status": item.status,
        "notes": item.notes,
        "source": item.source,
        "truth": {True: "synthetic", False: "real", None: ""}[item.synthetic],
        "said": said,
    }
    return {key: value for key, value in row.items() if value not in ("", None, [])}


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
