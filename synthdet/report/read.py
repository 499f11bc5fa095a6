"""What a run left behind -> one item a row: output, report, input table, masks, truth."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from synthdet.decisions.verdicts import Verdict
from synthdet.errors import InputError
from synthdet.evaluation.labelled import LabelledImage, read_set
from synthdet.formats.logits import read_logits
from synthdet.formats.masks import mask_files
from synthdet.host_resources import available_cpus
from synthdet.io.manifest import read_manifest
from synthdet.provenance import read_many


@dataclass(frozen=True)
class Item:
    """One row of a run.

    Attributes:
        row: its number, from 0.
        name: of the file, as the run calls it.
        path: where the image lies; None where that is not known.
        logit: the answer; > 0 means synthetic.
        verdict: in words.
        probability: P(synthetic), calibrated; None without an answer, or without a report.
        agreement: of its views, in words; empty where there is one, or it is not known.
        status: "ok", or why the row is a fallback.
        notes: what speaks against believing the answer; empty most often.
        source: where the image comes from: as the truth says, else its folder.
        synthetic: the truth; None where it is not known.
        mask: file with its map of manipulated pixels.
        provenance: statements of the file itself, as `synthdet.provenance.Provenance`.
    """

    row: int
    name: str
    path: Path | None
    logit: float
    verdict: Verdict
    probability: float | None = None
    agreement: str = ""
    status: str = "ok"
    notes: str = ""
    source: str = ""
    synthetic: bool | None = None
    mask: Path | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        title: what the page is called.
        items: in the output's order.
        report: as `synthdet.contest.run_report` writes it; empty where there is none.
    """

    title: str
    items: tuple[Item, ...]
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def band(self) -> tuple[float, float] | None:
        """Limits of "inconclusive" on the logit; None without a stated error."""
        band = self.report.get("verdicts", {}).get("band")
        return (band[0], band[1]) if band else None

    @property
    def even_odds(self) -> float:
        """Logit of calibrated probability one half."""
        return float(self.report.get("verdicts", {}).get("even_odds", 0.0))


def read_run(
    output: Path,
    images: Path | None = None,
    masks: Path | None = None,
    truth: Path | None = None,
    report: Path | None = None,
) -> Run:
    """Read what ``main.py INPUT OUTPUT`` left behind.

    Args:
        output: the CSV of logits.
        images: the input table, by which the images are found; None shows none.
        masks: the folder of ``--masks``.
        truth: a table or folder that `synthdet.evaluation.labelled.read_set` reads.
        report: the run's report; by default OUTPUT.report.json, which may be missing.

    Raises:
        InputError: a file cannot be read, or does not belong to the output.
    """
    names, logits = read_logits(output)
    paths: Sequence[Path | None] = _paths(images, names) if images else [None] * len(names)
    known = _truth(truth, names) if truth else {}
    found = _read_report(report or output.with_name(f"{output.name}.report.json"), bool(report))
    maps = find_masks(masks, names) if masks else None
    return assemble(output.name, names, logits, paths, found, maps, known)


def assemble(
    title: str,
    names: list[str],
    logits: list[float],
    paths: Sequence[Path | None],
    report: Mapping[str, Any],
    masks: Sequence[Path | None] | None = None,
    truth: Mapping[str, LabelledImage] | None = None,
) -> Run:
    """Join names, logits, images and masks, one of each a row, with what report and truth add.

    Raises:
        InputError: the report is of another run.
    """
    rows = report.get("verdicts", {}).get("rows", [])
    if report and [row["filename"] for row in rows] != names:
        raise InputError(
            f"the report of {title} names other rows than the output: give both of one run"
        )
    fallbacks = {row["row"]: row for row in report.get("fallbacks", [])}
    notes = {row["row"]: row["note"] for row in report.get("notes", [])}
    provenance = {row["row"]: row for row in report.get("provenance", [])}
    known = truth or {}
    items = []
    maps = masks or [None] * len(names)
    for row, (name, logit, path, mask) in enumerate(zip(names, logits, paths, maps, strict=True)):
        fallback = fallbacks.get(row, {})
        sample = known.get(name)
        items.append(
            Item(
                row=row,
                name=name,
                path=path,
                logit=logit,
                verdict=rows[row]["verdict"] if rows else _sign(logit),
                probability=rows[row]["probability"] if rows else None,
                agreement=agreement(rows[row]) if rows else "",
                status=fallback.get("status", "ok"),
                notes=fallback.get("detail", notes.get(row, "")),
                source=(sample.source if sample else "") or _folder(name),
                synthetic=sample.synthetic if sample else None,
                mask=mask,
                provenance=provenance.get(row, {}),
            )
        )
    return Run(title, tuple(items), report)


def add_provenance(run: Run) -> Run:
    """The run with what each of its files says of itself, read in worker processes."""
    paths = {item.row: item.path for item in run.items if item.path is not None}
    found = read_many(paths.values(), available_cpus())
    said = {row: asdict(one) for row, one in zip(paths, found, strict=True)}
    items = (replace(item, provenance=said.get(item.row, {})) for item in run.items)
    return replace(run, items=tuple(items))


def find_masks(folder: Path, names: Sequence[str]) -> list[Path | None]:
    """The mask of each image, by the names of the table that was given to ``main.py --masks``."""
    files = mask_files(filter(None, names))
    paths = [folder / files[name] if name else folder for name in names]
    return [path if path.is_file() else None for path in paths]


def _paths(images: Path, names: list[str]) -> list[Path | None]:
    rows = read_manifest(images).rows
    if [row.name for row in rows] != names:
        raise InputError(
            f"{images} has {len(rows)} rows and the output {len(names)}, or other names: expected "
            "the table that the output answers"
        )
    return [row.path for row in rows]


def _truth(truth: Path, names: list[str]) -> dict[str, LabelledImage]:
    samples = {sample.name: sample for sample in read_set(truth).samples}
    if not samples.keys() & set(names):
        raise InputError(
            f"{truth} names none of the output's pictures (it has {next(iter(samples))!r}, the "
            f"output {names[0] if names else 'no row'!r}): expected the same names in both"
        )
    return samples


def _read_report(path: Path, needed: bool) -> dict[str, Any]:
    if not needed and not path.exists():
        return {}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        report["verdicts"]["rows"], report["fallbacks"], report["notes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read as a run's report ({type(error).__name__}: {error}): expected "
            "what main.py wrote beside the output"
        ) from error
    return dict(report)


def agreement(row: Mapping[str, Any]) -> str:
    """What a report's row says of the image's views, in words; old reports say nothing."""
    found = row.get("agreement")
    if not found:
        return ""
    return f"{found['agree']} of {found['views']} views agree, spread {found['spread']:.2f}"


def _sign(logit: float) -> Verdict:
    return "synthetic" if logit > 0 else "real"


def _folder(name: str) -> str:
    parent = PurePosixPath(name.replace("\\", "/")).parent.name
    return parent or "."
