"""Trained networks to ONNX: ``python -m export onnx RUN -o NAME.onnx``.

A network that streams has its states as inputs and outputs. What is written is checked first: torch against
ONNX Runtime, and where there are states, one frame after the other against all at once. Weights may be stored
as float16: then torch computes with the same rounded weights.
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
from typing import Any

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
        Whether the first axis of inputs and outputs is free.
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


def round_weights(exportable: Exportable) -> float:
    """Round all weights to float16, in place; returns by how much that changes an output, at the most."""
    random = torch.Generator().manual_seed(1)
    inputs = [draw(x, x.shape, random) for x in exportable.inputs.values()]
    found = []
    with torch.no_grad():
        for rounded in (False, True):
            for tensor in exportable.network.state_dict().values() if rounded else ():
                if tensor.is_floating_point():
                    tensor.copy_(tensor.half())
            outputs = exportable.network(*inputs, *exportable.states.values())
            found.append(outputs[0] if isinstance(outputs, tuple) else outputs)
    return float((found[1] - found[0]).abs().max())


def to_onnx(exportable: Exportable, half: bool) -> bytes:
    """The content of an ONNX file.

    Parameters
    ----------
    exportable
        What is exported; with ``half`` its weights are float16 already (`round_weights`).
    half
        Store weights as float16, each cast to float32 where the file is loaded: half the size, equal results.
    """
    names = [*exportable.inputs, *exportable.states]
    outputs = [*exportable.outputs, *(f"new_{name}" for name in exportable.states)]
    free = {0: "batch"} if exportable.batch else {}

    def axes(frames: str) -> dict[int, str]:
        return {exportable.time: frames} if exportable.sequence else {}

    file = io.BytesIO()
    with warnings.catch_warnings():  # what tracing may miss is found by `differences`
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exportable.network,
            (*exportable.inputs.values(), *exportable.states.values()),
            file,  # type: ignore[arg-type]
            input_names=names,
            output_names=outputs,
            dynamic_axes={
                **{name: free | axes("frames") for name in exportable.inputs},
                **{name: free | axes(f"{name}_frames") for name in exportable.outputs},
            },
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(file.getvalue())
    if half:
        store_half(model)
    onnx.checker.check_model(model)
    return model.SerializeToString()  # type: ignore[no-any-return]


def store_half(model: onnx.ModelProto) -> None:
    """Store weights as float16, in place, each cast to float32 where the file is loaded."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) > 1:
            name, weights = tensor.name, numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def differences(exportable: Exportable, content: bytes, seed: int = 0) -> dict[str, float]:
    """Largest differences between torch and ONNX Runtime, on noise.

    Returns
    -------
    ``torch - onnx``: of one call, states included; with states also ``stream - offline``: `FRAMES` calls of
    ONNX Runtime that hand on the states, against one of torch over all frames.
    """
    session = open_session(Path("exported"), content)
    random = torch.Generator().manual_seed(seed)
    states = dict(exportable.states)
    frames = FRAMES if states else 1

    def drawn(example: Tensor) -> Tensor:
        shape = list(example.shape)
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
    exportable: Exportable, path: Path, card: Mapping[str, Any], half: bool
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
    rounding = {"float16 - float32": round_weights(exportable)} if half else {}
    content = to_onnx(exportable, half)
    found = differences(exportable, content)
    check(found)
    found |= rounding
    whole = {
        **exportable.card,
        "inputs": {name: list(x.shape) for name, x in exportable.inputs.items()},
        "outputs": list(exportable.outputs),
        "states": {name: list(x.shape) for name, x in exportable.states.items()},
        "parameters": sum(p.numel() for p in exportable.network.parameters()),
        "weights": "float16" if half else "float32",
        **card,
        "differences": {name: float(f"{difference:.2g}") for name, difference in found.items()},
    }
    write_with_card(path, content, whole)
    return found


# ------------------------------------------------------------------------------------------ the command


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
    parser.add_argument(
        "--float32", action="store_true", help="keep weights at full precision (float16: half the size)"
    )
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
        What to return of their records.

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
        records.append({name: record[name] for name in (*names, "step", "seconds")})
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
    names = "task", "command", "data", "settings"
    card = {name: record[name] for name in names}
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
    found = write_network(task.exportable(network), options.output, card, not options.float32)
    shown = ", ".join(f"{name} {difference:.1e}" for name, difference in found.items())
    size = options.output.stat().st_size / 1e6
    Console(emoji=False, markup=False).print(f"{options.output} ({size:.1f} MB) and its card; {shown}")
    return 0
