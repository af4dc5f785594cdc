"""Small engines, and graphs of them, for the tests of what reads and writes graphs."""

import math
from typing import ClassVar

from hypothesis import strategies as st

from rtaudio.errors import UserError, nearest
from rtaudio.graph import Composite, Graph, Mapped, Node, parameters_of
from rtaudio.processor import Parameter, Port, Processor

ODD = ("true", "-inf", "2.5", "a b", 'it\'s "so" \\', "line\nbreak", "\x00\x7f\x85\u2028é😀")


class Trim(Processor):
    id = "trim"
    parameters = (
        Parameter("gain", 0.0, -100.0, 24.0, "dB", "dB", silence=True),
        Parameter("mute", default=False),
    )


class Tune(Processor):
    id = "tune"
    parameters = (
        Parameter("frequency", 440.0, 1e-6, 2e4, "Hz", "log"),
        Parameter("kind", "soft", scale="choice", choices=("soft", "on", "off", "2")),
        Parameter("order", 2, 1, 8, scale="integer"),
    )
    presets: ClassVar = {"bright": {"frequency": 2000.0, "kind": "on"}, "dull": {"frequency": 100.0}}


class Odd(Processor):
    id = "odd"
    parameters = (Parameter("word", "a b", scale="choice", choices=ODD),)


class Split(Processor):
    id = "split"
    outputs = (Port("low"), Port("high"))


class Blend(Processor):
    id = "blend"
    inputs = (Port("a"), Port("b"))


class Duck(Processor):
    id = "duck"
    inputs = (Port("in"), Port("side", optional=True))


class Noise(Processor):
    id = "noise"
    inputs = ()


class Meter(Processor):
    id = "meter"
    outputs = ()


class Pair(Composite):
    id = "pair"
    nodes: ClassVar = {"a": Trim, "b": Tune}
    edges = ("in -> a", "a -> b", "b -> out")
    mapped = (Mapped("level", "a", "gain"), Mapped("kind", "b", "kind", "2"))


ENGINES = {engine.id: engine for engine in (Trim, Tune, Odd, Split, Blend, Duck, Noise, Meter, Pair)}


def find(name):
    if name not in ENGINES:
        raise UserError(f"no engine {name!r}{nearest(name, ENGINES)} ({', '.join(ENGINES)})")
    return ENGINES[name]


def edges(graph):
    return [f"{edge.source} -> {edge.target}" for edge in graph.edges]


def same(one, other):
    return list(one.nodes.values()) == list(other.nodes.values()) and one.edges == other.edges


NAMES = st.text(st.characters(categories=["L", "N"]) | st.sampled_from("-_"), min_size=1, max_size=5).filter(
    lambda name: name.replace("_", "").replace("-", "").isalnum() and name not in ("in", "out", "main")
)


def values(parameter):
    if parameter.scale == "choice":
        return st.sampled_from(parameter.choices)
    numbers = st.integers(math.ceil(parameter.minimum), math.floor(parameter.maximum))
    if parameter.scale != "integer":
        numbers |= st.floats(parameter.minimum, parameter.maximum)
    if parameter.silence:
        numbers |= st.just(-math.inf)
    return numbers | st.booleans() if parameter.id == "mute" else numbers


@st.composite
def graphs(draw):
    nodes, sources, found = [], ["in"], []
    for name in draw(st.lists(NAMES, max_size=5, unique=True)):
        engine = draw(st.sampled_from(list(ENGINES.values())))
        settings = st.fixed_dictionaries({}, optional={p.id: values(p) for p in parameters_of(engine)})
        nodes.append(Node(name, engine, draw(settings), *draw(st.tuples(*[st.booleans()] * 3))))
        for port in engine.inputs:
            feed = draw(
                st.lists(
                    st.sampled_from(sources), min_size=0 if port.optional else 1, max_size=3, unique=True
                )
            )
            found += [f"{source} -> {name}.{port.name}" for source in feed]
        sources += [f"{name}.{port.name}" for port in engine.outputs]
    heard = st.tuples(st.sampled_from(sources), st.just("out") | NAMES.map(lambda name: f"out.{name}"))
    found += [
        f"{source} -> {end}" for source, end in draw(st.lists(heard, min_size=1, max_size=4, unique=True))
    ]
    return Graph(draw(st.permutations(nodes)), draw(st.permutations(found)))
