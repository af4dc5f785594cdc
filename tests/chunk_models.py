"""Networks of kind ``chunks`` that do next to nothing, written as ONNX files with cards."""

import hashlib
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LATENT = (4, 2)


def constant(name, value):
    tensor = numpy_helper.from_array(np.asarray(value, np.float32))
    return helper.make_node("Constant", [], [name], value=tensor)


def gain(value):
    """Enhanced is the noisy signal times a number or (chunk,) of them, plus the sum of z."""
    return [
        constant("gain", value),
        helper.make_node("Mul", ["noisy", "gain"], ["louder"]),
        helper.make_node("ReduceSum", ["z"], ["sum"], keepdims=0),
        helper.make_node("Add", ["louder", "sum"], ["enhanced"]),
    ]


def ramp(chunk):
    """Enhanced is the sample's place in the chunk."""
    zeros = [constant("zero", 0.0), helper.make_node("Mul", ["noisy", "zero"], ["zeros"])]
    places = [
        constant("places", np.arange(chunk)),
        helper.make_node("Add", ["zeros", "places"], ["enhanced"]),
    ]
    return zeros + places


def write(path, nodes, chunk, rate=16_000, output="enhanced", card=None):
    """The model and its card; what ``card`` has replaces what it should say, None takes it out."""
    inputs = {"noisy": ["batch", chunk], "z": ["batch", *LATENT]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    enhanced = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", chunk])
    graph = helper.make_graph(nodes, "chunks", values, [enhanced])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    path.write_bytes(content)
    said = {"kind": "chunks", "rate": rate, "chunk": chunk, "inputs": inputs}
    said |= {"sha256": hashlib.sha256(content).hexdigest()} | (card or {})
    said = {key: value for key, value in said.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(said))
    return path
