"""The scores of separation against mir_eval, museval and closed forms, and the command that reports them."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from workshop import help_without, select, status_of, table_of

from engines.hpss import Hpss
from export import separation
from export.__main__ import main
from export.separation import BSS_EVAL, SCORES, STEMS, Truth, decibels, find_songs, read_song
from rtaudio import cli

RATE = 44_100
SHARED = Path(__file__).parents[2] / "shared" / "data" / "stems"


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def energy(x):
    return float(np.sum(np.asarray(x, np.float64) ** 2))


def smeared(x, seed):
    """Through a filter of 300 taps per channel, as long as before."""
    taps = noise(len(x), 300, seed=seed) * np.exp(-np.arange(300) / 40)
    return np.array([np.convolve(row, filter_)[: len(row)] for row, filter_ in zip(x, taps, strict=True)])


def music(channels, samples, seed=0):
    """Chords that change, and clicks with a decaying noise, each differently in the channels."""
    random, t = np.random.default_rng(seed), np.arange(samples) / RATE
    harmonic, percussive = np.zeros((2, channels, samples))
    for begin in range(0, samples, RATE // 4):
        tones = random.uniform(100, 4_000, 4)[:, None] * 2 * np.pi * t[None, : samples - begin]
        weights = random.uniform(0, 1, (channels, 4))
        harmonic[:, begin:] += weights @ (np.sin(tones) * np.exp(-t[: samples - begin] * 3))
        hit = random.standard_normal((1, samples - begin)) * np.exp(-t[: samples - begin] * 60)
        percussive[:, begin:] += random.uniform(0.3, 1, (channels, 1)) * hit
    return {"harmonic": harmonic, "percussive": percussive}


# ------------------------------------------------------------------------------------------ BSS Eval

CASES = {
    "mono noise": (1, 9_000, lambda c, n: {"harmonic": noise(c, n), "percussive": noise(c, n, seed=1)}),
    "stereo noise": (2, 6_000, lambda c, n: {"harmonic": noise(c, n), "percussive": noise(c, n, seed=1)}),
    "three channels": (3, 5_000, lambda c, n: {"harmonic": noise(c, n), "percussive": noise(c, n, seed=1)}),
    "levels 50 dB apart": (
        2,
        6_000,
        lambda c, n: {"harmonic": noise(c, n), "percussive": 3e-3 * noise(c, n, seed=1)},
    ),
    "music": (2, 70_000, music),
    "one segment": (1, separation._HOP, music),
    "a sample more": (1, separation._HOP + 1, music),
    "short": (1, 2_500, music),
}


def estimates_of(stems):
    """Leaky, filtered and noisy."""
    harmonic, percussive = stems["harmonic"], stems["percussive"]
    level = np.sqrt(np.mean(harmonic**2))
    return {
        "harmonic": 0.9 * harmonic
        + smeared(0.2 * percussive, 2)
        + 0.1 * level * noise(*harmonic.shape, seed=3),
        "percussive": smeared(percussive, 4)
        - 0.3 * harmonic[::-1]
        + 0.02 * level * noise(*harmonic.shape, seed=5),
    }


def by_mir_eval(stems, estimates):
    """`BSS_EVAL` by stem."""
    mir_eval = pytest.importorskip("mir_eval", reason="compares with mir_eval")
    truth, estimated = (np.stack([x[stem].T for stem in STEMS]) for x in (stems, estimates))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = mir_eval.separation.bss_eval_images(truth, estimated, compute_permutation=False)
    return np.array(found[:4]).T


def ours(stems, estimates):
    truth = Truth(stems)
    scores = {stem: truth.scores(stem, estimates[stem]) for stem in STEMS}
    return np.array([[scores[stem][key] for key in BSS_EVAL] for stem in STEMS])


@pytest.mark.parametrize(("channels", "samples", "make"), CASES.values(), ids=CASES)
def test_scores_equal_mir_eval(channels, samples, make):
    stems = make(channels, samples)
    estimates = estimates_of(stems)
    assert np.max(np.abs(ours(stems, estimates) - by_mir_eval(stems, estimates))) <= 1e-3


def test_scores_equal_museval():
    museval = pytest.importorskip("museval.metrics", reason="compares with museval")
    stems = music(2, 40_000)
    estimates = estimates_of(stems)
    truth, estimated = (np.stack([x[stem].T for stem in STEMS]) for x in (stems, estimates))
    found = museval.bss_eval_images(truth, estimated, compute_permutation=False)
    assert np.max(np.abs(ours(stems, estimates) - np.array(found[:4])[..., 0].T)) <= 1e-3


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the stems of ../shared are not there")
def test_scores_of_recordings_equal_mir_eval():
    for name in ("dev_metal", "dev_jazz"):
        stems = read_song(name, find_songs(SHARED)[name], 2.0).stems
        estimates = {stem: 0.8 * x + 0.2 * stems[STEMS[1 - STEMS.index(stem)]] for stem, x in stems.items()}
        estimates = {stem: x + 1e-3 * noise(*x.shape) for stem, x in estimates.items()}
        assert np.max(np.abs(ours(stems, estimates) - by_mir_eval(stems, estimates))) <= 0.01


def apart():
    """A stem, another and an error that never sound within 512 samples of each other, so that no filter of
    one reaches the other."""
    stem, other, error = np.zeros((3, 2, 12_000))
    stem[:, :3_000], other[:, 4_000:7_000], error[:, 8_000:11_000] = (
        noise(2, 3_000, seed=k) for k in range(3)
    )
    return stem, other, error


@pytest.mark.parametrize(("gain", "leak", "noisy"), [(0.9, 0.5, 0.1), (1.5, 0.01, 2.0), (-0.5, 1.0, 1e-3)])
def test_what_no_filter_reaches_has_closed_forms(gain, leak, noisy):
    stem, other, error = apart()
    s, i, a = energy(stem), leak**2 * energy(other), noisy**2 * energy(error)
    got = Truth({"harmonic": stem, "percussive": other}).scores(
        "harmonic", gain * stem + leak * other + noisy * error
    )
    want = {
        "SDR": s / ((1 - gain) ** 2 * s + i + a),
        "ISR": 1 / (1 - gain) ** 2,
        "SIR": gain**2 * s / i,
        "SAR": (gain**2 * s + i) / a,
        "SI-SDR": gain**2 * s / (i + a),
    }
    assert got == pytest.approx({key: 10 * np.log10(value) for key, value in want.items()}, abs=1e-3)


def test_a_delay_of_up_to_511_samples_is_spatial_distortion_and_nothing_else():
    stem, other, _ = apart()
    truth = Truth({"harmonic": stem, "percussive": other})
    for delay in (1, 100, 511):
        late = 0.7 * np.roll(stem, delay, axis=1)
        got = truth.scores("harmonic", late)
        want = 10 * np.log10(energy(stem) / energy(stem - late))
        assert (got["SDR"], got["ISR"]) == pytest.approx((want, want), abs=1e-6)
        assert min(got["SIR"], got["SAR"]) > 80
    beyond = truth.scores("harmonic", np.roll(stem, 512, axis=1))
    assert beyond["SAR"] < 0  # what no filter reaches is an artifact


def test_filters_cross_channels():
    stem, other, _ = apart()
    got = Truth({"harmonic": stem, "percussive": other}).scores("harmonic", stem[::-1])
    assert min(got["SIR"], got["SAR"]) > 80
    assert got["ISR"] < 0


def test_the_truth_itself_and_the_mix():
    stems = music(2, 40_000)
    truth = Truth(stems)
    for stem in STEMS:
        assert min(truth.scores(stem, stems[stem]).values()) > 90
        assert truth.scores(stem, stems[stem])["SDR"] == separation.LIMIT
        mixed = truth.scores(stem, sum(stems.values()))
        other = stems[STEMS[1 - STEMS.index(stem)]]
        assert mixed["SDR"] == pytest.approx(10 * np.log10(energy(stems[stem]) / energy(other)), abs=1e-9)
        assert mixed["SAR"] > 90


def test_equal_or_silent_channels_do_no_harm():
    """The Gram matrix is singular then; what is left are the scores of one channel."""
    stems = music(1, 40_000)
    estimates = estimates_of(stems)
    want = ours(stems, estimates)
    twice = [{stem: np.repeat(x, 2, axis=0) for stem, x in each.items()} for each in (stems, estimates)]
    silent = [{stem: np.pad(x, ((0, 1), (0, 0))) for stem, x in each.items()} for each in (stems, estimates)]
    for wider in (twice, silent):
        assert np.max(np.abs(ours(*wider) - want)) <= 1e-3


@pytest.mark.parametrize("scale", [1.0, 1e-3, 40.0, -2.0])
def test_si_sdr_is_that_of_the_best_gain(scale):
    stem, other = noise(2, 2, 5_000)
    error = noise(2, 5_000, seed=9)
    error -= stem * np.vdot(stem, error) / np.vdot(stem, stem)
    got = Truth({"harmonic": stem, "percussive": other}).scores("harmonic", scale * (stem + 0.2 * error))
    assert got["SI-SDR"] == pytest.approx(10 * np.log10(energy(stem) / energy(0.2 * error)), abs=1e-9)
    sdr = 1 / ((1 - scale) ** 2 + energy(0.2 * scale * error) / energy(stem))
    assert got["SDR"] == pytest.approx(10 * np.log10(sdr), abs=1e-9)


def test_scores_end_at_100_decibels():
    assert (decibels(1.0, 0.0), decibels(0.0, 1.0), decibels(0.0, 0.0)) == (100, -100, -100)
    assert (decibels(1.0, 1e-30), decibels(1e-30, 1.0), decibels(1.0, -1e-18)) == (100, -100, 100)
    assert decibels(2.0, 1.0) == pytest.approx(3.0103, abs=1e-4)


# ------------------------------------------------------------------------------------------ systems


def test_the_ideal_mask_shares_the_mix_out_and_separates_it():
    song = separation.Song("song", RATE, {stem: x.astype(np.float32) for stem, x in music(2, RATE).items()})
    ideal, truth = separation.with_truth(song), Truth(song.stems)
    assert np.max(np.abs(sum(ideal.values()) - song.mix)) <= 1e-5
    for stem in STEMS:
        best, mixed = truth.scores(stem, ideal[stem]), truth.scores(stem, song.mix)
        assert best["SDR"] > mixed["SDR"] + 10
        assert best["SIR"] > mixed["SIR"] + 10


def test_a_mask_of_stems_that_share_no_bin_gives_the_stems():
    t = np.arange(RATE) / RATE
    stems = {"harmonic": np.sin(2 * np.pi * 500 * t), "percussive": np.sin(2 * np.pi * 8_000 * t)}
    song = separation.Song("song", RATE, {stem: x[None].astype(np.float32) for stem, x in stems.items()})
    for stem, x in separation.with_truth(song).items():
        inner = slice(4096, -4096)
        assert np.max(np.abs(x - song.stems[stem])[:, inner]) <= 1e-4


# ------------------------------------------------------------------------------------------ the command


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two songs: ``truth`` holds them, ``halves`` estimates at half the level, ``mixes`` what to separate."""
    for number, (name, ending) in enumerate([("one", ("pitched", "drums")), ("two", STEMS)]):
        stems = music(2, RATE, seed=number)
        peak = np.max(np.abs(sum(stems.values())))
        for folder in ("truth", "halves", "mixes"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for stem, kind in zip(STEMS, ending, strict=True):
            x = (stems[stem] / peak).T.astype(np.float32)
            sf.write(tmp_path / "truth" / f"{name}.{kind}.wav", x, RATE, subtype="FLOAT")
            sf.write(tmp_path / "halves" / f"{name}.{stem}.wav", x / 2, RATE, subtype="FLOAT")
        mix = sum(
            sf.read(path, dtype="float32")[0] for path in sorted((tmp_path / "truth").glob(f"{name}.*"))
        )
        sf.write(tmp_path / "mixes" / f"{name}.wav", mix, RATE, subtype="FLOAT")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*arguments):
    return main(["evaluate", "separation", *arguments])


def streamed(x, **values):
    """The engine on its own, hop by hop: its stems, aligned with the input."""
    made = Hpss(**values)
    made.prepare(RATE, made.hop, True, len(x))
    padded = np.pad(x, ((0, 0), (0, made.latency + made.hop)))
    outs = []
    for begin in range(0, padded.shape[1] - made.hop + 1, made.hop):
        outs.append(np.empty((3 * len(x), made.hop), np.float32))
        made.process(np.ascontiguousarray(padded[:, begin : begin + made.hop]), outs[-1])
    parts = np.concatenate(outs, axis=1)[:, made.latency : made.latency + x.shape[1]].reshape(3, *x.shape)
    return dict(zip(STEMS, parts, strict=False))


def test_everything_end_to_end(place, capsys, monkeypatch):
    pytest.importorskip("matplotlib", reason="draws the plots")
    assert cli.main(["separate", "mixes", "-o", "separated", "--subtype", "float", "--jobs", "1"]) == 0
    line = ["halves", "separated", "--stems", "truth", "-o", "out", "--iterations", "2"]
    monkeypatch.setattr(sys, "argv", ["export", "evaluate", "separation", *line])
    assert evaluate(*line) == 0

    rows = table_of(place / "out" / "scores.csv")
    systems = {(row["system"], row["iteration"], row["spatial"]) for row in rows}
    assert len(rows) == 2 * 2 * len(systems)
    models = next(parameter.choices for parameter in Hpss.parameters if parameter.id == "spatial")
    assert {("rtaudio quality", n, model) for n in "12" for model in models} < systems
    names = (
        "rtaudio live",
        "rtaudio live, medians",
        "rtaudio live, scales",
        "rtaudio balanced",
        "librosa, the paper's",
        "librosa, defaults",
        "mix",
    )
    assert {(name, "", "") for name in (*names, "ideal Wiener mask", "halves", "separated")} < systems

    for row in select(rows, system="halves"):  # the true stems at half their level
        assert float(row["SDR"]) == float(row["ISR"]) == pytest.approx(20 * np.log10(2), abs=1e-3)
        assert float(row["SI-SDR"]) == separation.LIMIT
        assert row["x real time"] == ""
    first = select(rows, system="rtaudio quality", iteration="1", spatial="none")
    for mine, written in zip(first, select(rows, system="separated"), strict=True):
        assert [float(mine[key]) for key in SCORES] == pytest.approx(
            [float(written[key]) for key in SCORES], abs=2e-3
        )
        assert float(mine["x real time"]) > 0
    iterated = {
        "preset": "quality",
        "harmonic_iterations": 2,
        "percussive_iterations": 2,
        "spatial": models[1],
    }
    alone = streamed(sf.read(place / "mixes" / "two.wav", dtype="float32")[0].T.copy(), **iterated)
    for row in select(rows, song="two", system="rtaudio quality", iteration="2", spatial=models[1]):
        true = sf.read(place / "truth" / f"two.{row['stem']}.wav")[0].T
        sdr = 10 * np.log10(energy(true) / energy(true - alone[row["stem"]]))
        assert float(row["SDR"]) == pytest.approx(sdr, abs=1e-3)
    for name in ("one", "two"):
        stems = {stem: sf.read(place / "halves" / f"{name}.{stem}.wav")[0] for stem in STEMS}
        ratio = 10 * np.log10(energy(stems["harmonic"]) / energy(stems["percussive"]))
        mixed = [float(row["SDR"]) for row in select(rows, system="mix", song=name)]
        assert mixed == pytest.approx([ratio, -ratio], abs=1e-3)

    text = (place / "out" / "table.md").read_text()
    assert "python -m export evaluate separation halves separated --stems truth -o out --iterations 2" in text
    of_paper = [row for row in rows if row["system"] == "librosa, the paper's"]
    both, harmonic, percussive = (
        [np.mean([float(row[key]) for row in of_paper if row["stem"] in stems]) for key in SCORES]
        for stems in (STEMS, STEMS[:1], STEMS[1:])
    )
    printed = [row for row in text.splitlines() if row.startswith("| librosa, the paper's |")]
    for found, want in zip(printed, (both, harmonic, percussive), strict=True):
        assert [float(cell) for cell in found.split(" | ")[3:8]] == pytest.approx(want, abs=0.006)
    assert "about 0.33" in text
    assert (place / "out" / "iterations.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "iterations.png",
        "scores.csv",
        "table.md",
    ]
    assert "ideal Wiener mask" in capsys.readouterr().out


def test_the_folders_alone_and_the_beginning_alone(place, capsys):
    for path in (place / "halves").iterdir():  # wrong after the beginning
        x, _ = sf.read(path)
        x[RATE // 4 :] = 0.5
        sf.write(path, x, RATE, subtype="FLOAT")
    assert evaluate("halves", "--stems", "truth", "--no-systems", "--seconds", "0.25", "-o", "out") == 0
    rows = table_of(place / "out" / "scores.csv")
    assert [(row["song"], row["stem"], row["system"]) for row in rows] == [
        (song, stem, "halves") for song in ("one", "two") for stem in STEMS
    ]
    assert all(float(row["SDR"]) == pytest.approx(20 * np.log10(2), abs=1e-3) for row in rows)
    assert not (place / "out" / "iterations.png").exists()
    assert "rtaudio" not in capsys.readouterr().out


def test_without_out_nothing_is_written(place, capsys):
    before = sorted(place.rglob("*"))
    assert evaluate("halves", "--stems", "truth", "--no-systems") == 0
    assert sorted(place.rglob("*")) == before
    assert "halves" in capsys.readouterr().out


def test_the_plot_shows_the_means(tmp_path, monkeypatch):
    axes = pytest.importorskip("matplotlib.axes", reason="draws the plots")
    drawn, plain = [], axes.Axes.plot

    def record(self, x, y, **how):
        drawn.append((list(x), [float(value) for value in y], how["label"]))
        return plain(self, x, y, **how)

    monkeypatch.setattr(axes.Axes, "plot", record)
    rows = [
        {
            "song": song,
            "stem": stem,
            "system": "s",
            "iteration": n,
            "spatial": spatial,
            "SDR": 10.0 * n + s + k + r,
        }
        | {"x real time": 1.0}
        for s, stem in enumerate(STEMS)
        for n in (1, 2, 3)
        for r, spatial in ((0.0, "none"), (0.5, "weighted"))
        for k, song in enumerate(["one", "two"])
    ]
    monkeypatch.setattr(separation, "SCORES", ("SDR",))
    separation.plot(rows, ["SDR"], tmp_path / "plot.png")
    assert drawn == [
        ([1, 2, 3], [11.5, 21.5, 31.5], "spatial=none"),
        ([1, 2, 3], [12.0, 22.0, 32.0], "spatial=weighted"),
        ([1, 2, 3], [10.5, 20.5, 30.5], "spatial=none"),
        ([1, 2, 3], [11.0, 21.0, 31.0], "spatial=weighted"),
    ]


def test_ctrl_c_keeps_what_is_done_under_another_name(place, monkeypatch, capsys):
    (place / "out").mkdir()
    (place / "out" / "scores.csv").write_text("of an earlier run")
    score = separation.evaluate

    def interrupted(song, *rest):
        if song.name == "two":
            raise KeyboardInterrupt
        return score(song, *rest)

    monkeypatch.setattr(separation, "evaluate", interrupted)
    assert evaluate("halves", "--stems", "truth", "--no-systems", "-o", "out") == 130
    assert (place / "out" / "scores.csv").read_text() == "of an earlier run"
    assert [row["song"] for row in table_of(place / "out" / "scores.csv.part")] == ["one", "one"]
    assert sorted(path.name for path in (place / "out").iterdir()) == ["scores.csv", "scores.csv.part"]
    said = capsys.readouterr()
    assert "scores.csv.part" in said.err
    assert said.err.endswith("interrupted\n")
    assert not said.out


PEASS = """
class Found:
    overall_perceptual_score, target_perceptual_score = 11.0, 22.0
    interference_perceptual_score, artifact_perceptual_score = 33.0, 44.0

calls = []

def predict_perceptual_evaluation_scores(original_files, estimate_file, sampling_frequency_hz):
    calls.append((original_files, estimate_file, sampling_frequency_hz))
    return Found()
"""


def test_peass_scores_are_asked_for_target_first(place, monkeypatch, capsys):
    (place / "peass.py").write_text(PEASS)
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "peass", raising=False)
    assert evaluate("halves", "--stems", "truth", "--no-systems", "--peass", "-o", "out") == 0
    import peass

    rows = table_of(place / "out" / "scores.csv")
    assert [[float(row[key]) for key in separation.PEASS] for row in rows] == [[11, 22, 33, 44]] * 4
    for row, (sources, estimate, rate) in zip(rows, peass.calls, strict=True):
        target = sf.read(place / "halves" / f"{row['song']}.{row['stem']}.wav")[0]
        assert rate == RATE
        assert np.max(np.abs(sources[0] - 2 * target)) <= 1e-6
        assert np.max(np.abs(estimate - target)) <= 1e-6
        assert sources[1].shape == target.shape
        assert energy(sources[1] - sources[0]) > 0
    assert "OPS" in capsys.readouterr().out
    del sys.modules["peass"]


@pytest.mark.slow
def test_the_real_peass_ranks_a_clean_estimate_above_a_leaky_one():
    pytest.importorskip("peass", reason="python-peass is not installed")
    stems = {stem: 0.1 * x for stem, x in music(1, RATE).items()}
    clean = separation.peass_scores(stems, "harmonic", 0.9 * stems["harmonic"], RATE)
    leaky = separation.peass_scores(stems, "harmonic", sum(stems.values()), RATE)
    assert all(0 <= value <= 100 for value in (*clean.values(), *leaky.values()))
    assert clean["IPS"] > leaky["IPS"] + 10


def spoil(place, mistake):
    """Make a mistake in the folders."""
    first = place / "halves" / "one.harmonic.wav"
    x, _ = sf.read(first)
    match mistake:
        case "missing stem":
            (place / "truth" / "two.percussive.wav").unlink()
        case "missing song":
            (place / "halves" / "two.harmonic.wav").unlink()
            (place / "halves" / "two.percussive.wav").unlink()
        case "twice":
            (place / "truth" / "one.harmonic.wav").write_bytes(
                (place / "truth" / "one.pitched.wav").read_bytes()
            )
        case "rate":
            sf.write(first, x, 48_000)
        case "length":
            sf.write(first, x[:-1], RATE)
        case "width":
            sf.write(first, x[:, :1], RATE)
        case "silent":
            sf.write(place / "truth" / "one.drums.wav", 0 * x, RATE)
        case "nan":
            x[7] = np.nan
            sf.write(first, x, RATE, subtype="FLOAT")
        case "no audio":
            first.write_text("no audio")
        case "same names":
            (place / "other").mkdir()
            (place / "halves").rename(place / "other" / "truth")


MISTAKES = {
    "missing stem": ("halves --no-systems", "truth has no percussive stem of two: add two.percussive.wav"),
    "missing song": ("halves --no-systems", "halves has no two: add two.harmonic.wav and two.percussive.wav"),
    "twice": ("halves --no-systems", "truth/one.pitched.wav are both the harmonic part: remove one"),
    "rate": (
        "halves --no-systems",
        "one.harmonic.wav has 48000 Hz, 2 channels, 44100 samples, but truth/one.pitched",
    ),
    "length": (
        "halves --no-systems",
        "44099 samples, but truth/one.pitched.wav has 44100 Hz, 2 channels, 44100",
    ),
    "width": ("halves --no-systems", "1 channels"),
    "silent": ("halves --no-systems", "truth/one.drums.wav is silent, for which no score is defined: leave"),
    "nan": ("halves --no-systems", "halves/one.harmonic.wav has samples that are not finite"),
    "no audio": ("halves --no-systems", "halves/one.harmonic.wav"),
    "same names": ("truth other/truth --no-systems", "two rows would be called truth: rename the folder"),
    "too short": (
        "halves --no-systems --seconds 0.05",
        "pitched.wav: 2205 samples are too few to score, want 4096",
    ),
    "no folder": ("nowhere --no-systems", "nowhere is not a folder"),
    "an empty folder": ("mixes --no-systems", "no songs in mixes: want NAME.harmonic.wav"),
    "nothing to do": ("--no-systems", "--no-systems leaves nothing to score: name folders of estimates"),
    "unknown preset": (
        "--preset qualty",
        "'qualty' is not one of live, balanced, quality, did you mean 'quality'?",
    ),
    "iterations": ("--iterations 0", "'0' is not a whole number above 0"),
    "too many iterations": ("--iterations 11", "harmonic_iterations=11 is out of range (1 to 10)"),
    "a file as output": ("halves --no-systems -o mixes/one.wav", "cannot make the folder mixes/one.wav"),
    "unknown option": ("--stem truth", "unrecognized arguments"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(place, capsys, mistake):
    line, said = MISTAKES[mistake]
    spoil(place, mistake)
    status = status_of("evaluate", "separation", "--stems", "truth", *line.split())
    out, err = capsys.readouterr()
    last = err.removeprefix("compiling kernels (once; kept for the next run)\n")
    assert (status, out, last.count("\n")) == (2, "", 1), err
    assert said in last
    assert last.startswith("python -m export")


def test_peass_that_is_not_installed_is_one_line(place, capsys, monkeypatch):
    monkeypatch.setattr(separation.importlib.util, "find_spec", lambda name: None)
    assert evaluate("halves", "--stems", "truth", "--no-systems", "--peass") == 2
    assert "--peass needs python-peass" in capsys.readouterr().err


def test_help_imports_no_torch_and_no_numba():
    said = help_without("torch numba librosa matplotlib", "evaluate", "separation")
    assert "--iterations" in said
