"""What the README shows works as it stands there."""

import re
import shlex
from pathlib import Path

import numpy as np

from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.graph import Graph, Node
from rtaudio.plan import Plan
from rtaudio.rack import graph_of, parse_rack

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(language):
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_processor_runs(tmp_path, monkeypatch):
    (tmp_path / "ring_of_the_readme.py").write_text(fenced("python"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from ring_of_the_readme import Ring

    plan = Plan(
        Graph([Node("ring", Ring, {"frequency": 1000.0})], ["in -> ring", "ring -> out"]), 48_000, 64, 2
    )
    blocks = [plan.process(np.ones((2, 64), np.float32))["main"].copy() for _ in range(5)]
    expected = np.sin(2 * np.pi * 1000 * np.arange(320) / 48_000)
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), [expected, expected], atol=1e-6)


def test_the_rack_file_is_valid():
    assert graph_of(parse_rack(fenced("toml"))).output_names() == ["main", "drums"]


def test_the_commands_are_known(capsys):
    lines = [line.strip().split("   ")[0] for line in README.splitlines() if line.startswith("    rtaudio ")]
    assert len(lines) >= 7
    for line in lines:
        words = shlex.split(line)
        if "--chain" in words:
            load_chain(words[words.index("--chain") + 1])
        if words[1] == "engines":
            assert main(words[1:]) == 0
    assert "percussive_gain" in capsys.readouterr().out
