"""Chains and rack files to graphs, and back."""

import math
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtaudio.chain import dump_rack, load_chain, parse_chain, parse_rack
from rtaudio.errors import FileError, UserError, nearest
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


# Chains


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_empty_chain_passes_the_input(text):
    graph = load_chain(text, find)
    assert edges(graph) == ["in.main -> out.main"]
    assert not graph.nodes


def test_chain():
    graph = parse_chain("hp: tune(kind=soft, frequency=80) | split.low+high | trim(gain=-6.5) | pair", find)
    assert edges(graph) == [
        "in.main -> hp.in",
        "hp.out -> split.in",
        "split.low -> trim.in",
        "split.high -> trim.in",
        "trim.out -> pair.in",
        "pair.out -> out.main",
    ]
    assert graph.nodes["hp"] == Node("hp", Tune, {"kind": "soft", "frequency": 80})
    assert graph.nodes["trim"].values == {"gain": -6.5}


def test_space_is_free_and_parentheses_may_be_empty():
    dense = parse_chain("a:trim(gain=1,mute=true)|split().low+high", find)
    loose = parse_chain(" a : trim ( gain = 1 ,\n mute = true ) \t| split ( ) . low + high ", find)
    assert same(dense, loose)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("6", 6),
        ("+6.", 6.0),
        ("-.5", -0.5),
        ("1e1", 10.0),
        ("-1.5E-3", -0.0015),
        ("-inf", -math.inf),
    ],
)
def test_numbers(written, value):
    assert parse_chain(f"trim(gain={written})", find).nodes["trim"].values == {"gain": value}


@pytest.mark.parametrize(("written", "value"), [("on", "on"), ("2", 2), ("'soft'", "soft"), ('"off"', "off")])
def test_choices(written, value):
    assert parse_chain(f"tune(kind={written})", find).nodes["tune"].values == {"kind": value}


@pytest.mark.parametrize("word", ODD)
@pytest.mark.parametrize("quote", "'\"")
def test_quotes(word, quote):
    escaped = word.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    assert parse_chain(f"odd(word={quote}{escaped}{quote})", find).nodes["odd"].values == {"word": word}


def test_a_word_that_begins_like_a_number():
    with pytest.raises(UserError, match="kind='infinite' is not one of"):
        parse_chain("tune(kind=infinite)", find)


def test_repeated_engines_get_numbers():
    assert list(parse_chain("trim|trim|trim", find).nodes) == ["trim", "trim2", "trim3"]
    assert list(parse_chain("trim|trim2:trim|trim", find).nodes) == ["trim", "trim2", "trim3"]
    assert list(parse_chain("trim|trim:duck", find).nodes) == ["trim2", "trim"]


def test_switches():
    graph = parse_chain(
        "tune(bypass=true, solo=true, mute=false) | trim(mute=true) | b: trim(host_mute=true)", find
    )
    assert graph.nodes["tune"] == Node("tune", Tune, {}, bypass=True, solo=True)
    assert graph.nodes["trim"] == Node("trim", Trim, {"mute": True})
    assert graph.nodes["b"] == Node("b", Trim, {}, mute=True)


def test_a_lane_is_kept_and_written_again():
    graph = parse_chain("tune(lane=1) | trim(lane=0) | a: trim(lane=2) | b: trim", find)
    assert [node.lane for node in graph.nodes.values()] == [1, 0, 2, None]
    again = parse_rack(dump_rack(graph), find)
    assert [node.lane for node in again.nodes.values()] == [1, 0, 2, None]
    for wrong in ("3", "-1", "0.5", "true", "worker"):
        with pytest.raises(UserError, match="is none of 0"):
            parse_chain(f"trim(lane={wrong})", find)


def test_a_source_may_stand_first():
    assert edges(parse_chain("noise|trim", find)) == ["noise.out -> trim.in", "trim.out -> out.main"]
    assert edges(parse_chain("noise", find)) == ["noise.out -> out.main"]


def test_the_pipe_feeds_the_first_input():
    assert edges(parse_chain("duck", find)) == ["in.main -> duck.in", "duck.out -> out.main"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|", "chain, column 1: expected an engine, found '|'"),
        ("trim |", "chain, column 7: expected an engine, found the end"),
        ("trim duck", "chain, column 6: expected ':', '(', '.', '|' or the end, found 'duck'"),
        ("a: trim trim", "chain, column 9: expected '(', '.', '|' or the end, found 'trim'"),
        ("trim(", "chain, column 6: expected ')' or a parameter, found the end"),
        ("trim(gain", "chain, column 10: expected '=', found the end"),
        ("trim(gain=)", "chain, column 11: expected a value, found ')'"),
        ("trim(gain=6 dB)", "chain, column 13: expected ')' or ',', found 'dB'"),
        ("trim(gain=6,)", "chain, column 13: expected a parameter, found ')'"),
        ("tune(kind='a)", "chain, column 11: this quote is not closed"),
        ("trim(gain=1, gain=2)", "chain, column 14: gain is given twice"),
        ("split.low(x=1)", "chain, column 10: expected '+', '|' or the end, found '('"),
        (
            "trim | trum",
            "chain, column 8: no engine 'trum', did you mean 'trim'? (" + ", ".join(ENGINES) + ")",
        ),
        ("a: trum", "chain, column 4: no engine 'trum', did you mean 'trim'? (" + ", ".join(ENGINES) + ")"),
        ("split.hihg", "chain, column 7: split has no output 'hihg', did you mean 'high'? (low, high)"),
        ("meter.x", "chain, column 7: meter has no output 'x' (none)"),
        ("a: trim | a: duck", "chain, column 11: node 'a' is defined twice: give one another name"),
        ("in: trim", "node name 'in' is not usable: letters, digits, - and _, not 'in' or 'out'"),
        ("trim | noise", "chain, column 8: noise is a source: it can only stand first, nothing feeds it"),
        (
            "trim | blend",
            "chain, column 8: blend has 2 inputs, the pipe feeds 'a' only, not b: use a rack file",
        ),
        (
            "meter | trim",
            "chain, column 1: meter has no output, so nothing is heard after it: use a rack file",
        ),
        (
            "split | trim",
            "chain, column 1: split has 2 outputs (low, high): "
            "pick one (split.low) or sum some (split.low+high)",
        ),
        (
            "split",
            "chain, column 1: split has 2 outputs (low, high): "
            "pick one (split.low) or sum some (split.low+high), or keep them apart with a rack file "
            "or 'rtaudio separate'",
        ),
        ("split.low+low", "edge 'split.low -> out.main' is given twice: leave one out"),
        (
            "tune(byapss=true)",
            "tune: no parameter 'byapss', did you mean 'bypass'? "
            "(frequency, kind, order, bypass, mute, solo, lane)",
        ),
        ("tune(bypass=1)", "tune: bypass=1 is neither true nor false"),
        ("tune(self=1)", "tune: no parameter 'self' (frequency, kind, order, bypass, mute, solo, lane)"),
        ("a: trim(gain=30)", "a: trim: gain=30 is out of range (-inf, or -100 to 24 dB)"),
    ],
)
def test_wrong_chains(text, message):
    with pytest.raises(UserError) as error:
        parse_chain(text, find)
    assert str(error.value) == message


VALUES = ["6", "2.5", "true", "on", "-inf", "nan", "1e999", "9" * 5000]
PIECES = st.sampled_from(
    [*"|:().+=,'\"\\ \n", *VALUES, "trim", "tune", "split", "blend", "noise", "meter", "gain", "low", "self"]
)


@pytest.mark.parametrize("read", [parse_chain, load_chain, parse_rack])
@given(text=st.text() | st.lists(PIECES | st.text(max_size=2)).map("".join))
def test_any_text_is_a_graph_or_one_line(read, text):
    assert is_graph_or_one_line(read, text)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "parameter", ["trim gain", "trim mute", "tune kind", "tune order", "tune solo", "trim self"]
)
def test_any_setting_is_a_graph_or_one_line(parameter, value):
    engine, key = parameter.split()
    assert is_graph_or_one_line(parse_chain, f"{engine}({key}={value})")


def is_graph_or_one_line(read, text):
    try:
        return isinstance(read(text, find), Graph)
    except UserError as error:
        return len(str(error).splitlines()) == 1


# Rack files

RACK = """
version = 1
name = "Drums apart"
description = "two outputs"
edges = ["in -> sep", "sep.low -> out", "sep.high -> quiet", "quiet -> out.drums"]

[nodes.sep]
engine = "split"

[nodes.quiet]
engine = "trim"
gain = -inf
mute = true
host_mute = true
bypass = false
"""


def test_rack():
    graph = parse_rack(RACK, find)
    assert edges(graph) == [
        "in.main -> sep.in",
        "sep.low -> out.main",
        "sep.high -> quiet.in",
        "quiet.out -> out.drums",
    ]
    assert graph.nodes["quiet"] == Node("quiet", Trim, {"gain": -math.inf, "mute": True}, mute=True)


def test_edges_may_be_left_out_for_one_node():
    assert edges(parse_rack('version = 1\nnodes.a.engine = "trim"', find)) == [
        "in.main -> a.in",
        "a.out -> out.main",
    ]
    assert edges(parse_rack('version = 1\nnodes.a.engine = "noise"', find)) == ["a.out -> out.main"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version 1", "not TOML: Expected '=' after a key in a key/value pair (at line 1, column 9)"),
        ("", "no version: add version = 1"),
        ("version = 2", "version 2 is not known (known: 1)"),
        ("version = true", "version True is not known (known: 1)"),
        ("version = '1'", "version '1' is not known (known: 1)"),
        ("edge = []", "unknown key 'edge', did you mean 'edges'? (version, name, description, nodes, edges)"),
        ("name = 3", "'name' must be a string"),
        ("nodes = 3", "'nodes' must be a table of tables"),
        ("nodes.a = 3", "node 'a' must be a table"),
        ("nodes.a.gain = 3", "node 'a' has no engine: add engine = '...'"),
        ("nodes.a.engine = 3", "node 'a': 'engine' must be a string"),
        (
            "nodes.a.engine = 'trum'",
            "node 'a': no engine 'trum', did you mean 'trim'? (" + ", ".join(ENGINES) + ")",
        ),
        (
            "nodes.a = {engine = 'trim', gain = [1]}",
            "node 'a': 'gain' must be a number, a string, true or false",
        ),
        (
            "nodes.a = {engine = 'trim', gain = 1979-05-27}",
            "node 'a': 'gain' must be a number, a string, true or false",
        ),
        (
            "nodes.a = {engine = 'trim', gain = 0x" + "f" * 5000 + "}",
            "node 'a': 'gain' must be a number, a string, true or false",
        ),
        (
            "nodes.a = {engine = 'trim', gain = 'x'}",
            "a: trim: gain='x' is not a number (-inf, or -100 to 24 dB)",
        ),
        (
            "nodes.a = {engine = 'trim', gian = 1}",
            "a: no parameter 'gian', did you mean 'gain'? (gain, mute, bypass, host_mute, solo, lane)",
        ),
        ("nodes.a = {engine = 'trim', solo = 1}", "a: solo=1 is neither true nor false"),
        (
            "nodes.'a b'.engine = 'trim'",
            "node name 'a b' is not usable: letters, digits, - and _, not 'in' or 'out'",
        ),
        ('nodes."a\\nb" = {engine = "trim", gain = 99}', "node name 'a\\nb' is not usable"),
        (
            "nodes = {a = {engine = 'trim'}, b = {engine = 'trim'}}",
            "no edges: add edges = ['in -> a', 'a -> out']",
        ),
        ("edges = 'in -> out'", "'edges' must be an array of strings such as 'in -> a'"),
        ("edges = [3]", "'edges' must be an array of strings such as 'in -> a'"),
        ("edges = ['in -> b']", "edge 'in -> b': no node 'b' (out)"),
        ("nodes.a.engine = 'split'", "edge 'a -> out': a has 2 outputs: say which (low, high)"),
    ],
)
def test_wrong_racks(text, message, tmp_path):
    if "version" not in text and text:
        text = f"version = 1\n{text}"
    with pytest.raises(UserError) as error:
        parse_rack(text, find)
    assert str(error.value) == message
    path = tmp_path / "rack.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_chain(str(path), find)
    assert str(error.value) == f"{path}: {message}"


def test_deep_nesting_is_one_line():
    with pytest.raises(UserError, match=r"^not TOML: "):
        parse_rack("version = " + "[" * 100_000, find)


# Files


def test_which_texts_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rack = 'version = 1\nnodes.a.engine = "trim"\n'
    (tmp_path / "a rack.toml").write_text(rack, encoding="utf-8")
    (tmp_path / "other.rack").write_bytes(b"\xef\xbb\xbf" + rack.replace("\n", "\r\n").encode())
    (tmp_path / "duck").write_text(rack, encoding="utf-8")
    assert list(load_chain("a rack.toml", find).nodes) == ["a"]
    assert list(load_chain("other.rack", find).nodes) == ["a"]
    assert list(load_chain("duck", find).nodes) == ["duck"]
    assert list(load_chain("./duck", find).nodes) == ["a"]
    assert list(load_chain("trim | duck", find).nodes) == ["trim", "duck"]


def test_files_that_cannot_be_read(tmp_path):
    missing = tmp_path / "missing.toml"
    with pytest.raises(
        FileError, match=r"missing.toml: cannot read this rack file: No such file or directory$"
    ):
        load_chain(str(missing), find)
    with pytest.raises(FileError, match=r"^'a\\nb.toml': cannot read this rack file"):
        load_chain("a\nb.toml", find)
    with pytest.raises(FileError, match="not a rack file"):
        load_chain("\0.toml", find)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match=r"binary.toml: not a rack file: it is not UTF-8 text$"):
        load_chain(str(binary), find)


# Writing racks

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


@given(graphs())
def test_a_written_rack_is_read_back(graph):
    assert same(parse_rack(dump_rack(graph), find), graph)


def test_a_written_rack_is_easy_to_read():
    graph = parse_chain("trim(gain=-6, solo=true, host_mute=true) | split.low+high | duck", find)
    assert dump_rack(graph) == (
        "version = 1\n"
        "edges = [\n"
        '    "in -> trim",\n'
        '    "trim -> split",\n'
        '    "split.low -> duck.in",\n'
        '    "split.high -> duck.in",\n'
        '    "duck -> out",\n'
        "]\n"
        "\n"
        "[nodes.trim]\n"
        'engine = "trim"\n'
        "gain = -6\n"
        "host_mute = true\n"
        "solo = true\n"
        "\n"
        "[nodes.split]\n"
        'engine = "split"\n'
        "\n"
        "[nodes.duck]\n"
        'engine = "duck"\n'
    )
