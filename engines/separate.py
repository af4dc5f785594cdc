"""The command ``rtaudio separate``: files into their harmonic, percussive and repeating parts."""

from __future__ import annotations

import argparse
from typing import Any

STEMS = ("harmonic", "percussive")
PERIODS = 5
"""Times, this one among them, of which what repeats is the median."""


def command(commands: Any) -> None:
    """Add ``separate`` to the command line."""
    from rtaudio.cli import INPUTS_HELP, add_render_options, file_path

    parser = commands.add_parser(
        "separate",
        help="separate files into harmonic and percussive parts",
        description="Write NAME.harmonic.wav and NAME.percussive.wav for every file, and "
        "NAME.repeating.wav and NAME.residual.wav where there are such parts. They sum to the input; in 16 "
        "bits, up to a step of dither each.",
    )
    parser.add_argument("inputs", nargs="+", type=file_path, metavar="IN", help=INPUTS_HELP)
    parser.add_argument("-o", "--output", type=file_path, required=True, metavar="OUT", help="a folder")
    parser.add_argument(
        "--preset", default="quality", metavar="P", help="live, balanced or quality (default)"
    )
    parser.add_argument(
        "--channels",
        default="linked",
        metavar="C",
        help="one mask for all channels: linked (default), or independent",
    )
    parser.add_argument(
        "--iterations",
        type=_iterations,
        default=(1, 1),
        metavar="H,P",
        help="before the harmonic and the percussive part are filtered, 1 to 10 each (default: 1,1); more "
        "keep the parts further apart and add artefacts; if they differ, there is a residual",
    )
    parser.add_argument(
        "--spatial",
        action="store_true",
        help="the paper's spatial model, a covariance of the channels for each part (hpss: spatial=uniform)",
    )
    parser.add_argument(
        "--period",
        type=_seconds,
        metavar="S",
        help="seconds after which something repeats, such as a bar: a third part",
    )
    add_render_options(parser)
    parser.set_defaults(run=run)


def _iterations(text: str) -> tuple[int, int]:
    counts = text.split(",")
    if len(counts) != 2 or not all(count.strip().isdecimal() for count in counts):
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers such as 2,2")
    return int(counts[0]), int(counts[1])


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 60.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.05 to 60")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Separate every file."""
    from engines.hpss import Hpss
    from engines.kam import Kam
    from rtaudio.cli import find_inputs, make_job, render_jobs
    from rtaudio.graph import Graph, Node
    from rtaudio.processor import Value

    values: dict[str, Value] = {"channels": options.channels}
    values |= {f"{stem}_iterations": n for stem, n in zip(STEMS, options.iterations, strict=True)}
    if options.spatial:
        values["spatial"] = "uniform"
    stems: tuple[str, ...] = STEMS
    node = Node("hpss", Hpss, values | {"preset": options.preset})
    if options.period:
        preset = Hpss(preset=options.preset, estimate="medians")
        values |= {name: preset.values[name] for name in ("n_fft", "hop", "synthesis", "lookahead")}
        for name, line, size in zip(STEMS, ("time", "frequency"), preset.sizes, strict=True):
            values[f"{name}_kernel"] = f"{line} {size}"
        values["repeating_kernel"] = f"repeat {options.period} {PERIODS}"
        values["repeating_iterations"] = max(options.iterations)
        node = Node("kam", Kam, values)
        stems += ("repeating",)
    if len(set(options.iterations)) > 1:
        stems += ("residual",)
    edges = [f"in -> {node.name}", *(f"{node.name}.{stem} -> out.{stem}" for stem in stems)]
    graph = Graph([node], edges)
    jobs = []
    for source, place in find_inputs(options.inputs, options.output):
        target = options.output / place
        targets = {stem: target.with_name(f"{target.stem}.{stem}.wav") for stem in stems}
        jobs.append(make_job(source, targets, options))
    return render_jobs(graph, jobs, options)
