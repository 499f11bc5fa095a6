"""Statistics of a set's first views, for `synthdet.decisions.out_of_distribution`."""

from collections.abc import Callable, Sequence

import numpy as np

from synthdet.decisions import out_of_distribution
from synthdet.decisions.out_of_distribution import Vectors
from synthdet.errors import ImageError
from synthdet.evaluation.labelled import LabelledImage
from synthdet.evaluation.protocols import Protocol
from synthdet.evaluation.read_ahead import read_ahead
from synthdet.io.images import load_image
from synthdet.preprocessing.detector_views import InputSpec, make_views
from synthdet.preprocessing.operations import seeded


def gather(
    samples: Sequence[LabelledImage],
    protocols: Sequence[Protocol],
    spec: InputSpec,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Vectors:
    """N samples under P protocols -> float64 PxNxK; nan where a file gave no pixels."""

    def measure(sample: LabelledImage) -> Vectors:
        try:
            image = load_image(sample.path).pixels
        except ImageError:
            return np.full((len(protocols), len(out_of_distribution.STATISTICS)), np.nan)
        changed = (p.apply(image, seeded(sample.path.name, seed, 0)) for p in protocols)
        first = (make_views(one, spec).first().pixels[0] for one in changed)
        return np.stack([out_of_distribution.statistics(view) for view in first])

    rows = []
    for row in read_ahead(measure, samples):
        rows.append(row)
        advance()
    return np.stack(rows, axis=1)
