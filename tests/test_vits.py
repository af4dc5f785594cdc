"""VITS: sizes, attention, alignment, divergence, masks, and what it says without noise."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from export.config import typed
from export.models import vits
from export.models.hifigan import V1, V3, Shape, folded
from export.models.vits import (
    LONGEST,
    Attention,
    Durations,
    Model,
    Vits,
    align,
    cut,
    kullback_leibler,
    mask_of,
    stretched,
)
from export.training import open_task
from rtaudio.errors import UserError

TINY = {
    "symbols": 12, "hidden": 12, "filter": 16, "layers": 2, "latent": 6, "posterior": 2, "flows": 2,
    "flow_layers": 2, "embedding": 4, "fft": 64, "decoder": Shape(8, (4, 4), (3,), ((1, 3),), "2"),
}  # fmt: skip


def tiny(**model):
    """A network whose weights are not those it begins with."""
    torch.manual_seed(0)
    network = Vits(Model(**{**TINY, **model}))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.startswith("decoder"):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


# ------------------------------------------------------------------------------------------------ sizes


def convolution(inputs, outputs, kernel=1):
    return inputs * outputs * kernel + outputs


def decoder_by_hand(inputs, shape):
    """Weights of HiFi-GAN's generator."""
    total, channels = convolution(inputs, shape.channels, 7), shape.channels
    for rate in shape.rates:
        channels //= 2
        total += 2 * channels * channels * 2 * rate + channels
        for kernel, dilations in zip(shape.kernels, shape.dilations, strict=True):
            total += (1 + (shape.kind == "1")) * len(dilations) * convolution(channels, channels, kernel)
    return total + convolution(channels, 1, 7)


def counted_by_hand(symbols, hidden, width, latent, decoder):
    """Weights that are needed to speak, from the sizes of the paper's layers."""
    attention = 4 * convolution(hidden, hidden) + 2 * 9 * hidden // 2
    layer = attention + convolution(hidden, width, 3) + convolution(width, hidden, 3) + 4 * hidden
    text = symbols * hidden + 6 * layer + convolution(hidden, 2 * latent)
    wavenet = 4 * convolution(hidden, 2 * hidden, 5) + 3 * convolution(hidden, 2 * hidden)
    wavenet += convolution(hidden, hidden)
    flow = 4 * (convolution(latent // 2, hidden) + wavenet + convolution(hidden, latent // 2))
    separable = 3 * (hidden * 3 + hidden + convolution(hidden, hidden) + 4 * hidden)
    bent = convolution(1, hidden) + separable + convolution(hidden, 29)
    durations = 2 * convolution(hidden, hidden) + separable + 3 * bent + 4
    return text + flow + durations + decoder_by_hand(latent, decoder)


def needed(network):
    """Weights of the layers that speech goes through."""
    durations = network.durations
    unused = [network.posterior, durations.counts, durations.dequantiser, durations.flow[1]]
    return sum(p.numel() for p in network.parameters()) - sum(
        p.numel() for part in unused for p in part.parameters()
    )


@pytest.mark.parametrize(
    ("name", "by_hand", "about"),
    [
        ("vits", counted_by_hand(256, 192, 768, 192, V1), 28.3e6),
        ("vits-medium", counted_by_hand(256, 192, 768, 192, V3), 15.6e6),
        ("vits-x-low", counted_by_hand(256, 96, 384, 96, V3), 5.0e6),
    ],
)
def test_configurations_have_the_sizes_that_they_say(name, by_hand, about):
    path = Path(vits.__file__).parents[1] / "configs" / f"{name}.toml"
    _, kind, tables = open_task(path)
    settings = typed(tables, kind.settings_type, name)
    assert needed(folded(Vits(settings.model))) == by_hand
    assert by_hand == pytest.approx(about, rel=0.01)
    assert f"{about / 1e6:.1f} M weights that speak" in path.read_text()


def test_the_papers_decoder_is_hifigans_first():
    assert decoder_by_hand(80, V1) == pytest.approx(13.93e6, rel=1e-3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"hidden": 9}, "hidden = 9 over 2 heads: want a multiple"),
        ({"latent": 7}, "latent = 7: want an even number"),
        ({"kernel": 4}, "kernel = 4: want an odd number"),
        ({"layers": 0}, "layers = 0: give 1 or more"),
        ({"dropout": 1.0}, "dropout = 1.0: want 0 or more, below 1"),
        ({"decoder": {"rates": [3]}}, r"rates = \[3\]: want even numbers"),
    ],
)
def test_sizes_that_cannot_be_are_refused(table, message):
    with pytest.raises(UserError, match=message):
        typed(table, Model, "x.toml")


# -------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize(("count", "window"), [(1, 4), (3, 4), (9, 2), (14, 4), (6, 0)])
def test_attention_against_its_definition(count, window):
    torch.manual_seed(count)
    heads, size = 2, 3
    layer = Attention(heads * size, heads, window, 0.0).double().eval()
    x, mask = torch.randn(1, heads * size, count, dtype=torch.float64), torch.ones(1, 1, count)
    q, k, v = (part(x)[0].T for part in (layer.query, layer.key, layer.value))  # (count, channels)
    found = np.zeros((count, heads * size))
    for head in range(heads):
        mine = slice(head * size, (head + 1) * size)
        for i in range(count):
            scores = []
            for j in range(count):
                key = k[j, mine].clone()
                if abs(j - i) <= window:
                    key += layer.keys[j - i + window]
                scores.append((q[i, mine] @ key).item() / math.sqrt(size))
            weights = np.exp(scores) / np.exp(scores).sum()
            for j in range(count):
                value = v[j, mine].clone()
                if abs(j - i) <= window:
                    value += layer.values[j - i + window]
                found[i, mine] += weights[j] * value.detach().numpy()
    wanted = layer.output(torch.from_numpy(found.T)[None])
    torch.testing.assert_close(layer(x, mask), wanted)


# -------------------------------------------------------------------------------------------- alignment


def test_alignment_finds_what_was_put_there():
    random = torch.Generator().manual_seed(0)
    counts = torch.tensor([[3, 1, 5, 2], [1, 4, 2, 0]])
    mean = 3 * torch.randn(2, 6, 4, generator=random)
    deviation = 0.2 * torch.randn(2, 6, 4, generator=random) - 1
    frames = counts.sum(1)
    z = stretched(mean, counts, 11) + 0.2 * torch.randn(2, 6, 11, generator=random)
    found = align(z, mean, deviation, torch.tensor([4, 3]), frames)
    assert found.tolist() == counts.tolist()


def test_alignment_maximises_the_likelihood_of_torch():
    torch.manual_seed(3)
    z, mean, deviation = torch.randn(1, 4, 6), torch.randn(1, 4, 3), 0.5 * torch.randn(1, 4, 3)

    def likelihood(counts):
        at = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
        normal = torch.distributions.Normal(mean[0][:, at], deviation[0][:, at].exp())
        return normal.log_prob(z[0]).sum().item()

    ways = [(a, b, 6 - a - b) for a in range(1, 5) for b in range(1, 6 - a)]
    found = align(z, mean, deviation, torch.tensor([3]), torch.tensor([6]))
    assert tuple(found[0].tolist()) == max(ways, key=likelihood)


def test_alignment_is_as_exact_in_half_precision():
    torch.manual_seed(4)
    z, mean, deviation = 9 + torch.randn(1, 192, 300), 9 + torch.randn(1, 192, 40), torch.zeros(1, 192, 40)
    sizes = torch.tensor([40]), torch.tensor([300])
    wanted = align(z, mean, deviation, *sizes)
    with torch.autocast("cpu", torch.bfloat16):
        found = align(z, mean, deviation, *sizes)
    assert torch.equal(found, wanted)


def test_frames_of_symbols():
    x = torch.tensor([[[5.0, 6.0, 7.0, 8.0]]])
    counts = torch.tensor([[2, 0, 1, 3]])
    assert stretched(x, counts, 6).flatten().tolist() == [5, 5, 7, 8, 8, 8]
    assert stretched(x, counts.float(), torch.tensor(8)).flatten().tolist() == [5, 5, 7, 8, 8, 8, 8, 8]


def test_segments():
    x = torch.arange(20.0).view(2, 1, 10)
    assert cut(x, torch.tensor([3, 0]), 2).flatten().tolist() == [3, 4, 10, 11]


def test_divergence_is_that_of_normal_distributions():
    torch.manual_seed(0)
    m, s, mean, deviation = (torch.randn(1, 3, 4) for _ in range(4))
    mask = mask_of(torch.tensor([3]), 4)
    noise = torch.randn(20_000, 3, 4)
    z = m + noise * s.exp()
    wide = [part.expand(len(z), -1, -1) for part in (s, mean, deviation, mask)]
    closed = torch.distributions.kl_divergence(
        torch.distributions.Normal(m, s.exp()), torch.distributions.Normal(mean, deviation.exp())
    )
    wanted = (closed * mask).sum() / 3
    assert kullback_leibler(z, *wide).item() == pytest.approx(wanted.item(), rel=0.02)


# -------------------------------------------------------------------------------------------- durations


def test_durations_that_are_drawn_are_those_of_the_whole_flow_backwards():
    network = tiny().durations
    x, mask, drawn = torch.randn(1, 12, 7), torch.ones(1, 1, 7), torch.randn(1, 2, 7)
    given = network._given(x, mask, None)
    z = drawn
    for coupling in reversed(network.flow[1:]):
        z = coupling.inverse(z, mask, given)
    torch.testing.assert_close(network.draw(x, mask, None, drawn), network.flow[0].inverse(z, mask)[:, :1])
    back, _ = Durations._through(network.flow, network.flow[0].inverse(z, mask), mask, given)
    torch.testing.assert_close(back, drawn, rtol=0, atol=1e-4)


def test_durations_teach_neither_text_nor_speakers():
    network = tiny(speakers=2)
    random = torch.Generator().manual_seed(1)
    ids, spectra = clip(random, 5, 17)
    heard = network(ids, torch.tensor([5]), spectra, torch.tensor([17]), torch.tensor([1]), 0)
    heard.duration.backward()
    taught = {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert taught == {"durations"}


def test_likelihood_of_durations_is_a_bound():
    """A probability of whole numbers: summed over these, the mean of its estimate is at most 1."""
    network, highest, many = tiny().durations, 60, 300
    torch.manual_seed(0)
    x, mask = torch.randn(1, 12, 1).expand(highest * many, -1, -1), torch.ones(highest * many, 1, 1)
    counts = torch.arange(1.0, 1 + highest).repeat_interleave(many).view(-1, 1, 1)
    with torch.no_grad():
        unlikely = network(x, mask, None, counts, torch.randn_like)
    total = (-unlikely).exp().view(highest, many).mean(1).sum().item()
    assert 0.8 < total < 1.05


# ------------------------------------------------------------------------------------------ the whole


def clip(random, symbols, frames):
    ids = torch.randint(12, (1, symbols), generator=random)
    return ids, torch.rand(1, 33, frames, generator=random)


def fixed_noise(x):
    """By place, whatever the shape."""
    at = torch.arange(x.shape[1])[:, None] * 1.7 + torch.arange(x.shape[2]) * 0.9
    return torch.sin(at * at).expand_as(x).to(x)


@pytest.mark.parametrize("speakers", [1, 3])
def test_padding_changes_nothing(speakers):
    network = tiny(speakers=speakers)
    random = torch.Generator().manual_seed(1)
    clips = [clip(random, 9, 30), clip(random, 5, 17)]
    ids, spectra = torch.full((2, 9), 3), torch.full((2, 33, 30), 9.0)
    for row, (some, spectrum) in enumerate(clips):
        ids[row, : some.shape[1]], spectra[row, :, : spectrum.shape[2]] = some[0], spectrum[0]
    symbols, frames, numbers = torch.tensor([9, 5]), torch.tensor([30, 17]), torch.tensor([0, speakers - 1])
    with torch.no_grad():
        both = network(ids, symbols, spectra, frames, numbers, 0, fixed_noise)
        alone = [
            network(some, symbols[[n]], spectrum, frames[[n]], numbers[[n]], 0, fixed_noise)
            for n, (some, spectrum) in enumerate(clips)
        ]
    for row, one in enumerate(alone):
        assert both.counts[row, : symbols[row]].tolist() == one.counts[0].tolist()
        assert one.counts.min() >= 1
        # Its last frames the decoder takes together with what its own layers make of nothing behind them.
        samples = one.sound.shape[2] - network.decoder.overlap * network.decoder.hop
        assert samples > 0
        torch.testing.assert_close(
            both.sound[row, :, :samples], one.sound[0, :, :samples], rtol=1e-4, atol=1e-5
        )
    for name, counts in (("divergence", frames), ("duration", symbols)):
        mean = sum(getattr(one, name) * n for one, n in zip(alone, counts, strict=True)) / counts.sum()
        torch.testing.assert_close(getattr(both, name), mean)


def test_what_is_said_twice_is_the_same_and_scales_do_what_they_say():
    network = tiny()
    ids, count = torch.arange(1, 9)[None], torch.tensor([8])

    def speak(noise, length, noise_w):
        scales = torch.tensor([noise, length, noise_w])
        with torch.no_grad():
            return network.speak(ids, count, scales, None, torch.randn_like)

    sound, frames = speak(0.0, 1.0, 0.0)
    again, _ = speak(0.0, 1.0, 0.0)
    assert torch.equal(sound, again)
    assert sound.shape == (1, 1, 16 * int(frames.sum()))
    assert speak(0.0, 5.0, 0.0)[1].sum() > 2 * frames.sum()
    assert not torch.equal(speak(1.0, 1.0, 0.0)[0], sound)
    assert not torch.equal(speak(0.0, 1.0, 3.0)[1], frames)
    assert speak(0.0, 1.0, 1e4)[1].max() <= LONGEST


def test_noise_of_the_posterior_goes_back_to_it():
    """The flow of the prior's frames: forward and backward, at the size of the whole."""
    network = tiny()
    z, mask = torch.randn(2, 6, 20), torch.ones(2, 1, 20)
    there = z
    for coupling in network.flow:
        there = coupling(there, mask)
    back = there
    for coupling in reversed(network.flow):
        back = coupling.inverse(back, mask)
    assert not torch.allclose(there, z, atol=0.1)
    torch.testing.assert_close(back, z, rtol=0, atol=1e-5)


def test_speakers_sound_different():
    network = tiny(speakers=2)
    ids, count, scales = torch.arange(1, 9)[None], torch.tensor([8]), torch.tensor([0.0, 1.0, 0.0])
    with torch.no_grad():
        a, b = (network.speak(ids, count, scales, torch.tensor([n]), torch.zeros_like)[0] for n in (0, 1))
    assert a.shape != b.shape or not torch.allclose(a, b)
