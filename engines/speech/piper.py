"""Voices of Piper's kind: a folder with a network, or a pair of them, and its JSON.

NAME.onnx takes ``input`` (ids, int64 [1, P]), ``input_lengths`` (int64 [1]), ``scales`` (float32 [3]: noise,
length, noise of the durations) and, with several speakers, ``sid`` (int64 [1]); it gives the sound (float32
[1, 1, N]) and may give frames per id as its second output. NAME.onnx.json has the rate, the phonemes' ids and
the rest. In place of one network there may be two, ``text.onnx`` and ``dec.onnx``, or ``acoustic.onnx`` and
``vocoder.onnx``: the first gives frames, float32 [1, C, T], the second makes sound of them, or spectra
(`engines.speech.inverse`). It is run piece by piece, with as many frames around as it hears, so that the
first sound is there early and the samples are the same. One network is cut in two, and a flow from what is
before it (`engines.speech.cut`), where the parts make the same sound as the whole does.
"""

from __future__ import annotations

import json
import math
import re
import time
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.sessions import open_session, reason
from engines.speech.cut import Flow, Halves, Uncut
from engines.speech.cuts import Cut, recall, remember
from engines.speech.espeak import Espeak
from engines.speech.inverse import Inverse
from engines.speech.letters import name_letters
from engines.speech.voice import Chunk, Samples, SpeechError, word_places
from rtaudio.errors import FileError, UserError
from rtaudio.processor import RATES

if TYPE_CHECKING:
    from engines.speech.text import Sentence

PAIRS = ("text.onnx", "dec.onnx"), ("acoustic.onnx", "vocoder.onnx")
PAD, BEGIN, END = "_^$"
STRESS, LENGTH = "ˈˌ", "ːˑ"
"""Marks of IPA, before and after the phone that they belong to."""
FIRST, STEP = 16, 96
"""Frames of the first piece of a sentence, and the most of those after it: none is longer than all before."""
AHEAD = 384
"""Frames that a flow makes at a time, after the first few."""
FARTHEST, FLOWING = 40, 120
"""Frames that a decoder, and a flow, may hear on either side; else it is run on the whole sentence."""
SYMBOLS, FEW_SYMBOLS, FEW_SPEAKERS = 64, 24, 5
"""Of a trial of speed, and of halves."""
DIGITS = "1 2 3 4 5 6 7 8 9"
"""What any voice of espeak-ng can say."""
TOLERANCE = 1e-5
"""Of pieces against the whole."""
SPECTRA = 3
"""Tensors of a vocoder that leaves its inverse transform to us: magnitude, cosine, sine."""
INTEGERS, FLOATS = "tensor(int64)", "tensor(float)"


@dataclass(frozen=True)
class Config:
    """What NAME.onnx.json says."""

    path: Path
    rate: int
    """Hz"""
    language: str
    espeak: str
    """espeak-ng's voice whose phonemes it reads; empty: it reads letters."""
    ids: Mapping[str, tuple[int, ...]]
    """Of the phonemes, codepoints each."""
    speakers: tuple[str, ...]
    """Their names, by number; empty if there is only one."""
    scales: tuple[float, float, float]
    """Noise, length, noise of the durations."""
    licence: str
    characters: bool
    """Whether it reads those of the paper, with ``|`` at the end of each sentence, not letters as written."""


def find_parts(path: Path) -> tuple[Path, tuple[Path, ...]]:
    """The JSON of a voice, and its one or two networks.

    Parameters
    ----------
    path
        A folder with one voice, or NAME.onnx.

    Raises
    ------
    FileError
        There is none, or there are several.
    """
    if path.suffix == ".onnx" and path.is_file():
        card = path.with_name(f"{path.name}.json")
        if not card.is_file():
            raise FileError(f"{path} has no {card.name} beside it: get that too")
        return card, (path,)
    if not path.is_dir():
        raise FileError(f"{path} is no folder of a voice, and no NAME.onnx")
    cards = sorted(path.glob("*.onnx.json"))
    if len(cards) != 1:
        found = f"{len(cards)} voices: give the path of one NAME.onnx" if cards else "no NAME.onnx.json"
        raise FileError(f"{path} has {found}")
    for pair in PAIRS:
        networks = tuple(path / name for name in pair)
        if all(network.is_file() for network in networks):
            return cards[0], networks
    network = cards[0].with_suffix("")
    if not network.is_file():
        raise FileError(f"{path} has {cards[0].name}, but no {network.name}")
    return cards[0], (network,)


def read_config(path: Path) -> Config:
    """Read NAME.onnx.json.

    Raises
    ------
    FileError
        It cannot be read, or what it says cannot be.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise FileError(f"{path} is not JSON") from None

    def get(*keys: str, otherwise: Any = None) -> Any:
        value = said
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return otherwise if value is None else value

    def wrong(what: str, value: object, want: str) -> FileError:
        text = repr(value)
        return FileError(f"{path} says {what} {text if len(text) < 60 else text[:56] + ' ...'}: want {want}")

    rate, kind = get("audio", "sample_rate"), get("phoneme_type", otherwise="espeak")
    if type(rate) is not int or not RATES[0] <= rate <= RATES[1]:
        raise wrong("audio.sample_rate", rate, f"a whole number from {RATES[0]} to {RATES[1]}")
    if kind not in ("espeak", "text", "characters"):
        raise wrong("phoneme_type", kind, "espeak, text or characters")
    espeak = get("espeak", "voice", otherwise="")
    if not isinstance(espeak, str) or (kind == "espeak" and not espeak):
        raise wrong("espeak.voice", espeak, "the name of a voice of espeak-ng")
    symbols, ids = get("num_symbols", otherwise=2**31), get("phoneme_id_map")
    if type(symbols) is not int or symbols < 1:
        raise wrong("num_symbols", symbols, "a whole number from 1")
    if not isinstance(ids, dict) or not {PAD, BEGIN, END} <= ids.keys():
        raise wrong("phoneme_id_map", ids, "a table of ids that has _, ^ and $")
    for symbol, numbers in ids.items():
        fits = isinstance(numbers, list) and all(type(n) is int and 0 <= n < symbols for n in numbers)
        if not fits or not numbers:
            raise wrong(f"in phoneme_id_map for {symbol!r}", numbers, f"a list of ids below {symbols}")
    count, names = get("num_speakers", otherwise=1), get("speaker_id_map", otherwise={})
    if type(count) is not int or not 1 <= count < 2**20:
        raise wrong("num_speakers", count, "a whole number from 1")
    if not isinstance(names, dict) or any(type(n) is not int or not 0 <= n < count for n in names.values()):
        raise wrong("speaker_id_map", names, f"a table of numbers below {count}")
    by_number = {number: name for name, number in names.items()}
    scales = tuple(
        get("inference", key, otherwise=usual)
        for key, usual in (("noise_scale", 0.667), ("length_scale", 1.0), ("noise_w", 0.8))
    )
    if not all(type(scale) in (int, float) and 0 <= scale < 100 for scale in scales) or scales[1] == 0:
        raise wrong(
            "inference", scales, "numbers from 0 for noise_scale and noise_w, above 0 for length_scale"
        )
    language = get("language", "code", otherwise="") or espeak
    return Config(
        path,
        rate,
        str(language).replace("_", "-").partition("-")[0],
        espeak if kind == "espeak" else "",
        {symbol: tuple(numbers) for symbol, numbers in ids.items()},
        tuple(by_number.get(n, str(n)) for n in range(count)) if count > 1 else (),
        scales,
        str(get("license", otherwise=get("licence", otherwise="not said"))),
        kind == "characters",
    )


Placed = tuple[list[str], list[tuple[int, int]]]
"""Phonemes; the number of each word that they say, and the index of its first phoneme, in order."""


def phonemes_of(sentence: Sentence, voice: str, espeak: Espeak) -> tuple[Sentence, list[Placed]]:
    """What a sentence's ids are made of: the codepoints of its IPA, or of its letters (NFD).

    Parameters
    ----------
    sentence
        Normalised.
    voice
        espeak-ng's name of it; empty for letters.
    espeak
        What phonemises.

    Returns
    -------
    The sentence, with letters' names as espeak-ng wants them, and the phonemes of each part of it that is run
    on its own.

    Raises
    ------
    SpeechError, UserError
        As `Espeak.placed_phonemes`.
    """
    if not voice:
        return sentence, [placed_letters(list(unicodedata.normalize("NFD", sentence.spoken)))]
    if voice.partition("-")[0] == "en":
        sentence = name_letters(sentence)
    return sentence, espeak.placed_phonemes(sentence.spoken, voice)


def placed_letters(letters: list[str]) -> Placed:
    """Letters of one codepoint each, and where their words begin."""
    words = re.finditer(r"[^\s|]+", "".join(letters))
    return letters, [(number, match.start()) for number, match in enumerate(words)]


def ids_of(phonemes: Sequence[str], config: Config) -> tuple[list[int], list[int]]:
    """What a network reads: ``^ _ p _ p _ ... $``.

    Returns
    -------
    The ids, and for each the index of the phoneme that it stands for or follows. Phonemes that the voice does
    not know are left out.
    """
    ids, owners = [*config.ids[BEGIN], *config.ids[PAD]], []
    owners += [0] * len(ids)
    for number, phoneme in enumerate(phonemes):
        if phoneme in config.ids:
            more = [*config.ids[phoneme], *config.ids[PAD]]
            ids += more
            owners += [number] * len(more)
    ids += config.ids[END]
    owners += [max(0, len(phonemes) - 1)] * len(config.ids[END])
    return ids, owners


def joined_phones(codepoints: Sequence[str], starts: Sequence[int]) -> list[tuple[str, int]]:
    """Phones of codepoints of IPA, with what belongs to them: ``t ˈ ɛ ː`` is ``t ˈɛː``.

    Returns
    -------
    The phones, "" for what is silent, and where they start.
    """
    found: list[tuple[str, int]] = []
    stress, begin = "", 0
    for codepoint, start in zip(codepoints, starts, strict=True):
        begin = begin if stress else start
        if codepoint in STRESS:
            stress = codepoint
        elif found and found[-1][0] and (codepoint in LENGTH or unicodedata.combining(codepoint)):
            found[-1] = found[-1][0] + codepoint, found[-1][1]
        elif codepoint.isalpha():
            found.append((stress + codepoint, begin))
            stress = ""
        elif not found or found[-1][0]:
            found.append(("", start))
    return found


class PiperVoice:
    """A voice of Piper's kind as a `engines.speech.voice.Voice`.

    Where its network does not tell how long each phoneme takes, words stand where they would if all took the
    same time.

    Parameters
    ----------
    path
        A folder with one voice, or NAME.onnx.
    name
        What it is called.
    contents
        The networks' bytes, if they have been read; they are else.
    cut
        How they are run, if that is known; else it is tried, once: see `engines.speech.cuts`.

    Raises
    ------
    UserError
        A file is missing or wrong, or ONNX Runtime is not installed.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        contents: Sequence[bytes] | None = None,
        cut: Cut | None = None,
    ) -> None:
        card, self._networks = find_parts(path)
        self.config = config = read_config(card)
        self.name, self.language, self.rate = name, config.language, config.rate
        self.speakers: Sequence[str] = config.speakers
        self._espeak = Espeak()
        contents = contents or [_content(network) for network in self._networks]
        self.cut = self._opened(contents, cut or recall(contents))
        """How its networks are run."""

    def _opened(self, contents: Sequence[bytes], cut: Cut | None) -> Cut:
        """Open the networks as is known, or find out how they are run."""
        if cut is not None:
            with suppress(Uncut, UserError):  # What was known is of others than these then.
                self._take(contents, cut)
                return cut
        return self._tried(contents)

    def _take(self, contents: Sequence[bytes], cut: Cut, opened: dict[bytes, Any] | None = None) -> None:
        """Speak with the networks, cut so; ``opened``: sessions by their content, added to."""
        known = {} if opened is None else opened
        path, second = self._networks[0], self._networks[-1]

        def session(path: Path, content: bytes) -> Any:
            if content not in known:
                known[content] = open_session(path, content)
            return known[content]

        halves = Halves(contents[0]) if cut.channels and len(contents) == 1 else None
        first, *more = contents if halves is None else (halves.first, halves.second(cut.channels))
        flow = Flow(first) if cut.flow else None
        self._first = session(path, first if flow is None else flow.before)
        self._flow: Any = None
        if flow is not None:
            self._flow = session(path, flow.after([put.type for put in self._first.get_outputs()]))
        self._decoder = session(second, more[0]) if more else None
        self._roles = _roles(self._first, path, self.config)
        self._beside = 0 if self._flow is None else len(self._flow.get_inputs()) - 1
        self._tells = len(self._first.get_outputs()) - self._beside > 1
        self.reach = cut.reach if cut.channels else None
        """Frames on either side that the second network hears; None: there is none, or it hears all."""
        self._flow_reach, self._moving = cut.flow, cut.moving
        self.hop = 0
        """Samples per frame of a pair."""
        if self._decoder is not None:
            channels = _check_decoder(self._decoder, second, self._flow or self._first, path)
            self._decoded = self._decoder.get_inputs()[0].name
            self._inverse = _inverse_of(self._decoder, second)
            self.hop = cut.hop or _hop_of(self._decode, channels, second)

    def _tried(self, contents: Sequence[bytes]) -> Cut:
        """Find out how the networks can be run, open them so, and keep that unless others are at fault."""
        whole = cut = Cut(why="it has not been tried")
        opened: dict[bytes, Any] = {}
        self._take(contents, whole, opened)
        ids = self._trial(FEW_SYMBOLS)
        last = max(0, len(self.speakers) - 1)
        speakers = sorted({last * part // (FEW_SPEAKERS - 1) for part in range(FEW_SPEAKERS)})
        sounds: list[Samples] = []
        for further in (self._in_pieces, self._with_flow):
            try:
                sounds = sounds or [self._sound(ids, speaker) for speaker in speakers]
                found = further(contents, cut, ids, opened)
                for speaker, sound in zip(speakers, sounds, strict=True):
                    again = self._sound(ids, speaker)
                    if len(again) != len(sound) or np.abs(again - sound).max(initial=0.0) > TOLERANCE:
                        raise Uncut("its halves make another sound than the whole")
            except (Uncut, UserError) as error:
                cut = cut if cut.channels else Cut(why=str(error))
                self._take(contents, cut, opened)
                if isinstance(error, UserError):  # It is not the networks that are at fault.
                    return cut
                break
            cut = found
        remember(contents, cut)
        return cut

    def _in_pieces(
        self, contents: Sequence[bytes], cut: Cut, ids: list[int], opened: dict[bytes, Any]
    ) -> Cut:
        """Go on with a decoder of its own, piece by piece; `Uncut` or `UserError` where that cannot be."""
        halves = Halves(contents[0]) if len(contents) == 1 else None
        if halves is not None:
            self._first = opened[halves.first] = open_session(self._networks[0], halves.first)
        frames = self._drawn(ids)[0]
        if halves is not None:
            second = halves.second(frames.shape[1])
            opened[second] = open_session(self._networks[0], second)
        try:
            self._take(contents, replace(cut, channels=frames.shape[1]), opened)
        except FileError as error:  # The second half makes no whole number of samples of each frame.
            raise Uncut(str(error)) from None
        reach = measured_reach(self._decode, frames.shape[1], self.hop)
        if reach is None:
            raise Uncut("its decoder hears the whole sentence")
        self.reach = reach
        return Cut(frames.shape[1], reach, self.hop)

    def _with_flow(
        self, contents: Sequence[bytes], cut: Cut, ids: list[int], opened: dict[bytes, Any]
    ) -> Cut:
        """Go on with a flow of its own; `Uncut` or `UserError` where that cannot be."""
        self._take(contents, replace(cut, flow=FLOWING, moving=(0,)), opened)
        drawn, fewer = (self._drawn(some) for some in (ids, [*ids[: len(ids) // 2], ids[-1]]))
        total, less = drawn[0].shape[2], fewer[0].shape[2]
        moving = []
        for number, (x, y) in enumerate(zip(drawn, fewer, strict=True)):
            if x.shape != y.shape:
                if total == less or (x.shape[2:], y.shape[2:]) != ((total,), (less,)):
                    raise Uncut("its flow takes what is of another length than its frames")
                moving.append(number)

        def flow(frames: Samples) -> Samples:
            count = frames.shape[2]
            others = [
                np.repeat(x[:, :, :1], count, axis=2) if i in moving else x for i, x in enumerate(drawn)
            ]
            return self._flowed([frames, *others[1:]], 0, count)

        self._moving = tuple(moving)
        reach = measured_reach(flow, drawn[0].shape[1], 1, FLOWING)
        if reach is None:
            raise Uncut("its flow hears the whole sentence")
        self._flow_reach = reach
        return replace(cut, flow=reach, moving=self._moving)

    def _drawn(self, ids: list[int]) -> list[Samples]:
        """What the decoder, or the flow, is given of some ids, without noise."""
        try:
            outputs = self._first.run(None, self._feeds(ids, 0, 1.0, False))
        except Exception as error:  # ONNX Runtime has no common one
            raise Uncut(f"its first half cannot run: {error}") from None
        if outputs[0].ndim != 3:
            raise Uncut(f"its frames have the shape {outputs[0].shape}")
        return self._passed_on(outputs)

    def _passed_on(self, outputs: Sequence[Samples]) -> list[Samples]:
        """Of the first network's outputs: frames, or what a flow takes."""
        return [outputs[0], *outputs[len(outputs) - self._beside :]]

    @property
    def note(self) -> str:
        """See `Voice.note`."""
        return self.cut.note(self.name)

    @property
    def cpu(self) -> float:
        """CPU seconds that phonemising has taken, in its process."""
        return self._espeak.cpu

    def speak(self, sentence: Sentence, speaker: int = 0, length_scale: float = 1.0) -> Iterator[Chunk]:
        """See `Voice.speak`."""
        config, done = self.config, 0
        if config.characters:
            parts = [placed_letters(self._characters(sentence.spoken))]
        else:
            sentence, parts = phonemes_of(sentence, config.espeak, self._espeak)
        words_of, told = _owners(sentence), -1
        for part, placed in parts:
            ids, owners = ids_of(part, config)
            unknown = [each for each in dict.fromkeys(part) if each not in config.ids and _is_phone(each)]
            if not any(phoneme in config.ids and phoneme.isalnum() for phoneme in part):
                raise SpeechError(f"voice {self.name} knows none of the phonemes {''.join(part)[:40]!r}")
            shares = [(words_of[word], bisect_left(owners, start)) for word, start in placed]
            phones = self._phone_starts(part, owners)
            for chunk, frames in self._run(ids, speaker, length_scale / sentence.rate):
                found, sounds = [], []
                if frames is not None:
                    sounds = [(phone, done + int(frames[share])) for phone, share in phones]
                    for owner, share in shares:
                        if owner > told:
                            found.append((owner, done + int(frames[share])))
                            told = owner
                yield Chunk(chunk, tuple(found), tuple(sounds), () if frames is None else tuple(unknown))
                done += len(chunk)

    def _characters(self, spoken: str) -> list[str]:
        """What a voice of characters reads of a text."""
        from engines.speech import bangla, english

        return bangla.characters(spoken) if self.language == "bn" else english.characters(spoken)

    def _phone_starts(self, phonemes: Sequence[str], owners: Sequence[int]) -> list[tuple[str, int]]:
        """The phones, "" for what is silent, and the index of the id that each begins with; none where the
        network does not tell how long they take.
        """
        if not self._tells:
            return []
        begin = len(self.config.ids[BEGIN]) + len(self.config.ids[PAD])
        known = [number for number, phoneme in enumerate(phonemes) if phoneme in self.config.ids]
        starts = [max(begin, bisect_left(owners, number)) for number in known]
        return joined_phones([phonemes[number] for number in known], starts)

    def close(self) -> None:
        """End what phonemises."""
        self._espeak.close()

    def check(self) -> None:
        """Whether it can be given phonemes: `UserError` where espeak-ng is not installed or has no such
        voice, or the voice knows no phoneme of what that says for 1 to 9.
        """
        variety, card = self.config.espeak, self.config.path
        if not variety:
            return
        self._espeak.start()
        try:
            spoken = self._espeak.phonemes(DIGITS, variety)
        except SpeechError as error:
            raise FileError(f"{card} says espeak.voice {variety!r}: {error}") from None
        if not any(phoneme in self.config.ids and _is_phone(phoneme) for part in spoken for phoneme in part):
            raise FileError(f"{card} has none of espeak-ng's phonemes of {variety!r} in phoneme_id_map")

    def speed(self) -> float:
        """CPU seconds for a second of sound: of the symbols that it knows, in their order.

        Raises
        ------
        SpeechError
            It cannot speak them, or makes no sound of them.
        """
        ids = self._trial(SYMBOLS)
        started = time.thread_time()
        samples = sum(len(piece) for piece, _ in self._run(ids, 0, 1.0))
        if not samples:
            raise SpeechError(f"voice {self.name} makes no sound")
        return (time.thread_time() - started) * self.rate / samples

    def _trial(self, count: int) -> list[int]:
        """Ids of the first symbols that it knows."""
        return ids_of([symbol for symbol in self.config.ids if symbol.isalpha()][:count], self.config)[0]

    def _sound(self, ids: list[int], speaker: int) -> Samples:
        """The sound of some ids without noise."""
        return np.concatenate([piece for piece, _ in self._run(ids, speaker, 1.0, False)])

    def _feeds(
        self, ids: list[int], speaker: int, length_scale: float, noisy: bool = True
    ) -> dict[str, NDArray[Any]]:
        """What the first network is given."""
        noise, length, noise_w = self.config.scales
        scales = {"noise": noise * noisy, "length": length * length_scale, "noise_w": noise_w * noisy}
        return {name: _value(role, ids, speaker, scales, size) for name, (role, size) in self._roles.items()}

    def _run(
        self, ids: list[int], speaker: int, length_scale: float, noisy: bool = True
    ) -> Iterator[tuple[Samples, NDArray[np.int64] | None]]:
        """The sound of some ids, piece by piece; with the first, the sample at which each id begins."""
        feeds = self._feeds(ids, speaker, length_scale, noisy)
        try:
            outputs = self._first.run(None, feeds)
        except Exception as error:  # onnxruntime's have no other base
            raise SpeechError(f"voice {self.name} cannot speak this ({reason(error)})") from None
        frames = np.ravel(outputs[1]).astype(np.float64) if self._tells else np.ones(0)
        frames = (
            frames if len(frames) == len(ids) and np.all(frames >= 0) and frames.any() else np.ones(len(ids))
        )
        starts = (np.cumsum(frames) - frames) / frames.sum()
        first = outputs[0]
        if self._decoder is None:
            sound = np.ravel(np.asarray(first, np.float32))
            yield self._checked(sound), (starts * len(sound)).astype(np.int64)
            return
        if first.ndim != 3 or len(first) != 1 or not first.shape[2]:
            raise SpeechError(f"voice {self.name}: {self._networks[0].name} gives the shape {first.shape}")
        places = (starts * first.shape[2] * self.hop).astype(np.int64)
        for begin, piece in self.decoded(self._passed_on(outputs)):
            yield self._checked(piece), places if begin == 0 else None

    def decoded(
        self, drawn: Sequence[Samples], first: int = FIRST, step: int = STEP
    ) -> Iterator[tuple[int, Samples]]:
        """The sound of frames (1, C, T), or of all that a flow makes them of, piece by piece.

        Yields
        ------
        Where it begins, in frames, and its samples.
        """
        total = drawn[0].shape[2]
        begin, size, reach = (0, total, 0) if self.reach is None else (0, first, self.reach)
        frames = drawn[0] if self._flow is None else self._flowed(drawn, 0, min(total, 2 * size + reach))
        while begin < total:
            end = min(total, begin + size)
            left, right = max(0, begin - reach), min(total, end + reach)
            known = frames.shape[2]
            if right > known:
                more = self._flowed(drawn, known, min(total, max(right, known + AHEAD)))
                frames = np.concatenate([frames, more], axis=2)
            piece = self._decode(frames[:, :, left:right])
            yield begin, piece[(begin - left) * self.hop : (end - left) * self.hop]
            begin, size = end, min(step, end)

    def _flowed(self, drawn: Sequence[Samples], begin: int, end: int) -> Samples:
        """What the flow makes of a part: frames (1, C, end - begin)."""
        total = drawn[0].shape[2]
        left, right = max(0, begin - self._flow_reach), min(total, end + self._flow_reach)
        part = [
            np.ascontiguousarray(x[:, :, left:right]) if i in self._moving else x for i, x in enumerate(drawn)
        ]
        names = [tensor.name for tensor in self._flow.get_inputs()]
        try:
            found = self._flow.run(None, dict(zip(names, part, strict=True)))[0]
        except Exception as error:  # onnxruntime's have no other base
            raise SpeechError(f"voice {self.name} cannot speak this ({reason(error)})") from None
        return found[:, :, begin - left : end - left]  # type: ignore[no-any-return]

    def _decode(self, frames: Samples) -> Samples:
        assert self._decoder is not None  # noqa: S101 - for the type checker: only pairs come here
        try:
            found = self._decoder.run(None, {self._decoded: np.ascontiguousarray(frames)})
        except Exception as error:  # onnxruntime's have no other base
            raise SpeechError(f"voice {self.name} cannot speak this ({reason(error)})") from None
        if self._inverse is not None:
            return self._inverse(found)
        return np.ravel(np.asarray(found[0], np.float32))

    def _checked(self, samples: Samples) -> Samples:
        if not np.isfinite(samples).all():
            raise SpeechError(f"voice {self.name} gives samples that are no numbers")
        return samples


def measured_reach(decode: Any, channels: int, hop: int, farthest: int = FARTHEST) -> int | None:
    """Frames on either side of a frame that its sound depends on, found by changing one.

    Parameters
    ----------
    decode
        Frames (1, channels, T) to (..., T * hop): samples, or other frames with a hop of 1.

    Returns
    -------
    None if that is more than ``farthest``, or if pieces do not make what the whole does, to `TOLERANCE`.
    """
    random = np.random.default_rng(0)
    middle, total = farthest + 1, 2 * farthest + 3
    reach = 0
    for size in (1.0, 10.0):
        frames = random.normal(0.0, 0.5, (1, channels, total)).astype(np.float32)
        whole = decode(frames)
        frames[:, :, middle] += size
        changed = np.flatnonzero((decode(frames) != whole).reshape(-1, whole.shape[-1]).any(axis=0))
        if len(changed):
            before, after = middle * hop - changed[0], changed[-1] + 1 - (middle + 1) * hop
            reach = max(reach, math.ceil(before / hop), math.ceil(after / hop))
    reach += 1
    if reach > farthest:
        return None
    begin, end = middle, total
    part = decode(frames[:, :, begin - reach : end])[..., reach * hop :]
    whole = decode(frames)[..., begin * hop :]
    return reach if np.abs(part - whole).max() <= TOLERANCE * max(1.0, np.abs(whole).max()) else None


def _content(network: Path) -> bytes:
    try:
        return network.read_bytes()
    except OSError as error:
        raise FileError(f"{network}: {error.strerror}") from None


def _roles(session: Any, network: Path, config: Config) -> dict[str, tuple[str, int]]:
    """What each input of the first network is: its role, and its length where it is a list of scales."""
    roles: dict[str, tuple[str, int]] = {}
    for tensor in session.get_inputs():
        rank, kind = len(tensor.shape), tensor.type
        known = {
            "sid": ("sid", INTEGERS, 1),
            "scales": ("scales", FLOATS, 1),
            "noise_scale": ("noise", FLOATS, 1),
            "length_scale": ("length", FLOATS, 1),
            "noise_scale_w": ("noise_w", FLOATS, 1),
        }.get(tensor.name)
        if known is None and kind == INTEGERS:
            known = ("ids", INTEGERS, 2) if rank == 2 else ("lengths", INTEGERS, 1)
        if known is None or (kind, rank) != known[1:]:
            raise FileError(
                f"{network} has an input {tensor.name} of {kind} {tensor.shape}, which no voice has: "
                "want input, input_lengths, scales, and sid for several speakers"
            )
        size = tensor.shape[0] if rank == 1 and isinstance(tensor.shape[0], int) else 3
        roles[tensor.name] = known[0], size
    found = [role for role, _ in roles.values()]
    for role, name in (("ids", "input"), ("lengths", "input_lengths")):
        if found.count(role) != 1:
            raise FileError(f"{network} has no input {name}: it is not the network of a voice")
    if not {"scales", "length"} & set(found):
        raise FileError(f"{network} has no input scales: it is not the network of a voice")
    if ("sid" in found) != bool(config.speakers):
        has = "an input sid" if "sid" in found else "no input sid"
        says = f"{max(1, len(config.speakers))} speaker{'s' * bool(config.speakers)}"
        raise FileError(f"{network} has {has}, but {config.path.name} says {says}")
    return roles


def _value(role: str, ids: list[int], speaker: int, scales: Mapping[str, float], size: int) -> NDArray[Any]:
    if role == "ids":
        return np.array([ids], np.int64)
    if role == "lengths":
        return np.array([len(ids)], np.int64)
    if role == "sid":
        return np.array([speaker], np.int64)
    if role == "scales":
        return np.array(list(scales.values())[:size], np.float32)
    return np.array([scales[role]], np.float32)


def _check_decoder(decoder: Any, path: Path, first: Any, first_path: Path) -> int:
    """Number of channels of the frames between two networks; `FileError` if they do not fit together."""
    inputs, outputs = decoder.get_inputs(), decoder.get_outputs()
    if len(inputs) != 1 or inputs[0].type != FLOATS or len(inputs[0].shape) != 3:
        raise FileError(f"{path} takes something else than frames, float32 [1, C, T]")
    if len(outputs) not in (1, SPECTRA):
        raise FileError(f"{path} gives {len(outputs)} tensors: want the sound alone, or three of spectra")
    channels, given = inputs[0].shape[1], first.get_outputs()[0].shape
    if not isinstance(channels, int):
        channels = given[1] if len(given) == 3 else None
    if not isinstance(channels, int):
        raise FileError(f"{path} does not say how many channels its frames have")
    if len(given) != 3 or (isinstance(given[1], int) and given[1] != channels):
        raise FileError(f"{first_path} gives {given}, {path.name} takes {channels} channels of frames")
    return channels


def _inverse_of(decoder: Any, path: Path) -> Inverse | None:
    """What makes sound of a vocoder's spectra, None where it gives sound; `FileError` if it says no way."""
    outputs = decoder.get_outputs()
    if len(outputs) < SPECTRA:
        return None
    try:
        inverse = Inverse(decoder.get_modelmeta().custom_metadata_map)
    except ValueError as error:
        raise FileError(f"{path} gives spectra, but its metadata says no transform: {error}") from None
    bins = inverse.size // 2 + 1
    for put in outputs:
        shape = put.shape
        if put.type != FLOATS or len(shape) != 3 or (isinstance(shape[1], int) and shape[1] != bins):
            raise FileError(f"{path} gives {put.name} of {put.type} {shape}: want float32 [1, {bins}, T]")
    return inverse


def _hop_of(decode: Any, channels: int, path: Path) -> int:
    lengths = [len(decode(np.zeros((1, channels, frames), np.float32))) for frames in (FIRST, 2 * FIRST)]
    hop, rest = divmod(lengths[0], FIRST)
    if rest or not hop or lengths[1] != 2 * lengths[0]:
        raise FileError(f"{path} makes {lengths[0]} samples of {FIRST} frames: want a whole number for each")
    return hop


def _owners(sentence: Sentence) -> list[int]:
    """For each word of ``sentence.spoken``, the index of the word of the text that it is spoken for."""
    places = word_places(sentence)
    spoken = re.finditer(r"\S+", sentence.spoken)
    return [bisect_right(places, word.start()) - 1 for word in spoken] or [-1]


def _is_phone(codepoint: str) -> bool:
    """Whether a codepoint of IPA is one without which a word is another."""
    return codepoint.isalnum() and codepoint not in STRESS + LENGTH
