"""One network cut before its decoder and its flow: the parts, what is remembered of them, what is not cut."""

import json
from contextlib import suppress
from itertools import pairwise

import numpy as np
import onnx
import pytest
import tiny_voices
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from streaming_models import constant, tensor
from tiny_voices import HOP, PER_ID, node

pytest.importorskip("onnxruntime", reason="runs networks")

import onnxruntime as ort

from engines.speech import pieces
from engines.speech.cut import Flow, Halves, Uncut
from engines.speech.cuts import Cut, cut_of, recall, remember
from engines.speech.piper import PiperVoice
from engines.speech.text import sentences
from engines.speech.voices import add_voice, known_voices, open_voice
from rtaudio.errors import FileError
from rtaudio.folders import cache_folder

TEXT = "and so on and on and on and on"
IDS = [1, 0, *(number for letter in range(4, 30) for number in (letter, 0)), 2]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def made(folder, **how):
    return tiny_voices.vits(folder, phoneme_type="text", **how)


def ran(content, **feeds):
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def feeds(speaker=None, noise=0.0):
    found = {
        "input": np.array([IDS], np.int64),
        "input_lengths": np.array([len(IDS)], np.int64),
        "scales": np.array([noise, 1.0, noise], np.float32),
    }
    return found if speaker is None else found | {"sid": np.array([speaker], np.int64)}


def spoken(voice, speaker=0):
    [sentence] = sentences(TEXT, "en")
    return [chunk.samples for chunk in voice.speak(sentence, speaker)]


@pytest.fixture
def opened(monkeypatch):
    """How many networks are opened."""
    paths, open_session = [], pieces.open_session
    monkeypatch.setattr(pieces, "open_session", lambda *what: paths.append(what[0]) or open_session(*what))
    return paths


# The halves


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("speakers", [1, 3])
def test_both_halves_make_what_the_whole_makes(tmp_path, speakers, frames):
    content = (made(tmp_path, speakers=speakers, frames=frames) / "voice.onnx").read_bytes()
    halves = Halves(content)
    for speaker in range(speakers) if speakers > 1 else [None]:
        whole = ran(content, **feeds(speaker))
        first = ran(halves.first, **feeds(speaker))
        assert first[0].shape == (1, 8, len(IDS) * PER_ID)
        [again] = ran(halves.second(8), bent=first[0])
        np.testing.assert_allclose(again, whole[0], atol=1e-6)
        assert len(first) == 1 + frames
        for one, other in zip(first[1:], whole[1:], strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_halves_are_proper_files_and_share_no_weights(tmp_path):
    whole = onnx.load(made(tmp_path, speakers=2, frames=True) / "voice.onnx")
    halves = Halves(whole.SerializeToString())
    first, second = onnx.load_from_string(halves.first), onnx.load_from_string(halves.second(8))
    for half in (first, second):
        onnx.checker.check_model(half, full_check=True)
        assert (half.ir_version, half.opset_import) == (whole.ir_version, whole.opset_import)
    both = [*first.graph.node, *second.graph.node]
    assert sorted(map(str, both)) == sorted(map(str, whole.graph.node))
    weights = [*first.graph.initializer, *second.graph.initializer]
    assert sorted(each.name for each in weights) == sorted(each.name for each in whole.graph.initializer)
    assert [put.name for put in second.graph.input] == ["bent"]
    assert [put.name for put in first.graph.input] == [put.name for put in whole.graph.input]
    assert [put.name for put in first.graph.output] == ["bent", "frames"]


def test_weights_that_old_files_name_among_the_inputs(tmp_path):
    model = onnx.load(made(tmp_path) / "voice.onnx")
    model.ir_version = 3
    for each in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(each.name, each.data_type, each.dims))
    content = model.SerializeToString()
    halves = Halves(content)
    [first] = ran(halves.first, **feeds())
    [again] = ran(halves.second(8), bent=first)
    np.testing.assert_allclose(again, ran(content, **feeds())[0], atol=1e-6)


def inner(taken):
    """A node with graphs inside that take a tensor from around them."""
    branches = [
        helper.make_graph([helper.make_node(kind, [taken], [kind])], kind, [], [tensor(kind, 1, 4, "N")])
        for kind in ("Relu", "Abs")
    ]
    return [
        node("ReduceMax", ["raised"], ["highest"], keepdims=0),
        node("Cast", ["highest"], ["loud"], to=onnx.TensorProto.BOOL),
        helper.make_node("If", ["loud"], ["shaped"], then_branch=branches[0], else_branch=branches[1]),
    ]


def test_what_graphs_inside_take_counts(tmp_path):
    content = (made(tmp_path / "in", decoder=inner("raised")) / "voice.onnx").read_bytes()
    halves = Halves(content)
    [again] = ran(halves.second(8), bent=ran(halves.first, **feeds())[0])
    np.testing.assert_allclose(again, ran(content, **feeds())[0], atol=1e-6)
    around = [node("Expand", ["per_id", "four"], ["from_outside"]), *inner("from_outside")]
    path = [node("Cast", ["input_lengths"], ["four"], to=onnx.TensorProto.INT64), *around]
    with pytest.raises(Uncut, match="no layer"):
        Halves((made(tmp_path / "out", decoder=path) / "voice.onnx").read_bytes())


def test_a_decoder_that_takes_more_than_frames_is_not_cut(tmp_path):
    loud = [node("Gather", ["scales", "zero"], ["loudness"]), node("Mul", ["raised", "loudness"], ["shaped"])]
    for content in (
        (made(tmp_path / "scaled", decoder=loud) / "voice.onnx").read_bytes(),
        (tiny_voices.telling(tmp_path / "told") / "voice.onnx").read_bytes(),
    ):
        with pytest.raises(Uncut, match="no layer"):
            Halves(content)


@pytest.mark.parametrize(
    ("layers", "cut_before"),
    [
        (["Tanh", "Conv", "Tanh", "Conv", "Tanh", "ConvTranspose"], 1),  # Vocos: the last is a transform.
        (["Tanh", "ConvTranspose"], 1),
        (["Tanh", "Conv", "ConvTranspose", "Conv"], 2),  # Decoders, which hear more at the higher rate.
        (["Conv", "Tanh", "ConvTranspose", "ConvTranspose"], 2),
        (["Conv", "ConvTranspose", "Tanh", "ConvTranspose", "Conv"], 1),
    ],
)
def test_where_a_network_is_cut(layers, cut_before):
    names = ["frames", *(f"layer{number}" for number in range(1, len(layers))), "output"]
    nodes = [
        node("Gather", ["scales", "zero"], ["scale"]),
        node("Cast", ["input"], ["floats"], to=onnx.TensorProto.FLOAT),
        node("Mul", ["floats", "scale"], ["scaled"]),
        node("Unsqueeze", ["scaled", "one"], ["frames"]),
    ]
    known = {
        "Conv": (["three"], {"pads": [1, 1]}),
        "ConvTranspose": (["four"], {"strides": [2], "pads": [1, 1]}),
        "Tanh": ([], {}),
    }
    for kind, (taken, after) in zip(layers, pairwise(names), strict=True):
        of, more = known[kind]
        nodes.append(node(kind, [taken, *of], [after], **more))
    constants = [
        constant("zero", 0), constant("one", [1]),
        tiny_voices.weights("three", 1, 1, 3), tiny_voices.weights("four", 1, 1, 4),
    ]  # fmt: skip
    inputs = [tiny_voices.heads("input", 1, "P"), tensor("scales", 3)]
    content = tiny_voices.content_of(nodes, inputs, [tensor("output", 1, 1, "N")], constants)
    halves, asked = Halves(content), feeds()
    del asked["input_lengths"]
    assert onnx.load_from_string(halves.first).graph.output[0].name == names[cut_before]
    [frames] = ran(halves.first, **asked)
    [again] = ran(halves.second(1), **{names[cut_before]: frames})
    np.testing.assert_allclose(again, ran(content, **asked)[0], atol=1e-6)


# The flow


def parts_of(content, **given):
    """What is before the cut of a flow makes, and what the flow makes of it."""
    flow = Flow(content)
    first = ort.InferenceSession(flow.before, providers=["CPUExecutionProvider"])
    kinds = [put.type for put in first.get_outputs()]
    session = ort.InferenceSession(flow.after(kinds), providers=["CPUExecutionProvider"])
    names = [put.name for put in session.get_inputs()]
    before = first.run(None, given)
    taken = [before[0], *before[len(before) - len(names) + 1 :]]
    return before, session.run(None, dict(zip(names, taken, strict=True))), names


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("speakers", [1, 3])
def test_what_is_before_a_flow_and_the_flow_make_what_the_half_makes(tmp_path, speakers, frames):
    content = Halves((made(tmp_path, speakers=speakers, frames=frames) / "voice.onnx").read_bytes()).first
    for speaker in range(speakers) if speakers > 1 else [None]:
        half = ran(content, **feeds(speaker))
        before, [again], names = parts_of(content, **feeds(speaker))
        assert names == ["z_p", "mask", *["conditioned"] * (speakers > 1)]
        assert len(before) == len(names) + frames
        np.testing.assert_allclose(again, half[0], atol=1e-6)
        for one, other in zip(before[1 : 1 + frames], half[1:], strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_noise_is_drawn_before_a_flow(tmp_path):
    content = Halves((made(tmp_path) / "voice.onnx").read_bytes()).first
    flow = onnx.load_from_string(Flow(content).after(["tensor(float)"] * 2))
    assert {each.op_type for each in flow.graph.node} == {"Mul", "Tanh", "Add", "Conv", "LeakyRelu"}
    one, other = (parts_of(content, **feeds(noise=noise))[0][0] for noise in (0.0, 1.0))
    assert np.abs(one - other).max() > 0.1


def test_a_flow_shares_no_node_and_no_weight(tmp_path):
    half = onnx.load_from_string(Halves((made(tmp_path, speakers=2) / "voice.onnx").read_bytes()).first)
    flow = Flow(half.SerializeToString())
    before, after = (onnx.load_from_string(part) for part in (flow.before, flow.after(["tensor(float)"] * 3)))
    both = [*before.graph.node, *after.graph.node]
    assert sorted(map(str, both)) == sorted(map(str, half.graph.node))
    weights = [*before.graph.initializer, *after.graph.initializer]
    assert sorted(each.name for each in weights) == sorted(each.name for each in half.graph.initializer)


def test_what_has_no_flow(tmp_path):
    content = (tiny_voices.pair(tmp_path / "two", phoneme_type="text") / "text.onnx").read_bytes()
    with pytest.raises(Uncut, match="no noise"):
        Flow(content)
    half = onnx.load_from_string(Halves((made(tmp_path / "one") / "voice.onnx").read_bytes()).first)
    half.graph.output.append(tensor("z", 1, 6, "T"))
    with pytest.raises(Uncut, match="more than its frames"):
        Flow(half.SerializeToString())
    del half.graph.output[:]
    half.graph.output.append(tensor("z_p", 1, 6, "T"))
    with pytest.raises(Uncut, match="what is drawn"):
        Flow(half.SerializeToString())


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return (made(tmp_path_factory.mktemp("whole"), speakers=2) / "voice.onnx").read_bytes()


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_file_is_cut_or_refused(content, data):
    damaged = bytearray(content)
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    with suppress(Uncut):
        halves = Halves(bytes(damaged[:end]))
        assert len(halves.first) + len(halves.second(8)) > 0
        flow = Flow(halves.first)
        assert len(flow.before) + len(flow.after(["tensor(float)"] * 9)) > 0


# Voices


@pytest.mark.parametrize("speakers", [1, 3])
def test_a_voice_of_one_network_is_heard_in_pieces(tmp_path, speakers):
    folder = made(tmp_path / "voice", speakers=speakers)
    voice = PiperVoice(folder, "cut")
    assert (voice.networks.cut.channels, voice.networks.cut.why, voice.note, voice.networks.hop) == (
        8,
        "",
        "",
        HOP,
    )
    assert voice.networks.cut.flow == 6  # Its convolutions hear 5 frames; one is to spare.
    whole = PiperVoice(folder, "whole", cut=Cut(why="asked for"))
    for speaker in range(speakers):
        pieces = spoken(voice, speaker)
        [truth] = spoken(whole, speaker)
        assert len(pieces) > 2
        np.testing.assert_allclose(np.concatenate(pieces), truth, atol=1e-5)


@pytest.mark.parametrize("ahead", [1, 50])
@pytest.mark.parametrize(("first", "step"), [(1, 7), (5, 211), (16, 48), (300, 1)])
def test_pieces_of_a_flow_are_the_whole(tmp_path, monkeypatch, first, step, ahead):
    monkeypatch.setattr(pieces, "AHEAD", ahead)
    voice = PiperVoice(made(tmp_path / "voice", speakers=3), "cut")
    drawn = voice.networks.drawn(IDS)
    total = drawn[0].shape[2]
    rng = np.random.default_rng(0)
    drawn = [rng.normal(size=x.shape).astype(np.float32) if x.shape[2] == total else x for x in drawn]
    assert total == len(IDS) * PER_ID
    whole = voice.networks.decode(voice.networks.flowed(drawn, 0, total))
    found = [piece for _, piece in voice.networks.decoded(drawn, first, step)]
    np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-5)
    assert len(found[0]) == min(first, total) * HOP


HEARS_ALL_FLOWING = [
    node("ReduceMean", ["masked"], ["mean_of_flow"], axes=[2]),
    node("Sub", ["masked", "mean_of_flow"], ["flowing"]),
]
KNOWS_THE_TIME = [
    node("Shape", ["floats"], ["count_of_frames"]),
    node("Cast", ["count_of_frames"], ["float_count"], to=onnx.TensorProto.FLOAT),
    node("Div", ["masked", "float_count"], ["flowing"]),
]
AGAINST_THE_TIME = [
    node("Transpose", ["masked"], ["turned"], perm=[0, 2, 1]),
    node("CumSum", ["turned", "one"], ["summed"], reverse=1),
    node("Transpose", ["summed"], ["flowing"], perm=[0, 2, 1]),
]


def test_a_flow_may_be_told_what_is_the_same_at_all_times(tmp_path):
    folder = made(tmp_path / "voice", flow=KNOWS_THE_TIME)
    voice = PiperVoice(folder, "cut")
    assert voice.networks.cut.flow == 6
    [truth] = spoken(PiperVoice(folder, "whole", cut=Cut(why="asked for")))
    np.testing.assert_allclose(np.concatenate(spoken(voice)), truth, atol=1e-5)


TURNED = [
    # A condition [1, 1, C] beside what is [1, C, T]: of every frame only where a sentence has C frames.
    node("Reshape", ["hues", "row"], ["channels_last"]),
    node("Gather", ["scales", "zero"], ["quiet"]),
    node("Add", ["channels_last", "quiet"], ["condition"]),
    node("Transpose", ["masked"], ["frames_first"], perm=[0, 2, 1]),
    node("Add", ["frames_first", "condition"], ["conditioned_frames"]),
    node("Transpose", ["conditioned_frames"], ["flowing"], perm=[0, 2, 1]),
]
HUES = [constant("hues", [0.1, 0.2, -0.3, 0.4, 0.5, -0.6], np.float32), constant("row", [1, 1, 6])]


def test_what_is_the_same_for_all_frames_may_be_as_long_as_a_sentence(tmp_path):
    folder = made(tmp_path / "voice", flow=TURNED, more=HUES)
    voice, whole = PiperVoice(folder, "cut"), PiperVoice(folder, "whole", cut=Cut(why="asked for"))
    assert voice.networks.cut.flow == 6
    for ids in ([1, 2], IDS):  # 6 frames, and many
        np.testing.assert_allclose(voice.networks.sound(ids, 0), whole.networks.sound(ids, 0), atol=1e-5)


WHERE = [
    node("Greater", ["mask", "nothing"], ["loud_frames"]),
    node("Where", ["loud_frames", "masked", "z_p"], ["flowing"]),
]


def test_a_flow_may_be_told_what_is_no_number(tmp_path):
    folder = made(tmp_path / "voice", flow=WHERE, more=[constant("nothing", 0.0, np.float32)])
    voice = PiperVoice(folder, "cut")
    assert voice.networks.cut.flow == 6
    [truth] = spoken(PiperVoice(folder, "whole", cut=Cut(why="asked for")))
    np.testing.assert_allclose(np.concatenate(spoken(voice)), truth, atol=1e-5)


def test_a_draw_in_a_graph_inside_is_a_draw(tmp_path):
    graphs = [
        helper.make_graph([helper.make_node(kind, ["masked"], [kind])], kind, [], [tensor(kind, 1, 6, "T")])
        for kind in ("RandomNormalLike", "Abs")
    ]
    flow = [
        node("Gather", ["scales", "zero"], ["noisy"]),
        node("Cast", ["noisy"], ["is_noisy"], to=onnx.TensorProto.BOOL),
        node("Squeeze", ["is_noisy", "zero"], ["one_is_noisy"]),
        helper.make_node("If", ["one_is_noisy"], ["flowing"], then_branch=graphs[0], else_branch=graphs[1]),
    ]
    half = Halves((made(tmp_path / "voice", flow=flow) / "voice.onnx").read_bytes()).first
    kinds = {
        each.op_type for each in onnx.load_from_string(Flow(half).after(["tensor(float)"] * 2)).graph.node
    }
    assert kinds == {"Conv", "LeakyRelu"}


@pytest.mark.parametrize("flow", [HEARS_ALL_FLOWING, AGAINST_THE_TIME])
def test_a_flow_that_cannot_be_run_in_pieces_is_run_on_the_sentence(tmp_path, flow, opened):
    folder = made(tmp_path / "voice", flow=flow)
    voice = PiperVoice(folder, "cut")
    assert (voice.networks.cut.channels, voice.networks.cut.flow, voice.note) == (8, 0, "")
    [truth] = spoken(PiperVoice(folder, "whole", cut=Cut(why="asked for")))
    pieces = spoken(voice)
    assert len(pieces) > 2
    np.testing.assert_allclose(np.concatenate(pieces), truth, atol=1e-5)
    opened.clear()
    assert PiperVoice(folder, "cut").networks.cut == voice.networks.cut
    assert len(opened) == 2


def test_a_pair_has_a_flow_too(tmp_path):
    one = made(tmp_path / "one")
    halves = Halves((one / "voice.onnx").read_bytes())
    two = tmp_path / "two"
    two.mkdir()
    (two / "text.onnx").write_bytes(halves.first)
    (two / "dec.onnx").write_bytes(halves.second(8))
    (two / "voice.onnx.json").write_text((one / "voice.onnx.json").read_text())
    found, truth = (PiperVoice(folder, "x") for folder in (two, one))
    assert found.networks.cut == truth.networks.cut
    assert found.networks.cut.flow == 6
    np.testing.assert_array_equal(np.concatenate(spoken(found)), np.concatenate(spoken(truth)))


def test_words_are_where_they_are_in_the_whole(tmp_path):
    folder = made(tmp_path / "voice", frames=True)
    [sentence] = sentences(TEXT, "en")
    places = [
        [word for chunk in PiperVoice(folder, "x", cut=cut).speak(sentence) for word in chunk.words]
        for cut in (None, Cut(why="asked for"))
    ]
    assert places[0] == places[1]
    assert len(places[0]) == len(sentence.words)


def test_noise_stays_as_it_is(tmp_path):
    voice = PiperVoice(
        made(tmp_path / "v", inference={"noise_scale": 1.0, "length_scale": 1.0, "noise_w": 0.0}), "noisy"
    )
    one, other = (np.concatenate(spoken(voice)) for _ in range(2))
    assert np.abs(one - other).max() > 0.01


def test_what_was_found_out_is_remembered_of_that_network_alone(tmp_path, opened):
    folder = made(tmp_path / "voice")
    first = PiperVoice(folder, "cut")
    [kept] = (cache_folder() / "voices").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in folder.iterdir()) == ["voice.onnx", "voice.onnx.json"]
    opened.clear()
    again = PiperVoice(folder, "cut")
    assert (again.networks.cut, len(opened)) == (first.networks.cut, 3)
    np.testing.assert_array_equal(np.concatenate(spoken(again)), np.concatenate(spoken(first)))
    other = made(tmp_path / "other", speakers=2)
    assert PiperVoice(other, "other").networks.cut.channels == 8
    assert len(list(kept.parent.iterdir())) == 2


def test_what_went_wrong_with_the_card_is_not_remembered(tmp_path):
    folder = made(tmp_path / "voice")
    card = folder / "voice.onnx.json"
    right = card.read_text()
    said = json.loads(right)
    said["num_symbols"] = 2000
    said["phoneme_id_map"] |= {letter: [1000] for letter in "abdef"}
    card.write_text(json.dumps(said))
    assert "cannot speak this" in PiperVoice(folder, "x").note
    card.write_text(right)
    assert PiperVoice(folder, "x").networks.cut.flow == 6


def test_what_went_wrong_once_is_not_remembered(tmp_path, monkeypatch):
    folder, open_session, count = made(tmp_path / "voice"), pieces.open_session, []

    def full(*what):
        count.append(1)
        if len(count) == 2:
            raise FileError("there is no memory")
        return open_session(*what)

    monkeypatch.setattr(pieces, "open_session", full)
    assert "there is no memory" in PiperVoice(folder, "x").note
    assert PiperVoice(folder, "x").networks.cut.flow == 6


@pytest.mark.parametrize(
    "wrong", [b"", b"[]", b"[" * 100_000, b'{"version": 0, "channels": 8}', Cut(7, 9, HOP)]
)
def test_what_is_remembered_wrongly_is_found_out_anew(tmp_path, wrong):
    folder = made(tmp_path / "voice")
    right = PiperVoice(folder, "cut").networks.cut
    [kept] = (cache_folder() / "voices").iterdir()
    if isinstance(wrong, Cut):
        remember([(folder / "voice.onnx").read_bytes()], wrong)
    else:
        kept.write_bytes(wrong)
    assert PiperVoice(folder, "cut").networks.cut == right
    assert recall([(folder / "voice.onnx").read_bytes()]) == right


def test_without_a_cache_folder_it_is_found_out_each_time(tmp_path, monkeypatch, opened):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        opened.clear()
        assert PiperVoice(made(tmp_path / "voice"), "cut").networks.cut.channels == 8
        assert len(opened) == 5


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=3))
@settings(max_examples=50, deadline=None)
def test_any_value_is_a_cut_or_none(value):
    assert cut_of(value) is None
    said = {"channels": 8, "reach": 9, "hop": 16, "flow": 7, "moving": [0, 2], "why": ""}
    assert cut_of(said) == Cut(8, 9, 16, 7, (0, 2))
    assert cut_of(said | {"moving": [1]}) is None
    for name in said:
        found = cut_of(said | {name: value})
        assert found is None or isinstance(found, Cut)


HEARS_ALL = [
    node("ReduceMean", ["raised"], ["mean_of_all"], axes=[2]),
    node("Sub", ["raised", "mean_of_all"], ["shaped"]),
]
NEVER_TWICE = [node("RandomNormalLike", ["raised"], ["more"]), node("Add", ["raised", "more"], ["shaped"])]
OF_ODD_LENGTH = [node("AveragePool", ["raised"], ["shaped"], kernel_shape=[2])]


@pytest.mark.parametrize("decoder", [HEARS_ALL, NEVER_TWICE, OF_ODD_LENGTH])
def test_a_decoder_that_cannot_be_run_in_pieces(tmp_path, decoder, opened):
    folder = made(tmp_path / "voice", decoder=decoder)
    voice = PiperVoice(folder, "whole")
    assert voice.networks.cut.channels == 0
    assert voice.note.startswith("voice whole is heard when all of a sentence is made, since ")
    assert len(spoken(voice)) == 1
    opened.clear()
    again = PiperVoice(folder, "whole")
    assert (again.note, len(opened)) == (voice.note, 1)


def test_halves_that_make_another_sound_are_not_taken(tmp_path, monkeypatch):
    folder = made(tmp_path / "voice")
    other = Halves((made(tmp_path / "other", speakers=2) / "voice.onnx").read_bytes())
    content = onnx.load_from_string(other.second(8))
    content.graph.initializer[0].raw_data = bytes(len(content.graph.initializer[0].raw_data))
    monkeypatch.setattr(Halves, "second", lambda self, channels: content.SerializeToString())
    voice = PiperVoice(folder, "whole")
    assert voice.networks.cut.why == "its halves make another sound than the whole"
    [whole] = spoken(voice)
    assert np.abs(whole).max() > 0


def test_a_decoder_that_rounds_few_frames_otherwise_is_given_more(tmp_path, monkeypatch):
    """As ONNX Runtime's convolutions of many weights may."""
    decode = pieces.Networks.decode

    def rounding(self, frames):
        return decode(self, frames) + np.float32(4e-6 * (frames.shape[2] < 65))

    networks = PiperVoice(tiny_voices.pair(tmp_path / "two", phoneme_type="text"), "two").networks
    assert networks.cut.least == 0
    monkeypatch.setattr(pieces.Networks, "decode", rounding)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    networks, again = (PiperVoice(tmp_path / "two", "two").networks for _ in range(2))
    assert networks.cut.least == again.cut.least == 65  # The second by what is remembered.
    for total in (1, 40, 64, 65, 66, 300):
        frames = np.random.default_rng(total).normal(size=(1, 6, total)).astype(np.float32)
        for each in (networks, again):
            parts = list(pieces.Networks.decoded(each, [frames]))
            assert len(parts) > 1 or total <= 16
            joined = np.concatenate([piece for _, piece in parts])
            np.testing.assert_allclose(joined, each.decode(frames), rtol=0, atol=1e-6)


def test_an_added_voice_keeps_how_it_is_cut(tmp_path, monkeypatch, opened):
    assert add_voice(made(tmp_path / "ada"), "ada").note == ""
    said = json.loads((tmp_path / "data" / "rtaudio" / "voices" / "ada" / "rtaudio.json").read_text())
    assert said["cut"]["channels"] == 8
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    opened.clear()
    assert len(spoken(open_voice("ada"))) > 2
    assert len(opened) == 3
    assert not (tmp_path / "another").exists()
    added = add_voice(tiny_voices.telling(tmp_path / "bob", phoneme_type="text"), "bob")
    assert "no layer" in added.note
    assert added in known_voices()
