"""The DJ remix: what faders and switches do to the stems, inserts and their tails, and what is refused."""

import time

import contract
import numpy as np
import pytest
import soundfile as sf
from blocks import course, noise, play, played, run
from contract import Case
from hypothesis import given, settings
from hypothesis import strategies as st
from stepped import above_15_khz, step_above_15_khz

from engines.hpss import Hpss
from engines.remix import Remix, Strip
from engines.stems import KILL_SECONDS, STEMS, SWITCHES, Stems
from rtaudio.chain import parse_chain
from rtaudio.errors import UserError
from rtaudio.files import AudioReader, AudioWriter
from rtaudio.graph import Graph, Node, parameters_of
from rtaudio.host import Host
from rtaudio.null import NullDevice
from rtaudio.plan import Plan
from rtaudio.rack import dump_rack, graph_of, parse_rack, rack_of

RATE = 48_000
SHORT = {"n_fft": "512", "synthesis": "512", "hop": "128", "harmonic_kernel": 5, "percussive_kernel": 5}
"""A separation of little cost and latency."""
SPREAD = {**SHORT, "harmonic_margin": 2.0, "percussive_margin": 2.0}
"""One with a residual."""


def smoothstep(u):
    u = np.clip(u, 0.0, 1.0)
    return u * u * u * (u * (u * 6.0 - 15.0) + 10.0)


def sine(samples, frequency=220.0):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(samples) / RATE)).astype(np.float32)


# Crossfader and switches


def level(stem, values):
    """Amplitude of a stem, from the rules as a DJ would say them."""
    on = {name: bool(values.get(name)) for name in values if name != "crossfade"}
    soloed = [each for each in STEMS if on.get(f"{each}_solo")]
    if on.get(f"{stem}_mute") or on.get(f"{stem}_kill") or (soloed and stem not in soloed):
        return 0.0
    x = values.get("crossfade", 0.0)
    away = {"harmonic": max(x, 0.0), "percussive": max(-x, 0.0), "residual": abs(x)}[stem]
    return float(1.0 - smoothstep(away))


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {f"{stem}_{name}": st.booleans() for stem in STEMS for name in SWITCHES}
        | {"crossfade": st.sampled_from([-1.0, -0.5, -0.1, 0.0, 0.25, 1.0])}
    )
)
def test_every_setting_of_the_switches(values):
    x = noise(64, 6)
    y = run(Stems(**values), x, channels=2)
    for number, stem in enumerate(STEMS):
        rows = slice(2 * number, 2 * number + 2)
        np.testing.assert_allclose(y[rows], x[rows] * level(stem, values), rtol=2e-7, atol=1e-12)


def test_stems_are_untouched_at_the_defaults():
    x = noise(1000, 6)
    np.testing.assert_array_equal(run(Stems(), x, channels=2), x)


@pytest.mark.parametrize(("fader", "heard"), [(-1.0, "harmonic"), (1.0, "percussive")])
def test_at_its_ends_the_crossfader_leaves_one_stem(fader, heard):
    x = noise(8192)
    graph = Graph([Node("h", Hpss, SPREAD)], ["in -> h", f"h.{heard} -> out"])
    parts = play(graph, x, 128)
    np.testing.assert_array_equal(played(Remix, {**SPREAD, "crossfade": fader}, x, 128), parts)


MOVES = [
    ("harmonic_mute", 1.0, 480),
    ("harmonic_kill", 1.0, round(KILL_SECONDS * RATE)),
    ("percussive_solo", 1.0, 480),
    ("crossfade", 1.0, 960),
]


def stems_played(values, x, events):
    """The harmonic stem of `Stems` in a plan, fed with the same on every input."""
    edges = [f"in -> s.{stem}" for stem in STEMS] + ["s.harmonic -> out"]
    graph = Graph([Node("s", Stems, values)], edges)
    return play(graph, x, 128, [(f"s.{name}", value, at) for name, value, at in events])


@pytest.mark.parametrize(("name", "to", "length"), MOVES)
def test_a_switch_is_a_quintic_of_its_time(name, to, length):
    y = stems_played({}, np.ones((1, 4000), np.float32), [(name, to, 1000)])[0]
    if name == "crossfade":
        want = 1.0 - smoothstep(course(0.0, [(1.0, 1000)], 4000, length))
    else:
        want = course(1.0, [(0.0, 1000)], 4000, length)
    np.testing.assert_allclose(y, want, rtol=0, atol=3e-7)
    assert y[1000 + length :].max() == 0.0


@pytest.mark.parametrize(("name", "to", "length"), MOVES)
@pytest.mark.parametrize("milliseconds", [13, 250])
def test_switches_and_crossfader_do_not_click(name, to, length, milliseconds):
    """To and fro, also from one end of the crossfader to the other."""
    back = -1.0 if name == "crossfade" else 0.0
    events = [
        (name, (to, back)[number % 2], 4800 + number * milliseconds * 48)
        for number in range(900 // milliseconds)
    ]
    heard = stems_played({}, sine(RATE)[None], events)[0, 2400:]
    assert np.abs(heard).min() == 0.0 or name == "crossfade"
    assert above_15_khz(heard) <= -110
    assert step_above_15_khz(heard) <= -110


def test_two_stems_change_places_in_solo_without_a_click():
    events = [("harmonic_solo", 1.0, 4800)]
    events += [("harmonic_solo", 0.0, 12_000), ("percussive_solo", 1.0, 12_000)]
    heard = stems_played({}, sine(RATE)[None], events)[0, 2400:]
    assert step_above_15_khz(heard) <= -110
    assert np.abs(heard[12_000:]).max() == 0.0


def test_the_measure_sees_a_cut():
    cut = sine(RATE)
    cut[24_050:] = 0.0
    assert step_above_15_khz(cut[2400:]) > -60


# In the remix


@pytest.mark.parametrize("values", [SHORT, SPREAD, {"preset": "live"}])
def test_at_the_defaults_it_is_the_delayed_input(values):
    x = noise(16_384)
    graph = Graph([Node("r", Remix, values)], ["in -> r", "r -> out"])
    plan = Plan(graph, RATE, 128, 2)
    late = plan.latency
    plan.close()
    y = play(graph, x, 128)
    np.testing.assert_allclose(y[:, late:], x[:, : x.shape[1] - late], rtol=0, atol=1e-6)
    assert not y[:, :late].any() or np.abs(y[:, :late]).max() < 1e-6


def test_gain_pan_and_switches_of_every_stem_are_those_of_a_mixer():
    x = noise(8192)
    values = {"harmonic_gain": -6.0, "percussive_pan": 0.5, "residual_mute": 1.0, "percussive_gain": 3.0}
    graph = Graph(
        [Node("h", Hpss, SPREAD)],
        ["in -> h", *(f"h.{stem} -> out.{stem}" for stem in STEMS)],
    )
    plan = Plan(graph, RATE, 8192, 2)
    parts = {name: part.astype(float) for name, part in plan.process(x).items()}
    want = 10 ** (-6 / 20) * parts["harmonic"]
    want += 10 ** (3 / 20) * np.array([[0.5], [1.0]]) * parts["percussive"]
    plan.close()
    heard = played(Remix, {**SPREAD, **values}, x, 8192)
    np.testing.assert_allclose(heard, want, rtol=0, atol=1e-6)


ECHO = "delay(time=50, feedback=0.5, mix=1)"


def clicks(samples, places):
    x = np.zeros((1, samples), np.float32)
    x[0, places] = 0.5
    return x


SILENCING = [
    [("percussive_mute", 1.0)],
    [("percussive_kill", 1.0)],
    [("harmonic_solo", 1.0)],
    [("crossfade", -1.0)],
]


@pytest.mark.parametrize("events", SILENCING, ids=lambda events: events[0][0])
def test_echoes_of_a_stem_that_is_silenced_go_on(events):
    """A click goes into the echo, then the stem is silenced: the echoes come, a second click is not heard."""
    x = clicks(24_000, [2000, 6000])
    values = {**SHORT, "percussive_insert": ECHO, "harmonic_gain": -100.0}
    at = [(name, to, 3500) for name, to in events]
    untouched = played(Remix, values, clicks(24_000, [2000]), 128)
    silenced = played(Remix, values, x, 128, at)
    late = int(np.abs(untouched).argmax()) - 2400 - 2000
    assert 0 < late < 1500, "the first echo, 50 ms after the click"
    first = float(silenced[0, 2000 + late + 2400])
    assert first > 0.4, "most of the click is percussive"
    for echo in range(1, 5):
        assert silenced[0, 2000 + late + 2400 * (echo + 1)] == pytest.approx(first * 0.5**echo, rel=0.01)
    np.testing.assert_allclose(silenced, untouched, rtol=0, atol=1e-4)
    loud = played(Remix, values, x, 128)
    assert np.abs(loud - untouched).max() > 0.4, "the second click is heard where nothing is silenced"


def test_the_gain_comes_after_the_insert():
    values = {**SHORT, "percussive_insert": ECHO, "harmonic_gain": -100.0}
    loud = played(Remix, values, clicks(12_000, [2000]), 128)
    turned = played(Remix, {**values, "percussive_gain": -20.0}, clicks(12_000, [2000]), 128)
    np.testing.assert_allclose(turned, 0.1 * loud, rtol=1e-6, atol=1e-9)
    faded = played(Remix, values, clicks(12_000, [2000]), 128, [("percussive_gain", -100.0, 3500)])
    assert np.abs(faded[0, 5000:]).max() == 0.0


@pytest.mark.parametrize("stem", STEMS)
def test_an_insert_with_latency_keeps_the_stems_aligned(stem):
    """A limiter with nothing to do is a delay: the sum is still the input."""
    x = 0.1 * noise(16_384)
    values = {**SPREAD, f"{stem}_insert": "limiter(lookahead=7) | gain | limiter(lookahead=3)"}
    graph = Graph([Node("r", Remix, values)], ["in -> r", "r -> out"])
    plan, plain = (
        Plan(each, RATE, 128, 2)
        for each in (graph, Graph([Node("r", Remix, SPREAD)], ["in -> r", "r -> out"]))
    )
    added = plan.latency - plain.latency
    late = plan.latency
    for each in (plan, plain):
        each.close()
    assert added >= 480
    heard = play(graph, x, 128)
    np.testing.assert_allclose(heard[:, late:], x[:, : x.shape[1] - late], rtol=0, atol=1e-6)


def test_an_insert_is_the_chain_behind_the_stem():
    x = noise(16_384)
    text = "biquad(kind=highpass, frequency=300) | delay(time=20)"
    values = {**SPREAD, "harmonic_insert": text}
    inserted = parse_chain(f"hpss.harmonic | {text}")
    nodes = [Node("hpss", Hpss, SPREAD), *(n for n in inserted.nodes.values() if n.name != "hpss")]
    edges = ["in -> hpss", "hpss.harmonic -> biquad", "biquad -> delay", "delay -> out"]
    want = play(Graph(nodes, [*edges, "hpss.percussive -> out", "hpss.residual -> out"]), x, 128)
    np.testing.assert_allclose(played(Remix, values, x, 128), want, rtol=0, atol=1e-6)


def test_nodes_of_an_insert_are_set_while_sound_runs():
    x = noise(16_384)
    values = {**SHORT, "percussive_insert": "quiet: gain | compressor"}
    events = [("r/percussive/quiet.gain", -100.0, 5000), ("r.harmonic_kill", 1.0, 5000)]
    y, late = [], []
    for block in (128, 441):
        plan = Plan(Graph([Node("r", Remix, dict(values))], ["in -> r", "r -> out"]), RATE, block, 2)
        late.append(plan.latency)
        y.append(play(plan.graph, x, block, events))
        plan.close()
    assert np.abs(y[0][:, 5000 + late[0] + 480 + 1 :]).max() == 0.0
    n = min(each.shape[1] - lag for each, lag in zip(y, late, strict=True))
    np.testing.assert_array_equal(y[0][:, late[0] :][:, :n], y[1][:, late[1] :][:, :n])


def test_what_is_fixed_while_sound_runs_is_said():
    plan = Plan(parse_chain(f"remix(percussive_insert='{ECHO}')"), RATE, 128, 2)
    with pytest.raises(UserError, match=r"remix.percussive_insert is fixed while sound runs"):
        plan.set("remix.percussive_insert", "gain")
    with pytest.raises(UserError, match=r"remix/percussive/delay.time is fixed while sound runs"):
        plan.set("remix/percussive/delay.time", 3.0)
    with pytest.raises(UserError, match=r"no node 'remix/percussive/dely', did you mean"):
        plan.set("remix/percussive/dely.mix", 0.5)
    plan.close()


AUTOMATION = [
    ("remix.percussive_kill", 1.0, 3001),
    ("remix.crossfade", -0.7, 5000),
    ("remix/percussive/delay.mix", 0.8, 6007),
    ("remix.percussive_kill", 0.0, 9000),
    ("remix.residual_solo", 1.0, 12_345),
    ("remix.harmonic_gain", -9.0, 12_400),
    ("remix.residual_solo", 0.0, 15_000),
]


@pytest.mark.parametrize("lane", [0, 1])
def test_live_it_is_what_it_is_offline(tmp_path, lane):
    """On the null device without a clock, in the callback and on workers, with inserts and moving faders."""
    samples = 24_000
    x = noise(samples)
    sf.write(tmp_path / "in.wav", x.T, RATE, subtype="FLOAT")
    values = {**SPREAD, "percussive_insert": "delay(time=20) | limiter", "harmonic_insert": "compressor"}

    def graph():
        return Graph([Node("remix", Remix, dict(values))], ["in -> remix", "remix -> out"])

    offline = Plan(graph(), RATE, 128, 2)
    late = offline.latency
    offline.close()
    want = play(graph(), np.pad(x, ((0, 0), (0, late))), 128, AUTOMATION)[:, late:]
    plan = Plan(graph(), RATE, 128, 2, lane=lane)
    record = AudioWriter(tmp_path / "out.wav", RATE, 2, subtype="float")
    with Host(plan, NullDevice(freewheel=True), AudioReader(tmp_path / "in.wav"), record=record) as host:
        for path, value, at in AUTOMATION:
            host.set(path, value, at)
        host.start()
        until = time.monotonic() + 60.0
        while host.running:
            assert time.monotonic() < until
            time.sleep(0.01)
    heard = sf.read(tmp_path / "out.wav", dtype="float32")[0].T[:, plan.latency :][:, :samples]
    np.testing.assert_array_equal(heard, want)


# Text


NESTED = r"""remix(percussive_insert="remix(harmonic_insert='delay(time=1) | odd: gain(gain=-3)')")"""


@pytest.mark.parametrize(
    "text",
    [
        "remix(percussive_insert='compressor(ratio=4) | delay(time=250)')",
        "remix(percussive_insert='biquad(kind=\"highpass\")')",
        NESTED,
        r"remix(harmonic_insert='biquad(kind=\'highpass\')')",
    ],
)
def test_an_insert_survives_a_rack_file(text):
    graph = parse_chain(text)
    again = graph_of(parse_rack(dump_rack(rack_of(graph))))
    assert again.nodes["remix"].values == graph.nodes["remix"].values
    assert list(again.nodes["remix"].make().graph.nodes) == list(graph.nodes["remix"].make().graph.nodes)


def test_a_remix_in_an_insert_has_an_insert():
    plan = Plan(parse_chain(NESTED), RATE, 128, 2)
    plan.set("remix/percussive/remix/harmonic/odd.gain", -6.0)
    plan.close()


@pytest.mark.parametrize(
    ("insert", "message"),
    [
        ("compresor", "remix: percussive: insert: chain, column 1: no engine 'compresor', did you mean"),
        ("gain | delay(tim=3)", "remix: percussive: insert: delay: no parameter 'tim', did you mean 'time'?"),
        ("gain(gain=99)", "remix: percussive: insert: gain: gain=99 is out of range"),
        ("gain(gain=-3", "remix: percussive: insert: chain, column 13: expected"),
        ("tone", "remix: percussive: insert: its first node is a source"),
        ("hpss", "remix: percussive: insert: chain, column 1: hpss has 3 outputs"),
        ("fader: gain", "remix: percussive: insert: node 'fader' is defined twice"),
        ("gain(bypass=true)", "remix: percussive: insert: gain: bypass, mute and solo are for nodes"),
        ("delay(host_mute=true)", "remix: percussive: insert: delay: no parameter 'host_mute'"),
        (3.0, "remix: percussive_insert=3.0 is not text: write percussive_insert='...'"),
    ],
)
def test_an_insert_that_is_wrong_is_said_where(insert, message):
    with pytest.raises(UserError) as refused:
        Node("remix", Remix, {"percussive_insert": insert})
    assert str(refused.value).startswith(message)
    with pytest.raises(UserError, match=r"^dj: "):
        Node("dj", Remix, {"percussive_insert": insert})


def test_an_empty_insert_is_none():
    assert list(Strip(insert="  ").graph.nodes) == ["fader"]


def test_what_can_move_can_move():
    fixed = {each.id for each in parameters_of(Remix) if not each.automatable}
    moving = {f"{stem}_{name}" for stem in STEMS for name in ("gain", "pan", *SWITCHES)} | {"crossfade"}
    assert moving <= {each.id for each in parameters_of(Remix)} - fixed
    assert {f"{stem}_insert" for stem in STEMS} <= fixed


# The contract, which the registered engines are held to by test_contract.py


WITH_INSERTS = {
    **SHORT,
    "percussive_insert": "compressor(ratio=4) | delay(time=30)",
    "harmonic_insert": "limiter",
}
CASES = [Case(Stems, {}, "stems"), Case(Remix, WITH_INSERTS, "remix with inserts")]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_blocks_give_the_same_bits_while_parameters_move(case, channels):
    contract.check_partition(case, channels, contract.FEW_BLOCKS)
    contract.check_events(case, channels, contract.FEW_BLOCKS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rest_of_the_contract(case):
    contract.check_reset(case, 2)
    contract.check_silence(case, 2)
    contract.check_hostile(case, 2)
    contract.check_largest(case, 2)
    contract.check_llvm(case)
    if case.engine is Stems:
        contract.check_declarations("stems", Stems)
        contract.check_latency(case, 2)
        contract.check_memory(case, 2)
