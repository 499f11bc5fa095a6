"""A copy-move network and matching together: what both see is likelier than what either says.

Matching (`synthdet.copymove.matching`) is right about exact copies and blind where there is no
texture; the network sees those, but takes the alike for the same. Each keeps its own regions with
their own logits. Where regions of both overlap, each gains a share of the other's logit: log-odds
of independent evidence add up (naive Bayes), and the share says how independent it is. Doubt takes
nothing away, so what matching calls stays called.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from synthdet.copymove import matching
from synthdet.copymove.instances import InstanceFinder
from synthdet.copymove.regions import NOTHING, Region, answer, overlap
from synthdet.inference.localizer import Located
from synthdet.inference.providers import Provider
from synthdet.inference.refine import Refinement, refine
from synthdet.inference.session import Warn, warn_on_stderr
from synthdet.inference.weights import FusionSpec
from synthdet.preprocessing.resizing import Image


def fuse(seen: Sequence[Region], matched: Sequence[Region], spec: FusionSpec) -> list[Region]:
    """Regions of the network and of matching, any number of each -> all of them, scored again."""
    seen = [replace(one, logit=max(NOTHING, one.logit + spec.network_bias)) for one in seen]
    return [
        *(_supported(region, matched, spec.agreement) for region in seen),
        *(_supported(region, seen, spec.agreement) for region in matched),
    ]


def _supported(region: Region, others: Sequence[Region], share: float) -> Region:
    """The region, surer by a share of the surest of the others that shows the same."""
    agreeing = (other.logit for other in others if overlap(region.mask, other.mask))
    return replace(region, logit=region.logit + share * max(0.0, max(agreeing, default=0.0)))


def load_finder(
    folder: Path,
    provider: Provider = "auto",
    threads: int | None = None,
    warn: Warn = warn_on_stderr,
) -> "InstanceFinder | FusedFinder":
    """Load a network's folder: beside matching if fitted to it, alone otherwise.

    Raises:
        WeightsError: missing, corrupt or unfit weights.
    """
    network = InstanceFinder.load(folder, provider, threads, warn)
    return network if network.config.fusion is None else FusedFinder(network, network.config.fusion)


class FusedFinder:
    """Answers "which regions were copied?" by both; satisfies `inference.localizer.Locates`.

    Example:
        >>> finder = FusedFinder(InstanceFinder.load(Path("weights/copymove")), FusionSpec(1, -2))
        >>> found = finder.locate(load_image(Path("figure.png")).pixels)
        >>> found.logit, found.instances.max()
        (3.2, 2)
    """

    def __init__(self, network: InstanceFinder, spec: FusionSpec) -> None:
        self.network = network
        self.spec = spec
        self.model = network.model
        self.config = network.config

    def locate(
        self,
        image: Image,
        *,
        views: int = 1,
        refinement: Refinement = "none",
        max_side: int | None = None,
    ) -> Located:
        """One image, uint8 HxWx3 RGB from 1x1 -> regions, map and logit, as `Locates` says."""
        regions = fuse(self.network.find(image, views), matching.find(image, max_side), self.spec)
        found = answer(regions, *image.shape[:2])
        return replace(found, map=refine(found.map, image, refinement))
