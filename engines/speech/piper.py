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

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engines.speech.config import BEGIN, PAD, find_parts, ids_of, read_config
from engines.speech.cuts import Cut
from engines.speech.espeak import Espeak
from engines.speech.letters import name_letters
from engines.speech.pieces import Networks
from engines.speech.voice import Chunk, SpeechError, word_places
from rtaudio.errors import FileError

if TYPE_CHECKING:
    from engines.speech.text import Sentence

STRESS, LENGTH = "ˈˌ", "ːˑ"
"""Marks of IPA, before and after the phone that they belong to."""
DIGITS = "1 2 3 4 5 6 7 8 9"
"""What any voice of espeak-ng can say."""

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
    contents, cut
        As of `Networks`, which says what else may be raised.

    Raises
    ------
    UserError
        A file is missing or wrong.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        contents: Sequence[bytes] | None = None,
        cut: Cut | None = None,
    ) -> None:
        card, paths = find_parts(path)
        self.config = config = read_config(card)
        self.name, self.language, self.rate = name, config.language, config.rate
        self.speakers: Sequence[str] = config.speakers
        self._espeak = Espeak()
        self.networks = Networks(name, paths, config, contents, cut)

    @property
    def note(self) -> str:
        """See `Voice.note`."""
        return self.networks.cut.note(self.name)

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
            for chunk, frames in self.networks.run(ids, speaker, length_scale / sentence.rate):
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
        if not self.networks.tells:
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
        """See `Networks.speed`."""
        return self.networks.speed()


def _owners(sentence: Sentence) -> list[int]:
    """For each word of ``sentence.spoken``, the index of the word of the text that it is spoken for."""
    places = word_places(sentence)
    spoken = re.finditer(r"\S+", sentence.spoken)
    return [bisect_right(places, word.start()) - 1 for word in spoken] or [-1]


def _is_phone(codepoint: str) -> bool:
    """Whether a codepoint of IPA is one without which a word is another."""
    return codepoint.isalnum() and codepoint not in STRESS + LENGTH
