"""A device that calls when the test says so, and measures of what is heard."""

import numpy as np
from scipy.signal import firwin
from scipy.signal.windows import blackmanharris

from rtaudio.native import call_callback, compiled
from rtaudio.stream import Stream


@compiled
def call_once(callback, source, sink, frames, flags, user):
    return call_callback(callback, source, sink, frames, 0, flags, user)


def address(array):
    return array.ctypes.data if array.size else 0


GUARD = np.float32(12345.0)
"""What lies before and after the device's buffers."""
GUARDS = 64


def call(stream, source, frames=None, flags=0):
    """One call with a (samples, inputs) block, or without input; returns a (samples, outputs) block."""
    frames = len(source) if frames is None else frames
    sink = np.full(frames * stream.outputs + 2 * GUARDS, GUARD)
    heard = sink[GUARDS : GUARDS + frames * stream.outputs]
    given = np.zeros(0, np.float32) if source is None else np.ascontiguousarray(source, np.float32)
    kept = given.copy()
    assert call_once(stream.callback, address(given), address(heard), frames, flags, stream.address) == 0
    assert (sink[:GUARDS] == GUARD).all()
    assert (sink[len(sink) - GUARDS :] == GUARD).all()
    np.testing.assert_array_equal(given, kept)
    return heard.reshape(frames, stream.outputs).copy()


def play_calls(stream, source, lengths):
    """What a device hears that gives a (samples, inputs) signal in calls of these lengths."""
    ends = np.cumsum(lengths)
    heard = [call(stream, source[end - n : end]) for end, n in zip(ends, lengths, strict=True)]
    return np.concatenate([np.zeros((0, stream.outputs), np.float32), *heard])


class Stepped:
    """Calls with one of the plan's blocks at a time."""

    name = "stepped"
    rate = 48_000
    latency = 0
    realtime = False
    period = None
    running = True
    stream: Stream

    def start(self, stream, end=-1):
        self.stream = stream

    def step(self, block):
        """Play one block, or silence if that is 0; returns what is heard."""
        source = np.zeros((self.stream.block, self.stream.inputs), np.float32)
        source[:] = block
        return call(self.stream, source)

    def stop(self):
        self.running = False
        return True

    def statistics(self):
        return {"api": self.name}


def above_15_khz(signal, rate=48_000):
    """Power above 15 kHz in dB, 0 for a sine of full scale, through a 4-term Blackman-Harris window."""
    window = blackmanharris(len(signal), sym=False)
    spectrum = np.abs(np.fft.rfft(signal * window)) ** 2
    full = (window**2).sum() * len(signal) / 4
    return float(10 * np.log10(spectrum[round(15_000 * len(signal) / rate) :].sum() / full + 1e-30))


HIGH = firwin(511, 15_000, pass_zero=False, fs=48_000, window=("kaiser", 14.0))


def step_above_15_khz(signal):
    """The highest peak of what lies above 15 kHz, in dB of full scale; at 48 kHz."""
    high = np.convolve(np.asarray(signal, np.float64), HIGH, mode="valid")
    return float(20 * np.log10(np.abs(high).max() + 1e-15))
