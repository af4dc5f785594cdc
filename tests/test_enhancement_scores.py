"""The scores of enhancement: of systems whose output is known, of known material, and what goes wrong."""

import os
import shlex
import subprocess
import sys
import types
from pathlib import Path

import chunk_models
import numpy as np
import pytest
import soundfile as sf
import tiny_speech
from workshop import select, status_of, table_of

from export import enhancement, reports, systems
from export.__main__ import main
from export.enhancement import FIELDS
from export.material import Mixed, Recorded
from export.metrics import METRICS, RATE
from export.sets import find_clips
from export.systems import PEERS, System, from_chain, from_command
from rtaudio.errors import UserError

ROOT = Path(__file__).parents[1]
SECONDS = 1.0
"""Of an utterance without a pause."""
CHUNK = 1024


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def snr_of(clean, x):
    clean, x = np.asarray(clean, np.float64), np.asarray(x, np.float64)
    return 10 * np.log10(np.sum(clean**2) / np.sum((clean - x) ** 2))


def si_sdr_of(clean, x):
    clean, x = np.asarray(clean, np.float64), np.asarray(x, np.float64)
    best = np.vdot(clean, x) / np.vdot(clean, clean) * clean
    return 10 * np.log10(np.sum(best**2) / np.sum((x - best) ** 2))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Folders of speech and noise, of pairs under VoiceBank's names, and networks."""
    tiny_speech.write_speech(tmp_path / "speech", readers=3, seconds=SECONDS)
    tiny_speech.write_noise(tmp_path / "noise")
    for folder in ("clean", "noisy"):
        (tmp_path / folder).mkdir()
    for number in (1, 2):
        clean = tiny_speech.voice(SECONDS, number)
        name = f"p232_{number:03}.wav"
        sf.write(tmp_path / "clean" / name, clean, RATE, subtype="FLOAT")
        sf.write(tmp_path / "noisy" / name, clean + 0.01 * noise(len(clean), number), RATE, subtype="FLOAT")
    for name, gain in (("same", 1.0), ("half", 0.5)):
        chunk_models.write(tmp_path / f"{name}.onnx", chunk_models.gain(gain), CHUNK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # what a process that is killed leaves
    return tmp_path


PAIRS = ("--noisy", "noisy", "--clean", "clean", "--jobs", "1")
MIXED = ("--clean", "speech", "--noise", "noise", "--snr", "20", "--jobs", "1")


def evaluate(*arguments):
    return main(["evaluate", "enhancement", *arguments])


def scores_of(row):
    return [float(row[metric]) for metric in METRICS]


def but_cost(path):
    return [{key: value for key, value in row.items() if key != "cost"} for row in table_of(path)]


def script(*lines):
    """A command of a shell script whose $0 and $1 are the files."""
    return f"sh -c {shlex.quote('; '.join(lines))} {{in}} {{out}}"


def program(place, body):
    """A command of a Python program that makes y of x."""
    path = place / f"tool{len(list(place.glob('tool*')))}.py"
    path.write_text(
        "import sys\nimport numpy as np\nimport soundfile as sf\n"
        f"x, rate = sf.read(sys.argv[1], dtype='float32')\n{body}\n"
        "sf.write(sys.argv[2], y, rate, subtype='FLOAT')\n"
    )
    return f"{sys.executable} {path} {{in}} {{out}}"


# ------------------------------------------------------------------------------------------ known systems


def test_systems_whose_output_is_known(place, capsys):
    late = program(place, "y = np.concatenate([np.zeros(100, 'float32'), x[:-100]])")
    inverted = program(place, "y = -x")
    known = ["--model", "half.onnx", "--command", "copy=cp {in} {out}"]
    known += ["--command", f"late={late}", "--command", f"inverted={inverted}"]
    assert evaluate(*PAIRS, *known, "-o", "out") == 0
    rows = table_of(place / "out" / "scores.csv")
    assert tuple(rows[0]) == FIELDS
    names = ["noisy", "half", "copy", "late", "inverted"]
    assert [(row["file"], row["system"]) for row in rows] == [
        (f"p232_{number:03}", name) for number in (1, 2) for name in names
    ]
    for number in (1, 2):
        clean, noisy = (sf.read(place / side / f"p232_{number:03}.wav")[0] for side in ("clean", "noisy"))
        of = {row["system"]: row for row in rows if row["file"] == f"p232_{number:03}"}
        delayed = np.concatenate([np.zeros(100), noisy[:-100]])
        for name, x in (("noisy", noisy), ("half", noisy / 2), ("late", delayed), ("inverted", -noisy)):
            assert float(of[name]["SNR"]) == pytest.approx(snr_of(clean, x), abs=1e-3)
            assert float(of[name]["SI-SDR"]) == pytest.approx(si_sdr_of(clean, x), abs=1e-2)
        assert scores_of(of["copy"]) == scores_of(of["noisy"])
        assert [float(of[name]["lag"]) for name in names] == [0, 0, 0, 100, 0]
        assert [float(of[name]["polarity"]) for name in names] == [1, 1, 1, 1, -1]
    assert all(row["problem"] == row["snr"] == row["noise"] == "" for row in rows)
    assert all(float(row["cost"]) > 0 for row in select(rows, system="late"))
    assert "inverted" in capsys.readouterr().out
    text = (place / "out" / "scores.md").read_text()
    assert "| late |  | 2 | 0 | 100 | 0 |" in text
    assert "| inverted |  | 2 | 0 | 0 | 2 |" in text
    assert not (place / "out" / "scores.png").exists()  # there is no SNR to draw against


def test_a_network_that_does_nothing_is_aligned_in_every_mode(place):
    modes = ["--mode", "butt", "--mode", "overlap", "--mode", "sliding"]
    sizes = ["--hop", "256", "--lookahead", "64", "0"]
    assert evaluate(*MIXED, "--model", "WGAN=same.onnx", *modes, *sizes, "--count", "1", "-o", "out") == 0
    first, *rows = table_of(place / "out" / "scores.csv")
    assert first["system"] == "noisy"
    # A chunk; hop + look-ahead + fade.
    want = {"butt": 64, "overlap": 64, "sliding 256+64": 28, "sliding 256+0": 24}
    assert {row["mode"]: float(row["latency"]) for row in rows} == want
    for row in rows:
        assert row["system"] == "WGAN"
        assert scores_of(row) == pytest.approx(scores_of(first), abs=2e-3)
    text = (place / "out" / "scores.md").read_text()
    part = text[text.index("### WGAN: quality against latency") :]
    lines = [line for line in part.splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[:2] for line in lines] == [[f"| {m}", f"{want[m]:.1f}"] for m in want]
    assert "| metric | noisy | WGAN, butt | WGAN, overlap | WGAN, sliding 256+64 |" in text


def test_a_model_at_another_rate_hears_that_rate(place):
    chunk_models.write(place / "wide.onnx", chunk_models.gain(1.0), CHUNK, rate=48_000)
    x = noise(8_000)
    x = np.convolve(x, np.hanning(9) / 4, "same").astype(np.float32)  # resampling rounds the highest band off
    y = systems.from_model(place / "wide.onnx", "overlap", 1024, 512)(x)
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert snr_of(x[100:-100], y[100:-100]) > 40


def test_chains_run_offline_aligned(place):
    x = 0.1 * noise(5_000)
    assert np.max(np.abs(from_chain("gain(gain=-6)")(x) - 10 ** (-6 / 20) * x)) <= 1e-6
    y = from_chain("limiter")(x)  # looks ahead, and has nothing to limit
    assert y.shape == x.shape
    assert np.max(np.abs(y - x)) <= 1e-6
    assert systems.chain_latency("limiter") > 0
    assert evaluate(*PAIRS, "--chain", "quieter=gain(gain=-6)", "--chain", "limiter", "-o", "out") == 0
    rows = table_of(place / "out" / "scores.csv")
    for row, noisy in zip(select(rows, system="limiter"), select(rows, system="noisy"), strict=True):
        assert float(row["SNR"]) == pytest.approx(float(noisy["SNR"]), abs=1e-3)
    assert float(row["latency"]) == pytest.approx(systems.chain_latency("limiter"))
    assert len(select(rows, system="quieter")) == 2


# ------------------------------------------------------------------------------------------ commands


def test_a_command_sees_its_rate_and_no_shell(place, capsys):
    seen = program(
        place, f"open({str(place / 'seen')!r}, 'w').write(f'{{rate}} {{len(x)}} {{x.ndim}}'); y = x"
    )
    x = np.convolve(noise(8_000), np.hanning(9) / 4, "same").astype(np.float32)
    y = from_command(seen, 48_000, 60.0)(x)
    assert (place / "seen").read_text() == "48000 24000 1"
    assert snr_of(x[100:-100], y[100:-100]) > 40
    assert np.array_equal(from_command("cp {in} {out}", RATE, 60.0)(x), x)
    with pytest.raises(UserError, match="cp ended with status 1"):
        from_command("cp {in} {out} ; touch evil", RATE, 60.0)(x)
    assert not (place / "evil").exists()


FAULTS = {
    "fails": (script("echo no licence >&2", "exit 3"), "sh ended with status 3: no licence"),
    "fails silently": ("false {in} {out}", "false ended with status 1"),
    "hangs": (script("sleep 60 & wait"), "sh took longer than 0.3 s and was ended"),
    "writes nothing": ("true {in} {out}", r"true wrote nothing to \{out\}"),
    "is not there": ("no-such-program {in} {out}", "cannot run no-such-program: No such file"),
    "writes no audio": (script('echo hello > "$1"'), "what sh wrote to .* is not audio, or none"),
    "cuts": (
        "y = x[:-1]",
        "wrote 16000 Hz, 1 channels, 1599 samples, want 16000 Hz, 1 channels, 1600 samples",
    ),
    "goes on": ("y = np.append(x, x)", "wrote 16000 Hz, 1 channels, 3200 samples, want"),
    "widens": ("y = np.stack([x, x], 1)", "wrote 16000 Hz, 2 channels, 1600 samples, want"),
    "resamples": (
        "y = x[::2]; rate = 8000",
        r"wrote 8000 Hz.*; --command-rate 8000 gives it files at its rate",
    ),
    "writes no samples": ("y = x[:0]", "is not audio, or none"),
}


@pytest.mark.parametrize(("command", "said"), FAULTS.values(), ids=FAULTS)
def test_a_command_that(place, command, said):
    line = command if "{in}" in command else program(place, command)
    with pytest.raises(UserError, match=said) as caught:
        from_command(line, RATE, 0.3 if "sleep" in line else 60.0)(noise(1_600))
    assert len(str(caught.value).splitlines()) == 1


def test_what_fails_is_counted_and_tried_again_by_the_same_command(place, capsys):
    second = script("test -e once || { touch once; exit 1; }", 'cp "$0" "$1"')
    line = [*PAIRS, "--command", f"shy={second}", "-o", "out"]
    assert evaluate(*line) == 1
    rows = table_of(place / "out" / "scores.csv")
    assert [row["problem"] for row in rows] == ["", "sh ended with status 1", "", ""]
    assert rows[1]["PESQ"] == rows[1]["lag"] == rows[1]["cost"] == ""
    assert "skipped: p232_001, shy: sh ended with status 1\n" in capsys.readouterr().err
    text = (place / "out" / "scores.md").read_text()
    assert "| shy |  | 1 | 1 | 0 | 0 |" in text
    assert "| shy | 1 | +0.00 |" in text  # one pair: no interval
    assert evaluate(*line) == 0
    rows = table_of(place / "out" / "scores.csv")
    assert scores_of(rows[1]) == scores_of(rows[0])
    assert "| shy |  | 2 | 0 | 0 | 0 |" in (place / "out" / "scores.md").read_text()


def test_what_is_not_finite_is_skipped(place):
    chunk_models.write(place / "nan.onnx", chunk_models.gain(np.nan), CHUNK)
    assert evaluate(*PAIRS, "--model", "nan.onnx", "--model", "same.onnx", "-o", "out") == 1
    rows = table_of(place / "out" / "scores.csv")
    assert all("not finite" in row["problem"] for row in select(rows, system="nan"))
    assert all(not row["problem"] for row in select(rows, system="same"))


def test_an_error_of_a_systems_own_stops_no_other(place):
    def broken(x):
        raise RuntimeError("out of\nluck")

    material = Recorded(tuple(zip(*([sorted((place / "clean").iterdir())] * 2), strict=True)))
    both = [System("broken", "", lambda: broken, ""), System("noisy", "", systems.unchanged, "")]
    task = (0, [(None, 0), (None, 1)])
    rows = enhancement.score_pair(material.open(), both, [broken, lambda x: x], task)
    assert [row["problem"] for row in rows] == ["RuntimeError: out of luck", ""]
    assert rows[1]["SNR"] == 100


# ------------------------------------------------------------------------------------------ material


def test_the_snr_is_the_one_asked_for(place):
    for number, path in enumerate(sorted((place / "speech").iterdir())):  # without any pause
        swell = 1 + 0.5 * np.sin(np.arange(round(SECONDS * RATE)) * 2 * np.pi * 4 / RATE)
        sf.write(path, 0.05 * swell * noise(len(swell), number), RATE, subtype="FLOAT")
    assert evaluate(*MIXED, "--snr", "5", "20", "12.5", "-o", "out") == 0
    rows = table_of(place / "out" / "scores.csv")
    assert len(rows) == 3 * 3
    for snr in ("5.0", "20.0", "12.5"):
        for row in select(rows, snr=snr):
            # The active level is the RMS then, but for the onset of the envelope, 2 x 30 ms.
            assert float(row["SNR"]) == pytest.approx(float(snr), abs=0.2)
    for number in "012":
        mine = select(rows, number=number)
        offset = [float(row["SNR"]) - float(row["snr"]) for row in mine]
        assert offset == pytest.approx([offset[0]] * 3, abs=1e-3)  # the same noise, louder or softer
        assert len({row["noise"] for row in mine}) == 1
    pair = Mixed(
        tuple(find_clips([place / "speech"])),
        tuple(sorted((place / "noise").iterdir())),
        (5.0, 25.0),
        1,
        0,
    ).open()(0)
    added = [pair.noisy[snr].astype(np.float64) - pair.clean for snr in (5.0, 25.0)]
    assert np.max(np.abs(added[0] - 10 * added[1])) <= 1e-5
    assert (place / "out" / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_pairs_at_48_khz_are_scored_at_16(place):
    t = np.arange(round(SECONDS * 48_000)) / 48_000
    swell = 1 + 0.5 * np.sin(2 * np.pi * 4 * t)
    clean = 0.1 * swell * np.convolve(noise(len(t)), np.hanning(32) / 16, "same")  # below 8 kHz
    high = 0.5 * np.hanning(len(t)) * np.sin(2 * np.pi * 12_000 * t)  # which nobody hears at 16 kHz
    for name, x in (("clean", clean), ("noisy", 0.9 * clean + high)):
        (place / "wide" / name).mkdir(parents=True)
        sf.write(place / "wide" / name / "p257_001.wav", x, 48_000, subtype="FLOAT")
    folders = ("--noisy", "wide/noisy", "--clean", "wide/clean")
    assert evaluate(*folders, "--model", "same.onnx", "--jobs", "1", "-o", "out") == 0
    for row in table_of(place / "out" / "scores.csv"):
        assert float(row["SNR"]) == pytest.approx(20, abs=0.1)


def test_bad_pairs_are_left_out_one_line_each(place, capsys):
    good = tiny_speech.voice(SECONDS, 1)
    bad = {
        "empty": ("noisy", None, 0, "it is empty"),
        "stereo": ("noisy", np.stack([good, good], 1), RATE, "has 2 channels"),
        "other_rate": ("noisy", good, 8_000, "has 8000 Hz, but"),
        "longer": ("noisy", np.append(good, good), RATE, "samples, but"),
        "silent": ("clean", 0 * good, RATE, "is silent"),
        "nan": ("noisy", np.where(np.arange(len(good)) == 9, np.nan, good), RATE, "not finite"),
        "short": ("both", good[:1_000], RATE, "too short to score"),
    }
    for name, (side, x, rate, _) in bad.items():
        for folder in ("clean", "noisy"):
            path = place / folder / f"{name}.wav"
            if side not in (folder, "both"):
                sf.write(path, good, RATE, subtype="FLOAT")
            elif x is None:
                path.write_bytes(b"")
            else:
                sf.write(path, x, rate, subtype="FLOAT")
    assert evaluate(*PAIRS, "--model", "same.onnx", "-o", "out") == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped: ")]
    assert len(said) == len(bad)
    for name, (_, _, _, text) in bad.items():
        (line,) = [line for line in said if f"{name}.wav" in line or f"skipped: {name}," in line]
        assert ", all systems: " in line
        assert text in line or name == "empty"
    rows = table_of(place / "out" / "scores.csv")
    assert sum(not row["problem"] for row in rows) == 2 * 2
    assert f"| same | overlap | 2 | {len(bad)} |" in (place / "out" / "scores.md").read_text()


@pytest.fixture
def trained(place):
    """Networks that were trained on one of three speakers, on two, on all."""
    for name, speakers in (
        ("one", ["100"]),
        ("both", ["100", "101"]),
        ("all", ["100", "101", "102", "p232"]),
    ):
        card = {"data": {"speakers": speakers}}
        chunk_models.write(place / f"{name}.onnx", chunk_models.gain(1.0), CHUNK, card=card)


@pytest.mark.parametrize(
    ("models", "left"),
    [
        (["one"], ["101", "102"]),
        (["one", "both"], ["102"]),
        (["same"], ["100", "101", "102"]),
    ],
)
def test_nobody_is_scored_whom_a_network_was_trained_on(place, trained, capsys, models, left):
    options = [word for name in models for word in ("--model", f"{name}.onnx")]
    assert evaluate(*MIXED, *options, "-o", "out") == 0
    rows = table_of(place / "out" / "scores.csv")
    for system in ("noisy", *models):
        files = sorted(row["file"] for row in select(rows, system=system))
        assert files == [f"{speaker}-1-0000" for speaker in left]
    said = capsys.readouterr().err
    told = f"{len(left)} of 3 clips are left, of {len(left)} speakers: a --model knows the others\n"
    assert said == ("" if models == ["same"] else told)


def test_pairs_of_speakers_whom_a_network_was_trained_on_are_left_out(place, trained, capsys):
    for folder in ("clean", "noisy"):
        path = place / folder / "p232_002.wav"
        path.rename(path.with_name("p257_002.wav"))
    assert evaluate(*PAIRS, "--model", "all.onnx", "-o", "out") == 0
    assert {row["file"] for row in table_of(place / "out" / "scores.csv")} == {"p257_002"}
    assert capsys.readouterr().err == "1 of 2 clips are left, of 1 speakers: a --model knows the others\n"
    (place / "pairs.csv").write_text("name,speaker\np257_002,100\n")  # as data mix does
    assert evaluate(*PAIRS, "--model", "all.onnx", "-o", "none") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_mixer_knows_who_speaks(place, monkeypatch):
    seen = []
    monkeypatch.setattr("export.material.Mixer", lambda *given: seen.append(given))
    clips = find_clips([place / "speech"])
    Mixed(tuple(clips), (), (20.0,), 1, 0).open()
    ((paths, _, _, _, speakers),) = seen
    assert [path.name.partition("-")[0] for path in paths] == speakers == ["100", "101", "102"]


MISTAKES = {
    "only speakers that are known": (
        [*MIXED, "--model", "all.onnx"],
        "--clean has only speakers that a --model was trained on: give speech of others",
    ),
    "a pair without partner": (["--noisy", "noisy", "--clean", "speech"], "has no partner"),
    "no such folder": (["--noisy", "nowhere", "--clean", "clean"], "nowhere is not a folder"),
    "nothing there": (["--noisy", "noisy", "--clean", "void"], "void"),
    "an SNR for files": ([*PAIRS, "--snr", "15"], "--snr is for --noise"),
    "a seed for files": ([*PAIRS, "--seed", "0"], "--seed is for --noise"),
    "two folders": (["--noisy", "noisy", "--clean", "clean", "clean"], "one folder of --clean, not with 2"),
    "no SNR": ([*MIXED, "--snr", "loud"], "'loud' is not a level in dB"),
    "no seed": ([*MIXED, "--seed", "-1"], "--seed"),
    "no noise": (["--clean", "speech"], "one of the arguments --noisy --noise is required"),
    "no model": ([*PAIRS, "--model", "none.onnx"], "none.json: No such file"),
    "no chunk of that size": (
        [*PAIRS, "--model", "same.onnx", "--mode", "sliding"],
        "no more than 1024 samples together",
    ),
    "no {in}": ([*PAIRS, "--command", "sox {out}"], "has no {in}"),
    "no {out}": ([*PAIRS, "--command", "sox {in}"], "has no {out}"),
    "no quote": ([*PAIRS, "--command", "sox '{in} {out}"], "no closing quotation"),
    "no engine": ([*PAIRS, "--chain", "gian"], "gian"),
    "twice": ([*PAIRS, "--command", "a=cp {in} {out}", "--chain", "a=gain"], "two systems are called a"),
    "noisy": ([*PAIRS, "--command", "noisy=cp {in} {out}"], "two systems are called noisy"),
    "against nobody": (
        [*PAIRS, "--model", "same.onnx", "--against", "smae"],
        "no system 'smae', did you mean 'same'?: there are 'noisy', 'same'",
    ),
    "a figure of nobody": ([*PAIRS, "--figure", "WGAN"], "no system 'WGAN': there are 'noisy'"),
}


@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line(place, trained, capsys, arguments, said):
    (place / "void").mkdir()
    assert status_of("evaluate", "enhancement", *arguments, "-o", "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (place / "out").exists()


def test_a_chain_of_two_outputs_is_refused(tmp_path):
    rack = tmp_path / "rack.toml"
    edges = ("in -> a", "a -> out", "in -> out.dry")
    rack.write_text(f'version = 1\nedges = {list(edges)}\n[nodes.a]\nengine = "gain"\n')
    with pytest.raises(
        UserError, match="gives main of 1 channels, dry of 1 channels for mono: want one output"
    ):
        from_chain(str(rack))


def test_nothing_to_score_is_a_mistake(place, capsys):
    for path in (place / "clean").iterdir():
        path.write_bytes(b"no audio")
    assert evaluate(*PAIRS, "-o", "out") == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("nothing could be scored: see above")
    assert not (place / "out" / "scores.md").exists()


# ------------------------------------------------------------------------------------------ going on

COUNTED = ("echo x >> calls", 'cp "$0" "$1"')


def test_a_killed_run_goes_on_to_the_same_table(place, capsys):
    killing = script("test $(cat calls | wc -l) != 2 || { echo x >> calls; kill -9 $PPID; exit; }", *COUNTED)
    (place / "calls").write_text("")
    line = [*MIXED, "--snr", "10", "20", "--count", "2", "--command", f"copy={killing}", "-o"]
    ended = subprocess.run(
        [sys.executable, "-m", "export", "evaluate", "enhancement", *line, "out"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == -9
    path = place / "out" / "scores.csv"
    before = table_of(path)
    assert [row["number"] for row in before] == ["0"] * 4
    with path.open("a") as file:
        file.write("1,101-1-0000,noise0.wav,10.0,noisy,,1.2")  # torn
    assert evaluate(*line, "out") == 0
    assert len((place / "calls").read_text().split()) == 3 + 2  # the first pair was not done again
    assert evaluate(*line, "whole") == 0
    assert but_cost(path) == but_cost(place / "whole" / "scores.csv")
    assert table_of(path)[:4] == before
    assert len(before[0]) == len(FIELDS)


def test_processes_score_what_one_does_and_one_may_die(place, capsys):
    deadly = script("if mkdir once 2>&-; then kill -9 $PPID; exit; fi", *COUNTED)
    line = ["--clean", "speech", "--noise", "noise", "--snr", "20", "--command", f"copy={deadly}", "-o"]
    assert evaluate(*line, "out", "--jobs", "2") == 1
    rows = table_of(place / "out" / "scores.csv")
    assert len(rows) == 6
    lost = [row for row in rows if row["problem"]]
    assert [row["system"] for row in lost] == ["noisy", "copy"]
    assert {row["problem"] for row in lost} == {"the process that scored it ended with status -9"}
    assert capsys.readouterr().err.count("skipped: ") == 1
    assert evaluate(*line, "out", "--jobs", "1") == 0
    assert evaluate(*line, "whole", "--jobs", "1") == 0
    assert but_cost(place / "out" / "scores.csv") == but_cost(place / "whole" / "scores.csv")


def test_ctrl_c_leaves_what_was_scored(place, monkeypatch, capsys):
    score, calls = enhancement.score, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(enhancement, "score", interrupted)
    assert evaluate(*PAIRS, "-o", "out") == 130
    assert [row["file"] for row in table_of(place / "out" / "scores.csv")] == ["p232_001"]
    assert not (place / "out" / "scores.md").exists()
    said = capsys.readouterr()
    assert "not complete: " in said.err
    assert said.err.endswith("interrupted\n")
    assert evaluate(*PAIRS, "-o", "out") == 0
    assert len(calls) == 3
    assert len(table_of(place / "out" / "scores.csv")) == 2


def test_a_folder_of_other_settings_is_refused(place, capsys):
    assert evaluate(*MIXED, "--count", "1", "-o", "out") == 0
    before = {path.name: path.read_bytes() for path in (place / "out").iterdir()}
    for arguments, key in (
        ([*MIXED, "--count", "1", "--snr", "15"], "snr"),
        ([*MIXED, "--count", "1", "--seed", "1"], "seed"),
        ([*MIXED, "--count", "2"], "count"),
        ([*MIXED, "--count", "1", "--noise", "speech"], "noise"),
        ([*MIXED, "--count", "1", "--model", "same.onnx"], "systems"),
        ([*PAIRS], "clean"),
    ):
        capsys.readouterr()
        assert evaluate(*arguments, "-o", "out") == 2
        assert f"out has scores by other settings ({key} differs)" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (place / "out").iterdir()} == before
    (place / "out" / "settings.json").write_text("{")
    assert evaluate(*MIXED, "--count", "1", "-o", "out") == 2
    (place / "out" / "settings.json").unlink()
    assert evaluate(*MIXED, "--count", "1", "-o", "out") == 2
    assert "scores of unknown settings" in capsys.readouterr().err


def test_a_table_of_something_else_is_refused(place, capsys):
    assert evaluate(*PAIRS, "-o", "out") == 0
    path = place / "out" / "scores.csv"
    good = path.read_text()
    for text in ("a,b\n1,2\n", good.replace(",noisy,", ",other,"), good.replace("\n1,", "\nI,")):
        path.write_text(text)
        capsys.readouterr()
        assert evaluate(*PAIRS, "-o", "out") == 2
        assert "is not a table of this command" in capsys.readouterr().err
        assert path.read_text() == text


# ------------------------------------------------------------------------------------------ peers

LATE = """
class Late:
    '''Passes int16 bytes on, some samples late.'''

    def __init__(self, samples=100):
        self.kept = bytes(2 * samples)

    def process(self, frame):
        self.kept += frame
        out, self.kept = self.kept[: len(frame)], self.kept[len(frame) :]
        return out
"""
FAKES = {
    "speexdsp_ns": "class NoiseSuppression:\n    create = staticmethod(lambda frame, rate: Late())\n",
    "webrtc_noise_gain": "class Chunk:\n    pass\n\n\nclass AudioProcessor(Late):\n"
    "    def __init__(self, gain, level):\n        super().__init__()\n\n"
    "    def Process10ms(self, frame):\n        chunk = Chunk()\n        chunk.audio = self.process(frame)\n"
    "        return chunk\n",
    "pyrnnoise": "import numpy as np\n\n\nclass rnnoise:\n    FRAME_SIZE = 480\n"
    "    create = staticmethod(lambda: Late(99))\n"
    "    destroy = staticmethod(lambda state: None)\n\n    @staticmethod\n"
    "    def process_mono_frame(state, frame):\n"
    "        return np.frombuffer(state.process(frame.tobytes()), np.int16), 1.0\n",
    "noisereduce": "import numpy as np\n\n\ndef reduce_noise(x, rate):\n"
    "    return np.concatenate([np.zeros(100), x[:-100]])\n",
}


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Modules under the peers' names that pass sound on, late."""
    (tmp_path / "fakes").mkdir()
    for name, text in FAKES.items():
        (tmp_path / "fakes" / f"{name}.py").write_text(LATE + text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path / "fakes")
    yield
    for name in FAKES:
        sys.modules.pop(name, None)


def test_the_lag_of_a_peer_is_measured_and_taken_out(place, fakes, capsys):
    assert evaluate(*MIXED, "--count", "1", "--peers", "-o", "out") == 0
    noisy, *rows = table_of(place / "out" / "scores.csv")
    assert [row["system"] for row in rows] == list(PEERS)
    for row in rows:
        samples = 33 if row["system"] == "RNNoise" else 100  # 99 at 48 kHz
        assert float(row["latency"]) == 1e3 * samples / RATE
        assert float(row["lag"]) == 0
        assert float(row["SNR"]) == pytest.approx(float(noisy["SNR"]), abs=0.1)
    assert capsys.readouterr().err == ""


def test_peers_that_are_not_installed_are_named(place, monkeypatch, capsys):
    find = systems.importlib.util.find_spec
    hidden = [module for _, module, _ in PEERS.values()]
    monkeypatch.setattr(
        systems.importlib.util, "find_spec", lambda name: None if name in hidden else find(name)
    )
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    assert evaluate(*PAIRS, "--peers", "-o", "none") == 0
    assert "left out, since not installed: RNNoise, speexdsp, WebRTC, noisereduce" in capsys.readouterr().err
    (place / "bin").mkdir()
    (place / "bin" / "rnnoise_demo").write_text(
        '#!/bin/sh\ntail -c +961 "$1" > "$2"\n'
    )  # as it: a frame less
    (place / "bin" / "rnnoise_demo").chmod(0o755)
    assert evaluate(*PAIRS, "--peers", "-o", "out") == 0
    assert "left out, since not installed: speexdsp, WebRTC, noisereduce" in capsys.readouterr().err
    rows = table_of(place / "out" / "scores.csv")
    for row, noisy in zip(select(rows, system="RNNoise"), select(rows, system="noisy"), strict=True):
        assert (float(row["latency"]), float(row["lag"])) == (-10.0, 0.0)
        assert float(row["PESQ"]) == pytest.approx(float(noisy["PESQ"]), abs=0.1)


@pytest.mark.parametrize("name", PEERS)
def test_a_real_peer_lowers_the_noise_and_keeps_the_speech(name):
    start, module, package = PEERS[name]
    pytest.importorskip(module, reason=f"{package} is not installed")
    clean = np.concatenate([np.zeros(RATE), tiny_speech.voice(SECONDS, 5)]).astype(np.float32)
    process = start()
    lag = systems.lag_of(process, clean)
    assert 0 <= lag < 0.05 * RATE
    y = systems.on_time(process, lag, clean + 0.005 * noise(len(clean)))
    assert y.shape == clean.shape
    assert np.std(y[RATE // 2 : RATE - 800]) < 0.85 * 0.005
    assert np.corrcoef(y[RATE:], clean[RATE:])[0, 1] > 0.7


# ------------------------------------------------------------------------------------------ report


def rows_of(values, scored, snrs):
    """Rows where every metric of a system, at an SNR, of a file is one number."""
    return [
        {"number": number, "file": str(number), "noise": "", "snr": snr, "system": system.name}
        | {"mode": system.mode, "problem": "" if np.isfinite(x) else "lost"}
        | dict.fromkeys(METRICS, x)
        | {"lag": 0.0, "polarity": 1.0, "latency": None, "cost": 0.5}
        for system, by_snr in zip(scored, values, strict=True)
        for snr, files in zip(snrs, by_snr, strict=True)
        for number, x in enumerate(files)
    ]


def cells_of(text, title):
    """The cells of a Markdown table, by their first."""
    part = text[text.index(f"### {title}\n") :].split("\n\n")[1]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def test_tables_have_means_errors_and_intervals(place):
    random = np.random.default_rng(3)
    snrs, count = (15.0, 20.0, 25.0), 40
    values = random.normal(10, 2, (3, 3, count))
    values[1] = values[0] + 0.5  # a known shift
    values[2] = values[0] + random.normal(0.2, 1.0, (3, count))
    values[2, 0, 7] = np.nan  # a file that failed
    three = [System(name, "", systems.unchanged, "") for name in ("noisy", "shifted", "wild")]
    material = Mixed((), (), snrs, count, 0)
    rows = rows_of(values, three, snrs)
    scores = reports.gather(rows, three, material)
    text = reports.markdown(reports.tables(rows, scores, three, material, "noisy"), material, "the command")
    assert text.startswith("    the command\n\n40 pairs of clean and noisy speech, each at 15, 20 and 25 dB.")

    def shown(x, places=2):
        x = x[np.isfinite(x)]
        return f"{x.mean():.{places}f} ± {x.std(ddof=1) / np.sqrt(len(x)):.{places + 1}f}"

    averages = cells_of(text, "Averages over the SNRs, as the paper's Table 2")
    want = [shown(values[place].mean(axis=0)) for place in range(3)]
    assert averages["PESQ"] == [*want, "2.65", "2.61", "2.81"]
    assert averages["ESTOI"][0] == shown(values[0].mean(axis=0), 3)
    by_snr = cells_of(text, "Global SNR in dB, as the paper's Table 1")
    want = [shown(values[place, 1]) for place in range(3)]
    assert by_snr["20 dB"] == [*want, "19.10 ± 0.011", "22.82 ± 0.002"]
    assert cells_of(text, "SI-SDR, dB")["wild"][0] == shown(values[2, 0])

    title = "Difference to noisy, average, with paired bootstrap 95 % intervals"
    shifted, wild = (cells_of(text, title)[name] for name in ("shifted", "wild"))
    assert shifted[:2] == ["40", "+0.50 [+0.50, +0.50]"]
    assert wild[0] == "39"
    difference = (values[2] - values[0]).mean(axis=0)
    difference = difference[np.isfinite(difference)]
    mean, low, high = (
        float(number) for number in wild[1].replace("[", "").replace("]", "").replace(",", "").split()
    )
    draws = np.random.default_rng(9).choice(difference, (20_000, 39)).mean(axis=1)
    assert mean == pytest.approx(difference.mean(), abs=0.006)
    assert [low, high] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.02)
    at_15 = cells_of(text, "Difference to noisy, at 15 dB, with paired bootstrap 95 % intervals")
    assert at_15["wild"][0] == "39"
    text = reports.markdown(reports.tables(rows, scores, three, material, "wild"), material, "")
    assert set(cells_of(text, title.replace("noisy", "wild"))) == {"noisy", "shifted"}
    assert cells_of(text, "Systems")["wild"][1:3] == ["119", "1"]
    name, heading, cells = reports.summary(scores)
    assert (name, heading[:2], cells[1][:2]) == (
        "Averages over the SNRs",
        ["system", "PESQ"],
        ["shifted", averages["PESQ"][1]],
    )


def test_the_plot_shows_means_and_errors(tmp_path, monkeypatch):
    axes = pytest.importorskip("matplotlib.axes", reason="draws the plots")
    drawn, plain = {}, axes.Axes.errorbar

    def record(self, x, y, errors, **how):
        drawn.setdefault(how["label"], []).append((list(x), list(y), list(errors)))
        return plain(self, x, y, errors, **how)

    monkeypatch.setattr(axes.Axes, "errorbar", record)
    values = np.arange(2 * 3 * 4, dtype=float).reshape(2, 3, 4, 1) * np.ones(len(METRICS))
    values[1, 0] = np.nan
    values[1, 2, 1:] = np.nan  # one file has no error
    scores = reports.Scores(["noisy", "other"], ["20 dB", "10 dB", "0 dB"], values)
    reports.plot(scores, (20.0, 10.0, 0.0), tmp_path / "plot.png")
    error = np.std(np.arange(4), ddof=1) / 2
    assert len(drawn["noisy"]) == len(METRICS)
    assert drawn["noisy"][0] == ([0, 10, 20], [9.5, 5.5, 1.5], pytest.approx([error] * 3))
    assert drawn["other"][0] == ([0, 10], [20, 17.5], pytest.approx([0, error]))


def test_spectrograms_share_a_scale_and_show_where_the_speech_is(tmp_path, monkeypatch):
    axes = pytest.importorskip("matplotlib.axes", reason="draws the plots")
    drawn, plain = [], axes.Axes.imshow

    def record(self, image, **how):
        drawn.append((image, how))
        return plain(self, image, **how)

    monkeypatch.setattr(axes.Axes, "imshow", record)
    t = np.arange(10 * RATE) / RATE
    tone = (0.5 * np.sin(2 * np.pi * 1_000 * t) * (t >= 6)).astype(np.float32)
    noisy = tone + 0.05 * noise(len(t))
    path = tmp_path / "figure.png"
    reports.draw_spectrograms({"clean": tone, "noisy, 20 dB": noisy, "half": tone / 2}, path)
    assert len(drawn) == 3
    for image, how in drawn:
        assert (how["vmin"], how["vmax"], how["origin"]) == (-70.0, 0.0, "lower")
        assert how["extent"] == pytest.approx((6.0, 10.0, 0.0, 8_000.0), abs=0.01)
        middle = image[:, image.shape[1] // 2]
        assert np.argmax(middle) * RATE / 512 == pytest.approx(1_000, abs=RATE / 512)
    levels = [float(image[:, 100:-100].max()) for image, _ in drawn]
    assert levels[2] - levels[0] == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert max(float(image.max()) for image, _ in drawn) == 0
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) <= 300_000  # noise is the worst


def test_the_figure_is_of_the_named_systems(place, fakes, monkeypatch):
    pytest.importorskip("matplotlib", reason="draws the plots")
    drawn = {}
    monkeypatch.setattr(
        enhancement, "draw_spectrograms", lambda signals, path: drawn.update(signals) or path.touch()
    )
    line = [*MIXED, "--snr", "0", "18", "--count", "1", "--model", "half.onnx", "--peers", "-o", "out"]
    assert evaluate(*line, "--figure", "half", "speexdsp") == 0
    assert list(drawn) == ["clean", "noisy, 18 dB", "half", "speexdsp"]
    noisy = drawn["noisy, 18 dB"]
    assert np.max(np.abs(drawn["half"] - noisy / 2)) <= 1e-6
    assert np.max(np.abs(drawn["speexdsp"] - noisy)) <= 1e-4  # on time
    assert snr_of(drawn["clean"], noisy) == pytest.approx(18, abs=1.0)


def test_without_matplotlib_there_are_tables(place, monkeypatch, capsys):
    find = systems.importlib.util.find_spec
    monkeypatch.setattr(
        systems.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    assert evaluate(*MIXED, "--count", "1", "-o", "out") == 0
    assert "no plots: matplotlib is not installed" in capsys.readouterr().err
    assert (place / "out" / "scores.md").exists()
    assert evaluate(*MIXED, "--count", "1", "-o", "out", "--figure", "noisy") == 2


def test_names_before_an_equals_sign():
    assert enhancement._named("WGAN=runs/a=b.onnx") == ("WGAN", "runs/a=b.onnx")
    assert enhancement._named("runs/a=b.onnx") == ("", "runs/a=b.onnx")
    assert enhancement._named("env A=1 tool {in} {out}") == ("", "env A=1 tool {in} {out}")
    assert enhancement._named("plain") == ("", "plain")


def test_modes_and_sizes_are_all_combined():
    options = types.SimpleNamespace(mode=["sliding", "butt", "sliding"], hop=[1, 2], lookahead=[0, 0, 5])
    assert enhancement._modes(options) == [
        *(("sliding", hop, lookahead) for hop in (1, 2) for lookahead in (0, 5)),
        ("butt", 1, 0),
    ]
