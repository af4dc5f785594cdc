"""A voice's one network, cut before the layers of its decoder that raise the rate, and before its flow.

An ONNX file is a message of Protocol Buffers, whose encoding does not change. It is read here as far as a cut
needs: which tensors a node takes and gives, and what the weights are called. All else goes into the halves
byte by byte as it is written, so that no node and no weight can become another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

GRAPH, TRAINING = 7, 20
"""Fields of a model."""
NODE, TITLE, WEIGHTS, SPARSE, INPUT, OUTPUT = 1, 2, 5, 15, 11, 12
"""Fields of a graph."""
TAKES, GIVES, KIND, ATTRIBUTE = 1, 2, 4, 5
"""Fields of a node."""
INNER = 6, 11
"""Fields of an attribute: a graph inside, and several."""
WEIGHTS_NAME, PUT_NAME, PUT_TYPE = 8, 1, 2
"""Fields of weights, and of an input or output."""
NUMBER, LONG, BYTES, SHORT = 0, 1, 2, 5
"""How a field is written."""
TYPES = {"tensor(float)": 1, "tensor(int32)": 6, "tensor(int64)": 7, "tensor(bool)": 9}
"""What a flow may be given: how ONNX Runtime and a file name it."""
RAISES, HEARS = b"ConvTranspose", b"Conv"
ROUNDS = b"QuantizeLinear", b"DequantizeLinear"
DRAWS = (
    b"RandomNormalLike", b"RandomNormal", b"RandomUniformLike", b"RandomUniform",
    b"Bernoulli", b"Multinomial",
)  # fmt: skip
SUMS = b"Mul", b"Add", b"Sub", b"Div", b"Cast"
"""What is done with what was drawn, until it is what a flow takes."""

Parts = list[bytes | memoryview]


class Uncut(Exception):  # noqa: N818 - a finding
    """Why a network cannot be cut."""


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A number of any length, and where it ends."""
    value = shift = 0
    while at < len(message) and shift < 70:
        value |= (message[at] & 127) << shift
        if message[at] < 128:
            return value, at + 1
        at, shift = at + 1, shift + 7
    raise Uncut("its file is damaged")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Fields of a message, in order: which it is; its content, if that is bytes; and all of it as written."""
    at = 0
    while at < len(message):
        begin = at
        key, at = _number(message, at)
        content, kind = message[:0], key & 7
        if kind == NUMBER:
            _, at = _number(message, at)
        elif kind == BYTES:
            size, at = _number(message, at)
            content = message[at : at + size]
            at += size
        elif kind in (LONG, SHORT):
            at += 8 if kind == LONG else 4
        else:
            raise Uncut("its file is damaged")
        if at > len(message):
            raise Uncut("its file is damaged")
        yield key >> 3, content, message[begin:at]


def _name(message: memoryview, wanted: int) -> bytes:
    return next((bytes(content) for field, content, _ in _fields(message) if field == wanted), b"")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _field(number: int, parts: Iterable[bytes | memoryview]) -> Parts:
    """A field of bytes, which are not joined yet."""
    parts = list(parts)
    return [_varint(number << 3 | BYTES), _varint(sum(map(len, parts))), *parts]


def _put(name: bytes, channels: int = 0) -> Parts:
    """What an input or output is: float32 [1, channels, T]; 0 channels: not known."""
    known = [b"\x08", _varint(channels)] if channels else _field(2, [b"C"])
    shape = [*_field(1, [b"\x08\x01"]), *_field(1, known), *_field(1, _field(2, [b"T"]))]
    kind = _field(1, [b"\x08\x01", *_field(2, shape)])
    return [*_field(PUT_NAME, [name]), *_field(PUT_TYPE, kind)]


def _put_any(name: bytes, kind: str = "") -> Parts:
    """What an input or output is, of any shape: ONNX Runtime's name of a type, or not known."""
    if not kind:
        return _field(PUT_NAME, [name])
    if kind not in TYPES:
        raise Uncut(f"a flow is given {kind}")
    return [*_field(PUT_NAME, [name]), *_field(PUT_TYPE, _field(1, [b"\x08", _varint(TYPES[kind])]))]


@dataclass(frozen=True)
class _Node:
    kind: bytes
    takes: tuple[bytes, ...]
    """Names of tensors; those that graphs inside it take, too."""
    gives: tuple[bytes, ...]
    draws: bool
    """Whether it, or a node of a graph inside it, draws at random."""
    written: memoryview


def _node(message: memoryview, written: memoryview) -> _Node:
    kind, takes, gives, draws = b"", [], [], False
    for field, content, _ in _fields(message):
        if field == TAKES:
            takes.append(bytes(content))
        elif field == GIVES:
            gives.append(bytes(content))
        elif field == KIND:
            kind = bytes(content)
        elif field == ATTRIBUTE:
            inner = [graph for number, graph, _ in _fields(content) if number in INNER]
            for part, found, whole in (each for graph in inner for each in _fields(graph)):
                if part == NODE:
                    node = _node(found, whole)
                    takes += node.takes  # its own graph's tensors, and those around it
                    draws = draws or node.draws
                elif part == OUTPUT:
                    takes.append(_name(found, PUT_NAME))
    return _Node(
        kind, tuple(filter(None, takes)), tuple(filter(None, gives)), draws or kind in DRAWS, written
    )


class _Network:
    """What an ONNX file holds that ONNX Runtime has opened; `Uncut` where it cannot be read."""

    def __init__(self, content: bytes) -> None:
        model = list(_fields(memoryview(content)))
        graphs = [found for field, found, _ in model if field == GRAPH]
        if len(graphs) != 1:
            raise Uncut("its file is damaged")
        self._around = [written for field, _, written in model if field not in (GRAPH, TRAINING)]
        self._nodes: list[_Node] = []
        self._inputs: dict[bytes, memoryview] = {}
        self._outputs: dict[bytes, memoryview] = {}
        self._weights: dict[bytes, memoryview] = {}
        self._rest: Parts = []
        for field, found, written in _fields(graphs[0]):
            if field == NODE:
                self._nodes.append(_node(found, written))
            elif field == INPUT:
                self._inputs[_name(found, PUT_NAME)] = written
            elif field == OUTPUT:
                self._outputs[_name(found, PUT_NAME)] = written
            elif field == WEIGHTS:
                self._weights[_name(found, WEIGHTS_NAME)] = written
            elif field == SPARSE:
                raise Uncut("it has sparse weights")
            elif field == TITLE:
                self._rest.append(written)
        self._makers = {name: index for index, node in enumerate(self._nodes) for name in node.gives}
        self._given = [name for name in self._inputs if name not in self._weights]
        self._main = next(iter(self._outputs), b"")

    def _behind(self, wanted: Iterable[bytes], given: Collection[bytes] = ()) -> tuple[set[int], set[bytes]]:
        """Nodes that tensors depend on, and all tensors on the way, where some of them are given."""
        nodes: set[int] = set()
        tensors: set[bytes] = set()
        left = list(wanted)
        while left:
            name = left.pop()
            if name in tensors or name in given:
                continue
            tensors.add(name)
            index = self._makers.get(name)
            if index is not None and index not in nodes:
                nodes.add(index)
                left += self._nodes[index].takes
        return nodes, tensors

    def _before(self, names: Iterable[bytes], drawn: bool = False) -> set[bytes]:
        """Tensors that depend on some, with them; ``drawn``: and on what is drawn at random."""
        found = set(names)
        for node in self._nodes:  # Files have them in the order in which they can be run.
            if (drawn and node.draws) or not found.isdisjoint(node.takes):
                found.update(node.gives)
        return found

    def _written(self, wanted: Iterable[bytes], given: Collection[bytes], puts: Parts) -> bytes:
        nodes, tensors = self._behind(wanted, given)
        written = [node.written for index, node in enumerate(self._nodes) if index in nodes]
        kept = [name for name in self._weights if name in tensors]
        weights = [self._weights[name] for name in kept]
        # Old files name their weights among the inputs.
        inputs = [self._inputs[name] for name in kept if name in self._inputs]
        graph = [*self._rest, *written, *weights, *inputs, *puts]
        return b"".join([*self._around, *_field(GRAPH, graph)])


class Halves(_Network):
    """A network in two halves.

    The first has the network's inputs and gives the frames that the first layer takes that raises their rate
    and that all paths to the sound lead through, float32 [1, C, T], before they are rounded if they are;
    then the network's outputs but the sound, where they do not need that layer. The second makes sound of
    frames, and of nothing else. A single layer that raises the rate, without a convolution after it, is the
    inverse transform of a vocoder such as Vocos: the work is done before it, and the cut is at the first
    convolution that all paths lead through.

    Parameters
    ----------
    content
        Of an ONNX file that ONNX Runtime has opened.

    Raises
    ------
    Uncut
        It has no such layer.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        raising = self._passed(RAISES)
        if not raising:
            raise Uncut("no layer raises the rate of frames that all paths to the sound take")
        hearing = self._passed(HEARS) if len(raising) == 1 else []
        inverse = all(index < raising[0][1] for _, index in hearing)
        self._frames, taker = (hearing if hearing and inverse else raising)[0]
        self._more = [
            name
            for name in self._outputs
            if name not in (self._main, self._frames) and taker not in self._behind([name])[0]
        ]

    def _passed(self, kind: bytes) -> list[tuple[bytes, int]]:
        """What layers of a kind take that all paths to the sound lead through, and their nodes."""
        found = []
        for index, node in enumerate(self._nodes):
            if node.kind == kind and node.takes:
                frames = self._unrounded(node.takes[0])
                behind, needed = self._behind([self._main], [frames])
                if index in behind and needed.isdisjoint(self._given):
                    found.append((frames, index))
        return found

    def _unrounded(self, name: bytes) -> bytes:
        """The tensor that one is of integers of, or itself."""
        for _ in ROUNDS:
            index = self._makers.get(name)
            if index is not None and self._nodes[index].kind in ROUNDS and self._nodes[index].takes:
                name = self._nodes[index].takes[0]
        return name

    @property
    def first(self) -> bytes:
        """The first half, an ONNX file."""
        inputs = [self._inputs[name] for name in self._given]
        outputs = [*_field(OUTPUT, _put(self._frames)), *(self._outputs[name] for name in self._more)]
        return self._written([self._frames, *self._more], (), [*inputs, *outputs])

    def second(self, channels: int) -> bytes:
        """The second half, an ONNX file, for frames of so many channels."""
        puts = [*_field(INPUT, _put(self._frames, channels)), self._outputs[self._main]]
        return self._written([self._main], [self._frames], puts)


class Flow(_Network):
    """A network that gives frames, such as a first half, cut where the last noise has been added.

    What is before the cut has the network's inputs; it gives what was drawn, float32 [1, C, T], then the
    network's outputs but the frames, then what else the flow takes: masks [1, 1, T], and what is the same at
    all times, such as a speaker. What is after it makes frames of that: the flow of a VITS, which takes more
    time than all that is before it, and hears some frames around each.

    Parameters
    ----------
    content
        Of an ONNX file that ONNX Runtime has opened.

    Raises
    ------
    Uncut
        Nothing is drawn, nothing follows, or another output depends on it.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        behind, _ = self._behind([self._main])
        draws = [i for i in sorted(behind) if self._nodes[i].draws and self._nodes[i].gives]
        if not draws:
            raise Uncut("no noise is drawn for its frames")
        self._drawn = self._added(self._nodes[draws[-1]].gives[0], behind)
        self._more = [name for name in self._outputs if name != self._main]
        if self._drawn == self._main:
            raise Uncut("its frames are what is drawn")
        after = self._before([self._drawn])
        if not after.isdisjoint(self._more):
            raise Uncut("more than its frames is made of noise")
        takes = (
            name
            for i in sorted(behind)
            if not after.isdisjoint(self._nodes[i].gives) and self._drawn not in self._nodes[i].gives
            for name in self._nodes[i].takes
        )
        moving = self._before(self._given, drawn=True) - after
        self._beside = [name for name in dict.fromkeys(takes) if name in moving]

    def _added(self, name: bytes, behind: set[int]) -> bytes:
        """What becomes of a tensor by sums and products, until more than one node takes it."""
        while True:
            takers = [i for i in behind if name in self._nodes[i].takes]
            if len(takers) != 1 or self._nodes[takers[0]].kind not in SUMS or name == self._main:
                return name
            name = self._nodes[takers[0]].gives[0]

    @property
    def before(self) -> bytes:
        """What is before the cut, an ONNX file."""
        inputs = [self._inputs[name] for name in self._given]
        wanted = [self._drawn, *self._more, *self._beside]
        outputs = [*_field(OUTPUT, _put(self._drawn)), *(self._outputs[name] for name in self._more)]
        for name in self._beside:
            outputs += _field(OUTPUT, _put_any(name))
        return self._written(wanted, (), [*inputs, *outputs])

    def after(self, kinds: Sequence[str]) -> bytes:
        """What is after the cut, an ONNX file; ``kinds``: types of what it takes besides what was drawn."""
        inputs = _field(INPUT, _put(self._drawn))
        for name, kind in zip(self._beside, kinds[len(kinds) - len(self._beside) :], strict=True):
            inputs += _field(INPUT, _put_any(name, kind))
        given = {self._drawn, *self._beside}
        return self._written([self._main], given, [*inputs, self._outputs[self._main]])
