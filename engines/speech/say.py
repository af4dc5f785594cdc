"""The command ``rtaudio say``: a text is read aloud, or into a file."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.speech.reading import Reading

FACTORS = 0.25, 4.0
"""Lowest and highest ``--rate-factor``."""
LONG = 1000
"""Codepoints from which on the progress is shown."""


def command(commands: Any) -> None:
    """Add ``say`` to the command line."""
    from engines.speech import LANGUAGES
    from rtaudio.cli import file_path, whole

    parser = commands.add_parser(
        "say",
        help="read a text aloud, or into a file",
        description="Read a text aloud, or into a file: plain text, or SSML with pauses and prosody. Without "
        "TEXT and --file, standard input is read. What cannot be spoken, a sentence or a character, is left "
        "out and named; the exit status is then 1.",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT")
    parser.add_argument("--file", type=file_path, metavar="F", help="read this file of UTF-8 text")
    parser.add_argument(
        "--voice",
        default="",
        metavar="V",
        help="see 'rtaudio voices'; or a Piper voice's folder or NAME.onnx (default: kathleen for English if "
        "ONNX Runtime is installed, else espeak-ng's)",
    )
    parser.add_argument(
        "--lang",
        choices=("auto", *LANGUAGES),
        default="auto",
        help="of the text (default: bn if most letters or the grammar say so, else the voice's, else en)",
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
    parser.add_argument(
        "--serve",
        action="store_true",
        help="speak nothing, but stay with the voice loaded: later calls that play speak through this one",
    )
    parser.add_argument(
        "--phones",
        action="store_true",
        help="speak nothing, but show the words in IPA: as the network for Bangla and espeak-ng say them",
    )
    parser.add_argument("--json", metavar="F", help="write a report as JSON ('-' for stdout): times of words")
    parser.add_argument(
        "--progress",
        action="store_true",
        help="with -o: tell a program, on stdout, how far it is, in JSON lines: letters 'done', of 'total'",
    )
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
    from engines.speech.resident import ask, connect
    from engines.speech.voices import anywhere
    from rtaudio import cli
    from rtaudio.errors import UserError

    if options.output is None and options.subtype is not None:
        raise UserError("--subtype is for files: give -o FILE too")
    if options.output is not None and (options.device is not None or options.block is not None):
        raise UserError("-o writes a file and does not play: leave --device and --block out")
    if options.progress and (options.output is None or options.json == "-"):
        raise UserError("--progress is for -o, and writes to stdout: give -o FILE, and --json a file")
    if options.phones and (options.output is not None or options.serve):
        raise UserError("--phones speaks nothing: leave -o and --serve out")
    if options.phones and (options.voice or options.speaker):
        raise UserError("--phones shows what the network and espeak-ng say: leave --voice and --speaker out")
    if options.serve:
        if options.text is not None or options.file is not None or options.output is not None:
            raise UserError("--serve speaks what later calls say: leave TEXT, --file and -o out")
        return serve(options)
    written = [path for path in (options.file, options.output) if path is not None]
    cli.check_report(options.json, written)
    began = time.perf_counter()
    text = _text(options)
    if options.phones:
        from engines.speech.phones import show

        return show(text, _language(text, options), options.json)
    note = ""
    resident = connect() if options.output is None and _plays_anywhere(options) else None
    if resident is not None:
        said = {"text": text, "voice": anywhere(options.voice), "lang": options.lang}
        report = ask(resident, {**said, "speaker": options.speaker, "factor": options.rate_factor})
    else:
        work = partial(_reading, text, options, began)
        report, note = play(work, options) if options.output is None else write(work(), options)
    if note:
        cli.say(f"note: {cli.one_line(note)}")
    cli.say(cli.one_line(_said(report)))
    for each in report["notes"]:
        cli.say(f"note: {cli.one_line(each)}")
    for problem in report["left_out"]:
        cli.say(f"warning: {cli.one_line(problem)}")
    if report.get("underflows"):
        cli.say(f"warning: {report['underflows']} gaps, since the voice was too slow: see 'rtaudio voices'")
    cli.write_report(options.json, report)
    return int(bool(report["left_out"] or report.get("underflows")))


def _reading(text: str, options: argparse.Namespace, began: float) -> Reading:
    """The text, ready to be read by a voice of its own; `UserError` if it cannot be."""
    from engines.speech.reading import Reading
    from engines.speech.voice import find_speaker
    from engines.speech.voices import open_voice

    voice = open_voice(options.voice, _language(text, options))
    try:
        language = "" if options.lang == "auto" else options.lang
        speaker = find_speaker(voice, options.speaker)
        return Reading(text, voice, language, speaker, 1.0 / options.rate_factor, began)
    except BaseException:
        voice.close()
        raise


def _language(text: str, options: argparse.Namespace) -> str:
    """The language that chooses a voice where none is given."""
    from engines.speech.text import language_of

    return language_of(text) if options.lang == "auto" else str(options.lang)


def _plays_anywhere(options: argparse.Namespace) -> bool:
    """Whether nothing says through what to play: then it may be the resident player."""
    return options.api == "auto" and options.device is None and options.block is None


def _text(options: argparse.Namespace) -> str:
    """The text to speak, of the argument, a file or standard input."""
    from engines.speech.written import LONGEST, check_length, decode
    from rtaudio.errors import FileError, UserError

    if options.text is not None and options.file is not None:
        raise UserError("TEXT and --file are both given: leave one out")
    if options.text is not None and options.text != "-":
        return str(options.text)
    name = options.file or "standard input"
    try:
        if options.file is not None:
            with options.file.open("rb") as file:
                content: bytes = file.read(LONGEST + 1)
        elif sys.stdin is None or sys.stdin.isatty():
            raise UserError("there is no text: give TEXT or --file, or pipe it to standard input")
        else:
            content = sys.stdin.buffer.read(LONGEST + 1)
    except OSError as error:
        raise FileError(f"cannot read {name}: {error.strerror}") from None
    check_length(len(content), str(name))
    return decode(content, str(name))


@contextmanager
def _progress(reading: Reading) -> Iterator[Callable[[], None]]:
    """A bar for long texts on a terminal; what is given is called now and then."""
    from rtaudio.cli import on_terminal

    if len(reading.text) < LONG or not on_terminal():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, emoji=False, markup=False, highlight=False)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(reading.voice.name, total=len(reading.text))
        yield lambda: bar.update(task, completed=reading.done)


def _teller(reading: Reading) -> Callable[[], None]:
    """Tells a program how far it is, if that is long enough after the last time."""
    from rtaudio.cli import STEP

    told = -math.inf

    def tell() -> None:
        nonlocal told
        if time.monotonic() - told >= STEP:
            told = time.monotonic()
            print(json.dumps({"done": reading.done, "total": len(reading.text)}), flush=True)  # noqa: T201

    return tell


def _said(report: dict[str, Any]) -> str:
    """The line that tells what was done."""
    count = report["sentences"]
    facts = [f"{report['seconds']:.2f} s", f"{count} sentence{'s' * (count != 1)}", report["voice"]]
    if report["first_sound_ms"] is not None:
        facts += [f"first sound after {report['first_sound_ms']:.0f} ms"]
        facts += [f"{report['cpu_per_second']:.3f} CPU s per s of sound"]
    facts += filter(None, [report.get("note")])
    text = ", ".join(facts)
    return f"{report['output']}  ({text})" if "output" in report else text


def write(reading: Reading, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Read into a file, which is written whole or not at all; returns a report, and the voice's note."""
    from rtaudio import cli
    from rtaudio.errors import UserError
    from rtaudio.files import AudioWriter
    from rtaudio.render import make_folder

    with ExitStack() as stack:
        stack.callback(reading.voice.close)
        stack.enter_context(cli.on_signals(cli.leave, signal.SIGINT, *cli.ENDING))
        if not options.output.parent.exists():
            make_folder(options.output.parent)
            cli.say(f"note: made the folder {cli.one_line(str(options.output.parent))}")
        writer = stack.enter_context(
            AudioWriter(options.output, reading.voice.rate, 1, subtype=options.subtype)
        )
        show = _teller(reading) if options.progress else stack.enter_context(_progress(reading))
        for samples in reading:
            writer.write(samples[None])
            show()
        if not reading.spoken:
            raise UserError(f"nothing could be spoken: {reading.problems[-1]}")
    return {**reading.report(), "output": str(options.output), "note": writer.note}, reading.voice.note


def play(work: Callable[[], Reading], options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Read aloud; returns a report, and the voice's note. Ctrl-C fades out.

    The voice is opened, by ``work``, while what plays is imported and made ready.
    """
    from rtaudio import cli
    from rtaudio.errors import UserError

    stopping: list[int] = []
    with ExitStack() as stack:
        opening = stack.enter_context(ThreadPoolExecutor(1)).submit(work)

        def close() -> None:
            if opening.exception() is None:
                opening.result().voice.close()

        stack.callback(close)
        from engines.speech.player import Player

        try:
            player = stack.enter_context(Player(options.api, options.device, options.block, opening.result))
        except UserError:
            opening.result()  # What is wrong with the voice or the text is told first.
            raise
        reading = opening.result()
        stack.enter_context(
            cli.on_signals(lambda number, frame: stopping.append(number), signal.SIGINT, *cli.ENDING)
        )
        show = stack.enter_context(_progress(reading))
        cli.say(player.described)
        while not (player.queue.played or stopping) and player.watch():
            show()
        if stopping:
            player.queue.cancel()
        player.drain()
        underflows, problems = player.queue.underflows, player.host.problems
    if stopping:
        cli.leave(stopping[0], None)
    if not reading.spoken:
        raise UserError(f"nothing could be spoken: {reading.problems[-1]}")
    for problem in problems:
        cli.say(f"warning: {problem}")
    return {**reading.report(), "underflows": underflows}, reading.voice.note


def serve(options: argparse.Namespace) -> int:
    """``rtaudio say --serve``: stay, and let later calls speak at once."""
    from engines.speech.player import Player
    from engines.speech.resident import Resident
    from rtaudio import cli

    stopping: list[int] = []
    with ExitStack() as stack:
        stack.enter_context(
            cli.on_signals(lambda number, frame: stopping.append(number), signal.SIGINT, *cli.ENDING)
        )
        player = stack.enter_context(Player(options.api, options.device, options.block))
        resident = Resident(player)
        stack.callback(resident.close)
        voice = resident.load(options.voice, _language("", options))
        if voice.note:
            cli.say(f"note: {cli.one_line(voice.note)}")
        cli.say(f"{player.described}, {voice.name}: 'rtaudio say' speaks through this; Ctrl-C ends it")
        while not stopping and player.watch():
            resident.turn()
        player.queue.cancel()
        player.drain()
    if stopping:
        cli.leave(stopping[0], None)
    return 1
