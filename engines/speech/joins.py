"""Words that are said as one, told apart by how each of them is said alone."""

from __future__ import annotations

from collections.abc import Sequence

STRESS = "ˈˌ"


def split_joined(joined: Sequence[str], alone: Sequence[Sequence[str]]) -> list[int]:
    """Where each of some words begins that are said as one.

    Parameters
    ----------
    joined
        Codepoints of IPA, of all of them.
    alone
        Of each word, as it is said by itself.

    Returns
    -------
    For each word the index of its first codepoint, its stress included, where the whole and the words, one
    after the other, are the fewest codepoints apart: left out, put in, or another one (Levenshtein, "Binary
    codes capable of correcting deletions, insertions, and reversals", 1966; by the recursion of Wagner and
    Fischer, "The string-to-string correction problem", 1974). The first begins at 0.
    """
    heard = [at for at, codepoint in enumerate(joined) if _counts(codepoint)]
    words = [[codepoint for codepoint in word if _counts(codepoint)] for word in alone]
    if len(words) < 2 or not heard:
        return [0] * len(words)
    whole = [codepoint for word in words for codepoint in word]
    rows = [list(range(len(heard) + 1))]
    for codepoint in whole:
        above, row = rows[-1], [rows[-1][0] + 1]
        for column, at in enumerate(heard):
            same = above[column] + (joined[at] != codepoint)
            row.append(min(same, above[column + 1] + 1, row[column] + 1))
        rows.append(row)
    paired = _paired(rows, whole, [joined[at] for at in heard])
    starts: list[int] = []
    done = 0
    for word in words:
        begin = heard[min(paired[done], len(heard) - 1)]
        while begin and joined[begin - 1] in STRESS:
            begin -= 1
        starts.append(begin if starts else 0)
        done += len(word)
    return starts


def _paired(rows: Sequence[Sequence[int]], whole: Sequence[str], heard: Sequence[str]) -> list[int]:
    """For each codepoint of ``whole``, and the end, the column in which the best path comes to it."""
    column, paired = len(heard), [len(heard)] * (len(whole) + 1)
    for row in range(len(whole), 0, -1):
        while column and rows[row][column] == rows[row][column - 1] + 1:
            column -= 1
        if column and rows[row][column] == rows[row - 1][column - 1] + (heard[column - 1] != whole[row - 1]):
            column -= 1
        paired[row - 1] = column
    return paired


def _counts(codepoint: str) -> bool:
    return codepoint.isalpha() and codepoint not in STRESS
