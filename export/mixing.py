"""Pairs of clean and noisy speech, mixed on the fly at an exact signal-to-noise ratio.

What a pair is depends on the files, the `Recipe`, the seed and the pair's index, not on the order in which
pairs are made, nor on the process. By default they are like those of the paper that `export.models.segan`
follows: 16 kHz, at 15, 20 or 25 dB. Its noises were recorded in silent offices and conference rooms; the
synthetic kinds "office" and "conference" stand in for these where there are none.
"""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, oaconvolve, sosfilt, sosfiltfilt

from engines.biquad import HIGHSHELF, LOWSHELF, PEAKING, design
from export.levels import active_level, level
from export.noises import NOISES
from rtaudio.errors import FileError, UserError, nearest
from rtaudio.files import AudioReader, audio_files

Audio = NDArray[np.float32]
"""(samples,)."""
Random = np.random.Generator
Details = dict[str, str | float]

BABBLE = "babble"
KINDS = (*NOISES, BABBLE)
"""Kinds of noise that need no files; babble is made of the clean set's other speakers."""
VOICES = (3, 8)
"""Range of the number of voices of babble."""
VOICES_RANGE = 6.0
"""dB by which they may be louder or softer."""
CODECS = ("opus", "mp3", "vorbis", "telephone")
LAYER = (-15.0, 5.0)
"""dB. Range of the level of a second noise relative to the first."""
ROOMS = 200
"""Rooms that are simulated for a seed: pairs draw from these."""
ORDER, ROOM = 1, 2
"""What else than pairs is drawn by the seed and a number. Not 0: NumPy takes [seed, 3, 0] for [seed, 3]."""
CROSSFADE = 0.05
"""Seconds by which a noise overlaps itself where it is too short and repeats."""
CACHE = 512 * 2**20
"""Bytes of decoded audio that a mixer keeps, the least recently used goes first: 2.3 hours at 16 kHz."""


# ------------------------------------------------------------------------------------------ recipe


@dataclass(frozen=True)
class Recipe:
    """How pairs are made. Everything beyond noise files at the paper's levels is off by default.

    Probabilities are from 0 to 1, ranges are (least, most); what is drawn from a range is uniform.

    Attributes
    ----------
    rate
        Hz of the pairs; files at other rates are resampled.
    snr
        dB, active speech level (ITU-T P.56) over the RMS of the noise; one of these is drawn.
    seconds
        Longest part of an utterance that is taken, at a random place; 0 for all.
    synthetic
        Probability that the noise is of one of `kinds` rather than from a file.
    kinds
        Names of `KINDS`, equally likely; a name may be repeated. "office" and "conference" are the scene of
        the paper: room tone, ventilation, fans and hum, and in the office keys.
    second
        Probability of a second noise, drawn as the first is, 15 dB weaker to 5 dB stronger.
    equaliser
        Probability that speech is filtered by a low shelf, a peak and a high shelf, and the same for noise.
    equaliser_gain
        dB, the most that each of these three may add or take away.
    room
        Probability that the speech is in a room. The noise is not: recordings have their own.
    rooms
        Folders or files of measured room impulse responses, whose first channel is used. Rooms are simulated
        by the image method where none are named.
    room_size
        Metres, range of the length and the width of a simulated room; it is 2.4 to 4 m high.
    reverberation_time
        Seconds, range of the RT60 of a simulated room.
    early
        Seconds after the direct sound in which reflections belong to the clean speech. 0: the direct sound
        alone is clean. What comes later is noise to be removed, on top of the SNR asked for.
    level
        dB re RMS 1.0, range of the clean speech's active level; as recorded where it is empty.
    clipping
        Probability that the noisy signal is clipped, `clipping_depth` below its peak.
    clipping_depth
        dB, range.
    codec
        Probability that the noisy signal passes one of `codecs`.
    codecs
        Names of `CODECS`: "telephone" is 300 to 3400 Hz at 8 kHz in mu-law; the others have a random quality.

    Raises
    ------
    UserError
        When a value is out of range.
    """

    rate: int = 16_000
    snr: tuple[float, ...] = (15.0, 20.0, 25.0)
    seconds: float = 0.0
    synthetic: float = 0.0
    kinds: tuple[str, ...] = ("office", "conference")
    second: float = 0.0
    equaliser: float = 0.0
    equaliser_gain: float = 6.0
    room: float = 0.0
    rooms: tuple[str, ...] = ()
    room_size: tuple[float, float] = (3.0, 10.0)
    reverberation_time: tuple[float, float] = (0.2, 0.6)
    early: float = 0.05
    level: tuple[float, ...] = ()
    clipping: float = 0.0
    clipping_depth: tuple[float, float] = (1.0, 9.0)
    codec: float = 0.0
    codecs: tuple[str, ...] = CODECS

    def __post_init__(self) -> None:
        if not 8_000 <= self.rate <= 192_000:
            raise UserError(f"[mix] rate is {self.rate}: want 8000 to 192000 Hz")
        if not self.snr or not all(abs(snr) <= 100 for snr in self.snr):
            raise UserError(f"[mix] snr is {list(self.snr)}: want one or more values from -100 to 100 dB")
        if not (self.seconds == 0 or 0.5 <= self.seconds <= 3_600):
            raise UserError(f"[mix] seconds is {self.seconds}: want 0 for whole utterances, or 0.5 to 3600")
        for name in ("synthetic", "second", "equaliser", "room", "clipping", "codec"):
            if not 0 <= (probability := getattr(self, name)) <= 1:
                raise UserError(f"[mix] {name} is {probability}: want a probability from 0 to 1")
        for name, known in (("kinds", KINDS), ("codecs", CODECS)):
            names = getattr(self, name)
            for text in names:
                if text not in known:
                    hint = nearest(text, known) or f": want {', '.join(known)}"
                    raise UserError(f"[mix] {name} has {text!r}{hint}")
            if not names:
                raise UserError(f"[mix] {name} is empty: want one or more of {', '.join(known)}")
        for name, least, most, unit in (
            ("room_size", 2.5, 30.0, "m"),
            ("reverberation_time", 0.1, 1.0, "s"),
            ("level", -80.0, 0.0, "dB"),
            ("clipping_depth", 0.0, 40.0, "dB"),
        ):
            ends = getattr(self, name)
            if name == "level" and not ends:
                continue
            if len(ends) != 2 or not least <= ends[0] <= ends[1] <= most:
                raise UserError(
                    f"[mix] {name} is {list(ends)}: want [least, most] within {least:g} to {most:g} {unit}"
                )
        if not 0 <= self.early <= 1:
            raise UserError(f"[mix] early is {self.early}: want 0 to 1 s")
        if not 0 <= self.equaliser_gain <= 40:
            raise UserError(f"[mix] equaliser_gain is {self.equaliser_gain}: want 0 to 40 dB")


# ------------------------------------------------------------------------------------------ mixing


def mix(clean: Audio, noise: Audio, snr: float, rate: int) -> tuple[Audio, Audio]:
    """Add noise to speech at an exact signal-to-noise ratio.

    Parameters
    ----------
    clean, noise
        (samples,) each, equally long.
    snr
        dB, active level of the speech (ITU-T P.56, `export.levels.active_level`) over the RMS of the noise.
    rate
        Hz.

    Returns
    -------
    noisy, noise
        (samples,) float32: the sum, and the noise as it is in it.

    Raises
    ------
    UserError
        When one is empty, silent or not finite, or the lengths differ.
    """
    if len(clean) != len(noise):
        raise UserError(
            f"clean speech has {len(clean)} samples, but the noise {len(noise)}: they must be alike"
        )
    for name, x in (("clean speech", clean), ("noise", noise)):
        if (problem := _problem(x)) is not None:
            raise UserError(f"the {name} {problem}")
    scaled = _scaled(noise, active_level(clean, rate)[0] - snr)
    return (clean + scaled).astype(np.float32, copy=False), scaled


def _problem(x: NDArray[Any]) -> str | None:
    """Why there is no level to mix at."""
    if not x.size:
        return "is empty: nothing can be mixed at a level"
    if not np.all(np.isfinite(x)):
        return "has samples that are not finite: nothing can be mixed with it"
    if not np.any(x):
        return "is silent, for which no SNR is defined: leave it out"
    return None


def _scaled(x: Audio, wanted: float) -> Audio:
    """A signal at an RMS level in dB."""
    return np.asarray(x * 10.0 ** ((wanted - level(x)) / 20.0), np.float32)


@dataclass(frozen=True)
class Pair:
    """Clean and noisy speech, sample by sample the same moment.

    Attributes
    ----------
    name
        The clean file's, without its extension.
    rate
        Hz.
    clean, noisy, noise
        (samples,) each. Before clipping and codecs, ``noisy`` is ``clean + noise``; late reverberation counts
        as noise.
    snr
        dB asked for: active level of ``clean`` over the RMS of the noise without late reverberation.
    details
        What was drawn: files, kinds of noise, gains.
    """

    name: str
    rate: int
    clean: Audio
    noisy: Audio
    noise: Audio
    snr: float
    details: Details


class Mixer:
    """Makes pairs by number.

    Parameters
    ----------
    clean
        Files of clean speech. Each is used once per epoch, in an order that the seed and the epoch shuffle.
    noise
        Files of noise. A random part of a random one is used; one that is too short repeats itself with a
        crossfade. May be empty when all noise is synthetic.
    recipe
        How.
    seed
        0 or greater.
    speakers
        Of the clean files, one each, so that babble leaves the talker out. Where it is not given, every file
        counts as a speaker of its own.

    Raises
    ------
    UserError
        When there are too few files for what the recipe asks.

    Notes
    -----
    Files of several channels are mixed down to their mean. Decoded files are kept, up to `CACHE` bytes; one
    that alone is larger is decoded for every pair. A mixer is for one thread at a time.
    """

    def __init__(
        self,
        clean: Sequence[Path],
        noise: Sequence[Path],
        recipe: Recipe,
        seed: int,
        speakers: Sequence[str] | None = None,
    ) -> None:
        if not clean:
            raise UserError("no clean speech: name one file or more")
        if not noise and recipe.synthetic < 1:
            raise UserError("no noise: name one file or more, or set synthetic = 1 in [mix]")
        self._clean, self._noise, self._recipe, self._seed = list(clean), list(noise), recipe, seed
        self._speakers = list(map(str, clean)) if speakers is None else list(speakers)
        if len(self._speakers) != len(self._clean):
            raise ValueError(f"{len(self._clean)} files have {len(self._speakers)} speakers")
        if recipe.synthetic and BABBLE in recipe.kinds and len(set(self._speakers)) <= VOICES[0]:
            raise UserError(
                f"babble needs clean speech of {VOICES[0] + 1} speakers or more, there are "
                f"{len(set(self._speakers))}: take it out of kinds"
            )
        self._rooms = audio_files(recipe.rooms) if recipe.room and recipe.rooms else []
        self._kept: OrderedDict[object, Audio] = OrderedDict()
        self._bytes = 0
        self._epoch = -1
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)

    def pair(self, index: int) -> Pair:
        """Make a pair.

        Parameters
        ----------
        index
            0 or greater; `len(clean)` of them are an epoch.

        Raises
        ------
        FileError
            When a file cannot be read, is silent or not finite.
        """
        recipe = self._recipe
        random = np.random.default_rng([self._seed, index])
        number = self.clip(index)
        path = self._clean[number]
        details: Details = {"clean": path.name}
        speech = self._read(path)
        if recipe.seconds:
            speech = excerpt(random, speech, round(recipe.seconds * recipe.rate))
        snr = float(random.choice(recipe.snr))
        noise = self._draw_noise(random, number, len(speech), details)
        if random.random() < recipe.equaliser:
            speech = equalise(random, speech, recipe.rate, recipe.equaliser_gain)
            details["speech equalised"] = "yes"
        clean, late = speech.copy(), None
        if random.random() < recipe.room:
            clean, late = self._in_room(random, speech, details)
        if recipe.level:
            wanted = float(random.uniform(recipe.level[0], recipe.level[1]))
            gain = np.float32(10.0 ** ((wanted - active_level(clean, recipe.rate)[0]) / 20.0))
            clean = clean * gain
            late = None if late is None else late * gain
            details["level"] = wanted
        noisy, noise = mix(clean, noise, snr, recipe.rate)
        if late is not None:
            noise = noise + late
            noisy = clean + noise
        noisy = self._spoil(random, noisy, details)
        return Pair(path.stem, recipe.rate, clean, noisy, noise, snr, details)

    def clip(self, index: int) -> int:
        """Which of the clean files a pair has."""
        epoch, place = divmod(index, len(self._clean))
        if epoch != self._epoch:
            self._order = np.random.default_rng([self._seed, epoch, ORDER]).permutation(len(self._clean))
            self._epoch = epoch
        return int(self._order[place])

    # -------------------------------------------------------------------------------------- files

    def _keep(self, key: object, make: Callable[[], Audio]) -> Audio:
        """What was made before, or is made now, within `CACHE` bytes."""
        if (found := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return found
        made = make()
        made.flags.writeable = False
        self._kept[key] = made
        self._bytes += made.nbytes
        while self._bytes > CACHE:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return made

    def _read(self, path: Path) -> Audio:
        return self._keep(path, lambda: read_mono(path, self._recipe.rate))

    # -------------------------------------------------------------------------------------- noise

    def _draw_noise(self, random: Random, number: int, samples: int, details: Details) -> Audio:
        """One noise or two for the clean file of a number."""
        noise = self._one_noise(random, number, samples, details, "noise")
        if random.random() < self._recipe.second:
            second = self._one_noise(random, number, samples, details, "second noise")
            details["second noise level"] = relative = random.uniform(*LAYER)
            noise = noise + _scaled(second, level(noise) + relative)
        return noise

    def _one_noise(self, random: Random, number: int, samples: int, details: Details, what: str) -> Audio:
        recipe = self._recipe
        if random.random() < recipe.synthetic:
            name = str(random.choice(recipe.kinds))
            if name == BABBLE:
                noise = self._babble(random, number, samples)
            else:
                noise = NOISES[name](random, samples, recipe.rate)
        else:
            path = self._noise[random.integers(len(self._noise))]
            name = path.name
            noise = part(random, self._read(path), samples, round(CROSSFADE * recipe.rate))
        details[what] = name
        if random.random() < recipe.equaliser:
            noise = equalise(random, noise, recipe.rate, recipe.equaliser_gain)
            details[f"{what} equalised"] = "yes"
        return noise

    def _babble(self, random: Random, number: int, samples: int) -> Audio:
        """Several of the other speakers at once, each from a random place on, over and over."""
        others = [k for k, speaker in enumerate(self._speakers) if speaker != self._speakers[number]]
        by_speaker = {self._speakers[k]: k for k in random.permutation(others)}
        names = sorted(by_speaker)
        count = min(len(names), int(random.integers(VOICES[0], VOICES[1] + 1)))
        babble = np.zeros(samples, np.float32)
        for name in random.choice(names, count, replace=False):
            voice = self._read(self._clean[by_speaker[name]])
            loudness = random.uniform(-VOICES_RANGE, VOICES_RANGE) - active_level(voice, self._recipe.rate)[0]
            voice = part(random, voice, samples, round(CROSSFADE * self._recipe.rate))
            babble += voice * np.float32(10.0 ** (loudness / 20.0))
        return babble

    # -------------------------------------------------------------------------------------- rooms

    def _in_room(self, random: Random, speech: Audio, details: Details) -> tuple[Audio, Audio]:
        """Speech in a room: what counts as clean, as loud as before, and the rest.

        Both are without the time that the direct sound takes.
        """
        if self._rooms:
            path = self._rooms[random.integers(len(self._rooms))]
            response = self._keep(("room", path), lambda: measured_room(path, self._recipe.rate))
            details["room"] = path.name
        else:
            number = int(random.integers(ROOMS))
            response = self._keep(("room", number), lambda: simulated_room(self._recipe, self._seed, number))
            details["room"] = f"simulated {number}"
        direct = int(np.argmax(np.abs(response)))
        early_end = direct + 1 + round(max(self._recipe.early, DIRECT) * self._recipe.rate)
        part_of = slice(direct, direct + len(speech))
        early = oaconvolve(speech, response[:early_end])[part_of].astype(np.float32)
        late, begin = np.zeros_like(speech), early_end - direct
        if early_end < len(response) and begin < len(speech):
            late[begin:] = oaconvolve(speech, response[early_end:])[: len(speech) - begin]
            details["late reverberation"] = level(late) - level(early)
        gain = np.float32(10.0 ** ((level(speech) - level(early)) / 20.0))
        return gain * early, gain * late

    # -------------------------------------------------------------------------------------- damage

    def _spoil(self, random: Random, noisy: Audio, details: Details) -> Audio:
        """Clip and encode, each perhaps."""
        recipe = self._recipe
        if random.random() < recipe.clipping:
            depth = random.uniform(*recipe.clipping_depth)
            limit = float(np.max(np.abs(noisy))) * 10.0 ** (-depth / 20.0)
            noisy = np.clip(noisy, -limit, limit)
            details["clipped"] = depth
        if random.random() < recipe.codec:
            codec = str(random.choice(recipe.codecs))
            quality = float(random.uniform(0.3, 0.97))
            noisy = encoded(noisy, recipe.rate, codec, quality)
            details |= {"codec": codec} if codec == "telephone" else {"codec": codec, "compression": quality}
        return noisy


def read_mono(path: Path, rate: int) -> Audio:
    """A whole file, (samples,), the mean of its channels, resampled to a rate in Hz.

    Raises
    ------
    FileError
        When it cannot be read, is silent or not finite.
    """
    with AudioReader(path, rate) as reader:
        x: Audio = reader.read(reader.samples).mean(axis=0, dtype=np.float32)
    if (problem := _problem(x)) is not None:
        raise FileError(f"{path} {problem}")
    return x


def part(random: Random, x: Audio, samples: int, crossfade: int) -> Audio:
    """A random part of a noise, which repeats itself where it is too short.

    Parameters
    ----------
    random
        Draws where the part begins.
    x
        (any,), not silent.
    samples
        How many are wanted.
    crossfade
        Samples by which a repetition overlaps the end before it, at constant power; at most half of ``x``.

    Returns
    -------
    (samples,), not silent: a part drawn of nothing but zeros is moved to where the loudest sample is.
    """
    if len(x) < samples:
        fade = min(crossfade, len(x) // 2)
        turn = np.linspace(0.0, np.pi / 2, fade + 2)[1:-1]
        period = x[: len(x) - fade].copy()
        period[:fade] = x[:fade] * np.sin(turn) + x[len(x) - fade :] * np.cos(turn)
        begin = int(random.integers(len(period)))
        return np.resize(np.roll(period, -begin), samples)
    begin = int(random.integers(len(x) - samples + 1))
    if not np.any(x[begin : begin + samples]):
        begin = min(max(0, int(np.argmax(np.abs(x))) - samples // 2), len(x) - samples)
    return x[begin : begin + samples]


# ------------------------------------------------------------------------------------------ equaliser


def excerpt(random: Random, x: Audio, samples: int) -> Audio:
    """A random part of speech; all of it if that part is silent, or it is no longer."""
    if len(x) <= samples:
        return x
    begin = int(random.integers(len(x) - samples + 1))
    taken = x[begin : begin + samples]
    return taken if np.any(taken) else x


def equalise(random: Random, x: Audio, rate: int, most: float) -> Audio:
    """Filter by a low shelf (80 to 400 Hz), a peak (200 to 6000 Hz) and a high shelf (1.5 to 8 kHz).

    Each has a random gain of up to ``most`` dB either way. Frequencies are within the rate (Hz).
    """
    top = 0.45 * rate
    words = np.zeros((3, 8))
    for row, kind, low, high, q in (
        (0, LOWSHELF, 80.0, 400.0, 0.7),
        (1, PEAKING, 200.0, min(6_000.0, top), float(random.uniform(0.5, 2.0))),
        (2, HIGHSHELF, 1_500.0, min(8_000.0, top), 0.7),
    ):
        frequency = math.exp(random.uniform(math.log(low), math.log(high)))
        design(words[row], kind, frequency, q, 10.0 ** (random.uniform(-most, most) / 20.0), float(rate))
    sections = np.insert(words[:, :5], 3, 1.0, axis=1)
    return np.asarray(sosfilt(sections, x), np.float32)


# ------------------------------------------------------------------------------------------ rooms

SOUND = 343.0
"""m/s."""
IMAGES = 60
"""Reflections that are followed, at most."""
DIRECT = 0.0025
"""Seconds from the peak of the direct sound to its end, band-limited as it is."""


def measured_room(path: Path, rate: int) -> Audio:
    """A measured room impulse response, (samples,), its first channel, resampled to a rate in Hz.

    It is scaled so that the direct sound, its largest sample, is 1.
    """
    with AudioReader(path, rate) as reader:
        response = reader.read(reader.samples)[0]
    if (problem := _problem(response)) is not None:
        raise FileError(f"{path} {problem}")
    return np.ascontiguousarray(response / response[np.argmax(np.abs(response))])


def simulated_room(recipe: Recipe, seed: int, number: int) -> Audio:
    """The impulse response of a random room, (samples,), by the image method of pyroomacoustics.

    Its walls absorb alike: first as Eyring's formula has it for the reverberation time; but as mirrors keep
    sound longer in flat rooms than his diffuse walls, then corrected by what the response has. The response
    ends after `IMAGES` reflections, which takes less than a second in small rooms. Talker and microphone are
    0.5 m or more from walls and 0.5 to 2.5 m apart. The direct sound, the largest sample, is 1.
    """
    import pyroomacoustics
    from pyroomacoustics.experimental import measure_rt60

    random = np.random.default_rng([seed, number, ROOM])
    size = np.array([*random.uniform(*recipe.room_size, 2), random.uniform(2.4, 4.0)])
    time = float(random.uniform(*recipe.reverberation_time))
    talker = random.uniform(0.5, size - 0.5)
    while True:
        away = random.standard_normal(3)
        # Sound takes whole samples, so that the direct sound is one and pairs are aligned exactly.
        distance = round(random.uniform(0.5, 2.5) / SOUND * recipe.rate) * SOUND / recipe.rate
        microphone = talker + away / np.linalg.norm(away) * distance
        if np.all(microphone >= 0.5) and np.all(microphone <= size - 0.5):
            break
    # A sound that goes round the two shortest sides is reflected most often: so often in that time.
    short, shorter = sorted(size)[:2]
    order = math.ceil(SOUND * time * math.hypot(short, shorter) / (short * shorter))

    def response(eyring_time: float) -> NDArray[Any]:
        # Eyring: RT60 = 24 ln(10) V / (-c S ln(1 - absorption)).
        surface = 2.0 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
        decay = 24.0 * math.log(10.0) * float(np.prod(size)) / (SOUND * surface * eyring_time)
        walls = pyroomacoustics.Material(1.0 - math.exp(-decay))
        room = pyroomacoustics.ShoeBox(size, recipe.rate, materials=walls, max_order=min(order, IMAGES))
        room.set_sound_speed(SOUND)
        room.add_source(talker)
        room.add_microphone(microphone)
        room.compute_rir()
        return np.asarray(room.rir[0][0])

    x = response(time * time / measure_rt60(response(time), recipe.rate, decay_db=30))
    return np.asarray(x / x[np.argmax(np.abs(x))], np.float32)


# ------------------------------------------------------------------------------------------ codecs

_FORMATS = {
    "opus": ("OGG", "OPUS", (8_000, 12_000, 16_000, 24_000, 48_000)),
    "mp3": ("MP3", "MPEG_LAYER_III", (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    "vorbis": ("OGG", "VORBIS", ()),
    "telephone": ("WAV", "ULAW", (8_000,)),
}
_PIECE = 16_384
"""Samples given to libsndfile at once: its Vorbis encoder overflows the stack on millions."""


def encoded(x: Audio, rate: int, codec: str, compression: float) -> Audio:
    """What is left of a signal after a codec, not delayed, as long as before.

    Parameters
    ----------
    x
        (samples,). Beyond [-1, 1] it is scaled down before and up again after.
    rate
        Hz. Where the codec does not have it, the next one that it has serves.
    codec
        One of `CODECS`. "telephone" is filtered to 300 to 3400 Hz first (zero phase).
    compression
        libsndfile's scale, from 0, the best quality, to 1, the smallest file.
    """
    import soundfile
    import soxr

    container, subtype, rates = _FORMATS[codec]
    coded_rate = (
        next((other for other in rates if other >= rate), max(rates, default=rate)) if rates else rate
    )
    peak = max(1.0, float(np.max(np.abs(x))))
    y = soxr.resample(x / np.float32(peak), rate, coded_rate, quality="VHQ")
    if codec == "telephone":
        band = butter(4, [300.0, 3_400.0], "bandpass", fs=coded_rate, output="sos")
        y = sosfiltfilt(band, y).astype(np.float32)
    file = io.BytesIO()
    options: dict[str, Any] = {} if codec == "telephone" else {"compression_level": compression}
    with soundfile.SoundFile(file, "w", coded_rate, 1, subtype, format=container, **options) as writer:
        for begin in range(0, len(y), _PIECE):
            writer.write(y[begin : begin + _PIECE])
    file.seek(0)
    y = soxr.resample(soundfile.read(file, dtype="float32")[0], coded_rate, rate, quality="VHQ")
    whole = np.zeros_like(x)
    whole[: len(y)] = y[: len(x)]
    return np.asarray(whole * np.float32(peak), np.float32)
