"""Trained networks to ONNX: ``python -m export onnx RUN -o NAME.onnx``.

A network that streams has its states as inputs and outputs. What is written is checked first: torch against
ONNX Runtime, and where there are states, one frame after the other against all at once. Weights may be stored
as float16 or 8-bit integers: then torch computes with the same rounded weights.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from engines.sessions import open_session
from export.output import write_with_card
from export.training import mean_of, read_run
from rtaudio.errors import FileError, UserError

TOLERANCE = 1e-4
"""Largest difference that is let pass."""
OPSET = 17
FRAMES = 40
"""Frames that the streaming check runs over."""
SHARED = 32
"""Numbers, at the least, that have a scale in common; others are not worth one."""
Weights = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class Exportable:
    """A network as ONNX wants it.

    Parameters
    ----------
    network
        ``forward(*inputs, *states)`` returns the outputs, then the new states.
    inputs
        Examples by name, of the shape that the file has.
    states
        Their first values by name; the outputs of the same names with ``new_`` before them replace them.
    outputs
        Names.
    card
        What else the card says: kind, rate, hop, latency ...
    batch
        Whether the first axis of all tensors, states too, is free.
    time
        The axis of the inputs and outputs along which a streaming network takes frames: its examples have one
        frame.
    sequence
        Whether a network without states takes any number of frames along ``time``.
    """

    network: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    card: Mapping[str, Any]
    states: Mapping[str, Tensor] = field(default_factory=dict)
    batch: bool = False
    time: int = 1
    sequence: bool = False


def draw(example: Tensor, shape: Sequence[int], random: torch.Generator) -> Tensor:
    """Noise of a shape; where the example holds integers, values of it."""
    if example.is_floating_point():
        return 0.1 * torch.randn(tuple(shape), generator=random)
    return example.flatten()[torch.randint(example.numel(), tuple(shape), generator=random)]


def round_weights(network: nn.Module, weights: Weights) -> None:
    """Round the weights of a network, in place, to what is stored.

    ``float16`` rounds all; ``int8`` parameters to integers from -127 to 127 times a scale for each place
    along the first dimension, that of a layer's outputs, where `SHARED` numbers or more have one, and all
    else to float16.
    """
    parameters = dict(network.named_parameters())
    for name, tensor in network.state_dict().items() if weights != "float32" else ():
        if not tensor.is_floating_point() or not tensor.dim():
            continue
        if weights == "int8" and name in parameters and tensor[:1].numel() >= SHARED:
            scale = tensor.flatten(1).abs().amax(1).reshape(-1, *[1] * (tensor.dim() - 1)) / 127
            scale = torch.where(scale > 0, scale, 1.0)
            tensor.copy_(torch.round(tensor / scale) * scale)
        else:
            tensor.copy_(tensor.half())


def rounding(exportable: Exportable, weights: Weights) -> float:
    """Round a network's weights, in place; returns by how much that changes an output, at the most."""
    random = torch.Generator().manual_seed(1)
    inputs = [draw(x, x.shape, random) for x in exportable.inputs.values()]
    found = []
    with torch.no_grad():
        for each in ("float32", weights):
            round_weights(exportable.network, each)
            outputs = exportable.network(*inputs, *exportable.states.values())
            found.append(outputs[0] if isinstance(outputs, tuple) else outputs)
    return float((found[1] - found[0]).abs().max())


def to_onnx(exportable: Exportable, weights: Weights = "float32") -> bytes:
    """The content of an ONNX file.

    Parameters
    ----------
    exportable
        What is exported; its weights have been rounded (`round_weights`).
    weights
        How they are stored; see `store_weights`.
    """
    outputs = [*exportable.outputs, *(f"new_{name}" for name in exportable.states)]
    free = {0: "batch"} if exportable.batch else {}

    def axes(frames: str) -> dict[int, str]:
        return {exportable.time: frames} if exportable.sequence else {}

    named = {name: free | axes("frames") for name in exportable.inputs}
    named |= {name: free | axes(f"{name}_frames") for name in exportable.outputs}
    named |= {f"{new}{name}": free for new in ("", "new_") for name in exportable.states}
    return traced(exportable.network, {**exportable.inputs, **exportable.states}, outputs, named, weights)


def traced(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
    weights: Weights = "float32",
) -> bytes:
    """The content of an ONNX file, as tracing finds it; what that misses a comparison has to find.

    Parameters
    ----------
    network
        As it is to be, for inference.
    inputs
        Examples by name.
    outputs
        Their names.
    axes
        Of inputs and outputs by name: the axes of any length, and what they are called.
    weights
        How they are stored; see `store_weights`.
    """
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            file,  # type: ignore[arg-type]
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(file.getvalue())
    store_weights(model, weights)
    onnx.checker.check_model(model)
    return model.SerializeToString()  # type: ignore[no-any-return]


def store_weights(model: onnx.ModelProto, weights: Weights) -> None:
    """Store weights in fewer bytes, in place; they are float32 again where the file is loaded.

    Parameters
    ----------
    weights
        ``float16``: half the size. ``int8``: a quarter, for those that are integers times a scale along one
        of their dimensions; others as float16.
    """
    if weights == "float32":
        return
    nodes, scales = [], []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or math.prod(tensor.dims) <= 1:
            continue
        name, numbers = tensor.name, numpy_helper.to_array(tensor)
        found = _as_integers(numbers) if weights == "int8" else None
        if found is None:
            tensor.CopyFrom(numpy_helper.from_array(numbers.astype(np.float16), f"{name}.half"))
            nodes.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
            continue
        integers, scale = found
        tensor.CopyFrom(numpy_helper.from_array(integers, f"{name}.integers"))
        scales.append(numpy_helper.from_array(scale, f"{name}.scale"))
        whole = f"{name}.whole"
        nodes.append(helper.make_node("Cast", [tensor.name], [whole], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [whole, scales[-1].name], [name]))
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(scales)


def _as_integers(numbers: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Integers and the scales along a dimension that they are to be multiplied by; None if there are none."""
    most = np.abs(numbers).max()
    for axis in (axis for axis, size in enumerate(numbers.shape) if numbers.size >= SHARED * size):
        others = tuple(each for each in range(numbers.ndim) if each != axis)
        scale = np.abs(numbers).max(others, keepdims=True) / np.float32(127)
        scale[scale == 0] = 1
        integers = np.rint(numbers / scale)
        if np.abs(integers * scale - numbers).max() <= 1e-6 * most:
            return integers.astype(np.int8), scale
    return None


def differences(exportable: Exportable, content: bytes, seed: int = 0) -> dict[str, float]:
    """Largest differences between torch and ONNX Runtime, on noise.

    Returns
    -------
    ``torch - onnx``: of one call, states included; with states also ``stream - offline``: `FRAMES` calls of
    ONNX Runtime that hand on the states, against one of torch over all frames.
    """
    session = open_session(Path("exported"), content)
    random = torch.Generator().manual_seed(seed)
    rows = 2 if exportable.batch else 1
    states = {name: torch.cat([state] * rows) for name, state in exportable.states.items()}
    frames = FRAMES if states else 1

    def drawn(example: Tensor) -> Tensor:
        shape = list(example.shape)
        shape[0] *= rows
        if states:
            shape[exportable.time] *= frames
        elif exportable.sequence:  # more than the example has, which tracing may have taken for all
            shape[exportable.time] += 1
        return draw(example, shape, random)

    inputs = {name: drawn(example) for name, example in exportable.inputs.items()}
    count = len(exportable.outputs)

    def by_torch(part: Mapping[str, Tensor]) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            found = exportable.network(*part.values(), *states.values())
        return [x.numpy() for x in (found if isinstance(found, tuple) else (found,))]

    def largest(a: list[NDArray[np.float32]], b: list[NDArray[np.float32]]) -> float:
        return max(float(np.max(np.abs(x - y))) for x, y in zip(a, b, strict=True))

    split = {name: x.chunk(frames, exportable.time) if states else (x,) for name, x in inputs.items()}
    feed = {name: state.numpy() for name, state in states.items()}
    parts = []
    first = 0.0
    for index in range(frames):
        frame = {name: chunks[index] for name, chunks in split.items()}
        found = session.run(None, {**{name: x.numpy() for name, x in frame.items()}, **feed})
        if index == 0:
            first = largest(by_torch(frame), found)
        parts.append(found[:count])
        feed = dict(zip(states, found[count:], strict=True))
    if not states:
        return {"torch - onnx": first}
    streamed = [np.concatenate(part, exportable.time) for part in zip(*parts, strict=True)]
    return {"torch - onnx": first, "stream - offline": largest(by_torch(inputs)[:count], streamed)}


def check(found: Mapping[str, float]) -> None:
    """Refuse what differs by more than `TOLERANCE`, or is not finite."""
    for name, difference in found.items():
        if not difference <= TOLERANCE:
            raise UserError(f"{name}: they differ by {difference:.2g}, more than {TOLERANCE:g}: not exported")


def write_network(
    exportable: Exportable, path: Path, card: Mapping[str, Any], weights: Weights
) -> dict[str, float]:
    """Export, check, and write a network and its card.

    Returns
    -------
    The differences found.

    Raises
    ------
    UserError
        They are too large; nothing is written.
    """
    rounded = {} if weights == "float32" else {f"{weights} - float32": rounding(exportable, weights)}
    content = to_onnx(exportable, weights)
    found = differences(exportable, content)
    check(found)
    found |= rounded
    whole = {
        **exportable.card,
        "inputs": {name: list(x.shape) for name, x in exportable.inputs.items()},
        "outputs": list(exportable.outputs),
        "states": {name: list(x.shape) for name, x in exportable.states.items()},
        "parameters": sum(p.numel() for p in exportable.network.parameters()),
        "weights": weights,
        **card,
        "differences": {name: float(f"{difference:.2g}") for name, difference in found.items()},
    }
    write_with_card(path, content, whole)
    return found


# ------------------------------------------------------------------------------------------ the command


def add_weights(parser: argparse.ArgumentParser, default: Weights) -> None:
    """Add ``--weights`` to a command that exports."""
    parser.add_argument(
        "--weights", choices=get_args(Weights), default=default,
        help=f"how they are rounded and stored: float16 in half the size, int8 in a quarter ({default})",
    )  # fmt: skip


def command(commands: Any) -> None:
    """Add ``onnx`` to a command line."""
    parser = commands.add_parser(
        "onnx",
        help="export a trained network",
        description="Write the network of a run as NAME.onnx and its card NAME.json, after checking that "
        "ONNX Runtime computes what torch does.",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a folder that train has written")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NAME.onnx")
    add_weights(parser, "float16")
    parser.add_argument(
        "--average", type=Path, nargs="+", metavar="RUN",
        help="export half of these weights, and half of the mean of those of other runs",
    )  # fmt: skip
    parser.add_argument("--licence", default="MIT", metavar="L", help="of the weights (MIT)")
    parser.add_argument("--notes", metavar="TEXT", help="for the card")
    parser.add_argument("--scores", type=Path, metavar="F.json", help="scores, for the card as they are")
    parser.set_defaults(run=run)


def average(
    network: nn.Module, folder: Path, others: Sequence[Path], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Take a network's weights half from other runs, as M. Wortsman et al. do, "Model soups", ICML 2022.

    Only of runs that one began with the weights of is the mean of any use, or of two that began alike.

    Parameters
    ----------
    network
        Of the run of ``folder``; changed.
    others
        The other runs, of which the mean is taken first.
    names
        What to return of their records, where they have it.

    Raises
    ------
    FileError
        One is of another network.
    """
    mine, theirs, records = network.state_dict(), [], []
    for other in others:
        _, second, record = read_run(other)
        theirs.append(second.state_dict())
        if {name: x.shape for name, x in mine.items()} != {name: x.shape for name, x in theirs[-1].items()}:
            raise FileError(f"{other} is of another network than {folder}: their weights have no mean")
        records.append({name: record[name] for name in (*names, "step", "seconds") if name in record})
    network.load_state_dict(mean_of([mean_of(theirs), mine]))
    return records


def run(options: argparse.Namespace) -> int:
    """Export."""
    from rich.console import Console

    if options.output.suffix != ".onnx":
        raise UserError(f"{options.output}: want a name that ends with .onnx")
    task, network, record = read_run(options.run_folder)
    if not hasattr(task, "exportable"):
        raise UserError(f"{options.run_folder}: a network of the task {record['task']} has no form for ONNX")
    names = "task", "command", "data", "settings", "start"
    card = {name: record[name] for name in names if name in record}
    if options.average is not None:
        card["averaged with"] = average(network, options.run_folder, options.average, names)
    card |= {"licence": options.licence, "seconds": round(record["seconds"]), "steps": record["step"]}
    if options.notes:
        card["notes"] = options.notes
    if options.scores is not None:
        try:
            card["scores"] = json.loads(options.scores.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FileError(f"--scores {options.scores}: {error}") from None
    found = write_network(task.exportable(network), options.output, card, options.weights)
    shown = ", ".join(f"{name} {difference:.1e}" for name, difference in found.items())
    size = options.output.stat().st_size / 1e6
    Console(emoji=False, markup=False).print(f"{options.output} ({size:.1f} MB) and its card; {shown}")
    return 0
