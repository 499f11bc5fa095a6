"""The README.md of a weights folder, written from what was measured and from nothing else."""

from typing import Any

from synthdet.weights import WeightsConfig

_TEMPLATE = """\
# {name} {version}

Task: {task}. Made by `training/train.py` and `training/export.py` at commit `{commit}`.

## What it takes and gives

uint8 N×H×W×3 RGB in, normalised inside the graph. One picture is {native} crop(s) of {size} px at
native resolution{reduced}. The answer is `raw / {temperature:.4g} + {bias:+.4g}`; above 0 means
synthetic, 0 being the threshold of best balanced accuracy on the calibrating half of validation.

## Measured

On the reporting half of the validation pictures, which chose neither threshold nor temperature
(both halves chose the epoch).

{figures}

Measured by the export on the run's own predictions; the same with intervals, and per source:
`python scripts/evaluate.py score --data MANIFEST --split val --half report --weights FOLDER`.

Largest difference of ONNX Runtime from PyTorch, {precision}: {largest_difference:.2g}.

## Trained on

Sources: {sources}. Manifest sha256 `{manifest_sha256}`.

What a detector learns from such sets is their generators, cameras and stores; pictures of other
origin are judged worse, as the held-out figures of the repository's `results/` show.

## Licence

For research use only: the licences of the training pictures are mixed, and some are not stated.
"""
_COLUMNS = ("pictures", "balanced_accuracy", "auc", "ap", "eer", "nll", "ece")


def model_card(config: WeightsConfig) -> str:
    """A weights folder's description -> its model card in Markdown."""
    spec, made = config.input, config.provenance
    reduced = f" and one reduced view (weight {spec.reduced_weight})" if spec.reduced else ""
    return _TEMPLATE.format(
        name=config.name,
        version=config.version,
        task=config.task,
        native=spec.native,
        size=spec.size,
        reduced=reduced,
        temperature=config.temperature,
        bias=config.bias,
        commit=made["commit"],
        sources=", ".join(made["sources"]),
        manifest_sha256=made["manifest_sha256"],
        precision=made["precision"],
        largest_difference=made["largest_difference"],
        figures=_table(made["figures"]),
    )


def _table(figures: dict[str, dict[str, Any]]) -> str:
    head = f"| condition | {' | '.join(_COLUMNS)} |"
    rule = "|---" * (len(_COLUMNS) + 1) + "|"
    rows = [
        f"| {condition} | {' | '.join(_number(values[name]) for name in _COLUMNS)} |"
        for condition, values in figures.items()
    ]
    return "\n".join([head, rule, *rows])


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"
