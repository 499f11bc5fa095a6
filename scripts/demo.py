"""A page to drop a picture on, which shows what `synthdet --html` shows of it.

    python scripts/demo.py                      # then open http://127.0.0.1:7860

Needs requirements-demo.txt. Neither this program nor the page calls another machine, and a picture
is deleted once it is judged.
"""

import argparse
import html
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __package__ in (None, ""):  # run as a program: put the repository, not this folder, on the path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from PIL import Image

from synthdet.cli import answer, check_page, provenance, write_report_page
from synthdet.contest import arguments
from synthdet.contest.entry import SHIPPED
from synthdet.errors import SynthdetError, UsageError
from synthdet.inference.providers import PROVIDERS
from synthdet.inference.weights import read_config
from synthdet.process_setup import catch_signals, mend_streams, say

# What the browser may load: this page's own server, and what the page holds itself.
_POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
_MOST_WAITING = 20  # pictures; whoever comes then is asked to come again
_KEPT_SECONDS = 600  # an upload that nobody has judged by then is deleted


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; 0: ended so, 2: unusable arguments, weights or port."""
    mend_streams()
    interrupted = catch_signals()
    try:
        args = build_parser().parse_args(argv)
        check_page()
        with TemporaryDirectory(prefix="synthdet-demo-") as folder:
            serve(args, Path(folder).resolve(), interrupted)
    except SynthdetError as error:
        say(f"demo.py: error: {error}")
        return error.exit_code
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the demo; an unusable one raises UsageError."""
    parser = arguments.Parser(
        prog="demo.py",
        description="Serve a page to drop a picture on, which then shows its verdict, its "
        "probability, a map of its manipulated pixels, and what its file says of itself.",
        epilog="Exit code 0: it was ended by Ctrl-C or SIGTERM. 2: unusable arguments, weights or "
        "port.",
    )
    add = parser.add_argument
    # fmt: off
    add("--port", type=arguments.positive_int, default=7860,
        help="Serve on this port. The default is %(default)s.")
    add("--host", default="127.0.0.1",
        help="Serve on this address. The default, %(default)s, is reached from this machine "
        "alone; 0.0.0.0 lets everyone in who can reach it, and asks nobody for a password.")
    add("--max-error", metavar="RATE", type=arguments.share,
        help="Call a picture real or synthetic only where the weights state that at most this "
        "share of either class is called wrongly; the rest is inconclusive. By default 0.05, "
        "where the weights state it.")
    add("--max-megabytes", metavar="MB", type=arguments.positive_int, default=50,
        help="Refuse files of more than so many megabytes. The default is %(default)s.")
    add("--max-megapixels", metavar="N", type=arguments.positive_int, default=50,
        help="Refuse pictures of more than N million pixels. The default is %(default)s.")
    add("--image-seconds", metavar="S", type=arguments.positive_float, default=20.0,
        help="Give up on a picture that takes longer than S seconds to decode. The default is "
        "%(default)s.")
    add("--weights", metavar="DIR", type=Path, action="append", default=[],
        help="Use the model in this folder instead of the shipped one of its task. May be "
        "repeated for models of different tasks.")
    add("--provider", choices=PROVIDERS, default="auto",
        help="Run the model on this backend; auto takes a GPU where there is one, and OpenVINO "
        "where it is installed and the CPU computes in bf16.")
    # fmt: on
    return parser


# ---------------------------------------------------------------------------- behind the page


def judged_page(
    picture: Path, name: str, args: argparse.Namespace, interrupted: threading.Event
) -> str:
    """A file that nobody has looked at -> the page that `synthdet --html` makes of it.

    Args:
        picture: the file; it is gone afterwards.
        name: what the page calls it.
        args: of `build_parser`.
        interrupted: ends the run with what is there, once it is set.

    Raises:
        SynthdetError: the arguments or the weights cannot be used, or the disk is full. Not where
            the file is at fault: then the page says so.
    """
    with TemporaryDirectory(prefix="judged-", dir=picture.parent) as made:
        folder = Path(made)
        moved = picture.rename(folder / "picture")  # its own name may be anything
        masks = folder / "masks" if _makes_maps(args.weights) else None
        options = [f"--weights={one}" for one in args.weights]
        options += ["--provider", args.provider, f"--image-seconds={args.image_seconds}"]
        options += [f"--max-pixels={args.max_megapixels * 10**6}"]
        options += [f"--max-error={args.max_error}"] if args.max_error is not None else []
        options += [f"--masks={masks}"] if masks else []
        report, _ = answer([moved], [name], options, folder, time.monotonic(), interrupted)
        report["provenance"] = provenance([moved])
        for row in report["fallbacks"]:  # the path says nothing to who sent the file
            row["detail"] = row["detail"].removeprefix(f"'{moved}': ")
        write_report_page(folder / "page.html", name, [moved], report, masks)
        return (folder / "page.html").read_text(encoding="utf-8")


def _makes_maps(folders: Iterable[Path]) -> bool:
    """Whether there is a model that says which pixels."""
    given = any(read_config(folder).task != "detector" for folder in folders)
    return given or (SHIPPED["localizer"] / "config.json").is_file()


def stay_home(hosts: Iterable[str]) -> None:
    """From now on, refuse this process to look up or to call other machines than ``hosts``.

    Gradio would count its uses, and it fetches a URL that a browser names in place of a file.
    """
    home = {"localhost", "127.0.0.1", "::1", *hosts}

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto"):
            host = args[1][0] if isinstance(args[1], tuple) else None  # else a path of this machine
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            host = args[0].decode("idna") if isinstance(args[0], bytes) else args[0]
        else:
            return
        if host is not None and host not in home:
            raise PermissionError(f"the demo calls no other machine, and {host} was to be called")

    sys.addaudithook(refuse)


# ---------------------------------------------------------------------------- the page


def serve(args: argparse.Namespace, folder: Path, interrupted: threading.Event) -> None:
    """Serve the page until ``interrupted`` is set, with uploads in ``folder``.

    Raises:
        UsageError: Gradio is not installed, or the port cannot be used.
        SynthdetError: as `judged_page`, which is tried once before the page is there.
    """
    stay_home([args.host])
    gradio = _gradio(folder)
    sample = folder / "sample.png"
    Image.new("RGB", (64, 64)).save(sample)
    judged_page(sample, sample.name, args, interrupted)
    page = _build(gradio, args, folder, interrupted)
    try:
        _launch(gradio, page, args)
    except OSError as error:
        raise UsageError(
            f"--host {args.host} --port {args.port} cannot be served on ({error}): give another"
        ) from error
    say(f"demo.py: drop a picture on {page.local_url} (Ctrl-C ends)")
    interrupted.wait()
    page.close(verbose=False)


def _gradio(folder: Path) -> Any:
    """The package, told to keep its files in ``folder`` and to itself what happens here."""
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(folder),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",  # it looks whether its own page is there
    }
    try:
        import gradio
    except ImportError as error:
        raise UsageError(
            f"the demo needs Gradio, which is not here ({error}): "
            "pip install --no-deps -r requirements-demo.txt"
        ) from error
    return gradio


def _build(
    gradio: Any, args: argparse.Namespace, folder: Path, interrupted: threading.Event
) -> Any:
    def judge(upload: dict[str, Any]) -> tuple[None, str]:
        path = Path(upload["path"]).resolve()  # as the browser says: it may say anything
        if not (path.is_relative_to(folder) and path.is_file()):
            raise gradio.Error("The file is not here any more: drop it again.")
        try:
            page = judged_page(path, upload["orig_name"] or path.name, args, interrupted)
        except SynthdetError as error:
            raise gradio.Error(str(error), print_exception=False) from error
        finally:
            with suppress(OSError):  # another upload of the same bytes is there
                path.parent.rmdir()
        return None, _framed(page)

    with gradio.Blocks(
        title="synthdet", analytics_enabled=False, delete_cache=(60, _KEPT_SECONDS)
    ) as page:
        gradio.Markdown(
            "# Is this picture synthetic?\n"
            f"At most {args.max_megabytes} MB. It stays on the machine that serves this page, and "
            "is deleted once it is judged."
        )
        dropped = gradio.File(label="Picture", height=140)
        shown = gradio.HTML(label="Answer")
        # Without Gradio's own steps on the file, which would leave an empty one behind each time.
        dropped.upload(judge, dropped, [dropped, shown], preprocess=False, concurrency_limit=1)
    return page.queue(max_size=_MOST_WAITING)


def _framed(page: str) -> str:
    """A page in a frame of its own, which can reach neither the page around it nor its server."""
    return (
        '<iframe title="Answer" sandbox="allow-scripts" '
        'style="width: 100%; height: 70rem; border: 0" '
        f'srcdoc="{html.escape(page)}"></iframe>'
    )


def _launch(gradio: Any, page: Any, args: argparse.Namespace) -> None:
    from starlette.middleware import Middleware

    fonts = ("system-ui", "sans-serif")
    page.launch(
        server_name=args.host,
        server_port=args.port,
        max_file_size=args.max_megabytes * 2**20,
        theme=gradio.themes.Default(font=fonts, font_mono=("ui-monospace", "monospace")),
        app_kwargs={"middleware": [Middleware(_Confined)], "docs_url": None, "redoc_url": None},
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        inline=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
    )


class _Confined:
    """Tells browsers with every answer to load nothing from elsewhere."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def confined(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY)
                message = {**message, "headers": [*message["headers"], policy]}
            await send(message)

        await self._app(scope, receive, confined)


if __name__ == "__main__":
    sys.exit(main())
