"""``python -m export``: the workshop's commands."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rtaudio.cli import Parser, one_line, say
from rtaudio.errors import UserError

COMMANDS = {
    "data": ("export.data", "make and inspect sets of recordings"),
    "train": ("export.training", "train a network"),
    "align": ("export.alignment", "find which frames each phoneme has"),
    "fusion": ("export.models.fusion", "export the separator's learned fusion"),
    "onnx": ("export.networks", "export a trained network"),
    "voice": ("export.voices", "export a trained voice"),
    "listen": ("export.listen", "make a listening test, and evaluate it"),
    "songs": ("export.songs", "render material to train separators on"),
}
"""Modules and what they are for. A module is imported when its command is asked for: some take seconds."""
EVALUATE = {
    "enhancement": ("export.enhancement", "score enhanced speech"),
    "separation": ("export.separation", "score separated songs"),
    "distances": ("export.distances", "distances between two sets of recordings"),
    "pronunciation": ("export.pronunciation", "score how Bangla words are said"),
    "voice": ("export.voice_scores", "score how a voice says what recordings say"),
}


def add(commands: Any, known: Mapping[str, tuple[str, str]], asked: str | None) -> None:
    """Add commands to a command line: the one that is asked for whole, of the others the names."""
    for name, (module, help_) in known.items():
        if name == asked:
            importlib.import_module(module).command(commands)
        else:
            commands.add_parser(name, help=help_)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns
    -------
    0 when it is done, 2 after a mistake, which is said in one line, 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = Parser(prog="python -m export", description="Training and evaluation of this project's engines.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    evaluate = commands.add_parser("evaluate", help="score engines", description="Score engines.")
    scores = evaluate.add_subparsers(title="scores", metavar="WHAT", required=True)
    try:
        asked = [*arguments, None, None]
        add(commands, COMMANDS, asked[0])
        add(scores, EVALUATE, asked[1] if asked[0] == "evaluate" else None)
        options = parser.parse_args(arguments)
        status: int = options.run(options)
        sys.stdout.flush()
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        say(f"{parser.prog}: {one_line(str(error))}")
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("export", "engines", "rtaudio"):
            raise
        say(f"{parser.prog}: {error.name} is not installed: pip install 'rtaudio[train,cpu]'")
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # during the imports
        sys.exit(130)
