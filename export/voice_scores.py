"""How well a voice says what recordings say: ``python -m export evaluate voice CORPUS --voice V``.

The texts are those of a corpus' held-out clips, each once. A voice that says one is laid beside the recording
by dynamic time warping (H. Sakoe, S. Chiba, IEEE Transactions on ASSP 26 (1), 1978, symmetric, without slope
constraint) of log mel spectra, at the recording's level.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from export.corpus import HOP, Clip, read_corpus, read_sound
from export.mel import logmel
from export.models.pronouncer import distance
from export.output import progress, show, write_json
from export.pitch import pitch_of
from rtaudio.cli import check_report, say, whole
from rtaudio.errors import FileError, UserError

if TYPE_CHECKING:
    from engines.speech.voice import Voice

MELS, WINDOW = 80, 1024
LISTENS = 16_000
"""Hz at which the recogniser listens."""
AROUND = 0.005
"""Seconds on either side of a border that it is compared with."""
CLICK, SOFTEST = 4.0, 4e-4
"""A second difference across a border is a click if it is so many times the largest around, and so large."""
FORMS = {
    "mel": ".3f", "pitch, cents": ".0f", "voicing": ".1%", "tempo": ".2f", "borders": ".0f", "clicks": ".0f"
}  # fmt: skip
"""How what `summary` tells is shown."""
HEADING = ["", "words", "word errors, %", *FORMS]
RECORDINGS = "recordings"
RECOGNISER = "pocketsphinx"

Listen = Callable[[NDArray[np.float32], int], list[str]]
"""What is heard in samples at a rate in Hz, as words."""
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """Of one text, by one voice."""

    mel: float
    """Mean absolute difference of log mel spectra, natural logarithm."""
    cents: float
    """Median absolute difference in pitch where both have one; NaN where they never do."""
    voicing: float
    """Part of the time in which only one of them has a pitch."""
    tempo: float
    """Its length, relative to the recording's."""
    borders: int
    """Between pieces that were made one after the other."""
    clicks: int
    """Borders at which the sound jumps."""


def warped(a: Samples, b: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The alignment of two sequences of frames that costs least.

    Parameters
    ----------
    a, b
        (frames, features). A step costs the mean absolute difference of two frames, twice where both move on.

    Returns
    -------
    Indices into both, from their beginnings to their ends.
    """
    found: tuple[NDArray[np.int64], NDArray[np.int64]] = _path(cdist(a, b, "cityblock") / a.shape[1])
    return found


@numba.njit(cache=True, nogil=True)
def _path(cost: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(rows):
        for j in range(columns):
            both = total[i, j] + (2.0 if i and j else 1.0) * cost[i, j]
            one = min(total[i, j + 1], total[i + 1, j]) + cost[i, j]
            total[i + 1, j + 1] = min(both, one)
    i, j = rows - 1, columns - 1
    path = [(i, j)]
    while i or j:
        both = total[i, j] + (2.0 if i and j else 1.0) * cost[i, j]
        if i and j and both <= min(total[i, j + 1], total[i + 1, j]) + cost[i, j]:
            i, j = i - 1, j - 1
        elif j == 0 or (i and total[i, j + 1] <= total[i + 1, j]):
            i -= 1
        else:
            j -= 1
        path.append((i, j))
    found = np.array(path[::-1])
    return found[:, 0].copy(), found[:, 1].copy()


def clicks_at(x: Samples, borders: Sequence[int], rate: int) -> int:
    """At how many borders a sound jumps: its second difference across one is `CLICK` times all around it."""
    bends = np.abs(np.diff(x.astype(np.float64), 2))  # bends[n] is about x[n + 1]
    reach, found = round(AROUND * rate), 0
    for border in borders:
        across = bends[max(0, border - 2) : border]
        around = np.concatenate([bends[max(0, border - reach) : border - 2], bends[border : border + reach]])
        found += bool(len(across) and len(around) and across.max() > max(CLICK * around.max(), SOFTEST))
    return found


def score(sound: Samples, borders: Sequence[int], real: Samples, rate: int) -> Score:
    """Score how a text was said.

    Parameters
    ----------
    sound, real
        (samples,), of the voice and of the recording, at ``rate`` Hz.
    borders
        Samples of ``sound`` at which a piece begins that was made after another.
    """
    level = float(np.sqrt(np.mean(real**2) / (np.mean(sound**2) + 1e-12)))
    spectra = [logmel(x[None], rate, MELS, HOP, WINDOW)[0] for x in (level * sound, real)]
    at, beside = warped(*spectra)
    pitch, right = (pitch_of(x, rate, HOP)[some] for x, some in ((sound, at), (real, beside)))
    both = (pitch > 0) & (right > 0)
    cents = 1200 * np.abs(np.log2(pitch[both] / right[both]))
    return Score(
        float(np.abs(spectra[0][at] - spectra[1][beside]).mean()),
        float(np.median(cents)) if len(cents) else np.nan,
        float(np.mean((pitch > 0) != (right > 0))),
        len(sound) / len(real),
        len(borders),
        clicks_at(sound, borders, rate),
    )


def words_of(text: str) -> list[str]:
    """The words of an English text as a recogniser writes them."""
    from engines.speech import english

    return re.sub(r"[^a-z' ]+", " ", english.normalise(text).lower().replace("-", " ")).split()


def recogniser() -> Listen | None:
    """PocketSphinx with its American English model; None where it is not installed."""
    try:
        from pocketsphinx import Decoder  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        return None
    decoder = Decoder(samprate=LISTENS, loglevel="FATAL")

    def listen(samples: Samples, rate: int) -> list[str]:
        heard = np.clip(soxr.resample(samples, rate, LISTENS), -1, 1)
        decoder.start_utt()
        decoder.process_raw((32767 * heard).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return re.sub(r"\(\d\)|<\w+>|\[\w+\]", "", found.hypstr).split() if found else []

    return listen


def spoken(voice: Voice, text: str, rate: int) -> tuple[Samples, list[int]]:
    """A text as a voice says it, at a rate, and where its pieces meet."""
    from engines.speech.text import sentences

    chunks = (chunk for sentence in sentences(text, "en") for chunk in voice.speak(sentence))
    pieces = [chunk.samples for chunk in chunks if len(chunk.samples)]
    if not pieces:
        raise UserError(f"the voice says nothing of {text!r}")
    sound, borders = np.concatenate(pieces), np.cumsum([len(piece) for piece in pieces])[:-1]
    if voice.rate == rate:
        return sound, borders.tolist()
    return soxr.resample(sound, voice.rate, rate), [round(at * rate / voice.rate) for at in borders]


def chosen(clips: Iterable[Clip], count: int) -> list[Clip]:
    """Held-out clips of so many texts, each once, from all over the corpus."""
    texts = list({clip.text: clip for clip in clips if clip.held_out}.values())
    count = min(count, len(texts))
    return [texts[len(texts) * number // count] for number in range(count)]


def texts_of(means: Mapping[str, float | None]) -> list[str]:
    """What `summary` tells, for people."""
    return ["-" if means[name] is None else f"{means[name]:{form}}" for name, form in FORMS.items()]


def told_of(scores: Mapping[str, Any]) -> Iterator[str]:
    """Lines of what the command has written with ``--json``, for a voice's card."""
    heard = f"; {scores['recogniser']} listens" if scores["recogniser"] else ""
    yield f"{scores['texts']:d} texts of {scores['words']:d} words that were held out{heard}"
    yield ""
    for name, rate in scores["word error rates"].items():
        yield f"* {name}: {100 * rate:.1f} % word errors"
    for name, means in scores["voices"].items():
        told = "; ".join(f"{what} {text}" for what, text in zip(FORMS, texts_of(means), strict=True))
        yield f"* {name}, beside the recordings: {told}"


def summary(scores: Sequence[Score]) -> dict[str, float | None]:
    """Means over texts, the median of the pitch where any has one, and sums of borders and clicks."""
    cents = [each.cents for each in scores if not np.isnan(each.cents)]
    return {
        "mel": float(np.mean([each.mel for each in scores])),
        "pitch, cents": float(np.median(cents)) if cents else None,
        "voicing": float(np.mean([each.voicing for each in scores])),
        "tempo": float(np.mean([each.tempo for each in scores])),
        "borders": sum(each.borders for each in scores),
        "clicks": sum(each.clicks for each in scores),
    }


# ------------------------------------------------------------------------------------------ the command


def command(commands: Any) -> None:
    """Add ``voice`` to ``evaluate``."""
    parser = commands.add_parser(
        "voice",
        help="score how an English voice says what recordings say",
        description="Let voices say the held-out texts of a corpus, beside the recordings: what a recogniser "
        "(PocketSphinx, if it is installed) makes of both, and how far spectra, pitch and tempo are apart.",
    )
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="a folder that 'data speech' has written")
    parser.add_argument(
        "--voice", action="append", required=True, metavar="V",
        help="as 'rtaudio say' takes it; may be given again",
    )  # fmt: skip
    parser.add_argument("--count", type=whole, default=120, metavar="N", help="texts, at most (120)")
    parser.add_argument("--json", type=Path, metavar="F", help="write the scores, such as for a voice's card")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score, and show a table."""
    from engines.speech.piper import PiperVoice
    from engines.speech.voices import open_voice

    if RECORDINGS in options.voice:
        raise UserError(f"--voice {RECORDINGS}: that is what the recordings are called here; give its path")
    check_report(options.json and str(options.json), [])
    corpus = read_corpus(options.corpus)
    if corpus.language.partition("-")[0] != "en":
        raise UserError(f"{options.corpus} is in {corpus.language}: the recogniser knows English alone")
    clips = chosen(corpus.clips, options.count)
    if not clips:
        raise UserError(f"{options.corpus} has no clip that is held out")
    listen = recogniser()
    if listen is None:
        say("without word error rates: there is no recogniser ('pip install pocketsphinx')")
    scores: dict[str, list[Score]] = {name: [] for name in options.voice}
    edits = dict.fromkeys((RECORDINGS, *options.voice), 0)
    said = {clip.text: words_of(clip.text) for clip in clips}
    words = sum(map(len, said.values()))
    voices = {name: open_voice(name) for name in scores}
    try:
        with progress(len(clips)) as advance:
            for clip in clips:
                advance(clip.name)
                real = read_sound(clip)
                sounds = {RECORDINGS: real}
                for name, voice in voices.items():
                    sounds[name], borders = spoken(voice, clip.text, corpus.rate)
                    scores[name].append(score(sounds[name], borders, real, corpus.rate))
                if listen is not None:
                    for name, sound in sounds.items():
                        edits[name] += distance(listen(sound, corpus.rate), said[clip.text])
    finally:
        for voice in voices.values():
            voice.close()
    rates = {name: count / words for name, count in edits.items()} if listen is not None else {}
    found = {name: summary(each) for name, each in scores.items()}
    cells = [[RECORDINGS, str(words), f"{100 * rates[RECORDINGS]:.1f}", *["-"] * 6]] if rates else []
    for name, means in found.items():
        rate = f"{100 * rates[name]:.1f}" if rates else "-"
        cells.append([name, str(words), rate, *texts_of(means)])
    show(HEADING, cells, f"{len(clips)} texts that were held out")
    if options.json is not None:
        told = {
            "texts": len(clips),
            "words": words,
            "recogniser": f"{RECOGNISER} {version(RECOGNISER)}, en-us" if rates else None,
            "word error rates": rates,
            "voices": found,
            "networks": {
                name: list(voice.networks.sha256)
                for name, voice in voices.items()
                if isinstance(voice, PiperVoice)
            },
        }
        try:
            write_json(options.json, told)
        except OSError as error:
            raise FileError(f"{options.json}: {error.strerror}") from None
    return 0
