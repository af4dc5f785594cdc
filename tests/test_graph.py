"""What a graph refuses, and in which words; running order; solo and mute."""

import itertools
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtaudio.errors import UserError
from rtaudio.graph import Composite, Graph, Mapped, Node, parameters_of
from rtaudio.processor import Parameter, Port, Processor


class Amp(Processor):
    id = "amp"
    parameters = (
        Parameter("level", 1.0, 0.0, 4.0),
        Parameter("mode", "soft", scale="choice", choices=("soft", "hard"), automatable=False),
    )


class Split(Processor):
    id = "split"
    outputs = (Port("low"), Port("high"))


class Cross(Processor):
    id = "cross"
    inputs = (Port("left"), Port("right"))


class Duck(Processor):
    id = "duck"
    inputs = (Port("in"), Port("key", optional=True))


class Tone(Processor):
    id = "tone"
    inputs = ()


class Sink(Processor):
    id = "sink"
    outputs = ()


class Pair(Composite):
    id = "pair"
    nodes: ClassVar = {"first": Amp, "second": Amp}
    edges = ("in -> first", "first -> second", "second -> out")
    mapped = (Mapped("level", "first", "level"), Mapped("trim", "second", "level", default=0.5))


class Nest(Composite):
    id = "nest"
    nodes: ClassVar = {"pair": Pair, "amp": Amp}
    edges = ("in -> pair", "pair -> amp", "amp -> out")
    mapped = (Mapped("trim", "pair", "trim", default=0.25), Mapped("mode", "amp", "mode"))


class Rack(Composite):
    """As many nodes as its own parameter says, then one that is declared."""

    id = "rack"
    parameters = (Parameter("count", 1, 0, 5, scale="integer", automatable=False),)
    nodes: ClassVar = {"last": Amp}
    mapped = (Mapped("level", "last", "level"),)

    def build(self, nodes):
        more = [Node(f"amp{number}", Amp) for number in range(int(self.values["count"]))]
        if len(more) == 5:
            raise UserError("no room")
        names = ["in", *(node.name for node in [*more, *nodes]), "out"]
        return Graph([*more, *nodes], [f"{a} -> {b}" for a, b in itertools.pairwise(names)])


def amps(*names):
    return [Node(name, Amp) for name in names]


def refusal(nodes, edges):
    with pytest.raises(UserError) as caught:
        Graph(nodes, edges)
    return str(caught.value)


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("edge", ["a", "a -> b -> out", "-> a", "a ->", "a - > out", "", "->"])
def test_an_edge_of_another_form_is_refused(edge):
    assert refusal(amps("a", "b"), [edge]) == f"edge {edge!r} is not of the form 'a.port -> b.port'"


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ("gian -> out", "no node 'gian', did you mean 'gain'? (gain, split, in)"),
        ("in -> spilt", "no node 'spilt', did you mean 'split'? (gain, split, out)"),
        ("xyz -> out", "no node 'xyz' (gain, split, in)"),
        ("out -> gain", "nothing comes from 'out'"),
        ("gain -> in", "nothing leads to 'in'"),
        ("gain.otu -> out", "gain has no output 'otu', did you mean 'out'? (out)"),
        ("in -> gain.inn", "gain has no input 'inn', did you mean 'in'? (in)"),
        ("split.hihg -> out", "split has no output 'hihg', did you mean 'high'? (low, high)"),
        ("in -> gain.", "gain has no input '' (in)"),
        ("split -> out", "split has 2 outputs: say which (low, high)"),
        ("in.left -> gain", "the graph has one input, 'in'"),
        ("gain -> out.a b", "output name 'a b' is not usable: letters, digits, - and _"),
        ("gain -> out.", "output name '' is not usable: letters, digits, - and _"),
    ],
)
def test_an_edge_to_nowhere_is_refused_with_the_nearest_name(edge, message):
    assert refusal([Node("gain", Amp), Node("split", Split)], [edge]) == f"edge {edge!r}: {message}"


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ("in -> tone", "tone has no input"),
        ("in -> tone.in", "tone has no input 'in' (none)"),
        ("sink -> out", "sink has no output"),
        ("in -> cross", "cross has 2 inputs: say which (left, right)"),
    ],
)
def test_a_side_without_a_port_or_with_several_is_named(edge, message):
    nodes = [Node("tone", Tone), Node("sink", Sink), Node("cross", Cross)]
    assert refusal(nodes, [edge]) == f"edge {edge!r}: {message}"


@pytest.mark.parametrize("name", ["in", "out", "", "a b", "a.b", "a/b", "-", "_", "ä?", "a->b", "a\n"])
def test_a_bad_node_name_is_refused(name):
    message = refusal([Node(name, Amp)], ["in -> out"])
    assert message == f"node name {name!r} is not usable: letters, digits, - and _, not 'in' or 'out'"


@pytest.mark.parametrize("name", ["a", "3", "vocal-2", "_x", "gain_2", "Ärger"])
def test_a_good_node_name_is_taken(name):
    assert Graph([Node(name, Amp)], [f"in -> {name}", f"{name} -> out"]).order() == [name]


def test_a_name_given_twice_is_refused():
    assert refusal(amps("a", "a"), []) == "node 'a' is defined twice: give one another name"


@pytest.mark.parametrize("again", ["in -> a", "in->a.in", "in.main -> a.in"])
def test_an_edge_given_twice_is_refused(again):
    message = refusal(amps("a"), ["in -> a", "a -> out", again])
    assert message == "edge 'in.main -> a.in' is given twice: leave one out"


def test_an_open_input_is_refused_unless_it_is_optional():
    message = "input cross.right is not connected: add an edge '... -> cross.right'"
    assert refusal([Node("cross", Cross)], ["in -> cross.left", "cross -> out"]) == message
    message = "input duck.in is not connected: add an edge '... -> duck.in'"
    assert refusal([Node("duck", Duck)], ["in -> duck.key", "duck -> out"]) == message
    Graph([Node("duck", Duck)], ["in -> duck", "duck -> out"])


@pytest.mark.parametrize(("nodes", "edges"), [([], []), (["a"], ["in -> a"])])
def test_nothing_that_reaches_out_is_refused(nodes, edges):
    assert refusal(amps(*nodes), edges) == "nothing is connected to 'out': add an edge '... -> out'"


def test_outputs_may_stay_open():
    graph = Graph([Node("split", Split), *amps("idle")], ["in -> split", "in -> idle", "split.low -> out"])
    assert graph.output_names() == ["main"]


def test_main_is_the_first_output():
    graph = Graph(amps("a"), ["in -> a", "a -> out.dry", "a -> out.all", "a -> out"])
    assert graph.output_names() == ["main", "all", "dry"]


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_a_cycle_is_refused_with_its_path(length):
    names = [f"n{i}" for i in range(length)]
    edges = [f"{a} -> {b}" for a, b in itertools.pairwise([*names, names[0]])]
    message = refusal(amps(*names, "last"), ["in -> n0", *edges, "n0 -> last", "last -> out"])
    assert message.startswith("the graph has a cycle: ")
    assert message.endswith(" (a 'delay' node has its own feedback)")
    path = message.removeprefix("the graph has a cycle: ").partition(" (")[0].split(" -> ")
    assert path[0] == path[-1]
    assert sorted(path[1:]) == names
    assert {f"{a} -> {b}" for a, b in itertools.pairwise(path)} == set(edges)


def test_a_value_that_does_not_fit_names_the_node():
    with pytest.raises(UserError, match=r"^amp: level=9 is out of range \(0 to 4\)$"):
        Node("amp", Amp, {"level": 9.0})
    with pytest.raises(UserError, match=r"^voice: amp: level=9 is out of range \(0 to 4\)$"):
        Node("voice", Amp, {"level": 9.0})


# ------------------------------------------------------------------------------------------- composites


def test_a_composite_has_the_mapped_parameters_under_its_names_and_defaults():
    assert [(p.id, p.default, p.automatable) for p in parameters_of(Nest)] == [
        ("trim", 0.25, True),
        ("mode", "soft", False),
    ]
    assert Pair().values == {"level": 1.0, "trim": 0.5}


def test_a_composite_passes_values_and_its_defaults_inside():
    inner = Nest(mode="hard").graph.nodes
    assert inner["amp"].values == {"mode": "hard"}
    assert inner["pair"].values == {"trim": 0.25}
    assert inner["pair"].make().graph.nodes["second"].values == {"level": 0.25}
    assert inner["pair"].make().graph.nodes["first"].values == {}


def test_a_composite_refuses_what_it_does_not_have():
    with pytest.raises(UserError, match="nest: no parameter 'trm', did you mean 'trim'"):
        Nest(trm=1.0)
    with pytest.raises(UserError, match=r"nest: trim=5 is out of range \(0 to 4\)"):
        Nest(trim=5.0)


def test_a_composite_is_built_from_its_values():
    assert [(p.id, p.default, p.automatable) for p in parameters_of(Rack)] == [
        ("count", 1, False),
        ("level", 1.0, True),
    ]
    made = Rack(count=2, level=0.5)
    assert made.graph.order() == ["amp0", "amp1", "last"]
    assert made.graph.nodes["last"].values == {"level": 0.5}
    assert Rack(count=0).graph.order() == ["last"]
    with pytest.raises(UserError, match=r"^rack: count=6 is out of range"):
        Rack(count=6)


@pytest.mark.parametrize("name", ["rack", "dj"])
def test_what_a_composite_cannot_build_is_said_with_its_name(name):
    with pytest.raises(UserError, match=rf"^{name}: no room$"):
        Node(name, Rack, {"count": 5})


# ------------------------------------------------------------------------------------------- random graphs


@st.composite
def graphs(draw):
    """A random graph of `Amp` nodes, in any order of definition: edges lead from lower to higher numbers."""
    count = draw(st.integers(1, 7))
    pairs = list(itertools.combinations(range(count), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    fed = {target for _, target in chosen}
    from_in = [n for n in range(count) if n not in fed or draw(st.booleans())]
    to_out = draw(st.lists(st.integers(0, count - 1), unique=True, min_size=1))
    edges = [f"n{a} -> n{b}" for a, b in chosen]
    edges += [f"in -> n{n}" for n in from_in] + [f"n{n} -> out" for n in to_out]
    nodes = [
        Node(f"n{n}", Amp, mute=draw(st.booleans()), solo=draw(st.sampled_from([False, False, True])))
        for n in draw(st.permutations(range(count)))
    ]
    return Graph(nodes, draw(st.permutations(edges))), {(f"n{a}", f"n{b}") for a, b in chosen}


def paths(names, arrows):
    """Every path of one or more nodes."""
    found, front = [], [(name,) for name in names]
    while front:
        found += front
        front = [(*path, b) for path in front for a, b in arrows if path[-1] == a]
    return found


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_every_node_comes_after_those_that_feed_it(drawn):
    graph, arrows = drawn
    order = graph.order()
    assert sorted(order) == sorted(graph.nodes)
    assert all(order.index(a) < order.index(b) for a, b in arrows)


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_a_node_is_heard_if_a_path_through_it_holds_a_soloed_one(drawn):
    graph, arrows = drawn
    soloed = {name for name, node in graph.nodes.items() if node.solo}
    through = set().union(*(path for path in paths(graph.nodes, arrows) if soloed & set(path)))
    heard = through if soloed else set(graph.nodes)
    assert graph.audible() == {name: name in heard and not graph.nodes[name].mute for name in graph.nodes}


# ------------------------------------------------------------------------------------------- edits


def links(graph):
    """Nodes, and edges in no order."""
    return set(graph.nodes), {f"{edge.source} -> {edge.target}" for edge in graph.edges}


def many():
    """Every kind of node, edge and output."""
    nodes = [
        Node("split", Split),
        *amps("a", "b"),
        Node("duck", Duck),
        Node("tone", Tone),
        Node("pair", Pair),
    ]
    edges = ["in -> split", "split.low -> a", "split.low -> b", "split.high -> duck.key", "a -> duck"]
    edges += ["tone -> duck", "duck -> pair", "pair -> out", "b -> out", "b -> out.aside", "in -> out.aside"]
    return Graph(nodes, edges)


@pytest.mark.parametrize("edge", [str(edge.source) + " -> " + str(edge.target) for edge in many().edges])
@pytest.mark.parametrize(("engine", "port"), [(Amp, "out"), (Duck, "out"), (Pair, "out"), (Split, "low")])
def test_a_node_goes_into_any_edge_and_comes_out_again(edge, engine, port):
    before = many()
    node = Node("new", engine)
    after = before.insert(node, edge)
    source, target = edge.split(" -> ")
    meant = links(before)[1] - {edge} | {f"{source} -> new.in", f"new.{port} -> {target}"}
    assert links(after) == (set(before.nodes) | {"new"}, meant)
    assert all(after.nodes[name] is node for name, node in before.nodes.items())
    assert after.nodes["new"] is node
    assert links(before) == links(many())
    if engine is not Split:  # its bypass plays 'out', which it does not have
        assert links(after.remove("new")) == links(before)


def test_an_edge_may_be_named_as_short_as_elsewhere():
    graph = Graph(amps("a"), ["in -> a", "a -> out"]).insert(Node("b", Amp), "a->out.main")
    assert links(graph)[1] == {"in.main -> a.in", "a.out -> b.in", "b.out -> out.main"}


def test_of_several_outputs_the_one_that_its_bypass_plays_goes_on():
    class Parts(Split):
        fallback = "high"

    graph = Graph([], ["in -> out"]).insert(Node("parts", Parts), "in -> out")
    assert links(graph)[1] == {"in.main -> parts.in", "parts.high -> out.main"}
    both = Graph(
        [Node("parts", Parts), *amps("a", "b")],
        ["in -> parts", "parts.high -> a", "parts.low -> b", "in -> b", "a -> out", "b -> out"],
    )
    assert links(both.remove("parts"))[1] == {
        "in.main -> a.in",
        "in.main -> b.in",
        "a.out -> out.main",
        "b.out -> out.main",
    }


@pytest.mark.parametrize(
    ("node", "edge", "message"),
    [
        (Node("b", Amp), "a -> b", "edge 'a -> b': no node 'b' (a, out)"),
        (
            Node("b", Amp),
            "in -> out",
            "no edge 'in.main -> out.main' ('in.main -> a.in', 'a.out -> out.main')",
        ),
        (Node("b", Amp), "a to out", "edge 'a to out' is not of the form 'a.port -> b.port'"),
        (Node("a", Amp), "a -> out", "node 'a' is defined twice: give one another name"),
        (Node("b", Sink), "a -> out", "b has no output: it cannot be put into an edge"),
        (Node("b", Cross), "a -> out", "edge 'a.out -> b': b has 2 inputs: say which (left, right)"),
        (
            Node("b c", Amp),
            "a -> out",
            "node name 'b c' is not usable: letters, digits, - and _, not 'in' or 'out'",
        ),
    ],
)
def test_a_node_that_does_not_fit_into_an_edge_is_refused(node, edge, message):
    graph = Graph(amps("a"), ["in -> a", "a -> out"])
    with pytest.raises(UserError) as caught:
        graph.insert(node, edge)
    assert str(caught.value) == message
    assert links(graph)[1] == {"in.main -> a.in", "a.out -> out.main"}


def test_a_source_is_put_beside_what_an_edge_carries():
    graph = Graph(amps("a"), ["in -> a", "a -> out"])
    put = graph.insert(Node("b", Tone), *graph.place("last"))
    assert links(put)[1] == {"in.main -> a.in", "a.out -> out.main", "b.out -> out.main"}
    put = graph.insert(Node("b", Tone), *graph.place("before a"))
    assert links(put)[1] == {"in.main -> a.in", "b.out -> a.in", "a.out -> out.main"}
    assert links(put.remove("b")) == links(graph)


def test_a_source_that_is_put_last_goes_before_what_limits_the_output():
    class Limit(Amp):
        limits = True

    source = Node("b", Tone)
    graph = Graph([*amps("a"), Node("limit", Limit)], ["in -> a", "a -> limit", "limit -> out"])
    put = graph.insert(source, *graph.place("last", source))
    assert links(put)[1] - links(graph)[1] == {"b.out -> limit.in"}
    assert graph.place("last", Node("c", Amp)) == graph.place("last") == ["limit.out -> out.main"]
    assert graph.place("after limit", source) == ["limit.out -> out.main"]
    graph = Graph(
        [*amps("a"), Node("limit", Limit)], ["in -> limit", "limit -> a", "a -> out", "limit -> out.b"]
    )
    assert graph.place("last", source) == ["a.out -> out.main"]
    wire = Graph([], ["in -> out"])
    assert wire.place("last", source) == ["in.main -> out.main"]


def test_what_fed_a_node_that_is_removed_feeds_what_it_fed():
    graph = Graph(
        amps("a", "b", "mid", "c", "d"),
        [
            "in -> a",
            "in -> b",
            "a -> mid",
            "b -> mid",
            "mid -> c",
            "mid -> d",
            "mid -> out.aside",
            "c -> out",
            "d -> out",
        ],
    )
    meant = {f"{source}.out -> {target}" for source in "ab" for target in ("c.in", "d.in", "out.aside")}
    rest = {"in.main -> a.in", "in.main -> b.in", "c.out -> out.main", "d.out -> out.main"}
    assert links(graph.remove("mid")) == ({"a", "b", "c", "d"}, meant | rest)


def test_an_edge_that_is_there_beside_a_removed_node_stays_one():
    graph = Graph(amps("a"), ["in -> a", "a -> out", "in -> out"])
    assert links(graph.remove("a")) == (set(), {"in.main -> out.main"})


def test_a_side_chain_does_not_go_on_where_its_node_is_removed():
    graph = Graph([Node("duck", Duck), *amps("a")], ["in -> duck", "in -> a", "a -> duck.key", "duck -> out"])
    assert links(graph.remove("duck"))[1] == {"in.main -> a.in", "in.main -> out.main"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x", "no node 'x' (tone, cross)"),
        ("crss", "no node 'crss', did you mean 'cross'? (tone, cross)"),
        ("tone", "input cross.right is not connected: add an edge '... -> cross.right'"),
    ],
)
def test_a_node_that_cannot_be_removed_is_refused(name, message):
    nodes = [Node("tone", Tone), Node("cross", Cross)]
    graph = Graph(nodes, ["in -> cross.left", "tone -> cross.right", "cross -> out"])
    with pytest.raises(UserError) as caught:
        graph.remove(name)
    assert str(caught.value) == message
    assert links(graph)[0] == {"tone", "cross"}


def test_removing_the_only_source_leaves_nothing_to_hear():
    with pytest.raises(UserError, match="nothing is connected to 'out'"):
        Graph([Node("tone", Tone)], ["tone -> out"]).remove("tone")


@settings(max_examples=100, deadline=None)
@given(graphs(), st.data())
def test_inserting_and_removing_gives_the_graph_back(drawn, data):
    graph, _ = drawn
    edge = data.draw(st.sampled_from(graph.edges))
    put = graph.insert(Node("new", Amp), f"{edge.source} -> {edge.target}")
    assert links(put.remove("new")) == links(graph)
    assert put.order().index("new") >= 0


def test_channels_that_are_heard():
    class Mono(Amp):
        outputs = (Port("out", 1), Port("both"))

    def one(edge):
        return Graph([Node("mono", Mono)], ["in -> mono", edge])

    assert Graph([], ["in -> out"]).heard(6) == 6
    assert one("mono.out -> out").heard(6) == 1
    assert one("mono.both -> out").heard(6) == 6
    assert one("mono.out -> out.aside").heard(6) == 0
    assert Graph([Node("pair", Pair)], ["in -> pair", "pair -> out"]).heard(2) == 2


def test_a_graph_without_nodes_is_a_wire():
    graph = Graph([], ["in -> out"])
    assert graph.order() == []
    assert graph.audible() == {}
