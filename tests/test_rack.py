"""Rack files: read, refused, written, kept by name, and the command."""

import argparse
import errno
import hashlib
import json
import math
import os
from importlib.metadata import EntryPoint, EntryPoints
from multiprocessing import Pipe
from pathlib import Path

import msgspec
import pytest
from chain_engines import ENGINES, Trim, edges, find, graphs, same
from hypothesis import given
from hypothesis import strategies as st

from rtaudio import devices, live, racks, soundcard
from rtaudio.chain import open_chain, parse_chain
from rtaudio.cli import main
from rtaudio.errors import FileError, UserError
from rtaudio.graph import Graph, Node
from rtaudio.kernel import FROM, TO
from rtaudio.plan import Plan
from rtaudio.processor import Parameter, Processor
from rtaudio.rack import (
    DevicePreferences,
    MidiBinding,
    Rack,
    RackNode,
    dump_rack,
    graph_of,
    load_rack,
    parse_rack,
    rack_of,
    save_rack,
)
from rtaudio.registry import load_engine
from rtaudio.soundcard import DeviceInfo

FIXTURES = Path(__file__).parent / "racks"
LISTED = "(" + ", ".join(ENGINES) + ")"


class Modelled(Processor):
    id = "modelled"
    parameters = (Parameter("model", "", scale="text"), Parameter("level", 0.5))

    @classmethod
    def model_files(cls, values):
        return {"model": Path(values["model"])} if values.get("model") else {}


def find_modelled(name):
    return Modelled if name == "modelled" else find(name)


# Reading

RACK = """
version = 2
name = "Drums apart"
description = "two outputs"
edges = ["in -> sep", "sep.low -> out", "sep.high -> quiet", "quiet -> out.drums"]

[nodes.sep]
engine = "split"
lane = 1

[nodes.quiet]
engine = "trim"
mute = true
bypass = false

[nodes.quiet.parameters]
gain = -inf
mute = true

[device]
api = "jack"
rate = 48000

[[midi]]
parameter = "quiet.gain"
channel = 16
controller = 7
wide = true
maximum = 6
"""


def test_rack():
    rack = parse_rack(RACK, find)
    assert rack.device == DevicePreferences(api="jack", rate=48_000)
    assert rack.midi == [MidiBinding("quiet.gain", 16, 7, wide=True, maximum=6.0)]
    graph = graph_of(rack, find)
    assert edges(graph) == [
        "in.main -> sep.in",
        "sep.low -> out.main",
        "sep.high -> quiet.in",
        "quiet.out -> out.drums",
    ]
    assert graph.nodes["quiet"] == Node("quiet", Trim, {"gain": -math.inf, "mute": True}, mute=True)
    assert graph.nodes["sep"].lane == 1


def test_edges_may_be_left_out_for_one_node():
    def read(engine):
        return edges(graph_of(parse_rack(f'version = 2\nnodes.a.engine = "{engine}"'), find))

    assert read("trim") == ["in.main -> a.in", "a.out -> out.main"]
    assert read("noise") == ["a.out -> out.main"]


def test_a_preset_and_what_adds_to_it():
    text = "version = 2\nnodes.a = {engine = 'tune', use = 'bright', parameters = {order = 3}}"
    assert graph_of(parse_rack(text), find).nodes["a"].values == {"frequency": 2e3, "kind": "on", "order": 3}
    with pytest.raises(UserError, match=r"^node 'a': tune: no preset 'brigt', did you mean 'bright'\?"):
        graph_of(parse_rack(text.replace("bright", "brigt")), find)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version 1", "not TOML: Expected '=' after a key in a key/value pair (at line 1, column 9)"),
        ("", "no version: add version = 2"),
        ("version = 3", "version 3 is not known (known: 1, 2): a newer rtaudio wrote it, update this one"),
        ("version = 0", "version 0 is not known (known: 1, 2)"),
        ("version = true", "version True is not known (known: 1, 2)"),
        ("version = '1'", "version '1' is not known (known: 1, 2)"),
        (
            "edge = []",
            "unknown key 'edge', did you mean 'edges'? "
            "(version, name, description, edges, device, nodes, midi)",
        ),
        ("name = 3", "name: want a string, not a whole number"),
        ("nodes = 3", "'nodes' must be a table of tables"),
        ("nodes.a = 3", "node 'a' must be a table"),
        ("nodes.a.mute = true", "node 'a': no engine: add engine = ..."),
        ("nodes.a.engine = 3", "node 'a': engine: want a string, not a whole number"),
        (
            "nodes.a.engine = 'trum'",
            f"node 'a': no engine 'trum', did you mean 'trim'? {LISTED}; see 'rtaudio engines'",
        ),
        (
            "nodes.a = {engine = 'trum', package = 'trumpet'}",
            "node 'a': no engine 'trum': it came with the package 'trumpet', which is not here; "
            "see 'rtaudio engines'",
        ),
        (
            "nodes.a = {engine = 'trim', gain = 1}",
            "node 'a': unknown key 'gain', did you mean 'engine'? (engine, use, bypass, mute, solo, lane, "
            "parameters, inside, models, package); values of parameters stand under 'parameters'",
        ),
        ("nodes.a = {engine = 'trim', lane = 3}", "node 'a': lane: no such value: 3"),
        ("nodes.a = {engine = 'trim', solo = 1}", "node 'a': solo: want true or false, not a whole number"),
        (
            "nodes.a = {engine = 'trim', parameters = {gain = [1]}}",
            "node 'a': 'gain': want true or false, a whole number, a number or a string, not an array",
        ),
        (
            "nodes.a = {engine = 'trim', parameters = {gain = 1979-05-27}}",
            "node 'a': 'gain': want true or false, a whole number, a number or a string, not a date",
        ),
        (
            "nodes.a = {engine = 'trim', parameters = {gain = 0x" + "f" * 5000 + "}}",
            "node 'a': 'gain': want a whole number <= 9223372036854775807",
        ),
        (
            "nodes.a = {engine = 'trim', parameters = {gain = 'x'}}",
            "a: trim: gain='x' is not a number (-inf, or -100 to 24 dB)",
        ),
        (
            "nodes.a = {engine = 'trim', parameters = {gian = 1}}",
            "node 'a': no parameter 'gian', did you mean 'gain'? (gain, mute)",
        ),
        (
            "nodes.a = {engine = 'trim', models = {gain = '12'}}",
            "node 'a': 'gain': want a SHA-256, 64 digits from 0 to f",
        ),
        (
            "nodes.a = {engine = 'trim', models = {gain = '" + 64 * "0" + "'}}",
            "node 'a': 'gain' names no model file: delete its line under models",
        ),
        (
            "nodes.'a b'.engine = 'trim'",
            "node name 'a b' is not usable: letters, digits, - and _, not 'in' or 'out'",
        ),
        ('nodes."a\\nb" = {engine = "trim"}', "node name 'a\\nb' is not usable"),
        (
            "nodes = {a = {engine = 'trim'}, b = {engine = 'trim'}}",
            "no edges: add edges = ['in -> a', 'a -> out']",
        ),
        ("edges = 'in -> out'", "edges: want an array, not a string"),
        ("edges = [3]", "edges[0]: want a string, not a whole number"),
        ("edges = ['in -> b']", "edge 'in -> b': no node 'b' (out)"),
        ("nodes.a.engine = 'split'", "edge 'a -> out': a has 2 outputs: say which (low, high)"),
        ("device.rate = 3", "device.rate: want a whole number >= 8000"),
        ("device.api = 'jakc'", "device.api: no such value: 'jakc'"),
        (
            "device.ouput = 'x'",
            "device: unknown key 'ouput', did you mean 'output'? "
            "(api, input, output, rate, block, channels, map)",
        ),
        (
            "midi = [{parameter = 'a.b', channel = 17, controller = 1}]",
            "midi[0].channel: want a whole number <= 16",
        ),
        ("midi = [{parameter = 'a.b', channel = 1}]", "midi[0]: no controller: add controller = ..."),
        (
            "midi = [{parameter = 'a', channel = 1, controller = 1}]",
            "midi[0]: parameter 'a' is not of the form 'node.parameter'",
        ),
        (
            "midi = [{parameter = 'a.b', channel = 1, controller = 32, wide = true}]",
            "midi[0]: controller 32 of a.b has no lower half: wide ones are 0 to 31",
        ),
    ],
)
def test_wrong_racks(text, message, tmp_path):
    if "version" not in text and text:
        text = f"version = 2\n{text}"
    with pytest.raises(UserError) as error:
        graph_of(parse_rack(text, find), find)
    assert str(error.value) == message
    path = tmp_path / "rack.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        open_chain(str(path), find)
    assert str(error.value) == f"{path}: {message}"


PIECES = st.sampled_from(
    [
        "version = 2\n",
        "version = 1\n",
        "nodes.a.engine = 'trim'\n",
        "[nodes.a.parameters]\n",
        "gain = -3\n",
        "[[midi]]\n",
        "[device]\n",
        "edges = []\n",
        "9" * 5000,
        *"[]{}=.'\"\n",
    ]
)


@given(text=st.text() | st.lists(PIECES | st.text(max_size=2)).map("".join))
def test_any_text_is_a_graph_or_one_line(text):
    assert is_graph_or_one_line(text)


def is_graph_or_one_line(text):
    try:
        return isinstance(graph_of(parse_rack(text, find), find), Graph)
    except UserError as error:
        return len(str(error).splitlines()) == 1


def test_deep_nesting_is_one_line():
    with pytest.raises(UserError, match=r"^not TOML: "):
        parse_rack("version = " + "[" * 100_000)


def test_files_that_are_no_racks(tmp_path):
    def wrong(path):
        with pytest.raises(FileError) as error:
            load_rack(path)
        return str(error.value)

    missing, binary, large = (tmp_path / name for name in ("missing.toml", "binary.toml", "large.toml"))
    assert wrong(missing) == f"{missing}: cannot read this rack file: No such file or directory"
    assert wrong(tmp_path) == f"{tmp_path}: cannot read this rack file: Is a directory"
    assert wrong("a\nb.toml").startswith("'a\\nb.toml': cannot read this rack file")
    assert wrong("\0.toml") == "'\\x00.toml': not a rack file: there is no such name"
    binary.write_bytes(b"\xff\xfe")
    assert wrong(binary) == f"{binary}: not a rack file: it is not UTF-8 text"
    large.touch()
    os.truncate(large, 100_000_000)
    assert wrong(large) == f"{large}: not a rack file: it is larger than 1 MB"
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero"):
        assert wrong(path) == (
            f"{path}: cannot read this rack file: it is a pipe or a device, not a regular file"
        )


# Version 1

V1 = {
    "v1-drums-apart": (
        {
            "split": ("hpss", {"preset": "balanced"}, {}),
            "warmth": ("biquad", {"kind": "lowshelf", "frequency": 150, "gain": 3}, {}),
            "squash": ("limiter", {"gain": 6, "ceiling": -6.5}, {}),
        },
        [
            "in -> split",
            "split.harmonic -> warmth",
            "warmth -> out",
            "split.percussive -> squash",
            "squash -> out",
            "split.percussive -> out.drums",
        ],
    ),
    "v1-switches": (
        {
            "gain": ("gain", {"gain": -math.inf, "mute": True}, {"mute": True, "lane": 0}),
            "remix": (
                "remix",
                {"percussive_insert": "compressor | delay(time=250)", "crossfade": -0.5},
                {"bypass": True, "solo": True, "lane": 1},
            ),
        },
        ["in -> gain", "gain -> remix", "remix -> out"],
    ),
    "v1-one-node": ({"noise": ("noise", {"colour": "brown"}, {"mute": True})}, ["noise -> out"]),
}


def test_every_old_file_is_tested():
    assert {file.stem for file in FIXTURES.glob("v1-*.toml")} == set(V1)


@pytest.mark.parametrize("name", V1)
def test_a_file_of_version_1_gives_the_same_graph(name):
    nodes, wanted = V1[name]
    graph = Graph(
        [Node(node, load_engine(engine), dict(set_), **on) for node, (engine, set_, on) in nodes.items()],
        wanted,
    )
    rack = load_rack(FIXTURES / f"{name}.toml")
    assert rack.version == 2
    assert same(graph_of(rack), graph)
    assert same(graph_of(parse_rack(dump_rack(rack))), graph)


def test_wrong_files_of_version_1():
    def wrong(text):
        with pytest.raises(UserError) as error:
            graph_of(parse_rack(f"version = 1\n{text}", find), find)
        return str(error.value)

    assert wrong("device.rate = 48000") == ("unknown key 'device' (version, name, description, nodes, edges)")
    assert wrong("nodes.a.gain = 3") == "node 'a': no engine: add engine = ..."
    assert wrong("nodes.a.engine = 'trum'").startswith("node 'a': no engine 'trum', did you mean 'trim'?")
    assert wrong("nodes.a = {engine = 'trim', gian = 1}").startswith("node 'a': no parameter 'gian', did you")
    assert wrong("nodes.a = {engine = 'trim', gain = [1]}").startswith("node 'a': 'gain': want true or false")
    assert wrong("nodes.a = {engine = 'tune', mute = 1}") == (
        "node 'a': mute: want true or false, not a whole number"
    )


# Writing

TEXT = st.text(max_size=12)
PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT
NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)
BINDINGS = st.builds(
    MidiBinding,
    parameter=st.builds(
        "{}.{}".format,
        st.text(min_size=1),
        st.text(st.characters(exclude_characters=".", exclude_categories=["Cs"]), min_size=1),
    ),
    channel=st.integers(1, 16),
    controller=st.integers(0, 31),
    wide=st.booleans(),
    minimum=NUMBER,
    maximum=NUMBER,
    toggle=st.booleans(),
    pickup=st.booleans(),
)
DEVICES = st.builds(
    DevicePreferences,
    api=st.sampled_from([None, "auto", "jack", "alsa", "null"]),
    input=st.none() | TEXT,
    output=st.none() | TEXT,
    rate=st.none() | st.integers(8000, 384_000),
    block=st.none() | st.integers(1, 65_536),
    channels=st.none() | st.integers(1, 64),
    map=st.none() | TEXT,
)
NODES = st.builds(
    RackNode,
    engine=TEXT,
    use=TEXT,
    bypass=st.booleans(),
    mute=st.booleans(),
    solo=st.booleans(),
    lane=st.sampled_from([None, 0, 1, 2]),
    parameters=st.dictionaries(TEXT, PLAIN, max_size=4),
    models=st.dictionaries(TEXT, st.text("0123456789abcdef", min_size=64, max_size=64), max_size=2),
    package=TEXT,
)
RACKS = st.builds(
    Rack,
    name=TEXT,
    description=TEXT,
    edges=st.lists(TEXT, max_size=3),
    device=st.none() | DEVICES,
    nodes=st.dictionaries(TEXT.filter(str.isprintable), NODES, max_size=3),
    midi=st.lists(BINDINGS, max_size=2),
)


@given(RACKS)
def test_a_written_rack_is_read_back(rack):
    again = parse_rack(dump_rack(rack))
    assert again == rack
    # 1, 1.0 and True are equal to Python, and not to an engine.
    assert msgspec.json.encode(again) == msgspec.json.encode(rack)


@given(graphs())
def test_a_written_graph_is_read_back(graph):
    assert same(graph_of(parse_rack(dump_rack(rack_of(graph))), find), graph)


def test_a_written_rack_is_easy_to_read():
    graph = parse_chain("trim(gain=-6, solo=true, host_mute=true, lane=1) | split.low+high | duck", find)
    base = Rack(
        name="Ducks",
        device=DevicePreferences(api="jack", block=64),
        midi=[MidiBinding("trim.gain", 1, 7), MidiBinding("gone.gain", 1, 8)],
    )
    assert dump_rack(rack_of(graph, base)) == (
        "version = 2\n"
        'name = "Ducks"\n'
        "edges = [\n"
        '    "in -> trim",\n'
        '    "trim -> split",\n'
        '    "split.low -> duck.in",\n'
        '    "split.high -> duck.in",\n'
        '    "duck -> out",\n'
        "]\n"
        "midi = [\n"
        '    { parameter = "trim.gain", channel = 1, controller = 7 },\n'
        "]\n"
        "\n"
        "[device]\n"
        'api = "jack"\n'
        "block = 64\n"
        "\n"
        "[nodes.trim]\n"
        'engine = "trim"\n'
        "mute = true\n"
        "solo = true\n"
        "lane = 1\n"
        "\n"
        "[nodes.trim.parameters]\n"
        "gain = -6\n"
        "\n"
        "[nodes.split]\n"
        'engine = "split"\n'
        "\n"
        "[nodes.duck]\n"
        'engine = "duck"\n'
    )


def test_bindings_inside_of_composites_stay_with_them():
    inner = MidiBinding("pair/a.gain", 1, 7)
    graph = parse_chain("pair", find)
    assert rack_of(graph, Rack(midi=[inner])).midi == [inner]
    assert rack_of(parse_chain("trim", find), Rack(midi=[inner])).midi == []


def test_what_is_set_inside_of_a_composite_is_saved_with_it(tmp_path):
    """A nested one, and one that the composite has a parameter for; it is there again at rest, anywhere."""
    graph = parse_chain("r: remix(percussive_insert='delay(time=100)', percussive_gain=-3)")
    plan = Plan(graph, 48_000, 128, 2, offline=True)
    plan.set("r/percussive/delay.mix", 0.6)
    plan.set("r/percussive.gain", -9.0)
    plan.set("r/harmonic.gain", -20.0)
    plan.set("r.harmonic_gain", -6.0)
    save_rack(tmp_path / "r.toml", rack_of(plan.graph))
    plan.close()
    rack = load_rack(tmp_path / "r.toml")
    assert rack.nodes["r"].inside == {"percussive/delay.mix": 0.6, "percussive/fader.gain": -9.0}
    assert rack.nodes["r"].parameters["harmonic_gain"] == -6.0
    ours, theirs = Pipe()
    ours.send(graph_of(rack))  # As to a process that renders files.
    for made in (graph_of(rack), theirs.recv()):
        again = Plan(made, 48_000, 128, 2, offline=True)
        for path, value in (
            ("percussive/delay.mix", 0.6),
            ("percussive.gain", -9.0),
            ("harmonic.gain", -6.0),
        ):
            assert again.value(f"r/{path}") == value
        mix = again._steps["r/percussive/delay"]
        at = [each.id for each in mix.processor.parameters].index("mix")
        assert mix.ramps[at, FROM] == mix.ramps[at, TO] == 0.6
        again.close()


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ('"hpss.powr" = 2', "no parameter 'powr', did you mean 'power'?"),
        ('"hps.margin" = 2', "there is no 'hps.margin' inside of it, did you mean 'hpss'?"),
        ('"percussive/delay.mix" = 0.5', "there is no 'delay.mix' inside of it"),
        ('"percussive/fader.gain" = 99', "gain=99 is out of range"),
        ('"stems.percussive_kill" = [1]', "want true or false, a whole number, a number or a string"),
    ],
)
def test_what_cannot_be_inside_is_told(inside, message):
    text = f'version = 2\n[nodes.r]\nengine = "remix"\ninside = {{ {inside} }}\n'
    with pytest.raises(UserError) as error:
        graph_of(parse_rack(text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_is_inside_of_an_engine():
    text = 'version = 2\n[nodes.g]\nengine = "gain"\ninside = { "x.y" = 1 }\n'
    with pytest.raises(UserError, match=r"g: there is no 'x\.y' inside of it"):
        graph_of(parse_rack(text))


def test_saving(tmp_path):
    path = tmp_path / "rack.toml"
    rack = rack_of(parse_chain("trim(gain=-6)", find))
    for umask, mode in ((0o077, 0o600), (0o022, 0o644), (0o002, 0o664)):
        before = os.umask(umask)
        try:
            save_rack(path, rack)
        finally:
            os.umask(before)
        assert load_rack(path) == rack
        assert path.stat().st_mode & 0o777 == mode
    assert os.listdir(tmp_path) == ["rack.toml"]
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    save_rack(link, Rack(name="through the link"))
    assert link.is_symlink()
    assert load_rack(path).name == "through the link"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_last_one(call, tmp_path, monkeypatch):
    path = tmp_path / "rack.toml"
    save_rack(path, Rack(name="good"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(FileError, match="No space left on device; nothing has changed"):
            save_rack(path, Rack(name="half"))
    with pytest.raises(FileError, match="nothing has changed"):
        save_rack(path, Rack(name="\udcff"))
    with pytest.raises(FileError, match="nothing has changed"):
        save_rack("\0", Rack())
    with pytest.raises(FileError, match="more than 1 MB"):
        save_rack(path, Rack(name=2**20 * "x"))
    assert load_rack(path).name == "good"
    assert os.listdir(tmp_path) == ["rack.toml"]
    with pytest.raises(FileError, match="No such file or directory"):
        save_rack(tmp_path / "nowhere" / "rack.toml", Rack())


def test_the_new_file_is_complete_before_it_takes_the_name(tmp_path, monkeypatch):
    path, rack, seen = tmp_path / "rack.toml", Rack(name="x" * 100_000), []
    save_rack(path, Rack(name="old"))
    replace = os.replace

    def look(part, target):
        seen.extend([load_rack(part), load_rack(target).name])
        replace(part, target)

    monkeypatch.setattr(os, "replace", look)
    save_rack(path, rack)
    assert seen == [rack, "old"]


# Models


def test_another_model_under_the_same_name_is_refused(tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(b"weights")
    graph = Graph([Node("x", Modelled, {"model": str(model)})], ["in -> x", "x -> out"])
    rack = rack_of(graph)
    saved = hashlib.sha256(b"weights").hexdigest()
    assert rack.nodes["x"].models == {"model": saved}
    assert same(graph_of(parse_rack(dump_rack(rack)), find_modelled), graph)
    model.write_bytes(b"others")
    now = hashlib.sha256(b"others").hexdigest()
    with pytest.raises(UserError) as error:
        graph_of(rack, find_modelled)
    assert str(error.value) == (
        f"node 'x': model {model} is not the one that this rack was saved with "
        f"(sha256 {saved[:4]}…, now {now[:4]}…): restore it, or delete its line under models"
    )
    without = msgspec.structs.replace(rack.nodes["x"], models={})
    assert same(graph_of(msgspec.structs.replace(rack, nodes={"x": without}), find_modelled), graph)
    model.unlink()
    with pytest.raises(UserError, match=r"^node 'x': model .*m.onnx: No such file or directory$"):
        graph_of(rack, find_modelled)
    os.mkfifo(model)
    with pytest.raises(
        UserError, match=r"^node 'x': model .*m.onnx: it is a pipe or a device, not a regular"
    ):
        graph_of(rack, find_modelled)


def test_models_of_the_engines_are_recorded():
    from engines.enhance import MODELS

    def models(chain):
        return next(iter(rack_of(parse_chain(chain)).nodes.values())).models

    paper = hashlib.sha256(MODELS["paper"].read_bytes()).hexdigest()
    assert models("enhance(model=paper)") == {"model": paper}
    assert models(f"enhance(model='{MODELS['paper']}')") == {"model": paper}
    assert models("enhance") == models("gain") == models("network") == {}


def test_the_model_of_a_network_is_recorded(tmp_path):
    import streaming_models

    path = streaming_models.gru(tmp_path / "gru.onnx")
    rack = rack_of(parse_chain(f"network(model='{path}')"))
    assert rack.nodes["network"].models == {"model": hashlib.sha256(path.read_bytes()).hexdigest()}


# Names, and the command


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The user's folder; and packages whose racks are those of the project, and of a folder of the test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    package = tmp_path / "zz_pack"
    (package / "racks").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "racks" / "zz-pack.toml").write_text("version = 2\nedges = ['in -> out']\n")
    (package / "racks" / "denoise.toml").write_text("version = 2\nedges = ['in -> out']\n")
    monkeypatch.syspath_prepend(tmp_path)
    entries = [
        EntryPoint("rtaudio", "engines.racks", "rtaudio.racks"),
        EntryPoint("zz", "zz_pack.racks", "rtaudio.racks"),
        EntryPoint("zz-gone", "zz_no_such_package.racks", "rtaudio.racks"),
    ]
    monkeypatch.setattr(racks, "entry_points", lambda group: EntryPoints(entries).select(group=group))
    folder = tmp_path / "data" / "rtaudio" / "racks"
    folder.mkdir(parents=True)
    return folder


def test_racks_go_by_their_names(shelf, tmp_path, monkeypatch):
    graph, rack = open_chain(" dj-remix ")
    assert list(graph.nodes) == ["remix", "limiter"]
    assert rack.midi[0].parameter == "remix.crossfade"
    assert list(open_chain("denoise")[0].nodes) == ["rumble", "enhance", "limiter"]
    assert not open_chain("zz-pack")[0].nodes
    save_rack(racks.user_file("denoise"), rack_of(parse_chain("gain")))
    assert list(open_chain("denoise")[0].nodes) == ["gain"]
    assert racks.find_rack("denoise") == shelf / "denoise.toml"
    assert open_chain("gain")[1] is None
    assert open_chain("gain | gain")[1] is None


def test_an_engine_is_no_rack(shelf):
    with pytest.raises(UserError, match=r"^'gain' is an engine, which 'chain gain' would load: choose"):
        racks.user_file("gain")
    save_rack(shelf / "gain.toml", rack_of(parse_chain("limiter")))
    assert list(open_chain("gain")[0].nodes) == ["gain"]
    assert list(open_chain(str(shelf / "gain.toml"))[0].nodes) == ["limiter"]


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc/passwd", "a.b", "a b", "-a", "\0", "a\n"])
def test_names_stay_in_their_folder(name, shelf):
    (shelf.parent / "x.toml").write_text("version = 2\nedges = ['in -> out']\n")
    assert racks.find_rack(name) is None
    with pytest.raises(UserError, match="is no name of a rack"):
        racks.user_file(name)


@pytest.mark.usefixtures("shelf")
def test_a_word_that_is_nothing():
    with pytest.raises(UserError) as error:
        open_chain("denoize")
    assert str(error.value) == (
        "no engine and no rack 'denoize', did you mean 'denoise'? "
        "(see 'rtaudio engines' and 'rtaudio rack list')"
    )


def test_list(shelf, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    save_rack(racks.user_file("mine"), Rack(description="my own", edges=["in -> out"]))
    (shelf / "broken.toml").write_text("version = 9")
    (shelf / "not a name.toml").write_text("version = 9")
    assert main(["rack", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(racks.rack_files())
    said = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert said["mine"] == "yours: my own (no nodes)"
    assert said["broken"].startswith("yours, not usable: ")
    assert said["denoise"].startswith("factory: a microphone without")
    assert said["denoise"].endswith("(rumble | enhance | limiter)")


def test_show_is_the_normal_form(shelf, capsys):
    assert main(["rack", "show", str(FIXTURES / "v1-one-node.toml")]) == 0
    assert capsys.readouterr().out == (
        'version = 2\n\n[nodes.noise]\nengine = "noise"\nmute = true\n\n'
        '[nodes.noise.parameters]\ncolour = "brown"\n'
    )
    assert main(["rack", "show", "denoise"]) == 0
    out = capsys.readouterr().out
    assert parse_rack(out) == load_rack(racks.find_rack("denoise"))
    assert main(["rack", "show", "denoize"]) == 2
    assert "no rack 'denoize', did you mean 'denoise'?" in capsys.readouterr().err


def test_check(shelf, tmp_path, capsys):
    good, bad, none = FIXTURES / "v1-switches.toml", tmp_path / "bad.toml", tmp_path / "none.toml"
    bad.write_text("version = 2\nnodes.a = {engine = 'gain', parameters = {gain = 99}}\n")
    assert main(["rack", "check", str(good), "denoise"]) == 0
    assert capsys.readouterr().out == f"{good}: ok\ndenoise: ok\n"
    assert main(["rack", "check", str(bad), str(good), str(none)]) == 2
    out, err = capsys.readouterr()
    assert out == f"{good}: ok\n"
    assert err.splitlines() == [
        f"rtaudio: {bad}: a: gain: gain=99 is out of range (-inf, or -100 to 24 dB)",
        f"rtaudio: {none}: cannot read this rack file: No such file or directory",
    ]


def test_check_says_which_bindings_move_nothing(tmp_path, capsys):
    path = tmp_path / "bound.toml"
    paths = ["remix.crossfade", "remix/percussive/fader.gain", "remix.crosfade", "rmix.crossfade", "x.y"]
    bindings = [MidiBinding(parameter, 1, 7) for parameter in paths]
    rack = rack_of(parse_chain("remix(preset=live)"))
    save_rack(path, msgspec.structs.replace(rack, midi=bindings[:2]))
    assert main(["rack", "check", str(path)]) == 0
    save_rack(path, msgspec.structs.replace(rack, midi=bindings))
    assert main(["rack", "check", str(path)]) == 2
    assert capsys.readouterr() == (
        f"{path}: ok\n",
        f"rtaudio: {path}: midi: no parameter 'remix.crosfade', did you mean 'remix.crossfade'?; "
        "no parameter 'rmix.crossfade', did you mean 'remix.crossfade'?; no parameter 'x.y'\n",
    )


def test_check_of_a_pipe(tmp_path, capsys):
    path = tmp_path / "pipe.toml"
    os.mkfifo(path)
    assert main(["rack", "check", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"rtaudio: {path}: cannot read this rack file: it is a pipe or a device, not a regular file\n"
    )


def test_schema(capsys):
    assert main(["rack", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    parts = schema["$defs"]
    assert parts["Rack"]["additionalProperties"] is False
    assert parts["Rack"]["required"] == ["version"]
    assert set(parts["Rack"]["properties"]) == set(Rack.__struct_fields__)
    assert parts["MidiBinding"]["required"] == ["parameter", "channel", "controller"]
    assert parts["MidiBinding"]["properties"]["channel"] == {"type": "integer", "minimum": 1, "maximum": 16}


def test_the_package_of_an_engine_is_kept(monkeypatch):
    class Brought:
        name = "rtaudio-trim"

    class Entry:
        dist = Brought

    monkeypatch.setattr("rtaudio.rack.entry_points", lambda group, name: [Entry] if name == "trim" else [])
    rack = rack_of(parse_chain("trim | tune", find))
    assert [node.package for node in rack.nodes.values()] == ["rtaudio-trim", ""]


def test_the_example_of_the_documentation():
    text = (Path(__file__).parents[1] / "docs" / "racks.md").read_text(encoding="utf-8")
    example = text.partition("```toml\n")[2].partition("```")[0]
    rack = parse_rack(example)
    assert graph_of(rack).nodes["squash"].values["makeup"] == 3
    assert rack.device.input == "USB"
    assert rack.midi[0].wide


# The device that a rack prefers


def card(name, index, inputs=2, outputs=2, api="alsa"):
    return DeviceInfo(api, index, name, inputs, outputs, 48_000, (48_000,), index == 0, index == 0)


@pytest.fixture
def cards(monkeypatch):
    """Two cards on ALSA, and no JACK server."""

    def devices(api):
        if api == "jack":
            raise UserError("no JACK server runs")
        return [card("built-in", 0), card("USB desk", 1, 8, 4)]

    monkeypatch.setattr(soundcard, "devices", devices)


def preferred(device, *said):
    """The options of ``rtaudio live``, and what the rack's device makes of them."""
    commands = argparse.ArgumentParser().add_subparsers()
    live.add_commands(commands)
    options = commands.choices["live"].parse_args(list(said))
    devices.prefer(options, Rack(device=device))
    return options


ALL = DevicePreferences(
    api="alsa", input="USB", output="built", rate=44_100, block=64, channels=1, map="in=3/out=1,2"
)


@pytest.mark.usefixtures("cards")
def test_a_racks_device_is_taken_where_the_command_line_says_nothing(capsys):
    options = preferred(ALL)
    assert (options.api, options.input, options.output) == ("alsa", "USB", "built")
    assert (options.rate, options.block, options.channels) == (44_100, 64, 1)
    assert options.map == ([2], [0, 1])
    options = preferred(ALL, "--rate", "96000", "--block", "256", "--channels", "2", "--input", "built-in")
    assert (options.rate, options.block, options.channels) == (96_000, 256, 2)
    assert (options.api, options.input, options.output, options.map) == ("alsa", "built-in", None, None)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    "said", [["--api", "jack"], ["--api", "null"], ["--freewheel"], ["--virtual-mic"]], ids=" ".join
)
def test_another_api_has_other_cards(said):
    options = preferred(ALL, *said)
    assert (options.input, options.output, options.map) == (None, None, None)
    assert options.api == (said[1] if said[0] == "--api" else "auto")
    assert options.block == 64


@pytest.mark.usefixtures("cards")
def test_a_file_takes_the_place_of_the_input():
    options = preferred(ALL, "--file", "f.wav")
    assert (options.input, options.output, options.map) == (None, "built", (None, [0, 1]))
    assert (options.rate, options.channels, options.block) == (None, None, 64)


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("device", "why"),
    [
        (DevicePreferences(api="jack", input="system"), "no JACK server runs"),
        (DevicePreferences(input="USB", output="studio"), "no output device 'studio'; there are "),
        (DevicePreferences(api="alsa", input="studio", map="in=7"), "no input device 'studio'; there are "),
    ],
)
def test_a_device_that_is_not_there_is_told_and_the_default_taken(device, why, capsys):
    options = preferred(device)
    assert (options.api, options.input, options.output, options.map) == ("auto", None, None, None)
    said = capsys.readouterr().err
    assert said.startswith(f"the device of this rack is not there, the default takes its place: {why}")
    assert said.count("\n") == 1


def test_a_card_where_there_is_none(monkeypatch, capsys):
    monkeypatch.setattr(devices, "_best_api", lambda: "null")
    assert preferred(DevicePreferences(input="USB")).input is None
    assert "there is no sound card and no JACK server" in capsys.readouterr().err
    assert preferred(DevicePreferences(block=32)).block == 32
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("cards")
def test_a_map_that_is_none():
    with pytest.raises(UserError, match=r"^device: map: 'in=x' is no map: say in=N"):
        preferred(DevicePreferences(api="alsa", map="in=x"))


def test_a_run_with_a_racks_device(tmp_path, capsys):
    path = tmp_path / "rack.toml"
    device = DevicePreferences(api="null", rate=44_100, block=64, channels=1)
    save_rack(path, Rack(edges=["in -> out"], device=device))
    assert main(["live", "--chain", str(path), "--seconds", "0.05", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["rate"], report["block"], report["channels"]) == (44_100, 64, 1)
