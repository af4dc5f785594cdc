"""Controllers that move parameters: values, 14 bits, learning, what is sent back, and bad messages."""

import math
import sys
from collections import deque

import numpy as np
import pytest
from blocks import course
from hypothesis import given, settings
from hypothesis import strategies as st
from stepped import Stepped

from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.control import apply
from rtaudio.errors import UserError
from rtaudio.graph import Graph, Node, parameters_of
from rtaudio.host import Host
from rtaudio.kernel import channel, kernel, position
from rtaudio.kernel import value as value_at
from rtaudio.midi import (
    FULL,
    LSB,
    MSB,
    Midi,
    MidiBinding,
    Pair,
    narrowed,
    place_of,
    present_value,
    value_of,
    widened,
)
from rtaudio.plan import Plan
from rtaudio.processor import Parameter, Processor
from rtaudio.registry import load_engine

pytest.importorskip("mido", reason="controllers need mido", exc_type=ImportError)

RATE, BLOCK, DELAY = 48_000, 64, 480


class Cable:
    """A port whose other end the test holds."""

    name = "cable"

    def __init__(self, looped=False):
        self.come, self.sent, self.looped, self.news, self.at = deque(), [], looped, "", 0
        self.open = True

    def send(self, at, *message):
        self.come.append((at, bytes(message)))

    def read(self, most):
        return [self.come.popleft() for _ in range(min(most, len(self.come)))]

    def write(self, message):
        self.sent.append(tuple(message))
        if self.looped:
            self.send(self.at, *message)
        return self.open

    def look(self):
        news, self.news = self.news, ""
        return news

    def statistics(self):
        return {"lost": 0}

    def close(self):
        self.open = False


class Desk:
    """A host on a device that steps, with controllers."""

    def __init__(self, chain, *bindings, looped=False, block=BLOCK):
        graph = chain if isinstance(chain, Graph) else load_chain(chain)
        self.cable = Cable(looped)
        self.host = Host(Plan(graph, RATE, block, 1), Stepped())
        self.midi = self.host.midi = Midi(self.host, self.cable, DELAY / RATE, bindings)
        self.host.start()
        self.midi.poll()
        self.cable.sent.clear()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.host.close()

    def move(self, controller, value, at=0, channel=1):
        self.cable.send(at, 0xB0 | channel - 1, controller, value)
        self.midi.poll()

    def run(self, blocks=1):
        heard = []
        for _ in range(blocks):
            heard.append(self.host.device.step(np.float32(1.0)))
            self.cable.at = self.host.plan.position
            self.midi.poll()
        return np.concatenate(heard)

    def value(self, path):
        return present_value(self.host.plan, path)

    @property
    def sent(self):
        found, self.cable.sent[:] = list(self.cable.sent), []
        return found


def binding(parameter="gain.gain", controller=7, channel=1, **values):
    return MidiBinding(parameter=parameter, controller=controller, channel=channel, **values)


# Values

PLACES = range(0, FULL, 17)


def test_seven_bits_reach_both_ends_and_the_middle():
    assert [widened(value) for value in (0, 64, 127)] == [0, 8192, FULL]
    assert [narrowed(widened(value)) for value in range(128)] == list(range(128))
    best = [min(abs(widened(value) - place) for value in range(128)) for place in PLACES]
    assert [abs(widened(narrowed(place)) - place) for place in PLACES] == best


LINEAR = Parameter("x", 0.0, -1.0, 3.0)
HERTZ = Parameter("x", 100.0, 20.0, 20_000.0, "Hz", "log")
LEVEL = Parameter("x", 0.0, -100.0, 24.0, "dB", "dB", silence=True)
MAKEUP = Parameter("x", 0.0, 0.0, 24.0, "dB", "dB")
KIND = Parameter("x", "a", scale="choice", choices=("a", "b", "c"))
NUMBER = Parameter("x", 0.0, 0.0, 127.0, scale="integer")
SWITCH = Parameter("x", False)


@pytest.mark.parametrize(
    ("parameter", "settings", "share", "expected"),
    [
        (LINEAR, {}, 0.25, 0.0),
        (LINEAR, {"minimum": 2.0, "maximum": 0.0}, 0.25, 1.5),
        (LINEAR, {"minimum": -9.0, "maximum": 9.0}, 1.0, 3.0),
        (HERTZ, {}, 0.5, math.sqrt(20 * 20_000)),
        (HERTZ, {"minimum": 100.0, "maximum": 1600.0}, 0.25, 200.0),
        (MAKEUP, {}, 0.75, 18.0),
        (LEVEL, {"minimum": -24.0}, 0.5, 0.0),
        (LEVEL, {"maximum": 0.0}, 0.5, 80 * math.log10(0.5)),
        (LEVEL, {"minimum": 0.0, "maximum": -100.0}, 0.25, 80 * math.log10(0.75)),
        (LEVEL, {"maximum": 0.0}, 1 / 64, -100.0),
    ],
)
def test_a_place_is_a_value_on_the_parameters_own_scale(parameter, settings, share, expected):
    place = round(share * 16384) if share < 1 else FULL
    bound = binding("f.x", **settings)
    assert value_of(parameter, bound, place) == pytest.approx(expected, abs=5e-3)


def test_the_middle_of_a_balanced_parameter_is_exact():
    assert value_of(Parameter("crossfade", 0.0, -1.0, 1.0), binding("f.x"), widened(64)) == 0.0


def test_choices_numbers_and_switches_have_equal_parts_of_the_way():
    places = [value_of(KIND, binding("f.x"), place) for place in range(FULL + 1)]
    assert all(abs(places.count(choice) - 16384 / 3) < 1 for choice in "abc")
    assert [value_of(NUMBER, binding("f.x"), widened(value)) for value in range(128)] == list(range(128))
    backwards = binding("f.x", minimum=127.0, maximum=0.0)
    assert [value_of(NUMBER, backwards, widened(value)) for value in range(128)] == list(range(127, -1, -1))
    assert [value_of(SWITCH, binding("f.x"), widened(value)) for value in (0, 63, 64, 127)] == [0, 0, 1, 1]
    inverted = binding("f.x", minimum=1.0, maximum=0.0)
    assert [value_of(SWITCH, inverted, widened(value)) for value in (63, 64)] == [1, 0]


MOVABLE = [
    (name, parameter)
    for name in ("remix", "biquad", "compressor", "gain", "limiter", "delay", "gate")
    for parameter in parameters_of(load_engine(name))
    if parameter.automatable
]


@settings(deadline=None)
@given(
    which=st.sampled_from(MOVABLE),
    wide=st.booleans(),
    ends=st.tuples(st.none() | st.floats(-1e6, 1e6), st.none() | st.floats(-1e6, 1e6)),
    place=st.integers(0, FULL),
)
def test_every_place_is_a_value_that_the_parameter_takes_and_leads_back(which, wide, ends, place):
    name, parameter = which
    bound = binding(f"f.{parameter.id}", wide=wide, minimum=ends[0], maximum=ends[1])
    place = place if wide else widened(place >> 7)
    found = value_of(parameter, bound, place)
    assert parameter.checked(found, name) == found
    back = place_of(parameter, bound, found)
    assert value_of(parameter, bound, back) == pytest.approx(found, rel=1e-3, abs=1e-3)
    unclipped = parameter.scale not in ("choice", "integer") and not isinstance(parameter.default, bool)
    if ends == (None, None) and unclipped and found != parameter.minimum:
        assert back == place


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": 0},
        {"channel": 17},
        {"controller": 128},
        {"controller": 32, "wide": True},
        {"minimum": math.nan},
        {"maximum": math.inf},
    ],
)
def test_a_binding_of_no_controller_is_refused(wrong):
    with pytest.raises(ValueError, match=r"gain\.gain"):
        binding(**wrong)


# 14 bits


def played(halves, window=144):
    """What a pair makes of (half, value, position)."""
    pair, found = Pair(window), []
    for half, seven, at in halves:
        found += pair.take(half, seven, at)
    return found + pair.flush(halves[-1][2] + window + 1)


WIDE = st.lists(st.integers(0, FULL), min_size=2, max_size=20)


@settings(deadline=None)
@given(WIDE, st.integers(0, 60), st.integers(61, 500), st.booleans())
def test_both_halves_in_either_order_are_one_value(places, within, between, upper_first):
    halves, at = [], 0
    for place in places:
        both = [(MSB, place >> 7), (LSB, place & 127)]
        for half, seven in both if upper_first else both[::-1]:
            halves.append((half, seven, at))
            at += within
        at += between - within
    found = [place for _, place in played(halves)]
    assert found == places if not upper_first else found == [widened(places[0] >> 7), *places]


@settings(deadline=None)
@given(WIDE)
def test_a_lower_half_alone_moves_the_value_finely(places):
    """As some controllers do: an upper half only where it is another one."""
    halves, upper = [], -1
    for number, place in enumerate(places):
        if place >> 7 != upper:
            halves.append((MSB, place >> 7, 300 * number))
        halves.append((LSB, place & 127, 300 * number + 40))
        upper = place >> 7
    assert [place for _, place in played(halves)][1:] == places


def test_an_upper_half_alone_is_seven_bits_until_a_lower_one_has_come():
    assert played([(MSB, 64, 0), (MSB, 127, 100)]) == [(0, 8192), (100, FULL)]
    assert played([(MSB, 64, 0), (LSB, 5, 10), (MSB, 65, 900), (MSB, 66, 2000)])[2:] == [
        (900, 65 << 7),
        (2000, 66 << 7),
    ]


def test_the_order_is_noticed_when_it_was_taken_for_the_other():
    """A lower half was the first thing that came, from a controller that sends the upper one first."""
    halves = [(LSB, 100, 0)]
    places = [8000, 8190, 8200, 8300, 9000]
    for number, place in enumerate(places, 1):
        halves += [(MSB, place >> 7, 500 * number), (LSB, place & 127, 500 * number + 48)]
    found = [place for _, place in played(halves)]
    assert found[-len(places) + 1 :] == places[1:]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([MSB, LSB]), st.integers(0, 127), st.integers(0, 400)), min_size=1))
def test_any_halves_make_values_at_places_where_something_came(steps):
    at, halves = 0, []
    for half, seven, gap in steps:
        at += gap
        halves.append((half, seven, at))
    found = played(halves)
    assert {when for when, _ in found} <= {when for _, _, when in halves}
    assert all(0 <= place <= FULL for _, place in found)


# In the sound


@kernel
def number_kernel(state: int, inputs: int, outputs: int, n: int, params: int, context: int) -> int:
    """The parameter, as it is."""
    y, at = channel(outputs, 0, n), position(context)
    for i in range(n):
        y[i] = np.float32(value_at(params, 0, at + i))
    return 0


class Number(Processor):
    """Plays its parameter, which jumps."""

    id = "number"
    inputs = ()
    parameters = (
        Parameter("number", 0.0, 0.0, 127.0, scale="integer", smoothing=0.0),
        Parameter("kind", "b", scale="choice", choices=("a", "b", "c")),
    )
    unity = None
    fallback = None
    KERNEL = number_kernel

    def allocate(self):
        return ()


def numbers():
    return Graph([Node("number", Number)], ["number -> out"])


@pytest.mark.parametrize("block", [1, 17, 64, 441])
def test_what_lies_between_two_messages_is_kept_to_the_sample(block):
    moves = [(1, 3), (2, 17), (63, 4), (64, 90), (64, 91), (65, 1), (700, 127), (1900, 0)]
    expected = np.zeros(3000)
    for at, number in moves:
        expected[at + DELAY :] = number
    with Desk(numbers(), binding("number.number"), block=block) as desk:
        for at, number in moves:
            desk.cable.send(at, 0xB0, 7, number)
        desk.midi.poll()
        heard = desk.run(-(-3000 // block))[:3000, 0]
        np.testing.assert_array_equal(heard, expected)
        assert desk.midi.statistics()["late"] == 0
        assert desk.midi.statistics()["set"] == len(moves)


def test_a_fader_is_smooth_and_begins_where_it_should():
    with Desk("gain", binding(maximum=0.0)) as desk:
        for at, place in (100, 64), (350, 100), (900, 127):
            desk.cable.send(at, 0xB0, 7, place)
        desk.midi.poll()
        heard = desk.run(40)[:, 0]
    law = [(place / 128 if place <= 64 else 0.5 + (place - 64) / 126) ** 4 for place in (64, 100, 127)]
    changes = [(level, at + DELAY) for level, at in zip(law, (100, 350, 900), strict=True)]
    np.testing.assert_allclose(heard, course(1.0, changes, len(heard)), atol=2e-4)


def test_a_message_that_comes_too_late_takes_effect_at_once_and_is_counted():
    with Desk(numbers(), binding("number.number")) as desk:
        desk.run(30)
        desk.move(7, 9, at=30 * BLOCK - DELAY - 1)
        assert desk.midi.statistics()["late"] == 1
        desk.move(7, 10, at=30 * BLOCK - DELAY)
        assert desk.midi.statistics()["late"] == 1
        assert (desk.run() == 10).all()


def test_more_changes_than_there_is_room_for_are_refused_and_counted():
    with Desk(numbers(), binding("number.number")) as desk:
        for number in range(5000):
            desk.cable.send(0, 0xB0, 7, 1 + number % 99)
        while desk.cable.come:
            desk.midi.poll()
        counts = desk.midi.statistics()
        assert counts["refused"] > 0
        assert counts["refused"] + counts["set"] == 5000
        desk.run(20)
        desk.move(7, 101, at=desk.host.plan.position)
        assert (desk.run(20)[-BLOCK:] == 101).all()


# Kinds of controllers


def test_a_switch_follows_a_button_and_a_toggle_turns_at_every_press():
    with Desk("gain", binding("gain.mute", 1), binding("gain.pan", 2, toggle=True)) as desk:
        for value, muted in (127, 1), (100, 1), (63, 0), (64, 1), (0, 0):
            desk.move(1, value)
            assert desk.value("gain.mute") == muted
        for value, pan in (127, 1), (127, 1), (64, 1), (0, 1), (80, -1), (0, -1), (127, 1):
            desk.move(2, value)
            assert desk.value("gain.pan") == pan


def test_a_toggle_goes_through_choices():
    with Desk(numbers(), binding("number.kind", 2, toggle=True)) as desk:
        for kind in "cab":
            desk.run(20)
            desk.move(2, 127, at=desk.host.plan.position)
            desk.move(2, 0, at=desk.host.plan.position)
            assert desk.value("number.kind") == kind


def test_a_fader_that_picks_up_moves_nothing_until_it_passes_the_value():
    with Desk("gain(pan=0.5)", binding("gain.pan", 2, pickup=True)) as desk:
        for place, pan in (0, 0.5), (90, 0.5), (100, 100), (20, 20), (127, 127):
            desk.move(2, place)
            at = -1 + 2 * (place / 128 if place <= 64 else 0.5 + (place - 64) / 126)
            assert desk.value("gain.pan") == pytest.approx(0.5 if pan == 0.5 else at, abs=1e-4)
        desk.host.set("gain.pan", -0.5)
        desk.move(2, 126)
        assert desk.value("gain.pan") == -0.5
        desk.move(2, 32)
        assert desk.value("gain.pan") == -0.5
        desk.move(2, 31)
        assert desk.value("gain.pan") == pytest.approx(31 / 64 - 1)


def test_a_fader_that_does_not_pick_up_takes_the_value_along():
    with Desk("gain(pan=0.5)", binding("gain.pan", 2)) as desk:
        desk.move(2, 0)
        assert desk.value("gain.pan") == -1.0


def test_fourteen_bits_move_a_parameter():
    with Desk("gain", binding("gain.pan", 3, wide=True)) as desk:
        desk.move(3, 64, at=0)
        desk.move(35, 1, at=4)
        assert desk.value("gain.pan") == pytest.approx(2 / (2 * 8191))
        desk.move(3, 127, at=1000)
        assert desk.value("gain.pan") == pytest.approx(2 / (2 * 8191))
        desk.run(40)
        assert desk.value("gain.pan") == pytest.approx(2 * (0.5 + (127 * 128 - 8192) / (2 * 8191)) - 1)


def test_one_controller_may_move_two_parameters_and_two_one():
    bindings = (
        binding("gain.pan", 1),
        binding("gain.gain", 1, maximum=0.0),
        binding("gain.pan", 2, channel=16),
    )
    with Desk("gain", *bindings) as desk:
        assert desk.midi.bindings == list(bindings)
        desk.move(1, 127)
        assert (desk.value("gain.pan"), desk.value("gain.gain")) == (1.0, 0.0)
        desk.move(2, 0)
        assert desk.value("gain.pan") == 1.0
        desk.move(2, 0, channel=16)
        assert desk.value("gain.pan") == -1.0


def test_what_a_mixer_of_stems_needs():
    knobs = [
        binding("remix.crossfade", 1),
        binding("remix.percussive_gain", 2, maximum=6.0),
        binding("remix.harmonic_kill", 3, toggle=True),
    ]
    with Desk("remix(preset=live)", *knobs) as desk:
        desk.move(1, 64)
        desk.move(2, 127)
        desk.move(3, 127)
        assert [desk.value(knob.parameter) for knob in knobs] == [0.0, 6.0, 1.0]
        assert desk.host.notes == []


# What is sent back


def test_a_value_that_another_has_set_is_sent_once():
    with Desk("gain", binding("gain.pan", 2, channel=3), binding("gain.gain", 4, wide=True)) as desk:
        desk.host.set("gain.pan", -1.0)
        desk.host.set("gain.gain", -100.0)
        desk.run(3)
        assert desk.sent == [(0xB2, 2, 0), (0xB0, 4, 0), (0xB0, 36, 0)]
        desk.host.set("gain.pan", 0.0)
        desk.host.set("gain.pan", 1.0)
        desk.run(3)
        assert desk.sent == [(0xB2, 2, 127)]


def test_what_is_set_at_the_start_is_sent():
    with Desk("gain(pan=-1)") as desk:
        desk.midi.bindings = [binding("gain.pan", 2)]
        desk.midi.poll()
        assert desk.sent == [(0xB0, 2, 0)]


def test_what_the_controller_sent_is_not_sent_back():
    with Desk("gain", binding("gain.pan", 2), binding("gain.mute", 1)) as desk:
        for place in range(0, 128, 3):
            desk.move(2, place)
            desk.move(1, place)
        desk.run(3)
        assert desk.sent == []


def test_a_toggle_gets_its_light():
    """It shows what is so now, not whether the button is held."""
    with Desk("gain", binding("gain.mute", 1, toggle=True)) as desk:
        for muted in 1, 0, 1:
            desk.run(20)
            desk.move(1, 127, at=desk.host.plan.position)
            assert desk.sent == ([] if muted else [(0xB0, 1, 0)])
            desk.move(1, 0, at=desk.host.plan.position)
            assert desk.sent == ([(0xB0, 1, 127)] if muted else [])
            assert desk.value("gain.mute") == muted


def test_what_did_not_go_out_is_sent_again_and_a_controller_that_is_back_gets_all():
    with Desk("gain", binding("gain.pan", 2)) as desk:
        desk.cable.open = False
        desk.host.set("gain.pan", -1.0)
        desk.run(2)
        desk.cable.open = True
        desk.sent.clear()
        desk.run(2)
        assert desk.sent == [(0xB0, 2, 0)]
        desk.cable.news, desk.midi._next_look = "it is back", 0.0
        desk.run(2)
        assert desk.sent == [(0xB0, 2, 0)]
        assert desk.host.notes == ["it is back"]


CONTROLS = st.tuples(st.sampled_from([1, 2, 3, 35, 4]), st.integers(0, 127), st.integers(0, 2))


@settings(max_examples=30, deadline=None)
@given(st.lists(CONTROLS, max_size=20), st.lists(st.floats(-1, 1), max_size=3))
def test_a_controller_that_sends_back_all_it_gets_comes_to_rest(moves, others):
    knobs = (
        binding("gain.mute", 1, toggle=True),
        binding("gain.pan", 2),
        binding("gain.gain", 3, wide=True),
        binding("two.pan", 4, pickup=True),
    )
    with Desk("gain | two: gain", *knobs, looped=True) as desk:
        desk.cable.come.clear()
        desk.run(30)
        for controller, place, wait in moves:
            desk.move(controller, place, at=desk.host.plan.position)
            desk.run(1 + wait)
        for pan in others:
            desk.host.set("gain.pan", pan)
            desk.run()
        desk.run(40)
        desk.cable.sent.clear()
        desk.run(60)
        assert desk.sent == []
        assert not desk.cable.come


def test_what_comes_back_is_no_press_and_moves_nothing():
    with Desk("gain", binding("gain.mute", 1, toggle=True), binding("gain.pan", 2), looped=True) as desk:
        for muted in 1, 0, 1:
            desk.run(30)
            desk.move(1, 127, at=desk.host.plan.position)
            desk.move(1, 0, at=desk.host.plan.position)
            desk.run(3)
            assert desk.value("gain.mute") == muted
        desk.host.set("gain.pan", 0.1234)
        desk.run(3)
        assert desk.value("gain.pan") == 0.1234


# Learning


def test_the_controller_that_moves_next_is_learnt():
    with Desk("gain") as desk:
        assert apply(desk.host, "midi list") == "no controller moves anything"
        assert apply(desk.host, "midi learn gain.gain") == "move a controller for gain.gain"
        assert apply(desk.host, "midi list") == "gain.gain: move a controller"
        desk.move(74, 5, channel=10)
        desk.move(20, 99, channel=2)
        desk.run(20)
        assert desk.midi.bindings == [binding("gain.gain", 74, channel=10)]
        assert desk.host.notes == ["MIDI: controller 74 of channel 10 moves gain.gain"]
        assert apply(desk.host, "midi list") == "gain.gain: controller 74 of channel 10"
        desk.move(74, 127, channel=10)
        assert desk.value("gain.gain") == 24.0
        assert apply(desk.host, "midi forget gain.gain") == "no controller moves gain.gain"
        desk.move(74, 0, channel=10)
        assert desk.value("gain.gain") == 24.0


@pytest.mark.parametrize("order", [(7, 39), (39, 7)])
def test_a_pair_that_moves_is_learnt_as_one(order):
    with Desk("gain") as desk:
        desk.midi.learn("gain.pan", pickup=True)
        for number, controller in enumerate(order * 3):
            desk.move(controller, 3 * number, at=20 * number)
        desk.run(20)
        assert desk.midi.bindings == [binding("gain.pan", 7, wide=True, pickup=True)]


@pytest.mark.parametrize("controller", [7, 39, 64, 71, 127])
def test_one_controller_alone_has_seven_bits(controller):
    with Desk("gain") as desk:
        desk.midi.learn("gain.mute", toggle=True)
        desk.move(controller, 127)
        desk.run(20)
        assert desk.midi.bindings == [binding("gain.mute", controller, toggle=True)]


def test_what_is_learnt_anew_takes_the_controller_from_what_it_moved():
    with Desk("gain", binding("gain.pan", 7), binding("gain.gain", 8)) as desk:
        desk.midi.learn("gain.gain")
        desk.move(7, 0)
        desk.run(20)
        assert desk.midi.bindings == [binding("gain.gain", 7)]
        assert desk.value("gain.pan") == 0.0
        assert desk.host.notes == ["MIDI: controller 7 of channel 1 moves gain.gain, not gain.pan any more"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("midi learn gain.gian", "did you mean 'gain'"),
        ("midi learn gain", "node.parameter"),
        ("midi learn remix.preset", "fixed while sound runs"),
        ("midi learn gain.gain twice", "is not of the form"),
        ("midi learn gain.gain toggle toggle", "is not of the form"),
        ("midi forget gain.gain", "bound: gain.pan"),
        ("midi", "is not of the form"),
        ("midi list all", "is not of the form"),
    ],
)
def test_mistakes_are_one_line(line, message):
    with Desk("gain | remix(preset=live)", binding("gain.pan", 1)) as desk:
        with pytest.raises(UserError, match=message) as found:
            apply(desk.host, line)
        assert "\n" not in str(found.value)
        assert desk.midi.bindings == [binding("gain.pan", 1)]


def test_learning_is_called_off_by_forgetting():
    with Desk("gain", binding("gain.pan", 1)) as desk:
        desk.midi.learn("gain.gain")
        desk.midi.forget("gain.gain")
        desk.move(1, 0)
        assert desk.value("gain.pan") == -1.0


# Bad input


def test_a_parameter_that_is_gone_sleeps_and_wakes():
    with Desk("gain", binding("two.gain", 7), binding("gain.pan", 8)) as desk:
        assert len(desk.host.notes) == 1
        assert "controller 7 of channel 1 moves nothing: no node 'two'" in desk.host.notes[0]
        desk.move(7, 1)
        desk.run(3)
        assert apply(desk.host, "midi list").startswith("two.gain: controller 7 of channel 1, asleep; ")
        assert len(desk.host.notes) == 1
        before, desk.host.plan = desk.host.plan, Plan(load_chain("gain | two: gain"), RATE, BLOCK, 1)
        desk.move(7, 127)
        assert desk.value("two.gain") == 24.0
        assert "asleep" not in apply(desk.host, "midi list")
        desk.host.plan.close()
        desk.host.plan = before
        desk.midi.poll()
        assert len(desk.host.notes) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=40))
def test_no_bytes_break_it(chunks):
    with Desk("gain", binding("gain.pan", 1), binding("gain.gain", 2, wide=True)) as desk:
        for data in chunks:
            desk.cable.send(0, *data)
        desk.run(4)
        assert desk.midi.statistics()["messages"] == len(chunks)
        desk.cable.send(desk.host.plan.position, 0xB0, 1, 50)
        desk.cable.send(desk.host.plan.position, 0xB0, 1, 0)
        desk.run(2)
        assert desk.value("gain.pan") == -1.0


def test_what_is_no_controllers_is_counted_and_moves_nothing():
    with Desk("gain", binding("gain.pan", 1)) as desk:
        for message in (
            (0x90, 1, 0),
            (0xE0, 1, 0),
            (0xB0, 1),
            (1, 127),
            (0xFE,),
            (0xF8,),
            (0xF0, 1, 2),
            (1, 0),
        ):
            desk.cable.send(0, *message)
        desk.midi.poll()
        assert desk.value("gain.pan") == 0.0
        assert desk.midi.statistics()["ignored"] == 8


def test_a_flood_is_looked_at_in_turns():
    with Desk("gain", binding("gain.pan", 1)) as desk:
        for number in range(1000):
            desk.cable.send(0, 0xB0, 1, number % 128)
        desk.midi.poll()
        assert 0 < len(desk.cable.come) < 1000


def test_without_mido_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    with Host(Plan(load_chain("gain"), RATE, BLOCK, 1), Stepped()) as host:
        with pytest.raises(UserError, match=r"pip install 'rtaudio\[midi\]'"):
            Midi(host, Cable())
        with pytest.raises(UserError, match="start with --midi"):
            apply(host, "midi list")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--midi"], "needs the name of a port"),
        (["--midi-delay", "5"], "goes with --midi"),
        (["--midi", "nosuch"], "/dev/snd/seq"),
    ],
)
def test_options_that_do_not_fit_are_one_line_and_status_2(capsys, arguments, message):
    assert main(["live", "--api", "null", "--chain", "gain", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


@pytest.mark.parametrize("delay", ["-1", "nan", "1001", "x"])
def test_a_delay_that_is_none_is_refused(capsys, delay):
    with pytest.raises(SystemExit) as ended:
        main(["live", "--api", "null", "--midi", "x", "--midi-delay", delay])
    assert ended.value.code == 2
    assert "no delay in milliseconds" in capsys.readouterr().err
