"""Networks called without the interpreter, against ONNX Runtime's Python: bit for bit, states, failures."""

import gc
import os
import subprocess
import sys
import threading
import weakref

import numba
import numpy as np
import onnx
import pytest
import streaming_models
from onnx import TensorProto, helper
from streaming_models import constant, content_of, tensor, weights

pytest.importorskip("onnxruntime", reason="runs networks")

from rtaudio import doctor, inference
from rtaudio.errors import FileError, UserError
from rtaudio.inference import NO_TELEMETRY, Inference, Session, available, run
from rtaudio.native import compiled, load_acquire, read_acquire, store_release, write_release

CALLS = 40


@compiled
def run_many(words, times):
    status = 0
    for _ in range(times):
        status |= run(words)
    return status


def identity(*shape):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    return content_of(nodes, [tensor("x", *shape)], [tensor("y", *shape)])


def convolutions():
    """Four causal convolutions that remember their past; two inputs and two outputs, some of them float64."""
    nodes, inputs, outputs, constants = [], [tensor("x", 1, 2, 64)], [], []
    last, channels = "x", 2
    for layer, width in enumerate((16, 16, 16, 2)):
        names = [f"{what}{layer}" for what in ("past", "all", "next", "w", "units", "bent")]
        past, all_, following, w, units, bent = names
        nodes += [
            helper.make_node("Concat", [past, last], [all_], axis=2),
            helper.make_node("Slice", [all_, "64", "end", "axis"], [following]),
            helper.make_node("Conv", [all_, w], [units], dilations=[2]),
            helper.make_node("Tanh", [units], [bent]),
        ]
        constants.append(weights(w, width, channels, 5))
        inputs.append(tensor(past, 1, channels, 8))
        outputs.append(tensor(following, 1, channels, 8))
        last, channels = bent, width
    nodes += [
        helper.make_node("Cast", [last], ["exact"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["exact", "scale"], ["y"]),
        helper.make_node("Cast", ["exact"], ["z"], to=TensorProto.FLOAT),
    ]
    inputs.append(tensor("scale", kind=TensorProto.DOUBLE))
    outputs = [tensor("z", 1, 2, 64), *outputs, tensor("y", 1, 2, 64, kind=TensorProto.DOUBLE)]
    constants += [constant("64", [64]), constant("end", [72]), constant("axis", [2])]
    states = {f"past{layer}": f"next{layer}" for layer in range(4)}
    return content_of(nodes, inputs, outputs, constants), states


def recurrent(make, tmp_path):
    path = make(tmp_path / "net.onnx")
    return path.read_bytes()


def network(kind, tmp_path):
    """Content, states by input, shapes of free axes."""
    if kind == "gru":
        shapes = {"x": (1, 1, 48), "h": (1, 1, 5), "y": (1, 1, 48), "h_next": (1, 1, 5)}
        return recurrent(streaming_models.gru, tmp_path), {"h": "h_next"}, shapes
    if kind == "lstm":
        return recurrent(streaming_models.lstm, tmp_path), {"h": "h2", "c": "c2"}, {}
    if kind == "wide":
        shapes = {"stereo": (1, 2, 33), "side": (1, 1, 33), "low": (1, 1, 33)}
        states = {"past": "past_next", "total": "total_next", "count": "count_next"}
        return recurrent(streaming_models.wide, tmp_path), states, shapes
    return *convolutions(), {}


@pytest.mark.parametrize("kind", ["convolutions", "gru", "lstm", "wide"])
def test_the_same_bits_as_in_python(kind, tmp_path):
    """Every output of every call, the states carried by hand in Python and turned in place here."""
    content, states, shapes = network(kind, tmp_path)
    reference, session = streaming_models.session(content), Session(content)
    made = Inference(session, states, shapes)
    kept = {
        name: np.zeros(shapes.get(name, session.inputs[name].shape), session.inputs[name].dtype)
        for name in states
    }
    rng = np.random.default_rng(5)
    names = list(session.outputs)
    for _ in range(CALLS):
        for array in made.inputs.values():
            array[...] = rng.standard_normal(array.shape)
        want = dict(zip(names, reference.run(names, made.inputs | kept), strict=True))
        kept = {name: want[following] for name, following in states.items()}
        assert run(made.words) == 0
        for name, array in made.outputs.items():
            assert array.dtype == want[name].dtype
            assert np.array_equal(array, want[name]), name
    assert made.error() is None


def test_tensors_are_as_the_network_has_them(tmp_path):
    session = Session(streaming_models.wide(tmp_path / "net.onnx").read_bytes())
    assert list(session.inputs) == ["past", "stereo", "count", "side", "total"]
    assert list(session.outputs) == ["louder", "total_next", "low", "count_next", "past_next"]
    assert session.inputs["stereo"].shape == (None, 2, 33)
    assert session.inputs["count"].dtype == np.int64
    assert session.outputs["total_next"].dtype == np.float64
    text = content_of(
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", 1, kind=TensorProto.STRING)],
        [tensor("y", 1, kind=TensorProto.STRING)],
    )
    assert Session(text).inputs["x"].dtype is None
    with pytest.raises(ValueError, match="no array"):
        Inference(Session(text))


def test_reset_and_what_is_copied_back_make_it_new(tmp_path):
    content, states, shapes = network("gru", tmp_path)
    made = Inference(Session(content), states, shapes)
    fresh = [array.copy() for array in made.memory()]
    rng = np.random.default_rng(1)
    hops = rng.standard_normal((7, 1, 1, 48)).astype(np.float32)

    def play():
        out = []
        for x in hops:
            made.inputs["x"][...], made.inputs["amount"][...] = x, 1
            assert run(made.words) == 0
            out.append(made.outputs["y"].copy())
        return np.array(out)

    first = play()
    assert not np.array_equal(play(), first)
    made.reset()
    assert np.array_equal(play(), first)
    for array, content in zip(made.memory(), fresh, strict=True):  # as compiled code does it
        array[...] = content
    assert np.array_equal(play(), first)


def test_inferences_of_one_session_have_their_own_states(tmp_path):
    content, states, shapes = network("gru", tmp_path)
    session = Session(content)
    one, other = (Inference(session, states, shapes) for _ in range(2))
    alone = Inference(Session(content), states, shapes)
    rng = np.random.default_rng(2)
    for _ in range(CALLS):
        for made in (one, other):
            made.inputs["x"][...] = rng.standard_normal((1, 1, 48))
            made.inputs["amount"][...] = 1
            assert run(made.words) == 0
        alone.inputs["x"][...], alone.inputs["amount"][...] = one.inputs["x"], 1
        assert run(alone.words) == 0
        assert np.array_equal(alone.outputs["y"], one.outputs["y"])
    assert not np.array_equal(one.outputs["y"], other.outputs["y"])


def test_a_call_that_fails_says_so_and_the_next_one_runs(tmp_path):
    made = Inference(Session(streaming_models.lookup(tmp_path / "net.onnx").read_bytes()))
    made.inputs["x"][...] = 2
    assert run(made.words) == 0
    made.inputs["x"][...] = 3
    assert [run(made.words) for _ in range(3)] == [inference.FAILED] * 3
    assert "out of data bounds" in made.error()
    assert made.error() is None
    made.inputs["x"][...] = 1
    assert run(made.words) == 0
    assert (made.outputs["y"] == 0.25).all()


def test_failures_leave_nothing_behind(tmp_path):
    """The first status is kept until it is asked for, the others are released where they come."""
    from contract import _heap_in_use

    made = Inference(Session(streaming_models.lookup(tmp_path / "net.onnx").read_bytes()))
    made.inputs["x"][...] = 9
    run_many(made.words, 100)
    before = _heap_in_use()
    if before is None:
        pytest.skip("the C library does not say what is in use")
    assert run_many(made.words, 5000) != 0
    assert _heap_in_use() - before < 100_000


@compiled
def run_until(words, told, most):
    calls = 0
    while load_acquire(told, 0) == 0 and calls < most:
        run(words)
        calls += 1
        store_release(told, 1, calls)


def test_calls_run_without_the_interpreter_s_lock():
    """A thread calls until this one, which runs Python meanwhile, tells it to stop. With the lock it could
    not be told, and would end at the limit."""
    made, told, most = Inference(Session(identity(1, 1, 16))), np.zeros(2, np.int64), 200_000
    run_until(made.words, told, 1)
    thread = threading.Thread(target=run_until, args=(made.words, told, most))
    thread.start()
    for calls in (100, 200):
        while read_acquire(told, 1) < calls:
            pass
    write_release(told, 0, 1)
    thread.join()
    assert 200 <= told[1] < most


def test_closing_releases_and_so_does_being_forgotten():
    session = Session(identity(1, 4))
    made = Inference(session)
    assert run(made.words) == 0
    assert made.close.alive
    made.close()
    assert not made.close.alive
    made.close()
    made = Inference(session)
    ends = made.close, session.close
    gone = weakref.ref(session)
    del made, session
    gc.collect()
    assert gone() is None
    assert not any(end.alive for end in ends)


@pytest.mark.parametrize(
    ("states", "shapes", "wrong"),
    [
        ({"h": "y"}, {}, "differ"),
        ({}, {"x": (1, 1, 47)}, "no array"),
        ({}, {"x": (1, 48)}, "no array"),
        ({}, {}, "no array"),
    ],
)
def test_states_and_shapes_must_go_with_the_network(states, shapes, wrong, tmp_path):
    content, _, right = network("gru", tmp_path)
    with pytest.raises(ValueError, match=wrong):
        Inference(Session(content), states, (right if states else {}) | shapes)


def test_what_is_no_network_is_one_line():
    for content in (b"", b"junk", identity(1, 4)[:40]):
        with pytest.raises(
            FileError, match=r"^net\.onnx: not a network that ONNX Runtime can run \([^\n]+\)$"
        ):
            Session(content, "net.onnx")


def test_weights_in_other_files_are_refused(tmp_path, monkeypatch):
    """Also where a file of that name is in the current folder."""
    monkeypatch.chdir(tmp_path)
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    w = weights("w", 1, 400)
    model = onnx.load_from_string(content_of(nodes, [tensor("x", 1, 400)], [tensor("y", 1, 400)], [w]))
    onnx.save(model, "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    assert (tmp_path / "net.bin").exists()
    with pytest.raises(FileError, match=r"^net\.onnx: not a network"):
        Session((tmp_path / "net.onnx").read_bytes(), "net.onnx")


def test_why_networks_cannot_run_here_is_said(monkeypatch, tmp_path):
    assert available() is None
    content = identity(1, 4)

    def reasons():
        inference._open_library.cache_clear()
        try:
            reason = available()
            with pytest.raises(UserError, match="networks cannot run: ") as error:
                Session(content)
            assert reason in str(error.value)
            assert "pip install" in reason
            return reason
        finally:
            monkeypatch.undo()
            inference._open_library.cache_clear()

    monkeypatch.setattr(inference, "find_spec", lambda name: None)
    assert "not installed" in reasons()
    monkeypatch.setattr(inference, "_LIBRARIES", {"linux": "no_such_library.so"})
    monkeypatch.setattr(sys, "platform", "linux")
    assert "no library" in reasons()
    monkeypatch.setattr(inference, "API_VERSION", 10_000)
    assert "has no C API of version 10000" in reasons()

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime.so.1").write_bytes(b"no library")
    monkeypatch.setattr(inference, "find_spec", lambda name: Spec())
    monkeypatch.setattr(sys, "platform", "linux")
    assert "does not load" in reasons()
    assert available() is None


SILENT = """
import os, pathlib, sys
from rtaudio.inference import Inference, Session, run
def threads():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
content = pathlib.Path(sys.argv[1]).read_bytes()
import numba
numba.njit(lambda: 0)()
before = threads()
made = Inference(Session(content))
made.inputs["x"][...] = 9
assert run(made.words) == 1
made = Inference(Session(content))
assert run(made.words) == 0
assert threads() == before, (threads(), before)
"""


def test_it_prints_nothing_starts_no_thread_and_keeps_no_record(tmp_path):
    """In a process of its own. Errors come as statuses, a session runs in the thread that calls, and the
    record that ONNX Runtime keeps of its use is not made."""
    path, home = streaming_models.lookup(tmp_path / "net.onnx"), tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", NO_TELEMETRY)}
    done = subprocess.run(
        [sys.executable, "-c", SILENT, str(path)],
        env=kept | {"HOME": str(home), "NUMBA_CACHE_DIR": numba.config.CACHE_DIR},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(home.rglob("*onnxruntime*"))


def test_the_doctor_says_why_networks_cannot_run(monkeypatch):
    monkeypatch.setattr(inference, "available", lambda: "no C API: pip install it")
    found = doctor._network_runtime()
    assert (found.state, found.detail) == (doctor.POOR, "no C API: pip install it")
    monkeypatch.undo()
    assert doctor._network_runtime().state == doctor.GOOD
