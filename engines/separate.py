"""The command ``rtaudio separate``: files into their harmonic and percussive parts."""

from __future__ import annotations

import argparse
from typing import Any

STEMS = ("harmonic", "percussive")


def command(commands: Any) -> None:
    """Add ``separate`` to the command line."""
    from rtaudio.cli import INPUTS_HELP, add_render_options, file_path

    parser = commands.add_parser(
        "separate",
        help="separate files into harmonic and percussive parts",
        description="Write NAME.harmonic.wav and NAME.percussive.wav for every file. They sum to the input; "
        "in 16 bits, up to a step of dither each.",
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
    add_render_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Separate every file."""
    from engines.hpss import Hpss
    from rtaudio.cli import find_inputs, make_job, render_jobs
    from rtaudio.graph import Graph, Node

    graph = Graph(
        [Node("hpss", Hpss, {"preset": options.preset, "channels": options.channels})],
        ["in -> hpss", *(f"hpss.{stem} -> out.{stem}" for stem in STEMS)],
    )
    jobs = []
    for source, place in find_inputs(options.inputs, options.output):
        target = options.output / place
        targets = {stem: target.with_name(f"{target.stem}.{stem}.wav") for stem in STEMS}
        jobs.append(make_job(source, targets, options))
    return render_jobs(graph, jobs, options)
