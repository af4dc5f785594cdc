"""The command ``rtaudio say``: a text is read aloud, or into a file."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.speech.reading import Reading
    from rtaudio.host import Host

FACTORS = 0.25, 4.0
"""Lowest and highest ``--rate-factor``."""
LOOK = 0.02
"""Seconds between two looks at the sound."""
LONG = 1000
"""Codepoints from which on the progress is shown."""


def command(commands: Any) -> None:
    """Add ``say`` to the command line."""
    from engines.speech.reading import LANGUAGES
    from rtaudio.cli import file_path, whole

    parser = commands.add_parser(
        "say",
        help="read a text aloud, or into a file",
        description="Read a text aloud, or into a file: plain text, or SSML with pauses and prosody. Without "
        "TEXT and --file, standard input is read. A sentence that cannot be spoken is left out and named; "
        "the exit status is then 1.",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT")
    parser.add_argument("--file", type=file_path, metavar="F", help="read this file of UTF-8 text")
    parser.add_argument(
        "--voice",
        default="",
        metavar="V",
        help="see 'rtaudio voices'; or a Piper voice's folder or NAME.onnx",
    )
    parser.add_argument(
        "--lang", choices=LANGUAGES, help="of the text (default: the voice's if it is read here, else en)"
    )
    parser.add_argument("--speaker", default="", metavar="S", help="of a voice of several: a name or number")
    parser.add_argument(
        "--rate-factor",
        type=_factor,
        default=1.0,
        metavar="X",
        help="how much faster, 0.25 to 4 (default: 1)",
    )
    parser.add_argument("-o", "--output", type=file_path, metavar="FILE", help="write a file, do not play")
    parser.add_argument("--subtype", metavar="T", help="with -o: 16, 24, 32, float ...")
    parser.add_argument("--api", choices=["auto", "jack", "alsa", "null"], default="auto", help="see 'live'")
    parser.add_argument("--device", metavar="D", help="output device, see 'rtaudio devices'")
    parser.add_argument("--block", type=whole, metavar="N", help="samples per block (default: as 'live')")
    parser.add_argument("--json", metavar="F", help="write a report as JSON ('-' for stdout): times of words")
    parser.set_defaults(run=run)


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not FACTORS[0] <= factor <= FACTORS[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {FACTORS[0]:g} to {FACTORS[1]:g}")
    return factor


def run(options: argparse.Namespace) -> int:
    """``rtaudio say``."""
    from engines.speech.reading import LANGUAGES, Reading
    from engines.speech.voice import find_speaker
    from engines.speech.voices import open_voice
    from rtaudio import cli
    from rtaudio.errors import UserError

    if options.output is None and options.subtype is not None:
        raise UserError("--subtype is for files: give -o FILE too")
    if options.output is not None and (options.device is not None or options.block is not None):
        raise UserError("-o writes a file and does not play: leave --device and --block out")
    written = [path for path in (options.file, options.output) if path is not None]
    cli.check_report(options.json, written)
    began = time.perf_counter()
    text = _text(options)
    with ExitStack() as stack:
        voice = open_voice(options.voice, options.lang or "en")
        stack.callback(voice.close)
        language = options.lang or (voice.language if voice.language in LANGUAGES else "en")
        speaker = find_speaker(voice, options.speaker)
        reading = Reading(text, voice, language, speaker, 1.0 / options.rate_factor, began)
        report = (play if options.output is None else write)(reading, options)
    for problem in reading.problems:
        cli.say(f"warning: {cli.one_line(problem)}")
    report = {"language": language, **report}
    cli.write_report(options.json, report)
    return int(bool(reading.problems or report.get("underflows")))


def _text(options: argparse.Namespace) -> str:
    """The text to speak, of the argument, a file or standard input."""
    from rtaudio.errors import FileError, UserError

    if options.text is not None and options.file is not None:
        raise UserError("TEXT and --file are both given: leave one out")
    if options.text is not None and options.text != "-":
        return str(options.text)
    name = options.file or "standard input"
    try:
        if options.file is not None:
            content: bytes = options.file.read_bytes()
        elif sys.stdin is None or sys.stdin.isatty():
            raise UserError("there is no text: give TEXT or --file, or pipe it to standard input")
        else:
            content = sys.stdin.buffer.read()
    except OSError as error:
        raise FileError(f"cannot read {name}: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name} is no UTF-8 text (byte {error.start}): convert it, such as by iconv"
        ) from None


@contextmanager
def _progress(reading: Reading) -> Iterator[Callable[[], None]]:
    """A bar for long texts on a terminal; what is given is called now and then."""
    from rich.console import Console
    from rich.progress import Progress

    from rtaudio.cli import on_terminal

    shown = len(reading.text) >= LONG and on_terminal()
    console = Console(stderr=True, emoji=False, markup=False, highlight=False)
    with Progress(console=console, disable=not shown, transient=True) as bar:
        task = bar.add_task(reading.voice.name, total=len(reading.text))
        yield lambda: bar.update(task, completed=reading.done)


def _said(reading: Reading, where: str = "") -> str:
    """The line that tells what was done."""
    report = reading.report()
    facts = [f"{report['seconds']:.2f} s", f"{report['sentences']} sentences", reading.voice.name]
    if report["first_sound_ms"] is not None:
        facts += [f"first sound after {report['first_sound_ms']:.0f} ms"]
        facts += [f"{report['cpu_per_second']:.3f} CPU s per s of sound"]
    text = ", ".join(facts)
    return f"{where}  ({text})" if where else text


def write(reading: Reading, options: argparse.Namespace) -> dict[str, Any]:
    """Read into a file, which is written whole or not at all; returns a report."""
    from rtaudio import cli
    from rtaudio.errors import UserError
    from rtaudio.files import AudioWriter
    from rtaudio.render import make_folder

    with ExitStack() as stack:
        stack.enter_context(cli.on_signals(cli.leave, signal.SIGINT, *cli.ENDING))
        make_folder(options.output.parent)
        writer = stack.enter_context(
            AudioWriter(options.output, reading.voice.rate, 1, subtype=options.subtype)
        )
        show = stack.enter_context(_progress(reading))
        for samples in reading:
            writer.write(samples[None])
            show()
        if not reading.spoken:
            raise UserError(f"nothing could be spoken: {reading.problems[0]}")
    note = f"; {writer.note}" * bool(writer.note)
    cli.say(cli.one_line(f"{_said(reading, str(options.output))}{note}"))
    return {**reading.report(), "output": str(options.output)}


def _ready(host: Host) -> str:
    """The line that says that sound runs."""
    report = host.statistics()
    where = f"{report['api']} {report.get('output', '')}".strip()
    return f"READY {where}, {host.plan.rate} Hz, block {host.plan.block}"


def play(reading: Reading, options: argparse.Namespace) -> dict[str, Any]:
    """Read aloud; returns a report. Ctrl-C fades out."""
    from engines.speech.source import Queue, source_of
    from rtaudio import cli
    from rtaudio.errors import UserError
    from rtaudio.graph import MAIN, Graph, Node
    from rtaudio.host import Host, burst_of
    from rtaudio.live import open_output
    from rtaudio.null import can_pace
    from rtaudio.plan import Plan

    if not can_pace():
        raise UserError("to play needs Linux (clock_nanosleep): write a file with -o")
    stopping: list[int] = []
    with ExitStack() as stack:
        queue = Queue()
        stack.callback(queue.close)
        device, outputs = open_output(options.api, options.device, 1)
        rate, block = device.rate or 48_000, options.block or device.period or 128
        queue.open(rate)
        queue.add(reading)
        graph = Graph([Node("say", source_of(queue))], [f"say -> out.{MAIN}"])
        with cli.compiling():
            plan = Plan(graph, rate, block, 1, lane=0, burst=burst_of(device.period, block))
        stack.callback(plan.close)
        stack.enter_context(
            cli.on_signals(lambda number, frame: stopping.append(number), signal.SIGINT, *cli.ENDING)
        )
        show = stack.enter_context(_progress(reading))
        queue.wait_ready()
        host = stack.enter_context(Host(plan, device, inputs=[], outputs=outputs))
        host.start()
        cli.say(_ready(host))
        while not (queue.played or stopping) and host.running:
            host.poll()
            show()
            time.sleep(LOOK)
        if stopping:
            queue.cancel()
        # What was heard last is on its way through the device.
        until = time.monotonic() + LOOK + host.statistics()["latency"]["total"] / rate
        while time.monotonic() < until and host.running:
            host.poll()
            time.sleep(LOOK)
        played, underflows = queue.taken / rate, queue.underflows
    if stopping:
        cli.leave(stopping[0], None)
    if not reading.spoken:
        raise UserError(f"nothing could be spoken: {reading.problems[0]}")
    cli.say(_said(reading))
    if underflows:
        cli.say(
            f"warning: the voice was too slow {underflows} times: take a faster one, see 'rtaudio voices'"
        )
    for problem in host.problems:
        cli.say(f"warning: {problem}")
    return {**reading.report(), "played_seconds": round(played, 3), "underflows": underflows}
