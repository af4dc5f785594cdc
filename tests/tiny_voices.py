"""Voices of Piper's kind with networks that are small, and one whose sound is known."""

import json
from functools import partial

import numpy as np
import onnx
from onnx import helper
from streaming_models import FLOAT, INT64, constant, content_of, tensor, weights

HOP, PER_ID = 16, 3
"""Samples per frame, and frames per id."""
RATE = 22_050
node = helper.make_node
IDS = {
    symbol: [number]
    for number, symbol in enumerate(
        "_^$ !,.:;?abdefhijklmnoprstuvwxyzæðŋɑɔəɛɡɪɹʃʊʌʒˈˌːθɾ\u09be\u09ac\u0982\u09b2\u0995\u0996\u0997"
    )
}
SYMBOLS = len(IDS)

heads = partial(tensor, kind=INT64)


def card(path, **said):
    """The JSON of a voice; values of None are left out."""
    found = {
        "audio": {"sample_rate": RATE, "quality": "low"},
        "espeak": {"voice": "en-us"},
        "language": {"code": "en_US"},
        "phoneme_type": "espeak",
        "num_symbols": SYMBOLS,
        "num_speakers": 1,
        "speaker_id_map": {},
        "phoneme_id_map": IDS,
        "inference": {"noise_scale": 0.0, "length_scale": 1.0, "noise_w": 0.0},
        "license": "CC0",
    } | said
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def frames_of(more=()):
    """Nodes that give each id ``PER_ID`` frames, times the length scale: (P,) ids to (T,) ids of frames."""
    nodes = [
        node("Squeeze", ["input", "zero"], ["flat"]),
        node("Gather", ["scales", "one"], ["length"]),
        node("Mul", ["length", "per_id"], ["per"]),
        node("Cast", ["input_lengths"], ["count"], to=FLOAT),
        node("Mul", ["count", "per"], ["all"]),
        node("Ceil", ["all"], ["ceiled"]),
        node("Cast", ["ceiled"], ["total"], to=INT64),
        node("Squeeze", ["total", "zero"], ["end"]),
        node("Range", ["nought", "end", "step"], ["times"]),
        node("Cast", ["times"], ["float_times"], to=FLOAT),
        node("Div", ["float_times", "per"], ["where"]),
        node("Floor", ["where"], ["floored"]),
        node("Cast", ["floored"], ["index"], to=INT64),
        node("Gather", ["flat", "index"], ["frame_ids"]),
    ]
    constants = [
        constant("zero", [0]),
        constant("one", [1]),
        constant("nought", 0),
        constant("step", 1),
        constant("per_id", [PER_ID], np.float32),
    ]
    inputs = [heads("input", 1, "P"), heads("input_lengths", 1), tensor("scales", 3), *more]
    return nodes, constants, inputs


def telling(folder, speakers=1, name="voice", frames=False, factor=1 / 256, **said):
    """A voice whose every frame of ``HOP`` samples is the id times ``factor``, plus the speaker's number."""
    folder.mkdir(parents=True, exist_ok=True)
    sid = [heads("sid", 1)] if speakers > 1 else []
    nodes, constants, inputs = frames_of(sid)
    nodes += [
        node("Cast", ["frame_ids"], ["floats"], to=FLOAT),
        node("Mul", ["floats", "factor"], ["low"]),
        node("Unsqueeze", ["low", "one"], ["column"]),
        node("Expand", ["column", "hop"], ["rows"]),
        node("Reshape", ["rows", "flat_shape"], ["sound"]),
    ]
    last = "sound"
    if speakers > 1:
        nodes += [node("Cast", ["sid"], ["who"], to=FLOAT), node("Add", ["sound", "who"], ["said"])]
        last = "said"
    nodes.append(node("Identity", [last], ["output"]))
    outputs = [tensor("output", 1, 1, "N")]
    if frames:
        nodes += [
            node("Shape", ["input"], ["shape"]),
            node("Expand", ["per", "shape"], ["frames"]),
        ]
        outputs.append(tensor("frames", 1, "P"))
    constants += [
        constant("factor", factor, np.float32),
        constant("hop", [1, HOP]),
        constant("flat_shape", [1, 1, -1]),
    ]
    (folder / f"{name}.onnx").write_bytes(content_of(nodes, inputs, outputs, constants))
    named = {f"speaker {number}": number for number in range(speakers)} if speakers > 1 else {}
    card(folder / f"{name}.onnx.json", num_speakers=speakers, speaker_id_map=named, **said)
    return folder


def pair(folder, names=("text.onnx", "dec.onnx"), channels=6, reach=9, everything=False, **said):
    """A voice of two networks with random weights: frames of ids, and a decoder that hears ``reach`` around.

    ``everything``: the decoder is normalised by the mean of all its frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    nodes, constants, inputs = frames_of()
    nodes += [
        node("Gather", ["table", "frame_ids"], ["rows"]),
        node("Transpose", ["rows"], ["columns"], perm=[1, 0]),
        node("Unsqueeze", ["columns", "zero"], ["z"]),
    ]
    constants.append(weights("table", SYMBOLS, channels, scale=1.0))
    (folder / names[0]).write_bytes(content_of(nodes, inputs, [tensor("z", 1, channels, "T")], constants))
    width = 2 * reach - 1
    nodes = [
        node("ReduceMean", ["frames"], ["mean"], axes=[2], keepdims=1),
        node("Sub", ["frames", "mean"], ["centred"]),
        node("Conv", ["centred" if everything else "frames", "a"], ["heard"], pads=[reach - 1, reach - 1]),
        node("LeakyRelu", ["heard"], ["bent"], alpha=0.1),
        node("ConvTranspose", ["bent", "up"], ["raised"], strides=[HOP], pads=[HOP // 2, HOP // 2]),
        node("Conv", ["raised", "out"], ["mono"], pads=[3, 3]),
        node("Tanh", ["mono"], ["output"]),
    ]
    nodes = nodes if everything else nodes[2:]
    constants = [
        weights("a", channels, channels, width),
        weights("up", channels, 4, 2 * HOP),
        weights("out", 1, 4, 7, scale=0.1),
    ]
    (folder / names[1]).write_bytes(
        content_of(nodes, [tensor("frames", 1, channels, "T")], [tensor("output", 1, 1, "N")], constants)
    )
    card(folder / "voice.onnx.json", **said)
    return folder


def spectral(folder, said=(), bins=33, **more):
    """A pair whose vocoder gives magnitudes, cosines and sines of spectra of 64 samples, every 16."""
    pair(folder, ("acoustic.onnx", "vocoder.onnx"), **more)
    nodes = [node("Conv", ["frames", name], [f"{name}_heard"], pads=[1, 1]) for name in ("loud", "turn")] + [
        node("Exp", ["loud_heard"], ["mag"]),
        node("Cos", ["turn_heard"], ["x"]),
        node("Sin", ["turn_heard"], ["y"]),
    ]
    constants = [weights("loud", bins, 6, 3, scale=0.1), weights("turn", bins, 6, 3)]
    outputs = [tensor(name, 1, bins, "T") for name in ("mag", "x", "y")]
    model = onnx.load_from_string(content_of(nodes, [tensor("frames", 1, 6, "T")], outputs, constants))
    facts = {"n_fft": "64", "hop_length": "16", "win_length": "64", "window_type": "hann", "center": "1"}
    helper.set_model_props(model, facts | {"model_type": "vocos"} | dict(said))
    onnx.save(model, folder / "vocoder.onnx")
    return folder


def vits(folder, speakers=1, frames=False, flow=(), decoder=(), more=(), **said):
    """A voice of one network with random weights, built as a VITS is: ids to noisy frames of a mean, a
    masked convolution as its flow, and a decoder that hears 4 frames around, conditioned on the speaker.

    ``flow``: nodes between the mask, which is no mask but differs from frame to frame and gives ``masked``,
    and the convolution, which takes ``flowing``. ``decoder``: nodes between the layer that raises the rate,
    which gives ``raised``, and the last convolution, which takes ``shaped``. ``more``: constants for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    channels, width = 6, 8
    sid = [heads("sid", 1)] if speakers > 1 else []
    nodes, constants, inputs = frames_of(sid)
    nodes += [
        node("Gather", ["table", "frame_ids"], ["rows"]),
        node("Transpose", ["rows"], ["columns"], perm=[1, 0]),
        node("Unsqueeze", ["columns", "zero"], ["mean"]),
        node("RandomNormalLike", ["mean"], ["random"]),
        node("Gather", ["scales", "zero"], ["noise_scale"]),
        node("Mul", ["random", "noise_scale"], ["noise"]),
        node("Add", ["mean", "noise"], ["z_p"]),
        node("Cast", ["frame_ids"], ["floats"], to=FLOAT),
        node("Cos", ["floats"], ["of_frames"]),
        node("Unsqueeze", ["of_frames", "places"], ["mask"]),
        node("Mul", ["z_p", "mask"], ["masked"]),
        *(flow or [node("Tanh", ["masked"], ["bounded"]), node("Add", ["bounded", "z_p"], ["flowing"])]),
        node("Conv", ["flowing", "flow"], ["z"], pads=[2, 2]),
        node("Conv", ["z", "pre"], ["heard"], pads=[3, 3]),
    ]
    constants += [
        weights("table", SYMBOLS, channels, scale=1.0),
        *more,
        constant("places", [0, 1]),
        weights("flow", channels, channels, 5),
        weights("pre", width, channels, 7),
        weights("up", width, 4, 2 * HOP),
        weights("last", 1, 4, 7, scale=0.1),
    ]
    if speakers > 1:
        nodes += [
            node("Gather", ["who", "sid"], ["speaker"]),
            node("Unsqueeze", ["speaker", "two"], ["g"]),
            node("Conv", ["g", "cond"], ["conditioned"]),
            node("Add", ["heard", "conditioned"], ["told"]),
        ]
        constants += [
            weights("who", speakers, 5),
            weights("cond", width, 5, 1, scale=1.0),
            constant("two", [2]),
        ]
    nodes += [
        node("LeakyRelu", ["told" if speakers > 1 else "heard"], ["bent"], alpha=0.1),
        node("ConvTranspose", ["bent", "up"], ["raised"], strides=[HOP], pads=[HOP // 2, HOP // 2]),
        *(decoder or [node("LeakyRelu", ["raised"], ["shaped"], alpha=0.1)]),
        node("Conv", ["shaped", "last"], ["mono"], pads=[3, 3]),
        node("Tanh", ["mono"], ["output"]),
    ]
    outputs = [tensor("output", 1, 1, "N")]
    if frames:
        nodes += [node("Shape", ["input"], ["shape"]), node("Expand", ["per", "shape"], ["frames"])]
        outputs.append(tensor("frames", 1, "P"))
    (folder / "voice.onnx").write_bytes(content_of(nodes, inputs, outputs, constants))
    named = {f"speaker {number}": number for number in range(speakers)} if speakers > 1 else {}
    card(folder / "voice.onnx.json", **{"num_speakers": speakers, "speaker_id_map": named, **said})
    return folder
