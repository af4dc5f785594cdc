"""Small streaming networks, written as ONNX files with their cards, and what runs them in Python."""

import atexit
import hashlib
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
NUMPY = {FLOAT: np.float32, DOUBLE: np.float64, INT64: np.int64, TensorProto.INT32: np.int32}


def tensor(name, *shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def weights(name, *shape, scale=0.3, seed=0):
    values = np.random.default_rng([seed, *name.encode()]).normal(0.0, scale, shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def constant(name, value, kind=np.int64):
    return numpy_helper.from_array(np.asarray(value, kind), name)


def content_of(nodes, inputs, outputs, constants=()):
    """An ONNX file's bytes."""
    graph = helper.make_graph(nodes, "stream", inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write(path, content, card):
    """The model and its card; values of None are left out."""
    path.write_bytes(content)
    said = {"kind": "stream", "rate": 48_000, "latency": 0, "states": {}}
    said |= {"sha256": hashlib.sha256(content).hexdigest()} | card
    said = {key: value for key, value in said.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(said))
    return path


def mono(name="x"):
    return [{"name": name, "channels": 1}]


AMOUNT = {"id": "amount", "input": "amount", "minimum": 0, "maximum": 1, "default": 1, "smoothing": 0.02}


def gru(path, hop=48, rate=48_000, width=5, **card):
    """A gated recurrent unit that hears a sample a step, mixed with its input as ``amount`` says.

    It has no biases, so that silence stays silent, and forgets in a fraction of a second.
    """
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[2, 0, 1]),
        helper.make_node("GRU", ["steps", "w", "r", "", "", "h"], ["seen", "h_next"], hidden_size=width),
        helper.make_node("Squeeze", ["seen", "one"], ["units"]),
        helper.make_node("MatMul", ["units", "o"], ["sum"]),
        helper.make_node("Transpose", ["sum"], ["wet"], perm=[1, 2, 0]),
        helper.make_node("Sub", ["wet", "x"], ["change"]),
        helper.make_node("Mul", ["change", "amount"], ["part"]),
        helper.make_node("Add", ["x", "part"], ["y"]),
    ]
    constants = [
        weights("w", 1, 3 * width, 1, scale=0.8),
        weights("r", 1, 3 * width, width),
        weights("o", width, 1),
        constant("one", [1]),
    ]
    inputs = [tensor("x", "batch", 1, hop), tensor("h", 1, "batch", width), tensor("amount", 1)]
    outputs = [tensor("y", "batch", 1, hop), tensor("h_next", 1, "batch", width)]
    said = {
        "rate": rate,
        "hop": hop,
        "tail": 4000,
        "inputs": mono(),
        "outputs": mono("y"),
        "states": {"h": {"next": "h_next", "shape": [1, 1, width]}},
        "parameters": [AMOUNT],
        "unity": {"amount": 0},
    }
    return write(path, content_of(nodes, inputs, outputs, constants), said | card)


@cache
def any_model():
    """A model for all who want one: `gru`."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return gru(folder / "gru.onnx")


def lstm(path, hop=37, rate=48_000, width=4, **card):
    """A long short-term memory: two states, of which one is put out in another order than it is taken in."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0]),
        helper.make_node("Unsqueeze", ["steps", "last"], ["rows"]),
        helper.make_node(
            "LSTM", ["rows", "w", "r", "", "", "h", "c"], ["seen", "h2", "c2"], hidden_size=width
        ),
        helper.make_node("Squeeze", ["seen", "one"], ["units"]),
        helper.make_node("MatMul", ["units", "o"], ["sum"]),
        helper.make_node("Squeeze", ["sum", "last"], ["turned"]),
        helper.make_node("Transpose", ["turned"], ["y"], perm=[1, 0]),
    ]
    constants = [
        weights("w", 1, 4 * width, 1, scale=0.8),
        weights("r", 1, 4 * width, width),
        weights("o", width, 1),
        constant("one", [1]),
        constant("last", [2]),
    ]
    inputs = [tensor("c", 1, 1, width), tensor("x", 1, hop), tensor("h", 1, 1, width)]
    outputs = [tensor("h2", 1, 1, width), tensor("c2", 1, 1, width), tensor("y", 1, hop)]
    said = {
        "rate": rate,
        "hop": hop,
        "tail": 4000,
        "inputs": mono(),
        "outputs": mono("y"),
        "states": {
            "h": {"next": "h2", "shape": [1, 1, width]},
            "c": {"next": "c2", "shape": [1, 1, width]},
        },
    }
    return write(path, content_of(nodes, inputs, outputs, constants), said | card)


def delay(path, hop=40, rate=48_000, samples=13, **card):
    """The input, ``samples`` later: what comes out is known."""
    nodes = [
        helper.make_node("Concat", ["kept", "x"], ["all"], axis=2),
        helper.make_node("Slice", ["all", "zero", "hop", "axis"], ["y"]),
        helper.make_node("Slice", ["all", "hop", "end", "axis"], ["kept_next"]),
    ]
    ends = {"zero": [0], "hop": [hop], "end": [hop + samples], "axis": [2]}
    inputs = [tensor("x", 1, 1, hop), tensor("kept", 1, 1, samples)]
    outputs = [tensor("y", 1, 1, hop), tensor("kept_next", 1, 1, samples)]
    said = {
        "rate": rate,
        "hop": hop,
        "latency": samples,
        "inputs": mono(),
        "outputs": mono("y"),
        "states": {"kept": {"next": "kept_next", "shape": [1, 1, samples]}},
    }
    constants = [constant(name, value) for name, value in ends.items()]
    return write(path, content_of(nodes, inputs, outputs, constants), said | card)


def wide(path, hop=33, rate=48_000, **card):
    """Two inputs, of two channels and one, and two outputs: convolutions over the last samples, a sum of what
    came in, which decays (float64), and a count of the hops (int64).
    """
    taps = 8
    nodes = [
        helper.make_node("Concat", ["stereo", "side"], ["joined"], axis=1),
        helper.make_node("Concat", ["past", "joined"], ["all"], axis=2),
        helper.make_node("Conv", ["all", "first"], ["units"]),
        helper.make_node("Tanh", ["units"], ["bent"]),
        helper.make_node("Conv", ["bent", "second"], ["louder"]),
        helper.make_node("Slice", ["all", "hop", "end", "axis"], ["past_next"]),
        helper.make_node("Cast", ["side"], ["exact"], to=DOUBLE),
        helper.make_node("ReduceSum", ["exact", "axis"], ["hop_sum"], keepdims=1),
        helper.make_node("Mul", ["total", "less"], ["left"]),
        helper.make_node("Add", ["left", "hop_sum"], ["total_next"]),
        helper.make_node("Add", ["count", "one"], ["count_next"]),
        helper.make_node("Cast", ["total_next"], ["level"], to=FLOAT),
        helper.make_node("Cast", ["count_next"], ["number"], to=FLOAT),
        helper.make_node("Div", ["level", "number"], ["mean"]),
        helper.make_node("Add", ["side", "mean"], ["low"]),
    ]
    constants = [
        weights("first", 6, 3, taps),
        weights("second", 2, 6, 1),
        *(constant(name, [value]) for name, value in (("hop", hop), ("end", hop + taps - 1), ("axis", 2))),
        constant("one", [1]),
        constant("less", 0.8, np.float64),
    ]
    inputs = [
        tensor("past", 1, 3, taps - 1),
        tensor("stereo", "batch", 2, hop),
        tensor("count", 1, kind=INT64),
        tensor("side", "batch", 1, hop),
        tensor("total", 1, 1, 1, kind=DOUBLE),
    ]
    outputs = [
        tensor("louder", 1, 2, hop),
        tensor("total_next", 1, 1, 1, kind=DOUBLE),
        tensor("low", "batch", 1, hop),
        tensor("count_next", 1, kind=INT64),
        tensor("past_next", 1, 3, taps - 1),
    ]
    said = {
        "rate": rate,
        "hop": hop,
        "tail": 4000,
        "inputs": [{"name": "stereo", "channels": 2, "port": "in"}, {"name": "side", "channels": 1}],
        "outputs": [{"name": "louder", "channels": 2}, {"name": "low", "channels": 1}],
        "states": {
            "past": {"next": "past_next", "shape": [1, 3, taps - 1]},
            "total": {"next": "total_next", "shape": [1, 1, 1]},
            "count": {"next": "count_next", "shape": [1]},
        },
    }
    return write(path, content_of(nodes, inputs, outputs, constants), said | card)


def pointwise(path, nodes, constants=(), hop=32, **card):
    """A network of the nodes that make ``y`` of ``x``, sample by sample."""
    content = content_of(nodes, [tensor("x", 1, 1, hop)], [tensor("y", 1, 1, hop)], constants)
    return write(path, content, {"hop": hop, "inputs": mono(), "outputs": mono("y")} | card)


def root(path, more=1.0, **card):
    """The root of so much more than the input: below, no number."""
    nodes = [helper.make_node("Add", ["x", "more"], ["sum"]), helper.make_node("Sqrt", ["sum"], ["y"])]
    return pointwise(path, nodes, [constant("more", more, np.float32)], **card)


def lookup(path, **card):
    """A value of a table of 3; an error where the input is beyond it."""
    nodes = [
        helper.make_node("Cast", ["x"], ["place"], to=INT64),
        helper.make_node("Gather", ["table", "place"], ["y"]),
    ]
    return pointwise(path, nodes, [constant("table", [0.0, 0.25, 0.5], np.float32)], **card)


def session(path):
    """The model in ONNX Runtime's Python, with the options of the host."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = path if isinstance(path, bytes) else path.read_bytes()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_hops(path, signals, parameters=None):
    """A model of kind ``stream`` over whole signals, hop by hop, by `session`.

    ``signals`` and what is returned have arrays of (channels, samples) by tensor; ``parameters`` numbers.
    """
    card = json.loads(path.with_suffix(".json").read_text())
    made, hop = session(path), card["hop"]
    types = {put.name: put.type for put in made.get_inputs()}
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    states = {name: np.zeros(entry["shape"], kinds[types[name]]) for name, entry in card["states"].items()}
    shapes = {
        put.name: [axis if isinstance(axis, int) else 1 for axis in put.shape] for put in made.get_inputs()
    }
    settings = {
        name: np.full(shapes[name], number, np.float32) for name, number in (parameters or {}).items()
    }
    names = [put.name for put in made.get_outputs()]
    pieces = {entry["name"]: [] for entry in card["outputs"]}
    for at in range(0, next(iter(signals.values())).shape[1] // hop * hop, hop):
        hops = {name: x[:, at : at + hop].reshape(shapes[name]) for name, x in signals.items()}
        got = dict(zip(names, made.run(names, hops | states | settings), strict=True))
        states = {name: got[entry["next"]] for name, entry in card["states"].items()}
        for entry in card["outputs"]:
            pieces[entry["name"]].append(got[entry["name"]].reshape(entry["channels"], hop))
    return {name: np.concatenate(parts, axis=1) for name, parts in pieces.items()}
