from __future__ import annotations

import os
import resource
import shlex
import shutil
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal

from rtaudio import files
from rtaudio.cli import main
from rtaudio.errors import FileError, UserError, nearest
from rtaudio.files import AudioReader, AudioWriter, FileInfo, audio_files, left_recordings, same_file

Array = NDArray[np.float32]

LOSSLESS = [
    (".wav", "FLOAT"),
    (".wav", "PCM_16"),
    (".wav", "PCM_24"),
    (".flac", "PCM_24"),
    (".aiff", "PCM_24"),
    (".aif", "FLOAT"),
]
LOSSY = [(".ogg", "VORBIS"), (".opus", "OPUS"), (".mp3", "MPEG_LAYER_III")]


def noise(samples: int, channels: int = 2, seed: int = 0, cutoff: float = 0.2) -> Array:
    """Low-passed noise that peaks at 0.5: every codec keeps its waveform."""
    white = np.random.default_rng(seed).standard_normal((channels, samples + 200))
    filtered = signal.lfilter(signal.firwin(101, cutoff), 1, white)[:, 200:]
    return np.ascontiguousarray(0.5 * filtered / np.abs(filtered).max(), dtype=np.float32)


def append(writer: AudioWriter, data: Array, block: int) -> None:
    for start in range(0, data.shape[1], block):
        writer.write(np.ascontiguousarray(data[:, start : start + block]))


def write(path: Path, data: Array, rate: int = 48000, block: int = 4096, **options: object) -> AudioWriter:
    options = {"samples": data.shape[1], **options}
    with AudioWriter(path, rate, len(data), **options) as writer:  # type: ignore[arg-type]
        append(writer, data, block)
    return writer


def rest(reader: AudioReader, block: int = 1000) -> Array:
    blocks = []
    while (data := reader.read(block)).shape[1]:
        assert data.dtype == np.float32
        assert data.flags.c_contiguous
        blocks.append(data)
    return np.concatenate(blocks, axis=1)


def read(path: Path, rate: int | None = None, block: int = 1000) -> Array:
    with AudioReader(path, rate) as reader:
        data = rest(reader, block)
        assert data.shape == (reader.channels, reader.samples)
    return data


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lag(a: Array, b: Array) -> int:
    """Samples by which the second signal comes later than the first."""
    length = min(len(a), len(b))
    return int(np.argmax(signal.correlate(b[:length], a[:length]))) - (length - 1)


# Precision


@pytest.mark.parametrize("dither", [False, True])
@pytest.mark.parametrize(
    ("extension", "subtype", "bits"),
    [
        (".wav", "PCM_U8", 8),
        (".flac", "PCM_S8", 8),
        (".wav", "PCM_16", 16),
        (".flac", "PCM_16", 16),
        (".aiff", "PCM_16", 16),
        (".wav", "PCM_24", 24),
        (".flac", "PCM_24", 24),
        (".aiff", "PCM_24", 24),
        (".wav", "PCM_32", 24),
        (".aiff", "PCM_32", 24),
        (".wav", "DOUBLE", 24),
    ],
)
def test_what_the_format_holds_is_written_exactly(
    tmp_path: Path, extension: str, subtype: str, bits: int, dither: bool
) -> None:
    full = 2 ** (bits - 1)
    codes = np.unique(np.r_[np.linspace(-full, full - 1, 5001).astype(int), -full, -1, 0, 1, full - 1])
    data = (codes / full).astype(np.float32)[None]
    path = tmp_path / f"a{extension}"
    writer = write(path, data, subtype=subtype, dither=dither)
    assert writer.clipped == 0
    assert sf.info(path).subtype == subtype
    raw = sf.read(path, dtype="float64")[0]
    np.testing.assert_array_equal(raw * full, codes)
    np.testing.assert_array_equal(read(path), data)


@pytest.mark.parametrize("extension", [".wav", ".aiff"])
def test_float_keeps_every_bit_of_every_sample(tmp_path: Path, extension: str) -> None:
    data = np.array([[0.0, -0.0, 1e-42, 3e38, -7.5, np.nan, np.inf, -np.inf, 1 / 3]], np.float32)
    path = tmp_path / f"a{extension}"
    assert write(path, data, subtype="float").clipped == 0
    assert read(path).tobytes() == data.tobytes()


def test_integers_are_rounded_half_to_even(tmp_path: Path) -> None:
    steps = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49, 0.51, -0.51, 32766.5], np.float32)
    path = tmp_path / "a.wav"
    write(path, (steps / np.float32(32768))[None], subtype="16", dither=False)
    assert sf.read(path, dtype="int16")[0].tolist() == [0, 2, 2, 0, -2, 0, 1, -1, 32766]


@pytest.mark.parametrize("extension", [".wav", ".flac", ".aiff"])
@pytest.mark.parametrize(("bits", "dtype"), [(16, "int16"), (24, "int32")])
def test_beyond_full_scale_is_limited_and_counted(
    tmp_path: Path, extension: str, bits: int, dtype: str
) -> None:
    data = np.array([[1.0, 1.001, -1.0, -1.001, np.nan, np.inf, 99.0], [0.5] * 7], np.float32)
    path = tmp_path / f"a{extension}"
    assert write(path, data, subtype=str(bits), dither=False).clipped == 3
    codes = sf.read(path, dtype=dtype)[0][:, 0].astype(int) >> (32 - bits if dtype == "int32" else 0)
    top = 2 ** (bits - 1)
    assert codes.tolist() == [top - 1, top - 1, -top, -top, 0, 0, top - 1]


@pytest.mark.parametrize("extension", [".ogg", ".opus", ".mp3"])
def test_lossy_formats_get_no_more_than_full_scale(tmp_path: Path, extension: str) -> None:
    sine = np.sin(2 * np.pi * 440 * np.arange(24000) / 48000)
    data = np.stack([3 * sine, 0.3 * sine]).astype(np.float32)
    data[1, 5000:5003] = np.nan, np.inf, -np.inf
    writer = write(tmp_path / f"a{extension}", data)
    assert writer.clipped == np.count_nonzero(np.abs(3 * sine.astype(np.float32)) > 1)
    back = read(tmp_path / f"a{extension}")
    assert np.isfinite(back).all()
    assert np.abs(back[0]).max() < 1.5
    np.testing.assert_allclose(np.sqrt(np.mean(back[1] ** 2)), 0.3 / np.sqrt(2), rtol=0.02)


# Dither


def test_dither_makes_the_error_triangular_and_free_of_the_signal(tmp_path: Path) -> None:
    step = 1 / 32768
    values = np.repeat(np.array([0.1, 0.25, 0.5, -0.3, 7.45], np.float32) * np.float32(step), 40000)
    path = tmp_path / "a.wav"
    write(path, values[None], subtype="16")
    error = (read(path)[0].astype(float) - values.astype(float)) / step
    for part in error.reshape(5, -1):
        assert abs(part.mean()) < 0.02
        np.testing.assert_allclose(part.var(), 1 / 6 + 1 / 12, rtol=0.05)
    sine = (20 * step * np.sin(2 * np.pi * 1000.5 * np.arange(96000) / 48000)).astype(np.float32)
    write(path, sine[None], subtype="16")
    error = read(path)[0].astype(float) - sine
    assert abs(np.corrcoef(error, sine)[0, 1]) < 0.015
    assert abs(np.corrcoef(error[1:], error[:-1])[0, 1]) < 0.015
    write(path, np.stack([sine, sine]), subtype="16")
    left, right = read(path).astype(float) - sine
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.015


def test_without_dither_a_tone_below_half_a_step_is_lost_and_with_it_kept(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(96000) / 48000).astype(np.float32)
    quiet = tone * np.float32(0.4 / 32768)
    write(tmp_path / "plain.wav", quiet[None], subtype="16", dither=False)
    assert not read(tmp_path / "plain.wav").any()
    write(tmp_path / "dithered.wav", quiet[None], subtype="16")
    kept = read(tmp_path / "dithered.wav")[0] @ tone / (quiet @ tone)
    assert abs(kept - 1) < 0.05


def test_silence_stays_silent(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", np.zeros((2, 1000), np.float32), subtype="16")
    assert not read(tmp_path / "a.wav").any()


# Blocks, lengths and alignment


@pytest.mark.parametrize(
    ("extension", "rate"),
    [(".wav", 48000), (".flac", 48000), (".opus", 44100), (".mp3", 96000)],
)
def test_the_file_does_not_depend_on_the_blocks(tmp_path: Path, extension: str, rate: int) -> None:
    data = noise(30011)
    subtype = "16" if extension in {".wav", ".flac"} else None
    for block in (313, 30011):
        write(tmp_path / f"{block}{extension}", data, rate, block, subtype=subtype)
    small, large = (read(tmp_path / f"{block}{extension}") for block in (313, 30011))
    np.testing.assert_array_equal(small, large)


@pytest.mark.parametrize(("extension", "subtype"), LOSSLESS + LOSSY)
@pytest.mark.parametrize("samples", [1, 480, 4807, 60011])
def test_reading_by_blocks_gives_what_one_read_gives_and_again_after_rewind(
    tmp_path: Path, extension: str, subtype: str, samples: int
) -> None:
    path = tmp_path / f"a{extension}"
    write(path, noise(samples), subtype=subtype)
    whole = sf.read(path, dtype="float32", always_2d=True)[0].T
    assert whole.shape == (2, samples)
    for block in (64, 1000, 10**6):
        with AudioReader(path) as reader:
            np.testing.assert_array_equal(rest(reader, block), whole)
            reader.rewind()
            np.testing.assert_array_equal(rest(reader, block), whole)
            reader.rewind()
            reader.read(samples // 2 + 1)
            reader.rewind()
            np.testing.assert_array_equal(rest(reader, block), whole)


@pytest.mark.parametrize(("extension", "subtype"), LOSSY)
@pytest.mark.parametrize("rate", [16000, 44100, 48000, 96000])
def test_lossy_codecs_keep_length_and_place(tmp_path: Path, extension: str, subtype: str, rate: int) -> None:
    data = noise(rate // 2 + 13, cutoff=0.1)
    path = tmp_path / f"a{extension}"
    writer = write(path, data, rate)
    info = sf.info(path)
    assert info.subtype == subtype
    assert (writer.note != "") == (info.samplerate != rate)
    if writer.note:
        codec = "Opus" if subtype == "OPUS" else "MP3"
        assert writer.note == f"resampled to {info.samplerate} Hz for {codec}"
    with AudioReader(path, rate) as reader:
        back = rest(reader)
        assert reader.info.samples == (2 * data.shape[1] * info.samplerate + rate) // (2 * rate)
    assert abs(back.shape[1] - data.shape[1]) <= 1
    for channel in (0, 1):
        assert lag(data[channel], back[channel]) == 0
        assert np.corrcoef(data[channel][:-1], back[channel][: data.shape[1] - 1])[0, 1] > 0.95


@pytest.mark.parametrize("channels", [3, 5, 6, 7, 8])
def test_ogg_surround_has_its_channels_where_the_codec_wants_them(tmp_path: Path, channels: int) -> None:
    time = np.arange(48000) / 48000
    tones = 50.0 * np.arange(1, channels + 1)  # low enough for the LFE channel
    data = (0.4 * np.sin(2 * np.pi * tones[:, None] * time)).astype(np.float32)
    path = tmp_path / "a.ogg"
    write(path, data)

    def tones_of(audio: Array) -> list[float]:
        return [float(tone) for tone in np.argmax(np.abs(np.fft.rfft(audio)), axis=1)]

    assert tones_of(read(path)) == tones.tolist()
    # Vorbis I 4.3.9: centre second, and LFE, which WAV has fourth, last.
    stream = tones_of(sf.read(path, dtype="float32")[0].T)
    assert stream[:3] == [tones[0], tones[2], tones[1]]
    if channels > 5:
        assert stream[-1] == tones[3]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("extension", [".ogg", ".opus", ".flac", ".aiff", ".wav", ".mp3"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_ffmpeg_decodes_the_same(tmp_path: Path, extension: str, channels: int) -> None:
    path = tmp_path / f"a{extension}"
    if extension == ".mp3":
        channels = min(channels, 2)
    write(path, noise(20011, channels, cutoff=0.001), tags={"title": "Ω"})
    decoded = tmp_path / "decoded.wav"
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-c:a", "pcm_f32le", decoded], check=True)
    there = sf.read(decoded, dtype="float32", always_2d=True)[0].T
    here = read(path)
    length = min(there.shape[1], here.shape[1])
    assert length >= 20011 - (400 if extension == ".opus" else 0)  # ffmpeg may drop Opus's end
    np.testing.assert_allclose(here[:, :length], there[:, :length], atol=2e-4)


# Resampling


@pytest.mark.parametrize(
    ("rate", "new_rate"), [(44100, 48000), (48000, 44100), (96000, 44100), (22050, 48000)]
)
def test_a_resampled_sine_is_the_sine_at_the_new_rate(tmp_path: Path, rate: int, new_rate: int) -> None:
    def sine(at: int, samples: int) -> NDArray[np.float64]:
        return 0.5 * np.sin(2 * np.pi * 997 * np.arange(samples) / at + 0.3)

    write(tmp_path / "a.wav", sine(rate, rate)[None].astype(np.float32), rate)
    resampled = read(tmp_path / "a.wav", new_rate, 777)[0]
    assert len(resampled) == new_rate
    inside = slice(new_rate // 10, -new_rate // 10)
    error = resampled[inside] - sine(new_rate, new_rate)[inside]
    assert 20 * np.log10(np.abs(error).max()) < -120


def test_resampling_agrees_with_scipy(tmp_path: Path) -> None:
    data = noise(44100, cutoff=0.5)
    write(tmp_path / "a.wav", data, 44100)
    ours = read(tmp_path / "a.wav", 48000)
    scipys = signal.resample_poly(data.astype(float), 160, 147, axis=1, window=("kaiser", 12.0))
    assert ours.shape == scipys.shape
    assert lag(scipys[0].astype(np.float32), ours[0]) == 0
    np.testing.assert_allclose(ours[:, 200:-200], scipys[:, 200:-200], atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 30000),
    rate=st.sampled_from([8000, 22050, 44100, 44101, 48000, 96000]),
    new_rate=st.sampled_from([11025, 44100, 48000, 88200, 192000]),
    block=st.sampled_from([37, 512, 20000]),
)
def test_resampled_length_is_exact_and_loops_repeat(
    tmp_path_factory: pytest.TempPathFactory, samples: int, rate: int, new_rate: int, block: int
) -> None:
    path = tmp_path_factory.mktemp("length") / "a.wav"
    sf.write(path, noise(samples, 1)[0], rate, "FLOAT")
    exact = (2 * samples * new_rate + rate) // (2 * rate)
    if exact:
        with AudioReader(path, new_rate) as reader:
            assert reader.samples == exact
            assert reader.info.samples == samples
            first = rest(reader, block)
            assert first.shape == (1, exact)
            reader.rewind()
            np.testing.assert_array_equal(rest(reader, block * 2), first)
            assert reader.read(1).shape == (1, 0)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path, out = tmp_path / "a.flac", tmp_path / "b.flac"
    sf.write(path, np.tile(noise(48000, 1)[0], 100), 48000, "PCM_16")
    tracemalloc.start()
    with AudioReader(path, 44100) as reader, AudioWriter(out, 44100, 1, subtype="16") as writer:
        while (data := reader.read(4096)).shape[1]:
            writer.write(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sf.info(out).frames == 44100 * 100
    assert peak < 3e6  # the file is 9.6 MB as 16-bit, 19 MB as float


# Files that do not tell their length


def mp3_frames(data: bytes) -> list[bytes]:
    """The frames of an MPEG-1 Layer III file without an ID3v2 tag."""
    bit_rates = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    frames, at = [], 0
    while at < len(data) and data[at : at + 2] == b"\xff\xfb":
        size = 144000 * bit_rates[data[at + 2] >> 4] // 48000 + (data[at + 2] >> 1 & 1)
        frames.append(data[at : at + size])
        at += size
    return frames


def test_mp3_without_a_length_is_counted_or_refused(tmp_path: Path) -> None:
    loud, silent = noise(48000, cutoff=0.9), np.zeros((2, 96000), np.float32)
    path, bare = tmp_path / "a.mp3", tmp_path / "bare.mp3"

    write(path, np.concatenate([silent, loud], axis=1))
    frames = mp3_frames(path.read_bytes())[1:]
    bare.write_bytes(b"".join(frames))
    assert read(bare).shape[1] == len(frames) * 1152
    with AudioReader(bare) as reader:
        first = rest(reader)
        reader.rewind()
        np.testing.assert_array_equal(rest(reader, 333), first)
    bare.write_bytes(b"".join(frames)[:-100])
    assert read(bare).shape[1] <= len(frames) * 1152

    write(path, np.concatenate([loud, silent], axis=1))
    bare.write_bytes(b"".join(mp3_frames(path.read_bytes())[1:]))
    with pytest.raises(FileError, match=r"bare.mp3: it does not tell its length .* ffmpeg -i bare.mp3"):
        AudioReader(bare)

    sf.write(path, loud.T, 48000, bitrate_mode="CONSTANT", compression_level=0.5)
    frames = mp3_frames(path.read_bytes())[1:]
    bare.write_bytes(b"".join(frames))
    assert read(bare).shape[1] == len(frames) * 1152


def test_flac_without_a_length_is_counted(tmp_path: Path) -> None:
    data = noise(10007)
    path = tmp_path / "a.flac"
    write(path, data, subtype="24")
    expected = read(path)
    stored = bytearray(path.read_bytes())
    stored[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    stored[22:26] = bytes(4)
    path.write_bytes(stored)
    with AudioReader(path) as reader:
        assert reader.info.samples == 10007
        np.testing.assert_array_equal(rest(reader), expected)
        reader.rewind()
        np.testing.assert_array_equal(rest(reader), expected)


# Subtypes, sizes and tags


@pytest.mark.parametrize(
    ("source", "extension", "kept"),
    [
        ("PCM_16", ".wav", "PCM_16"),
        ("PCM_16", ".flac", "PCM_16"),
        ("PCM_24", ".aiff", "PCM_24"),
        ("PCM_U8", ".flac", "PCM_S8"),
        ("PCM_S8", ".wav", "PCM_U8"),
        ("FLOAT", ".wav", "FLOAT"),
        ("FLOAT", ".flac", "PCM_24"),
        ("DOUBLE", ".wav", "DOUBLE"),
        ("MPEG_LAYER_III", ".wav", "FLOAT"),
        ("VORBIS", ".flac", "PCM_24"),
        ("PCM_16", ".ogg", "VORBIS"),
        ("PCM_16", ".opus", "OPUS"),
        ("OPUS", ".ogg", "OPUS"),
        ("PCM_16", ".MP3", "MPEG_LAYER_III"),
        (None, ".wav", "FLOAT"),
        (None, ".flac", "PCM_24"),
        (None, ".aif", "PCM_24"),
    ],
)
def test_subtype_follows_the_source(tmp_path: Path, source: str | None, extension: str, kept: str) -> None:
    info = FileInfo(Path("in"), "WAV", source, 48000, 1, 9, {}) if source else None
    path = tmp_path / f"a{extension}"
    assert write(path, noise(2000, 1), source=info).subtype == kept
    assert sf.info(path).subtype == kept


@pytest.mark.parametrize(
    ("asked", "extension", "given"),
    [
        ("8", ".wav", "PCM_U8"),
        ("8", ".flac", "PCM_S8"),
        ("16", ".aiff", "PCM_16"),
        ("24", ".flac", "PCM_24"),
        ("32", ".wav", "PCM_32"),
        ("float", ".aiff", "FLOAT"),
        ("pcm_24", ".wav", "PCM_24"),
        ("ulaw", ".wav", "ULAW"),
    ],
)
def test_subtype_as_asked(tmp_path: Path, asked: str, extension: str, given: str) -> None:
    info = FileInfo(Path("in"), "WAV", "PCM_16", 48000, 1, 9, {})
    path = tmp_path / f"a{extension}"
    write(path, noise(2000, 1), subtype=asked, source=info)
    assert sf.info(path).subtype == given


def test_wav_is_plain_when_small_and_rf64_when_announced_large(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    data = noise(100, 1)
    write(path, data, samples=100)
    assert path.read_bytes()[:4] == b"RIFF"
    write(path, data, samples=None)  # a recording
    assert path.read_bytes()[:4] == b"RIFF"
    np.testing.assert_array_equal(read(path), data)
    write(path, data, samples=2**30)
    assert path.read_bytes()[:4] == b"RF64"
    np.testing.assert_array_equal(read(path), data)
    write(path, data, samples=2**30, subtype="16")
    assert path.read_bytes()[:4] == b"RIFF"


def test_a_recording_that_passes_4_gib_becomes_rf64(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    data = noise(1000)
    with AudioWriter(path, 192000, 2) as writer:
        writer.write(data)
        hole = 2**29  # four gigabytes that are never written
        writer.samples = writer._stream.seek(hole)
        writer.write(data)
    with path.open("rb") as file:
        assert file.read(4) == b"RF64"
        assert file.read(4) == b"\xff\xff\xff\xff"
        assert file.read(8) == b"WAVEds64"
        assert struct.unpack("<IQ", file.read(12))[1] == path.stat().st_size - 8
    with sf.SoundFile(path) as stored:
        assert stored.frames == hole + 1000
        np.testing.assert_array_equal(stored.read(1000, dtype="float32").T, data)
        stored.seek(hole)
        np.testing.assert_array_equal(stored.read(dtype="float32").T, data)


@pytest.mark.parametrize("extension", [".aiff", ".wav"])
def test_what_cannot_pass_4_gib_is_refused(tmp_path: Path, extension: str) -> None:
    if extension == ".aiff":
        with pytest.raises(FileError, match=r"a\.aiff: 1073741824 samples pass the 4 GiB of AIFF"):
            AudioWriter(tmp_path / "a.aiff", 48000, 1, subtype="float", samples=2**30)
    else:
        with AudioWriter(tmp_path / "a.wav", 48000, 1, samples=10) as writer:
            writer.write(np.zeros((1, 10), np.float32))
            writer.samples = 2**30
            with pytest.raises(FileError, match="4 GiB"):
                writer.write(np.zeros((1, 10), np.float32))
            writer.samples = 10
        assert sf.info(tmp_path / "a.wav").frames == 10


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff"])
def test_tags_come_back(tmp_path: Path, extension: str) -> None:
    tags = {
        "title": "Tränen – 涙",
        "artist": "Æ & Ø",
        "comment": "x" * 300,
        "album": "Álbum",
        "date": "2024-05-06",
        "genre": "Jazz",
        "tracknumber": "7",
    }
    held = ["title", "artist", "comment"] if extension == ".aiff" else list(tags)
    path, copy = tmp_path / f"a{extension}", tmp_path / f"copy{extension}"
    write(path, noise(5000), tags=tags)
    with AudioReader(path) as reader:
        assert {name: reader.info.tags.get(name) for name in held} == {name: tags[name] for name in held}
        info = reader.info
    write(copy, noise(5000), source=info)
    with AudioReader(copy) as reader:
        assert {name: reader.info.tags.get(name) for name in held} == {name: tags[name] for name in held}
    write(copy, noise(5000), source=info, tags={"title": "other"})
    with AudioReader(copy) as reader:
        assert reader.info.tags["title"] == "other"
        assert "artist" not in reader.info.tags


def test_mp3_tags_are_id3_in_utf8_before_aligned_audio(tmp_path: Path) -> None:
    data = noise(20000)
    plain, tagged = tmp_path / "plain.mp3", tmp_path / "tagged.mp3"
    write(plain, data)
    write(tagged, data, tags={"title": "涙", "comment": "ü"})
    head, audio = tagged.read_bytes()[: -plain.stat().st_size], tagged.read_bytes()[-plain.stat().st_size :]
    assert audio == plain.read_bytes()
    assert head[:6] == b"ID3\x04\x00\x00"
    assert head[10:] == b"TIT2\0\0\0\x04\0\0\x03\xe6\xb6\x99" + b"COMM\0\0\0\x07\0\0\x03eng\0\xc3\xbc"
    assert lag(data[0], read(tagged)[0]) == 0


# All or nothing


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff"])
def test_an_older_file_stays_until_the_new_one_is_complete(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a{extension}"
    path.write_bytes(b"older")
    writer = AudioWriter(path, 48000, 2)
    writer.write(noise(5000))
    assert path.read_bytes() == b"older"
    assert len(left_in(tmp_path)) == 2
    writer.close()
    writer.close()
    writer.abort()
    assert left_in(tmp_path) == [path.name]
    assert read(path).shape == (2, 5000)
    stored = path.read_bytes()

    with pytest.raises(ValueError, match="block must be"), AudioWriter(path, 48000, 2) as writer:
        writer.write(noise(5000, channels=1))
    writer = AudioWriter(path, 48000, 2)
    writer.write(noise(5000, seed=1))
    writer.abort()
    writer.close()
    with pytest.raises(FileError, match="there are no samples"), AudioWriter(path, 48000, 2):
        pass
    assert left_in(tmp_path) == [path.name]
    assert path.read_bytes() == stored
    with pytest.raises(ValueError, match="closed"):
        writer.write(noise(10))


def test_an_interrupted_close_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.wav", noise(100))
    assert left_in(tmp_path) == []


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.wav"
    link.symlink_to(tmp_path / "real" / "a.wav")
    write(link, noise(100))
    assert link.is_symlink()
    assert left_in(tmp_path / "real") == ["a.wav"]


def test_an_encoder_that_does_not_finish_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = AudioWriter(tmp_path / "a.flac", 48000, 2, samples=5000)
    writer.write(noise(5000))
    monkeypatch.setattr(writer, "samples", 6000)
    with pytest.raises(FileError, match="the encoder failed"):
        writer.close()
    assert left_in(tmp_path) == []


def test_a_recording_that_cannot_be_put_in_place_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(FileError, match=r"permission denied; what was recorded is in .*\.part$") as caught:
        write(tmp_path / "a.wav", noise(100), samples=None)
    [part] = tmp_path.iterdir()
    assert str(part) in str(caught.value)
    np.testing.assert_array_equal(read(part), noise(100))
    part.unlink()
    with pytest.raises(FileError, match=r"permission denied$"):
        write(tmp_path / "a.wav", noise(100))
    assert left_in(tmp_path) == []


FULL = """
import resource, sys
import numpy as np
from rtaudio.errors import FileError
from rtaudio.files import AudioWriter

path, recording, limit = sys.argv[1], sys.argv[2] == "recording", int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
block = np.load(sys.argv[4])
writer = AudioWriter(path, 48000, 2, samples=None if recording else 10**6, tags={"title": "t"})
try:
    for _ in range(1000):
        writer.write(block)
except FileError as error:
    print(error)
    try:
        writer.write(block)
    except FileError as again:
        assert str(again) == str(error)
    print(writer.samples)
    writer.close() if recording else writer.abort()
"""


def run_full(tmp_path: Path, path: Path, use: str, limit: int, prefix: list[str]) -> tuple[str, int]:
    np.save(tmp_path / "block.npy", noise(3001, cutoff=0.5))
    (tmp_path / "full.py").write_text(FULL)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = [
        sys.executable,
        str(tmp_path / "full.py"),
        str(path),
        use,
        str(limit),
        str(tmp_path / "block.npy"),
    ]
    done = subprocess.run(prefix + script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    message, samples = done.stdout.splitlines()[:2]
    return message, int(samples)


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff"])
def test_a_full_disk_ends_a_recording_that_stays_readable(tmp_path: Path, extension: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / f"a{extension}"
    message, samples = run_full(tmp_path, path, "recording", 400_001, [])
    assert message == f"cannot write {path}: file too large after {samples} samples"
    assert samples % 3001 == 0
    assert left_in(folder) == [path.name]
    written = np.tile(noise(3001, cutoff=0.5), (1, samples // 3001))
    back = read(path)
    if extension in {".wav", ".aiff"}:
        assert back.shape == written.shape
    else:
        assert 0.8 * samples < back.shape[1] <= samples + 2304
    if extension not in {".ogg", ".opus", ".mp3"}:
        np.testing.assert_allclose(back, written[:, : back.shape[1]], atol=2**-24)


@pytest.mark.parametrize("extension", [".wav", ".flac", ".mp3"])
def test_a_full_disk_leaves_nothing_of_a_render(tmp_path: Path, extension: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    run_full(tmp_path, folder / f"a{extension}", "render", 300_001, [])
    assert left_in(folder) == []


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_even_be_begun_leaves_nothing(tmp_path: Path) -> None:
    for name in ("a.flac", "a.wav"):
        for samples in (50, None):
            (tmp_path / name).write_bytes(b"older")
            with file_size_limit(10), pytest.raises(FileError, match="file too large"):
                write(tmp_path / name, noise(50), samples=samples)
            assert (tmp_path / name).read_bytes() == b"older"
    assert left_in(tmp_path) == ["a.flac", "a.wav"]


@pytest.mark.parametrize("extension", [".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("samples", [None, 60000])
def test_a_disk_that_fills_while_closing(tmp_path: Path, extension: str, samples: int | None) -> None:
    path = tmp_path / f"a{extension}"
    writer = AudioWriter(path, 48000, 2, samples=samples)
    writer.write(noise(60000))
    with (
        file_size_limit(writer._part.stat().st_size),
        pytest.raises(FileError, match="file too large after 60000"),
    ):
        writer.close()
    if samples is None:
        assert left_in(tmp_path) == [path.name]
        assert 40000 < read(path).shape[1] <= 60000 + 2304
    else:
        assert left_in(tmp_path) == []


@pytest.mark.parametrize("extension", [".wav", ".flac", ".opus"])
def test_room_that_comes_too_late_is_not_used(tmp_path: Path, extension: str) -> None:
    path, complete = tmp_path / f"a{extension}", tmp_path / f"complete{extension}"
    data = noise(200_000)
    write(complete, data)
    writer = AudioWriter(path, 48000, 2)
    with file_size_limit(complete.stat().st_size // 2), pytest.raises(FileError, match="file too large"):
        append(writer, data, 4000)
    with pytest.raises(FileError, match="file too large"):
        writer.write(data)
    writer.close()
    kept = read(path)
    assert kept.shape[1] > 60_000
    np.testing.assert_array_equal(kept, read(complete)[:, : kept.shape[1]])


@pytest.mark.parametrize("extension", [".wav", ".flac", ".mp3"])
def test_a_really_full_disk(tmp_path: Path, extension: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=300k tmpfs {disk}"
    try:
        subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs leave to mount a small disk")
    keep = tmp_path / "kept"
    keep.mkdir()
    prefix = ["unshare", "-rm", "sh", "-c", f'{mount} && "$@" && cp -a {disk}/. {keep}', "sh"]
    path = disk / f"a{extension}"
    message, samples = run_full(tmp_path, path, "recording", 0, prefix)
    assert message == f"cannot write {path}: disk full after {samples} samples"
    assert left_in(keep) == [path.name]
    assert read(keep / path.name).shape[1] > 0.8 * samples


# Errors


def test_errors_in_opening_for_reading(tmp_path: Path) -> None:
    def refused(path: Path, why: str) -> None:
        with pytest.raises(FileError, match=why) as caught:
            AudioReader(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, UserError)

    refused(tmp_path / "none.wav", "no such file")
    refused(tmp_path, "it is a folder")
    for name in ("a.wav", "a.mp3", "a.raw", "a"):
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, "it is empty")
        (tmp_path / name).write_bytes(b"not audio at all " * 99)
        refused(tmp_path / name, "not audio")
    sf.write(tmp_path / "none.wav", np.zeros((0, 2)), 48000)
    refused(tmp_path / "none.wav", "it holds no audio")
    os.mkfifo(tmp_path / "pipe.wav")
    refused(tmp_path / "pipe.wav", "not a regular file")
    sf.write(tmp_path / "one.wav", np.zeros(1), 48000)
    with pytest.raises(ValueError, match="rate"):
        AudioReader(tmp_path / "one.wav", 0)
    with AudioReader(tmp_path / "one.wav") as reader, pytest.raises(ValueError, match="n must"):
        reader.read(0)


@pytest.mark.parametrize("extension", [".flac", ".mp3"])
@pytest.mark.parametrize("rate", [None, 44100])
def test_a_truncated_file_fails_where_it_ends(tmp_path: Path, extension: str, rate: int | None) -> None:
    path = tmp_path / f"a{extension}"
    write(path, noise(100_000))
    whole = read(path, rate)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with AudioReader(path, rate) as reader:
        np.testing.assert_array_equal(reader.read(20000), whole[:, :20000])
        with pytest.raises(FileError, match=r"truncated or damaged after sample \d+ of 100000"):
            rest(reader)


def test_errors_in_opening_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, why: str, rate: int = 48000, channels: int = 2, **options: object) -> None:
        with pytest.raises(FileError, match=why) as caught:
            AudioWriter(path, rate, channels, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    refused(tmp_path / "a.flack", r"unknown extension '.flack', did you mean '.flac'\? \(\.wav, \.flac, ")
    refused(tmp_path / "a", "unknown extension ''")
    refused(tmp_path / "none" / "a.wav", "there is no folder .*none")
    refused(tmp_path / "a.flac", r".flac has no subtype 'float' \(PCM_24, PCM_16, PCM_S8\)", subtype="float")
    refused(tmp_path / "a.wav", "unknown tag 'titel', did you mean 'title'", tags={"titel": "x"})
    refused(tmp_path / "a.mp3", "MPEG_LAYER_III does not take 3 channels at 48000 Hz", channels=3)
    refused(tmp_path / "a.flac", "PCM_24 does not take 9 channels", channels=9)
    refused(tmp_path / "a.ogg", "VORBIS does not take 2 channels at 384000 Hz", rate=384_000)
    refused(tmp_path / "a.ogg", "VORBIS does not take 256 channels at 48000 Hz", channels=256)
    (tmp_path / "folder.wav").mkdir()
    refused(tmp_path / "folder.wav", "it is a folder")
    os.mkfifo(tmp_path / "pipe.wav")
    refused(tmp_path / "pipe.wav", "not a regular file")
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "a.wav", "not a directory")
    assert left_in(tmp_path) == ["file", "folder.wav", "pipe.wav"]

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    refused(tmp_path / "a.wav", "a.wav: permission denied")


@pytest.mark.parametrize("block", [np.zeros((2, 9)), np.zeros((3, 9), np.float32), np.zeros(9, np.float32)])
def test_blocks_of_another_kind_are_refused(tmp_path: Path, block: Array) -> None:
    writer = AudioWriter(tmp_path / "a.wav", 48000, 2)
    with pytest.raises(ValueError, match=r"block must be float32 \(2, n\)"):
        writer.write(block)
    writer.abort()


# Paths


def test_same_file_sees_through_links(tmp_path: Path) -> None:
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    a.touch()
    b.touch()
    (tmp_path / "hard.wav").hardlink_to(a)
    (tmp_path / "soft.wav").symlink_to(a)
    (tmp_path / "folder").symlink_to(tmp_path)
    for other in ("a.wav", "hard.wav", "soft.wav", "folder/a.wav"):
        assert same_file(a, tmp_path / other)
    assert not same_file(a, b)
    assert not same_file(a, tmp_path / "none.wav")
    assert not same_file(tmp_path / "none.wav", tmp_path / "none.wav")


def test_audio_files_are_found_in_folders(tmp_path: Path) -> None:
    for name in ("b.wav", "a.FLAC", "sub/c.mp3", "sub/notes.txt", ".hidden.wav", "sub/._c.mp3", "odd.bin"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty").mkdir()
    found = audio_files([tmp_path / "odd.bin", tmp_path, str(tmp_path / "b.wav")])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["odd.bin", "a.FLAC", "b.wav", "sub/c.mp3"]
    with pytest.raises(FileError, match=r"no audio files in .*empty"):
        audio_files([tmp_path / "empty"])
    with pytest.raises(FileError, match=r"no such file or folder: .*none"):
        audio_files([tmp_path / "none"])
    assert audio_files([]) == []


def test_everything_written_can_be_found() -> None:
    assert set(files._CONTAINERS) <= files.EXTENSIONS


def test_nearest() -> None:
    assert nearest("gian", ["gain", "delay"]) == ", did you mean 'gain'?"
    assert nearest("gian", iter(["gain"])) == ", did you mean 'gain'?"
    assert nearest("xyzzy", ["gain", "delay"]) == ""
    assert nearest("x", []) == ""


def killed(path: Path, data: Array) -> Path:
    """What a writer leaves that is killed; it was an hour ago."""
    with AudioWriter(path, 48_000, len(data)) as writer:
        append(writer, data, 4096)
        (part,) = path.parent.glob(f".{path.name}.*.part")
        left = part.read_bytes()
    path.unlink()
    part.write_bytes(left)
    os.utime(part, (0, time.time() - 3600))
    return part


def test_what_a_killed_writer_has_left_is_told_and_mended(tmp_path: Path) -> None:
    data = noise(50_000)
    part = killed(tmp_path / "my take.wav", data)
    (told,) = left_recordings(tmp_path)
    assert told.startswith(f"{part} was begun and never ended: 'rtaudio render ")
    command = shlex.split(told.partition(": '")[2].removesuffix("' mends it"))
    assert command[0] == "rtaudio"
    assert main(command[1:]) == 0
    with AudioReader(tmp_path / "my take-mended.wav") as reader:
        np.testing.assert_array_equal(rest(reader), data)
    part.unlink()
    part = killed(tmp_path / "a.aiff", data)
    assert left_recordings(tmp_path) == [f"{part} was begun and never ended"]


def test_what_is_being_written_is_not_left(tmp_path: Path) -> None:
    (tmp_path / ".other.part").touch()
    os.utime(tmp_path / ".other.part", (0, 0))
    with AudioWriter(tmp_path / "a.wav", 48_000, 2) as writer:
        writer.write(noise(1000))
        assert left_recordings(tmp_path) == []
    assert left_recordings(tmp_path / "nowhere") == []
