"""The engine ``network``: streaming models with states, any hop and rate, against ONNX Runtime's Python."""

import ctypes
import json
import re
from fractions import Fraction
from pathlib import Path

import contract
import numpy as np
import onnx
import pytest
import soundfile as sf
import soxr
import streaming_models
from contract import Case
from onnx import TensorProto, helper
from streaming_models import constant, content_of, tensor

pytest.importorskip("onnxruntime", reason="runs networks")

from engines.network import NOT_FINITE, Network
from rtaudio import placement
from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.errors import FileError, UserError
from rtaudio.graph import Graph, Node
from rtaudio.inference import FAILED
from rtaudio.kernel import turn
from rtaudio.plan import Plan
from rtaudio.rack import dump_rack, graph_of, parse_rack, rack_of
from rtaudio.render import Job, render
from rtaudio.routing import Reblock

MODELS = {
    "gru": (streaming_models.gru, {"hop": 64}),
    "gru at unity": (streaming_models.gru, {"hop": 45}),
    "gru of 16 kHz": (streaming_models.gru, {"rate": 16_000, "hop": 80}),
    "gru of 44.1 kHz": (streaming_models.gru, {"rate": 44_100, "hop": 101}),
    "lstm": (streaming_models.lstm, {}),
    "lstm of 22.05 kHz": (streaming_models.lstm, {"rate": 22_050, "hop": 37}),
    "delay": (streaming_models.delay, {"hop": 480, "samples": 77}),
    "wide": (streaming_models.wide, {}),
    "wide of 24 kHz": (streaming_models.wide, {"rate": 24_000, "hop": 35}),
}
CHECKS = ("partition", "events", "reset", "latency", "silence", "hostile", "largest", "tail")


def engine(path):
    return Network.of({"model": str(path)})


def signals(card, n, seed=3):
    """Noise by tensor, and as rows of all ports."""
    rng = np.random.default_rng(seed)
    made = {
        each.name: (0.4 * rng.standard_normal((each.channels, n))).astype(np.float32) for each in card.inputs
    }
    return made, np.concatenate(list(made.values()))


def alone(path):
    """A graph of nothing else."""
    return Graph([Node("net", Network, {"model": str(path)})], ["in -> net", "net -> out"])


def at_rate(path, rate, block, channels):
    """The processor as the host makes it, for blocks of up to ``block``."""
    made = engine(path)()
    made.fit(rate)
    made = made if made.hop is None else Reblock(made)
    made.prepare(rate, block, False, channels)
    return made


def by_hop(path, channels=1, **values):
    """The processor itself, at the model's rate, which takes a hop a call."""
    made = engine(path)(**values)
    made.prepare(made.card.rate, made.hop, True, channels)
    return made


def play(processor, rows):
    """Whole rows, in blocks or hops."""
    sizes = contract.uniform(rows.shape[1] // processor.block * processor.block, processor.block)
    return contract.walk(processor, rows, sizes)


# ----------------------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize(
    ("model", "check"),
    [(model, check) for model in MODELS for check in CHECKS if check != "events" or "gru" in model],
)
def test_the_contract_holds(model, check, tmp_path):
    make, settings = MODELS[model]
    network = engine(make(tmp_path / "net.onnx", **settings))
    case = Case(network, network.unity if model == "gru at unity" else {})
    blocks = [contract.FEW_BLOCKS] if check in ("partition", "events") else []
    getattr(contract, f"check_{check}")(case, 2, *blocks)


def test_memory_does_not_grow(tmp_path):
    contract.check_memory(Case(engine(streaming_models.wide(tmp_path / "net.onnx", rate=44_100))), 1)


def test_a_run_that_begins_anywhere_is_late_by_the_same(tmp_path):
    """At a rate where a hop is no whole number of samples, far into a run."""
    path = streaming_models.delay(tmp_path / "net.onnx", rate=16_000, hop=50, samples=8)
    for start in contract.STARTS:
        made = at_rate(path, 44_100, 512, 1)
        x = np.zeros((1, 8000), np.float32)
        x[0, 3000] = 1
        y = contract.walk(made, x, contract.uniform(8000, 500), start)
        assert np.abs(y).argmax() == 3000 + made.latency, start


# ----------------------------------------------------------------------------------------- the same as Python


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("model", ["gru", "lstm"])
def test_every_channel_is_as_in_python(model, channels, tmp_path):
    make, settings = MODELS[model]
    path = make(tmp_path / "net.onnx", **settings)
    made = by_hop(path, channels)
    rows = contract.sound(channels, 40 * made.hop)
    got = play(made, rows)
    for x, y in zip(rows, got, strict=True):
        settings = {"amount": 1.0} if model == "gru" else {}
        (want,) = streaming_models.run_hops(path, {"x": x[None]}, settings).values()
        assert np.array_equal(y, want[0])


def test_ports_of_several_channels_are_as_in_python(tmp_path):
    path = streaming_models.wide(tmp_path / "net.onnx")
    made = by_hop(path, 2)
    by_tensor, rows = signals(made.card, 60 * made.hop)
    got = play(made, rows)
    want = streaming_models.run_hops(path, by_tensor)
    assert np.array_equal(got, np.concatenate([want["louder"], want["low"]]))
    assert [(port.name, port.channels) for port in made.inputs] == [("in", 2), ("side", 1)]
    assert [(port.name, port.channels) for port in made.outputs] == [("louder", 2), ("low", 1)]


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("model", ["gru of 16 kHz", "lstm of 22.05 kHz"])
def test_at_another_rate_it_is_as_after_another_resampler(model, rate, tmp_path):
    """The whole signal resampled by soxr, the model in Python, and back; all in the band of both filters."""
    make, settings = MODELS[model]
    path = make(tmp_path / "net.onnx", **settings)
    card = engine(path).card
    t = np.arange(rate) / rate
    x = sum(0.2 * np.sin(2 * np.pi * f * t + f) for f in (150, 410, 1030, 1990)) * np.sin(np.pi * t) ** 2
    made = at_rate(path, rate, 256, 1)
    got = play(made, np.concatenate([x, np.zeros(2 * made.latency)])[None].astype(np.float32))[0]
    low = soxr.resample(x.astype(np.float32), rate, card.rate, "VHQ")
    low = np.pad(low, (0, -len(low) % card.hop))
    (there,) = streaming_models.run_hops(
        path, {"x": low[None]}, {"amount": 1.0} if card.tensors else {}
    ).values()
    want = soxr.resample(there[0], card.rate, rate, "VHQ")
    n = min(len(want), rate) - 500
    left = got[made.latency : made.latency + n] - want[:n]
    assert np.sqrt(np.mean(left**2)) < 10 ** (-50 / 20) * np.sqrt(np.mean(want**2))


# ---------------------------------------------------------------------------------------------------- latency


@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize(("inner", "hop"), [(16_000, 256), (24_000, 240), (48_000, 480), (44_100, 63)])
def test_the_reported_latency_is_what_is_measured(rate, inner, hop, tmp_path):
    """Through a plan, of a model that delays: a tone that swells comes out as late as is reported, and what
    is left is 60 dB below it. Where hops are whole, re-blocking costs ``M - gcd(B, M)``."""
    path = streaming_models.delay(tmp_path / "net.onnx", rate=inner, hop=hop, samples=29)
    n = rate // 2
    t = np.arange(n) / rate
    x = (np.sin(2 * np.pi * 0.3 * min(rate, inner) * t) * np.sin(2 * np.pi * t) ** 2).astype(np.float32)
    made = engine(path)()
    made.fit(rate)
    assert (made.hop is None) == (hop * rate % inner != 0)
    own = set()
    for block in (64, 441):
        plan = Plan(alone(path), rate, block, 1)
        blocks = x[: n // block * block].reshape(-1, 1, block)
        y = np.concatenate([plan.process(np.ascontiguousarray(each))["main"][0].copy() for each in blocks])
        assert np.abs(y[plan.latency :] - x[: len(y) - plan.latency]).max() < 1e-3
        own.add(plan.latency - (made.hop - np.gcd(block, made.hop) if made.hop else 0))
        plan.close()
    assert len(own) == 1


def test_a_hop_at_the_graph_s_rate_costs_the_least_that_is_possible(tmp_path):
    path = streaming_models.delay(tmp_path / "net.onnx", hop=480, samples=13)
    for block, waiting in ((480, 0), (128, 448), (960, 0), (441, 477), (1, 479)):
        made = Reblock(engine(path)())
        made.prepare(48_000, block, True, 1)
        assert made.latency == 13 + waiting


# ------------------------------------------------------------------------------------------------- parameters


def test_parameters_are_read_once_a_hop(tmp_path):
    path = streaming_models.gru(tmp_path / "net.onnx", hop=64)
    made = by_hop(path, amount=0.25)
    x = contract.sound(1, 64 * 50)
    (want,) = streaming_models.run_hops(path, {"x": x}, {"amount": 0.25}).values()
    assert np.array_equal(play(made, x), want)
    made.reset()
    ramps = made.ramps()
    turn(ramps.ctypes.data, 1, 640, 1.0, 0, 640.0)
    got = contract.walk(made, x, contract.uniform(x.shape[1], 64), ramps=ramps)
    u = np.clip((np.arange(63, x.shape[1], 64) - 640) / 640, 0, 1)
    amounts = (0.25 + 0.75 * u**3 * (u * (u * 6 - 15) + 10)).repeat(64)
    (full,) = streaming_models.run_hops(path, {"x": x}, {"amount": 1.0}).values()
    assert np.abs(got - (x + amounts * (full - x))).max() < 1e-6


def test_a_parameter_keeps_its_card(tmp_path):
    card = {
        "parameters": [
            streaming_models.AMOUNT
            | {"minimum": -40, "maximum": 0, "default": -6, "unit": "dB", "scale": "dB", "doc": "how much"}
        ],
        "unity": None,
    }
    path = streaming_models.gru(tmp_path / "net.onnx", hop=64, **card)
    parameter = engine(path).parameters[1]
    assert (parameter.id, parameter.range, parameter.doc) == ("amount", "-40 to 0 dB", "how much")
    assert (parameter.smoothing, parameter.automatable) == (0.02, True)
    x = contract.sound(1, 640)
    made = by_hop(path)
    (want,) = streaming_models.run_hops(path, {"x": x}, {"amount": 10 ** (-6 / 20)}).values()
    assert np.array_equal(play(made, x), want)
    with pytest.raises(UserError, match="amount=1 is out of range"):
        engine(path)(amount=1)


# ------------------------------------------------------------------------------------------------------ state


def test_what_compiled_code_copies_makes_it_new(tmp_path):
    """As a worker does that was lapped: states, which of their two sets is the current one, rings."""
    made = Reblock(engine(streaming_models.wide(tmp_path / "net.onnx"))())
    made.prepare(48_000, 441, False, 2)
    _, rows = signals(made.inner.card, 33 * 61)
    sizes = contract.uniform(rows.shape[1], 441)
    first = contract.walk(made, rows, sizes)
    assert not np.array_equal(contract.walk(made, rows, sizes), first)
    for state, fresh, size in made.copies():
        ctypes.memmove(state, fresh, size)
    assert np.array_equal(contract.walk(made, rows, sizes), first)


def test_a_second_preparation_and_a_release_leave_nothing_open(tmp_path):
    made = engine(streaming_models.gru(tmp_path / "net.onnx"))()
    made.prepare(48_000, 48, True, 2)
    session, ends = made._session, [inference.close for inference in made._inferences]
    made.prepare(44_100, 512, False, 1)
    assert made._session is session
    assert not any(end.alive for end in ends)
    ends = [session.close, *(inference.close for inference in made._inferences)]
    made.release()
    assert not any(end.alive for end in ends)


# --------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("make", "trigger", "status", "said"),
    [
        (streaming_models.root, -2.0, NOT_FINITE, "it put out what is no number"),
        (streaming_models.lookup, 5.0, FAILED, "out of data bounds"),
    ],
)
def test_a_network_that_fails_gives_way_and_comes_back(make, trigger, status, said, tmp_path):
    path = make(tmp_path / "net.onnx")
    plan = Plan(alone(path), 48_000, 64, 1)
    x = np.full((1, 64), 0.5, np.float32)
    for _ in range(20):
        want = plan.process(x)["main"].copy()
    assert not plan.failed()
    bad = x.copy()
    bad[0, 30] = trigger
    assert np.isfinite(plan.process(bad)["main"]).all()
    assert plan.failed() == ["net"]
    assert plan.statistics()["nodes"]["net"]["status"] == status
    for _ in range(20):
        heard = plan.process(x)["main"].copy()
    assert np.array_equal(heard, x)
    plan.rearm("net")
    for _ in range(40):
        heard = plan.process(x)["main"].copy()
    assert not plan.failed()
    assert np.array_equal(heard, want)
    assert said in plan.reason("net")
    plan.close()


@pytest.mark.parametrize("lane", [1, 2])
def test_why_it_failed_is_told_in_a_line_in_every_lane(lane, tmp_path):
    path = streaming_models.lookup(tmp_path / "net.onnx")
    plan = Plan(load_chain(f"network(model='{path}', lane={lane})"), 48_000, 64, 1)
    x = np.full((1, 64), 0.5, np.float32)
    x[0, 30] = 5.0
    for _ in range(20):
        plan.process(x)
    assert plan.failed() == ["network"]
    assert "out of data bounds" in plan.reason("network")
    assert plan.close()


def test_one_that_fails_all_the_time_is_refused_and_a_render_says_why(tmp_path):
    path = streaming_models.root(tmp_path / "net.onnx", more=-2.0)
    why = "it put out what is no number"
    with pytest.raises(UserError, match=f"network fails in every block: {why}"):
        Plan(alone(path), 48_000, 64, 1, lane=None)
    sf.write(tmp_path / "in.wav", np.zeros(500), 48_000)
    report = render(alone(path), Job(tmp_path / "in.wav", {"main": tmp_path / "out.wav"}))
    assert report["failures"] == [f"net failed at 0.000 s and was bypassed from there: {why}"]


def test_a_card_that_says_what_no_card_has_is_refused(tmp_path):
    path = streaming_models.gru(tmp_path / "net.onnx", paramters=[])
    message = r"net.json says 'paramters', which no card has.*parameters"
    with pytest.raises(FileError, match=message):
        engine(path)
    with pytest.raises(FileError, match=r"says 'colour', which no card has; what else .* 'notes'"):
        engine(streaming_models.gru(tmp_path / "net.onnx", colour="red"))
    engine(streaming_models.gru(tmp_path / "net.onnx", licence="MIT", scores={}, notes="red"))


def test_a_network_is_described_as_any_engine(tmp_path, capsys):
    path = streaming_models.gru(tmp_path / "net.onnx")
    assert main(["engines", f"network(model='{path}')"]) == 0
    said = capsys.readouterr().out
    assert "amount" in said
    assert "not known" not in said
    assert main(["engines", "gain(gain=1) | gain"]) == 2
    assert "is 2 engines: give one" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------- in the graph


def test_its_ports_and_parameters_are_those_of_its_model(tmp_path):
    wide = streaming_models.wide(tmp_path / "wide.onnx")
    gru = streaming_models.gru(tmp_path / "gru.onnx")
    graph = load_chain(f"network(model='{gru}', amount=0.5)")
    assert graph.nodes["network"].make().values == {"model": str(gru), "amount": 0.5, "compute": "auto"}
    assert graph.nodes["network"].engine is engine(gru)
    rack = f"""
version = 1
edges = ["in -> a.in", "in -> b", "b -> a.side", "a.louder -> out", "a.low -> out.low"]
[nodes.a]
engine = "network"
model = {str(wide)!r}
[nodes.b]
engine = "network"
model = {str(gru)!r}
amount = 0.25
"""
    with pytest.raises(UserError, match=r"b\.y has 2 channels, a\.side takes 1"):
        Plan(graph_of(parse_rack(rack)), 48_000, 64, 2)
    again = graph_of(parse_rack(dump_rack(rack_of(graph_of(parse_rack(rack))))))
    assert {name: node.values for name, node in again.nodes.items()} == {
        "a": {"model": str(wide)},
        "b": {"model": str(gru), "amount": 0.25},
    }
    with pytest.raises(UserError, match=r"a has no input 'sid', did you mean 'side'"):
        graph_of(parse_rack(rack.replace("a.side", "a.sid")))
    with pytest.raises(UserError, match=r"no parameter 'amont', did you mean 'amount'"):
        load_chain(f"network(model='{gru}', amont=0.5)")
    with pytest.raises(UserError, match=r"network has 2 inputs, the pipe feeds 'in' only, not side"):
        load_chain(f"network(model='{wide}').louder")


def test_without_a_model_it_says_what_to_do(capsys):
    with pytest.raises(
        UserError, match=r"^network: no model: say which, such as network\(model='NAME\.onnx'\)$"
    ):
        Plan(load_chain("network"), 48_000, 64, 2)
    assert main(["engines", "network"]) == 0
    assert "no model" in capsys.readouterr().out


def test_models_are_found_by_path_and_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "data" / "rtaudio" / "models"
    folder.mkdir(parents=True)
    path = streaming_models.gru(folder / "cleaner.onnx")
    for name in ("cleaner", "cleaner.onnx", str(path)):
        assert Network.of({"model": name}).model == path
    with pytest.raises(
        UserError, match=r"no model 'cleanr', did you mean 'cleaner'\?.*give the path of NAME\.onnx"
    ):
        load_chain("network(model=cleanr)")
    with pytest.raises(FileError, match=r"no model '\./cleaner': give the path of a file NAME\.onnx"):
        Network.of({"model": "./cleaner"})
    with pytest.raises(FileError, match="is a model of kind 'chunks', not 'stream'"):
        Network.of({"model": "wgan"})


@pytest.mark.parametrize(("block", "most"), [(1, 1), (64, 1), (705, 1), (706, 2), (710, 2), (4096, 6)])
def test_what_it_costs_is_measured_where_it_has_most_to_do(block, most, tmp_path, monkeypatch):
    """Where a hop is no whole number of samples, few blocks have one to make, and some one more than most."""
    path = streaming_models.delay(tmp_path / "net.onnx", rate=16_000, hop=256, samples=9)
    made = at_rate(path, 44_100, block, 1)
    hop = Fraction(256 * 44_100, 16_000)

    def time_block(address, state, inputs, outputs, n, ramps, context):
        at = int(context[0])
        context[0] += n
        return (at + n) // hop - at // hop, 0

    monkeypatch.setattr(placement, "_time_block", time_block)
    costs = placement.block_costs_ns(made)
    assert costs.max() == most
    assert block / hop <= costs.mean() <= 1.3 * block / hop
    assert max((at + block) // hop - at // hop for at in range(0, 4000 * block, block)) == most


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    text = (Path(__file__).parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})  # noqa: S102
    chain = re.search(r'--chain "(network\(.*?\)) \|', text)[1]
    graph = load_chain(chain)
    assert graph.nodes["network"].values == {"model": "warm.onnx", "drive": 4}
    plan = Plan(graph, 48_000, 128, 1)
    x = contract.sound(1, 128 * 20)
    got = np.concatenate(
        [plan.process(x[:, at : at + 128].copy())["main"].copy() for at in range(0, 2560, 128)], 1
    )
    plan.close()
    (want,) = streaming_models.run_hops(tmp_path / "warm.onnx", {"x": x}, {"drive": 10 ** (4 / 20)}).values()
    assert np.abs(got - want).max() < 1e-6
    assert np.abs(want).max() > 0.01


def test_more_channels_than_it_runs_are_refused(tmp_path):
    made = engine(streaming_models.gru(tmp_path / "net.onnx"))()
    with pytest.raises(UserError, match=r"^network: 9 channels are not supported"):
        made.prepare(48_000, 48, True, 9)
    made.prepare(48_000, 48, True, 8)


# ------------------------------------------------------------------------------------------- cards and models


def sound(name="x", channels=1, **more):
    return {"inputs": [{"name": name, "channels": channels} | more]}


def state(shape, following="h_next", name="h"):
    return {"states": {name: {"next": following, "shape": shape}}}


def amount(**said):
    return {"parameters": [streaming_models.AMOUNT | said]}


SAYS = {
    "rate 0": ({"rate": 0}, "says rate 0: want a whole number from 8000 to 384000"),
    "rate of text": ({"rate": "48000"}, "says rate '48000': want"),
    "rate that is no whole number": ({"rate": 48_000.5}, "says rate 48000.5: want"),
    "hop 0": ({"hop": 0}, "says hop 0: want a whole number from 1 to 480000"),
    "hop true": ({"hop": True}, "says hop True: want"),
    "no hop": ({"hop": None}, "does not say hop"),
    "negative latency": ({"latency": -1}, "says latency -1: want a whole number from 0"),
    "tail of text": ({"tail": "1"}, "says tail '1': want"),
    "no inputs": ({"inputs": []}, r"says inputs \[\]: want a list"),
    "inputs as a table": ({"inputs": {"x": 1}}, r"says inputs {'x': 1}: want a list"),
    "an input without channels": ({"inputs": [{"name": "x"}]}, "a table of name, channels"),
    "0 channels": (sound(channels=0), "a name, and 1 to 64 channels"),
    "an unknown key": (sound(chanels=1), "may have port"),
    "a port with a dot": (sound(port="a.b"), "a port of letters"),
    "a tensor twice": ({"inputs": [*sound()["inputs"], *sound(port="z")["inputs"]]}, "tensor 'x' twice"),
    "a port twice": ({"inputs": [*sound()["inputs"], *sound("z", port="x")["inputs"]]}, "port 'x' twice"),
    "states as a list": ({"states": []}, r"says states \[\]: want a table"),
    "a state without its next value": ({"states": {"h": {"shape": [5]}}}, "a table of next, shape"),
    "a state of shape 0": (state([1, 0, 5]), "shape of numbers from 1"),
    "a state without end": (state([2**20, 2**20]), "at most"),
    "parameters as a number": ({"parameters": 9138817}, "says parameters 9138817: want a list"),
    "a parameter upside down": (amount(minimum=2), "minimum below maximum"),
    "a default out of range": (amount(default=2), "says for parameter amount 2"),
    "a parameter called model": (amount(id="model"), "parameter 'model' twice"),
    "a parameter called engine": (amount(id="engine"), "'engine' twice"),
    "an id with a dot": (amount(id="a.b"), "letters, digits and _"),
    "a scale of its own": (amount(scale="cubic"), "one of linear"),
    "a log scale from 0": (amount(scale="log"), "above 0 for log"),
    "an infinite range": (amount(maximum=float("inf")), "numbers for minimum"),
    "unity of an unknown parameter": ({"unity": {"dry": 1}}, r"a table of parameters \(amount\)"),
    "unity out of range": ({"unity": {"amount": 2}}, "says for parameter amount 2: want 0 to 1"),
    "another kind": ({"kind": "chunks"}, "is a model of kind 'chunks', not 'stream'"),
}
"""What a card says, and what is said of that when the graph is made."""

DISAGREES = {
    "another hop": ({"hop": 63}, r"shape \(1, 1, 63\), in the model x is float32 of the shape \(\?, 1, 64\)"),
    "another channel count": (sound(channels=2), r"the shape \(1, 2, 64\), in the model"),
    "another input": (sound("sound"), "names 'sound', but the model takes x, h, amount"),
    "another output": ({"outputs": [{"name": "z", "channels": 1}]}, "'z', but the model gives y, h_next"),
    "no state": ({"states": {}}, "does not name 'h', which the model takes"),
    "another state": (state([1, 1, 5], name="g"), "names 'g', but the model takes"),
    "another next value": (state([1, 1, 5], "g"), "names 'g', but the model gives"),
    "a state of another width": (state([1, 1, 6]), r"state h has the shape \(1, 1, 6\)"),
    "a state of a batch": (state([1, 2, 5]), r"an axis of no fixed length \(\?\) may only"),
    "a state flat": (state([5]), r"state h has the shape \(5\)"),
    "no parameter": ({"parameters": [], "unity": None}, "does not name 'amount', which the model takes"),
    "another parameter": (amount(input="b"), "names 'b', but the model takes"),
    "another hash": ({"sha256": "0" * 64}, "is not the model of its card: the hash differs"),
    "no hash": ({"sha256": 5}, "says sha256 5: want text"),
}
"""What a card says, and what is said of that when the model is read."""


def with_card(path, card):
    """`streaming_models.gru` with a card that says something else; None takes it out."""
    beside = streaming_models.gru(path, hop=64).with_suffix(".json")
    said = json.loads(beside.read_text()) | card
    beside.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    return path


@pytest.mark.parametrize("what", SAYS)
def test_a_card_that_cannot_be_is_one_line(what, tmp_path):
    card, said = SAYS[what]
    path = with_card(tmp_path / "net.onnx", card)
    with pytest.raises(UserError, match=said) as error:
        Node("net", Network, {"model": str(path)})
    assert "\n" not in str(error.value)
    assert str(tmp_path / "net.") in str(error.value)


@pytest.mark.parametrize("what", DISAGREES)
def test_a_card_and_a_model_that_disagree_are_one_line(what, tmp_path):
    card, said = DISAGREES[what]
    path = with_card(tmp_path / "net.onnx", card)
    with pytest.raises(FileError, match=said) as error:
        engine(path)().prepare(48_000, 64, True, 2)
    assert "\n" not in str(error.value)
    assert str(tmp_path / "net.") in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"kind"', '{"rate": 1}', "\xff"])
def test_what_is_no_card_is_one_line(text, tmp_path):
    path = streaming_models.gru(tmp_path / "net.onnx")
    path.with_suffix(".json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FileError, match=r"net\.json is not the card of a model$"):
        engine(path)


def test_a_model_without_a_card_or_a_card_without_a_model(tmp_path):
    path = streaming_models.gru(tmp_path / "net.onnx")
    card = path.with_suffix(".json")
    said = card.read_text()
    card.unlink()
    with pytest.raises(
        FileError, match=r"net\.json: No such file or directory; a model has its card beside it"
    ):
        engine(path)
    card.write_text(said)
    made = engine(path)()
    path.unlink()
    with pytest.raises(FileError, match=r"net\.onnx: No such file"):
        made.prepare(48_000, 48, True, 2)


def pointwise(path, shape, kind=TensorProto.FLOAT):
    content = content_of(
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    mono = streaming_models.mono
    return streaming_models.write(path, content, {"hop": 32, "inputs": mono(), "outputs": mono("y")})


@pytest.mark.parametrize(
    ("shape", "kind", "said"),
    [
        (
            [1, 1, "time"],
            TensorProto.FLOAT,
            r"in the model x is float32 of the shape \(1, 1, \?\); an axis of no",
        ),
        ([1, "channels", 32], TensorProto.FLOAT, r"of the shape \(1, \?, 32\); an axis of no"),
        ([1, 1, 32], TensorProto.DOUBLE, r"x is float64 of the shape \(1, 1, 32\)"),
        ([1, 1, 32], TensorProto.STRING, "x is of a type without numbers"),
        ([], TensorProto.FLOAT, r"of the shape \(\)"),
        ([32, 1], TensorProto.FLOAT, r"of the shape \(32, 1\)"),
    ],
)
def test_sound_of_another_type_or_shape_is_refused(shape, kind, said, tmp_path):
    with pytest.raises(FileError, match=said):
        engine(pointwise(tmp_path / "net.onnx", shape, kind))().prepare(48_000, 32, True, 1)


@pytest.mark.parametrize("shape", [[32], [1, 32], ["batch", 32], [1, 1, 32], ["batch", 1, 32], [1, 1, 1, 32]])
def test_sound_may_have_any_shape_of_a_hop(shape, tmp_path):
    made = engine(pointwise(tmp_path / "net.onnx", shape))()
    made.prepare(48_000, 32, True, 2)
    x = contract.sound(2, 640)
    assert np.array_equal(play(made, x), x)


@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32]
)
def test_states_of_every_type_are_kept(kind, tmp_path):
    """A count of the hops, in quarters, is added to the sound."""
    nodes = [
        helper.make_node("Add", ["n", "one"], ["n_next"]),
        helper.make_node("Cast", ["n"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["count", "quarter"], ["level"]),
        helper.make_node("Add", ["x", "level"], ["y"]),
    ]
    constants = [constant("one", [1], streaming_models.NUMPY[kind]), constant("quarter", 0.25, np.float32)]
    content = content_of(
        nodes, [tensor("x", 1, 1, 32), tensor("n", 1, kind=kind)],
        [tensor("y", 1, 1, 32), tensor("n_next", 1, kind=kind)], constants,
    )  # fmt: skip
    mono = streaming_models.mono
    states = {"n": {"next": "n_next", "shape": [1]}}
    card = {"hop": 32, "inputs": mono(), "outputs": mono("y"), "states": states}
    made = by_hop(streaming_models.write(tmp_path / "net.onnx", content, card), 2)
    for _ in range(2):
        y = play(made, np.zeros((2, 32 * 50), np.float32))
        assert np.array_equal(y, np.tile(np.arange(50).repeat(32) / 4, (2, 1)))
        made.reset()


def test_a_state_of_two_types_is_refused(tmp_path):
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("Cast", ["n"], ["n_next"], to=TensorProto.FLOAT),
    ]
    content = content_of(
        nodes,
        [tensor("x", 1, 1, 32), tensor("n", 1, kind=TensorProto.INT64)],
        [tensor("y", 1, 1, 32), tensor("n_next", 1)],
    )
    mono = streaming_models.mono
    states = {"n": {"next": "n_next", "shape": [1]}}
    card = {"hop": 32, "inputs": mono(), "outputs": mono("y"), "states": states}
    path = streaming_models.write(tmp_path / "net.onnx", content, card)
    with pytest.raises(
        FileError, match=r"state n is int64, and its next value n_next float32 in the model: want"
    ):
        engine(path)().prepare(48_000, 32, True, 1)


def test_weights_in_another_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    w = constant("w", np.ones((1, 1, 32)), np.float32)
    model = onnx.load_from_string(content_of(nodes, [tensor("x", 1, 1, 32)], [tensor("y", 1, 1, 32)], [w]))
    onnx.save(model, "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    path = tmp_path / "net.onnx"
    mono = streaming_models.mono
    streaming_models.write(path, path.read_bytes(), {"hop": 32, "inputs": mono(), "outputs": mono("y")})
    with pytest.raises(FileError, match=r"net\.onnx: not a network that ONNX Runtime can run") as error:
        engine(path)().prepare(48_000, 32, True, 1)
    assert "\n" not in str(error.value)
