"""How a run is done: what `main.py`'s arguments come down to."""

from dataclasses import dataclass, field
from pathlib import Path

from synthdet.inference.providers import Provider
from synthdet.inference.refine import Refinement
from synthdet.io.decoding import DecodeLimits


@dataclass(frozen=True)
class LocateOptions:
    """What is located, and where it is written.

    Attributes:
        masks: folder for a mask of each image; None for none.
        overlays: folder for drawings of each map over its image; None for none.
        views: transformed views of an image that are averaged, 1 to 5.
        refinement: how maps are fitted to the edges of images.
        seconds: after which an image's map is given up.
        pixels: images of more are reduced to so many for their map.
    """

    masks: Path | None = None
    overlays: Path | None = None
    views: int = 1
    refinement: Refinement = "none"
    seconds: float = 120.0
    pixels: int = 50_000_000


@dataclass(frozen=True)
class Options:
    """How a run is done.

    Attributes:
        weights: folder of the model whose logits are the answers.
        locator: folder of the model that writes masks, where the first one is a detector; None
            where no masks are asked for.
        compact: folder of the detector that stands in for the first one where the budget does not
            suffice for it; None where nothing does.
        locate: what is located, and where it is written.
        provider: "auto", "cuda", "openvino" or "cpu".
        batch_size: rows in a batch, and most views in one call of the model; None
            lets the run find what is fastest.
        workers: decode processes; None takes one for each CPU that may be used.
        threads: CPU threads of the model; None takes one for each CPU that may be used.
        budget: seconds from process start to the finished output; None for no deadline.
        packing: seconds of the budget that are kept for what comes after the output.
        resume: continue an earlier run's journal where input, weights and options are the same.
        limits: what decoding one file may cost.
        progress: draw a progress bar on stderr where that is a terminal.
    """

    weights: Path
    locator: Path | None = None
    compact: Path | None = None
    locate: LocateOptions = field(default_factory=LocateOptions)
    provider: Provider = "auto"
    batch_size: int | None = None
    workers: int | None = None
    threads: int | None = None
    budget: float | None = None
    packing: float = 0.0
    resume: bool = False
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    progress: bool = True
