"""Speech and noise held on the training device, and mixed there, batch by batch.

A GPU trains faster than processors can prepare pairs (`export.mixing` makes some hundred a second on sixteen
cores). Here files are decoded, synthetic noises made and rooms simulated once; every batch is then cut,
filtered, put into rooms and mixed by a few hundred operations on whole tensors, wherever these are. What a
batch is depends on the numbers it is drawn from alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

from export.stock import make_noise, make_room, read_clip
from rtaudio.errors import UserError
from rtaudio.resample import ROLL_OFF as EDGE
from rtaudio.resample import edge

DRAWS = 96
"""Uniform numbers that an example is made of."""
POINTS = 10
"""Of a random equaliser: gains at as many frequencies, evenly in octaves from 30 Hz to half the rate."""
VOICES = 6
"""Most voices of babble."""
QUIET = -35.0
"""dB. Speech is held at an active level of -20; what is softer than this has none."""
ROLL_OFF = 24
"""Order of the low-pass of narrow-band devices: 1 / (1 + (f / corner)^24)."""


@dataclass(frozen=True)
class Chances:
    """The table ``[chances]``: how often, 0 to 1, and how far what is mixed varies.

    Parameters
    ----------
    snr
        dB, range: active level of speech over the RMS of the noise.
    level
        dB re RMS 1.0, range of the active level of speech.
    clean, silent
        No noise at all; no speech at all.
    late
        Speech that begins somewhere in the example: before is noise alone.
    synthetic, babble
        Noise of `export.noises`; of other speech. Else it is from files.
    second
        A second noise, 15 dB weaker to 5 dB stronger.
    bursts
        The noise comes in bursts, `bursts`: short noises with the spectra of long ones.
    speed
        Noise played slower or faster, by a factor of up to 1.4 either way.
    voices
        Speech played slower or faster, by a factor of up to 1.25 either way: other voices.
    equaliser
        dB, spread of the random walks over frequency by which they are equalised: (speech, noise).
    room
        Speech in a room. All of its sound counts as clean.
    narrow
        Everything through a low-pass between 3.4 and 12 kHz.
    clipped
        The noisy signal is clipped, 1 to 12 dB below its peak.
    offset
        A constant is added to the noisy signal.
    """

    snr: tuple[float, float] = (-5.0, 30.0)
    level: tuple[float, float] = (-48.0, -12.0)
    clean: float = 0.06
    silent: float = 0.04
    late: float = 0.15
    synthetic: float = 0.45
    babble: float = 0.12
    second: float = 0.35
    bursts: float = 0.0
    speed: float = 0.4
    voices: float = 0.0
    equaliser: tuple[float, float] = (1.5, 3.0)
    room: float = 0.4
    narrow: float = 0.25
    clipped: float = 0.03
    offset: float = 0.03

    def __post_init__(self) -> None:
        for name in (
            "clean", "silent", "late", "synthetic", "babble", "second", "bursts", "speed", "voices", "room",
            "narrow", "clipped", "offset",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} = {getattr(self, name)}: want 0 to 1")
        if self.synthetic + self.babble > 1 or self.clean + self.silent > 1:
            raise UserError("want synthetic + babble up to 1, and clean + silent up to 1")
        for name, least, most in (("snr", -40.0, 100.0), ("level", -80.0, 0.0)):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise UserError(f"{name} = {[low, high]}: want [least, most] within {least:g} to {most:g} dB")


@dataclass(frozen=True)
class Batch:
    """A batch: ``clean`` and ``noisy`` (batch, samples); ``band`` (batch,), Hz up to which clean is known."""

    clean: Tensor
    noisy: Tensor
    band: Tensor


class Bank:
    """Sound of one rate, in half precision, ready to be mixed.

    Parameters
    ----------
    clean, noise
        Files.
    synthetic
        How many noises of `export.noises` are made, ``seconds`` times 1.4 each, of the ``kinds`` in turn.
    rooms
        How many rooms are simulated.
    rate, seconds
        Of what is mixed, in Hz, and how long an example is.
    seed
        Of noises and rooms.
    pool
        Where they are made, and files decoded.

    Raises
    ------
    FileError
        A file that cannot be read, is silent or not finite.
    """

    def __init__(
        self, clean: Sequence[Path], noise: Sequence[Path], synthetic: int, kinds: Sequence[str], rooms: int,
        rate: int, seconds: float, seed: int, pool: Executor,
    ) -> None:  # fmt: skip
        self.rate, self.samples = rate, round(seconds * rate)
        self.longest = math.ceil(1.4 * self.samples) + 2
        jobs = [(kinds[number % len(kinds)], seed, number, self.longest, rate) for number in range(synthetic)]
        speech = list(pool.map(read_clip, [(path, rate) for path in clean], chunksize=4))
        recorded = [x for x, _ in pool.map(read_clip, [(path, rate) for path in noise])]
        made = list(pool.map(make_noise, jobs, chunksize=8))
        responses = list(pool.map(make_room, [(rate, seed, number) for number in range(rooms)]))
        self.speech = Clips([x for x, _ in speech], [band for _, band in speech], self.longest)
        self.noise = Clips([*made, *recorded], [], self.longest)
        self._made = float(self.noise.ends[len(made) - 1]) if made else 0.0
        self._edge = torch.from_numpy(edge(np.linspace(0, 2, 16_385))).float()
        self.rooms = torch.zeros(max(1, rooms), rate)
        self.rooms[0, 0] = 1.0
        for row, x in zip(self.rooms, responses, strict=False):
            row[: len(x)] = torch.from_numpy(x)

    def to(self, device: torch.device) -> Bank:
        """Move everything."""
        for clips in (self.speech, self.noise):
            clips.to(device)
        self.rooms, self._edge = self.rooms.to(device), self._edge.to(device)
        return self

    def batch(self, draws: Tensor, chances: Chances) -> Batch:
        """Mix.

        Parameters
        ----------
        draws
            (batch, DRAWS), uniform from 0 to 1, on the bank's device.
        chances
            How.
        """
        take = iter(draws.unbind(1)).__next__
        n = self.samples
        faster = torch.where(draws[:, -1] < chances.voices, 1.25 ** (2 * draws[:, -2] - 1), 1.0)
        clean, speech_band = self.speech.cut(take(), take(), n, faster)
        speech_band = (speech_band * faster).clamp(max=self.rate / 2)
        late = take() < chances.late
        begin = torch.where(late, take() * n, 0.0)
        time = torch.arange(n, device=draws.device)
        clean = torch.where(time < begin[:, None], 0.0, clean)
        noise = self._noise(take, chances, n)
        with_second = take() < chances.second
        second = self._noise(take, chances, n, with_second)
        noise[with_second] += second * decibels(take() * 20 - 15)[with_second, None]
        short = draws[:, -3] < chances.bursts
        drawn = scrambled(torch.arange(6, device=draws.device), draws[short, -4, None])
        noise[short] *= bursts(drawn, n, self.rate)

        spectrum = torch.fft.rfft(clean) * self._equaliser(take, chances.equaliser[0], n)
        clean = torch.fft.irfft(spectrum, n)
        in_room = take() < chances.room
        clean[in_room] = self._in_rooms(clean[in_room], take()[in_room])
        spectra = torch.stack([torch.fft.rfft(clean), torch.fft.rfft(noise)])
        spectra[1] *= self._equaliser(take, chances.equaliser[1], n)
        spectra[:, :, 0] = 0
        frequency = torch.fft.rfftfreq(n, 1 / self.rate, device=draws.device)
        narrow = take() < chances.narrow
        corner = torch.where(narrow, 3_400 * (12_000 / 3_400) ** take(), self.rate)
        # Speech of a low rate is heard as its file is, or as a device of its rate is, or with noise above.
        file = (speech_band < self.rate / 2) & (take() < 0.6)
        as_device = file & (draws[:, -5] < 0.5) & (2 * (1 + EDGE) * speech_band <= self.rate)
        corner = torch.minimum(corner, torch.where(file & ~as_device, 0.97 * speech_band, self.rate))
        spectra /= 1 + (frequency / corner[:, None]) ** ROLL_OFF
        spectra[:, as_device] = mirrored(spectra[:, as_device], frequency, speech_band[as_device], self._edge)
        clean, noise = torch.fft.irfft(spectra, n)

        silent, untouched = take(), take()
        wanted = chances.level[0] + take() * (chances.level[1] - chances.level[0])
        # Where an example is all pause, what is left of the recording's own noise stays soft.
        clean = clean * decibels(wanted - active_levels(clean, self.rate).clamp_min(QUIET))[:, None]
        snr = chances.snr[0] + take() * (chances.snr[1] - chances.snr[0])
        noise = noise * decibels(wanted - snr - levels(noise))[:, None]
        clean = torch.where((silent < chances.silent)[:, None], 0.0, clean)
        is_clean = (untouched < chances.clean)[:, None]
        # Recordings have noise of their own: "clean" is 50 to 80 dB.
        noise = torch.where(is_clean, noise * decibels(snr - 50 - 30 * take())[:, None], noise)
        noisy = clean + noise
        peak = torch.maximum(noisy.abs().amax(1), clean.abs().amax(1)).clamp_min(1e-6)
        loud = (0.99 / peak).clamp(max=1.0)[:, None]
        clean, noisy, peak = clean * loud, noisy * loud, peak * loud[:, 0]
        limit = torch.where(take() < chances.clipped, peak * decibels(-1 - 11 * take()), 1.0)[:, None]
        noisy = torch.minimum(torch.maximum(noisy, -limit), limit)
        offset = torch.where(take() < chances.offset, (take() - 0.5) * 0.1, 0.0)
        noisy = noisy + offset[:, None]
        known = torch.where(speech_band < self.rate / 2, 0.97 * speech_band, self.rate / 2)
        # Where the low-pass took the noise away too, nothing above it is wanted, and that is known.
        known = torch.where((corner <= known) | file, self.rate / 2, known)
        known = torch.where(silent < chances.silent, self.rate / 2, known)
        return Batch(clean, noisy, known)

    def _noise(
        self, take: Callable[[], Tensor], chances: Chances, n: int, wanted: Tensor | None = None
    ) -> Tensor:
        """One noise each, at an RMS of 0.1; of the ``wanted`` examples (batch,) bool only."""

        def draw() -> Tensor:
            return take() if wanted is None else take()[wanted]

        kind, which, place = draw(), draw(), draw()
        which = torch.where(
            kind < chances.synthetic, which * self._made, self._made + which * (1 - self._made)
        )
        faster = torch.where(draw() < chances.speed, 1.4 ** (2 * draw() - 1), 1.0)
        noise, _ = self.noise.cut(which, place, n, faster)
        babble = (kind >= chances.synthetic) & (kind < chances.synthetic + chances.babble)
        noise[babble] = 0.0
        count = 3 + draw() * (VOICES - 2)
        for voice in range(VOICES):
            which, place, gain = draw(), draw(), draw()
            chosen = babble & (voice < count)
            talk, _ = self.speech.cut(which[chosen], place[chosen], n)
            noise[chosen] += talk * decibels(12 * gain[chosen] - 6 - active_levels(talk, self.rate))[:, None]
        return noise * decibels(-20 - levels(noise))[:, None]

    def _equaliser(self, take: Callable[[], Tensor], spread: float, n: int) -> Tensor:
        """Gains (batch, n // 2 + 1): a random walk over the logarithm of the frequency, 0 dB at 1 kHz."""
        amount = take()
        steps = torch.stack([take() for _ in range(POINTS)], 1)
        walk = torch.cumsum((2 * steps - 1) * (math.sqrt(3) * spread) * amount[:, None], 1)
        frequency = torch.fft.rfftfreq(n, 1 / self.rate, device=walk.device).clamp_min(30)
        place = torch.log(frequency / 30) / math.log(self.rate / 60) * (POINTS - 1)
        below = place.long().clamp(max=POINTS - 2)
        part = (place - below).to(walk.dtype)
        curve = walk[:, below] * (1 - part) + walk[:, below + 1] * part
        at = round(1_000 * n / self.rate)
        return decibels(curve - curve[:, at, None])

    def _in_rooms(self, x: Tensor, draw: Tensor) -> Tensor:
        """Convolved with the response of a room each, as loud as before."""
        if not len(x):  # of which no FFT is
            return x
        n = x.shape[1]
        size = next_fast_len(n + self.rooms.shape[1], real=True)
        which = (draw * len(self.rooms)).long().clamp(max=len(self.rooms) - 1)
        wet = torch.fft.irfft(torch.fft.rfft(x, size) * torch.fft.rfft(self.rooms[which], size), size)[:, :n]
        gain = decibels(levels(x) - levels(wet))[:, None]
        return gain * wet  # type: ignore[no-any-return]


def mirrored(spectra: Tensor, frequency: Tensor, band: Tensor, edges: Tensor) -> Tensor:
    """As the engine hears sound of a rate of twice ``band``, mirrored above it.

    Parameters
    ----------
    spectra
        (any, batch, bins), complex.
    frequency
        (bins,), Hz.
    band
        (batch,), Hz.
    edges
        (points,), `rtaudio.resample.edge` from 0 to 2.
    """
    at = frequency / band[:, None]
    twice = torch.round(2 * band / frequency[1])[:, None].long()
    other = (twice - torch.arange(len(frequency), device=band.device)).clamp(0, len(frequency) - 1)
    mirror = torch.take_along_dim(spectra, other[None].expand_as(spectra), 2).conj()
    gains = edges[torch.round(at * ((len(edges) - 1) / 2)).long().clamp(max=len(edges) - 1)]
    return gains * torch.where(at <= 1, spectra, mirror)


class Clips:
    """Recordings end to end, and where each begins; those shorter than ``least`` samples repeat."""

    def __init__(self, clips: Sequence[NDArray[Any]], bands: Sequence[float], least: int) -> None:
        whole = [np.resize(x, least) if len(x) < least else x for x in clips] or [np.zeros(least, np.float16)]
        lengths = np.array([len(x) for x in whole], np.int64)
        self.sound = torch.from_numpy(np.concatenate(whole).astype(np.float16, copy=False))
        self.begins = torch.from_numpy(np.cumsum(lengths) - lengths)
        self.lengths = torch.from_numpy(lengths)
        self.bands = torch.tensor([*bands] or [0.0] * len(whole))
        # A clip is drawn as often as it is long.
        self.ends = torch.cumsum(self.lengths.double(), 0) / int(lengths.sum())

    def to(self, device: torch.device) -> None:
        """Move."""
        for name in ("sound", "begins", "lengths", "bands", "ends"):
            setattr(self, name, getattr(self, name).to(device))

    def cut(
        self, which: Tensor, place: Tensor, n: int, faster: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``n`` samples (batch, n) float32 from a random place in a random clip, and its band in Hz."""
        clip = torch.searchsorted(self.ends, which.double()).clamp(max=len(self.ends) - 1)
        needed = n if faster is None else n * faster + 2
        begin = self.begins[clip] + (place * (self.lengths[clip] - needed)).long()
        time = torch.arange(n, device=which.device)
        if faster is None:
            return self.sound[begin[:, None] + time].float(), self.bands[clip]
        at = time * faster[:, None]
        whole = at.long()
        first = begin[:, None] + whole
        part = at - whole
        return torch.lerp(self.sound[first].float(), self.sound[first + 1].float(), part), self.bands[clip]


def bursts(draws: Tensor, n: int, rate: int) -> Tensor:
    """Envelopes (batch, n), at most 1: 0.7 to 10 bursts per second that rise at once and decay.

    Parameters
    ----------
    draws
        (batch, 6), uniform: how many; by 60 dB in 0.02 to 1.5 s; how regular; how far above what stays, 15 to
        60 dB; the first moment; what every burst is drawn from.
    """
    count, decay, loose, floor, first, own = draws.unbind(1)
    each = 0.7 * (10 / 0.7) ** count
    decay = 0.02 * 75**decay
    time = torch.arange(n, device=draws.device) / rate
    turns = time * each[:, None] + first[:, None]
    number = turns.long()
    # Every turn has a burst, later by `late` of it: what is heard at a time is that of the turn, or the last.
    late = [loose[:, None] * scrambled(number - back, own[:, None]) for back in (0, 1)]
    since = turns - number - late[0]
    age = torch.where(since < 0, since + 1 + late[0] - late[1], since) / each[:, None]
    gain = decibels(-20 * scrambled(number - (since < 0).long() + 1000, own[:, None]))
    burst = gain * torch.exp(-math.log(1000) * age / decay[:, None])
    return torch.maximum(burst, decibels(-15 - 45 * floor)[:, None])


def scrambled(number: Tensor, key: Tensor) -> Tensor:
    """Uniform from 0 to 1 for every number and key, without order."""
    return (torch.sin(12.9898 * number + 78.233 * key) * 43_758.5453).remainder(1.0)


def decibels(value: Tensor) -> Tensor:
    """Amplitudes of levels in dB, which are held within -200 to 100."""
    return torch.exp(value.clamp(-200, 100) * (math.log(10) / 20))


def levels(x: Tensor) -> Tensor:
    """RMS levels (batch,) in dB of (batch, samples); silence is at -100."""
    return 10 * torch.log10(x.square().mean(1) + 1e-10)


def active_levels(x: Tensor, rate: int) -> Tensor:
    """Levels (batch,) in dB of what is speech: the frames of 20 ms within 20 dB of the loudest tenth.

    Simpler than `export.levels.active_level`, from which it differs by under 3 dB on speech.
    """
    frame = rate // 50
    frames = x.shape[1] // frame
    power = x[:, : frames * frame].reshape(len(x), frames, frame).square().mean(2)
    loud = power.topk(max(1, frames // 10)).values[:, -1:]
    active = power >= 0.01 * loud
    return 10 * torch.log10((power * active).sum(1) / active.sum(1) + 1e-10)
