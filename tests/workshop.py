"""What the tests of the workshop's commands share."""

import csv
import os
import subprocess
import sys

from export.__main__ import main

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
HELP = """
import sys
from export.__main__ import main
try:
    main(sys.argv[2:])
except SystemExit as left:
    assert left.code == 0
sys.exit(" ".join(set(sys.argv[1].split()) & set(sys.modules)) or 0)
"""


def status_of(*arguments):
    """The status that a command ends with, also where its arguments are refused."""
    try:
        return main(list(arguments))
    except SystemExit as left:
        return left.code


def help_without(modules, *command):
    """The help of a command, which imports none of some modules."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, modules, *command, "--help"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def table_of(path):
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def select(rows, **which):
    """Those of some values."""
    return [row for row in rows if all(row[key] == value for key, value in which.items())]
