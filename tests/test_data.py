"""What ``data inspect``, ``data mix`` and ``data render`` do, and what they leave when they are stopped."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from layouts import RATE, ROOM, dns, ljspeech, put, reverb, white
from workshop import ENVIRONMENT, table_of

from export.__main__ import main
from export.data import inspect, making, measure
from export.mel import logmel
from export.sets import find_clips, find_pairs, find_rooms, licence
from rtaudio.errors import FileError, UserError

DEADLINE = 120.0


def read(path):
    return sf.read(path, always_2d=True)[0]


def tree(folder):
    """The bytes of everything in a folder, hidden files too, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def data(*arguments):
    return main(["data", *map(str, arguments)])


def refusal(capsys, *arguments):
    """The one line that a command is refused with."""
    capsys.readouterr()
    assert data(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


# ------------------------------------------------------------------------------------------ inspect


def test_levels_rates_and_minutes_are_those_of_the_files(tmp_path):
    t = np.arange(10 * RATE) / RATE
    sine = np.sin(2 * np.pi * 440 * t)
    put(tmp_path / "anna" / "1.wav", 0.1 * sine)
    put(tmp_path / "anna" / "2.wav", 0.01 * np.column_stack([sine, sine]))
    put(tmp_path / "bert" / "1.wav", np.concatenate([0.1 * sine[: 5 * 48_000], np.zeros(5 * 48_000)]), 48_000)
    (tmp_path / "LICENSE").write_text("CC0 1.0")
    (row,) = inspect(tmp_path)
    assert (row["layout"], row["clips"], row["speakers"], row["licence"]) == ("plain", 3, 2, "CC0 1.0")
    assert row["minutes"] == pytest.approx((10 + 10 + (10 * RATE + 5 * 48_000) / 48_000) / 60, abs=0.01)
    assert row["rates"] == {"16000": 2, "48000": 1}
    assert row["channels"] == {"1": 2, "2": 1}
    assert row["level"][1] == pytest.approx(20 * np.log10(0.01 / np.sqrt(2)), abs=0.06)
    assert row["level"][2] == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.06)
    assert row["active"][2] == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.3)  # the pause left out
    assert row["problems"] == [
        "rates in Hz differ: 16000 (2 files), 48000 (1 files)",
        "numbers of channels differ: 1 (2 files), 2 (1 files)",
    ]


def test_every_problem_is_told(tmp_path, capsys):
    folder = tmp_path / "lj"
    ljspeech(folder)
    with (folder / "metadata.csv").open("a") as file:
        file.write(
            "".join(f"{name}|text\n" for name in ("gone", "bad", "zero", "silent", "nan", "clip", "short"))
        )
    (folder / "wavs" / "bad.wav").write_text("this is no audio")
    (folder / "wavs" / "zero.wav").write_bytes(b"")
    x = white(8_000)
    put(folder / "wavs" / "silent.wav", 0 * x)
    put(folder / "wavs" / "nan.wav", np.where(np.arange(8_000) == 77, np.nan, x), subtype="FLOAT")
    put(folder / "wavs" / "clip.wav", np.clip(40 * x, -1, 1))
    put(folder / "wavs" / "short.wav", x[:1_600])
    (row,) = inspect(folder)
    told = "\n".join(row["problems"])
    for problem in (
        "line 5: no audio 'gone' in wavs/",
        "bad.wav: not audio",
        "zero.wav: it is empty",
        "silent.wav: silent",
        "nan.wav: 1 samples are not finite",
        "clip.wav: clipped (",
        "short.wav: too short: 0.100 s",
        "audio 'unused' has no line in metadata.csv",
    ):
        assert told.count(problem) == 1, told
    assert len(row["problems"]) == 8
    assert data("inspect", folder, "--json", tmp_path / "report.json") == 1
    out = capsys.readouterr().out
    assert "LJSpeech" in out
    assert "nan.wav: 1 samples are not finite" in out
    assert json.loads((tmp_path / "report.json").read_text()) == [row]


@pytest.mark.parametrize(("run", "told"), [(2, []), (3, ["clipped (1 times three samples in a row)"])])
def test_three_samples_at_full_scale_are_clipping(tmp_path, run, told):
    x = white(8_000)
    for at in (100, 200, 300):
        x[at : at + 2] = 1.0, -1.0
    x[400 : 400 + run] = 1.0
    assert measure(put(tmp_path / "x.wav", x), "any").problems == told


def test_pairs_are_compared(tmp_path, capsys):
    dns(tmp_path)
    assert data("inspect", tmp_path) == 0
    by_kind = {row["what"]: row for row in inspect(tmp_path)}
    assert by_kind["noisy"]["snr"] == [-5, 15]
    assert (by_kind["clean"]["speakers"], by_kind["noise"]["clips"]) == (2, 2)
    put(tmp_path / "clean" / "clean_fileid_0.wav", white(4_001))
    put(tmp_path / "clean" / "clean_fileid_2.wav")
    assert data("inspect", tmp_path) == 1
    out = capsys.readouterr().out
    assert "fileid_0.wav has 16000 Hz, 1 channels, 4000 samples, but " in out
    assert "clean_fileid_2.wav has no partner 'fileid_2' in " in out


def test_rooms_are_not_judged_as_speech(tmp_path):
    reverb(tmp_path)
    put(tmp_path / ROOM / "RIR" / "IR.v01.wav", np.eye(1, 100)[0])
    by_kind = {row["what"]: row for row in inspect(tmp_path)}
    assert by_kind["rooms"]["problems"] == []
    assert by_kind["rooms"]["active"] is None


def test_more_problems_than_are_shown(tmp_path, capsys):
    for number in range(12):
        put(tmp_path / f"{number}.wav", np.zeros(8_000))
    assert data("inspect", tmp_path) == 1
    out = capsys.readouterr().out
    assert out.count(": silent") == 10
    assert "2 problems more" in out


# ------------------------------------------------------------------------------------------ making


def test_a_journal_that_was_cut_short(tmp_path):
    files = {name: [tmp_path / f"{name}.txt"] for name in "abc"}
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
    folder = tmp_path / "set"

    def interrupted():
        with making(folder, {"seed": 1}, "t.csv", files) as (rows, keep):
            assert rows == {}
            keep({"name": "b", "x": 1.5})
            keep({"name": "a", "y": 'z, "q"'})
            keep({"name": "c", "x": 2.5})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(tree(folder)) == ["set.json", "unfinished.jsonl"]
    journal = folder / "unfinished.jsonl"
    journal.write_bytes(journal.read_bytes()[:-8])
    left = folder / "clean" / ".x.wav.0123abcd.part"
    left.parent.mkdir()
    left.write_text("half")
    with journal.open("ab") as file:
        file.write(b'\n{"name": "../../etc/passwd"}\n3\n')
    with making(folder, {"seed": 1}, "t.csv", files) as (rows, keep):
        assert sorted(rows) == ["a", "b"]
        assert not left.exists()
        keep({"name": "c", "x": 2.5})
    assert table_of(folder / "t.csv") == [
        {"name": "a", "y": 'z, "q"', "x": ""},
        {"name": "b", "y": "", "x": "1.5"},
        {"name": "c", "y": "", "x": "2.5"},
    ]
    done = tree(folder)
    assert sorted(done) == ["set.json", "t.csv"]
    (tmp_path / "b.txt").unlink()
    with making(folder, {"seed": 1}, "t.csv", files) as (rows, keep):
        assert sorted(rows) == ["a", "c"]
        keep({"name": "b", "x": 1.5})
    assert tree(folder) == done


def test_a_folder_with_something_else(tmp_path):
    (tmp_path / "photo.jpg").write_text("")
    with (
        pytest.raises(UserError, match=r"is not empty and has no set.json"),
        making(tmp_path, {}, "t.csv", {}),
    ):
        pass
    for content in ("{", "[]", "3"):
        (tmp_path / "set.json").write_text(content)
        with pytest.raises(FileError, match="is damaged"), making(tmp_path, {}, "t.csv", {}):
            pass
    assert sorted(tree(tmp_path)) == ["photo.jpg", "set.json"]


# ------------------------------------------------------------------------------------------ mix


@pytest.fixture
def sources(tmp_path):
    """Speech of four speakers, two files each, of equal names; and noise."""
    for number, name in enumerate(("anna", "bert", "carl", "dora")):
        for clip in range(2):
            put(tmp_path / "speech" / name / f"{clip}.wav", white(48_000 + 800 * clip, 2 * number + clip))
    for number in range(2):
        put(tmp_path / "noise" / f"n{number}.wav", white(40_000, 50 + number, 0.2), 8_000)
    (tmp_path / "noise" / "LICENSE").write_text("CC0 1.0\n")
    return "--clean", tmp_path / "speech", "--noise", tmp_path / "noise"


def test_mixed_pairs_have_the_snr_asked_for(tmp_path, sources):
    out = tmp_path / "out"
    assert data("mix", *sources, "-o", out, "--all", "--snr", "-3", "12", "--keep-noise") == 0
    rows = table_of(out / "pairs.csv")
    lengths = []
    for row in rows:
        clean, noisy, noise = (
            read(out / kind / f"{row['name']}.wav") for kind in ("clean", "noisy", "noise")
        )
        assert clean.shape == noisy.shape == noise.shape
        np.testing.assert_allclose(noisy - clean, noise, atol=2**-22)
        measured = 10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2))
        assert measured == pytest.approx(float(row["snr"]), abs=0.06)
        speaker = tmp_path / "speech" / row["speaker"] / row["clean"]
        np.testing.assert_allclose(clean, read(speaker), atol=2**-22)
        lengths.append(len(clean))
    assert {row["snr"] for row in rows} == {"-3.0", "12.0"}
    assert sorted((row["speaker"], row["clean"]) for row in rows) == [
        (name, f"{clip}.wav") for name in ("anna", "bert", "carl", "dora") for clip in range(2)
    ]
    assert sorted(lengths) == [48_000] * 4 + [48_800] * 4


def test_a_mixed_set_is_a_set(tmp_path, sources):
    out = tmp_path / "out"
    assert data("mix", *sources, "-o", out, "--count", 5) == 0
    assert len(find_pairs(out)) == 5
    assert [clip.speaker for clip in find_clips([out])] == [
        row["speaker"] for row in table_of(out / "pairs.csv")
    ]
    told = json.loads((out / "set.json").read_text())
    assert told["seed"] == 0
    assert told["recipe"]["snr"] == [15, 20, 25]
    assert [source["licence"] for source in told["licences"]] == ["not stated", "CC0 1.0"]
    assert told["sources"]["clean"].startswith("8 files, sha256 ")
    assert licence(out) == "not stated; CC0 1.0"
    assert str(tmp_path) not in (out / "set.json").read_text() + (out / "pairs.csv").read_text()


def test_the_speakers_held_out_are_on_the_other_side(tmp_path, sources):
    who = {}
    for side in ("train", "held-out"):
        arguments = ["--all", "--held-out", "0.5", "--side", side, "--seed", 3]
        assert data("mix", *sources, "-o", tmp_path / side, *arguments) == 0
        who[side] = {row["speaker"] for row in table_of(tmp_path / side / "pairs.csv")}
        speakers = json.loads((tmp_path / side / "set.json").read_text())["speakers"]
        assert set(speakers[side]) == who[side]
    assert not who["train"] & who["held-out"]
    assert len(who["train"]) == len(who["held-out"]) == 2
    assert data("mix", *sources, "-o", tmp_path / "named", "--all", "--held-out", "anna", "dora") == 0
    assert {row["speaker"] for row in table_of(tmp_path / "named" / "pairs.csv")} == {"bert", "carl"}


def test_a_set_depends_on_its_settings_and_nothing_else(tmp_path, sources, capsys):
    arguments = ["mix", *sources, "--count", 4]
    for name, more in (("a", ()), ("b", ()), ("c", ("--seed", 1))):
        assert data(*arguments, "-o", tmp_path / name, *more) == 0
    once = tree(tmp_path / "a")
    assert tree(tmp_path / "b") == once
    assert tree(tmp_path / "c")["noisy/000000.wav"] != once["noisy/000000.wav"]
    assert data(*arguments, "-o", tmp_path / "a") == 0
    assert tree(tmp_path / "a") == once
    (tmp_path / "a" / "noisy" / "000002.wav").unlink()
    assert data(*arguments, "-o", tmp_path / "a") == 0
    assert tree(tmp_path / "a") == once
    says = refusal(capsys, *arguments, "-o", tmp_path / "a", "--seed", 1)
    assert "has a set with another 'seed': choose another folder" in says
    put(tmp_path / "noise" / "more.wav")
    assert "another 'sources'" in refusal(capsys, *arguments, "-o", tmp_path / "a")
    assert tree(tmp_path / "a") == once


def test_what_passes_full_scale_is_made_quieter_as_a_whole(tmp_path, sources):
    put(tmp_path / "loud" / "1.wav", np.clip(white(48_000, 1, 0.3), -0.999, 0.999))
    out = tmp_path / "out"
    assert data("mix", "--clean", tmp_path / "loud", *sources[2:], "-o", out, "--all", "--snr", 0) == 0
    clean, noisy = (read(out / kind / "000000.wav") for kind in ("clean", "noisy"))
    assert np.max(np.abs(noisy)) == pytest.approx(0.99, abs=1e-5)
    assert 10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2)) == pytest.approx(0, abs=0.06)
    gain = float(table_of(out / "pairs.csv")[0]["gain"])
    np.testing.assert_allclose(clean, 10 ** (gain / 20) * read(tmp_path / "loud" / "1.wav"), atol=1e-4)


def test_a_recipe_and_measured_rooms(tmp_path, sources):
    reverb(tmp_path / "rooms")
    response = np.zeros(4_000)
    response[[10, 3_000]] = 1.0, 0.5
    (path,) = find_rooms([tmp_path / "rooms"])
    put(path, response)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[mix]\nsnr = [60.0]\nrate = 16000\n[train]\nsteps = 3\n")
    out = tmp_path / "out"
    arguments = ["--recipe", recipe, "--rooms", tmp_path / "rooms", "--count", 1, "-o", out]
    assert data("mix", *sources, *arguments) == 0
    (row,) = table_of(out / "pairs.csv")
    dry = read(tmp_path / "speech" / row["speaker"] / row["clean"])[:, 0]
    clean, noisy = (
        read(out / kind / "000000.wav")[:, 0] * 10 ** (-float(row["gain"]) / 20)
        for kind in ("clean", "noisy")
    )
    echo = np.pad(dry, (2_990, 0))[: len(dry)] * 0.5
    # SNR 60: what is in noisy besides the clean direct sound is the echo.
    level = np.sqrt(np.mean(dry**2))
    np.testing.assert_allclose(clean, dry, atol=1e-3 * level)
    np.testing.assert_allclose(noisy - clean, echo, atol=1e-2 * level)
    assert row["room"] == path.name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--count", "2", "--snr", "loud"], "'loud' is not a level in dB"),
        (["--count", "2", "--seed", "-1"], "'-1' is not a whole number"),
        (["--count", "0"], "'0' is not a whole number above 0"),
        ([], "one of the arguments --count --all is required"),
    ],
)
def test_arguments_that_are_refused(tmp_path, sources, capsys, arguments, says):
    with pytest.raises(SystemExit) as raised:
        data("mix", *sources, "-o", tmp_path / "out", *arguments)
    assert raised.value.code == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_mixing_bad_input(tmp_path, sources, capsys):
    clean, noise = tmp_path / "speech", tmp_path / "noise"
    out = tmp_path / "out"

    def says(*arguments, where=out, sources=sources):
        return refusal(capsys, "mix", *sources, "-o", where, "--all", *arguments)

    assert "no speaker 'Anna' to hold out, did you mean 'anna'?" in says("--held-out", "Anna")
    assert "nobody is held out" in says("--side", "held-out")
    assert "is inside of" in says(where=clean / "anna" / "out")
    assert "is inside of" in says(where=noise)
    dns(tmp_path / "dns")
    assert "dns has no room impulse responses" in says("--rooms", tmp_path / "dns")
    assert "no noise" in says(sources=("--clean", clean))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[mix]\nsrn = [3.0]\n")
    assert "unknown key 'srn', did you mean 'snr'?" in says("--recipe", recipe)
    recipe.write_text("[mix]\nsnr = 'loud'\n")
    assert "recipe.toml" in says("--recipe", recipe)
    recipe.write_text("mix = 3\n")
    assert "mix is a table" in says("--recipe", recipe)
    assert not out.exists()
    (tmp_path / "file").write_text("")
    assert "cannot make the folder" in says(where=tmp_path / "file" / "out")
    for number, (path, content) in enumerate(
        [
            (clean / "anna" / "0.wav", np.zeros(8_000)),
            (clean / "anna" / "0.wav", np.full(8_000, np.nan)),
            (clean / "anna" / "0.wav", None),
        ]
    ):
        if content is None:
            path.write_text("no audio")
        else:
            put(path, content, subtype="FLOAT")
        assert str(path) in says(where=tmp_path / f"bad{number}")


@pytest.fixture
def takes(tmp_path):
    """Files in folders: mono, stereo, of 16 bits, FLAC."""
    folder = tmp_path / "takes"
    put(folder / "a.wav", white(5_000, 1), subtype="FLOAT")
    put(folder / "sub" / "b.wav", white(10_000, 2).reshape(-1, 2))
    put(folder / "sub" / "c.d.flac", white(3_000, 3))
    put(folder / "e.wav", white(7_000, 4))
    return folder


@contextmanager
def unprivileged():
    """As somebody whom permissions bind."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_no_permission(capsys, monkeypatch):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        put(folder / "speech" / "a.wav")
        (folder / "out").mkdir(mode=0o555)
        (folder / "closed").mkdir(mode=0)
        with unprivileged():
            arguments = ["--clean", folder / "speech", "--noise", folder / "speech", "--all"]
            for out in (folder / "out", folder / "out" / "deeper"):
                assert "ermission denied" in refusal(capsys, "mix", *arguments, "-o", out)
            assert "ermission denied" in refusal(capsys, "inspect", folder / "closed")
        (folder / "closed").chmod(0o755)


KILL = """
import os, signal, sys
from rtaudio.files import AudioWriter
left, close = int(sys.argv[1]), AudioWriter.close

def close_or_die(writer):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    close(writer)

AudioWriter.close = close_or_die
from export.__main__ import main
sys.exit(main(sys.argv[2:]))
"""
"""A command that is killed in place of finishing its n-th file."""


def killed(after, *arguments):
    command = [sys.executable, "-c", KILL, str(after), "data", *map(str, arguments)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False, timeout=DEADLINE)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_a_killed_mix_goes_on(tmp_path, sources):
    arguments = ["mix", *sources, "--count", 4]
    out = tmp_path / "out"
    assert data(*arguments, "-o", tmp_path / "whole") == 0
    killed(6, *arguments, "-o", out)
    there = tree(out)
    assert "pairs.csv" not in there
    assert sum(name.endswith(".part") for name in there) == 1
    made = (out / "clean" / "000000.wav").stat().st_mtime_ns
    assert data(*arguments, "-o", out) == 0
    assert tree(out) == tree(tmp_path / "whole")
    assert (out / "clean" / "000000.wav").stat().st_mtime_ns == made


@pytest.mark.parametrize("command", ["mix", "render", "render in two processes"])
def test_ctrl_c_leaves_nothing_half_written(tmp_path, sources, takes, monkeypatch, capsys, command):
    from rtaudio.files import AudioWriter

    arguments = ["mix", *sources, "--count", 4]
    if command != "mix":
        arguments = ["render", takes, "--chain", "gain(gain=-3)", "--jobs", 1]
    more = ["--jobs", 2] if command.endswith("processes") else []
    assert data(*arguments, "-o", tmp_path / "whole") == 0
    whole, out = tree(tmp_path / "whole"), tmp_path / "out"
    left, close = 2, AudioWriter.close

    def close_or_stop(writer):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        close(writer)

    with monkeypatch.context() as patched:
        patched.setattr(AudioWriter, "close", close_or_stop)
        assert data(*arguments, "-o", out, *more) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
    there = tree(out)
    journal = there.pop("unfinished.jsonl")
    assert b'"name"' in journal
    assert 2 < len(there) < len(whole)
    assert {name: whole[name] for name in there} == there
    assert data(*arguments, "-o", out) == 0
    assert tree(out) == whole


# ------------------------------------------------------------------------------------------ render


NAMES = ["a", "e", "sub/b", "sub/c.d"]


def test_a_gain_is_rendered_exactly(tmp_path, takes):
    out = tmp_path / "out"
    assert data("render", takes, "--chain", "gain(gain=-20)", "-o", out, "--jobs", 1) == 0
    assert sorted(tree(out)) == sorted(
        [*(f"{side}/{name}.flac" for side in ("input", "output") for name in NAMES), "files.csv", "set.json"]
    )
    for name in NAMES:
        (source,) = takes.glob(f"{name}.*")
        x = np.round(read(source) * 2**23) / 2**23
        np.testing.assert_array_equal(read(out / "input" / f"{name}.flac"), x)
        # the gain is a float32, and 24 bits round by half a step
        np.testing.assert_allclose(
            read(out / "output" / f"{name}.flac"), 0.1 * read(source), atol=0.51 * 2**-23
        )


def test_a_chain_that_delays_comes_out_aligned(tmp_path, takes):
    out = tmp_path / "out"
    assert data("render", takes, "--chain", "gain(gain=-6) | limiter(ceiling=0)", "-o", out, "--jobs", 1) == 0
    rows = {row["name"]: row for row in table_of(out / "files.csv")}
    assert sorted(rows) == NAMES
    for name in NAMES:
        x, y = (read(out / side / f"{name}.flac") for side in ("input", "output"))
        assert int(rows[name]["latency"]) > 0
        assert int(rows[name]["samples"]) == len(x) == len(y)
        for before, after in zip(x.T, y.T, strict=True):
            correlation = np.correlate(after, before, "full")
            assert np.argmax(correlation) - (len(x) - 1) == 0
        np.testing.assert_allclose(y, 10 ** (-6 / 20) * x, atol=1e-6)


def test_every_output_has_its_folder(tmp_path, takes):
    rack = tmp_path / "rack.toml"
    rack.write_text(
        'version = 1\nedges = ["in -> a", "in -> out", "a -> out.quiet"]\n'
        '[nodes.a]\nengine = "gain"\ngain = -40\n'
    )
    out = tmp_path / "out"
    assert data("render", takes / "a.wav", "--chain", rack, "-o", out, "--format", "wav") == 0
    x = read(takes / "a.wav")
    assert sorted(tree(out)) == ["files.csv", "input/a.wav", "output/a.wav", "quiet/a.wav", "set.json"]
    np.testing.assert_array_equal(read(out / "input" / "a.wav"), x)
    np.testing.assert_array_equal(read(out / "output" / "a.wav"), x)
    np.testing.assert_allclose(read(out / "quiet" / "a.wav"), 0.01 * x, rtol=1e-6)
    told = json.loads((out / "set.json").read_text())
    assert told["outputs"] == ["output", "quiet"]
    assert told["engines"] == {"a": "gain 1"}
    assert str(tmp_path) not in (out / "set.json").read_text()


def test_features_are_of_what_was_written(tmp_path, takes):
    out = tmp_path / "out"
    sizes = ["--jobs", 1, "--features", "logmel", "--mels", 20, "--hop", 80, "--window", 400]
    assert data("render", takes, "--chain", "gain(gain=-6)", "-o", out, *sizes) == 0
    told = json.loads((out / "set.json").read_text())["features"]
    assert [told[key] for key in ("rate", "mels", "hop", "window")] == [RATE, 20, 80, 400]
    rows = {row["name"]: row for row in table_of(out / "files.csv")}
    for name in NAMES:
        for side in ("input", "output"):
            spectra = np.load(out / f"{side}.logmel" / f"{name}.npy", allow_pickle=False)
            x = read(out / side / f"{name}.flac").T
            assert spectra.dtype == np.float32
            assert spectra.shape == (len(x), x.shape[1] // 80, 20)
            np.testing.assert_allclose(spectra, logmel(x, RATE, 20, 80, 400), atol=1e-4)
            content = (out / side / f"{name}.flac").read_bytes()
            assert rows[name][f"sha256 of {side}"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("after", [2, 6])
def test_a_killed_render_goes_on(tmp_path, takes, after):
    chain = ["--chain", "limiter(ceiling=-20)", "--features", "logmel", "--mels", 20, "--jobs", 1]
    assert data("render", takes, *chain, "-o", tmp_path / "whole") == 0
    out = tmp_path / "out"
    killed(after, "render", takes, *chain, "-o", out)
    there = tree(out)
    assert "files.csv" not in there
    assert sum(name.endswith(".part") for name in there) == 1
    assert data("render", takes, *chain, "-o", out) == 0
    assert tree(out) == tree(tmp_path / "whole")


def test_processes_make_the_same_files(tmp_path, takes):
    for jobs in (1, 2):
        assert (
            data("render", takes, "--chain", "gain(gain=-3)", "-o", tmp_path / f"{jobs}", "--jobs", jobs) == 0
        )
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


def test_rendering_bad_input(tmp_path, takes, capsys):
    out = tmp_path / "out"

    def says(*arguments, where=out, chain="gain"):
        return refusal(capsys, "render", takes, "--chain", chain, "-o", where, *arguments)

    assert "did you mean 'gain'?" in says(chain="gian")
    assert "is inside of" in says(where=takes / "out")
    many = ["--features", "logmel"]
    assert "99 mel bands are too many for windows of 256 samples" in says(
        *many, "--mels", 99, "--window", 256
    )
    assert "--hop 300 is longer than --window 200" in says(*many, "--hop", 300, "--window", 200)
    rack = tmp_path / "rack.toml"
    rack.write_text('version = 1\nedges = ["in -> out", "in -> out.input"]\n')
    assert "called input or output" in says(chain=rack)
    put(takes / "f.wav", rate=48_000)
    assert "features need one rate, but the files have 16000 Hz (4 files), 48000 Hz (1 files)" in says(*many)
    put(takes / "e.flac")
    assert "would both be written to" in says()
    (takes / "e.flac").write_bytes(b"")
    assert "e.flac: it is empty" in says()
    (takes / "e.flac").write_text("no audio")
    assert "e.flac: not audio" in says()
    assert not out.exists()


def test_a_damaged_file_leaves_the_others_done(tmp_path, takes, capsys):
    whole = (takes / "sub" / "c.d.flac").read_bytes()
    (takes / "sub" / "c.d.flac").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    arguments = ["render", takes, "--chain", "gain", "-o", out, "--jobs", 1]
    capsys.readouterr()
    assert data(*arguments) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert "c.d.flac: truncated or damaged" in err[0]
    assert "1 of 4 files failed" in err[1]
    there = tree(out)
    assert "files.csv" not in there
    assert "output/sub/b.flac" in there
    assert not any("c.d" in name for name in there)


def test_what_is_clipped_is_told(tmp_path, capsys):
    put(tmp_path / "in" / "a.wav", 0.5 * np.ones(100))
    arguments = ["render", tmp_path / "in", "--chain", "gain(gain=12)"]
    assert data(*arguments, "-o", tmp_path / "flac") == 0
    assert "100 samples were clipped: lower the gain, or use --format wav" in capsys.readouterr().err
    assert data(*arguments, "-o", tmp_path / "wav", "--format", "wav") == 0
    assert "samples were clipped" not in capsys.readouterr().err
    assert read(tmp_path / "wav" / "output" / "a.wav").max() == pytest.approx(0.5 * 10 ** (12 / 20), rel=1e-6)
