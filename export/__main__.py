"""``python -m export``: the workshop's commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rtaudio.cli import Parser, one_line, say
from rtaudio.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns
    -------
    0 when it is done, 2 after a mistake, which is said in one line, 130 after Ctrl-C.
    """
    from export import separation, songs

    arguments = sys.argv[1:] if arguments is None else arguments
    parser = Parser(prog="python -m export", description="Training and evaluation of this project's engines.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    evaluate = commands.add_parser("evaluate", help="score engines", description="Score engines.")
    separation.command(evaluate.add_subparsers(title="engines", metavar="ENGINE", required=True))
    songs.command(commands)
    try:
        if arguments[:1] == ["train-fusion"]:  # imports torch
            from export.models import fusion

            fusion.command(commands)
        else:
            commands.add_parser("train-fusion", help="train the separator's learned fusion")
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
        if error.name not in ("torch", "safetensors"):
            raise
        say(f"{parser.prog}: {error.name} is not installed: pip install 'rtaudio[train]'")
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
