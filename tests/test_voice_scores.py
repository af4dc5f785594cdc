"""Scores of voices beside recordings: alignments, spectra, pitch, clicks, words, and the command."""

import itertools
import json

import numpy as np
import pytest
import soundfile as sf
import tiny_speech
import tiny_voices

from export import voice_scores
from export.__main__ import main
from export.corpus import Clip
from export.output import file_hash
from export.voice_scores import chosen, clicks_at, score, warped, words_of

RATE = 22_050


def tone(pitch, seconds=1.5, rate=RATE):
    """Harmonics of a steady pitch, after a tenth of a second without."""
    t = np.arange(round(seconds * rate)) / rate
    x = sum(np.sin(2 * np.pi * k * pitch * t) / k for k in range(1, 12))
    return (0.1 * x * (t > 0.1)).astype(np.float32)


def cost_of(a, b, path):
    """What a path costs: a step by one in both costs twice."""
    total, last = 0.0, None
    for i, j in path:
        step = np.abs(a[i] - b[j]).mean()
        total += step * (2 if last is not None and i > last[0] and j > last[1] else 1)
        last = i, j
    return total


def all_paths(rows, columns):
    """Every way from (0, 0) to the last pair by steps of one."""
    for ups in itertools.product([(1, 0), (0, 1), (1, 1)], repeat=rows + columns - 2):
        path = [(0, 0)]
        for up in ups:
            if path[-1] == (rows - 1, columns - 1):
                break
            path.append((path[-1][0] + up[0], path[-1][1] + up[1]))
        if path[-1] == (rows - 1, columns - 1):
            yield path


@pytest.mark.parametrize("seed", range(5))
def test_no_path_costs_less(seed):
    random = np.random.default_rng(seed)
    a, b = (random.normal(size=(random.integers(2, 5), 3)) for _ in range(2))
    found = list(zip(*(x.tolist() for x in warped(a, b)), strict=True))
    assert found in list(all_paths(len(a), len(b)))
    assert cost_of(a, b, found) == pytest.approx(min(cost_of(a, b, p) for p in all_paths(len(a), len(b))))


def test_what_is_slower_is_aligned_with_itself():
    a = np.random.default_rng(0).normal(size=(30, 8))
    at, beside = warped(np.repeat(a, 2, axis=0), a)
    np.testing.assert_array_equal(np.unique(np.stack([at // 2, beside]), axis=1), [range(30), range(30)])


def test_a_recording_is_like_itself_at_any_level():
    x = tiny_speech.voice(2.0, 3)
    found = score(0.25 * x, [100, 20_000], x, 16_000)
    assert (found.voicing, found.tempo, found.borders, found.clicks) == (0.0, 1.0, 2, 0)
    assert found.mel < 1e-4
    assert found.cents == 0.0


def test_pitch_is_compared_in_cents():
    found = score(tone(224.5), [], tone(200.0), RATE)
    assert found.cents == pytest.approx(200.0, abs=2.0)  # A whole tone is 12 / 6 semitones.
    assert found.voicing < 0.05
    assert (
        score(
            0.1 * np.random.default_rng(0).normal(size=RATE).astype(np.float32), [], tone(200.0), RATE
        ).voicing
        > 0.6
    )


def test_tempo_is_relative_to_the_recording():
    assert score(tone(200.0, 3.0), [], tone(200.0, 1.5), RATE).tempo == pytest.approx(2.0)


def test_a_jump_at_a_border_is_a_click():
    x = 0.2 * np.sin(2 * np.pi * 200 * np.arange(30_000) / RATE).astype(np.float32)
    border = 15_000
    assert clicks_at(x, [border, 20_000], RATE) == 0
    for size in (0.05, -0.2):
        y = x.copy()
        y[border:] += np.float32(size)
        assert clicks_at(y, [border, 20_000], RATE) == 1
        assert clicks_at(y, [20_000], RATE) == 0
    assert clicks_at(x[:3], [0, 1, 2, 3], RATE) == 0


def test_words_are_as_a_recogniser_writes_them():
    said = words_of("Well-known, isn't it? On 3 May.")
    assert " ".join(said) == "well known isn't it on the third of may"


def test_each_text_is_scored_once():
    clips = [Clip(str(n), 0, f"text {n % 5}", (), 1, None, n % 2 == 0) for n in range(20)]
    assert [clip.text for clip in chosen(clips, 99)] == [f"text {n}" for n in (0, 2, 4, 1, 3)]
    assert [clip.text for clip in chosen(clips, 2)] == ["text 0", "text 4"]


# The command


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    made = tmp_path_factory.mktemp("corpus") / "made"
    folder = made.parent / "speech"
    (folder / "wavs").mkdir(parents=True)
    texts = [f"a bad bed on {word}" for word in ("fire", "wood", "rain", "snow", "iron", "glass")]
    lines = []
    for number, text in enumerate(texts):
        sf.write(folder / "wavs" / f"clip{number}.wav", tiny_speech.voice(2.0, number), tiny_speech.RATE)
        lines.append(f"clip{number}|{text}\n")
    (folder / "metadata.csv").write_text("".join(lines))
    options = ["--phonemes", "text", "--held-out", "3"]
    assert main(["data", "speech", str(folder), "-o", str(made), "--language", "en", *options]) == 0
    return made


def test_voices_are_scored_beside_the_recordings(corpus, tmp_path, monkeypatch, capsys):
    voice = tiny_voices.pair(tmp_path / "two", phoneme_type="text")
    heard = []

    def listen(samples, rate):
        heard.append((len(samples), rate))
        return ["a", "bad", "bed"]

    monkeypatch.setattr(voice_scores, "recogniser", lambda: listen)
    monkeypatch.setattr(voice_scores, "version", lambda name: "5.0.0")
    report = tmp_path / "scores.json"
    assert (
        main(["evaluate", "voice", str(corpus), "--voice", str(voice), "--count", "2", "--json", str(report)])
        == 0
    )
    said = json.loads(report.read_text())
    assert (said["texts"], said["words"], said["recogniser"]) == (2, 10, "pocketsphinx 5.0.0, en-us")
    assert said["word error rates"] == {"recordings": 0.4, str(voice): 0.4}  # Two of five words are missing.
    assert said["networks"] == {str(voice): [file_hash(voice / name) for name in ("text.onnx", "dec.onnx")]}
    assert len(heard) == 4
    assert {rate for _, rate in heard} == {RATE}
    means = said["voices"][str(voice)]
    assert means["borders"] > 0
    assert means["mel"] > 0.1
    shown = capsys.readouterr().out
    assert "2 texts that were held out" in shown
    assert "40.0" in shown


def test_without_a_recogniser_words_are_left_out(corpus, tmp_path, monkeypatch, capsys):
    voice = tiny_voices.pair(tmp_path / "two", phoneme_type="text")
    monkeypatch.setattr(voice_scores, "recogniser", lambda: None)
    assert main(["evaluate", "voice", str(corpus), "--voice", str(voice), "--count", "1"]) == 0
    told = capsys.readouterr()
    assert "pip install pocketsphinx" in told.err
    assert "recordings" not in told.out


def test_mistakes_are_told_in_a_line(corpus, tmp_path, capsys):
    assert main(["evaluate", "voice", str(corpus), "--voice", "nobody"]) == 2
    assert "no voice 'nobody'" in capsys.readouterr().err
    assert main(["evaluate", "voice", str(corpus), "--voice", "recordings"]) == 2
    assert "give its path" in capsys.readouterr().err
    nowhere = str(tmp_path / "nowhere" / "scores.json")
    assert main(["evaluate", "voice", str(corpus), "--voice", "espeak-en", "--json", nowhere]) == 2
    assert f"cannot write {nowhere}" in capsys.readouterr().err
    assert main(["evaluate", "voice", str(tmp_path), "--voice", "espeak-en"]) == 2
    assert "export data speech" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "voice", str(corpus), "--voice", "espeak-en", "--count", "0"])
    assert "is not a whole number above 0" in capsys.readouterr().err
