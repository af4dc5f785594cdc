"""Offline rendering of one file and of many."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
import tracemalloc
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile as sf
from scipy import signal as dsp

from engines.gain import Gain
from rtaudio import cli as cli_module
from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.files import AudioWriter
from rtaudio.graph import Graph, Node
from rtaudio.kernel import channel, kernel, position
from rtaudio.native import i64_vector
from rtaudio.processor import Processor
from rtaudio.render import BLOCK, Job, check_targets, render, render_many

RATE = 48_000
DEADLINE = 60.0
"""Seconds after which a process that should have ended is taken to hang."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def sound(samples, channels=2, seed=0, cutoff=0.3):
    """Low-passed noise below full scale, (samples, channels) float32."""
    white = np.random.default_rng(seed).standard_normal((samples + 400, channels))
    taps = dsp.firwin(401, cutoff, window=("kaiser", 12))
    filtered = dsp.oaconvolve(white, taps[:, None], axes=0)[400 : 400 + samples]
    return (0.5 * filtered / max(np.abs(filtered).max(), 1e-9)).astype(np.float32)


def write(path, samples, rate=RATE, subtype="FLOAT"):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, rate, subtype=subtype)
    return path


def read(path):
    return sf.read(path, dtype="float32", always_2d=True)[0]


def tree(folder):
    """Everything in a folder, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def cli(*arguments):
    return main([str(argument) for argument in arguments])


# Aligned, and as long


@pytest.mark.parametrize("samples", [1, 2, 255, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize(
    "chain", ["", "limiter(ceiling=0)", "remix(preset=quality)", "hpss.harmonic+percussive"]
)
def test_unity_gives_the_input_whatever_the_length(tmp_path, chain, samples):
    once = sound(samples)
    source = write(tmp_path / "in.wav", once)
    report = render(load_chain(chain), Job(source, {"main": tmp_path / "out.wav"}))
    out = read(tmp_path / "out.wav")
    assert out.shape == once.shape
    np.testing.assert_allclose(out, once, atol=0 if chain in {"", "limiter(ceiling=0)"} else 1e-6)
    assert report["samples"] == samples
    assert (report["latency"]["total"] > 0) == (chain != "")


def test_what_a_kernel_computes_is_what_is_written(tmp_path):
    once = sound(4321)
    write(tmp_path / "in.wav", once)
    assert (
        cli("render", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--chain", "gain(gain=-20, pan=1)")
        == 0
    )
    want = once * np.array([0.0, 0.1], np.float32)
    np.testing.assert_array_equal(read(tmp_path / "out.wav"), want)


class Interrupted(Processor):
    """Ctrl-C, or another signal, comes while its Python runs."""

    id = "interrupted"
    raised: ClassVar[BaseException]

    def process(self, block, out):
        raise self.raised


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_ends_the_render_though_it_came_in_an_engines_python(tmp_path, monkeypatch, raised):
    monkeypatch.setattr(Interrupted, "raised", raised, raising=False)
    source = write(tmp_path / "in.wav", sound(5000))
    graph = Graph([Node("a", Interrupted)], ["in -> a", "a -> out"])
    with pytest.raises(type(raised)):
        render(graph, Job(source, {"main": tmp_path / "out.wav"}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav"]


@pytest.mark.parametrize("late", ["", "limiter(ceiling=0) | "])
def test_the_tail_is_what_rings_on(tmp_path, late):
    once = sound(3000, 1)
    source = write(tmp_path / "in.wav", once, 8000)
    chain = late + "delay(time=250, feedback=0.5, mix=1)"
    for tail in (False, True):
        arguments = ["render", source, "-o", tmp_path / "out.wav", "--chain", chain, *["--tail"] * tail]
        assert cli(*arguments) == 0
        out = read(tmp_path / "out.wav")[:, 0]
        want = np.zeros(100_000)
        for echo in range(1, 40):  # the k-th echo is 0.5 ** (k - 1) of the input
            want[2000 * echo : 2000 * echo + 3000] += 0.5 ** (echo - 1) * once[:, 0]
        assert len(out) > 2000 * 10 if tail else len(out) == 3000
        np.testing.assert_allclose(out, want[: len(out)], atol=1e-6)
        if tail:
            assert np.abs(want[len(out) :]).max() < 1e-3


def test_a_chain_with_several_outputs_writes_several_files(tmp_path):
    once = sound(3000)
    write(tmp_path / "in.wav", once)
    graph = Graph(
        [Node("a", Gain, {"gain": -20.0}), Node("b", Gain, {"mute": True})],
        ["in -> a", "in -> b", "in -> out", "a -> out.quiet", "b -> out.none"],
    )
    from rtaudio.rack import dump_rack, rack_of

    (tmp_path / "rack.toml").write_text(dump_rack(rack_of(graph)))
    arguments = ["--chain", tmp_path / "rack.toml", "--json", tmp_path / "j"]
    assert cli("render", tmp_path / "in.wav", "-o", tmp_path / "o" / "x.wav", *arguments) == 0
    assert tree(tmp_path / "o") == ["x.none.wav", "x.quiet.wav", "x.wav"]
    np.testing.assert_array_equal(read(tmp_path / "o" / "x.wav"), once)
    np.testing.assert_array_equal(read(tmp_path / "o" / "x.quiet.wav"), once * np.float32(0.1))
    assert not read(tmp_path / "o" / "x.none.wav").any()
    assert list(json.loads((tmp_path / "j").read_text())["outputs"]) == ["main", "none", "quiet"]


def test_separated_parts_sum_to_the_input(tmp_path):
    once = sound(20_000)
    write(tmp_path / "song.flac", once, subtype="PCM_24")
    once = read(tmp_path / "song.flac")
    assert cli("separate", tmp_path / "song.flac", "-o", tmp_path / "o", "--subtype", "float") == 0
    assert tree(tmp_path / "o") == ["song.harmonic.wav", "song.percussive.wav"]
    parts = [read(tmp_path / "o" / name) for name in tree(tmp_path / "o")]
    assert all(np.abs(part).max() > 0.05 for part in parts)
    np.testing.assert_allclose(parts[0] + parts[1], once, atol=1e-6)


class Only48000(Gain):
    """A gain that takes one rate, and claims to ring on."""

    rates = (48_000,)

    def allocate(self):
        self.tail = 100
        return super().allocate()


@pytest.mark.parametrize(
    ("rate", "samples"), [(44_100, 30_001), (16_000, 9_999), (96_000, 60_001), (48_000, 2777)]
)
@pytest.mark.parametrize("tail", [False, True])
def test_a_rate_that_an_engine_does_not_take(tmp_path, rate, samples, tail):
    """Resampled there and back: no lag, the length to the sample, the rate of the input."""
    once = sound(samples, cutoff=0.15)
    source = write(tmp_path / "in.wav", once, rate)
    graph = Graph([Node("a", Only48000, {"gain": -20.0})], ["in -> a", "a -> out"])
    report = render(graph, Job(source, {"main": tmp_path / "out.wav"}, tail=tail))
    info = sf.info(tmp_path / "out.wav")
    more = -(-100 * rate // 48_000) if tail else 0
    assert (info.samplerate, info.frames, info.subtype) == (rate, samples + more, "FLOAT")
    assert (report["samples"], report["file_rate"]) == (info.frames, rate)
    assert report["rate"] == 48_000
    assert [note for note in report["notes"] if "48000" in note] or rate == 48_000
    inner = slice(500, samples - 500)  # the filters ring at both ends
    np.testing.assert_allclose(read(tmp_path / "out.wav")[inner], 0.1 * once[inner], atol=1e-6)


def test_speed_is_that_of_the_rendering_not_of_the_preparation(tmp_path, monkeypatch):
    import rtaudio.render as module

    real = module.Plan
    clock = [0.0]

    def slow(*arguments, **settings):
        clock[0] += 100.0
        return real(*arguments, **settings)

    def progress(done, total):
        clock[0] += 0.5

    monkeypatch.setattr(module, "Plan", slow)
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    source = write(tmp_path / "in.wav", sound(RATE, 1))
    report = render(load_chain("gain"), Job(source, {"main": tmp_path / "out.wav"}), progress)
    assert report["seconds"] == 0.5 * -(-RATE // module.REPORTED)
    assert report["speed"] == round(1 / report["seconds"], 1)


def test_progress_runs_from_nothing_to_all(tmp_path):
    source = write(tmp_path / "in.wav", sound(400_000, 1))
    told = []
    render(load_chain("limiter"), Job(source, {"main": tmp_path / "o.wav"}), lambda *step: told.append(step))
    done = [step[0] for step in told]
    assert done == sorted(set(done))
    assert done[0] == 0
    assert 300_000 < done[-1] <= 400_000
    assert {step[1] for step in told} == {400_000}


# Formats, subtypes, tags

FORMATS = {
    ".wav": ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"],
    ".flac": ["PCM_16", "PCM_24"],
    ".ogg": ["VORBIS"],
    ".opus": ["OPUS"],
    ".mp3": ["MPEG_LAYER_III"],
    ".aiff": ["PCM_16"],
}


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_in_and_out(tmp_path, extension):
    once = sound(30_000, cutoff=0.2)
    tags = {"title": "Zwölf", "artist": "A"}
    for subtype in FORMATS[extension]:
        source = tmp_path / f"{subtype}{extension}"
        with AudioWriter(source, RATE, 2, subtype=subtype, tags=tags, samples=30_000) as writer:
            writer.write(np.ascontiguousarray(once.T))
        out = tmp_path / "o" / source.name
        assert cli("render", source, "-o", tmp_path / "o", "--chain", "gain(gain=-6)") == 0
        with sf.SoundFile(out) as file:
            assert (file.samplerate, file.channels, file.subtype) == (RATE, 2, subtype)
            assert file.frames == 30_000
            assert (file.title, file.artist) == ("Zwölf", "A")
        lossy = extension in {".ogg", ".opus", ".mp3"}
        want = once * 10 ** (-6 / 20)
        error = np.abs(read(out) - want)[1000:-1000]
        assert error.max() < (0.1 if lossy else 3 * 2.0 ** -(7 if subtype == "PCM_U8" else 15))
        # As aligned as the codec allows: the correlation peaks at lag zero.
        ours, theirs = read(out)[:, 0], want[:, 0]
        assert np.argmax(dsp.correlate(ours, theirs)) - (len(theirs) - 1) == 0


def test_another_container_and_subtype(tmp_path, capsys):
    once = sound(30_000, 1)
    source = write(tmp_path / "in.wav", once, 44_100, "PCM_16")
    for name, subtype, rate in [
        ("a.flac", "PCM_16", 44_100),
        ("b.ogg", "VORBIS", 44_100),
        ("c.opus", "OPUS", 48_000),
    ]:
        assert cli("render", source, "-o", tmp_path / name) == 0
        info = sf.info(tmp_path / name)
        assert (info.subtype, info.samplerate) == (subtype, rate)
    assert "resampled to 48000 Hz for Opus" in capsys.readouterr().err
    assert cli("render", source, "-o", tmp_path / "d.flac", "--subtype", "24") == 0
    assert sf.info(tmp_path / "d.flac").subtype == "PCM_24"
    np.testing.assert_array_equal(read(tmp_path / "d.flac"), read(source))
    np.testing.assert_array_equal(read(tmp_path / "a.flac"), read(source))


def test_dither_can_be_left_out(tmp_path):
    level = np.full((5000, 1), 0.3 * 2**-15, np.float32)
    source = write(tmp_path / "in.wav", level)
    assert cli("render", source, "-o", tmp_path / "o.wav", "--subtype", "16") == 0
    assert abs(read(tmp_path / "o.wav").mean() * 2**15 - 0.3) < 0.1
    assert cli("render", source, "-o", tmp_path / "o.wav", "--subtype", "16", "--no-dither") == 0
    assert not read(tmp_path / "o.wav").any()


def test_clipped_and_replaced_samples_are_told(tmp_path, capsys):
    once = np.full((1000, 1), 0.5, np.float32)
    once[:10] = 1.5
    once[20] = np.nan
    source = write(tmp_path / "in.wav", once)
    assert cli("render", source, "-o", tmp_path / "o.wav", "--subtype", "16", "--json", tmp_path / "j") == 0
    told = json.loads((tmp_path / "j").read_text())
    assert (told["clipped"], told["non_finite_replaced"]) == (10, 1)
    err = capsys.readouterr().err
    assert "10 samples clipped" in err
    assert "1 non-finite input samples replaced by 0" in err
    assert cli("render", source, "-o", tmp_path / "o.wav", "--json", tmp_path / "j") == 0
    assert json.loads((tmp_path / "j").read_text())["clipped"] == 0
    assert read(tmp_path / "o.wav").max() == 1.5


# Many files


def test_folders_keep_their_structure(tmp_path):
    for number, name in enumerate(["x.wav", "a/x.wav", "a/b/x.flac", "c/y.wav"]):
        write(tmp_path / "in" / name, sound(500 + number), subtype="PCM_16")
    (tmp_path / "in" / "notes.txt").write_text("no audio")
    assert cli("render", tmp_path / "in", "-o", tmp_path / "o", "--json", tmp_path / "j") == 0
    assert tree(tmp_path / "o") == ["a/b/x.flac", "a/x.wav", "c/y.wav", "x.wav"]
    for name in tree(tmp_path / "o"):
        np.testing.assert_array_equal(read(tmp_path / "o" / name), read(tmp_path / "in" / name))
    told = json.loads((tmp_path / "j").read_text())
    assert [Path(report["source"]).name for report in told] == ["x.flac", "x.wav", "y.wav", "x.wav"]
    assert cli("separate", tmp_path / "in", "-o", tmp_path / "s", "--preset", "live", "--jobs", 1) == 0
    assert tree(tmp_path / "s") == sorted(
        f"{name}.{part}.wav" for name in ("a/b/x", "a/x", "c/y", "x") for part in ("harmonic", "percussive")
    )


@pytest.mark.parametrize("command", ["render", "separate"])
def test_two_inputs_are_not_written_to_one_file(tmp_path, capsys, command):
    for name in ("a/x.wav", "b/x.wav"):
        write(tmp_path / name, sound(500))
    before = tree(tmp_path)
    for inputs in ([tmp_path / "a" / "x.wav", tmp_path / "b" / "x.wav"], [tmp_path / "a", tmp_path / "b"]):
        assert cli(command, *inputs, "-o", tmp_path / "o") == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "a/x.wav" in err
        assert "b/x.wav" in err
        assert tree(tmp_path) == before
    assert cli(command, tmp_path, "-o", tmp_path / "o", "--jobs", 1) == 0
    assert tree(tmp_path / "o")[0].startswith("a/x.")


@pytest.mark.parametrize("command", ["render", "separate"])
def test_what_an_earlier_run_wrote_is_no_input(tmp_path, capsys, command):
    write(tmp_path / "in" / "x.wav", sound(500))
    write(tmp_path / "in" / "a" / "y.wav", sound(500))
    assert cli(command, tmp_path / "in", "-o", tmp_path / "in" / "o", "--jobs", 1) == 0
    first = tree(tmp_path)
    assert len(first) > 2
    assert cli(command, tmp_path / "in", "-o", tmp_path / "in" / "o", "--jobs", 1) == 0
    assert tree(tmp_path) == first
    # Into a folder above: all of the named one is meant.
    assert cli(command, tmp_path / "in" / "a", "-o", tmp_path / "in") == 0
    # Named itself, it is meant.
    named = tmp_path / first[-2]
    assert cli(command, named, "-o", tmp_path / "in" / "o") == (2 if command == "render" else 0)
    assert cli(command, tmp_path / "in" / "o", "-o", tmp_path / "in" / "o" / "a", "--jobs", 1) == 0
    capsys.readouterr()
    only = tmp_path / "only"
    write(only / "o" / "x.wav", sound(500))
    assert cli(command, only, "-o", only / "o") == 2
    assert "no audio files besides those in the output folder" in capsys.readouterr().err


def test_separating_twice_into_the_folder_of_the_inputs_is_refused(tmp_path, capsys):
    write(tmp_path / "x.wav", sound(500))
    assert cli("separate", tmp_path, "-o", tmp_path) == 0
    before = tree(tmp_path)
    assert cli("separate", tmp_path, "-o", tmp_path) == 2
    assert "is an input: choose another output" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_one_bad_file_of_several_is_told_and_the_others_are_done(tmp_path, capsys):
    for number in range(4):
        write(tmp_path / "in" / f"{number}.wav", sound(2000 + number))
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF, but no more")
    (tmp_path / "in" / "empty.flac").write_bytes(b"")
    write(tmp_path / "in" / "short.wav", np.zeros((0, 2)))
    cut = write(tmp_path / "in" / "cut.flac", sound(50_000), subtype="PCM_16")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for jobs in (1, 2):
        out = tmp_path / f"o{jobs}"
        arguments = ["-o", out, "--chain", "limiter", "--jobs", jobs, "--json", tmp_path / "j"]
        assert cli("render", tmp_path / "in", *arguments) == 1
        assert tree(out) == ["0.wav", "1.wav", "2.wav", "3.wav"]
        told = json.loads((tmp_path / "j").read_text())
        assert sorted(Path(report["source"]).name for report in told if "error" in report) == [
            "bad.wav",
            "cut.flac",
            "empty.flac",
            "short.wav",
        ]
        lines = capsys.readouterr().err.splitlines()
        assert len([line for line in lines if line.startswith("rtaudio: ")]) == 4
        assert not [line for line in lines if "Traceback" in line]


ENGINES = """
import os, signal
from engines.gain import Gain

class Deadly(Gain):
    def allocate(self):
        print("not a report")
        if self.channels == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.channels == 3:
            raise ZeroDivisionError("three")
        return super().allocate()
"""


def test_a_file_that_kills_its_process_or_its_engine_does_not_stop_the_others(tmp_path, monkeypatch, capfd):
    (tmp_path / "zz_deadly.py").write_text(ENGINES)
    monkeypatch.syspath_prepend(tmp_path)
    import zz_deadly

    jobs = []
    for number, channels in enumerate([2, 1, 2, 3, 1, 2, 2, 3]):
        source = write(tmp_path / f"{number}.wav", sound(1000, channels))
        jobs.append(Job(source, {"main": tmp_path / "o" / f"{number}.wav"}))
    graph = Graph([Node("a", zz_deadly.Deadly)], ["in -> a", "a -> out"])
    reports = {Path(report["source"]).stem: report for report in render_many(graph, jobs, 2)}
    assert sorted(reports) == list("01234567")
    assert capfd.readouterr().out == ""  # where a report may go
    assert tree(tmp_path / "o") == ["0.wav", "2.wav", "5.wav", "6.wav"]
    for number in "14":
        assert reports[number]["error"].endswith(
            f"{number}.wav: the process that rendered it ended with status -9"
        )
    for number in "37":
        assert reports[number]["error"].endswith(f"{number}.wav: ZeroDivisionError: three")


def test_the_chosen_number_of_processes(tmp_path, monkeypatch):
    import rtaudio.render as module

    started, prepared = [], []
    real, make_plan = module._start_worker, cli_module.make_plan
    monkeypatch.setattr(module, "_start_worker", lambda: started.append(real()) or started[-1])
    # Before any: so that the processes find compiled kernels, and the user is told why it takes time.
    monkeypatch.setattr(cli_module, "make_plan", lambda *a: prepared.append(len(started)) or make_plan(*a))
    for number in range(5):
        write(tmp_path / "in" / f"{number}.wav", sound(500))
    assert cli("render", tmp_path / "in", "-o", tmp_path / "o", "--jobs", 2) == 0
    assert len(started) == 2
    assert prepared == [0]
    assert all(process.returncode == 0 for _, process in started)
    assert cli("render", tmp_path / "in", "-o", tmp_path / "o", "--jobs", 1) == 0
    assert len(started) == 2


# Never over an input, never by half


@pytest.mark.parametrize("way", ["same", "symbolic", "hard", "folder", "dots", "report"])
@pytest.mark.parametrize("command", ["render", "separate"])
def test_an_input_is_never_overwritten(tmp_path, capsys, way, command):
    source = write(tmp_path / "in" / "x.wav", sound(500))
    before = source.read_bytes()
    stem = "x.wav" if command == "render" else "x.harmonic.wav"
    out, more = tmp_path / "o", []
    out.mkdir()
    other = tmp_path / "other.wav"
    write(other, sound(500))
    inputs = [source, other]
    if way == "symbolic":
        (out / stem).symlink_to(source)
    elif way == "hard":
        (out / stem).hardlink_to(source)
    elif way == "report":
        more = ["--json", tmp_path / "in" / ".." / "in" / "x.wav"]
    else:
        if command == "separate":
            inputs.append(write(tmp_path / "in" / stem, sound(500)))
        out = {"same": tmp_path / "in", "folder": tmp_path / "in", "dots": tmp_path / "o" / ".." / "in"}[way]
        if way == "folder":
            inputs = [tmp_path / "in"]
    files = tree(tmp_path)
    assert cli(command, *inputs, "-o", out, *more) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "is an input" in err
    assert source.read_bytes() == before
    assert tree(tmp_path) == files


def test_many_targets_are_checked_in_linear_time(tmp_path, monkeypatch):
    """Ten thousand files are looked at some times each, not each with each."""
    source = write(tmp_path / "x.wav", sound(10))
    jobs = [Job(source, {"main": tmp_path / "o" / f"{number}.wav"}) for number in range(1000)]
    looks = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda *a, **k: looks.append(1) or real(*a, **k))
    check_targets(jobs)
    assert 1000 <= len(looks) <= 10_000


def test_a_report_over_an_output_is_refused(tmp_path, capsys):
    source = write(tmp_path / "x.wav", sound(500))
    out = tmp_path / "o.wav"
    assert cli("render", source, "-o", out, "--json", out) == 2
    assert "is an input or an output" in capsys.readouterr().err
    assert tree(tmp_path) == ["x.wav"]


def test_an_older_output_stays_until_the_new_one_is_complete(tmp_path):
    source = write(tmp_path / "in.flac", sound(50_000), subtype="PCM_16")
    assert cli("render", source, "-o", tmp_path / "o" / "x.wav") == 0
    before = (tmp_path / "o" / "x.wav").read_bytes()
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    assert cli("render", source, "-o", tmp_path / "o" / "x.wav") == 2
    assert tree(tmp_path / "o") == ["x.wav"]
    assert (tmp_path / "o" / "x.wav").read_bytes() == before


FULL_DISK = """
import resource, sys
from rtaudio.cli import main

source, out = sys.argv[1:3]
assert main(["render", source, "-o", out + "/first.wav"]) == 0  # compiles what is not yet
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.exit(main(["render", source, "-o", out + "/x.wav"]))
"""


def test_a_full_disk_leaves_nothing(tmp_path):
    source = write(tmp_path / "in.wav", sound(60_000))
    (tmp_path / "full.py").write_text(FULL_DISK)
    (tmp_path / "o").mkdir()
    command = [sys.executable, str(tmp_path / "full.py"), str(source), str(tmp_path / "o")]
    done = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("rtaudio: ")]
    assert len(lines) == 1
    assert "file too large" in lines[0]
    assert "Traceback" not in done.stderr
    assert tree(tmp_path / "o") == ["first.wav"]


# An engine that fails


class Failing(Gain):
    """Negates its input, and fails from the 2000th sample on."""

    id = "failing"


@kernel
def failing_kernel(state, inputs, outputs, n, params, context):
    at = position(context)
    for c in range(i64_vector(state, 0)[0]):
        x, y = channel(inputs, c, n), channel(outputs, c, n)
        for i in range(n):
            y[i] = -x[i] if at + i < 2000 else np.float32(np.nan)
    return 0


Failing.KERNEL = failing_kernel


def test_a_failing_engine_is_bypassed_told_and_the_exit_status(tmp_path, monkeypatch, capsys):
    once = sound(5000)
    source = write(tmp_path / "in.wav", once)
    graph = Graph([Node("bad", Failing), Node("good", Gain)], ["in -> bad", "bad -> good", "good -> out"])
    monkeypatch.setattr("rtaudio.cli.read_chain", lambda text: graph)
    assert cli("render", source, "-o", tmp_path / "o.wav", "--json", tmp_path / "j") == 1
    told = json.loads((tmp_path / "j").read_text())
    begin = 2000 // BLOCK * BLOCK  # the block in which it fails
    failed = f"bad failed at {begin / RATE:.3f} s and was bypassed from there"
    assert told["failures"] == [f"{failed}: it put out what is no number"]
    assert told["failures"][0] in capsys.readouterr().err
    assert (told["nodes"]["bad"]["failures"], told["nodes"]["good"]["failures"]) == (1, 0)
    out = read(tmp_path / "o.wav")
    np.testing.assert_array_equal(out[:begin], -once[:begin])
    np.testing.assert_array_equal(out[begin + 240 :], once[begin + 240 :])
    assert np.isfinite(out).all()


# Interrupted


def long_file(path):
    """Ten minutes of silence, which a separation takes some seconds for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sf.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for _ in range(10):
            file.write(np.zeros((60 * RATE, 2), np.int16))
    return path


def parts(folder):
    return list(folder.rglob(".*.part"))


def wait_for(event, process):
    until = time.monotonic() + DEADLINE
    while not event():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)


def at_default():
    """In a new process: signals as a terminal leaves them, whatever `nohup` or a background job ignores."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start():
    """Starts the command line in a process group of its own."""
    processes = []

    def start(*arguments, **options):
        command = [sys.executable, "-m", "rtaudio", *map(str, arguments)]
        options = {"env": ENVIRONMENT, "start_new_session": True, "preexec_fn": at_default, **options}
        processes.append(subprocess.Popen(command, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_render_leaves_nothing(tmp_path, start, files, number):
    for name in range(files):
        long_file(tmp_path / "in" / f"{name}.flac")
    out = tmp_path / "o"
    process = start("separate", tmp_path / "in", "-o", out, "--jobs", 2, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(parts(out)) == 2 * min(files, 2), process)
    while process.poll() is None:  # by someone impatient; as a terminal does
        os.killpg(process.pid, number)
        time.sleep(0.001)
    err = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == (130 if number == signal.SIGINT else 128 + number)
    assert tree(out) == []
    lines = [line for line in err.splitlines() if not line.startswith("compiling")]
    assert lines == (["interrupted"] if number == signal.SIGINT else [])


def test_a_killed_render_takes_its_processes_with_it(tmp_path, start):
    for name in range(2):
        long_file(tmp_path / "in" / f"{name}.flac")
    out = tmp_path / "o"
    process = start("separate", tmp_path / "in", "-o", out, "--jobs", 2, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(parts(out)) == 4, process)
    process.kill()
    process.wait()
    until = time.monotonic() + DEADLINE
    while parts(out):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert tree(out) == []


# Progress


@pytest.mark.parametrize("files", [1, 3])
def test_progress_is_drawn_on_a_terminal_only(tmp_path, start, files):
    for name in range(files):
        write(tmp_path / "in" / f"{name}.wav", np.zeros((100_000, 1), np.float32))
    for terminal in (True, False):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        out = tmp_path / f"o{terminal}"
        arguments = ["render", tmp_path / "in", "-o", out, "--chain", "gain", "--jobs", 2]
        stderr = theirs if terminal else subprocess.PIPE
        process = start(*arguments, stderr=stderr, env={**ENVIRONMENT, "FORCE_COLOR": "1"})
        os.close(theirs)
        shown = read_all(ours) if terminal else process.communicate()[1].decode()
        os.close(ours)
        assert process.wait(DEADLINE) == 0
        assert shown.count("x real time)") == files
        assert ("\x1b" in shown) == terminal
        assert (("0.wav" if files == 1 else "3 files") in shown.replace(str(out), "")) or not terminal


def read_all(descriptor):
    shown = b""
    while True:
        try:
            more = os.read(descriptor, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            more = b""
        if not more:
            return shown.decode()
        shown += more


# Memory


def test_memory_does_not_grow_with_the_length(tmp_path):
    peaks = []
    for minutes in (1, 8):
        source = tmp_path / f"{minutes}.flac"
        with sf.SoundFile(source, "w", 8000, 2, "PCM_16") as file:
            for _ in range(minutes):
                file.write(np.zeros((60 * 8000, 2), np.int16))
        job = Job(source, {"main": tmp_path / "o.wav"})
        render(load_chain("limiter"), job)
        tracemalloc.start()
        render(load_chain("limiter"), job)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000  # seven minutes more are 27 MB


PEAK = """
import sys
from rtaudio.cli import main

status = main(sys.argv[1:])
with open("/proc/self/status") as lines:  # getrusage would count the parent too
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", [["render", "--chain", "remix(preset=quality) | limiter"], ["separate"]])
def test_an_hour_takes_the_memory_of_a_minute(tmp_path, command):
    peaks = []
    for minutes in (1, 1, 60):  # the first may compile
        source = tmp_path / f"{minutes}.flac"
        minute = (sound(60 * 44_100) * 30_000).astype(np.int16)
        with sf.SoundFile(source, "w", 44_100, 2, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        arguments = [command[0], str(source), "-o", str(tmp_path / "o"), *command[1:]]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *arguments],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout))
        sys.stdout.write(f"{minutes} min: {peaks[-1]} KiB; {done.stderr}")
        for path in (tmp_path / "o").glob(f"{minutes}.*"):
            assert sf.info(path).frames == minutes * 60 * 44_100
    assert peaks[2] < peaks[1] + 4 * 1024
