"""What the entry is made of, each alone: the model on views in memory, files decoded for nobody."""

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from synthdet.benchmark.runs import Case, Run
from synthdet.host_resources import available_cpus, peak_memory
from synthdet.inference.detector import Detector
from synthdet.inference.localizer import Localizer
from synthdet.inference.session import OnnxModel
from synthdet.inference.weights import WeightsConfig
from synthdet.io.images import load_image
from synthdet.preprocessing.detector_views import make_views
from synthdet.preprocessing.resizing import Image, reduce_to, resize
from synthdet.preprocessing.tiles import Tiling

_SAMPLE_SECONDS = 4.0  # spent on one image at a time …
_SAMPLE = 100  # … and on no more of them
_IN_MEMORY = 64  # views that the bare model gets over and over


class Bare(NamedTuple):
    """The parts of a run, each measured alone; of the two passes together where there are two."""

    session: Run
    decode: Run


def run_bare(case: Case) -> Bare:
    """Measure in a fresh process, so that no model stays in this one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as process:
        return process.submit(_measure, case).result()


def _measure(case: Case) -> Bare:
    files = case.files[: case.few]
    detector = Detector.load(case.detector, case.provider)
    localizer = Localizer.load(case.localizer, case.provider) if case.localizer else None
    models = [detector.model] + ([localizer.model] if localizer else [])
    for model in models:
        if case.batch_size is not None:
            model.fix_batch_size(case.batch_size)
    pixels = load_image(files[0]).pixels
    session = Run(
        pictures=len(files),
        seconds=sum(_session_seconds(model, pixels, len(files)) for model in models),
        provider=models[-1].provider,
        precision=models[-1].precision,
        batch_size=models[-1].batch_size,
        latencies=_latencies(files, detector, localizer),
        main_mib=(peak_memory() or 0) / 2**20,
    )
    stages = _stages(files, [model.config for model in models])
    stages["model"] = 1000 / session.rate
    decode = sum(_decode_seconds(files, model.config) for model in models)
    return Bare(replace(session, stages=stages), Run(len(files), decode))


def look(pixels: Image, config: WeightsConfig) -> Image:
    """uint8 HxWx3 -> uint8 VxSxSx3, the views or squares of it that a model takes."""
    spec, localization = config.input, config.localization
    if localization is None:
        return make_views(pixels, spec).pixels
    pixels = reduce_to(pixels, localization.max_side)
    if localization.whole:
        return resize(pixels, spec.size, spec.size)[np.newaxis]
    height, width = pixels.shape[:2]
    tiling = Tiling(height, width, spec.size, localization.overlap)
    return np.stack([tiling.cut(pixels, square) for square in tiling.squares])


def _session_seconds(model: OnnxModel, pixels: Image, pictures: int) -> float:
    """Seconds for the model on as many views as that many such images have."""
    views = look(pixels, model.config)
    memory = np.resize(views, (max(_IN_MEMORY, model.batch_limit), *views.shape[1:]))
    batch = memory[: model.batch_limit]
    total = pictures * len(views)
    model.run(batch)  # what is done once is not counted
    model.run(batch[: total % len(batch) or None])
    return _seconds(
        lambda: [
            model.run(batch[: min(len(batch), total - start)])
            for start in range(0, total, len(batch))
        ]
    )


def _decode_seconds(files: Sequence[Path], config: WeightsConfig) -> float:
    """Seconds for plain processes, one a CPU, that decode and make views and hand nothing over."""
    workers = min(available_cpus(), len(files))
    parts = [files[start::workers] for start in range(workers)]
    job = partial(_decode, config=config)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        list(pool.map(job, [part[:2] for part in parts]))  # imports
        return _seconds(lambda: list(pool.map(job, parts)))


def _decode(files: Sequence[Path], config: WeightsConfig) -> None:
    cv2.setNumThreads(1)
    for file in files:
        pixels = load_image(file).pixels
        if config.localization is None:  # squares of a localizer are cut where the model runs
            make_views(pixels, config.input)


def _latencies(
    files: Sequence[Path], detector: Detector, localizer: Localizer | None
) -> list[float]:
    """Milliseconds from a file to its answer, one image at a time."""

    def answer(file: Path) -> None:
        pixels = load_image(file).pixels
        detector.score(pixels)
        if localizer:
            localizer.locate(pixels)

    answer(files[0])
    return [1000 * _seconds(partial(answer, file)) for file in _sample(files)]


def _stages(files: Sequence[Path], configs: Sequence[WeightsConfig]) -> dict[str, float]:
    """Milliseconds per image on one core, of what comes before the models."""
    spent = dict.fromkeys(("read", "decode", "views"), 0.0)
    sample = list(_sample(files))
    for file in sample:
        read = _seconds(file.read_bytes)
        loaded, seconds = _timed(partial(load_image, file))
        spent["read"] += len(configs) * read  # each pass reads and decodes the file anew
        spent["decode"] += len(configs) * max(0.0, seconds - read)
        spent["views"] += sum(_seconds(partial(look, loaded.pixels, one)) for one in configs)
    return {stage: 1000 * seconds / len(sample) for stage, seconds in spent.items()}


def _sample(files: Sequence[Path]) -> Iterator[Path]:
    """Files until the time is over, at least one."""
    began = time.perf_counter()
    for file in itertools.islice(files, _SAMPLE):
        yield file
        if time.perf_counter() - began > _SAMPLE_SECONDS:
            return


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = call()
    return result, time.perf_counter() - began


def _seconds(call: Callable[[], object]) -> float:
    return _timed(call)[1]
