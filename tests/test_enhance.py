"""Files through ``rtaudio enhance``, with networks that do next to nothing."""

import json

import chunk_models
import numpy as np
import pytest
import soundfile as sf

pytest.importorskip("onnxruntime", reason="runs networks")

from engines.enhance import MODELS
from engines.enhancer import Enhance
from rtaudio.cli import main
from rtaudio.graph import Graph, Node
from rtaudio.plan import Plan

CHUNK = 2048


@pytest.fixture
def enhance(tmp_path):
    """Run the command on signals (samples, channels) with a network that multiplies; gives what it wrote."""

    def run(x, rate, gain, *options, subtype="FLOAT"):
        model = chunk_models.write(tmp_path / "net.onnx", chunk_models.gain(gain), CHUNK)
        sf.write(tmp_path / "in.wav", x, rate, subtype=subtype)
        status = main(
            [
                "enhance",
                str(tmp_path / "in.wav"),
                "-o",
                str(tmp_path / "out.wav"),
                "--model",
                str(model),
                *(() if "--mix" in options else ("--mix", "1")),
                *options,
            ]
        )
        assert status == 0
        return sf.read(tmp_path / "out.wav", dtype="float32", always_2d=True)

    return run


def tones(rate, *frequencies, seconds=1.0):
    t = np.arange(round(seconds * rate)) / rate
    return sum(0.2 * np.sin(2 * np.pi * f * t + f) for f in frequencies).astype(np.float32)


def level_of(x, rate, frequency):
    """Amplitude of a tone in the middle of a signal."""
    middle = x[len(x) // 4 : -len(x) // 4]
    t = np.arange(len(middle)) / rate
    window = np.hanning(len(middle))
    return 2 * abs(np.sum(window * middle * np.exp(-2j * np.pi * frequency * t))) / np.sum(window)


@pytest.mark.parametrize("mode", ["butt", "overlap", "sliding"])
@pytest.mark.parametrize("samples", [1, 1_000, 16_385])
def test_a_gain_is_a_gain_in_every_mode(enhance, mode, samples):
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, 2)).astype(np.float32)
    y, rate = enhance(x, 16_000, 0.25, "--mode", mode)
    assert rate == 16_000
    np.testing.assert_allclose(y, 0.25 * x, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("samples", [12_345, 48_001])
def test_as_long_as_the_file_and_aligned_at_any_rate(enhance, rate, samples):
    x = tones(rate, 300.0, 1_700.0, seconds=samples / rate)
    y, _ = enhance(x, rate, 0.5)
    assert len(y) == len(x) == samples
    np.testing.assert_allclose(y[2_000:-2_000, 0], 0.5 * x[2_000:-2_000], atol=2e-5)
    # At the ends resampling has nothing to go by on one side.
    np.testing.assert_allclose(y[:, 0], 0.5 * x, atol=0.06)


def test_what_lies_above_the_network_is_kept(enhance):
    """A network that takes all away leaves what it does not hear."""
    x = tones(48_000, 1_000.0, 12_000.0)
    y, _ = enhance(x, 48_000, 0.0)
    assert level_of(y[:, 0], 48_000, 1_000.0) < 1e-4
    assert level_of(y[:, 0], 48_000, 12_000.0) == pytest.approx(0.2, abs=1e-4)


@pytest.mark.parametrize(("mix", "kept"), [("0", 1.0), ("0.5", 0.6), ("1", 0.2)])
def test_mix(enhance, mix, kept):
    x = tones(16_000, 500.0)
    y, _ = enhance(x, 16_000, 0.2, "--mix", mix)
    np.testing.assert_allclose(y[:, 0], kept * x, atol=1e-6)


def test_samples_that_are_not_finite_become_0_and_spoil_no_others(enhance, capsys):
    x = tones(16_000, 500.0)
    x[5_000] = np.nan
    y, _ = enhance(x, 16_000, 0.5)
    np.testing.assert_allclose(y[:, 0], 0.5 * np.nan_to_num(x), atol=1e-6)
    assert "1 samples that are not finite set to 0" in capsys.readouterr().err


def test_folders_and_what_cannot_be_read(tmp_path, capsys):
    model = chunk_models.write(tmp_path / "net.onnx", chunk_models.gain(0.5), CHUNK)
    for name in ("a.wav", "b/c.flac"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(tmp_path / "in" / name, tones(16_000, 500.0), 16_000)
    (tmp_path / "in" / "broken.wav").write_text("no sound")
    assert main(["enhance", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(model)]) == 1
    assert "broken.wav" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file()) == ["a.wav", "c.flac"]
    assert (sf.info(tmp_path / "out" / "b" / "c.flac").subtype, (tmp_path / "out" / "b").is_dir()) == (
        "PCM_16",
        True,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.wav", "-o", "out.wav"], "none.wav"),
        (["in.wav", "-o", "in.wav"], "is an input: choose another output"),
        (["in.wav", "in.wav", "-o", "out.wav"], "several inputs need a folder"),
        (["in.wav", "-o", "out.wav", "--model", "none.onnx"], "no model 'none.onnx'"),
        (["in.wav", "-o", "out.wav", "--model", "lvie"], "no model 'lvie'"),
        (["in.wav", "-o", "out.wav", "--model", "bare.onnx"], "a model has its card beside it"),
        (
            ["in.wav", "-o", "out.wav", "--model", "live", "--mode", "butt"],
            "--mode is for networks that see chunks, such as paper: leave it out with --model live",
        ),
        (
            ["in.wav", "-o", "out.wav", "--model", "paper", "--onset", "0"],
            "--onset is for networks of spectra, such as live: leave it out with --model paper",
        ),
        (
            ["in.wav", "-o", "out.wav", "--model", "paper", "--tail"],
            "--tail is for networks of spectra, such as live: leave it out with --model paper",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    sf.write("in.wav", tones(16_000, 500.0), 16_000)
    (tmp_path / "bare.onnx").write_bytes(b"")
    if "--model" not in arguments:
        chunk_models.write(tmp_path / "net.onnx", chunk_models.gain(0.5), CHUNK)
        arguments = [*arguments, "--model", "net.onnx"]
    assert main(["enhance", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert not (tmp_path / "out.wav").exists()


def test_mix_is_a_part(capsys):
    with pytest.raises(SystemExit):
        main(["enhance", "in.wav", "-o", "out.wav", "--mix", "2"])
    assert "'2' is not a number from 0 to 1" in capsys.readouterr().err


def test_a_limit_leaves_as_much(enhance):
    """Of what a network that takes all away would take."""
    x = tones(16_000, 500.0)
    y, _ = enhance(x, 16_000, 0.0, "--limit", "6")
    np.testing.assert_allclose(y[:, 0], x * 10 ** (-6 / 20), atol=1e-6)
    y, _ = enhance(x, 16_000, 0.0, "--limit", "0")
    np.testing.assert_allclose(y[:, 0], x, atol=1e-6)


@pytest.mark.parametrize("text", ["-1", "101", "loud"])
def test_a_limit_is_a_number_of_decibels(text, capsys):
    with pytest.raises(SystemExit):
        main(["enhance", "in.wav", "-o", "out.wav", "--limit", text])
    assert f"{text!r} is not a number of dB from 0 to 100" in capsys.readouterr().err


@pytest.mark.parametrize(("rate", "samples"), [(44_100, 30_001), (48_000, 1), (16_000, 12_345)])
def test_live_is_the_engine_at_the_rate_of_the_file(tmp_path, rate, samples):
    """As long and aligned: to the bit what the engine puts out, with the settings given."""
    x = np.random.default_rng(1).uniform(-0.3, 0.3, (samples, 2)).astype(np.float32)
    sf.write(tmp_path / "in.wav", x, rate, subtype="FLOAT")
    to = ["-o", str(tmp_path / "out.wav"), "--json", str(tmp_path / "report.json")]
    settings = ["--mix", "0.5", "--limit", "20", "--onset", "1", "--stereo", "each"]
    assert main(["enhance", str(tmp_path / "in.wav"), *to, *settings]) == 0
    y, got = sf.read(tmp_path / "out.wav", dtype="float32", always_2d=True)
    assert (got, y.shape) == (rate, x.shape)
    values = {"mix": 0.5, "limit": 20.0, "onset": 1.0, "stereo": "each"}
    plan = Plan(Graph([Node("e", Enhance, values)], ["in -> e", "e.out -> out"]), rate, 512, 2, offline=True)
    padded = np.pad(x.T, ((0, 0), (0, plan.latency + 512)))
    blocks = [padded[:, at : at + 512] for at in range(0, padded.shape[1] - 511, 512)]
    want = np.concatenate([plan.process(np.ascontiguousarray(b))["main"].copy() for b in blocks], axis=1)
    late = plan.latency
    plan.close()
    assert np.array_equal(y.T, want[:, late : late + samples])
    assert json.loads((tmp_path / "report.json").read_text())["latency"]["total"] == late


def test_live_takes_several_files_in_processes(tmp_path):
    """A model by its path too: every process finds the engine that goes with it."""
    for name in ("a.wav", "b.wav"):
        sf.write(tmp_path / name, tones(16_000, 500.0), 16_000)
    names = [str(tmp_path / name) for name in ("a.wav", "b.wav")]
    for folder, more in (("one", ["--jobs", "1"]), ("two", ["--model", str(MODELS["live"]), "--jobs", "2"])):
        assert main(["enhance", *names, "-o", str(tmp_path / folder), *more]) == 0
    for name in ("a.wav", "b.wav"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("model", ["live", "paper"])
def test_the_shipped_networks_take_noise_out_of_a_voice(tmp_path, model):
    """Of what it was trained for: a steady noise 20 dB below speech, made here."""
    import tiny_speech

    clean = tiny_speech.voice(6.0, 3)
    noise = np.random.default_rng(0).standard_normal(len(clean))
    noise = np.convolve(noise, np.ones(8) / 8, "same")
    noise *= 0.1 * np.sqrt(np.mean(clean**2) / np.mean(noise**2))
    sf.write(tmp_path / "in.wav", (clean + noise).astype(np.float32), 16_000, subtype="FLOAT")
    to = ["-o", str(tmp_path / "out.wav"), "--model", model]
    assert main(["enhance", str(tmp_path / "in.wav"), *to, "--mix", "1"]) == 0
    out, _ = sf.read(tmp_path / "out.wav")
    pauses = np.convolve(np.abs(clean), np.ones(800), "same") < 1e-3
    assert np.sum(pauses) > 2_000
    assert 10 * np.log10(np.mean(out[pauses] ** 2) / np.mean(noise[pauses] ** 2)) < -3
