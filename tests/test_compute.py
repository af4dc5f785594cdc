"""Where networks run: from Python as in compiled code, on a GPU as on the CPU, and what is said of it."""

import json

import contract
import numpy as np
import pytest
import soundfile as sf
import streaming_models
from compute_engines import Failing, Interpreted
from contract import Case

pytest.importorskip("onnxruntime", reason="runs networks")

from test_plan import delayed, noise, play
from test_processes import planned, told

from engines import chunks, enhancer, network, sessions
from engines.chunks import ChunkModel, enhance
from engines.enhance import MODES
from engines.network import Network, NetworkInPython
from engines.sessions import Bound, gpu_of, has_cuda, open_session
from rtaudio import executor
from rtaudio.chain import load_chain
from rtaudio.cli import main
from rtaudio.errors import UserError
from rtaudio.graph import Graph, Node
from rtaudio.parts import offline_block
from rtaudio.plan import Plan
from rtaudio.render import Job, render

MODELS = {
    "gru": (streaming_models.gru, {"hop": 64}, 48_000),
    "gru of 16 kHz": (streaming_models.gru, {"rate": 16_000, "hop": 80}, 44_100),
    "lstm of 22.05 kHz": (streaming_models.lstm, {"rate": 22_050, "hop": 37}, 44_100),
    "wide": (streaming_models.wide, {"rate": 24_000, "hop": 35}, 48_000),
}
CHECKS = ("partition", "events", "reset", "latency", "silence", "hostile", "largest", "tail")
WGAN = network.Path(network.__file__).parent / "models" / "wgan.onnx"
NO_CUDA = pytest.mark.skipif(has_cuda(), reason="this ONNX Runtime has CUDA")


@pytest.fixture
def gpu():
    """The first GPU, where ONNX Runtime has CUDA and it starts."""
    if not has_cuda():
        pytest.skip("this ONNX Runtime has no CUDAExecutionProvider: pip install 'rtaudio[gpu]'")
    return "cuda:0"


def alone(engine, path, **values):
    """A graph of nothing else, with a second input from the first where there is one."""
    node = Node("net", engine, {"model": str(path)} | values)
    first, *_ = (port.name for port in node.engine.outputs)
    edges = [f"in -> net.{port.name}" for port in node.engine.inputs]
    return Graph([node], [*edges, f"net.{first} -> out"])


def offline(graph, signal, rate=48_000, block=64):
    plan = Plan(graph, rate, block, len(signal), offline=True)
    played = play(plan, signal)["main"]
    node = plan.statistics()["nodes"]["net"]
    if node["failures"]:
        node["reason"] = plan.reason("net")
    report = node, plan.compute(), plan.latency
    plan.close()
    return played, *report


# ------------------------------------------------------------------------------------- as in compiled code


@pytest.mark.parametrize("check", CHECKS)
def test_the_contract_holds_where_python_runs_it(check, tmp_path):
    path = streaming_models.gru(tmp_path / "net.onnx", rate=16_000, hop=80)
    blocks = [contract.FEW_BLOCKS] if check in ("partition", "events") else []
    getattr(contract, f"check_{check}")(Case(Interpreted.of({"model": str(path)})), 2, *blocks)


@pytest.mark.parametrize("block", [64, 441])
@pytest.mark.parametrize("model", ["gru", "gru of 16 kHz", "lstm of 22.05 kHz"])
def test_python_makes_the_samples_that_compiled_code_makes(model, block, tmp_path):
    """Bit for bit, with a parameter that changes, at rates of both kinds."""
    make, settings, rate = MODELS[model]
    path = make(tmp_path / "net.onnx", **settings)
    x = noise(2, 6000)
    found = []
    for engine in (Network, Interpreted):
        plan = Plan(alone(engine, path), rate, block, 2, offline=True)
        if make is streaming_models.gru:
            plan.set("net.amount", 0.25, at=1234)
        found.append((play(plan, x)["main"], plan.latency, plan.tail))
        plan.close()
    (want, *late), (got, *as_late) = found
    assert np.abs(want).max() > 0.01
    assert np.array_equal(got, want)
    assert as_late == late


def test_ports_and_states_of_several_types_are_as_in_compiled_code(tmp_path):
    path = streaming_models.wide(tmp_path / "net.onnx")
    rows = noise(3, 60 * 33)
    found = []
    for engine in (Network, Interpreted):
        made = engine.of({"model": str(path)})()
        made.prepare(48_000, 33, True, 2)
        sizes = contract.uniform(rows.shape[1], 33)
        first = contract.walk(made, rows, sizes)
        made.reset()
        assert np.array_equal(contract.walk(made, rows, sizes), first)
        found.append(first)
    assert np.array_equal(*found)


@pytest.mark.parametrize("model", ["gru", "gru of 16 kHz"])
def test_a_worker_process_makes_the_same_samples(model, tmp_path):
    """Python there, and compiled code there, as compiled code here."""
    make, settings, rate = MODELS[model]
    path = make(tmp_path / "net.onnx", **settings)
    x = noise(2, 4000)
    want, _, _, latency = offline(alone(Network, path), x, rate)
    for engine, lane in ((Interpreted, 0), (Network, 2)):
        with planned(alone(engine, path), rate=rate, block=64, lane=lane, ready=False) as plan:
            assert [segment.lane for segment in plan.segments] == [2]
            got = play(plan, x)["main"]
            assert plan.compute()["net"].startswith("cpu")
            assert np.array_equal(got, delayed(want, plan.latency - latency))


# ---------------------------------------------------------------------------------------- where it falls to


@pytest.mark.parametrize("values", [{}, {"stereo": "linked"}, {"model": "paper"}])
def test_without_the_c_api_python_runs_the_network_of_enhance(values, monkeypatch):
    """Bit for bit, in a worker process; anew after it has failed."""
    x = noise(2, 24_000)
    graph = load_chain(f"net:enhance({', '.join(f'{name}={value}' for name, value in values.items())})")
    wanted, node, _, latency = offline(graph, x)
    assert not node["failures"]
    monkeypatch.setattr(enhancer, "available", lambda: "the library has no OrtGetApiBase")
    got, node, on, late = offline(graph, x)
    assert on == {"net": "cpu (from Python: the library has no OrtGetApiBase)"}
    assert (node["failures"], late) == (0, latency)
    assert np.array_equal(got, wanted)
    made = graph.nodes["net"].make()
    made.fit(48_000)
    made.prepare(48_000, made.hop, True, 2)
    hops = contract.uniform(5 * made.hop, made.hop)
    first = contract.walk(made, x[:, : sum(hops)], hops)
    renew(made)
    assert np.array_equal(contract.walk(made, x[:, : sum(hops)], hops), first)
    with planned(graph, rate=48_000, block=64, lane=None, ready=False) as plan:
        assert [segment.lane for segment in plan.segments] == [2]
    graph.nodes["net"].lane = 1
    with pytest.raises(UserError, match="net: enhance is run by Python and runs in lane 2 only"):
        Plan(graph, 48_000, 64, 2)


def renew(processor):
    """As compiled code does after a lapse."""
    copies = np.array(processor.copies(), np.int64)
    executor.renew(copies.ctypes.data, len(copies))
    processor._context[0] = 0


def test_what_onnx_runtime_says_in_python_is_why_enhance_failed(monkeypatch):
    monkeypatch.setattr(enhancer, "available", lambda: "no C API")

    def refuse(self):
        raise RuntimeError("it is so\nbecause")

    graph = load_chain("net:enhance")
    monkeypatch.setattr(Bound, "run", refuse)
    _, node, _, _ = offline(graph, noise(1, 2000))
    assert (node["failures"], node["reason"]) == (1, "it is so")


class Scarce:
    """A session of chunks that says it is on a GPU, whose memory is enough for so many at once."""

    def __init__(self, most):
        self.most, self.took = most, []
        self._session = sessions.open_session(WGAN, WGAN.read_bytes())

    def __getattr__(self, name):
        return getattr(self._session, name)

    def get_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def run(self, names, inputs):
        if len(inputs["noisy"]) > self.most:
            raise RuntimeError("CUDA failure 2: out of memory\nin some file")
        self.took.append(len(inputs["noisy"]))
        return self._session.run(names, inputs)


@pytest.mark.parametrize("most", [9, 1, 0])
def test_chunks_that_a_gpu_has_no_memory_for_go_in_less_or_to_the_cpu(most, monkeypatch, capfd):
    x = 0.1 * noise(1, 150_000)[0]
    want = enhance(ChunkModel(WGAN), x, "overlap")
    scarce = Scarce(most)
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "open_session", lambda *_: scarce)
        model = ChunkModel(WGAN, "cuda:0")
    assert (model.runs_on, model.batch) == ("cuda:0", chunks.GPU_BATCH)
    assert np.abs(enhance(model, x, "overlap") - want).max() <= 1e-5
    told = capfd.readouterr().err
    if most:
        assert (max(scarce.took) <= most, model.runs_on, told) == (True, "cuda:0", "")
    else:
        assert model.runs_on == "cpu (took over from cuda:0)"
        failure = "cuda:0 failed (CUDA failure 2: out of memory): the CPU takes over"
        assert told == f"{WGAN}: {failure}\n"


def test_chunks_that_the_cpu_cannot_have_are_an_error(monkeypatch):
    model = ChunkModel(WGAN)
    monkeypatch.setattr(model, "_session", Scarce(0))
    with pytest.raises(UserError, match=r"wgan.onnx failed on cpu \(CUDA failure 2: out of memory\)"):
        model(np.zeros((1, model.chunk), np.float32))


def test_a_gpu_without_memory_for_the_states_is_an_error_in_a_line(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("CUDA failure 2: out of memory\nin some file")

    monkeypatch.setattr(network, "Bound", refuse)
    path = streaming_models.gru(tmp_path / "net.onnx", hop=64)
    monkeypatch.setenv("FAIL", "1000000")
    with pytest.raises(UserError) as error:
        offline(alone(Failing, path, compute="cuda:0"), noise(1, 64))
    out_of_memory = "cannot run on cuda:0 (CUDA failure 2: out of memory); take compute=cpu"
    assert str(error.value) == f"{path} {out_of_memory}"


def test_without_the_c_api_python_runs_it(tmp_path, monkeypatch):
    path = streaming_models.gru(tmp_path / "net.onnx", hop=64)
    want, _, on, _ = offline(alone(Network, path), noise(2, 2000))
    assert on == {"net": "cpu"}
    monkeypatch.setattr(network, "available", lambda: "the library has no OrtGetApiBase")
    graph = alone(Network, path)
    assert issubclass(graph.nodes["net"].engine, NetworkInPython)
    got, _, on, _ = offline(graph, noise(2, 2000))
    assert on == {"net": "cpu (from Python: the library has no OrtGetApiBase)"}
    assert np.array_equal(got, want)
    monkeypatch.setattr(network, "find_spec", lambda name: None)
    assert not issubclass(alone(Network, path).nodes["net"].engine, NetworkInPython)


@pytest.fixture
def pretended(monkeypatch):
    """Lets the memory of a GPU be the CPU's."""
    monkeypatch.setattr(sessions, "GPU_MEMORY", "cpu")
    return monkeypatch


@pytest.mark.parametrize("calls", [0, 9, 10])
def test_the_cpu_takes_over_with_the_states_as_they_were(calls, tmp_path, pretended, capsys):
    """In the hop in which the GPU fails, for the first channel or the second: not a sample is another."""
    path = streaming_models.gru(tmp_path / "net.onnx", hop=64)
    x = noise(2, 3000)
    want, *_ = offline(alone(Network, path), x)
    pretended.setenv("FAIL", str(calls))
    got, node, on, _ = offline(alone(Failing, path, compute="cuda:0"), x)
    assert np.array_equal(got, want)
    assert on == {"net": "cpu (took over from cuda:0)"}
    assert (node["takeovers"], node["failures"]) == (1, 0)
    said = "CUDA failure 2: out of memory"
    assert capsys.readouterr().err == (
        f"failing: cuda:0 failed ({said}): the CPU takes over, its states are kept\n"
    )


def test_states_that_cannot_be_read_begin_anew(tmp_path, pretended, capsys):
    path = streaming_models.gru(tmp_path / "net.onnx", hop=64)
    x = noise(1, 64 * 30)
    made = Network.of({"model": str(path)})()
    made.prepare(48_000, 64, True, 1)
    hops = contract.uniform(64 * 15, 64)
    first = contract.walk(made, x[:, : 64 * 15].copy(), hops)
    made.reset()
    want = np.concatenate([first, contract.walk(made, x[:, 64 * 15 :].copy(), hops)], axis=1)

    def lose(self):
        raise RuntimeError("CUDA failure 700")

    pretended.setattr(Bound, "states", lose)
    pretended.setenv("FAIL", "15")
    got, node, *_ = offline(alone(Failing, path, compute="cuda:0"), x)
    assert np.array_equal(got, want)
    assert node["takeovers"] == 1
    assert capsys.readouterr().err.endswith("the CPU takes over, its states are lost\n")


def test_a_network_that_fails_on_the_cpu_too_is_bypassed(tmp_path, pretended, capsys):
    path = streaming_models.lookup(tmp_path / "net.onnx")
    pretended.setenv("FAIL", "1000")
    graph = alone(Failing, path, compute="cuda:0")
    x = np.full((1, 2048), 0.5, np.float32)
    x[0, 1000] = 5.0
    _, node, _, _ = offline(graph, x)
    assert (node["failures"], node["takeovers"]) == (1, 1)
    (took,) = capsys.readouterr().err.splitlines()
    assert "the CPU takes over" in took
    assert "out of data bounds" in node["reason"]


def test_numbers_that_are_none_are_a_failure(tmp_path):
    path = streaming_models.root(tmp_path / "net.onnx")
    x = np.full((1, 2048), 0.5, np.float32)
    x[0, 1000] = -5.0
    got, node, _, _ = offline(alone(Interpreted, path), x)
    assert np.isfinite(got).all()
    assert node["failures"] == 1
    assert "no number" in node["reason"]


def test_a_takeover_in_a_worker_process_is_told_and_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIL", str(tmp_path / "fail"))
    path = streaming_models.gru(tmp_path / "net.onnx", hop=64)
    x = noise(2, 64 * 60)
    want, _, _, latency = offline(alone(Network, path), x)
    graph = alone(Failing, path, compute="cuda:0")
    with planned(graph, rate=48_000, block=64, ready=False) as plan:
        assert plan.compute() == {"net": "cuda:0"}
        first = play(plan, x[:, : 64 * 30])["main"]
        (tmp_path / "fail").touch()
        got = np.concatenate([first, play(plan, x[:, 64 * 30 :])["main"]], axis=1)
        assert np.array_equal(got, delayed(want, plan.latency - latency))
        assert plan.statistics()["nodes"]["net"]["takeovers"] == 1
        told(plan, "failing: cuda:0 failed (CUDA failure 2: out of memory): the CPU takes over", [])


# --------------------------------------------------------------------------------------- what a user asks for


@pytest.mark.parametrize(
    ("text", "number"), [("auto", None), ("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:12", 12)]
)
def test_compute_is_read(text, number):
    assert gpu_of(text) == number


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:-1", "cuda:one", "cpu:0", "CUDA:0", "cuda:99999"])
def test_compute_that_is_nothing_is_one_line(text, tmp_path):
    path = streaming_models.gru(tmp_path / "net.onnx")
    with pytest.raises(UserError, match=r"^net: compute='.*': want auto, cpu or cuda:N, such as cuda:0$"):
        Node("net", Network, {"model": str(path), "compute": text})


@NO_CUDA
def test_a_gpu_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    path = streaming_models.gru(tmp_path / "net.onnx")
    graph = load_chain(f"network(model='{path}', compute='cuda:0')")
    for offline_ in (True, False):
        with pytest.raises(
            UserError, match=r"cuda:0 cannot be used: ONNX Runtime \S+ is installed, with"
        ) as e:
            Plan(graph, 48_000, 64, 2, offline=offline_)
        assert "pip install 'rtaudio[gpu]'" in str(e.value)
        assert "\n" not in str(e.value)


@NO_CUDA
@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_cuda_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    """ONNX Runtime takes the CPU then, and says nothing: the session is asked what it got."""
    monkeypatch.setattr(sessions, "has_cuda", lambda: True)
    path = streaming_models.gru(tmp_path / "net.onnx")
    with pytest.raises(UserError, match="has CUDA, but it does not start here; it needs a driver"):
        open_session(path, path.read_bytes(), 0)


def test_a_node_s_own_compute_stays(tmp_path):
    path = streaming_models.gru(tmp_path / "net.onnx")
    graph = load_chain(f"a: network(model='{path}') | b: network(model='{path}', compute=cpu) | c: gain")
    assert graph.set_default("compute", "cuda:1") == ["a", "b"]
    assert graph.nodes["a"].values["compute"] == "cuda:1"
    assert graph.nodes["b"].values["compute"] == "cpu"
    engines = [graph.nodes[name].engine for name in "ab"]
    assert [issubclass(engine, NetworkInPython) for engine in engines] == [True, False]
    graph.nodes["a"].make()


def test_the_options_say_what_runs_where(tmp_path, capsys):
    path = streaming_models.gru(tmp_path / "net.onnx")
    sf.write(tmp_path / "in.wav", noise(1, 9600)[0], 48_000, subtype="FLOAT")
    chain = ["--chain", f"network(model='{path}')"]
    render = ["render", str(tmp_path / "in.wav"), "-o", str(tmp_path / "out.wav")]
    live = ["live", "--api", "null", "--freewheel", "--seconds", "0.2"]
    for command in (render, live):
        assert main([*command, *chain, "--compute", "cpu", "--json", str(tmp_path / "report.json")]) == 0
        assert json.loads((tmp_path / "report.json").read_text())["compute"] == {"network": "cpu"}
    assert "network on cpu" in capsys.readouterr().err
    for command in (render, live):
        assert main([*command, "--chain", "gain", "--compute", "cuda:0"]) == 2
        assert capsys.readouterr().err == (
            "rtaudio: --compute cuda:0: nothing in this chain can run on a GPU; leave it out\n"
        )
        with pytest.raises(SystemExit):
            main([*command, "--compute", "gpu"])
        assert "'gpu' is not auto, cpu or cuda:N, such as cuda:0" in capsys.readouterr().err


def test_separate_has_nothing_for_a_gpu(tmp_path, capsys):
    sf.write(tmp_path / "in.wav", noise(1, 9600)[0], 48_000, subtype="FLOAT")
    command = ["separate", str(tmp_path / "in.wav"), "-o", str(tmp_path / "out"), "--compute", "cuda:0"]
    assert main(command) == 2
    assert "nothing in this chain can run on a GPU" in capsys.readouterr().err


def test_many_files_are_rendered_in_processes(tmp_path, capsys):
    path = streaming_models.gru(tmp_path / "net.onnx")
    (tmp_path / "in").mkdir()
    for name in "ab":
        sf.write(tmp_path / "in" / f"{name}.wav", noise(1, 4800)[0], 48_000, subtype="FLOAT")
    command = ["render", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--jobs", "2"]
    assert main([*command, "--chain", f"network(model='{path}')"]) == 0
    a, b = (sf.read(tmp_path / "out" / f"{name}.wav", dtype="float32")[0] for name in "ab")
    want, _, _, latency = offline(alone(Network, path), np.pad(noise(1, 4800), ((0, 0), (0, 960))))
    assert np.array_equal(a, want[0, latency : latency + 4800])
    assert np.array_equal(b, a)


# ---------------------------------------------------------------------------------------- chunks in batches


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_of_chunks_is_as_one_after_the_other(mode):
    """Of the shipped network, and of what the batch is not a divisor."""
    model = ChunkModel(WGAN)
    assert (model.runs_on, model.batch) == ("cpu", 1)
    x = 0.1 * noise(1, 50_000)[0]
    settings = {"hop": 8000, "lookahead": 512} if mode == "sliding" else {}
    want = enhance(model, x, mode, **settings)
    for batch in (2, 3, 32):
        model.batch = batch
        assert np.abs(enhance(model, x, mode, **settings) - want).max() < 1e-6


@pytest.fixture
def scarce(monkeypatch):
    """Pretends that there is a GPU, whose memory is enough for 1000 chunks."""
    session = Scarce(1000)
    monkeypatch.setattr(chunks, "open_session", lambda *_: session)
    return session


PAPER = "net:enhance(model=paper, hop=2000, compute='{}')"


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_enhance_gives_a_gpu_all_chunks_of_a_block(rate, scarce):
    """As the compiled kernel, which takes them one by one; a hop lies between samples at 44.1 kHz."""
    x = 0.1 * noise(2, 3 * rate)
    want, _, on, latency = offline(load_chain(PAPER.format("cpu")), x, rate, 1024)
    assert on == {"net": "cpu"}
    graph = load_chain(PAPER.format("cuda:0"))
    assert offline_block(graph, 1024) == 65_536
    got, node, on, late = offline(graph, x, rate, 65_536)
    assert (on, node["failures"]) == ({"net": "cuda:0"}, 0)
    assert max(scarce.took) >= 2 * (65_536 * 16_000 // (2000 * rate))
    n = x.shape[1] - max(latency, late)
    assert np.abs(want).max() > 0.1
    assert np.abs(got[:, late : late + n] - want[:, latency : latency + n]).max() <= 1e-5


@pytest.mark.parametrize("check", CHECKS)
def test_the_contract_holds_for_chunks_on_a_gpu(check, scarce):
    blocks = [contract.FEW_BLOCKS] if check in ("partition", "events") else []
    engine = enhancer.Enhance.of({"model": "paper", "compute": "cuda:0"})
    getattr(contract, f"check_{check}")(Case(engine), 2, *blocks)


def test_a_file_is_rendered_in_batches(tmp_path, scarce):
    sf.write(tmp_path / "in.wav", 0.1 * noise(2, 150_000).T, 48_000, subtype="FLOAT")
    found = []
    for compute in ("cpu", "cuda:0"):
        target = tmp_path / f"{compute}.wav"
        report = render(load_chain(PAPER.format(compute)), Job(tmp_path / "in.wav", {"main": target}))
        assert report["compute"] == {"net": compute}
        found.append(sf.read(target, dtype="float32")[0])
    assert report["notes"] == ["net on cuda:0"]
    assert (report["block"], max(scarce.took)) == (65_536, 22)
    assert np.abs(found[1] - found[0]).max() <= 1e-5


def test_the_cpu_takes_over_the_chunks_of_enhance(scarce, capfd):
    x = 0.1 * noise(1, 100_000)
    want, *_ = offline(load_chain(PAPER.format("cuda:0")), x, block=65_536)
    scarce.most = 0
    with pytest.MonkeyPatch.context() as patch:
        sessions_ = iter([scarce, Scarce(1000)])
        patch.setattr(chunks, "open_session", lambda *_: next(sessions_))
        got, node, on, _ = offline(load_chain(PAPER.format("cuda:0")), x, block=65_536)
    assert (node["takeovers"], node["failures"]) == (1, 0)
    assert on == {"net": "cpu (took over from cuda:0)"}
    assert np.abs(got - want).max() <= 1e-5
    assert "the CPU takes over" in capfd.readouterr().err


# --------------------------------------------------------------------------------------------------- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS)
def test_a_gpu_makes_what_the_cpu_makes(model, gpu, tmp_path):
    make, settings, _ = MODELS[model]
    path = make(tmp_path / "net.onnx", **settings)
    width = 3 if make is streaming_models.wide else 2
    rows, found = noise(width, 6000), []
    for compute in ("cpu", gpu):
        made = Network.of({"model": str(path), "compute": compute})()
        made.fit(made.card.rate)
        made.prepare(made.card.rate, made.hop, True, 2)
        assert made.runs_on == compute
        n = rows.shape[1] // made.hop * made.hop
        found.append(contract.walk(made, rows[:, :n].copy(), contract.uniform(n, made.hop)))
        made.release()
    assert np.abs(found[0]).max() > 0.01
    assert np.abs(found[1] - found[0]).max() <= 1e-3


@pytest.mark.gpu
def test_a_gpu_is_used_in_a_worker_process(gpu, tmp_path):
    path = streaming_models.gru(tmp_path / "net.onnx", hop=64)
    x = noise(2, 4000)
    want, _, _, latency = offline(alone(Network, path), x)
    with planned(alone(Network, path, compute=gpu), rate=48_000, block=64, ready=False) as plan:
        assert plan.compute() == {"net": gpu}
        got = play(plan, x)["main"]
        assert np.abs(got - delayed(want, plan.latency - latency)).max() <= 1e-3


@pytest.mark.gpu
def test_batches_of_chunks_on_a_gpu_are_as_on_the_cpu(gpu):
    x = 0.1 * noise(1, 200_000)[0]
    model = ChunkModel(WGAN, gpu)
    assert (model.runs_on, model.batch > 1) == (gpu, True)
    assert np.abs(enhance(model, x) - enhance(ChunkModel(WGAN), x)).max() <= 1e-3


@pytest.mark.gpu
def test_a_gpu_that_does_not_exist_is_one_line(gpu, tmp_path):
    path = streaming_models.gru(tmp_path / "net.onnx")
    with pytest.raises(UserError, match="cuda:99") as error:
        open_session(path, path.read_bytes(), 99)
    assert "\n" not in str(error.value)


@pytest.mark.gpu
def test_a_file_is_rendered_on_a_gpu_as_on_the_cpu(gpu, tmp_path):
    sf.write(tmp_path / "in.wav", 0.1 * noise(2, 150_000).T, 48_000, subtype="FLOAT")
    found = []
    for compute in ("cpu", gpu):
        target = tmp_path / f"{len(found)}.wav"
        report = render(load_chain(PAPER.format(compute)), Job(tmp_path / "in.wav", {"main": target}))
        assert report["compute"] == {"net": compute}
        found.append(sf.read(target, dtype="float32")[0])
    assert np.abs(found[1] - found[0]).max() <= 1e-3
