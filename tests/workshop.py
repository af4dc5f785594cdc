"""What the tests of the workshop's commands share."""

import csv
import json
import os
import subprocess
import sys

import tiny_speech

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


def config(folder, task="enhancer", text="", **tables):
    """A configuration of a small enhancer on material made here."""
    tiny_speech.write_speech(folder / "speech")
    tiny_speech.write_noise(folder / "noise")
    whole = {
        "model": {"width": 0.0625, "residual": True},
        "optimiser": {"generator": 1e-3, "critic": 5e-4},
        "data": {
            "clean": [str(folder / "speech")],
            "noise": [str(folder / "noise")],
            "held_out": 0.2,
            "windows": 2,
            "validation": 2,
        },
        "training": {"batch": 4, "steps": 8, "rise": 2, "validate": 4, "checkpoint": 0.001},
    }
    for name, table in tables.items():
        whole[name] = {**whole.get(name, {}), **table}
    lines = [f'task = "{task}"', text]
    for name, table in whole.items():
        kept = {key: value for key, value in table.items() if value is not None}
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in kept.items())]
    path = folder / "small.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
