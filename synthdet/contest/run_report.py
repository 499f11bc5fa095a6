"""The report beside the output: what ran, how fast, what was given up, and which rows fell back.

`run_report.schema.json` beside this file is its JSON schema.
"""

import platform
import statistics
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from synthdet import __version__
from synthdet.contest.compact import CompactDetector
from synthdet.contest.journal import Answer
from synthdet.contest.options import Options
from synthdet.contest.pipeline import Result
from synthdet.contest.scoring_run import Outcome
from synthdet.contest.stages import Stage
from synthdet.decisions.verdicts import VERDICTS, VerdictRule, rule_beside
from synthdet.host_resources import available_cpus, peak_memory
from synthdet.io.manifest import Manifest

SCHEMA = Path(__file__).with_name("run_report.schema.json")
FORMAT = 1
_PACKAGES = (
    "onnxruntime-gpu", "onnxruntime", "openvino", "numpy", "pillow", "opencv-python-headless",
)  # fmt: skip


def make_report(
    manifest: Manifest, options: Options, result: Result, rule: VerdictRule, wall_seconds: float
) -> dict[str, Any]:
    """Everything a person or a program may ask about a finished run, as plain JSON values."""
    outcome = result.logits
    computed = _computed(outcome)
    compact = outcome.stage.compact
    compact_rule = rule_beside(compact.config, rule) if compact else rule
    return {
        "format": FORMAT,
        "versions": _versions(),
        "input": {
            "sha256": manifest.sha256,
            "column": manifest.column,
            "rows": len(outcome.answers),
        },
        "weights": _weights(outcome.stage),
        "compact": _compact(compact, outcome, compact_rule) if compact else None,
        "run": {
            **_run(outcome),
            "cpus": available_cpus(),
            "budget_seconds": options.budget,
            "warnings": result.warnings,
        },
        "speed": {
            "wall_seconds": round(wall_seconds, 3),
            "images_per_second": _rate(computed, wall_seconds),
            "start_up_seconds": outcome.start_up and round(outcome.start_up, 3),
            "stages": _stages(outcome),
            "peak_memory": {
                "main_bytes": peak_memory() or 0,
                "worker_bytes": max(
                    one.worker_bytes for one in (outcome, result.masks) if one is not None
                ),
            },
        },
        "verdicts": _verdicts(manifest, outcome, rule, compact_rule),
        "counts": _counts(outcome),
        "fallbacks": _fallbacks(manifest, outcome),
        "notes": [
            {"row": index, "filename": row.name, "note": answer.detail}
            for index, (row, answer) in enumerate(zip(manifest.rows, outcome.answers, strict=True))
            if answer.status == "ok" and answer.detail
        ],
        "masks": _masks(manifest, options, result.masks) if result.masks else None,
    }


def _compact(compact: CompactDetector, outcome: Outcome, rule: VerdictRule) -> dict[str, Any]:
    """The detector that stood in for time, for how many rows, and what its verdicts promise."""
    return {
        "weights": _weights(compact),
        "provider": compact.provider,
        "rows": sum(answer.compact for answer in outcome.answers),
        "stated": str(rule),
    }


def _verdicts(
    manifest: Manifest, outcome: Outcome, rule: VerdictRule, compact_rule: VerdictRule
) -> dict[str, Any]:
    """The rule, what it promises, and its word on every row; or that of the compact detector."""
    rules = [compact_rule if answer.compact else rule for answer in outcome.answers]
    words = [
        own.verdict(answer.logit, answer.status)
        for own, answer in zip(rules, outcome.answers, strict=True)
    ]
    counts = Counter(words)
    return {
        "max_error": rule.max_error,
        "band": rule.band if rule.max_error is not None else None,
        "even_odds": rule.even_odds,
        "stated": str(rule),
        "counts": {word: counts[word] for word in VERDICTS},
        "rows": [
            {
                "row": index,
                "filename": row.name,
                "logit": answer.logit,
                "verdict": word,
                "probability": None if word == "no answer" else own.probability(answer.logit),
                "agreement": _agreement(answer),
            }
            for index, (row, answer, word, own) in enumerate(
                zip(manifest.rows, outcome.answers, words, rules, strict=True)
            )
        ],
    }


def _agreement(answer: Answer) -> dict[str, Any] | None:
    """Of an image's views: how many are on the side of its logit, and their standard deviation."""
    if not answer.views:
        return None
    agree = sum((view > 0) == (answer.logit > 0) for view in answer.views)
    spread = statistics.pstdev(answer.views)
    return {"views": len(answer.views), "agree": agree, "spread": round(spread, 4)}


def _masks(manifest: Manifest, options: Options, outcome: Outcome) -> dict[str, Any]:
    """The same of the pass that wrote masks; its fallbacks are the rows without a map."""
    locate = options.locate
    return {
        "folder": None if locate.masks is None else str(locate.masks),
        "overlays": None if locate.overlays is None else str(locate.overlays),
        "views": locate.views,
        "refinement": locate.refinement,
        "weights": _weights(outcome.stage),
        "run": _run(outcome),
        "stages": _stages(outcome),
        "counts": _counts(outcome),
        "fallbacks": _fallbacks(manifest, outcome),
    }


def _weights(model: Stage[Any] | CompactDetector) -> dict[str, Any]:
    return {
        "folder": str(model.folder),
        "name": model.config.name,
        "version": model.config.version,
        "sha256": model.config.files,
    }


def _run(outcome: Outcome) -> dict[str, Any]:
    return {
        "ended": outcome.ended,
        "provider": outcome.provider,
        "precision": outcome.precision,
        "batch_size": outcome.batch_size,
        "resumed_rows": outcome.resumed,
        "dropped": outcome.dropped,
    }


def _stages(outcome: Outcome) -> dict[str, Any]:
    computed = _computed(outcome)
    return {
        stage: {
            "seconds": round(spent, 3),
            "images_per_second": None if stage == "start" else _rate(computed, spent),
        }
        for stage, spent in outcome.seconds.items()
    }


def _computed(outcome: Outcome) -> int:
    """Rows that this run has answered itself."""
    counts = _counts(outcome)
    given_up = sum(counts.get(end, 0) for end in ("deadline", "interrupted", "failed"))
    return len(outcome.answers) - outcome.resumed - given_up


def _counts(outcome: Outcome) -> dict[str, int]:
    return dict(sorted(Counter(answer.status for answer in outcome.answers).items()))


def _fallbacks(manifest: Manifest, outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {
            "row": index,
            "filename": row.name,
            "logit": answer.logit,
            "status": answer.status,
            "detail": answer.detail,
        }
        for index, (row, answer) in enumerate(zip(manifest.rows, outcome.answers, strict=True))
        if answer.status != "ok"
    ]


def _rate(images: int, seconds: float) -> float | None:
    return round(images / seconds, 2) if seconds > 0 else None


def _versions() -> dict[str, str]:
    found = {"synthdet": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # one of the two builds of the runtime is not there
            continue
    return found
