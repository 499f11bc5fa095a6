"""The README.md of a weights folder, written from what was measured and from nothing else."""

from typing import Any

from synthdet.inference.weights import WeightsConfig

_TEMPLATE = """\
# {name} {version}

Task: {task}. Made by `training/train.py` and `training/export.py` at commit `{commit}`.

## What it takes and gives

uint8 N×H×W×3 RGB in, normalised inside the graph. {answers}

## Measured

{measured}

Largest difference of ONNX Runtime from PyTorch: {differences}.{storage}

## Trained on

Sources: {sources}. Manifest sha256 `{manifest_sha256}`.

{limits}

## Licence

For research use only: the licences of the training pictures are mixed, and some are not stated.
"""

_DETECTOR_MEASURED = """\
On the reporting half of the validation pictures, which chose neither threshold nor temperature
(both halves chose the epoch).

{figures}

Measured by the export on the run's own predictions; the same with intervals, and per source:
`python scripts/evaluate.py score --data MANIFEST --split val --half report --weights FOLDER`."""
_DETECTOR_LIMITS = """\
What a detector learns from such sets is their generators, cameras and stores; pictures of other
origin are judged worse, as the held-out figures of the repository's `results/` show."""
_DETECTOR_COLUMNS = ("pictures", "balanced_accuracy", "auc", "ap", "eer", "nll", "ece")

_LOCALIZER_MEASURED = """\
On crops of forgeries that were made of validation photographs, the reporting half: its photographs
chose neither threshold nor temperature (both halves chose the epoch).

{figures}

`dice` and `pixel_auc` are means over the forged crops; `all_forged_dice` is what marking every
pixel scores; `empty_authentic` is the share of authentic crops in which nothing is marked;
`image_auc` is of the pictures' logits. Forgeries made by strangers are harder: figures on those
are in the repository's `results/`."""
_LOCALIZER_LIMITS = """\
Forgeries were made by programs: splices, copy-moves, removals, regenerated and enlarged regions,
as the recipe says. What leaves other traces, or none, is missed; pictures that were compressed
hard or reduced after the forgery lose the traces that this model looks for."""
_LOCALIZER_COLUMNS = (
    "pictures", "forged", "pixel_auc", "dice", "all_forged_dice", "empty_authentic", "image_auc",
)  # fmt: skip

_INSTANCES_MEASURED = """\
On copy-moves that were made by a program, of photographs and drawn figures that the network never
saw: the reporting half, whose photographs chose no threshold (both halves chose the epoch).

{figures}

`dice` is a mean over the forged pictures; `found` and `false_alarms` are the shares of forged and
of authentic pictures in which a region is found. Copy-moves made by strangers are harder: figures
on those are in the repository's `results/`."""
_INSTANCES_LIMITS = """\
What is found is what occurs twice within one picture. Regions of fewer than some 16 pixels of the
squeezed picture, flat ones, and copies that were much retouched are missed; a source is not told
from its copy; pictures that repeat themselves exactly, as charts and patterns do, raise alarms."""
_INSTANCES_COLUMNS = ("pictures", "forged", "dice", "image_auc", "found", "false_alarms")


def model_card(config: WeightsConfig) -> str:
    """A weights folder's description -> its model card in Markdown."""
    made = config.provenance
    if config.task == "instances":
        answers, limits = _instances_answers(config), _INSTANCES_LIMITS
        measured, columns = _INSTANCES_MEASURED, _INSTANCES_COLUMNS
    elif config.task == "localizer":
        answers, limits = _localizer_answers(config), _LOCALIZER_LIMITS
        measured, columns = _LOCALIZER_MEASURED, _LOCALIZER_COLUMNS
    else:
        answers, limits = _detector_answers(config), _DETECTOR_LIMITS
        measured, columns = _DETECTOR_MEASURED, _DETECTOR_COLUMNS
    return _TEMPLATE.format(
        name=config.name,
        version=config.version,
        task=config.task,
        commit=made["commit"],
        answers=answers,
        measured=measured.format(figures=_table(made["figures"], columns)),
        sources=", ".join(made["sources"]),
        manifest_sha256=made["manifest_sha256"],
        limits=limits,
        differences=", ".join(
            f"{largest:.2g} in {precision}"
            for precision, largest in made["largest_difference"].items()
        ),
        storage=_storage(made),
    )


def _detector_answers(config: WeightsConfig) -> str:
    spec = config.input
    reduced = f" and one reduced view (weight {spec.reduced_weight})" if spec.reduced else ""
    small = " Smaller pictures are enlarged." if spec.enlarge else ""
    return (
        f"One picture is {spec.native} crop(s) of {spec.size} px at\n"
        f"native resolution{reduced}.{small} {_logit(config)}"
    )


def _localizer_answers(config: WeightsConfig) -> str:
    spec = config.localization
    size = config.input.size
    seen = f"in overlapping squares of {size} px at native resolution"
    if spec.whole:
        seen = f"squeezed into one square of {size} px"
    limit = f", reduced to {spec.max_side} px a side where it is larger" if spec.max_side else ""
    source = "classification head" if spec.image_score == "head" else "map"
    return (
        f"A picture is seen {seen}{limit}.\n"
        f"`mask_logit`: a pixel is forged with probability "
        f"`sigmoid(raw / {spec.mask_temperature:.4g} {spec.mask_bias:+.4g})`,\n"
        "and 0.5 is the threshold of best mean Dice on the calibrating half of validation.\n"
        f"The picture's own logit comes from the {source}. {_logit(config)}"
    )


def _instances_answers(config: WeightsConfig) -> str:
    return f"""\
A picture is squeezed into
one square of {config.input.size} px. Each query answers with `class_logit`, > 0 for a region that
was copied, and `mask_logit` at a quarter of the size; `synthdet/copymove/instances.py` makes
regions, a map and the picture's logit of them. A region, and with it the picture, counts as copied
where the log-odds of its score, `raw / {config.temperature:.4g} {config.bias:+.4g}`, are above 0:
the threshold of best balanced accuracy on the calibrating half of the held-out pictures, or a
stricter one where that would raise more than a few false alarms."""


def _logit(config: WeightsConfig) -> str:
    return (
        f"The answer is `raw / {config.temperature:.4g} {config.bias:+.4g}`; above 0 means\n"
        "synthetic, 0 being the threshold of best balanced accuracy on the calibrating half of\n"
        "validation."
    )


def _storage(made: dict[str, Any]) -> str:
    """What narrower storage did, after the differences; nothing where weights are as trained."""
    if "storage" not in made:
        return ""
    stored = made["storage"]
    return f"""
Large matrices are stored narrower than they compute ({stored["matrices"]}) and widened on opening;
the graph computes in floating point. The difference in fp32 contains that rounding: the largest of
a calibrated logit (of a map, its mean) on {stored["views"]} views of validation pictures."""


def _table(figures: dict[str, dict[str, Any]], columns: tuple[str, ...]) -> str:
    head = f"| condition | {' | '.join(columns)} |"
    rule = "|---" * (len(columns) + 1) + "|"
    rows = [
        f"| {condition} | {' | '.join(_number(values[name]) for name in columns)} |"
        for condition, values in figures.items()
    ]
    return "\n".join([head, rule, *rows])


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"
