"""Texts in files."""

from __future__ import annotations

from pathlib import Path

from rtaudio.errors import FileError, UserError

LONGEST = 1 << 25
"""Bytes of a text."""


def read_text(path: Path) -> str:
    """The text of a file in UTF-8; `UserError` where there is none such, or it is no text."""
    try:
        if not path.is_file():
            raise UserError(f"cannot read {path}: {'not a file' if path.exists() else 'no such file'}")
        check_length(path.stat().st_size, str(path))
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None


def check_length(size: int, name: str) -> None:
    """`UserError`, with a name, where a text has too many bytes."""
    if size > LONGEST:
        raise UserError(f"{name} is too long: a text has at most {LONGEST >> 20} MiB, divide it")


def decode(content: bytes, name: str) -> str:
    """What bytes say in UTF-8, with or without a byte order mark; `UserError`, with a name, where nothing."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name} is no UTF-8 text (byte {error.start}): convert it, such as by iconv"
        ) from None
