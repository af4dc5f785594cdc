"""Trained voices to folders of Piper's kind: ``python -m export voice RUN -o FOLDER``.

A folder has NAME.onnx, NAME.onnx.json, tokens.txt and MODEL_CARD, and speaks in Piper, in sherpa-onnx and
here (docs/speech.md); or text.onnx and dec.onnx in place of NAME.onnx, for here; of an acoustic model and a
vocoder, acoustic.onnx and vocoder.onnx. What is written is checked
first: torch against ONNX Runtime, the halves against the whole, and pieces of the sound against all of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.sessions import open_session
from engines.speech.config import BEGIN, END, PAD, PAIRS, find_parts
from engines.speech.cut import Halves, Uncut
from engines.speech.pieces import FARTHEST, FIRST, LEAST, LONG, measured_reach
from engines.speech.piper import PiperVoice
from engines.speech.voices import write_record
from export.networks import Weights, add_weights, check, round_weights, traced
from export.training import read_run
from export.voice_scores import told_of
from rtaudio.errors import FileError, UserError

if TYPE_CHECKING:
    from export.corpus import Corpus

SCALES = 0.667, 1.0, 0.8
"""Noise, length, noise of the durations, unless who speaks says others."""
LENGTHS = 30, 11, 47
"""Phonemes of the sentences that are compared; the first is the one that is traced."""
PIECES = 1e-5
"""Largest difference of pieces and halves to the whole."""
LOUDEST = 40
"""dB"""
STANDS_FOR = {
    "?": ".", "!": ".", ":": ",", "x": "k", "r": "ɹ", "ɬ": "l", "ʲ": "j",
    "ʈ": "t", "ɖ": "d", "ɟ": "ʒ", "ʰ": "h", "ɒ": "ɑ",
}  # fmt: skip
"""Symbols of espeak-ng's that a corpus may lack, as of names from elsewhere, and what is said for them."""

Noise = Callable[[Tensor], Tensor]
Speak = Callable[[Tensor, Tensor, Tensor, Tensor | None, Noise], tuple[Tensor, Tensor]]
"""Takes ids (1, P), their number (1,), three scales (3,), the speaker (1,) or None, and what gives noise of
the shape of a tensor; gives sound (1, 1, N) and the frames of each id (1, P)."""


@dataclass(frozen=True)
class Speaking:
    """A voice's network: the content of its ONNX file, samples of a frame, and how far it is from torch; its
    two parts, where it has been trained as such; and the scales it is spoken with.
    """

    corpus: Corpus
    content: bytes
    hop: int
    differences: Mapping[str, float]
    pair: tuple[bytes, bytes] | None = None
    scales: tuple[float, float, float] = SCALES


# ------------------------------------------------------------------------------------- from torch to ONNX


class _Speaker(nn.Module):
    """Takes what a voice of Piper's kind takes; noise is its own, or comes after that."""

    def __init__(self, speak: Speak, network: nn.Module, speakers: int, given: bool) -> None:
        super().__init__()
        self.network, self._speak, self._speakers, self._given = network, speak, speakers, given

    def forward(self, ids: Tensor, symbols: Tensor, scales: Tensor, *more: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        several = self._speakers > 1
        noises = iter(more[several:])

        def next_noise(x: Tensor) -> Tensor:
            return next(noises)[:, : x.shape[1], : x.shape[2]]

        noise = next_noise if self._given else torch.randn_like
        return self._speak(ids, symbols, scales, more[0] if several else None, noise)


def speaking(
    speak: Speak,
    network: nn.Module,
    corpus: Corpus,
    hop: int,
    weights: Weights = "float32",
    boundary: nn.Module | None = None,
) -> Speaking:
    """Make the ONNX file of a voice, and compare it with torch, without noise and with the same.

    Parameters
    ----------
    speak
        A method of the network.
    network
        Without normalised weights, see `export.models.hifigan.folded`.
    corpus
        What it was trained on.
    hop
        Samples of a frame.
    weights
        Round its weights, in place, and store them so. What is compared has these.
    boundary
        The layer that takes what the network's halves are cut at, if it rounds that. What differs by 1e-7 may
        be rounded to another integer, and then the sound is another, as far from the sound without rounding.
        So each half is compared by itself, the second on what torch has given to the layer.

    Raises
    ------
    UserError
        ONNX Runtime gives another number of samples.
    """
    round_weights(network, weights)
    random = torch.Generator().manual_seed(0)
    sentences = _drawn(corpus, random)
    differences = {}
    content = b""
    for name, given, scales in (
        ("with noise", True, SCALES),
        ("without noise", False, (0.0, SCALES[1], 0.0)),
    ):
        found = []
        sessions: list[Any] = []
        for ids, count, *who in sentences:
            noise = _Noise(random)
            with torch.no_grad(), _taken_by(boundary) as taken:
                sound, frames = speak(ids, count, torch.tensor(scales), who[0] if who else None, noise)
            inputs = {"input": ids, "input_lengths": count, "scales": torch.tensor(scales)}
            inputs |= {"sid": who[0]} if who else {}
            inputs |= {f"noise{number}": x for number, x in enumerate(noise)} if given else {}
            if not sessions:
                exported = _Speaker(speak, network, len(corpus.speakers), given).eval()
                axes = {key: {x.dim() - 1: f"{key}_n"} for key, x in inputs.items() if x.dim() > 1}
                axes |= {"output": {2: "samples"}, "frames": {1: "input_n"}}
                content = traced(exported, inputs, ["output", "frames"], axes, weights)
                parts = [content]
                if taken:
                    halves = Halves(content)
                    parts = [halves.first, halves.second(taken[0].shape[1])]
                sessions = [open_session(Path("exported"), part) for part in parts]
            made, counts = sessions[0].run(None, {key: x.numpy() for key, x in inputs.items()})
            pairs = [(made, sound.numpy())]
            if taken:
                (put,) = sessions[1].get_inputs()
                made = sessions[1].run(None, {put.name: taken[0].numpy()})[0]
                pairs = [(pairs[0][0], taken[0].numpy()), (made, sound.numpy())]
            fits = all(a.shape == b.shape for a, b in pairs)
            if not fits or not np.array_equal(counts, frames.numpy()):
                raise UserError(
                    f"{name}: torch makes {sound.shape[2]} samples, ONNX Runtime {made.shape[-1]}: "
                    "not exported"
                )
            found += [float(np.abs(a - b).max()) for a, b in pairs]
        differences[f"torch - onnx, {name}"] = max(found)
    return Speaking(corpus, content, hop, differences)


def _drawn(corpus: Corpus, random: torch.Generator) -> list[tuple[Tensor, ...]]:
    """Sentences of any symbols: ids, how many, and where there are several speakers, one of them."""
    symbols = torch.tensor([number for symbol, number in corpus.symbols.items() if symbol not in "_^$"])
    found: list[tuple[Tensor, ...]] = []
    for length in LENGTHS:
        ids = torch.zeros(2 * length + 3, dtype=torch.long)
        ids[2:-1:2] = symbols[torch.randint(len(symbols), (length,), generator=random)]
        ids[0], ids[-1] = corpus.symbols[BEGIN], corpus.symbols[END]
        ids[1:-1:2] = corpus.symbols[PAD]
        speaker = torch.tensor([length % len(corpus.speakers)])
        found.append((ids[None], torch.tensor([len(ids)]), *([speaker] if len(corpus.speakers) > 1 else [])))
    return found


class _Noise(list[Tensor]):
    """Noise as torch draws it, kept."""

    def __init__(self, random: torch.Generator) -> None:
        super().__init__()
        self._random = random

    def __call__(self, x: Tensor) -> Tensor:
        self.append(torch.randn(x.shape, generator=self._random))
        return self[-1]


@contextmanager
def _taken_by(layer: nn.Module | None) -> Iterator[list[Tensor]]:
    """What a layer is given meanwhile."""
    taken: list[Tensor] = []
    if layer is None:
        yield taken
        return
    hook = layer.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    try:
        yield taken
    finally:
        hook.remove()


# ------------------------------------------------------------------------------------------- the folder


def symbols_of(corpus: Corpus) -> dict[str, int]:
    """The symbols that a voice is fed with, and their numbers: those of its corpus, and `STANDS_FOR`."""
    known = corpus.symbols
    more = STANDS_FOR if corpus.phoneme_type == "espeak" else {}
    return known | {
        symbol: known[near] for symbol, near in more.items() if symbol not in known and near in known
    }


def voice_card(
    name: str, corpus: Corpus, hop: int, licence: str, scales: Sequence[float] = SCALES
) -> dict[str, Any]:
    """What NAME.onnx.json says."""
    symbols = symbols_of(corpus)
    return {
        "audio": {"sample_rate": corpus.rate},
        "dataset": name,
        "espeak": {"voice": corpus.language if corpus.phoneme_type == "espeak" else ""},
        "language": {"code": corpus.language},
        "phoneme_type": corpus.phoneme_type,
        "num_symbols": 1 + max(corpus.symbols.values()),
        "num_speakers": len(corpus.speakers),
        "speaker_id_map": {speaker: number for number, speaker in enumerate(corpus.speakers)}
        if len(corpus.speakers) > 1
        else {},
        "phoneme_id_map": {symbol: [number] for symbol, number in symbols.items()},
        "inference": dict(zip(("noise_scale", "length_scale", "noise_w"), scales, strict=True)),
        "hop_length": hop,
        "license": licence,
    }


def with_metadata(content: bytes, corpus: Corpus) -> bytes:
    """A voice's network with what sherpa-onnx reads in it."""
    model = onnx.load_from_string(content)
    said: dict[str, object] = {
        "model_type": "vits",
        "comment": "piper",
        "language": corpus.language,
        "voice": corpus.language,
        "has_espeak": 1,
        "version": 1,
        "n_speakers": len(corpus.speakers),
        "sample_rate": corpus.rate,
    }
    if corpus.phoneme_type == "text":
        said |= {
            "comment": "coqui", "frontend": "characters", "has_espeak": 0, "add_blank": 1, "use_eos_bos": 1,
            "blank_id": corpus.symbols[PAD], "pad_id": corpus.symbols[PAD],
            "bos_id": corpus.symbols[BEGIN], "eos_id": corpus.symbols[END],
        }  # fmt: skip
    onnx.helper.set_model_props(model, {key: str(value) for key, value in said.items()})
    onnx.checker.check_model(model)
    return model.SerializeToString()  # type: ignore[no-any-return]


def louder(content: bytes, gain: float) -> bytes:
    """A network whose sound, its first output, is ``gain`` dB louder, and cut off beyond full scale."""
    model = onnx.load_from_string(content)
    graph, helper = model.graph, onnx.helper
    output, sound, raised = graph.output[0].name, "sound_before_gain", "sound_with_gain"
    for node in graph.node:
        node.output[:] = [sound if name == output else name for name in node.output]
        node.input[:] = [sound if name == output else name for name in node.input]
    facts = {"gain": 10 ** (gain / 20), "lowest": -1.0, "highest": 1.0}
    graph.initializer.extend(
        helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [value]) for name, value in facts.items()
    )
    graph.node.append(helper.make_node("Mul", [sound, "gain"], [raised]))
    graph.node.append(helper.make_node("Clip", [raised, "lowest", "highest"], [output]))
    onnx.checker.check_model(model)
    return model.SerializeToString()  # type: ignore[no-any-return]


def write_voice(
    folder: Path,
    name: str,
    corpus: Corpus,
    networks: Mapping[str, bytes],
    hop: int,
    licence: str,
    model_card: Sequence[str],
    scales: Sequence[float] = SCALES,
    said: Mapping[str, Any] | None = None,
) -> None:
    """Write a voice's folder: all of it, or nothing.

    Parameters
    ----------
    folder
        Does not exist yet, or is empty.
    name
        Of the voice; its table is NAME.onnx.json.
    corpus
        What it was trained on; its clips are not looked at.
    networks
        Contents by file: NAME.onnx alone, or one of the pairs of `engines.speech.config.PAIRS`.
    hop
        Samples of a frame.
    licence
        Of the weights.
    model_card
        Lines for people.
    scales
        Noise, length, noise of the durations, unless who speaks says others.
    said
        What else NAME.onnx.json says.

    Raises
    ------
    FileError
        There is something already, or it cannot be written.
    UserError
        A symbol has several codepoints, which sherpa-onnx refuses.
    """
    if long := [symbol for symbol in corpus.symbols if len(symbol) != 1]:
        raise UserError(f"symbol {long[0]!r} has {len(long[0])} codepoints: voices have symbols of one")
    refuse(folder)
    card = {**voice_card(name, corpus, hop, licence, scales), **(said or {})}
    table = json.dumps(card, indent=2, ensure_ascii=False)
    tokens = "".join(f"{symbol} {number}\n" for symbol, number in symbols_of(corpus).items())
    files = {
        **networks,
        f"{name}.onnx.json": f"{table}\n".encode(),
        "tokens.txt": tokens.encode(),
        "MODEL_CARD": "".join(f"{line}\n" for line in model_card).encode(),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder.parent))
        try:
            hidden.chmod(0o755)
            for file, content in files.items():
                (hidden / file).write_bytes(content)
            hidden.replace(folder)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise FileError(f"{folder}: {error.strerror}; name another folder with -o") from None


def refuse(folder: Path) -> None:
    """`FileError` where a voice cannot be written."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileError(f"{folder} is there already: name another folder with -o, or remove it")


def halves_of(found: Speaking) -> tuple[tuple[bytes, bytes], dict[str, float]]:
    """A network's halves, and how far they are from the whole: one after the other, and piece by piece.

    Raises
    ------
    UserError
        The network has none, or its decoder hears more than `FARTHEST` frames on either side.
    """
    corpus = found.corpus
    whole = open_session(Path("exported"), found.content)
    symbols = list(corpus.symbols.values())
    feed: dict[str, NDArray[Any]] = {"scales": np.array([0.0, 1.0, 0.0], np.float32)}
    if len(corpus.speakers) > 1:
        feed["sid"] = np.array([len(corpus.speakers) - 1], np.int64)
    try:
        cut = None if found.pair else Halves(found.content)
        first = cut.first if cut else found.pair[0]  # type: ignore[index]
        session, times, total = open_session(Path("text.onnx"), first), 1, 0
        while total < LONG and times < LONG:
            times *= 2
            ids = np.array([symbols * times], np.int64)
            feed |= {"input": ids, "input_lengths": np.array([ids.shape[1]], np.int64)}
            frames = session.run(None, feed)[0]
            total = frames.shape[2]
        second = cut.second(frames.shape[1]) if cut else found.pair[1]  # type: ignore[index]
    except Uncut as error:
        raise UserError(f"the network has no halves: {error}") from None
    decoder = open_session(Path("dec.onnx"), second)
    name = decoder.get_inputs()[0].name

    def decode(part: NDArray[np.float32]) -> NDArray[np.float32]:
        return decoder.run(None, {name: part})[0].ravel()  # type: ignore[no-any-return]

    sound = whole.run(None, feed)[0].ravel()
    reach = measured_reach(decode, frames.shape[1], found.hop)
    if reach is None:
        raise UserError(f"the decoder hears more than {FARTHEST} frames on either side: no pieces of it")
    pieces = []
    for begin in range(0, total, FIRST):
        right = min(total, max(begin + FIRST + reach, LEAST))
        left = max(0, min(begin - reach, right - LEAST))
        piece = decode(frames[:, :, left:right])[(begin - left) * found.hop :]
        pieces.append(piece[: FIRST * found.hop])
    joined = np.concatenate(pieces)
    return (first, second), {
        "halves - whole": float(np.abs(decode(frames) - sound).max()),
        "pieces - whole": float(np.abs(joined - sound).max()),
    }


def lines_of(name: str, corpus: Corpus, record: Mapping[str, Any], facts: Mapping[str, str]) -> Iterable[str]:
    """A voice's card, for people; ``record`` is the run's, ``facts`` are told by name."""
    yield f"# Model card for {name}"
    yield ""
    yield f"* Language: {corpus.language}"
    yield f"* Speakers: {', '.join(corpus.speakers)}"
    yield f"* Rate: {corpus.rate} Hz"
    for what, fact in facts.items():
        yield f"* {what}: {fact}"
    yield ""
    yield "## Training"
    yield ""
    yield from lines_of_training(record)


def read_scores(path: Path, name: str, hashes: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What ``evaluate voice --json`` has written of a voice, and lines of it for people.

    Parameters
    ----------
    path
        The file.
    name
        What the voice is called there from now on.
    hashes
        SHA-256 of its networks, which are those that were scored.

    Raises
    ------
    FileError
        It cannot be read, is something else, or has no scores of these networks.
    """
    try:
        scores = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        own = next((each for each, known in scores["networks"].items() if known == hashes), None)
        for table in ("word error rates", "voices", "networks"):
            scores[table] = {name if key == own else key: value for key, value in scores[table].items()}
        told = list(told_of(scores))
    except OSError as error:
        raise FileError(f"--scores {path}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise FileError(f"--scores {path} is not what 'evaluate voice --json' writes: {error!r}") from None
    if own is None:
        raise FileError(f"--scores {path} is of other networks: score this export, without --scores, first")
    return scores, told


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is no score")


def facts_of_training(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run, for a table: what it is, has learned from, began with, and took."""
    known = ("task", "command", "data", "settings", "start")
    facts = {name: record[name] for name in known if name in record}
    return {**facts, "seconds": round(record["seconds"]), "steps": record["step"]}


def lines_of_training(record: Mapping[str, Any]) -> Iterable[str]:
    """Of a run: its command, and what it has learned from."""
    yield f"* Training: {record['command']}, {record['step']} steps in {record['seconds'] / 60:.0f} minutes"
    for source, licence in record["data"]["sources"].items():
        yield f"* {source}: {licence}"
    yield f"* {record['data']['minutes']} minutes, {record['data']['clips']} clips"


# ------------------------------------------------------------------------------------------ the command


def command(commands: Any) -> None:
    """Add ``voice`` to a command line."""
    parser = commands.add_parser(
        "voice",
        help="export a trained voice",
        description="Write the voice of a run as a folder of Piper's kind, after checking that ONNX Runtime "
        "computes what torch does, and its pieces the whole.",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a folder that train has written")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--name", metavar="N", help="of the voice (the name of FOLDER)")
    parser.add_argument(
        "--vocoder", type=Path, metavar="RUN", help="the vocoder, where RUN is of an acoustic model"
    )
    parser.add_argument(
        "--pair", action="store_true",
        help="write text.onnx and dec.onnx, or acoustic.onnx and vocoder.onnx, in place of NAME.onnx",
    )  # fmt: skip
    add_weights(parser, "float32")
    parser.add_argument(
        "--gain", type=_gain, default=0.0, metavar="G",
        help=f"dB by which it is louder than what it has learned from, at most {LOUDEST} (0)",
    )  # fmt: skip
    parser.add_argument("--licence", default="MIT", metavar="L", help="of the weights (MIT)")
    parser.add_argument("--notes", metavar="TEXT", help="for the card")
    parser.add_argument(
        "--scores", type=Path, metavar="F.json", help="what 'evaluate voice --json' has written, for the card"
    )
    parser.set_defaults(run=run)


def _gain(text: str) -> float:
    try:
        gain = float(text)
    except ValueError:
        gain = math.nan
    if not -LOUDEST <= gain <= LOUDEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from -{LOUDEST} to {LOUDEST}")
    return gain


def run(options: argparse.Namespace) -> int:
    """Export."""
    from rich.console import Console

    folder = options.output
    name = options.name or folder.resolve().name
    if Path(name).name != name or name in (".", ".."):
        raise UserError(f"--name {name!r}: want the name of a file")
    refuse(folder)
    task, network, record = read_run(options.run_folder)
    if not hasattr(task, "voice"):
        raise UserError(f"{options.run_folder}: a network of the task {record['task']} is no voice")
    acoustic = getattr(task, "wants_vocoder", False)
    if acoustic != (options.vocoder is not None):
        told = "name its vocoder's run with --vocoder" if acoustic else "it has no use for --vocoder"
        raise UserError(f"{options.run_folder} is a run of the task {record['task']}: {told}")
    more = [read_run(options.vocoder)] if acoustic else []
    found: Speaking = task.voice(network, record, *more, weights=options.weights)
    check(found.differences)
    if options.gain:
        pair = found.pair and (found.pair[0], louder(found.pair[1], options.gain))
        found = replace(found, content=louder(found.content, options.gain), pair=pair)
    halves, differences = halves_of(found)
    for what, difference in differences.items():
        if not difference <= PIECES:
            raise UserError(f"{what}: they differ by {difference:.2g}, more than {PIECES:g}: not exported")
    differences = {**found.differences, **differences}
    whole = with_metadata(found.content, found.corpus)
    names = PAIRS[found.pair is not None]
    contents = dict(zip(names, halves, strict=True)) if options.pair else {f"{name}.onnx": whole}
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    scores: dict[str, Any] = {}
    listened: list[str] = []
    if options.scores is not None:
        scores, listened = read_scores(options.scores, name, list(hashes.values()))
    records = [record, *(other for _, _, other in more)]
    size = sum(map(len, contents.values())) / 1e6
    facts = {
        "Licence": options.licence,
        "Weights": f"{options.weights}, {size:.1f} MB",
        "Louder than recorded": f"{options.gain:g} dB",
        **{what: f"{difference:.1e}" for what, difference in differences.items()},
    }
    card = list(lines_of(name, found.corpus, record, facts))
    for other in records[1:]:
        card += ["", "## Vocoder", "", *lines_of_training(other)]
    card += ["", "## Scores", "", *listened] if listened else []
    card += ["", options.notes] if options.notes else []
    said = {
        "weights": options.weights,
        "gain": options.gain,
        "training": list(map(facts_of_training, records)),
        "differences": {what: float(f"{difference:.2g}") for what, difference in differences.items()},
        **({"scores": scores} if scores else {}),
        **({"notes": options.notes} if options.notes else {}),
        "sha256": hashes,
    }
    write_voice(folder, name, found.corpus, contents, found.hop, options.licence, card, found.scales, said)
    voice = PiperVoice(folder, name)  # It opens, and pieces of its sound are known to be the whole.
    voice.close()
    card_file, networks = find_parts(folder)
    write_record(folder, (card_file, *networks), voice.networks.cut)
    shown = ", ".join(f"{what} {difference:.1e}" for what, difference in differences.items())
    Console(emoji=False, markup=False).print(f"{folder} ({size:.1f} MB); {shown}", soft_wrap=True)
    return 0
