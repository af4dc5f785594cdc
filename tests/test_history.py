"""What was done is undone and done again: values, switches, edits."""

import numpy as np
import pytest
from edited import Sound, await_, chain, node
from hypothesis import given, settings
from hypothesis import strategies as st

from rtaudio.chain import parse_chain
from rtaudio.control import apply
from rtaudio.errors import UserError
from rtaudio.executor import FAILED, HELD
from rtaudio.graph import Graph
from rtaudio.history import merged
from rtaudio.rack import Rack, RackNode, save_rack
from rtaudio.stream import OFFERED, TAKEN_OVER, TURN

pytestmark = pytest.mark.alone


def state(graph):
    """All that a user has set and connected."""
    return (
        {
            name: (each.engine.id, dict(each.make().values), each.bypass, each.mute, each.solo, each.lane)
            for name, each in graph.nodes.items()
        },
        set(graph.texts()),
    )


@pytest.fixture
def sound():
    made = Sound(chain(node("first", "gain", gain=-3.0), node("eq", "biquad", kind="peaking", gain=6.0)))
    made.step(20)
    yield made
    made.host.close()


def do(sound, line):
    """A line, as control does it, until it is heard; the answer and the notes."""
    with sound.running():
        answer = apply(sound.host, line)
        await_(lambda: not sound.host.edits, sound.host.poll)
    notes, sound.host.notes = sound.host.notes, []
    return answer, notes


LINES = [
    "set first.gain -12",
    "set eq.kind lowshelf",
    "mute first",
    "solo eq",
    "bypass eq",
    "insert last limiter(ceiling=-1)",
    "insert after first loud: gain(gain=6)",
    "insert before eq gate",
    "insert first gain",
    "remove first",
    "move eq before first",
    "replace first delay(time=100)",
    "connect in -> out",
    "chain compressor | gain",
]


@pytest.mark.parametrize("line", LINES)
def test_every_change_is_undone_and_done_again(sound, line):
    before = state(sound.host.plan.graph)
    do(sound, line)
    after = state(sound.host.plan.graph)
    assert after != before
    for _ in range(2):
        answer, _ = do(sound, "undo")
        assert answer.startswith("undo ")
        assert state(sound.host.plan.graph) == before
        do(sound, "redo")
        assert state(sound.host.plan.graph) == after


def test_what_is_undone_sounds_as_before(sound):
    with sound.running():
        pass
    begin = len(sound.heard)
    sound.step(20)
    do(sound, "insert last gain(gain=-20)")
    do(sound, "undo")
    sound.step(20)
    graph = chain(node("first", "gain", gain=-3.0), node("eq", "biquad", kind="peaking", gain=6.0))
    expected = sound.offline(graph)
    heard = sound.result()
    np.testing.assert_array_equal(heard[:, : begin * 64], expected[:, : begin * 64])
    np.testing.assert_array_equal(heard[:, -10 * 64 :], expected[:, -10 * 64 :])


def test_changes_are_undone_in_turn_and_a_new_one_ends_what_was_undone(sound):
    states = [state(sound.host.plan.graph)]
    lines = ["set first.gain -9", "insert last limiter", "mute eq", "remove first", "set eq.gain 1"]
    for line in lines:
        do(sound, line)
        states.append(state(sound.host.plan.graph))
    for wanted in states[-2::-1]:
        do(sound, "undo")
        assert state(sound.host.plan.graph) == wanted
    with pytest.raises(UserError, match="nothing to undo"):
        apply(sound.host, "undo")
    for wanted in states[1:3]:
        do(sound, "redo")
        assert state(sound.host.plan.graph) == wanted
    do(sound, "set first.gain -1")
    with pytest.raises(UserError, match="nothing to do again"):
        apply(sound.host, "redo")


def test_an_undone_edit_leaves_what_was_set_meanwhile_and_is_not_its_own(sound):
    """A fader that moves while an edit is on its way lies below it among what was done."""
    with sound.running():
        apply(sound.host, "insert last gain")
        apply(sound.host, "set first.gain -20")
        await_(lambda: not sound.host.edits, sound.host.poll)
    do(sound, "undo")
    assert list(sound.host.plan.graph.nodes) == ["first", "eq"]
    assert sound.host.plan.value("first.gain") == -20.0
    do(sound, "undo")
    assert sound.host.plan.value("first.gain") == -3.0


def test_the_moves_of_a_fader_are_one_change(sound):
    for value in (-4, -5, -6):
        apply(sound.host, f"set first.gain {value}")
    sound.host.history.done[-1].at -= 2.0
    apply(sound.host, "set first.gain -7")
    assert apply(sound.host, "undo") == "undo set first.gain -7.0"
    assert sound.host.plan.value("first.gain") == -6.0
    apply(sound.host, "undo")
    assert sound.host.plan.value("first.gain") == -3.0


def test_the_moves_of_two_faders_at_once_are_two_changes(sound):
    for value in (-4, -5, -6):
        apply(sound.host, f"set first.gain {value}")
        apply(sound.host, f"set eq.frequency {-100 * value}")
    assert [list(change.values) for change in sound.host.history.done] == [["first.gain"], ["eq.frequency"]]
    assert apply(sound.host, "undo") == "undo set eq.frequency 600.0"
    assert sound.host.plan.value("eq.frequency") == 1000.0
    apply(sound.host, "undo")
    assert sound.host.plan.value("first.gain") == -3.0


def test_an_edit_that_is_not_heard_yet_is_given_up(sound):
    edit = sound.host.submit(lambda graph: graph.remove("first"), "remove first")
    assert apply(sound.host, "undo") == "remove first is given up"
    with sound.running():
        await_(lambda: edit.done, sound.host.poll)
    assert list(sound.host.plan.graph.nodes) == ["first", "eq"]
    assert not sound.host.history.done


def test_an_edit_that_is_given_up_too_late_is_undone(sound):
    """The callback has it already: control learns that only later."""
    words = sound.host.stream.words
    host = sound.host
    host.submit(lambda graph: graph.remove("first"), "remove first")
    sound.step()
    await_(lambda: words[TURN] == OFFERED)
    sound.step()
    assert words[TURN] == TAKEN_OVER
    assert apply(host, "undo") == "remove first is given up"
    with sound.running():
        await_(lambda: len(host.plan.graph.nodes) == 1, host.poll)
        await_(lambda: not host.edits, host.poll)
    assert list(host.plan.graph.nodes) == ["first", "eq"]
    assert not host.history.done


@pytest.mark.parametrize("pause", [0, 1, 4, 8, 12, 40])
def test_two_undos_soon_after_each_other_undo_two_changes(sound, pause):
    """Whatever the first has come to by then; also of what is still on its way."""
    do(sound, "set first.gain -9")
    do(sound, "insert last gain")
    with sound.running():
        apply(sound.host, "undo")
        begin = len(sound.heard)
        await_(lambda: len(sound.heard) >= begin + pause, sound.host.poll)
        apply(sound.host, "undo")
        apply(sound.host, "insert last limiter")
        await_(lambda: not sound.host.edits, sound.host.poll)
    assert list(sound.host.plan.graph.nodes) == ["first", "eq", "limiter"]
    assert sound.host.plan.value("first.gain") == -3.0
    assert [change.title for change in sound.host.history.done] == ["insert last limiter"]


def test_undo_and_redo_wait_for_their_turn(sound):
    do(sound, "insert last gain")
    do(sound, "insert last limiter")
    with sound.running():
        for line in ("undo", "undo", "redo", "redo", "undo"):
            apply(sound.host, line)
        await_(lambda: not sound.host.edits, sound.host.poll)
    assert list(sound.host.plan.graph.nodes) == ["first", "eq", "gain"]


def test_a_host_that_closes_amid_an_edit_that_is_given_up_closes(sound):
    words = sound.host.stream.words
    do(sound, "set first.gain -9")
    sound.host.submit(lambda graph: graph.remove("first"), "remove first")
    sound.step()
    await_(lambda: words[TURN] == OFFERED)
    sound.step()
    apply(sound.host, "undo")
    sound.step(20)  # It is heard, and control has not seen it.
    sound.host.close()


def test_to_listen_is_no_edit(sound):
    """What was done before, during and after is undone as if there had been no such node; that stays."""
    host, states = sound.host, [state(sound.host.plan.graph)]
    do(sound, "insert last limiter")
    do(sound, "listen ear: gain(gain=-1)")
    for line in ("set ear.gain -2", "mute ear", "unmute ear"):
        do(sound, line)
    do(sound, "insert first delay(time=10)")
    assert [change.title for change in host.history.done] == [
        "insert last limiter",
        "insert first delay(time=10)",
    ]
    assert host.plan.graph.order() == ["delay", "first", "eq", "limiter", "ear"]
    do(sound, "undo")
    do(sound, "undo")
    assert host.plan.graph.order() == ["first", "eq", "ear"]
    assert host.plan.value("ear.gain") == -2.0
    do(sound, "remove ear")
    assert state(host.plan.graph) == states[0]
    do(sound, "redo")
    do(sound, "redo")
    assert host.plan.graph.order() == ["delay", "first", "eq", "limiter"]
    do(sound, "insert last ear: gain")  # Another of that name.
    do(sound, "undo")
    assert host.plan.graph.order() == ["delay", "first", "eq", "limiter"]


def test_what_is_to_be_listened_through_can_be_given_up(sound):
    do(sound, "set first.gain -9")
    apply(sound.host, "listen ear: gain(gain=-1)")
    assert apply(sound.host, "remove ear") == "listen ear: gain(gain=-1) is given up"
    with sound.running():
        await_(lambda: not sound.host.edits, sound.host.poll)
    assert list(sound.host.plan.graph.nodes) == ["first", "eq"]
    words = sound.host.stream.words
    apply(sound.host, "listen ear: gain(gain=-1)")
    sound.step()
    await_(lambda: words[TURN] == OFFERED)
    sound.step()
    assert words[TURN] == TAKEN_OVER
    apply(sound.host, "remove ear")
    with sound.running():
        await_(lambda: len(sound.host.plan.graph.nodes) == 3, sound.host.poll)
        await_(lambda: not sound.host.edits, sound.host.poll)
    assert list(sound.host.plan.graph.nodes) == ["first", "eq"]
    assert [change.title for change in sound.host.history.done] == ["set first.gain -9"]
    assert sound.host.plan.value("first.gain") == -9.0


def test_what_cannot_be_undone_is_told_and_forgotten(sound):
    do(sound, "set first.gain -9")
    do(sound, "remove eq")
    begin, _ = sound.host.history.done[-1].graphs
    begin.nodes["eq"].values["kind"] = "nothing"  # as if its model's file had gone
    _, notes = do(sound, "undo")
    assert "undo remove eq" in notes[0]
    assert "nothing" in notes[0]
    do(sound, "undo")
    assert sound.host.plan.value("first.gain") == -3.0


def test_undoing_a_chain_brings_back_its_rack_and_what_was_set_inside(tmp_path):
    graph = parse_chain("remix(percussive_insert='delay(time=100)')")
    sound = Sound(graph)
    sound.host.rack = Rack(name="mine")
    sound.step(20)
    do(sound, "set remix/percussive/delay.mix 0.6")
    save_rack(tmp_path / "other.toml", Rack(name="other", nodes={"gain": RackNode("gain")}))
    do(sound, f"chain {tmp_path / 'other.toml'}")
    assert sound.host.rack.name == "other"
    do(sound, "undo")
    assert sound.host.rack.name == "mine"
    assert sound.host.plan.value("remix/percussive/delay.mix") == 0.6
    do(sound, "redo")
    assert sound.host.rack.name == "other"
    sound.host.close()


def test_a_node_that_crashed_stays_off_through_edits(sound):
    """Its kernel is not run until it is switched on."""
    graph = sound.host.plan.graph
    graph.nodes["first"].bypass = graph.nodes["first"].held = True
    do(sound, "insert first gain")
    assert sound.host.plan.graph.nodes["first"].held
    for line in (
        "remove first",
        "undo",
        "preset eq presence",
        "set eq.kind notch",
        "undo",
        "chain gain",
        "undo",
    ):
        do(sound, line)
        if "first" in sound.host.plan.graph.nodes:
            assert sound.host.plan.graph.nodes["first"].held
            assert sound.host.plan.layout.steps["first"].words[FAILED] == HELD
    do(sound, "unbypass first")
    assert not sound.host.plan.graph.nodes["first"].held


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("insert somewhere gain", "'somewhere' is no place"),
        ("insert after fist gain", "no node 'fist', did you mean 'first'"),
        ("insert last", "not of the form 'insert PLACE NODE'"),
        ("insert last gian", "did you mean 'gain'"),
        ("insert last gain | gain", "expected"),
        ("insert last first: gain", "node 'first' is there already"),
        ("remove nothing", "no node 'nothing'"),
        ("move eq after eq", "no node 'eq'"),
        ("replace nothing gain", "no node 'nothing'"),
        ("connect eq -> first", "cycle"),
        ("connect in -> first", "given twice"),
        ("disconnect eq -> out", "nothing is connected to 'out'"),
        ("disconnect in -> eq", "no edge 'in.main -> eq.in'"),
        ("chain nothing", "nothing"),
        ("chain missing.toml", "missing.toml"),
    ],
)
def test_what_cannot_be_is_refused_at_once_and_nothing_changes(sound, line, said):
    before = state(sound.host.plan.graph)
    with pytest.raises(UserError) as error:
        apply(sound.host, line)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert state(sound.host.plan.graph) == before
    assert not sound.host.edits
    assert not sound.host.history.done


gains = st.floats(-20, 0).map(lambda gain: round(gain, 1))


@st.composite
def graphs(draw):
    names = draw(st.lists(st.sampled_from("abcd"), unique=True))
    nodes = [node(name, "gain", **({"gain": draw(gains)} if draw(st.booleans()) else {})) for name in names]
    for each in nodes:
        each.bypass, each.mute = draw(st.booleans()), draw(st.booleans())
    return chain(*nodes)


@settings(max_examples=60, deadline=None)
@given(graphs(), graphs(), gains)
def test_going_back_is_the_inverse_and_leaves_alone_what_did_not_differ(before, after, gain):
    assert state(merged(before, before, after)) == state(after)
    assert state(merged(after, after, before)) == state(before)
    moved = after.copy()
    for name, each in moved.nodes.items():
        each.values["gain"] = gain
        if name in before.nodes:
            before.nodes[name].values["gain"] = after.nodes[name].values["gain"] = -1.0
    back: Graph = merged(moved, after, before)
    for name in back.nodes:
        assert back.nodes[name].values.get("gain") == (
            gain if name in after.nodes else before.nodes[name].values.get("gain")
        )
