"""Convolutions of 8-bit integers: rounding, ranges, gradients, and what ONNX Runtime makes of them."""

import io
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from engines.sessions import open_session
from export.models.hifigan import Generator, Shape, folded
from export.models.quantised import Conv1d, ConvTranspose1d, Range, frozen, rounded
from rtaudio.errors import UserError

KINDS = [
    Shape(16, (4, 4), (3, 5), ((1, 3), (1, 2)), "1", int8=2),
    Shape(16, (8, 2), (3,), ((1, 2),), "2", int8=1),
]


def by_hand(x, low, high):
    """Integers 0 to 255 that stand for a number each; the size of a step; and the integer that is 0."""
    scale = (high - low) / 255
    zero = round(-low / scale)
    return np.clip(np.round(np.float64(x) / scale) + zero, 0, 255), scale, zero


def seen(*batches):
    found = Range()
    for batch in batches:
        found(torch.tensor(batch))
    return found.eval()


# --------------------------------------------------------------------------------------------- ranges


@pytest.mark.parametrize(("low", "high"), [(-0.3, 1.7), (-2.0, 0.0), (0.0, 5.1), (-1e-3, 40.0)])
def test_rounding_is_as_by_hand(low, high):
    span = high - low  # what lies beyond, too
    x = np.random.default_rng(0).uniform(low - 0.1 * span, high + 0.1 * span, 9_999).astype(np.float32)
    x[0] = 0
    x = x[np.abs(x / span * 255 % 1 - 0.5) > 1e-3]  # but no halves, of which float32 is not sure
    found = seen([low, high])(torch.from_numpy(x)).numpy()
    q, scale, zero = by_hand(x, low, high)
    np.testing.assert_allclose(found, (q - zero) * scale, rtol=1e-5, atol=1e-5)
    assert len(np.unique(found)) == 256
    assert 0.0 in found
    assert (q.min(), q.max()) == (0, 255)


def test_halves_go_to_the_even_integer():
    x = torch.tensor([0.5, 1.5, 2.5, 3.5, 254.5])
    assert seen([0.0, 255.0])(x).tolist() == [0, 2, 2, 4, 254]


def test_ranges_have_0_in_them_and_are_means_of_batches():
    assert seen([2.0, 5.0]).ends.tolist() == [0.0, 5.0]
    assert seen([-2.0, -1.0]).ends.tolist() == [-2.0, 0.0]
    torch.testing.assert_close(
        seen([-1.0, 4.0], [-3.0, 0.0], [-2.0, 5.0]).ends, torch.tensor([-2.0, 3.0]), rtol=0, atol=1e-6
    )
    late = Range()
    late.ends.copy_(torch.tensor([-1.0, 1.0]))
    late.seen.fill_(10_000)
    late(torch.tensor([-2.0, 3.0]))
    torch.testing.assert_close(late.ends, torch.tensor([-1.01, 1.02]))


def test_nothing_is_learned_of_what_is_not_finite():
    assert seen([-1.0, 1.0], [float("nan"), 9.0]).ends.tolist() == [-1.0, 1.0]
    assert seen([-1.0, 1.0], [float("inf"), -1.0]).ends.tolist() == [-1.0, 1.0]


def test_processes_see_what_any_of_them_sees(monkeypatch):
    def with_another(mine, how):
        assert how == torch.distributed.ReduceOp.MAX
        mine.copy_(torch.maximum(mine, torch.tensor([3.0, 2.0])))  # whose batch is from -3 to 2

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", with_another)
    assert seen([-1.0, 5.0]).ends.tolist() == [-3.0, 5.0]


def test_a_range_learns_in_training_alone_and_rounds_only_what_it_knows():
    x = torch.tensor([0.123456, 9.0])
    fresh = Range().eval()
    assert torch.equal(fresh(x), x)
    known = seen([0.0, 1.0])
    assert known(x).tolist() == pytest.approx([31 / 255, 1.0])
    assert (known.ends.tolist(), int(known.seen)) == ([0.0, 1.0], 1)


def test_gradients_go_straight_through_what_is_inside():
    x = torch.tensor([-0.9, -0.5, 0.0, 0.3, 1.0, 1.2], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (weights * seen([-0.5, 1.0])(x)).sum().backward()
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 0]


# -------------------------------------------------------------------------------------------- weights


def test_weights_are_multiples_of_a_step_of_their_channel():
    layer = Conv1d(3, 4, 5)
    with torch.no_grad():
        layer.weight.mul_(torch.tensor([1e-3, 1.0, 50.0, 0.0])[:, None, None])
    found = rounded(layer.weight, layer.scales(layer.weight), 0)
    for mine, weight in zip(found.detach().numpy(), layer.weight.detach().numpy().astype(float), strict=True):
        step = np.abs(weight).max() / 63
        wanted = np.clip(np.round(weight / step), -63, 63) * step if step else 0 * weight
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-12)
    found.sum().backward()
    assert torch.equal(layer.weight.grad, torch.ones_like(layer.weight))


def test_weights_overflow_16_bits_on_no_processor():
    network = frozen(trained(Conv1d(8, 8, 3), torch.randn(1, 8, 20)))
    weight = network[0].weight.long().abs()
    assert weight.max() == 63
    assert 2 * 255 * weight.max() < 2**15


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_sums_of_a_transposed_convolution_are_exact(spread):
    """Also of weights that are all the same: their steps are larger then, so that sums stay small."""
    torch.manual_seed(0)
    layer = ConvTranspose1d(1024, 2, 4, 2, 1)
    with torch.no_grad():
        layer.weight.copy_(1 + spread * torch.randn(layer.weight.shape))
    x = torch.rand(1, 1024, 9) * 2 - 0.1
    network = frozen(trained(layer, x))
    scale, zero = (float(each) for each in layer.taken.steps())
    q = np.clip(np.round(x.numpy()[0].astype(float) / scale) + zero, 0, 255) - zero
    weight = network[0].weight.numpy().astype(float)
    sums = np.zeros((2, 2 * 9 + 2))
    for n in range(9):
        for tap in range(4):
            sums[:, 2 * n + tap] += q[:, n] @ weight[:, :, tap]
    sums = sums[:, 1:-1] + network[0].bias.numpy()[:, None]
    assert np.abs(sums).max() < 2**24
    assert np.abs(weight).max() > 8
    step = np.float32(scale) * layer.scales(layer.weight).numpy()
    np.testing.assert_array_equal(network(x)[0].numpy(), sums.astype(np.float32) * step[:, None])


def trained(layer, *batches):
    network = torch.nn.Sequential(layer)
    with torch.no_grad():
        for batch in batches:
            network(batch)
    return network.eval()


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_convolution_is_one_of_integers(dilation):
    torch.manual_seed(dilation)
    layer = Conv1d(3, 4, 5, dilation=dilation, padding=2 * dilation)
    x = torch.randn(1, 3, 40)
    network = trained(layer, x)
    found = frozen(network)(x)[0].numpy()
    low, high = layer.taken.ends.tolist()
    q, scale, zero = by_hand(x[0].numpy(), low, high)
    padded = np.pad(q - zero, ((0, 0), (2 * dilation, 2 * dilation)))
    weight = layer.weight.detach().numpy().astype(float)
    step = np.abs(weight).max((1, 2)) / 63
    integers = np.round(weight / step[:, None, None])
    sums = np.stack(
        [
            (integers * padded[:, n : n + 4 * dilation + 1 : dilation]).sum((1, 2))
            for n in range(40)
        ],
        1,
    )  # fmt: skip
    sums += np.round(layer.bias.detach().numpy() / (scale * step))[:, None]
    low, high = layer.given.ends.tolist()
    q, scale_given, zero = by_hand(sums * (scale * step)[:, None], low, high)
    wanted = (q - zero) * scale_given
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    # What is trained is that, but for sums next to a half: a step.
    with torch.no_grad():
        apart = np.abs(network(x)[0].numpy() - wanted) / scale_given
    assert apart.max() < 1.001
    assert np.mean(apart > 0.5) < 0.02


# ---------------------------------------------------------------------------------------- ONNX Runtime


def exported(network, inputs):
    file = io.BytesIO()
    axes = {"frames": {2: "n"}, "sound": {2: "samples"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, inputs, 8),), file, input_names=["frames"], output_names=["sound"],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip
    return file.getvalue()


@pytest.fixture(scope="module", params=[0, 1])
def decoder(request):
    torch.manual_seed(0)
    network = Generator(5, KINDS[request.param])
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 5, 12))
    plain = frozen(folded(network))
    return network, plain, exported(plain, 5)


def test_onnx_runtime_computes_it_with_integers(decoder, tmp_path):
    network, _, content = decoder
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(content, options)
    kinds = Counter(each.op_type for each in onnx.load(tmp_path / "optimised.onnx").graph.node)
    rounding = [each for each in network.modules() if isinstance(each, (Conv1d, ConvTranspose1d))]
    assert kinds["QLinearConv"] == sum(isinstance(each, Conv1d) for each in rounding) > 0
    plain = [each for each in network.modules() if isinstance(each, torch.nn.Conv1d) and each not in rounding]
    assert kinds["Conv"] + kinds["FusedConv"] == len(plain)
    assert kinds["Identity"] + kinds["Cast"] == 0
    sizes = Counter()
    for each in onnx.load_from_string(content).graph.initializer:
        sizes[each.data_type] += int(np.prod(each.dims))
    assert sizes[onnx.TensorProto.INT8] == sum(each.weight.numel() for each in rounding)
    assert sizes[onnx.TensorProto.FLOAT] == sum(
        parameter.numel()
        for each in folded(network).modules()
        if isinstance(each, (torch.nn.Conv1d, torch.nn.ConvTranspose1d))
        and not isinstance(each, (Conv1d, ConvTranspose1d))
        for parameter in each.parameters()
    )


def test_onnx_runtime_makes_what_torch_makes_and_pieces_are_the_whole(decoder):
    network, plain, content = decoder
    session = open_session(Path("decoder"), content)
    x = np.random.default_rng(0).standard_normal((1, 5, 90)).astype(np.float32)
    [sound] = session.run(None, {"frames": x})
    with torch.no_grad():
        np.testing.assert_allclose(sound, plain(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-6)
        assert np.abs(sound - folded(network)(torch.from_numpy(x)).numpy()).max() < 0.2 * np.abs(sound).max()
    reach, hop = network.overlap, network.hop
    for begin, end in ((30, 41), (50, 51), (60, 90)):
        [piece] = session.run(None, {"frames": x[:, :, begin - reach : end + reach]})
        mine = piece[:, :, reach * hop : (reach + end - begin) * hop]
        np.testing.assert_allclose(mine, sound[:, :, begin * hop : end * hop], rtol=0, atol=1e-6)


def test_weights_of_floating_point_are_taken_over():
    torch.manual_seed(0)
    plain, network = Generator(5, Shape(16, (8, 2), (3,), ((1, 2),), "2")), Generator(5, KINDS[1])
    network.load_state_dict(plain.state_dict())
    x = torch.randn(1, 5, 9)
    with torch.no_grad():  # Before it has seen a sound, only its weights are rounded.
        assert (network.eval()(x) - plain(x)).abs().max() < 0.1 * plain(x).abs().max()
    with pytest.raises(UserError, match=r"stages\.0\.up has not been trained with int8 yet"):
        frozen(folded(network))
    half = {name: each for name, each in network.state_dict().items() if not name.endswith("up.taken.seen")}
    with pytest.raises(RuntimeError, match=r"up\.taken\.seen"):
        network.load_state_dict(half)
