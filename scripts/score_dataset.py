"""Score millions of pictures, on all of one machine or on a Ray cluster.

    python scripts/score_dataset.py pictures/ scores/
    python scripts/score_dataset.py s3://bucket/list.parquet s3://bucket/scores --address auto

Writes one Parquet file a block of rows. A run that was stopped goes on with the same command.
Needs ``pip install -r requirements.txt -r requirements-cluster.txt``.
"""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a program: put the repository, not this folder, on the path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from synthdet import __version__
from synthdet.contest.arguments import MAX_VIEWS, Parser, add_limits, positive_float, positive_int
from synthdet.errors import SynthdetError, UsageError
from synthdet.inference.providers import PROVIDERS
from synthdet.process_setup import mend_streams, say

_PACKAGE = Path(__file__).resolve().parents[1] / "synthdet"
_IN_HAND = 2  # blocks given to a worker at a time, so that it need not wait for the next one
_UNFINISHED = 1  # exit code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: every row has an answer, 1: blocks are left, 2: unusable input."""
    started = time.monotonic()
    mend_streams()
    try:
        return run(_parser().parse_args(argv), started)
    except SynthdetError as error:
        say(f"score_dataset.py: error: {error}")
        return error.exit_code


def run(args: argparse.Namespace, started: float) -> int:
    """List the pictures, hand out the blocks that are left, count the answers; the exit code.

    Raises:
        SynthdetError: the run cannot begin.
    """
    from synthdet.contest.entry import choose_models
    from synthdet.dataset.listing import read_listing
    from synthdet.dataset.model_bytes import ModelBytes
    from synthdet.dataset.places import Place
    from synthdet.dataset.run_folder import RunFolder

    masks = Place.at(args.masks) if args.masks else None
    folders = [folder for folder in choose_models(args.weights, masks is not None) if folder]
    models = [ModelBytes.read(folder) for folder in folders]
    options = _options(args, folders[0])
    listing = read_listing(args.input, args.column)
    output = RunFolder(Place.at(args.output))
    todo = output.open(_cache_key(args, models), listing, args.block_rows)
    rows = len(listing.names)
    worker = {"pictures": listing.folder, "output": output.place, "masks": masks}
    lengths = {block: min(args.block_rows, rows - block * args.block_rows) for block in todo}
    resumed = rows - sum(lengths.values())
    done: list[dict[str, Any]] = []
    if todo:
        try:
            done = _hand_out(args, models, {**worker, "options": options}, lengths, resumed)
        except _UnfinishedError as error:
            blocks = -(-rows // args.block_rows)
            say(
                f"score_dataset.py: {error}; {len(output.finished())} of {blocks} blocks are "
                "finished: run the same command again to go on"
            )
            return _UNFINISHED
    counts = output.count()
    seconds = time.monotonic() - started
    if done:
        output.write_report(_report(rows, resumed, counts, done, seconds))
    if not args.quiet:
        fallbacks = rows - counts.get("ok", 0)
        say(f"{args.output}: {rows} rows, {fallbacks} of them fallbacks; {seconds:.1f} s")
    return 0


def _report(
    rows: int, resumed: int, counts: dict[str, int], done: Sequence[dict[str, Any]], wall: float
) -> dict[str, Any]:
    """Counts and speed; the rate is from the first row that was begun to the last that ended."""
    seconds = max(one["ended"] for one in done) - min(one["began"] for one in done)
    return {
        "rows": rows,
        "counts": counts,
        "resumed_rows": resumed,
        "providers": sorted({one["provider"] for one in done}),
        "wall_seconds": round(wall, 3),
        "images_per_second": round((rows - resumed) / max(seconds, 1e-3), 3),
    }


class _UnfinishedError(Exception):
    """The run ended before its last block; the message says why."""


def _hand_out(
    args: argparse.Namespace,
    models: Sequence[Any],
    worker: dict[str, Any],
    lengths: dict[int, int],
    resumed: int,
) -> list[dict[str, Any]]:
    """Let workers answer blocks until none is left; what they say of each.

    Raises:
        _UnfinishedError: interrupted, or the cluster gave up.
        UsageError: no cluster, or none with room for a worker.
    """
    ray = _start_ray(args)
    from ray.data import ActorPoolStrategy, DataContext, from_items
    from tqdm import tqdm

    from synthdet.dataset.worker import BlockWorker

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it sets its own when it is imported
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's would end us at once
        workers = min(args.workers or _room(ray.nodes(), args), len(lengths))
        DataContext.get_current().enable_progress_bars = False
        # A lost worker's blocks go to the others, or to its successor.
        answered = from_items(
            [{"block": block} for block in lengths], override_num_blocks=len(lengths)
        ).map_batches(
            BlockWorker,
            fn_constructor_kwargs={**worker, "models": partial(ray.get, ray.put(list(models)))},
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=_IN_HAND),
            num_cpus=args.cpus,
            num_gpus=args.gpus,
        )
        done = []
        total = resumed + sum(lengths.values())
        quiet = True if args.quiet else None
        with tqdm(desc="rows", total=total, initial=resumed, unit="img", disable=quiet) as bar:
            for row in answered.iter_rows():
                bar.update(lengths[row["block"]])
                done.append(row)
        return done
    except KeyboardInterrupt as interrupt:
        raise _UnfinishedError("interrupted") from interrupt
    except ray.exceptions.RayError as error:  # of a worker's error, the last line says what it was
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _UnfinishedError(f"the cluster gave up ({lines[-1][:300]})") from error
    finally:
        ray.shutdown()


def _start_ray(args: argparse.Namespace) -> Any:
    """Join the cluster that was named, or start one of this machine alone; the package."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to its makers
    # Its library tells of dead nodes and retries; what is worth a line is said in ours.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if not args.address or args.address.startswith(("127.", "localhost")):
        # Named for systems where it is off. Without it Ray keeps to the loopback interface.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            f"Ray is not here ({error}): pip install -r requirements-cluster.txt"
        ) from error
    from synthdet.host_resources import available_cpus

    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if args.address:
        # The nodes need the packages of requirements-cluster.txt, but not this one.
        modules = {"py_modules": [str(_PACKAGE)]}
        settings |= {"address": args.address, "runtime_env": modules}
    else:
        settings |= {
            "address": "local",
            "num_cpus": available_cpus(),
            "include_dashboard": False,
        }
    try:
        ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"no Ray cluster answers at {args.address or 'this machine'} ({error}): expected "
            "'auto' on one of its nodes, or HOST:PORT of its head"
        ) from error
    return ray


def _room(nodes: Sequence[dict[str, Any]], args: argparse.Namespace) -> int:
    """How many workers the cluster holds at present."""
    needs = {"CPU": args.cpus, "GPU": args.gpus}
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    room = sum(_fits(resources, needs) for resources in alive)
    if not room:
        wanted = ", ".join(f"{count:g} {name}" for name, count in needs.items() if count)
        raise UsageError(
            f"no node of the cluster has {wanted}: expected room for one worker; lower --cpus or "
            "--gpus, or give --workers where the cluster grows when asked"
        )
    return room


def _fits(resources: dict[str, float], needs: dict[str, float]) -> int:
    return int(min(resources.get(name, 0) / need for name, need in needs.items() if need))


def _options(args: argparse.Namespace, weights: Path) -> Any:
    from synthdet.contest.options import LocateOptions, Options
    from synthdet.inference.providers import Provider
    from synthdet.io.decoding import DecodeLimits

    share = max(1, round(args.cpus))
    provider: Provider = "cpu" if args.provider == "auto" and not args.gpus else args.provider
    return Options(
        weights=weights,
        locate=LocateOptions(views=args.views, refinement=args.refine),
        provider=provider,
        batch_size=args.batch_size,
        workers=share,
        threads=share,
        limits=DecodeLimits(args.image_seconds, args.image_megabytes * 2**20, args.max_pixels),
    )


def _cache_key(args: argparse.Namespace, models: Sequence[Any]) -> dict[str, Any]:
    """What shapes the answers beside the rows; a run that differs in it is another one."""
    limits = {name: getattr(args, name) for name in ("max_pixels", "image_seconds")}
    return {
        "version": __version__,
        "models": [model.sha256 for model in models],
        "limits": {**limits, "image_megabytes": args.image_megabytes},
        "masks": args.masks and {"folder": args.masks, "views": args.views, "refine": args.refine},
    }


def _parser() -> Parser:
    parser = Parser(
        prog="score_dataset.py",
        description="Score every picture of a data set, on all of this machine or on a Ray "
        "cluster, and write the answers to OUTPUT as Parquet. Every row gets an answer: a bad "
        "file costs its row, a lost worker a retry. The same command again goes on with a run "
        "that was stopped.",
        epilog="Exit code 0: every row has an answer. 1: interrupted, or the cluster or its "
        "storage failed; what is finished stays. 2: unusable arguments, input, output or weights.",
    )
    add = parser.add_argument
    # fmt: off
    add("input", metavar="INPUT",
        help="A folder, searched for pictures in depth; a CSV with a column 'filename'; or a "
        "Parquet table. A path, or a URI such as s3://bucket/list.parquet, gs://…, "
        "fsspec+abfs://…. Names in a table are relative to its own folder, or URIs.")
    add("output", metavar="OUTPUT",
        help="The folder, a path or a URI, for one Parquet file a block and a report.")
    add("--column", metavar="NAME", default="filename",
        help="The column of a Parquet table that names the pictures. The default is %(default)s.")
    add("--masks", metavar="FOLDER",
        help="Also write a mask of each picture into this folder, a path or a URI, named as "
        "main.py names them.")
    add("--views", metavar="N", type=int, choices=range(1, MAX_VIEWS + 1), default=1,
        help="Average each mask over N views, 1 to 5. The default is %(default)s.")
    add("--refine", choices=("none", "guided", "crf"), default="none",
        help="Fit each mask to the edges of its picture. The default is %(default)s.")
    add("--weights", metavar="DIR", type=Path, action="append", default=[],
        help="Use the model in this local folder; it is sent to the workers. May be repeated for "
        "models of different tasks, as for main.py.")
    add("--address", metavar="ADDRESS",
        help="Run on this Ray cluster: 'auto' on one of its nodes, or HOST:PORT. By default one "
        "is started that is this machine alone, and that nobody else can reach.")
    add("--workers", metavar="N", type=positive_int,
        help="Start N workers. By default as many as the cluster has room for.")
    add("--cpus", metavar="N", type=positive_float, default=1.0,
        help="CPUs of each worker, for as many decode processes. The default is 1.")
    add("--gpus", metavar="N", type=positive_float, default=0.0,
        help="GPUs of each worker; 0.5 lets two share one. By default none.")
    add("--provider", choices=PROVIDERS, default="auto",
        help="Run the models on this backend. The default, auto, takes a GPU where --gpus grants "
        "one, else the CPU by ONNX Runtime.")
    add("--batch-size", metavar="N", type=positive_int,
        help="Run N images through the model at once. By default the device decides.")
    add("--block-rows", metavar="N", type=positive_int, default=1000,
        help="Rows in a block: what a lost worker costs, and what one output file holds. The "
        "default is %(default)s.")
    add_limits(parser)
    # fmt: on
    return parser


if __name__ == "__main__":
    sys.exit(main())
