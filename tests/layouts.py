"""Small sets in the layouts that `export.sets` knows."""

import numpy as np
import soundfile as sf

RATE = 16_000


def white(samples=RATE, seed=0, level=0.05):
    """Noise that is always there, whose active level by P.56 is its RMS level."""
    return level * np.random.default_rng(seed).standard_normal(samples)


def put(path, x=None, rate=RATE, subtype=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, white(4_000) if x is None else x, rate, subtype=subtype)
    return path


def ljspeech(folder):
    for name in ("a-1.wav", "a-2.flac", "a-3.ogg", "unused.wav"):
        put(folder / "wavs" / name)
    text = "\ufeffa-1|Dr. No|Doctor No\r\na-3|No. 3|\n\na-2|two\n"
    (folder / "metadata.csv").write_text(text, encoding="utf-8", newline="")


def voicebank(folder, ending="_wav"):
    for side, names in (("trainset_28spk", ("p226_001", "p287_001")), ("testset", ("p232_001", "p257_002"))):
        for kind in ("clean", "noisy"):
            for name in names:
                put(folder / f"{kind}_{side}{ending}" / f"{name}.wav")
    (folder / "log_trainset_28spk.txt").write_text("p226_001 office 15\n")


def dns(folder, ending=""):
    for number, snr in ((0, -5), (10, 15)):
        name = f"book_0000{number}_chp_0009_reader_0330{number}_0_door_snr{snr}_tl-20_fileid_{number}"
        put(folder / f"clean{ending}" / f"clean_fileid_{number}.wav")
        put(folder / f"noisy{ending}" / f"{name}.wav")
        put(folder / f"noise{ending}" / f"noise_fileid_{number}.wav")


def reverb(folder):
    place = folder / "VUT_FIT_L207" / "MicID01" / "SpkID01_20170905_S" / "01"
    put(place / "RIR" / "IR_sweep_15s_45Hzto22kHz_FS16kHz.v00.wav")
    put(place / "silence" / "silence.v00.wav")
    (place / "mic_meta.txt").write_text("$EnvMic1Depth\t1\n")


def librispeech(folder):
    put(folder / "103" / "1240" / "103-1240-0000.flac")
    put(folder / "103-1240-0001.ogg")
    put(folder / "87" / "87-121553-0002.wav")


def plain(folder):
    put(folder / "anna" / "1.wav")
    put(folder / "bert" / "1.wav")
    put(folder / "bert" / ".hidden.wav")
    put(folder / ".trash" / "1.wav")
    put(folder / "p360_005_mic1.wav")
    (folder / "notes.txt").write_text("no audio")


ROOM = "VUT_FIT_L207/MicID01/SpkID01_20170905_S/01"
