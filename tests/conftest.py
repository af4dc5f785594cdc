"""Fixtures that several tests share."""

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """torch computes with one thread: the same sums in every process, and every time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
