"""Commands about detectors: ``score``, ``write-images``, ``vip``, ``grid`` and ``calibrate``."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from synthdet.decisions import out_of_distribution
from synthdet.decisions.calibration import calibration_half
from synthdet.errors import InputError, UsageError
from synthdet.evaluation.commands.common import (
    Commands,
    add_results,
    describe,
    describe_file,
    warn,
)
from synthdet.evaluation.detection import BEFORE, COLUMNS, INTERVALS, format_rows, measure
from synthdet.evaluation.heatmap import draw_panels
from synthdet.evaluation.labelled import HALVES, LabelledSet, read_set
from synthdet.evaluation.out_of_distribution import gather
from synthdet.evaluation.protocols import parse_protocol
from synthdet.evaluation.recalibration import compare, recalibrate
from synthdet.evaluation.results import Row, append_rows, git_commit
from synthdet.evaluation.robustness import format_panel, grid_panels, grid_protocols
from synthdet.evaluation.scoring import Scored, score
from synthdet.evaluation.written import TABLE, read_written, write_set
from synthdet.formats.logits import read_logits
from synthdet.inference.detector import Detector
from synthdet.inference.weights import WeightsConfig
from synthdet.metrics.detection import auc, balanced_accuracy, vip_score

METRICS = {"balanced_accuracy": balanced_accuracy, "auc": auc}
USUAL = ("native", "organisers")  # conditions in which images count as familiar
USUAL_SHARE = 0.99  # of the calibrating half, which is near; one odd image in 200 sets no limit
HEAT_RANGE = (0.5, 1.0)  # of the grid's colours: from chance to perfect


# ---------------------------------------------------------------------------- commands


def run_score(args: argparse.Namespace) -> None:
    """Print, and append if asked, the metrics under each protocol."""
    check(args)
    even_odds, seed = 0.0, args.seed
    if args.logits is not None:
        model = describe_file(args.logits, args.name)
        labelled, logits, seed = read_answers(args)
    else:
        labelled = read_data(args)
        detector = Detector.load(args.weights)
        model = describe(detector.config)
        even_odds = detector.config.thresholds.get("even_odds", 0.0)
        logits = run_detector(detector, labelled, args.protocols, args).logits
    table = []
    for protocol, drawn in logits.items():
        rows = measure(labelled.samples, drawn, even_odds, interval=args.interval)
        print(f"\n{model['model']} on {labelled.name} ({args.half}), {protocol}")
        print(format_rows(rows))
        about = {**origin(args, model, labelled, protocol, len(drawn)), "seed": seed}
        table += [{**about, **row} for row in rows]
    if args.results:
        append_rows(args.results, COLUMNS, table, BEFORE)


def run_write_images(args: argparse.Namespace) -> None:
    """Write the images as each protocol leaves them, and the table of them."""
    labelled = read_data(args)
    protocols = [parse_protocol(text) for text in dict.fromkeys(args.protocols)]
    with tqdm(total=len(labelled.samples), unit="file", disable=None) as bar:
        failures = write_set(labelled, protocols, args.draws, args.seed, args.out, bar.update)
    for name, reason in failures.items():
        warn(f"{name} gave no pixels and is left out: {reason}")
    print(f"wrote {args.out / TABLE}")


def run_vip(args: argparse.Namespace) -> None:
    """Print the score of the VIP Cup 2022."""
    parts = []
    for logits, data in zip(args.logits, args.data, strict=True):
        labelled = read_set(data)
        parts.append((labelled.labels, match(logits, labelled)))
        print(f"part {len(parts)}: balanced accuracy {balanced_accuracy(*parts[-1]):.4f}")
    print(f"VIP score: {vip_score(*parts):.4f}")


def run_grid(args: argparse.Namespace) -> None:
    """Print and draw the robustness grid and, if asked, append its rows."""
    labelled = read_data(args)
    detector = Detector.load(args.weights)
    logits = run_detector(detector, labelled, grid_protocols(), args).logits
    metric = METRICS[args.metric]
    panels = grid_panels({text: metric(labelled.labels, z[0]) for text, z in logits.items()})
    title = f"{detector.config.name}: {args.metric} on {len(labelled.samples)} of {labelled.name}"
    print(title, *map(format_panel, panels), sep="\n\n")
    draw_panels(title, panels, *HEAT_RANGE, path=args.png)
    if args.results:
        model = describe(detector.config)
        table = [
            {**origin(args, model, labelled, protocol, 1), **row}
            for protocol, drawn in logits.items()
            for row in measure(labelled.samples, drawn, kinds=())
        ]
        append_rows(args.results, COLUMNS, table, BEFORE)


def run_calibrate(args: argparse.Namespace) -> None:
    """Fit on one half of the images, report on the other, write config.json."""
    labelled = read_data(args)
    detector = Detector.load(args.weights)
    scored = run_detector(detector, labelled, args.protocols, args)
    logits = np.concatenate(list(scored.logits.values()))
    readable = np.array([sample.name not in scored.failures for sample in labelled.samples])
    fits = readable & calibration_half(labelled.groups)
    rest = readable & ~fits
    fitted, reported = labelled.keep(fits, "to fit on"), labelled.keep(rest, "to report on")

    config = recalibrate(
        detector.config, fitted, logits[:, fits], args.error_rates, args.keep_scale
    )
    usual = [parse_protocol(text) for text in USUAL]
    vectors = gather(labelled.samples, usual, config.input, args.seed)
    familiar = out_of_distribution.fit(np.concatenate(list(vectors[:, fits])), USUAL_SHARE)
    config = replace(config, familiar=familiar)
    far = {
        text: float((familiar.distances(one[rest]) > familiar.distance).mean())
        for text, one in zip(USUAL, vectors, strict=True)
    }
    rows, rates = compare(detector.config, config, reported, logits[:, rest])
    note = {
        **origin(args, describe(config), fitted, " ".join(args.protocols), args.draws),
        "half": "calibration",
        "measured_on_the_other_half": rates,
        "far_on_the_other_half": far,
    }
    config = replace(config, provenance={**config.provenance, "calibration": note})
    config.save(args.weights)
    print(f"wrote {args.weights / 'config.json'}")
    print_calibration(config, rows, rates, args.error_rates)
    shares = ", ".join(f"{text} {share:.4f}" for text, share in far.items())
    print(f"{USUAL_SHARE:.0%} lie within {familiar.distance:.2f} deviations; beyond it, {shares}")


def print_calibration(
    config: WeightsConfig,
    rows: Sequence[Row],
    rates: Mapping[str, Mapping[str, float]],
    asked: Iterable[float],
) -> None:
    """What was fitted, and what it does to the images that were not fitted."""
    print(f"temperature {config.temperature:.4g}, bias {config.bias:.4g}")
    print("thresholds " + ", ".join(f"{name} {z:.3f}" for name, z in config.thresholds.items()))
    print(f"\non the reporting half, which was not fitted\n{format_rows(rows)}\n")
    for rate, measured in rates.items():
        low, high = config.conformal[rate]
        shares = ", ".join(f"{name} {share:.3f}" for name, share in measured.items())
        print(f"error rate {rate}: inconclusive from {low:.3f} to {high:.3f}; there, {shares}")
    for lacking in {f"{rate:g}" for rate in asked} - set(rates):
        warn(f"too few pictures to state an error rate of {lacking}; it gets no band")


# ---------------------------------------------------------------------------- reading and running


def check(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect, and a model on images that were written for it.

    Its rows would not say what was done to them.
    """
    if args.logits is None and args.name:
        raise UsageError("--name goes with --logits: weights have a name of their own")
    if args.logits is None and args.data.is_file() and read_written(args.data):
        raise UsageError(
            f"{args.data} is a set that write-images wrote: give --logits for it, or the set that "
            "it was made of"
        )


def read_answers(
    args: argparse.Namespace,
) -> tuple[LabelledSet, dict[str, npt.NDArray[np.float64]], int]:
    """The set that a CSV of logits answers, the logits by protocol, and the seed of what was drawn.

    Raises:
        UsageError: a split of a written set, which has none.
    """
    written = read_written(args.data) if args.data.is_file() else None
    if written is None:
        labelled = read_data(args)
        return labelled, {"as given": match(args.logits, labelled)[None]}, args.seed
    if args.split:
        raise UsageError(f"{args.data} holds one split already: leave --split out")
    labelled = choose(written.labelled, args)
    answers = dict(zip(*read_logits(args.logits), strict=True))
    return labelled, written.arrange(answers, labelled), written.seed


def read_data(args: argparse.Namespace) -> LabelledSet:
    """The images that the arguments ask for."""
    return choose(read_set(args.data, args.split), args)


def choose(labelled: LabelledSet, args: argparse.Namespace) -> LabelledSet:
    """Of a set, the images that the arguments ask for."""
    if args.families:
        labelled = labelled.of_families(args.families)
    labelled = labelled.half(args.half)
    return labelled.at_most(args.per_source) if args.per_source else labelled


def match(path: Path, labelled: LabelledSet) -> npt.NDArray[np.float64]:
    """The logits of a CSV in the order of the set, by name.

    Raises:
        InputError: an image of the set has no logit there.
    """
    answers = dict(zip(*read_logits(path), strict=True))
    missing = [sample.name for sample in labelled.samples if sample.name not in answers]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of the {len(labelled.samples)} pictures, {missing[0]!r} "
            "first: expected a logit for every row of the truth, under the same name"
        )
    return np.array([answers[sample.name] for sample in labelled.samples])


def run_detector(
    detector: Detector, labelled: LabelledSet, protocols: Sequence[str], args: argparse.Namespace
) -> Scored:
    """Score the set with a progress bar, and say which files gave no pixels."""
    parsed = [parse_protocol(text) for text in dict.fromkeys(protocols)]
    with tqdm(total=len(labelled.samples), unit="file", disable=None) as bar:
        scored = score(detector, labelled.samples, parsed, args.draws, args.seed, bar.update)
    for name, reason in scored.failures.items():
        warn(f"{name} gave no pixels and gets the prior logit: {reason}")
    return scored


def origin(
    args: argparse.Namespace, model: Row, labelled: LabelledSet, protocol: str, draws: int
) -> Row:
    """The columns of a results row that say what was measured, with and on what."""
    return {
        "commit": git_commit(),
        **model,
        "data": labelled.name,
        "manifest_sha256": labelled.sha256,
        "half": args.half,
        "protocol": protocol,
        "draws": draws,
        "seed": args.seed,
    }


# ---------------------------------------------------------------------------- command line


def add_commands(commands: Commands) -> None:
    """Add the commands of this file to the parser."""
    command = commands.add_parser(
        "score",
        parents=[_data_options(), _running_options()],
        help="Metrics overall, for each family and each source.",
    )
    given = command.add_mutually_exclusive_group(required=True)
    given.add_argument("--weights", type=Path, help="The weights folder of a detector.")
    given.add_argument(
        "--logits",
        type=Path,
        help="A CSV filename,logit, as main.py writes it, instead of a model.",
    )
    command.add_argument("--name", help="With --logits: what the rows call the model.")
    _add_protocols(command, ["native", "organisers"])
    command.add_argument(
        "--half",
        choices=HALVES,
        default="all",
        help="Take the pictures that calibration fits, or those that it leaves for reports.",
    )
    command.add_argument(
        "--interval",
        choices=INTERVALS,
        default=INTERVALS[0],
        help="What the 95%% intervals draw anew: images, or whole sources, of which there are few "
        "and which matter more (default: %(default)s).",
    )
    add_results(command)
    command.set_defaults(run=run_score)

    command = commands.add_parser(
        "write-images",
        parents=[_data_options(), _running_options()],
        help="Write pictures as the protocols leave them, for detectors that other programs run; "
        "score --logits --data OUT/images.csv judges what they answer.",
    )
    _add_protocols(command, ["native", "organisers"])
    command.add_argument("--out", type=Path, required=True, help="The folder for table and files.")
    command.set_defaults(run=run_write_images, half="all")

    command = commands.add_parser("vip", help="The score of the VIP Cup 2022 from its two parts.")
    for name, text in (("--logits", "The outputs of main.py"), ("--data", "The tables of truth")):
        command.add_argument(
            name,
            nargs=2,
            type=Path,
            required=True,
            metavar=("PART1", "PART2"),
            help=f"{text}, of the first and of the second part.",
        )
    command.set_defaults(run=run_vip)

    command = commands.add_parser(
        "grid",
        parents=[_data_options(), _running_options()],
        help="Robustness to JPEG, scaling, WebP and blur.",
    )
    command.add_argument("--weights", type=Path, required=True, help="The weights folder.")
    command.add_argument("--png", type=Path, required=True, help="Where to draw the heat map.")
    command.add_argument(
        "--metric", choices=METRICS, default="balanced_accuracy", help="What the cells show."
    )
    add_results(command)
    command.set_defaults(run=run_grid, half="all", per_source=10)

    command = commands.add_parser(
        "calibrate",
        parents=[_data_options(), _running_options()],
        help="Fit temperature, bias, thresholds, bands and what pictures are familiar on one half; "
        "write config.json.",
    )
    command.add_argument("--weights", type=Path, required=True, help="The folder to calibrate.")
    _add_protocols(command, ["organisers"])
    command.add_argument(
        "--error-rates",
        nargs="+",
        type=float,
        default=[0.05, 0.1, 0.2],
        metavar="RATE",
        help="Error rates for which to state an inconclusive band (default: %(default)s).",
    )
    command.add_argument(
        "--keep-scale",
        action="store_true",
        help="Leave temperature, bias and thresholds, so that every logit stays as it is.",
    )
    command.set_defaults(run=run_calibrate, half="all")


def _data_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--data", type=Path, required=True, help="Pictures of known class, as described above."
    )
    options.add_argument("--split", help="Take one split of the data.")
    options.add_argument("--families", nargs="+", help="Take these families alone.")
    options.add_argument(
        "--per-source", type=int, help="Take at most so many files of each source and class."
    )
    return options


def _running_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--draws", type=int, default=1, help="Draws of a random protocol (default: %(default)s)."
    )
    options.add_argument(
        "--seed", type=int, default=0, help="Decides the draws (default: %(default)s)."
    )
    return options


def _add_protocols(command: argparse.ArgumentParser, default: list[str]) -> None:
    command.add_argument(
        "--protocols",
        nargs="+",
        default=default,
        help="What is done to the pictures: native, organisers, or steps joined by +, such as "
        f"scale=0.5+jpeg=75 (default: {' '.join(default)}).",
    )
