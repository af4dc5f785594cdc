"""Every safeguard is seen to be one: without it, a test fails. See `mutations`."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from mutations import MUTATIONS, NEED_PRIORITY, ROOT, Mutation, mutate, survives

from rtaudio.realtime import raise_priority

pytestmark = pytest.mark.alone


def may_raise_priorities():
    granted = []
    thread = threading.Thread(target=lambda: granted.append(raise_priority(0, 1)))
    thread.start()
    thread.join()
    return granted == ["fifo"]


def in_ci(name):
    return pytest.param(name, marks=[pytest.mark.slow] if MUTATIONS[name].slow else [])


@pytest.fixture(scope="module")
def tried(request):
    """What becomes of the mutations that are to be tried: most of it is compiling, so two at a time."""
    items = [item for item in request.session.items if "tried" in item.fixturenames]
    names = [item.callspec.params["name"] for item in items]
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(survives, MUTATIONS[name], [MUTATIONS[name].test]) for name in names}


@pytest.mark.parametrize("name", [*map(in_ci, MUTATIONS)])
def test_without_a_safeguard_a_test_fails(name, tried):
    if name in NEED_PRIORITY and not may_raise_priorities():
        pytest.skip("this user may not raise priorities")
    survived = tried[name].result()
    assert not survived, f"{MUTATIONS[name].test} passes: {survived}"


@pytest.mark.slow
def test_the_same_tests_pass_where_nothing_is_changed():
    assert survives(None, sorted({mutation.test for mutation in MUTATIONS.values()}), limit=300.0)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_finds_its_text_once(name, tmp_path):
    file = MUTATIONS[name].file
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text((ROOT / file).read_text(encoding="utf-8"), encoding="utf-8")
    mutate(tmp_path, MUTATIONS[name])
    with pytest.raises(ValueError, match="bring the mutation up to date"):
        mutate(tmp_path, Mutation(file, "text that is not there", "", ""))
    assert os.path.getsize(tmp_path / file)
