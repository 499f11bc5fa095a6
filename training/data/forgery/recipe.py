"""What a forger does how often: the settings of `forge`, for YAML recipes and the command line."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.data.augmentation.augment import AugmentConfig
from training.data.forgery.blending import BLENDS
from training.data.forgery.kinds import KINDS
from training.data.forgery.regions import SHAPES
from training.schema import Share, Strict, suggest

Weight = Annotated[float, Field(ge=0)]
Weights = Annotated[dict[str, Weight], Field(min_length=1)]


class ForgeRecipe(Strict):
    """How forgeries are made.

    Attributes:
        kinds: relative frequency of each, keys of `KINDS`; ``authentic`` is one of them.
        shapes: relative frequency of each way to draw a region, keys of `SHAPES`.
        blends: relative frequency of each way to paste, keys of `BLENDS`; only ``hard`` leaves a
            seam.
        area: smallest and largest region as shares of the picture, drawn evenly in the logarithm.
        resampled: share of pasted regions that are scaled, rotated or mirrored; the others are
            copied pixel by pixel.
        matched: share of splices whose colours are drawn towards their surroundings.
        history: share of photographs that were a JPEG of another quality before anyone forged.
        longest: photographs with a longer side are cut to this many pixels, at native resolution.
        precision: arithmetic of the generators; bf16 is faster where the CPU or GPU has it.
        recompression: what happens to every picture at the end, authentic or forged.
    """

    kinds: Weights = Field(
        default_factory=lambda: {
            "authentic": 3.0,
            "splice": 3.0,
            "copy_move": 2.0,
            "removal": 2.0,
            "super_resolved": 1.0,
        }
    )
    shapes: Weights = Field(
        default_factory=lambda: {
            "polygon": 2.0,
            "blob": 2.0,
            "superpixels": 2.0,
            "cutout": 3.0,
            "box": 1.0,
            "segments": 4.0,
        }
    )
    blends: Weights = Field(default_factory=lambda: {"feather": 5.0, "poisson": 4.0, "hard": 1.0})
    area: Annotated[tuple[Share, Share], Field(strict=False)] = (0.01, 0.5)
    resampled: Share = 0.5
    matched: Share = 0.5
    history: Share = 0.4
    longest: Annotated[int, Field(ge=64)] = 1024
    precision: Literal["fp32", "bf16"] = "fp32"
    recompression: AugmentConfig = AugmentConfig(organisers=0.0, chain=0.7)

    @model_validator(mode="after")
    def _is_known(self) -> "ForgeRecipe":
        for field, known in (("kinds", KINDS), ("shapes", SHAPES), ("blends", BLENDS)):
            weights = getattr(self, field)
            for name in weights:
                if name not in known:
                    raise ValueError(f"{field}: unknown {name!r}, {suggest(name, known)}")
            if not sum(weights.values()):
                raise ValueError(f"{field}: all weights are 0, expected one above")
        if not 0 < self.area[0] <= self.area[1]:
            raise ValueError(f"area is {list(self.area)}, expected [smallest, largest] above 0")
        return self
