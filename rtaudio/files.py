"""Reading and writing audio files, block by block.

Blocks are float32 arrays of shape ``(channels, samples)`` with full scale at 1. Surround channels are in the
order of WAV (left, right, centre, LFE, ...) in every format.
"""

from __future__ import annotations

import errno
import math
import os
import re
import secrets
import shlex
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from rtaudio.errors import FileError, nearest

Block = NDArray[np.float32]

EXTENSIONS = frozenset(
    {
        ".aif",
        ".aifc",
        ".aiff",
        ".au",
        ".caf",
        ".flac",
        ".mp3",
        ".oga",
        ".ogg",
        ".opus",
        ".rf64",
        ".w64",
        ".wav",
    }
)
"""Extensions by which `audio_files` knows the audio in a folder."""


class _Container(NamedTuple):
    format: str  # libsndfile's name
    subtypes: tuple[str, ...]  # libsndfile's names, the default first


_AIFF = _Container("AIFF", ("PCM_24", "PCM_16", "PCM_32", "FLOAT", "DOUBLE"))
_CONTAINERS = {
    ".wav": _Container("WAV", ("FLOAT", "PCM_16", "PCM_24", "PCM_32", "PCM_U8", "DOUBLE", "ULAW", "ALAW")),
    ".flac": _Container("FLAC", ("PCM_24", "PCM_16", "PCM_S8")),
    ".ogg": _Container("OGG", ("VORBIS", "OPUS")),
    ".opus": _Container("OGG", ("OPUS",)),
    ".mp3": _Container("MP3", ("MPEG_LAYER_III",)),
    ".aiff": _AIFF,
    ".aif": _AIFF,
}
_RATES = {
    "OPUS": (8000, 12000, 16000, 24000, 48000),
    "MPEG_LAYER_III": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
"""Rates in Hz that a subtype takes; the others take any."""
_BITS = {
    **{"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32},
    **{"FLOAT": 32, "DOUBLE": 64, "ULAW": 8, "ALAW": 8},
}
_EIGHT_BITS = ("PCM_U8", "PCM_S8")  # the same samples: WAV has the first, FLAC the second
_SHORT_NAMES = {"8": _EIGHT_BITS, "16": ("PCM_16",), "24": ("PCM_24",), "32": ("PCM_32",)}

# On libsndfile's scale, where 0 is best: Vorbis quality 8, Opus near 200 kb/s in stereo, LAME V0.
_COMPRESSION = {"VORBIS": 0.2, "OPUS": 0.6, "MPEG_LAYER_III": 0.0}

# For each channel of an Ogg stream, its place in WAV's order, by number of channels (Vorbis I, 4.3.9, which
# Opus follows). libsndfile passes the channels on in the stream's order.
_OGG_ORDER = {
    3: [0, 2, 1],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 4, 5, 3],
    7: [0, 2, 1, 5, 6, 4, 3],
    8: [0, 2, 1, 6, 7, 4, 5, 3],
}

_PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part")  # a file that is being written, and its name
_PLAYABLE = (".wav", ".flac", ".ogg", ".opus")  # Of these, what was not ended can be read.
_LEFT = 60.0  # seconds without a write after which a writer is taken to be gone

_TAGS = ("title", "artist", "album", "date", "comment", "genre", "tracknumber", "copyright", "license")
_SYNCHSAFE = (21, 14, 7, 0)  # bits that the 7-bit digits of a size in ID3v2 are shifted by
_ID3_FRAMES = {
    **{"title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "date": b"TDRC"},
    **{"comment": b"COMM", "genre": b"TCON", "tracknumber": b"TRCK", "copyright": b"TCOP"},
}

_CHUNK = 16384  # samples given to libsndfile at once: its Vorbis encoder overflows the stack on millions
_RIFF_LIMIT = 2**32 - 2**16  # bytes of audio that 32-bit sizes allow, less some for headers and tags
_LEAD_IN = 8192  # samples read and dropped before a place, for decoders and resamplers to settle
_HEAD = 4096  # bytes at the start of a file, where MP3 has its length


@dataclass(frozen=True)
class FileInfo:
    """What an audio file holds.

    Attributes
    ----------
    path : Path
        The file.
    format, subtype : str
        Container and encoding by libsndfile's names, such as ``WAV`` and ``PCM_24``.
    rate : int
        Sampling rate in Hz.
    channels : int
        Number of channels.
    samples : int
        Samples per channel, at `rate`.
    tags : dict of str to str
        Those the file has of title, artist, album, date, comment, genre, tracknumber, copyright, license and
        software.
    """

    path: Path
    format: str
    subtype: str
    rate: int
    channels: int
    samples: int
    tags: dict[str, str]


class AudioReader:
    """Reads an audio file from its start to its end: WAV, RF64, AIFF, FLAC, Ogg Vorbis, Opus, MP3 and more.

    Integers of up to 24 bits and 32-bit floats come out exactly, non-finite samples included. At another
    `rate` than the file's they are resampled by soxr at its highest quality, without delay and in constant
    memory; there a non-finite sample spreads over its neighbours.

    Parameters
    ----------
    path : path-like
        The file.
    rate : int, optional
        Sampling rate to read at, in Hz, at least 1. The file's own by default.

    Attributes
    ----------
    info : FileInfo
        The file as it is.
    rate : int
        Sampling rate of what `read` gives, in Hz.
    channels : int
        Number of channels.
    samples : int
        Samples per channel that `read` gives in all: ``info.samples * rate / info.rate``, rounded half up.

    Raises
    ------
    FileError
        If the file is missing, not a file, not readable, not audio, or holds no samples.
    """

    def __init__(self, path: str | os.PathLike[str], rate: int | None = None) -> None:
        if rate is not None and rate < 1:
            raise ValueError(f"rate must be at least 1 Hz, not {rate}")
        path = Path(path)
        self._stream = stream = _open(path)
        try:
            tells_length = _tells_length(path, stream)
            samples = stream.frames if tells_length else _count(path)
            self.rate = rate or stream.samplerate
            self.samples = _resampled(samples, stream.samplerate, self.rate)
            if not self.samples:
                raise FileError(f"cannot read {path}: it holds no audio")
        except FileError:
            stream.close()
            raise
        self.channels: int = stream.channels
        self.info = FileInfo(
            path,
            stream.format,
            stream.subtype,
            stream.samplerate,
            stream.channels,
            samples,
            stream.copy_metadata(),
        )
        # A seek to the start of a short Opus file gives other samples than opening it does.
        self._seeks = tells_length and stream.subtype != "OPUS"
        ogg_order = _OGG_ORDER.get(self.channels, []) if stream.format == "OGG" else []
        self._order = [ogg_order.index(channel) for channel in range(len(ogg_order))]
        self._pending: Block  # resampled and not yet read, interleaved
        self._resampler: Any = None
        if self.rate != stream.samplerate:
            self._resampler = soxr.ResampleStream(stream.samplerate, self.rate, self.channels, quality="VHQ")
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, n: int) -> Block:
        """Read the next samples.

        Parameters
        ----------
        n : int
            Samples per channel, at least 1.

        Returns
        -------
        ndarray of float32, shape (channels, m)
            C-contiguous and the caller's own; ``m`` is `n`, or what is left near the end, and then 0.

        Raises
        ------
        FileError
            If the file is damaged, or ends before the length that its header gives.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        n = min(n, self._left)
        if self._resampler is None:
            block = np.ascontiguousarray(self._read_file(n).T)
        else:
            block = np.zeros((self.channels, n), np.float32)
            filled = 0
            while filled < n and (len(self._pending) or self._file_left):
                if not len(self._pending):
                    data = self._read_file(min(_CHUNK, self._file_left))
                    self._pending = self._resampler.resample_chunk(data, last=not self._file_left)
                taken = self._pending[: n - filled]
                block[:, filled : filled + len(taken)] = taken.T
                self._pending = self._pending[len(taken) :]
                filled += len(taken)
        self._left -= n
        return block

    def rewind(self) -> None:
        """Go back to the first sample, for a loop: the same samples follow as at first.

        Raises
        ------
        FileError
            If the file has to be opened again (Opus, and files that do not tell their length) and cannot be.
        """
        if self._seeks:
            self._stream.seek(0)
        else:
            self._stream.close()
            self._stream = _open(self.info.path)
        if self._resampler is not None:
            self._resampler.clear()
        self._start()

    def seek(self, sample: int) -> None:
        """Go to any sample: `read` then gives the same as if all before had been read.

        Samples of lossy formats, and resampled ones, may differ in the last bit of a float. Opus, and files
        that do not tell their length, are read from their start.

        Parameters
        ----------
        sample : int
            At `rate`, from 0 to `samples`.

        Raises
        ------
        FileError
            If the file is damaged, or has to be opened again and cannot be.
        """
        common = math.gcd(self.rate, self.info.rate)
        step, source_step = self.rate // common, self.info.rate // common
        lead_in = _LEAD_IN * max(1, self.rate // self.info.rate)
        grid = max(0, sample - lead_in) // step if self._seeks else 0
        try:
            self.rewind()
            if grid:
                self._stream.seek(grid * source_step)
        except sf.LibsndfileError:  # it is confused by damage: open the file again
            self._seeks, grid = False, 0
            self.rewind()
        if grid:
            self._file_left = self.info.samples - grid * source_step
            self._left = self.samples - grid * step
        for begin in range(grid * step, sample, _CHUNK):
            self.read(min(_CHUNK, sample - begin))

    def close(self) -> None:
        """Close the file. Closing again does nothing."""
        self._stream.close()

    def _start(self) -> None:
        self._left = self.samples
        self._file_left = self.info.samples
        self._pending = np.zeros((0, self.channels), np.float32)

    def _read_file(self, n: int) -> Block:
        """Read the next `n` samples at the file's rate, interleaved."""
        try:
            data: Block = self._stream.read(n, dtype="float32", always_2d=True)
        except sf.LibsndfileError:
            data = np.zeros((0, self.channels), np.float32)
        if len(data) < n:
            at = self.info.samples - self._file_left + len(data)
            raise FileError(
                f"cannot read {self.info.path}: truncated or damaged after sample {at} of {self.info.samples}"
            )
        self._file_left -= n
        return data[:, self._order] if self._order else data


class AudioWriter:
    """Writes an audio file, which takes its name only when it is complete.

    The extension chooses the container: ``.wav``, ``.flac``, ``.ogg`` (Vorbis), ``.opus``, ``.mp3`` or
    ``.aiff``. Until `close` the data is in the same folder under a hidden name, ``.NAME.xxxxxxxx.part``. As a
    context manager the writer closes at the end of the block, and aborts if an exception leaves it.

    The float formats keep every sample as it is. In the others, samples beyond [-1, 1] are limited to it and
    counted, and NaN and infinities become 0. An integer is ``round(x * 2**(bits - 1))``, half to even, and +1
    becomes the largest there is. At 16 bits and below, samples that the format cannot hold exactly get
    triangular dither of +-1 step (TPDF) first; it comes from a fixed seed, so that the same samples make the
    same file, whatever the blocks.

    Opus and MP3 have few rates. At another, the audio is resampled to the next rate up, or to the highest; by
    soxr at its highest quality, without delay, as in `AudioReader`.

    Parameters
    ----------
    path : path-like
        The file to make, or to replace. A symbolic link is followed.
    rate : int
        Sampling rate of the blocks, in Hz.
    channels : int
        Number of channels.
    source : FileInfo, optional
        The file that the audio comes from. Its tags are kept, and its subtype if the container has it.
    subtype : str, optional
        ``8``, ``16``, ``24`` or ``32`` (bits of an integer), ``float``, ``double``, or libsndfile's name for
        one, such as ``PCM_16``. By default the source's, else float for WAV, 24 bits for FLAC and AIFF.
    tags : mapping of str to str, optional
        Tags in place of the source's: title, artist, album, date, comment, genre, tracknumber, copyright,
        license. Those that the container cannot hold are left out: AIFF has title, artist, comment and
        copyright; only FLAC and Ogg have license.
    dither : bool
        Whether to dither integers of 16 bits and below.
    file_rate : int, optional
        Sampling rate of the file, in Hz, where it is not that of the blocks.
    samples : int, optional
        Samples per channel that are to come, counted at `file_rate`. A resampled file ends with the last of
        them, even if the blocks reach a little further. A WAV file that they would take past 4 GiB becomes
        RF64. If they are not given, this is a recording: a WAV file becomes RF64 if it grows past 4 GiB, and
        `close` saves what it can.

    Attributes
    ----------
    path : Path
        The file.
    subtype : str
        Encoding, by libsndfile's name.
    rate, channels : int
        As given.
    samples : int
        Samples per channel written so far, at `rate`.
    clipped : int
        Samples so far, over all channels, that were limited.
    note : str
        What the user should be told, such as ``"resampled to 48000 Hz for Opus"``, or ``""``.

    Raises
    ------
    FileError
        If the extension, the subtype or a tag is unknown, the container cannot hold the channels at the rate,
        or the length, or no file can be made at `path`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        rate: int,
        channels: int,
        *,
        source: FileInfo | None = None,
        subtype: str | None = None,
        tags: Mapping[str, str] | None = None,
        dither: bool = True,
        file_rate: int | None = None,
        samples: int | None = None,
    ) -> None:
        self.path = Path(path)
        container = _container(self.path)
        self.subtype = _subtype(self.path, container, subtype, source)
        self.rate = rate
        self.channels = channels
        self.samples = 0
        self.clipped = 0
        self.note = ""
        self._tags = _written_tags(tags, source)
        self._recording = samples is None
        self._integer_bits = _BITS[self.subtype] if self.subtype.startswith("PCM_") else 0
        self._random = np.random.default_rng(0) if dither and 0 < self._integer_bits <= 16 else None
        self._order = _OGG_ORDER.get(channels, []) if container.format == "OGG" else []

        self._file_rate = asked = file_rate or rate
        rates = _RATES.get(self.subtype, (asked,))
        if asked not in rates:
            self._file_rate = min((r for r in rates if r > asked), default=rates[-1])
            codec = "Opus" if self.subtype == "OPUS" else container.format
            self.note = f"resampled to {self._file_rate} Hz for {codec}"
        self._limit = 0 if samples is None else _resampled(samples, asked, self._file_rate)
        self._resampler: Any = None
        if self._file_rate != rate:
            self._resampler = soxr.ResampleStream(rate, self._file_rate, channels, quality="VHQ")
        # libsndfile would crash
        if self.subtype == "VORBIS" and (self._file_rate > 200_000 or channels > 255):
            raise FileError(f"cannot write {self.path}: {self._not_taken()}")

        self._format = container.format
        self._sample_bytes = _BITS.get(self.subtype, 0) // 8 * channels
        if self._format == "WAV" and (samples is None or self._limit * self._sample_bytes > _RIFF_LIMIT):
            self._format = "RF64"
        self._check_size(self._limit)

        self._target = target = Path(os.path.realpath(self.path))
        self._part = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.part")
        self._put_samples = 0  # resampled
        self._mark = 0  # bytes of the temporary file that a failure leaves
        self._failure = ""
        try:
            if target.exists() and not target.is_file():
                raise FileError(f"cannot write {self.path}: {_kind(target)}")
            self._file = self._part.open("xb+", buffering=0)
        except FileNotFoundError:
            raise FileError(f"cannot write {self.path}: there is no folder {target.parent}") from None
        except OSError as error:
            raise FileError(f"cannot write {self.path}: {_reason(error)}") from None
        try:
            self._stream = self._open_stream()
        except sf.LibsndfileError:
            reason = self._why() or self._not_taken()
            self._discard()
            raise FileError(f"cannot write {self.path}: {reason}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abort()

    def write(self, block: Block) -> None:
        """Append samples.

        Parameters
        ----------
        block : ndarray of float32, shape (channels, samples)
            The samples. They are not modified.

        Raises
        ------
        FileError
            If the disk is full or fails, after which every write does; or if an AIFF file, or a WAV file for
            which fewer `samples` were announced, would pass 4 GiB.
        """
        if block.dtype != np.float32 or block.ndim != 2 or len(block) != self.channels:
            raise ValueError(f"block must be float32 ({self.channels}, n), not {block.dtype} {block.shape}")
        if self._file.closed:
            raise ValueError(f"{self.path} is closed")
        if self._failure:
            raise FileError(self._failure)
        count = block.shape[1]
        self._check_size(_resampled(self.samples + count, self.rate, self._file_rate))
        self._mark = self._size()
        data = np.ascontiguousarray(block.T)
        for start in range(0, count, _CHUNK):
            self._put(data[start : start + _CHUNK])
        self.samples += count

    def close(self) -> None:
        """Finish the file and put it in its place. Closing again, or after `abort`, does nothing.

        The file is complete, checked and on the disk before it takes its name; an older one stays until then.

        After a `write` that failed, what fitted is put in place: in WAV and AIFF every block before that one,
        in the others the whole codec frames that were on the disk by then. Such a FLAC or MP3 file does not
        tell its length, and such an MP3 file begins with the encoder's delay.

        Raises
        ------
        FileError
            If there are no samples, or if finishing fails. Nothing is left behind then, except of a recording
            (`samples` not given): what fitted is put in place as above, or, if it cannot be put there, left
            under its hidden name, which the message gives.
        """
        if self._file.closed:
            return
        if not self.samples:
            self.abort()
            raise FileError(self._failure or f"cannot write {self.path}: there are no samples")
        told = self._failure
        if not told:
            self._mark = self._size()
        self._file.seek(0)
        head = self._file.read(_HEAD)
        try:
            self._finish()
        except (FileError, OSError, sf.LibsndfileError):
            self._fail()
        try:
            if self._failure:
                if not told and not self._recording:
                    raise FileError(self._failure)
                self._salvage(head)
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._target)
        except FileError:
            self._discard()
            raise
        except OSError as error:
            message = f"cannot write {self.path}: {_reason(error)}"
            if self._recording:
                self._file.close()
                raise FileError(f"{message}; what was recorded is in {self._part}") from None
            self._discard()
            raise FileError(message) from None
        if self._failure and not told:
            raise FileError(self._failure)

    def abort(self) -> None:
        """Drop what was written and leave nothing behind. After `close` it does nothing."""
        if not self._file.closed:
            with suppress(sf.LibsndfileError):
                self._stream.close()
            self._discard()

    def _open_stream(self) -> Any:
        stream = sf.SoundFile(
            self._part,
            "w",
            self._file_rate,
            self.channels,
            self.subtype,
            format=self._format,
            compression_level=_COMPRESSION.get(self.subtype),
        )
        _never_seek(stream)
        if self._format == "RF64" and self._recording:
            _end_as_wav_if_small(stream)
        if self._format != "MP3":
            for name, value in self._tags.items():
                setattr(stream, name, value)
        return stream

    def _put(self, data: Block, last: bool = False) -> None:
        """Encode interleaved samples."""
        limited = self.subtype not in {"FLOAT", "DOUBLE"}
        if limited or self._resampler is not None:
            # LAME aborts the process on NaN, libFLAC refuses what is out of range, soxr spreads it.
            data = np.nan_to_num(data, nan=0.0, posinf=0.0, neginf=0.0)
        if self._resampler is not None:
            data = self._resampler.resample_chunk(data, last=last)
            if self._limit:
                data = data[: self._limit - self._put_samples]
            self._put_samples += len(data)
        if limited:
            self.clipped += int(np.count_nonzero(np.abs(data) > 1))
            data = np.clip(data, -1, 1)
        if self._order:
            data = data[:, self._order]
        bits = self._integer_bits
        try:
            self._stream.write(_integers(data, bits, self._random) if bits else data)
        except (sf.LibsndfileError, AssertionError):  # soundfile asserts that all was written
            self._fail()
            raise FileError(self._failure) from None

    def _finish(self) -> None:
        """Let the encoder end the file, and check that it did."""
        if self._failure:
            self._stream.close()
            return
        if self._resampler is not None:
            self._put(np.zeros((0, self.channels), np.float32), last=True)
        self._stream.close()
        samples = self.samples if self._resampler is None else self._put_samples
        # libsndfile does not report what fails while it closes.
        with sf.SoundFile(self._part) as file:
            file.seek(max(0, samples - 1))
            if file.frames != samples or len(file.read(1)) != 1:
                raise FileError("incomplete")
        if self._format == "MP3" and self._tags:
            _insert(self._part, _id3(self._tags))

    def _fail(self) -> None:
        """Note why writing failed, and take back what was written of the block."""
        if not self._failure:
            reason = self._why() or "the encoder failed"
            self._failure = f"cannot write {self.path}: {reason} after {self.samples} samples"
        with suppress(OSError):
            self._file.truncate(self._mark)

    def _salvage(self, head: bytes) -> None:
        """Leave what was written before the failure, with the head as it was before closing."""
        if self._format in {"WAV", "RF64", "AIFF"}:
            return  # libsndfile has made the header fit the file
        self._file.truncate(self._mark)
        self._file.seek(0)
        self._file.write(head)
        try:
            AudioReader(self._part).close()
        except FileError:
            raise FileError(self._failure) from None

    def _why(self) -> str:
        """Find why a write failed, which libsndfile does not tell, by writing more; ``""`` if that works."""
        try:
            self._file.seek(0, os.SEEK_END)
            for _ in range(2):  # the first may fit in part
                self._file.write(bytes(_HEAD))
        except OSError as error:
            return _reason(error)
        return ""

    def _not_taken(self) -> str:
        return f"{self.subtype} does not take {self.channels} channels at {self._file_rate} Hz"

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _check_size(self, samples: int) -> None:
        if self._format in {"WAV", "AIFF"} and samples * self._sample_bytes > _RIFF_LIMIT:
            raise FileError(
                f"cannot write {self.path}: {samples} samples pass the 4 GiB of {self._format}; write .flac"
            )

    def _discard(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Tell whether two paths lead to the same existing file, by symbolic or hard links too.

    Parameters
    ----------
    a, b : path-like
        The paths.

    Returns
    -------
    bool
        False also if either does not exist.
    """
    try:
        return os.path.samefile(a, b)
    except OSError:
        return False


def left_recordings(folder: str | os.PathLike[str]) -> list[str]:
    """Tell what writers have left in a folder that were killed: a line of text each.

    Parameters
    ----------
    folder : path-like
        The folder. One that is not there has none.

    Returns
    -------
    list of str
        Every file that an `AudioWriter` has begun and not written to for a minute, and, where what is in it
        can be read, the command that makes a whole file of it. A WAV loses nothing, a FLAC or Ogg file its
        last fraction of a second.
    """
    found: list[str] = []
    parts: list[Path] = []
    with suppress(OSError):  # A folder that cannot be read tells nothing.
        parts = sorted(Path(folder).glob(".*.part"))
    for part in parts:
        match = _PART.fullmatch(part.name)
        with suppress(OSError):  # It has just got its name.
            if match and part.is_file() and part.stat().st_mtime < time.time() - _LEFT:
                line = f"{part} was begun and never ended"
                name = part.with_name(match[1])
                if name.suffix.lower() in _PLAYABLE:
                    whole = name.with_stem(f"{name.stem}-mended")
                    line += (
                        f": 'rtaudio render {shlex.quote(str(part))} -o {shlex.quote(str(whole))}' mends it"
                    )
                found.append(line)
    return found


def audio_files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List audio files, looking into folders and theirs for those with one of `EXTENSIONS`.

    Parameters
    ----------
    paths : iterable of path-like
        Files, which are kept whatever their extension, and folders.

    Returns
    -------
    list of Path
        In the order of `paths`, sorted within each folder; hidden files left out, each file once.

    Raises
    ------
    FileError
        If a path does not exist, or a folder has no audio files.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in EXTENSIONS and not file.name.startswith(".") and file.is_file()
            )
            if not inside:
                raise FileError(f"no audio files in {path}")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise FileError(f"no such file or folder: {path}")
    return list(found)


def _open(path: Path) -> Any:
    """Open a file for reading, as a `soundfile.SoundFile`."""
    try:
        if path.exists() and not path.is_file():
            raise FileError(f"cannot read {path}: {_kind(path)}")
        with path.open("rb") as file:
            if not file.read(1):
                raise FileError(f"cannot read {path}: it is empty")
        stream = sf.SoundFile(path)
    except OSError as error:
        raise FileError(f"cannot read {path}: {_reason(error)}") from None
    except (sf.LibsndfileError, TypeError):  # TypeError: soundfile takes .raw for headerless
        raise FileError(
            f"cannot read {path}: not audio, or not of a kind that can be read; convert it to WAV"
        ) from None
    _never_seek(stream)
    return stream


def _never_seek(stream: Any) -> None:
    """Keep soundfile from seeking after every block, which breaks the decoding of Opus."""
    stream.seekable = lambda: False


def _end_as_wav_if_small(stream: Any) -> None:
    """Make an RF64 file become plain WAV when it is closed at less than 4 GiB.

    soundfile has no public way to give libsndfile this command.
    """
    sfc_rf64_auto_downgrade = 0x1210
    if not sf._snd.sf_command(stream._file, sfc_rf64_auto_downgrade, sf._ffi.NULL, True):
        raise RuntimeError("libsndfile did not take SFC_RF64_AUTO_DOWNGRADE")


def _tells_length(path: Path, stream: Any) -> bool:
    """Tell whether a file's length is in it. If not, libsndfile's is a guess (MP3) or 2**63 - 1 (FLAC)."""
    if stream.format != "MP3":
        return bool(stream.frames < 2**62)
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":
            file.seek(10 + sum(byte << shift for byte, shift in zip(head[6:], _SYNCHSAFE, strict=False)))
        head = file.read(_HEAD)
    return any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))


def _count(path: Path) -> int:
    """Count the samples of a file that does not tell its length, by decoding it."""
    with path.open("rb", buffering=0) as file:
        try:
            stream = sf.SoundFile(file.fileno(), closefd=False)
        except sf.LibsndfileError:  # known by its extension alone
            stream = sf.SoundFile(path)
        _never_seek(stream)
        count = 0
        with stream:
            try:
                while read := len(stream.read(_CHUNK, dtype="float32", always_2d=True)):
                    count += read
            except sf.LibsndfileError:
                raise FileError(f"cannot read {path}: truncated or damaged after sample {count}") from None
            # libsndfile ends an MP3 at the length it guessed, which is short if the bit rate varies.
            if count == stream.frames and os.fstat(file.fileno()).st_size - file.tell() > _HEAD:
                raise FileError(
                    f"cannot read {path}: it does not tell its length and its bit rate varies; "
                    f"mend it with: ffmpeg -i {path.name} -c copy mended.mp3"
                )
    return count


def _resampled(samples: int, rate: int, new_rate: int) -> int:
    """The number of samples at another rate, rounded half up: as many as soxr gives."""
    return (2 * samples * new_rate + rate) // (2 * rate)


def _integers(data: Block, bits: int, random: np.random.Generator | None) -> NDArray[np.int16 | np.int32]:
    """Quantize samples in [-1, 1] to integers, in the upper bits of int16 or int32 for libsndfile."""
    full = 2.0 ** (bits - 1)
    scaled = data.astype(np.float64) * full
    if random is not None:
        uniform = random.random((*data.shape, 2))
        dither = uniform[..., 0] - uniform[..., 1]
        scaled += np.where(scaled == np.rint(scaled), 0.0, dither)
    rounded = np.clip(np.rint(scaled), -full, full - 1)
    if bits <= 16:
        return rounded.astype(np.int16) << (16 - bits)
    return rounded.astype(np.int32) << (32 - bits)


def _container(path: Path) -> _Container:
    suffix = path.suffix.lower()
    if suffix not in _CONTAINERS:
        raise FileError(
            f"cannot write {path}: unknown extension {suffix!r}{nearest(suffix, _CONTAINERS)} "
            f"({', '.join(_CONTAINERS)})"
        )
    return _CONTAINERS[suffix]


def _subtype(path: Path, container: _Container, asked: str | None, source: FileInfo | None) -> str:
    if asked is not None:
        for name in _SHORT_NAMES.get(asked, (asked.upper(),)):
            if name in container.subtypes:
                return name
        raise FileError(
            f"cannot write {path}: {path.suffix} has no subtype {asked!r} ({', '.join(container.subtypes)})"
        )
    if source is not None:
        for name in _EIGHT_BITS if source.subtype in _EIGHT_BITS else (source.subtype,):
            if name in container.subtypes:
                return name
    return container.subtypes[0]


def _written_tags(tags: Mapping[str, str] | None, source: FileInfo | None) -> dict[str, str]:
    for name in tags or ():
        if name not in _TAGS:
            raise FileError(f"unknown tag {name!r}{nearest(name, _TAGS)} ({', '.join(_TAGS)})")
    if tags is None:
        tags = source.tags if source is not None else {}
    return {name: tags[name] for name in _TAGS if tags.get(name)}


def _id3(tags: Mapping[str, str]) -> bytes:
    """Make an ID3v2.4 tag. libsndfile's own declares its UTF-8 to be Latin-1."""

    def synchsafe(size: int) -> bytes:
        return bytes(size >> shift & 127 for shift in _SYNCHSAFE)

    frames = b""
    for name, frame in _ID3_FRAMES.items():
        if name in tags:
            utf8 = b"\3" + (b"eng\0" if frame == b"COMM" else b"") + tags[name].encode()
            frames += frame + synchsafe(len(utf8)) + b"\0\0" + utf8
    return b"ID3\4\0\0" + synchsafe(len(frames)) + frames


def _insert(path: Path, head: bytes) -> None:
    """Insert bytes at the start of a file."""
    with path.open("r+b") as file:
        at = file.seek(0, os.SEEK_END)
        file.write(bytes(len(head)))
        file.flush()  # a full disk shows here, with the data still in place
        while at:
            size = min(at, 2**20)
            at -= size
            file.seek(at)
            data = file.read(size)
            file.seek(at + len(head))
            file.write(data)
        file.seek(0)
        file.write(head)


def _kind(path: Path) -> str:
    return "it is a folder" if path.is_dir() else "it is not a regular file"


def _reason(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "disk full"
    return (error.strerror or str(error)).lower()


def writable(path: str | os.PathLike[str]) -> bool:
    """Whether `AudioWriter` knows a path's extension."""
    return Path(path).suffix.lower() in _CONTAINERS
