"""Statistics of a set's first views, to fit and to check `synthdet.familiarity`."""

from collections.abc import Callable, Sequence

import numpy as np

from synthdet import familiarity
from synthdet.errors import ImageError
from synthdet.evaluation.labelled import Sample
from synthdet.evaluation.protocols import Protocol
from synthdet.evaluation.read_ahead import read_ahead
from synthdet.familiarity import Vectors
from synthdet.images import load_image
from synthdet.operations import seeded
from synthdet.views import InputSpec, make_views


def gather(
    samples: Sequence[Sample],
    protocols: Sequence[Protocol],
    spec: InputSpec,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Vectors:
    """N samples under P protocols -> float64 PxNxK; nan where a file gave no pixels."""

    def measure(sample: Sample) -> Vectors:
        try:
            image = load_image(sample.path).pixels
        except ImageError:
            return np.full((len(protocols), len(familiarity.STATISTICS)), np.nan)
        changed = (p.apply(image, seeded(sample.path.name, seed, 0)) for p in protocols)
        first = (make_views(one, spec).first().pixels[0] for one in changed)
        return np.stack([familiarity.statistics(view) for view in first])

    rows = []
    for row in read_ahead(measure, samples):
        rows.append(row)
        advance()
    return np.stack(rows, axis=1)
