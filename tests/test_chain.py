"""Chains to graphs, and which texts are racks."""

import math

import pytest
from chain_engines import ENGINES, ODD, Trim, Tune, edges, find, same
from hypothesis import given
from hypothesis import strategies as st

from rtaudio.chain import load_chain, parse_chain
from rtaudio.errors import UserError
from rtaudio.graph import Graph, Node
from rtaudio.processor import Parameter

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


def test_a_lane_is_kept():
    graph = parse_chain("tune(lane=1) | trim(lane=0) | a: trim(lane=2) | b: trim", find)
    assert [node.lane for node in graph.nodes.values()] == [1, 0, 2, None]
    for wrong in ("3", "-1", "0.5", "true", "worker"):
        with pytest.raises(UserError, match="is none of 0"):
            parse_chain(f"trim(lane={wrong})", find)


def test_a_preset_and_what_adds_to_it():
    graph = parse_chain("a: tune(kind=off, use=bright) | tune(use=dull)", find)
    assert graph.nodes["a"] == Node("a", Tune, {"frequency": 2000.0, "kind": "off"})
    assert graph.nodes["tune"] == Node("tune", Tune, {"frequency": 100.0})
    with pytest.raises(UserError) as error:
        parse_chain("trim | tune(use=brigt)", find)
    assert str(error.value) == (
        "chain, column 8: tune: no preset 'brigt', did you mean 'bright'? (bright, dull)"
    )
    with pytest.raises(UserError, match=r"^chain, column 1: trim: no preset 'x' \(it has none\)$"):
        parse_chain("trim(use=x)", find)


def test_where_an_engine_has_a_parameter_called_use():
    class User(Tune):
        id = "user"
        parameters = (*Tune.parameters, Parameter("use", 0.5))

    graph = parse_chain("user(use=1, host_use=dull)", {"user": User}.__getitem__)
    assert graph.nodes["user"].values == {"frequency": 100.0, "use": 1}


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


@pytest.mark.parametrize("read", [parse_chain, load_chain])
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
