"""Training of the learned fusion of causal kernels (`engines.fusion`), the task ``fusion``.

The loss is what is scored: the error of the harmonic part in the time domain, after the synthesis window and
the overlap-add. The percussive part is the rest of the mixture, so its error is the same. Medians and the
other features come from the compiled code that runs live. ``python -m export fusion RUN`` scores what was
trained and writes it as the separator reads it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import scipy.fft
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engines import fusion
from engines.fusion import (
    BANDS,
    BINS,
    DILATION,
    FEATURES,
    HOP,
    LOOKAHEAD,
    N_FFT,
    SEGMENTS,
    SYNTHESIS,
    UNITS,
    WIDTH,
)
from export import sets
from export.output import write_with_card
from export.training import Arrays, Training, Update, Validation, read_run
from rtaudio.errors import FileError, UserError
from rtaudio.files import AudioReader
from rtaudio.native import compiled
from rtaudio.stft import windows

RATE = 44_100
WARM = 34
"""Frames of sound before a chunk, from which its first medians come."""
FRAMES = 88
"""Frames of a chunk."""
SETTLING = 16
"""Frames at the begin of a chunk, while the state settles, that the loss leaves out."""
EXCERPT = N_FFT + (WARM + FRAMES - 1) * HOP
"""Samples that a chunk is made of."""
CHUNKS, POOL = 3, 16
"""Chunks of a mix in a step, mixes that the mixes of a step are drawn from."""
UNSEEN = 1 << 40
"""Number of the first mix that no step of training comes to."""
UNSEEN_MIXES = 4
"""Mixes that validation hears if no songs are held out."""
HELD_OUT_SONGS, HELD_OUT_SAMPLES = 4, 6 * RATE
"""What validation hears of every folder that is held out."""

Audio = NDArray[np.float32]
Random = np.random.Generator
Masks = TypeVar("Masks", NDArray[np.float32], Tensor)


# ------------------------------------------------------------------------------------------------- network


def position_features() -> NDArray[np.float32]:
    """What tells a unit where it is: bells over its number and over its logarithm, (features, UNITS)."""
    unit = np.arange(UNITS)[None, :]
    even = np.linspace(0, UNITS - 1, 24)[:, None]
    octaves = np.linspace(0, np.log2(UNITS), 19)[:, None]
    wide = np.exp(-0.5 * ((unit - even) / (UNITS / 23)) ** 2)
    narrow = np.exp(-2 * (np.log2(unit + 1) - octaves) ** 2)
    return np.concatenate([wide, narrow, np.ones((1, UNITS))]).astype(np.float32)


def sigmoid(x: Tensor) -> Tensor:
    """As `engines.fusion.sigmoid`."""
    return 0.5 + 0.5 * x * torch.rsqrt(1 + x * x)


def move(gate: Tensor, candidate: Tensor) -> Tensor:
    """States over time, (batch, frames, ...), of recurrent units without a recurrent matrix, from 0."""
    state = torch.zeros_like(candidate[:, 0])
    states = []
    for g, c in zip(gate.unbind(1), candidate.unbind(1), strict=True):
        state = torch.lerp(state, c, g)
        states.append(state)
    return torch.stack(states, 1)


class Fusion(nn.Module):
    """The network of `engines.fusion` (see `fuse` there), for whole chunks of features."""

    def __init__(self) -> None:
        super().__init__()
        self.where: Tensor
        self.register_buffer("where", torch.from_numpy(position_features()))
        self.position = nn.Linear(len(position_features()), WIDTH, bias=False)
        self.input = nn.Conv1d(2 * FEATURES, WIDTH, 1, bias=False)
        self.near = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.gate = nn.Conv1d(WIDTH, WIDTH, 1)
        self.candidate = nn.Conv1d(WIDTH, WIDTH, 1)
        self.broad_gate = nn.Linear(len(BANDS) * WIDTH, WIDTH)
        self.broad_candidate = nn.Linear(len(BANDS) * WIDTH, WIDTH)
        self.broad_out = nn.Linear(WIDTH, len(BANDS) * WIDTH, bias=False)
        self.far = nn.Conv1d(WIDTH, WIDTH, 3, padding=DILATION, dilation=DILATION)
        self.across = nn.Conv1d(WIDTH, WIDTH, 1, bias=False)
        self.output = nn.Conv1d(WIDTH, 1, 1)
        self.direct = nn.Conv1d(FEATURES, 1, 1, bias=False)
        with torch.no_grad():
            self.position.weight.mul_(0.1)
            for gate in (self.gate, self.broad_gate):
                nn.init.constant_(gate.bias, -1.0)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Masks of the frame before each: (batch, frames, FEATURES, UNITS) to (batch, frames, UNITS)."""
        batch, frames = features.shape[:2]
        before = functional.pad(features, (0, 0, 0, 0, 1, 0))[:, :-1]
        seen = torch.cat([features, before], 2).flatten(0, 1)  # (batch * frames, 2 * FEATURES, UNITS)
        first = functional.relu(self.input(seen) + self.position(self.where.T).T)
        second = functional.relu(self.near(first))
        shape = batch, frames, WIDTH, UNITS
        gate, candidate = sigmoid(self.gate(second).float()), self.candidate(second).float()
        state = move(gate.view(shape), candidate.view(shape)).flatten(0, 1)
        means = torch.cat([second[..., begin:end].float().mean(-1) for begin, end in BANDS], -1)
        means = means.view(batch, frames, -1)  # (batch, frames, bands * WIDTH)
        gate, candidate = sigmoid(self.broad_gate(means).float()), self.broad_candidate(means).float()
        broad = move(gate, candidate).flatten(0, 1)
        told = self.broad_out(broad).view(batch * frames, len(BANDS), WIDTH)
        sizes = torch.tensor([end - begin for begin, end in BANDS], device=told.device)
        told = told.repeat_interleave(sizes, 1).transpose(1, 2)  # (batch * frames, WIDTH, UNITS)
        last = functional.relu(self.far(state) + self.across(second) + told)
        values = self.output(last) + self.direct(seen[:, :FEATURES])
        return sigmoid(values.float()).view(batch, frames, UNITS)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The weights as `engines.fusion.load` takes them: (inputs, outputs), and the position table."""

        def rows(layer: nn.Module) -> Tensor:
            weight: Tensor = layer.weight  # type: ignore[assignment]
            return weight.permute(2, 1, 0).flatten(0, 1) if weight.dim() == 3 else weight.T

        biased = self.near, self.gate, self.candidate, self.broad_gate, self.broad_candidate, self.far
        tables = {name: rows(getattr(self, name)) for name in fusion.SHAPES if name != "biases"}
        by_band = self.broad_out.weight.view(len(BANDS), WIDTH, WIDTH)
        tables["broad_out"] = by_band.transpose(1, 2).flatten(0, 1)
        biases: list[Any] = [layer.bias for layer in biased]
        tables["biases"] = torch.stack([*biases, self.output.bias.expand(WIDTH)])  # type: ignore[union-attr]
        direct = functional.pad(self.direct.weight.flatten(), (0, WIDTH - FEATURES))
        tables["output"] = torch.stack([self.output.weight.flatten(), direct])
        weights = torch.cat([tables[name] for name in fusion.SHAPES])
        position = self.position(self.where.T).T
        return {
            name: np.ascontiguousarray(table.detach().cpu().numpy(), np.float32)
            for name, table in (("weights", weights), ("position", position))
        }


# ------------------------------------------------------------------------------------------------ features


@compiled
def _run_features(re: Any, im: Any, memory: Any, bins: Any, work: Any, features: Any) -> None:
    for t in range(re.shape[0]):
        fusion.measure(re[t], im[t], bins, work)
        fusion.update_features(t, memory, work)
        row = fusion.SEEN + (t & 1) * fusion.FEATURES
        for i in range(fusion.FEATURES):
            for f in range(fusion.UNITS):
                features[t, i, f] = memory[row + i, fusion.PAD + f]


def features_of(spectra: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Features (frames, FEATURES, UNITS) of spectra (channels, frames, BINS), by the compiled code."""
    memory, bins, work = fusion.allocate(1)
    features = np.zeros((spectra.shape[1], FEATURES, UNITS), np.float32)
    frames = spectra.swapaxes(0, 1)
    re, im = (np.ascontiguousarray(part, np.float32) for part in (frames.real, frames.imag))
    _run_features(re, im, memory[0], bins, work, features)
    return features


def spectra(x: Audio, window: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Analysis of (channels, samples): (channels, frames, BINS); frame t begins at sample t * HOP."""
    framed = np.lib.stride_tricks.sliding_window_view(x, N_FFT, axis=-1)[..., ::HOP, :]
    transformed: NDArray[np.complex64] = scipy.fft.rfft(framed * window, axis=-1)
    return transformed


# ------------------------------------------------------------------------------------------------- mixing


class Recordings:
    """The files of `export.songs` in a folder, as 16-bit samples kept on disk."""

    def __init__(self, folder: Path) -> None:
        self.files = {path.name.removesuffix(".flac"): path for path in sorted(folder.glob("*.flac"))}
        self.drums = [name for name in self.files if name.endswith(".drums")]
        pitched = [name for name in self.files if name.endswith(".pitched")]
        self.voices = [name for name in pitched if name.startswith("voice")]
        self.pitched = [name for name in pitched if not name.startswith("voice")]
        self.songs = [name.removesuffix(".drums") for name in self.drums if name.startswith("song")]
        if not self.drums or not pitched:
            raise FileError(f"{folder}: no *.drums.flac and *.pitched.flac: make them with the command songs")

    def read(self, name: str) -> Audio:
        """A file at RATE, (2, samples)."""
        with AudioReader(self.files[name], RATE) as reader:
            if reader.channels != 2:
                raise FileError(f"{self.files[name]}: its channels are {reader.channels}: want stereo")
            return reader.read(reader.samples)


def _pick(rng: Random, names: Sequence[str]) -> str:
    return names[int(rng.integers(len(names)))]


def _changed(rng: Random, x: Audio) -> Audio:
    """A stem at another pitch and speed, coloured, narrowed or turned, or in a room."""
    import soxr

    if rng.random() < 0.5:
        x = soxr.resample(x.T, RATE, round(RATE * rng.uniform(0.8, 1.25)), quality="LQ").T
    if rng.random() < 0.3:
        tilt = rng.uniform(-0.6, 0.6)
        x = scipy.signal.lfilter([1.0, -tilt], [1.0], x)
    if rng.random() < 0.4:
        middle, side = x.sum(0) / 2, (x[0] - x[1]) / 2 * rng.uniform(0, 1.5)
        x = np.stack([middle + side, middle - side])
        angle = rng.normal(0, 0.25)
        x = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) @ x
    if rng.random() < 0.25:
        time_60 = rng.uniform(0.15, 1.5)
        t = np.arange(int(time_60 * RATE)) / RATE
        room = rng.normal(size=(2, len(t))) * 10 ** (-3 * t / time_60)
        room = scipy.signal.lfilter([1.0], [1.0, -rng.uniform(0, 0.7)], room)
        room *= rng.uniform(0.1, 0.5) / np.sqrt(np.sum(room**2, axis=1, keepdims=True))
        x = x + scipy.signal.oaconvolve(x, room, axes=1)[:, : x.shape[1]]
    return np.ascontiguousarray(x, np.float32)


def _level(x: Audio) -> float:
    return max(1e-5, float(np.sqrt(np.mean(x**2))))


def mix(rng: Random, recordings: Recordings) -> tuple[Audio, Audio]:
    """A mixture and its pitched part, (2, samples) each, sometimes after silence."""
    kind = rng.random()
    if kind < 0.55 and recordings.songs:
        song = _pick(rng, recordings.songs)
        drums, pitched = f"{song}.drums", f"{song}.pitched"
    else:
        drums, pitched = _pick(rng, recordings.drums), _pick(rng, recordings.pitched or recordings.voices)
    p, d = recordings.read(pitched), recordings.read(drums)
    if kind > 0.75 and recordings.voices:
        voice = recordings.read(_pick(rng, recordings.voices))
        samples = min(p.shape[1], voice.shape[1])
        accompanied = 0.0 if rng.random() < 0.3 else 10 ** (rng.uniform(-10, 3) / 20)
        p = voice[:, :samples] / _level(voice) + accompanied * p[:, :samples] / _level(p)
    p, d = _changed(rng, p), _changed(rng, d)
    samples = min(p.shape[1], d.shape[1])
    p, d = p[:, :samples] / _level(p), d[:, :samples] / _level(d)
    d *= 10 ** (np.clip(rng.normal(0, 3.5), -9, 9) / 20)
    begin = N_FFT + WARM * HOP if rng.random() < 0.2 else 0
    end = max(0, EXCERPT - begin - samples)
    p, d = (np.pad(part, ((0, 0), (begin, end))) * np.float32(0.1) for part in (p, d))
    return p + d, p


def chunks_of(mixture: Audio, pitched: Audio, random: Random) -> Arrays:
    """CHUNKS chunks of a mix: features, spectra as (real, imaginary), pitched part.

    (CHUNKS, FRAMES, FEATURES, UNITS), (CHUNKS, 2, FRAMES, BINS, 2), (CHUNKS, 2, FRAMES * HOP): the samples
    end with the last frame.
    """
    analysis, _ = windows(N_FFT, HOP, SYNTHESIS)
    rows = []
    for _ in range(CHUNKS):
        begin = int(random.integers(max(1, mixture.shape[1] - EXCERPT)))
        transformed = spectra(mixture[:, begin : begin + EXCERPT], analysis)
        target = pitched[:, begin : begin + EXCERPT][:, -FRAMES * HOP :]
        shown = np.ascontiguousarray(transformed[:, WARM:])[..., None].view(np.float32)
        rows.append((features_of(transformed)[WARM:], shown, target))
    return tuple(np.stack(column) for column in zip(*rows, strict=True))


# ------------------------------------------------------------------------------------------------ training

WIDTHS = torch.cat([torch.full(((end - begin) // width,), width) for begin, end, width in SEGMENTS])
"""Bins per unit, the last bin with the last unit."""
WIDTHS[-1] += BINS - int(WIDTHS.sum())


def errors(masks: Tensor, spectra: Tensor, target: Tensor, synthesis: Tensor) -> Tensor:
    """Energy of the error of every chunk's pitched part, in the time domain.

    masks (chunks, frames, UNITS) of the frames of spectra (chunks, 2, frames, BINS); target (chunks, 2,
    frames * HOP) ends with the last frame.
    """
    wide = masks.repeat_interleave(WIDTHS.to(masks.device), -1)[:, None]
    frames = torch.fft.irfft(spectra * wide, N_FFT)[..., -SYNTHESIS:] * synthesis[-SYNTHESIS:]
    whole = frames[:, :, :-1, HOP:] + frames[:, :, 1:, :HOP]  # of what frames 0, 1, ... end with
    kept = target.reshape(*target.shape[:2], -1, HOP)[:, :, :-1]
    return torch.sum((whole - kept)[:, :, SETTLING:] ** 2, dim=(1, 2, 3))


def loss_of(network: nn.Module, batch: Sequence[Tensor], synthesis: Tensor) -> Tensor:
    """Mean over the mixes of the logarithm of the error, relative to the mask of two medians.

    ``batch`` as of `chunks_of`, the chunks of a mix in a row.
    """
    features, parts, target = batch
    masks = network(features)[:, LOOKAHEAD:]
    shown = torch.view_as_complex(parts)[:, :, : FRAMES - LOOKAHEAD], target[..., : -LOOKAHEAD * HOP]
    error = errors(masks, *shown, synthesis)
    with torch.no_grad():
        usual = errors(usual_masks(features[:, : FRAMES - LOOKAHEAD]), *shown, synthesis)
    ratio = error.view(-1, CHUNKS).sum(1) / (usual.view(-1, CHUNKS).sum(1) + 1e-6)
    return 10 * torch.mean(torch.log10(ratio + 0.03))


def usual_masks(features: Masks) -> Masks:
    """Wiener masks of a median over 17 frames and one over 17 units, of features (..., FEATURES, UNITS)."""
    along, across = (
        features[..., fusion.TIME_SIZES.index(17), :],
        features[..., len(fusion.TIME_SIZES) + 1, :],
    )
    ratio: Any = 2 ** (fusion.SCALE * (across - along))
    masks: Masks = 1 / (1 + ratio)
    return masks


def separate(x: Audio, model: fusion.Model | None) -> Audio:
    """The pitched part of (channels, samples), one mask for all channels; with None by `usual_masks`."""
    analysis, synthesis = windows(N_FFT, HOP, SYNTHESIS)
    frames = -(-(x.shape[1] + SYNTHESIS) // HOP) + LOOKAHEAD
    padded = np.pad(x, ((0, 0), (N_FFT - HOP, frames * HOP - x.shape[1])))
    transformed = spectra(padded, analysis)
    if model is None:
        transformed *= np.repeat(usual_masks(features_of(transformed)), WIDTHS.numpy(), axis=-1)
    else:
        parts = transformed.swapaxes(0, 1)
        re, im = (np.ascontiguousarray(part, np.float32) for part in (parts.real, parts.imag))
        memory, bins, work = fusion.allocate(1)
        mask = np.zeros(BINS, np.float32)
        for t in range(frames):
            fusion.learned_mask(t, re[t], im[t], mask, memory[0], bins, work, *model)
            if t >= LOOKAHEAD:
                transformed[:, t - LOOKAHEAD] *= mask / (mask + fusion.PERCUSSIVE * (1 - mask))
    ends = scipy.fft.irfft(transformed, N_FFT, axis=-1)[..., -SYNTHESIS:] * synthesis[-SYNTHESIS:]
    hops = ends[:, :-1, HOP:] + ends[:, 1:, :HOP]
    out: Audio = hops.reshape(len(x), -1)[:, : x.shape[1]].astype(np.float32)
    return out


def sdr(source: Audio, estimate: Audio) -> float:
    """Ratio of a source's energy to that of the error, in dB."""
    return float(10 * np.log10(np.sum(source**2) / np.sum((source - estimate) ** 2)))


def si_sdr(source: Audio, estimate: Audio) -> float:
    """Scale-invariant `sdr` (Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019)."""
    scaled = source * (np.sum(source * estimate) / np.sum(source**2))
    return sdr(scaled, estimate)


def pairs(folder: Path) -> Iterator[tuple[Audio, Audio]]:
    """Pitched and drum part of every song of a folder, then voices over drum patterns, equally loud."""
    recordings = Recordings(folder)
    songs = [(name.removesuffix("drums") + "pitched", name) for name in recordings.drums]
    songs = [names for names in songs if names[0] in recordings.pitched]
    kits = [name for name in recordings.drums if name.startswith("kit")]
    over_kits = list(zip(recordings.voices, kits, strict=False))
    if not songs and not over_kits:
        raise FileError(f"{folder}: no song with both parts, NAME.drums.flac and NAME.pitched.flac")
    for names in songs + over_kits:
        p, d = map(recordings.read, names)
        samples = min(p.shape[1], d.shape[1])
        p, d = p[:, :samples], d[:, :samples]
        yield (p / (10 * _level(p)), d / (10 * _level(d))) if names in over_kits else (p, d)


def excerpts(folder: Path) -> list[tuple[Audio, Audio]]:
    """The middle of the first `pairs` of a folder in which both parts sound."""
    found = []
    for pair in pairs(folder):
        begin = max(0, pair[0].shape[1] - HELD_OUT_SAMPLES) // 2
        p, d = (part[:, begin : begin + HELD_OUT_SAMPLES] for part in pair)
        if np.any(p) and np.any(d):
            found.append((p, d))
        if len(found) == HELD_OUT_SONGS:
            break
    if not found:
        raise FileError(f"{folder}: in the middle of every song a part is silent: give other songs")
    return found


def score(model: fusion.Model | None, songs: Iterable[tuple[Audio, Audio]]) -> dict[str, float]:
    """Mean SDR and SI-SDR in dB over both parts of (pitched, drums) pairs."""
    found = []
    for pitched, drums in songs:
        harmonic = separate(pitched + drums, model)
        rest = pitched + drums - harmonic
        found.append([[ratio(pitched, harmonic), ratio(drums, rest)] for ratio in (sdr, si_sdr)])
    plain, invariant = np.mean(found, axis=(0, 2))
    return {"SDR": round(float(plain), 2), "SI-SDR": round(float(invariant), 2)}


# ---------------------------------------------------------------------------------------------- the task


@dataclass(frozen=True)
class Data:
    """The table ``[data]``: folders of the command songs; those held out are never trained on."""

    songs: str
    held_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Optimiser:
    """The table ``[optimiser]``: Adam."""

    rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.99)

    def __post_init__(self) -> None:
        if not (self.rate > 0 and all(0 <= beta < 1 for beta in self.betas)):
            raise UserError("want a rate above 0, and betas from 0 to below 1")


@dataclass(frozen=True)
class Settings:
    """A configuration. A step has ``training.batch / CHUNKS`` mixes."""

    data: Data
    training: Training
    seed: int = 0
    optimiser: Optimiser = field(default_factory=Optimiser)

    def __post_init__(self) -> None:
        if self.training.batch % CHUNKS or self.training.batch > POOL * CHUNKS:
            raise UserError(
                f"training.batch = {self.training.batch}: want a multiple of {CHUNKS}, the chunks of a mix, "
                f"up to {POOL * CHUNKS}"
            )


class FusionTask:
    """The network, and mixes made while it is trained."""

    settings_type = Settings
    averaged = "fusion"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.network = Fusion()
        self.networks: Mapping[str, nn.Module] = {"fusion": self.network}
        adam = settings.optimiser
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {
            "fusion": torch.optim.Adam(self.network.parameters(), adam.rate, adam.betas)
        }
        self.synthesis = torch.tensor(windows(N_FFT, HOP, SYNTHESIS)[1])
        self.mixes: dict[int, tuple[Audio, Audio]] = {}
        """Those of the latest steps, by number."""

    def __getstate__(self) -> dict[str, Any]:
        """What processes need that make batches."""
        return {"settings": self.settings, "recordings": self.recordings, "mixes": self.mixes}

    def open_data(self) -> dict[str, Any]:
        """Find the songs, read those that are held out."""
        data = self.settings.data
        self.recordings = Recordings(Path(data.songs))
        self.held_out = [pair for folder in data.held_out for pair in excerpts(Path(folder))]
        return {
            "sources": {data.songs: sets.licence(Path(data.songs))},
            "files": len(self.recordings.files),
            "held out": list(data.held_out),
        }

    def random(self, *numbers: int) -> Random:
        """Numbers that follow from the seed and what they are for."""
        return np.random.default_rng([self.settings.seed, *numbers])

    def mix(self, number: int) -> tuple[Audio, Audio]:
        """A mixture and its pitched part, (2, samples) each."""
        return mix(self.random(number), self.recordings)

    def batch(self, examples: range) -> Arrays:
        """`chunks_of` mixes drawn for the step from POOL, of which every step replaces one."""
        if examples.start % CHUNKS or len(examples) % CHUNKS:
            raise UserError(
                f"{len(examples)} examples from {examples.start}: want whole mixes of {CHUNKS} chunks: "
                "change batch or the number of processes"
            )
        each = self.settings.training.batch // CHUNKS
        rows = []
        for place in range(examples.start // CHUNKS, examples.stop // CHUNKS):
            step = place // each
            number = step + int(self.random(step, 1).choice(POOL, each, replace=False)[place % each])
            self.mixes = {known: audio for known, audio in self.mixes.items() if known >= step}
            if number not in self.mixes:
                self.mixes[number] = self.mix(number)
            rows.append(chunks_of(*self.mixes[number], self.random(place, 2)))
        return tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))

    def train(
        self, batch: tuple[Tensor, ...], random: Callable[..., Tensor], update: Update
    ) -> dict[str, float]:
        """One step of Adam."""
        loss = loss_of(self.network, batch, self.synthesis.to(batch[0].device))
        found = {"loss": loss.item()}
        update("fusion", loss)
        return found

    def validate(self, network: nn.Module, device: torch.device) -> Validation:
        """SDR and SI-SDR of the compiled network on `excerpts`, or the loss of mixes that no step has."""
        if not self.held_out:
            rows = [
                chunks_of(*self.mix(number), self.random(number, 2))
                for number in range(UNSEEN, UNSEEN + UNSEEN_MIXES)
            ]
            batch = [torch.from_numpy(np.concatenate(parts)).to(device) for parts in zip(*rows, strict=True)]
            loss = loss_of(network, batch, self.synthesis.to(device)).item()
            return Validation(loss, {"loss": loss}, RATE)
        model = fusion.Model(**cast(Fusion, network).arrays())
        scores = score(model, self.held_out)
        mixture = np.add(*self.held_out[0])
        pitched = separate(mixture, model)
        sounds = {"mixture": mixture, "pitched": pitched, "drums": mixture - pitched}
        return Validation(-scores["SDR"], scores, RATE, {name: x.mean(0) for name, x in sounds.items()})


# ------------------------------------------------------------------------------------------- the command


ATTRIBUTION = (
    "Music composed by chance, rendered with the SoundFonts FluidR3 GM (Frank Wen, MIT), TimGM6mb (Tim "
    "Brechbill, GPL-2) and OPL-3 FM 128M (Zandro Reveille, CC BY-SA 4.0)",
    "Drum patterns played with samples of Debian's hydrogen-drumkits (GPL, CC BY-SA 3.0, CC BY 3.0, CC0)",
    "Speech, and speech turned into singing with the WORLD vocoder: rhasspy voice dataset kathleen (CC0 "
    "1.0), LibriSpeech (c) 2014 by Vassil Panayotov (CC BY 4.0)",
)
"""Of the material that the shipped network was trained on. The weights hold none of these sounds."""


def write_model(network: Fusion, path: Path, details: Mapping[str, Any]) -> None:
    """Write the weights and the card of a network as `engines.fusion.load` reads them."""
    from safetensors.numpy import save

    content = save(network.arrays())
    card = {
        "kind": fusion.KIND,
        "rate": RATE,
        "n_fft": N_FFT,
        "hop": HOP,
        "synthesis": SYNTHESIS,
        "lookahead": LOOKAHEAD,
        "latency": SYNTHESIS - HOP + LOOKAHEAD * HOP,
        "states": f"{WIDTH} per unit, {WIDTH} broadband, {UNITS} units",
        "features": [
            *(f"median of {size} frames" for size in fusion.TIME_SIZES),
            *(f"median of {size} units" for size in fusion.FREQUENCY_SIZES),
            "1 frame ago", "4 frames ago", "level", "rise around", "group delay: cosine", "group delay: sine",
        ],
        "architecture": f"1x1, 3 units, gated state and a broadband one, 3 units {DILATION} apart, 1x1; "
        f"{WIDTH} wide",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "licence": "MIT",
        "data": ATTRIBUTION,
        **details,
    }  # fmt: skip
    write_with_card(path, content, card)


def command(commands: Any) -> None:
    """Add ``fusion`` to a command line."""
    parser = commands.add_parser(
        "fusion",
        help="export the separator's learned fusion",
        description="Score the network of a run of the task fusion, and write it and its card NAME.json as "
        "the separator reads them.",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a folder that train has written")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NAME.safetensors")
    parser.add_argument(
        "--score", type=Path, action="append", default=[], metavar="DIR",
        help="NAME.drums.flac and NAME.pitched.flac to score on, never trained on; repeatable",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score and write the model."""
    from rich.console import Console

    if options.output.suffix != ".safetensors":
        raise UserError(f"{options.output}: want a name that ends with .safetensors")
    for folder in options.score:
        Recordings(folder)
    _, network, record = read_run(options.run_folder)
    if not isinstance(network, Fusion):
        raise UserError(f"{options.run_folder} is a run of the task {record['task']}: want one of fusion")
    console = Console(highlight=False, soft_wrap=True)
    model, scores = fusion.Model(**network.arrays()), {}
    for folder in options.score:
        learned, medians = score(model, pairs(folder)), score(None, pairs(folder))
        scores[folder.name] = {"learned": learned, "two medians": medians}
        console.print(f"{folder.name}: SDR {learned['SDR']} dB, of two medians {medians['SDR']}")
    details = {
        "command": record["command"],
        "settings": record["settings"],
        "seconds": round(record["seconds"]),
        "steps": record["step"],
        "seed": record["settings"]["seed"],
        "scores": scores,
    }
    write_model(network, options.output, details)
    console.print(f"{options.output} and its card")
    return 0
