"""Batches mixed on the device: levels and ratios measured, each example for itself, odd draws."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tiny_speech
import torch

from export.bank import DRAWS, Bank, Chances, Clips, active_levels, bursts, mirrored
from export.levels import active_level, level
from rtaudio.errors import UserError
from rtaudio.resample import edge

RATE = 16_000
PLAIN = Chances(
    snr=(12.0, 12.0), level=(-30.0, -30.0), clean=0, silent=0, late=0, synthetic=0.5, babble=0.2, second=0,
    speed=0, equaliser=(0.0, 0.0), room=0, narrow=0, clipped=0, offset=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    speech = sorted(tiny_speech.write_speech(folder / "speech").iterdir())
    noise = sorted(tiny_speech.write_noise(folder / "noise").iterdir())
    with ThreadPoolExecutor(1) as pool:
        return Bank(speech, noise, 6, ("fan", "keys", "music"), 2, RATE, 2.0, 1, pool)


def draws(count, seed=0):
    return torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(seed))


def test_levels_and_ratios_are_as_asked(bank):
    batch = bank.batch(draws(24), PLAIN)
    for clean, noisy in zip(batch.clean.numpy(), batch.noisy.numpy(), strict=True):
        assert abs(active_level(clean, RATE)[0] + 30) < 3  # the bank's own measure is simpler
        own = active_levels(torch.from_numpy(clean[None]), RATE).item()
        assert own == pytest.approx(-30, abs=0.1)
        assert own - level(noisy - clean) == pytest.approx(12, abs=0.1)


def test_every_chance_at_once_gives_sound_that_can_be_used(bank):
    every = replace(
        Chances(),
        late=1,
        second=1,
        bursts=1,
        speed=1,
        room=1,
        narrow=1,
        clipped=1,
        offset=1,
        clean=0.5,
        silent=0.5,
    )
    batch = bank.batch(draws(32), every)
    for x in (batch.clean, batch.noisy):
        assert torch.isfinite(x).all()
        assert x.abs().max() <= 1.06
    assert ((batch.band > 0) & (batch.band <= RATE / 2)).all()


def test_an_example_depends_on_its_own_draws_alone(bank):
    whole = draws(12)
    together = bank.batch(whole, Chances())
    for k in (0, 5, 11):
        alone = bank.batch(whole[k : k + 1], Chances())
        assert torch.allclose(alone.noisy[0], together.noisy[k], atol=1e-5)
        assert torch.allclose(alone.clean[0], together.clean[k], atol=1e-5)


def test_shares_are_those_of_the_chances(bank):
    chances = replace(PLAIN, silent=0.3, clean=0.25, snr=(0.0, 0.0))
    batch = bank.batch(draws(400), chances)
    silent = ~batch.clean.any(1)
    assert 0.22 < silent.float().mean() < 0.38
    ratio = torch.stack([active_levels(batch.clean, RATE), active_levels(batch.noisy - batch.clean, RATE)])
    untouched = (ratio[0] - ratio[1] > 30) & ~silent
    assert 0.1 < untouched.float().mean() < 0.3


def test_late_speech_leaves_noise_alone_before_it(bank):
    batch = bank.batch(draws(40), replace(PLAIN, late=1))
    loud = batch.clean.abs() > 1e-3
    first = torch.where(loud.any(1), loud.float().argmax(1), bank.samples)
    assert first.float().mean() > bank.samples / 4
    for k in range(40):
        assert not torch.any(batch.clean[k, : max(0, int(first[k]) - 400)].abs() > 1e-3)


def test_a_low_pass_takes_speech_and_noise(bank):
    chances = replace(PLAIN, narrow=1)
    batch = bank.batch(draws(24), chances)
    power = torch.fft.rfft(batch.noisy).abs().square()
    frequency = torch.fft.rfftfreq(bank.samples, 1 / RATE)
    narrow = batch.band == RATE / 2
    above = power[:, frequency > 7_900].sum(1) / power.sum(1)
    assert above[narrow].median() < 1e-5


def test_sound_of_a_low_rate_is_heard_as_by_the_engine():
    """That is, as samples with zeros between them are, which mirror all of the band, cut off by `edge`."""
    n, band = 24_000, torch.tensor([8_000.0, 4_000.0])
    frequency = torch.fft.rfftfreq(n, 1 / 48_000)
    full, want = [], []
    for row, half in enumerate(band):
        every = round(24_000 / float(half))
        x = torch.zeros(n)
        x[::every] = every * torch.randn(n // every, generator=torch.Generator().manual_seed(row))
        full.append(torch.fft.rfft(x))
        want.append(full[row] * torch.from_numpy(edge(frequency.double().numpy() / float(half))))
    low = torch.where(frequency <= band[:, None], torch.stack(full), 0)
    found = mirrored(low[None], frequency, band, torch.from_numpy(edge(np.linspace(0, 2, 100_001))).float())[
        0
    ]
    torch.testing.assert_close(found, torch.stack(want).to(found.dtype), rtol=1e-3, atol=0.05)


def test_files_of_a_low_rate_are_heard_so_at_times(tmp_path):
    """Of those that have no noise above their band (6 in 10), half are mirrored there; at a rate that has no
    room for it, none is."""
    speech = sorted(tiny_speech.write_speech(tmp_path / "speech").iterdir())
    noise = sorted(tiny_speech.write_noise(tmp_path / "noise").iterdir())
    with ThreadPoolExecutor(1) as pool:
        bank = Bank(speech, noise, 3, ("coloured", "fan"), 1, 48_000, 1.0, 1, pool)
        near = Bank(speech, noise, 3, ("coloured", "fan"), 1, 19_200, 1.0, 1, pool)
    found = bank.batch(draws(120), replace(PLAIN, synthetic=1, babble=0))
    power = torch.fft.rfft(found.noisy).abs().square()
    frequency = torch.fft.rfftfreq(bank.samples, 1 / 48_000)
    file = found.band == 24_000
    inside, mirror, above = (
        power[file][:, (frequency > low) & (frequency < high)].sum(1)
        for low, high in ((7_000, 7_700), (8_300, 9_000), (10_100, 20_000))
    )
    assert 0.45 < file.float().mean() < 0.75
    assert (above < 1e-3 * inside).all()
    assert 0.3 < (mirror > 0.1 * inside).float().mean() < 0.7
    found = near.batch(draws(40), replace(PLAIN, synthetic=1, babble=0))
    power = torch.fft.rfft(found.noisy[found.band == 9_600]).abs().square()
    frequency = torch.fft.rfftfreq(near.samples, 1 / 19_200)
    inside, above = (power[:, (frequency > low) & (frequency < low + 500)].sum(1) for low in (7_000, 8_500))
    assert len(power) > 10
    assert (above < 0.02 * inside).float().mean() > 0.9, (above / inside).sort()[0]


def test_clips_are_cut_where_drawn():
    first, second = np.arange(10, dtype=np.float16), np.arange(100, 130, dtype=np.float16)
    clips = Clips([first, second], [4_000.0, 8_000.0], 4)
    which, place = torch.tensor([0.1, 0.24, 0.26, 0.99]), torch.tensor([0.0, 0.999, 0.0, 0.999])
    found, bands = clips.cut(which, place, 4)
    assert found.tolist() == [[0, 1, 2, 3], [5, 6, 7, 8], [100, 101, 102, 103], [125, 126, 127, 128]]
    assert bands.tolist() == [4_000, 4_000, 8_000, 8_000]


def test_bursts_rise_at_once_decay_as_drawn_and_come_as_often():
    n, own = 30 * RATE, torch.linspace(0.1, 0.9, 5)
    drawn = torch.tensor([0.5, 0.3, 0.0, 1.0, 0.2, 0.0]).repeat(5, 1)  # evenly, over a floor of -60 dB
    drawn[:, 5] = own
    envelope = 20 * torch.log10(bursts(drawn, n, RATE)).numpy()
    each, decay = 0.7 * (10 / 0.7) ** 0.5, 0.02 * 75**0.3
    for level_ in envelope:
        rises = np.flatnonzero(np.diff(level_) > 3) + 1
        assert np.diff(rises) == pytest.approx(RATE / each, abs=1)
        assert (level_[rises] <= 0).all()
        assert (level_[rises] >= -20.1).all()
        assert np.ptp(level_[rises]) > 10  # no two are alike
        slope = level_[rises + 1] - level_[rises + 1 + RATE // 100]
        assert slope == pytest.approx(60 * 0.01 / decay, abs=0.1)
        assert level_.min() == pytest.approx(-60, abs=0.01)
    loose = bursts(torch.tensor([[0.5, 0.3, 1.0, 1.0, 0.2, 0.4]]), n, RATE)[0].numpy()
    gaps = np.diff(np.flatnonzero(loose[1:] > 1.4 * loose[:-1])) / RATE
    assert gaps.std() > 0.2 / each


def test_bursts_are_of_the_noise_alone(bank):
    with_bursts, plain = (bank.batch(draws(8), replace(PLAIN, bursts=chance)) for chance in (1.0, 0.0))
    assert torch.equal(with_bursts.clean, plain.clean)
    several, one = (mixed.noisy - mixed.clean for mixed in (with_bursts, plain))
    for x, y in zip(several.numpy(), one.numpy(), strict=True):
        assert level(x) == pytest.approx(level(y), abs=0.1)
    still = [x.square().median(1).values for x in (several, one)]
    assert (still[0] / still[1]).log().mean().exp() < 0.5


def test_a_faster_clip_is_interpolated():
    clips = Clips([np.arange(40, dtype=np.float16)], [8_000.0], 10)
    found, _ = clips.cut(torch.tensor([0.5]), torch.tensor([0.0]), 6, torch.tensor([1.25]))
    assert np.allclose(found[0], 1.25 * np.arange(6))


def test_a_short_clip_repeats():
    clips = Clips([np.arange(3, dtype=np.float16)], [8_000.0], 7)
    assert clips.cut(torch.tensor([0.5]), torch.tensor([0.0]), 7)[0].tolist() == [[0, 1, 2, 0, 1, 2, 0]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"snr": (5.0, 0.0)}, "snr"),
        ({"level": (-30.0, 3.0)}, "level"),
        ({"room": 1.5}, "room"),
        ({"synthetic": 0.8, "babble": 0.5}, "babble"),
        ({"clean": 0.8, "silent": 0.5}, "silent"),
    ],
)
def test_wrong_chances_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        Chances(**values)
