"""Training of the learned fusion of causal kernels (`engines.fusion`), and the same network for torch.

The loss is what is scored: the error of the harmonic part in the time domain, after the synthesis window and
the overlap-add. The percussive part is the rest of the mixture, so its error is the same. Medians and the
other features come from the compiled code that runs live.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

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
from rtaudio.errors import FileError, UserError
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
CHUNKS, MIXES, POOL = 3, 2, 16
"""Chunks of a mix in a step, mixes in a step, mixes at hand."""

Audio = NDArray[np.float32]
Random = np.random.Generator


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
        sizes = torch.tensor([end - begin for begin, end in BANDS])
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
            name: np.ascontiguousarray(table.detach().numpy(), np.float32)
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


class Library:
    """The files of `export.songs` in a folder, as 16-bit samples kept on disk."""

    def __init__(self, folder: Path) -> None:
        import soundfile

        self.files = {path.name.removesuffix(".flac"): path for path in sorted(folder.glob("*.flac"))}
        self.drums = [name for name in self.files if name.endswith(".drums")]
        pitched = [name for name in self.files if name.endswith(".pitched")]
        self.voices = [name for name in pitched if name.startswith("voice")]
        self.pitched = [name for name in pitched if not name.startswith("voice")]
        self.songs = [name.removesuffix(".drums") for name in self.drums if name.startswith("song")]
        if not self.drums or not pitched:
            raise FileError(f"{folder}: no *.drums.flac and *.pitched.flac: make them with the command songs")
        self._read = soundfile.read

    def read(self, name: str) -> Audio:
        """A file, (2, samples) float32."""
        audio: Audio = self._read(self.files[name], dtype="float32", always_2d=True)[0].T
        return audio


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


def mix(rng: Random, library: Library) -> tuple[Audio, Audio]:
    """A mixture and its pitched part, (2, samples) each, sometimes after silence."""
    kind = rng.random()
    if kind < 0.55 and library.songs:
        song = _pick(rng, library.songs)
        drums, pitched = f"{song}.drums", f"{song}.pitched"
    else:
        drums, pitched = _pick(rng, library.drums), _pick(rng, library.pitched or library.voices)
    p, d = library.read(pitched), library.read(drums)
    if kind > 0.75 and library.voices:
        voice = library.read(_pick(rng, library.voices))
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


class Mixer:
    """Endless batches from a pool of mixes that is renewed one by one."""

    def __init__(self, library: Library, seed: int) -> None:
        self.library, self.rng = library, np.random.default_rng(seed)
        self.analysis, self.synthesis = windows(N_FFT, HOP, SYNTHESIS)
        self.pool = [mix(self.rng, library) for _ in range(POOL)]
        self.oldest = 0

    def batch(self) -> tuple[NDArray[np.float32], NDArray[np.complex64], Audio]:
        """Features, spectra and the pitched part of MIXES * CHUNKS chunks, those of a mix in a row.

        (chunks, FRAMES, FEATURES, UNITS), (chunks, 2, FRAMES, BINS), (chunks, 2, FRAMES * HOP): the
        samples end with the last frame.
        """
        self.pool[self.oldest % POOL] = mix(self.rng, self.library)
        self.oldest += 1
        rows = []
        for place in self.rng.choice(POOL, MIXES, replace=False):
            x, p = self.pool[place]
            for _ in range(CHUNKS):
                begin = int(self.rng.integers(max(1, x.shape[1] - EXCERPT)))
                excerpt = x[:, begin : begin + EXCERPT]
                transformed = spectra(excerpt, self.analysis)
                features = features_of(transformed)[WARM:]
                target = p[:, begin : begin + EXCERPT][:, -FRAMES * HOP :]
                rows.append((features, transformed[:, WARM:], target))
        return tuple(np.stack(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


# ------------------------------------------------------------------------------------------------ training

WIDTHS = torch.cat([torch.full(((end - begin) // width,), width) for begin, end, width in SEGMENTS])
"""Bins per unit, the last bin with the last unit."""
WIDTHS[-1] += BINS - int(WIDTHS.sum())


def errors(masks: Tensor, spectra: Tensor, target: Tensor, synthesis: Tensor) -> Tensor:
    """Energy of the error of every chunk's pitched part, in the time domain.

    masks (chunks, frames, UNITS) of the frames of spectra (chunks, 2, frames, BINS); target (chunks, 2,
    frames * HOP) ends with the last frame.
    """
    wide = masks.repeat_interleave(WIDTHS, -1)[:, None]
    frames = torch.fft.irfft(spectra * wide, N_FFT)[..., -SYNTHESIS:] * synthesis[-SYNTHESIS:]
    whole = frames[:, :, :-1, HOP:] + frames[:, :, 1:, :HOP]  # of what frames 0, 1, ... end with
    kept = target.reshape(*target.shape[:2], -1, HOP)[:, :, :-1]
    return torch.sum((whole - kept)[:, :, SETTLING:] ** 2, dim=(1, 2, 3))


def loss_of(model: Fusion, batch: Sequence[Any], synthesis: Tensor, bfloat16: bool) -> Tensor:
    """Mean over the mixes of the logarithm of the error, relative to the mask of two medians."""
    features, spectra, target = (torch.from_numpy(np.ascontiguousarray(part)) for part in batch)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        masks = model(features)[:, LOOKAHEAD:]
    shown = spectra[:, :, : FRAMES - LOOKAHEAD], target[..., : (FRAMES - LOOKAHEAD) * HOP]
    error = errors(masks, *shown, synthesis)
    with torch.no_grad():
        medians = torch.from_numpy(usual_masks(batch[0][:, : FRAMES - LOOKAHEAD]))
        usual = errors(medians, *shown, synthesis)
    ratio = error.view(MIXES, CHUNKS).sum(1) / (usual.view(MIXES, CHUNKS).sum(1) + 1e-6)
    return 10 * torch.mean(torch.log10(ratio + 0.03))


def usual_masks(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Wiener masks of a median over 17 frames and one over 17 units, of features (..., FEATURES, UNITS)."""
    along, across = (
        features[..., fusion.TIME_SIZES.index(17), :],
        features[..., len(fusion.TIME_SIZES) + 1, :],
    )
    return np.asarray(1 / (1 + 2 ** (fusion.SCALE * (across - along))), np.float32)


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
    library = Library(folder)
    for name in library.drums:
        pitched = name.removesuffix("drums") + "pitched"
        if pitched in library.pitched:
            yield library.read(pitched), library.read(name)
    kits = [name for name in library.drums if name.startswith("kit")]
    for names in zip(library.voices, kits, strict=False):
        p, d = map(library.read, names)
        samples = min(p.shape[1], d.shape[1])
        yield p[:, :samples] / (10 * _level(p)), d[:, :samples] / (10 * _level(d))


def score(model: fusion.Model | None, songs: Iterable[tuple[Audio, Audio]]) -> dict[str, float]:
    """Mean SDR and SI-SDR in dB over both parts of (pitched, drums) pairs."""
    found = []
    for pitched, drums in songs:
        harmonic = separate(pitched + drums, model)
        rest = pitched + drums - harmonic
        found.append([[ratio(pitched, harmonic), ratio(drums, rest)] for ratio in (sdr, si_sdr)])
    plain, invariant = np.mean(found, axis=(0, 2))
    return {"SDR": round(float(plain), 2), "SI-SDR": round(float(invariant), 2)}


def _save(
    path: Path, model: Fusion, mean: Fusion, optimizer: torch.optim.Adam, state: dict[str, Any]
) -> None:
    from safetensors.torch import save_file

    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"mean.{name}": tensor for name, tensor in mean.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": tensor for name, tensor in moments.items()}
    partial = path.with_suffix(".partial")
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, partial)
    partial.rename(path)
    path.with_suffix(".json").write_text(json.dumps(state, indent=1) + "\n")


def _load(path: Path, model: Fusion, mean: Fusion, optimizer: torch.optim.Adam) -> dict[str, Any]:
    from safetensors.torch import load_file

    tensors = load_file(path)
    for prefix, network in (("model.", model), ("mean.", mean)):
        names = [name for name in tensors if name.startswith(prefix)]
        try:
            network.load_state_dict({name.removeprefix(prefix): tensors[name] for name in names})
        except RuntimeError as error:
            raise FileError(f"{path}: a checkpoint of another network: give another folder") from error
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, index, moment = name.split(".")
            moments.setdefault(int(index), {})[moment] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    state: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return state


def learning_rate(done: float, highest: float) -> float:
    """A short rise, then half a cosine; ``done`` from 0 to 1."""
    rise = min(1.0, done / 0.01)
    return highest * rise * (0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * min(done, 1.0)))))


def train(options: argparse.Namespace) -> Fusion:
    """Train until the minutes are over or Ctrl-C; returns the running mean of the weights."""
    from rich.progress import Progress

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model, mean = Fusion(), Fusion()
    mean.load_state_dict(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), options.rate, betas=(0.9, 0.99))
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "seed": options.seed, "curve": []}
    checkpoint = options.output / "checkpoint.safetensors"
    if checkpoint.exists():
        state = _load(checkpoint, model, mean, optimizer)
    mixer = Mixer(Library(options.songs), options.seed + state["step"])
    synthesis = torch.tensor(mixer.synthesis)
    seconds = 60 * options.minutes
    last, saved, recent = time.monotonic(), time.monotonic(), 0.0
    with Progress() as progress:
        task = progress.add_task("training", total=seconds, completed=state["seconds"])
        try:
            while state["seconds"] < seconds:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(state["seconds"] / seconds, options.rate)
                loss = loss_of(model, mixer.batch(), synthesis, options.bfloat16)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                keep = min(0.998, state["step"] / (state["step"] + 10))
                with torch.no_grad():
                    for averaged, weight in zip(mean.parameters(), model.parameters(), strict=True):
                        averaged.lerp_(weight, 1 - keep)
                now = time.monotonic()
                state["seconds"] += now - last
                last = now
                state["step"] += 1
                recent = loss.item() if state["step"] == 1 else recent + 0.02 * (loss.item() - recent)
                progress.update(task, completed=state["seconds"], description=f"loss {recent:6.2f} dB")
                if now - saved > 120:
                    state["curve"].append([round(state["seconds"]), state["step"], round(recent, 3)])
                    _save(checkpoint, model, mean, optimizer, state)
                    saved = now
        except KeyboardInterrupt:
            progress.console.print("stopped; the same command goes on from here")
        state["curve"].append([round(state["seconds"]), state["step"], round(recent, 3)])
        _save(checkpoint, model, mean, optimizer, state)
    return mean


ATTRIBUTION = (
    "Music composed by chance, rendered with the SoundFonts FluidR3 GM (Frank Wen, MIT), TimGM6mb (Tim "
    "Brechbill, GPL-2) and OPL-3 FM 128M (Zandro Reveille, CC BY-SA 4.0)",
    "Drum patterns played with samples of Debian's hydrogen-drumkits (GPL, CC BY-SA 3.0, CC BY 3.0, CC0)",
    "Speech, and speech turned into singing with the WORLD vocoder: rhasspy voice dataset kathleen (CC0 "
    "1.0), LibriSpeech (c) 2014 by Vassil Panayotov (CC BY 4.0)",
)
"""Of the material that the shipped network was trained on. The weights hold none of these sounds."""


def write_model(network: Fusion, path: Path, details: dict[str, Any]) -> fusion.Model:
    """Write the weights and the card of a network where `engines.fusion.load` reads them."""
    from safetensors.numpy import save

    arrays = network.arrays()
    content = save(arrays)
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
        "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.rename(path)
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return fusion.load(path)


def command(commands: Any) -> None:
    """Add ``train-fusion`` to a command line."""
    parser = commands.add_parser(
        "train-fusion",
        help="train the learned fusion of the separator's live preset",
        description="Train on the files of the command songs, score on others, and write "
        "fusion.safetensors and fusion.json to OUT. Interrupted, the same command goes on.",
    )
    parser.add_argument("songs", type=Path, metavar="SONGS", help="the folder of training material")
    parser.add_argument("output", type=Path, metavar="OUT", help="a folder for checkpoints and the model")
    parser.add_argument("--minutes", type=float, default=45.0, metavar="M", help="of training in all")
    parser.add_argument(
        "--score", type=Path, action="append", default=[], metavar="DIR",
        help="NAME.drums.flac and NAME.pitched.flac to score on, never to train on; repeatable",
    )  # fmt: skip
    parser.add_argument("--rate", type=float, default=3e-3, metavar="R", help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of torch")
    parser.add_argument("--bfloat16", action="store_true", help="faster where the processor has it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, score and write the model."""
    from rich.console import Console

    for folder in (options.songs, *options.score):
        if not folder.is_dir():
            raise FileError(f"{folder}: no such folder: make songs with the command songs")
    for name in ("minutes", "rate", "threads"):
        value = getattr(options, name)
        if not 0 < value < float("inf"):
            raise UserError(f"--{name} {value}: give a positive number")
    for folder in options.score:
        Library(folder)
    options.output.mkdir(parents=True, exist_ok=True)
    network = train(options)
    state = json.loads((options.output / "checkpoint.json").read_text())
    details: dict[str, Any] = {
        "command": f"python -m export train-fusion {options.songs.name} {options.output.name} "
        f"--minutes {options.minutes:g} --rate {options.rate:g} --seed {options.seed}"
        + (" --bfloat16" if options.bfloat16 else "")
        + "".join(f" --score {folder.name}" for folder in options.score),
        "seconds": round(state["seconds"]),
        "steps": state["step"],
        "seed": options.seed,
        "scores": {},
    }
    path = options.output / "fusion.safetensors"
    model = write_model(network, path, details)
    for folder in options.score:
        found = {"learned": score(model, pairs(folder)), "two medians": score(None, pairs(folder))}
        details["scores"][folder.name] = found
        Console().print(f"{folder.name}: {found['learned']}, with two medians {found['two medians']} dB")
    write_model(network, path, details)
    Console().print(f"{path} and its card")
    return 0
