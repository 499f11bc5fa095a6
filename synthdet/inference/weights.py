"""The weights folder: graphs, ``config.json`` and a model card, checked before use.

`training/export.py` writes the folder, `session.py` runs it, and this file is what both agree on.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from synthdet.decisions.out_of_distribution import TypicalStatistics
from synthdet.errors import WeightsError
from synthdet.inference.external_data import external_files
from synthdet.preprocessing.detector_views import InputSpec
from synthdet.process_setup import printable

FORMAT = 1  # of config.json; raised when an older reader could misread a newer folder
Task = Literal["detector", "localizer", "instances"]
ImageScore = Literal["head", "map"]
Precision = Literal["fp32", "fp16", "bf16"]  # of a backend's arithmetic
Storage = Literal["fp32", "fp16", "int8"]  # of weights, whatever they compute in

# The graph that is run in a precision. bf16 is what a backend makes of the one in fp32.
GRAPHS: dict[Precision, str] = {
    "fp32": "model.onnx",
    "bf16": "model.onnx",
    "fp16": "model-fp16.onnx",
}


def shipped_weights() -> Path:
    """The folder of the models that ship: beside the package in the repository, in it elsewhere."""
    beside = Path(__file__).parents[2] / "weights"
    return beside if (beside / "detector").is_dir() else Path(__file__).parents[1] / "shipped"


@dataclass(frozen=True)
class LocalizationSpec:
    """How an image is cut up for a localizer, and what its answers mean.

    The graph takes squares of ``input.size`` pixels.

    Attributes:
        whole: True squeezes the whole image into one square, as networks for 256x256 contests
            want it; False cuts it into overlapping squares at native resolution.
        max_side: an image whose long side has more pixels is reduced to that first; None never
            reduces. The map is always enlarged back to the image's size.
        overlap: least share of a square's side that the next one covers again, 0 to 0.75.
        mask_temperature, mask_bias: a pixel's probability is ``sigmoid(raw / mask_temperature +
            mask_bias)``; ``mask_bias`` places the threshold of localization at 0.5.
        image_score: what gives the image's raw logit: the graph's classification "head", or
            the "map", see `synthdet.inference.localizer.map_score`.

    Raises:
        WeightsError: a value outside these ranges.
    """

    whole: bool = False
    max_side: int | None = None
    overlap: float = 0.25
    mask_temperature: float = 1.0
    mask_bias: float = 0.0
    image_score: ImageScore = "head"

    def __post_init__(self) -> None:
        rules = {
            "whole": (isinstance(self.whole, bool), "true or false"),
            "max_side": (self.max_side is None or self.max_side >= 8, "null, or 8 and more"),
            "overlap": (0.0 <= self.overlap <= 0.75, "0 to 0.75"),
            "mask_temperature": (0.0 < self.mask_temperature < float("inf"), "a number above 0"),
            "mask_bias": (_is_finite(self.mask_bias), "a finite number"),
            "image_score": (self.image_score in get_args(ImageScore), "'head' or 'map'"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise WeightsError(
                    f"localization {name} is {getattr(self, name)!r}, expected {expected}: "
                    "correct the weights folder's config.json"
                )


@dataclass(frozen=True)
class FusionSpec:
    """How far a copy-move network is believed beside matching, see `synthdet.copymove.fusion`.

    Attributes:
        agreement: share of the other's logit that a region gains which both see, 0 to 1.
        network_bias: added to the logits of the network's regions first.

    Raises:
        WeightsError: a value outside these ranges.
    """

    agreement: float
    network_bias: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.agreement <= 1.0 and _is_finite(self.network_bias)):
            raise WeightsError(
                f"fusion is {self}, expected agreement from 0 to 1 and a finite network_bias: "
                "correct the weights folder's config.json"
            )


@dataclass(frozen=True)
class WeightsConfig:
    """``config.json``: all that a run needs to know beside the graph.

    Attributes:
        name: what reports call the model.
        task: which question the graph answers.
        version: of the weights, for a person.
        input: the views that the graph wants; of a localizer, the side of its squares.
        files: file name -> sha256 in hexadecimal, for every file a run needs.
        temperature, bias: an image's logit is ``raw / temperature + bias``; ``bias`` places the
            threshold of best balanced accuracy at 0.
        prior_logit: the finite, non-zero answer for a row that gave no pixels.
        thresholds: named thresholds on the logit for formats that want another than 0.
        localization: of a localizer or an instances model; None for a detector.
        fusion: of an instances model that runs beside matching; None where it runs alone.
        conformal: limits of the "inconclusive" band on the logit, by stated error rate.
        stored: narrowest type that weights are stored in; backends widen them once, on opening.
        unfit: precisions known to give other answers than fp32: no run tries them.
        familiar: of a detector, what validation images are like; None warns of no image.
        provenance: data, code and measures that led to the weights, for a person.
    """

    name: str
    task: Task
    version: str
    input: InputSpec
    files: dict[str, str]
    temperature: float = 1.0
    bias: float = 0.0
    prior_logit: float = 0.01
    thresholds: dict[str, float] = field(default_factory=dict)
    localization: LocalizationSpec | None = None
    fusion: FusionSpec | None = None
    conformal: dict[str, list[float]] = field(default_factory=dict)
    stored: Storage = "fp32"
    unfit: list[Precision] = field(default_factory=list)
    familiar: TypicalStatistics | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``folder/config.json``."""
        fields = asdict(self)
        for name in ("localization", "fusion", "familiar"):
            if fields[name] is None:
                del fields[name]
        text = json.dumps({"format": FORMAT, **fields}, indent=2, ensure_ascii=False)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def read_config(folder: Path, task: Task | None = None) -> WeightsConfig:
    """Read ``folder/config.json``.

    Args:
        folder: a weights folder.
        task: refuse a folder made for another task; None takes any.

    Raises:
        WeightsError: no such folder, no valid config, or another task.
    """
    raw = _read_json(folder)
    try:
        config = _parse(raw)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{folder / 'config.json'} does not describe a model ({type(error).__name__}: {error}):"
            " expected the fields that training/export.py writes; export the model again"
        ) from error
    if task is not None and config.task != task:
        raise WeightsError(
            f"{folder} holds a {config.task}, expected a {task}: give another folder"
        )
    return config


def verify_files(folder: Path, config: WeightsConfig, graph: str = "") -> None:
    """Compare the sha256 of the files that ``config`` names.

    Args:
        folder: the weights folder.
        config: its description.
        graph: a graph's name: only it and its weights are read. By default every file is.

    Raises:
        WeightsError: a file is missing or its bytes have changed, or a graph is not named, or reads
            a file that is not.
    """
    if graph and graph not in config.files:
        raise WeightsError(
            f"{folder / 'config.json'} names no {graph}, so nobody knows whether it was replaced: "
            "expected its sha256 under 'files'; export the model again"
        )
    graphs = {name for name in config.files if name.startswith(graph) and name.endswith(".onnx")}
    verified = {name for name in config.files if name.startswith(graph)}
    for name in sorted(verified):
        _verify(folder, name, config.files[name])
    for name in graphs:
        for beside in _read_beside(folder / name, set(config.files)) - verified:
            _verify(folder, beside, config.files[beside])


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror}): expected a weights folder with model.onnx "
            "and config.json; give it with --weights"
        ) from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON ({error}): export the model again") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise WeightsError(
            f"{path} has format {found!r}, expected {FORMAT}: export the model again "
            "with this version's training/export.py"
        )
    return raw


def _parse(raw: dict[str, Any]) -> WeightsConfig:
    fields = {name: value for name, value in raw.items() if name != "format"}
    fields["input"] = InputSpec(**fields["input"])
    if fields.get("localization") is not None:
        fields["localization"] = LocalizationSpec(**fields["localization"])
    if fields.get("fusion") is not None:
        fields["fusion"] = FusionSpec(**fields["fusion"])
    if fields.get("familiar") is not None:
        fields["familiar"] = TypicalStatistics(**fields["familiar"])
    config = WeightsConfig(**fields)
    if config.task not in get_args(Task):
        raise ValueError(f"task is {config.task!r}, expected one of {', '.join(get_args(Task))}")
    if (config.localization is None) != (config.task == "detector"):
        raise ValueError("localization belongs to every task but the detector's")
    if config.fusion is not None and config.task != "instances":
        raise ValueError("fusion belongs to instances models alone")
    if not config.files:
        raise ValueError("files is empty")
    if not set(config.unfit) <= set(get_args(Precision)):
        raise ValueError(f"unfit is {config.unfit!r}, expected some of {get_args(Precision)}")
    if not all(_is_finite(x) for x in (config.temperature, config.bias, config.prior_logit)):
        raise ValueError("temperature, bias and prior_logit must be finite numbers")
    if config.temperature <= 0 or config.prior_logit == 0:
        raise ValueError("temperature must be above 0, and prior_logit must not be 0")
    _check_types(config, "")
    return config


def _check_types(described: Any, of: str) -> None:
    """Refuse text for numbers and the like, which would fail far from here.

    Raises:
        TypeError: a field has another type than its class declares.
    """
    for name, hint in get_type_hints(type(described)).items():
        value = getattr(described, name)
        if is_dataclass(value):
            _check_types(value, f"{of}{name}.")
        elif not _fits(value, hint):
            shown = repr(value)
            shown = shown if len(shown) <= 60 else shown[:59] + "…"
            raise TypeError(f"{of}{name} is {shown}, expected {_words(hint)}")


def _fits(value: object, hint: Any) -> bool:
    """Whether a value read from JSON is of a type; numbers must be finite."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in inner
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(key, inner[0]) and _fits(one, inner[1]) for key, one in value.items()
        )
    if origin in (list, Sequence):
        return isinstance(value, list | tuple) and all(_fits(one, inner[0]) for one in value)
    if hint is float:
        return _is_finite(value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _words(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint)) if get_origin(hint) is None else str(hint)


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of thousands of digits
        return False


def _read_beside(graph: Path, named: set[str]) -> set[str]:
    """The files of weights that a graph reads, all of which are named."""
    try:
        beside = external_files(graph)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{graph} is no ONNX graph ({error}): export the model again") from error
    for name in sorted(beside - named):
        raise WeightsError(
            f"{graph} reads {printable(name)!r}, which config.json does not name: expected its "
            "sha256 under 'files', or a graph that holds its weights itself; export the model again"
        )
    return beside


def _verify(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise FileNotFoundError(0, "it is no file in this folder")
        found = sha256_of(path)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror}): config.json names it; "
            "copy the whole weights folder again"
        ) from error
    if found != expected:
        raise WeightsError(
            f"{path} has sha256 {found[:12]}…, expected {expected[:12]}…: "
            "the file is damaged or was replaced; copy the whole weights folder again"
        )
