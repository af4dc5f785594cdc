"""Errors that a user can mend: one line each, what was wrong, with the value, and what to do."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave. The command line prints it, no traceback, and exits with status 2."""


class FileError(UserError):
    """A file or folder that cannot be read or written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that an unknown one was probably meant to be.

    Parameters
    ----------
    name : str
        The name that was not found.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str
        ``", did you mean 'gain'?"``, to end a message with, or ``""`` when no known name is close.
    """
    from difflib import get_close_matches

    found = get_close_matches(name, known, n=1)
    return f", did you mean {found[0]!r}?" if found else ""
