"""What the window leaves out of racks that it keeps: the graphs that are made of them."""

import pytest

from gui.kept import keep_all_frequencies, keep_for_files, without_band
from rtaudio.chain import parse_chain
from rtaudio.rack import MidiBinding, graph_of, load_rack, rack_of, save_rack


def rack(text):
    return rack_of(parse_chain(text))


CHAINS = ["", "gain(gain=-3)", "gain | limiter", "remix", "say | gain"]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("band", ["band", "band(low=100, high=900)"])
def test_a_band_that_is_put_in_last_is_taken_out_again(chain, band):
    whole = rack(chain)
    heard = rack(f"{chain} | {band}" if chain else band)
    assert set(map(str, graph_of(without_band(heard)).edges)) == set(map(str, parse_chain(chain).edges))
    assert without_band(heard).nodes == whole.nodes
    assert without_band(whole) is whole


def test_a_band_between_several_nodes_is_taken_out_with_its_controllers(tmp_path):
    edges = ["in -> a", "in -> b", "a -> band", "b -> band", "band -> out", "band -> c", "c -> out.more"]
    nodes = rack("a:gain | b:gain | c:gain | band").nodes
    bindings = [MidiBinding("band.low", 1, 1), MidiBinding("a.gain", 1, 2)]
    path = tmp_path / "rack.toml"
    save_rack(path, type(rack("gain"))(edges=edges, nodes=nodes, midi=bindings, name="mine"))
    keep_all_frequencies(path)
    kept = load_rack(path)
    assert set(kept.edges) == {
        "in -> a", "in -> b", "a -> out", "a -> c", "b -> out", "b -> c", "c -> out.more",
    }  # fmt: skip
    assert (list(kept.nodes), kept.name, kept.midi) == (["a", "b", "c"], "mine", bindings[1:])
    graph_of(kept)


def test_another_node_of_that_name_stays():
    other = rack("band: gain")
    assert without_band(other) is other


@pytest.mark.parametrize("guard", ["howl", "howl-guard: howl(depth=-40)"])
def test_files_are_rendered_without_a_guard(tmp_path, guard):
    path = tmp_path / "rack.toml"
    save_rack(path, rack(f"gain(gain=-3) | band | {guard}"))
    keep_for_files(path)
    kept = graph_of(load_rack(path))
    assert [(node.engine.id, node.bypass) for node in kept.nodes.values()] == [
        ("gain", False),
        ("howl", True),
    ]
    assert kept.nodes["gain"].values["gain"] == -3
