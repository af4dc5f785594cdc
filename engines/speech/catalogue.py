"""The command ``rtaudio voices``: which voices there are, and how one is added or removed."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any


def command(commands: Any) -> None:
    """Add ``voices`` to the command line."""
    from rtaudio.cli import file_path

    parser = commands.add_parser(
        "voices",
        help="list the voices of 'say', add or remove one",
        description="List the voices of 'rtaudio say'; 'voices add FOLDER' adds one of Piper's kind, 'voices "
        "remove NAME' removes it.",
    )
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run_list)
    more = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=type(parser))
    adding = more.add_parser(
        "add",
        help="add a voice",
        description="Try a voice, and copy it to this user's data folder: NAME.onnx with NAME.onnx.json, or "
        "text.onnx and dec.onnx, or acoustic.onnx and vocoder.onnx, with one.",
    )
    adding.add_argument("path", type=file_path, metavar="FOLDER", help="of the voice, or its NAME.onnx")
    adding.add_argument("--name", default="", metavar="N", help="what to call it (default: as its file)")
    adding.set_defaults(run=run_add)
    removing = more.add_parser(
        "remove",
        help="remove a voice",
        description="Remove a voice that was added, with its files in this user's data folder.",
    )
    removing.add_argument("name", metavar="NAME", help="as 'rtaudio voices' lists it")
    removing.set_defaults(run=run_remove)


def run_list(options: argparse.Namespace) -> int:
    """``rtaudio voices``."""
    from engines.speech.voices import known_voices

    voices = known_voices()
    if options.json:
        sys.stdout.write(json.dumps([asdict(voice) for voice in voices], indent=2) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in ("voice", "language", "rate", "speakers", "size", "CPU s per s", "licence"):
        table.add_column(head, overflow="fold")
    for voice in voices:
        size = "" if voice.bytes is None else f"{voice.bytes / 1e6:.1f} MB"
        speed = "" if voice.speed is None else f"{voice.speed:.3f}"
        cells = [voice.language, f"{voice.rate} Hz", str(voice.speakers), size, speed, voice.licence]
        table.add_row(voice.name, *(["", "", "", "", "", voice.trouble] if voice.trouble else cells))
    Console(markup=False, highlight=False, emoji=False).print(table)
    return 0


def run_add(options: argparse.Namespace) -> int:
    """``rtaudio voices add FOLDER``."""
    from engines.speech.voices import add_voice
    from rtaudio.cli import one_line, say

    voice = add_voice(options.path, options.name)
    several = f", {voice.speakers} speakers" * (voice.speakers > 1)
    say(f"added {voice.name}: {voice.language}, {voice.rate} Hz{several}, {voice.speed:.3f} CPU s per s")
    if voice.note:
        say(f"note: {one_line(voice.note)}")
    return 0


def run_remove(options: argparse.Namespace) -> int:
    """``rtaudio voices remove NAME``."""
    from engines.speech.voices import remove_voice
    from rtaudio.cli import one_line, say

    say(f"removed {options.name}: {one_line(str(remove_voice(options.name)))}")
    return 0
