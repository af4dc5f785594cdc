"""What speech costs, and how soon it is heard: our voice, espeak-ng's, and Piper's sizes with random weights.

``python benchmarks/speech.py [--minutes N] [--runs N]`` prints a table in Markdown, and then, on the null
device while another thread keeps the interpreter, reads for N minutes as ``rtaudio say`` does, and for N more
texts begun by a line, and says what was missed. It needs torch, with which it makes the voices: a text
encoder (6 layers, 2 heads), frames by a fixed length per id in place of the stochastic duration predictor, 4
coupling layers with 4 convolutions each, and the decoder of HiFi-GAN V3; as one network, which is run as it
is and cut in two, and as a pair. Hidden sizes are Piper's: x-low 96, medium 192. Where piper-tts and
sherpa-onnx are installed they speak the same one network, and that of our voice; the first on all cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import statistics
import tempfile
import time
import unicodedata
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional

from engines.speech.cuts import Cut
from engines.speech.espeak import Espeak
from engines.speech.piper import PiperVoice
from engines.speech.reading import Reading
from engines.speech.source import Queue, Say, source_of
from engines.speech.text import sentences
from engines.speech.voices import SHIPPED_VOICES, default_voice, open_voice
from rtaudio.control import apply
from rtaudio.graph import Graph, Node
from rtaudio.host import Host
from rtaudio.null import NullDevice
from rtaudio.plan import Plan
from rtaudio.stress import stress

RATE, HOP, SYMBOLS, LAYERS = 22_050, 256, 256, 6
FRAMES = 2
"""Per id."""
SIZES = {"x-low": (96, 384), "medium": (192, 768)}
"""Hidden channels, and those of the feed-forward layers."""
SENTENCE = "The quick brown fox jumps over the lazy dog, and the dog sleeps on."
EIGHT = f"{SENTENCE[:-1]}, while the fox goes home to its den in the wood, which is far away, and eats."
PEERS = {"piper": "piper-tts", "sherpa_onnx": "sherpa-onnx"}
"""Packages by their modules."""
PHONEMES = " !,.:;?abcdefhijklmnopqrstuvwxyzæçðøħŋœɐɑɒɔɕəɚɛɜɡɪɫɹɾʃʊʌʒʔˈˌːθβχᵻ̩"


class Encoder(nn.Module):
    """Text to frames: ids (1, P) to z (1, hidden, T)."""

    def __init__(self, hidden, inner):
        super().__init__()
        self.hidden = hidden
        self.table = nn.Embedding(SYMBOLS, hidden)
        self.attend = nn.ModuleList(nn.Conv1d(hidden, 4 * hidden, 1) for _ in range(LAYERS))
        self.up = nn.ModuleList(nn.Conv1d(hidden, inner, 3, padding=1) for _ in range(LAYERS))
        self.down = nn.ModuleList(nn.Conv1d(inner, hidden, 3, padding=1) for _ in range(LAYERS))
        self.norm = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2 * LAYERS))
        self.half = hidden // 2
        self.enter = nn.ModuleList(nn.Conv1d(self.half, hidden, 1) for _ in range(4))
        self.waves = nn.ModuleList(nn.Conv1d(hidden, 2 * hidden, 5, padding=2) for _ in range(16))
        self.skips = nn.ModuleList(nn.Conv1d(hidden, 2 * hidden, 1) for _ in range(16))
        self.leave = nn.ModuleList(nn.Conv1d(hidden, self.half, 1) for _ in range(4))

    def encoded(self, x):
        """Run the layers of attention."""
        for layer in range(LAYERS):
            q, k, v, _ = self.attend[layer](x).chunk(4, 1)
            q, k, v = (each.reshape(1, 2, self.half, -1) for each in (q, k, v))
            weights = torch.softmax(q.transpose(2, 3) @ k / self.half**0.5, -1)
            heard = (v @ weights.transpose(2, 3)).reshape(1, self.hidden, -1)
            x = self.norm[2 * layer]((x + heard).transpose(1, 2)).transpose(1, 2)
            fed = self.down[layer](functional.relu(self.up[layer](x)))
            x = self.norm[2 * layer + 1]((x + fed).transpose(1, 2)).transpose(1, 2)
        return x

    def forward(self, input, input_lengths, scales):  # noqa: A002 - the contract's name
        """Ids to frames."""
        x = self.encoded(self.table(input).transpose(1, 2) * self.hidden**0.5)
        per = FRAMES * scales[1]
        total = torch.ceil(input_lengths[0] * per).long()
        index = torch.clamp((torch.arange(total) / per).long(), max=input.shape[1] - 1)
        z = x[:, :, index]
        z = z + 0.1 * scales[0] * torch.randn_like(z)
        for flow in range(4):
            kept, moved = z[:, : self.half], z[:, self.half :]
            h, sum_ = self.enter[flow](kept), 0.0
            for layer in range(4 * flow, 4 * flow + 4):
                a, b = self.waves[layer](h).chunk(2, 1)
                residual, skip = self.skips[layer](torch.tanh(a) * torch.sigmoid(b)).chunk(2, 1)
                h, sum_ = h + residual, sum_ + skip
            z = torch.flip(torch.cat([kept, moved - self.leave[flow](sum_)], 1), [1])
        return z


class Decoder(nn.Module):
    """Frames to sound, HiFi-GAN V3: z (1, hidden, T) to (1, 1, 256 T)."""

    def __init__(self, hidden):
        super().__init__()
        self.enter = nn.Conv1d(hidden, 256, 7, padding=3)
        self.up, self.branches, width = nn.ModuleList(), nn.ModuleList(), 256
        for rate in (8, 8, 4):
            self.up.append(nn.ConvTranspose1d(width, width // 2, 2 * rate, rate, rate // 2))
            width //= 2
            for kernel, dilations in ((3, (1, 2)), (5, (2, 6)), (7, (3, 12))):
                self.branches.append(
                    nn.ModuleList(
                        nn.Conv1d(width, width, kernel, dilation=d, padding=d * (kernel - 1) // 2)
                        for d in dilations
                    )
                )
        self.leave = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, z):
        """Frames to sound."""
        x = self.enter(z)
        for stage, up in enumerate(self.up):
            x = up(functional.leaky_relu(x, 0.1))
            sum_ = 0.0
            for branch in self.branches[3 * stage : 3 * stage + 3]:
                y = x
                for conv in branch:
                    y = y + conv(functional.leaky_relu(y, 0.1))
                sum_ = sum_ + y
            x = sum_ / 3
        return torch.tanh(self.leave(functional.leaky_relu(x, 0.01)))


class Whole(nn.Module):
    """Both as one."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, input, input_lengths, scales):  # noqa: A002 - the contract's name
        """Ids to sound."""
        return self.decoder(self.encoder(input, input_lengths, scales))


def make_voices(folder, size):
    """Write a voice of a size, as one network and as a pair; returns their folders and its parameters."""
    torch.manual_seed(0)
    hidden, inner = SIZES[size]
    encoder, decoder = Encoder(hidden, inner).eval(), Decoder(hidden).eval()
    ids = torch.randint(1, 60, (1, 128)), torch.tensor([128]), torch.tensor([0.667, 1.0, 0.8])
    names = ["input", "input_lengths", "scales"]
    one, two = folder / f"{size}-one", folder / f"{size}-two"
    for each in (one, two):
        each.mkdir()
    export(Whole(encoder, decoder), ids, one / "voice.onnx", names, {"input": {1: "P"}, "output": {2: "N"}})
    export(encoder, ids, two / "text.onnx", names, {"input": {1: "P"}, "output": {2: "T"}})
    z = torch.zeros(1, hidden, 16)
    export(decoder, (z,), two / "dec.onnx", ["z"], {"z": {2: "T"}, "output": {2: "N"}})
    symbols = list(dict.fromkeys(["_", "^", "$", *unicodedata.normalize("NFD", PHONEMES)]))
    said = {
        "audio": {"sample_rate": RATE},
        "espeak": {"voice": "en-us"},
        "language": {"code": "en_US"},
        "phoneme_type": "espeak",
        "num_symbols": SYMBOLS,
        "num_speakers": 1,
        "phoneme_id_map": {symbol: [number] for number, symbol in enumerate(symbols)},
        "inference": {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8},
        "hop_length": HOP,
    }
    for each in (one, two):
        (each / "voice.onnx.json").write_text(json.dumps(said))
    describe(one, symbols)
    return one, two, sum(p.numel() for part in (encoder, decoder) for p in part.parameters())


def describe(folder, symbols):
    """Tell sherpa-onnx of a voice what it wants to know."""
    model = onnx.load(folder / "voice.onnx")
    facts = {"model_type": "vits", "comment": "piper", "language": "English", "voice": "en-us"}
    facts |= {"has_espeak": "1", "version": "1", "n_speakers": "1", "sample_rate": str(RATE)}
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, folder / "voice.onnx")
    lines = [f"{symbol} {number}\n" for number, symbol in enumerate(symbols)]
    (folder / "tokens.txt").write_text("".join(lines))


def export(module, inputs, path, names, axes):
    """Write a network as ONNX."""
    with torch.no_grad():
        torch.onnx.export(
            module,
            inputs,
            path,
            input_names=names,
            output_names=["output"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )


def measure(voice, runs):
    """Medians: CPU seconds per second of sound; ms to the first sound of a short and a long sentence."""
    costs, first, longer = [], [], []
    for run in range(runs + 1):
        reading = Reading(SENTENCE, voice, "en")
        for _ in reading:
            pass
        long_one = Reading(EIGHT, voice, "en")
        for _ in long_one:
            pass
        if run:
            costs.append(reading.cpu * voice.rate / reading.samples)
            first.append(reading.first_ms)
            longer.append(long_one.first_ms)
    seconds = [each.samples / voice.rate for each in (reading, long_one)]
    return statistics.median(costs), statistics.median(first), statistics.median(longer), seconds


def parameters_of(network):
    """How many weights a network has."""
    return sum(math.prod(weights.dims) for weights in onnx.load(network).graph.initializer)


def peer(module, network):
    """What speaks a text by a peer, whole or sentence by sentence, as arrays."""
    if module == "piper":
        import piper

        voice = piper.PiperVoice.load(network)
        return lambda text: (chunk.audio_float_array for chunk in voice.synthesize(text))
    import sherpa_onnx

    paths = {"model": str(network), "tokens": str(network.parent / "tokens.txt")}
    model = sherpa_onnx.OfflineTtsModelConfig(
        vits=sherpa_onnx.OfflineTtsVitsModelConfig(lexicon="", **paths), num_threads=1, provider="cpu"
    )
    speaker = sherpa_onnx.OfflineTts(sherpa_onnx.OfflineTtsConfig(model=model))
    espeak = Espeak()

    def speak(text):
        # From 2.0 on it has no espeak-ng of its own.
        config = sherpa_onnx.GenerationConfig()
        config.phoneme_codepoints = [list(map(ord, part)) for part in espeak.phonemes(text, "en-us")]
        return iter([speaker.generate(text, config).samples])

    return speak


def measure_peer(speak, runs):
    """As `measure`, of a peer."""
    costs, first, seconds = [], {SENTENCE: [], EIGHT: []}, {}
    for run in range(runs + 1):
        for text, found in first.items():
            began, cpu = time.perf_counter(), time.process_time()
            sound = speak(text)
            samples = len(next(sound))
            heard = 1e3 * (time.perf_counter() - began)
            samples += sum(map(len, sound))
            seconds[text] = samples / RATE
            if run:
                found.append(heard)
                if text == SENTENCE:
                    costs.append((time.process_time() - cpu) / seconds[text])
    medians = [statistics.median(found) for found in first.values()]
    return statistics.median(costs), *medians, list(seconds.values())


def show(name, count, cost, first, longer, seconds):
    """Print a line of the table."""
    short, long_one = (f"{each:.1f} s" for each in seconds)
    print(f"| {name} | {count} | {cost:.4f} | {first:.1f} ({short}) | {longer:.1f} ({long_one}) |")


def show_peers(network, size, count, runs):
    """Print the lines of the peers that are installed; returns what is to be said of the others."""
    missing = []
    for module, package in PEERS.items():
        if importlib.util.find_spec(module) is None:
            missing.append(f"{package} is not installed")
            continue
        try:
            show(f"{size}, by {package}", count, *measure_peer(peer(module, network), runs))
        except Exception as error:  # theirs, of any kind
            missing.append(f"{package} cannot: {error}")
    return missing


def misses(voice, minutes):
    """Read aloud on the null device while another thread keeps the interpreter: seconds, blocks missed."""
    queue = Queue()
    queue.open(48_000)
    text = " ".join([SENTENCE, EIGHT] * (int(minutes * 60 / 5) + 1))
    queue.add(Reading(text, voice, "en"))
    plan = Plan(Graph([Node("say", source_of(queue))], ["say -> out"]), 48_000, 128, 1, lane=0)
    queue.wait_ready()
    with Host(plan, NullDevice(False, 48_000), inputs=[], seconds=60 * minutes) as host, stress("gil"):
        host.start()
        while host.running and not queue.played:
            host.poll()
            time.sleep(0.05)
        found = queue.taken / 48_000, queue.underflows, host.statistics()
    queue.close()
    return found


def misses_of_lines(name, minutes):
    """As `misses`, of texts that are begun by a line when the one before is over; and how many there were."""
    graph = Graph([Node("say", Say, {"voice": name})], ["say -> out"])
    plan = Plan(graph, 48_000, 128, 1, lane=0)
    texts = 0
    with Host(plan, NullDevice(False, 48_000), inputs=[], seconds=60 * minutes) as host, stress("gil"):
        host.start()
        began = time.monotonic()
        while host.running and time.monotonic() - began < 60 * minutes:
            host.poll()
            time.sleep(0.05)
            if not plan.told()["say"]["speaking"]:
                texts += 1
                apply(host, f"say say {SENTENCE} {EIGHT}")
        told = plan.told()["say"]
        return time.monotonic() - began, told["underflows"], host.statistics(), texts, told["problems"]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    missing = []
    print("| voice | parameters | CPU s per s | first sound, ms | of a long sentence, ms |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        espeak, own = open_voice("espeak-en"), open_voice(default_voice("en"))
        show("espeak-en", "", *measure(espeak, options.runs))
        network = SHIPPED_VOICES / own.name / f"{own.name}.onnx"
        parameters = f"{parameters_of(network) / 1e6:.1f} M"
        show(own.name, parameters, *measure(own, options.runs))
        missing = show_peers(network, own.name, parameters, options.runs)
        for size in SIZES:
            one, two, count = make_voices(Path(folder), size)
            parameters = f"{count / 1e6:.1f} M"
            for name, path, cut in (
                ("one network, whole", one, Cut(why="asked for")),
                ("one network", one, None),
                ("a pair", two, None),
            ):
                voice = PiperVoice(path, size, cut=cut)
                show(f"{size}, {name}", parameters, *measure(voice, options.runs))
                voice.close()
            missing += show_peers(one / "voice.onnx", size, parameters, options.runs)
        print("".join(f"\n{each}" for each in dict.fromkeys(missing)))
        if options.minutes:
            voice = PiperVoice(one, size)
            for name, reader in (("espeak-en", espeak), (own.name, own), (f"{size}, one network", voice)):
                seconds, missed, report = misses(reader, options.minutes)
                print(f"\n{name}, {seconds:.0f} s read beside a busy interpreter: {missed} underflows")
                print({key: report[key] for key in ("xruns", "blocks") if key in report})
            voice.close()
            seconds, missed, report, texts, problems = misses_of_lines(str(one), options.minutes)
            print(f"\n{size}, {seconds:.0f} s, {texts} texts begun by a line: {missed} underflows {problems}")
            print({key: report[key] for key in ("xruns", "blocks") if key in report})
        espeak.close()
        own.close()


if __name__ == "__main__":
    sentences("Imported, and its patterns compiled.", "en")
    main()
