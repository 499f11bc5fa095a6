"""How fast the entry is, beside its bare parts and beside PyTorch without this project.

    python scripts/benchmark.py --csv bench.csv --png bench.png
    python scripts/benchmark.py --detector runs/convnext_base --sizes 200 1MP 12MP --pictures 500
    python scripts/benchmark.py --masks --sizes 256 512 1024 --pictures 20 -- --views 5

On JPEGs that it makes, the same for all, this runs in turn, round after round:

- entry: `main.py` as a whole process;
- bare session, bare decode: the model on views in memory, and plain processes that decode;
- eager: the same network in PyTorch behind a DataLoader, `training/eager_baseline.py`.

Nothing here decides whether a figure is good. docs/benchmark.md says what each one means.
"""

import argparse
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the repository

from tqdm import tqdm

from synthdet.benchmark.bare import run_bare
from synthdet.benchmark.chart import check_charts, draw
from synthdet.benchmark.pictures import Size, make_pictures
from synthdet.benchmark.runs import Case, Eager, Run, run_entry
from synthdet.benchmark.table import DECODE, EAGER, ENTRY, SESSION, Row, make_rows, show, write_csv
from synthdet.errors import SynthdetError
from synthdet.host_resources import available_cpus
from synthdet.inference.providers import PROVIDERS
from synthdet.inference.weights import read_config
from synthdet.process_setup import say

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("entry", "bare", "eager")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every case, print its table; 0: done, 1: a run failed, 2: unusable arguments."""
    args = _parser().parse_args(arguments)
    if args.quick:
        args.pictures, args.rounds, args.eager_batch = 8, 1, 8
    try:
        if args.png:
            check_charts()
        cases: list[list[Row]] = []
        for size in map(Size.parse, args.sizes):
            with tempfile.TemporaryDirectory(prefix="synthdet-benchmark-") as folder:
                files = make_pictures(Path(folder), args.pictures, size)
                cases += [measure(make_case(size, files, one, args), args) for one in args.batches]
        if args.csv:
            write_csv([row for rows in cases for row in rows], args.csv, machine())
        if args.png:
            draw(cases, args.png, machine())
    except SynthdetError as error:
        say(f"benchmark.py: error: {error}")
        return error.exit_code
    return 0


def make_case(
    size: Size, files: Sequence[Path], batch_size: int | None, args: argparse.Namespace
) -> Case:
    """What is asked of pictures of one size."""
    return Case(
        detector=args.detector,
        localizer=args.localizer if args.masks else None,
        size=size,
        files=files,
        few=min(len(files), args.few or len(files)),
        provider=args.provider,
        batch_size=batch_size,
        options=args.options,
    )


def measure(case: Case, args: argparse.Namespace) -> list[Row]:
    """All contestants in turn, so that whatever slows the machine down hits each of them."""
    models = " + ".join(read_config(folder).name for folder in case.models)
    program = ROOT / "training" / "eager_baseline.py"
    eager = {
        EAGER[one]: Eager(program, args.eager_python, one, args.eager_batch)
        for one in args.eager_precision
    }
    runs: dict[str, list[Run]] = {}
    bar = tqdm(range(args.rounds), desc=f"{models}, {case.size.name}", disable=None, leave=False)
    for _ in bar:
        for name, run in _round(case, args.only, eager):
            runs.setdefault(name, []).append(run)
    rows = make_rows(case, models, runs)
    print(show(rows), end="\n\n", flush=True)
    return rows


def _round(case: Case, kinds: Sequence[str], eager: dict[str, Eager]) -> list[tuple[str, Run]]:
    """Every contestant once; one that cannot run says so, and does not come again."""
    done = []
    if "entry" in kinds:
        done.append((ENTRY, run_entry(case, ROOT / "main.py")))
    if "bare" in kinds:
        bare = run_bare(case)
        done += [(SESSION, bare.session), (DECODE, bare.decode)]
    for name in list(eager) if "eager" in kinds else []:
        run = eager[name].run(case)
        if run is None:
            del eager[name]
        else:
            done.append((name, run))
    return done


def machine() -> str:
    """The processor and how much of it may be used, for a person."""
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{available_cpus()} x {name}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Exit code 0: everything was measured. 1: a run failed. 2: unusable arguments.",
    )
    add = parser.add_argument
    # fmt: off
    add("options", nargs="*", metavar="-- OPTION",
        help="Options of main.py for the entry's runs, behind two dashes: -- --workers 1.")
    add("--detector", type=Path, default=ROOT / "weights" / "detector", metavar="DIR",
        help="Measure the detector in this folder. The default is the shipped one.")
    add("--localizer", type=Path, default=ROOT / "weights" / "localizer", metavar="DIR",
        help="With --masks, the localizer in this folder. The default is the shipped one.")
    add("--masks", action="store_true",
        help="Also make a mask of each picture.")
    add("--sizes", nargs="+", default=["200"], metavar="SIZE",
        help="Sizes of the pictures: 200 is a square of 200 pixels, 12MP are 12 megapixels at "
        "4:3. Each size is measured by itself. The default is 200.")
    add("--pictures", type=int, default=1000, metavar="N",
        help="Answer N pictures in each round. The default is %(default)s.")
    add("--few", type=int, metavar="N",
        help="Measure the bare parts and PyTorch on the first N of them, as they keep one pace. "
        "By default on all.")
    add("--rounds", type=int, default=3, metavar="N",
        help="Run everything N times in turn, and give medians. The default is %(default)s.")
    add("--only", nargs="+", choices=KINDS, default=KINDS,
        help="Measure nothing else. The default is everything.")
    add("--batches", type=int, nargs="+", default=[None], metavar="N",
        help="Most views in one call of the model, each number measured by itself. By default "
        "the device decides.")
    add("--provider", choices=PROVIDERS, default="auto",
        help="As main.py takes it. The table names what really ran. The default is %(default)s.")
    add("--eager-precision", nargs="+", choices=tuple(EAGER), default=tuple(EAGER),
        help="Precisions of PyTorch. The default is both.")
    add("--eager-batch", type=int, metavar="N",
        help="Its batch size. By default the fastest is looked for, which takes a minute.")
    add("--eager-python", default=sys.executable, metavar="FILE",
        help="The interpreter of an environment with requirements-train.txt. The default is the "
        "one that runs this; where PyTorch is missing, its rows are left out.")
    add("--quick", action="store_true",
        help="One round of 8 pictures: shows that everything runs, and measures little.")
    add("--csv", type=Path, metavar="FILE", help="Write the figures as CSV.")
    add("--png", type=Path, metavar="FILE",
        help="Draw images a second as bars. Needs matplotlib.")
    # fmt: on
    return parser


if __name__ == "__main__":
    sys.exit(main())
