"""What a graph's description promises, without processes."""

import multiprocessing

import numpy as np
import pytest
import yaml

from physai_ros.cli.results import write_json
from physai_ros.deployment.claims import Claim, ClaimedError
from physai_ros.deployment.environment import WHEEL_GUARD, foreign_environment, graph_environment
from physai_ros.deployment.graph import Graph, Process, command, graph_names, load_graph
from physai_ros.deployment.parameters import parse_setting, read_parameters, write_parameters
from physai_ros.deployment.run_folder import new_run_folder
from physai_ros.deployment.shared_memory import SegmentRecord
from physai_ros.deployment.supervisor_files import socket_path
from physai_ros.ros.lifecycle_plan import NodeState, Transition, next_transition

GRAPH = Graph("two", (Process("b", "b", order=2), Process("a", "a", order=1)))
UP = {NodeState.UNCONFIGURED: NodeState.INACTIVE, NodeState.INACTIVE: NodeState.ACTIVE}


@pytest.mark.parametrize("name", graph_names())
def test_shipped_graphs_are_whole(name):
    graph = load_graph(name)
    assert "lifecycle_manager" in [process.name for process in graph.in_order][-1]
    assert "lifecycle_manager" not in graph.managed_names


def test_a_node_is_told_the_names_that_the_graph_gives(tmp_path):
    process = Process("a", str(tmp_path / "a"), remappings={"driver_state": "filtered", "in": "out"})
    words = command(process, "/arm/", [])
    assert [word for before, word in zip(words, words[1:], strict=False) if before == "-r"] == [
        "__node:=a",
        "__ns:=/arm",
        "driver_state:=filtered",
        "in:=out",
    ]


def test_an_unknown_graph_names_those_that_there_are():
    with pytest.raises(LookupError, match="there are .*sim"):
        load_graph("simm")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("processes: 3", "list 'processes'"),
        ("processes: [{executable: a, orde: 1}]", "unknown key 'orde'"),
        ("processes: [{executable: a, restart: maybe}]", "expected one of"),
        ("processes: [{executable: a, realtime_priority: 100}]", "realtime_priority is 100; expected 0 to 99"),
        ("processes: [{executable: a}, {executable: a}]", "two processes named a"),
        ("processes: []", "none"),
    ],
)
def test_a_wrong_graph_is_refused_with_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_graph(str(path))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.rate=5", 5),
        ("a.mode=on", "on"),
        ("a.mode=true", True),
        ("a.x=[1.0, 2.0]", [1.0, 2.0]),
        ("a.empty=", ""),
        ("a.b.c=w", "w"),
    ],
)
def test_settings_are_read(tmp_path, text, value):
    node, name, read = parse_setting(text, GRAPH)
    assert (node, read) == ("a", value)
    written = write_parameters(tmp_path / "p.yaml", {node: {name: read}})
    assert read_parameters(written, GRAPH) == {"a": {name: value}}


@pytest.mark.parametrize("text", ["a", "a.=1", "a=1", ".x=1", "a.x={b: 1}"])
def test_wrong_settings_are_refused(text):
    with pytest.raises(ValueError, match="--set"):
        parse_setting(text, GRAPH)


def test_a_setting_for_a_node_that_is_not_there_names_those_that_are():
    with pytest.raises(LookupError, match="it has b, a"):
        parse_setting("c.x=1", GRAPH)


def test_a_claim_is_exclusive_until_released():
    with Claim("device", "test/one", "first"):
        with pytest.raises(ClaimedError, match="in use by first"):
            Claim("device", "test/one", "second")
        Claim("device", "test/two", "second").release()
    Claim("device", "test/one", "second").release()


def test_a_claim_ends_with_its_holder():
    holder = multiprocessing.get_context("spawn").Process(target=Claim, args=("device", "test/three", "gone"))
    holder.start()
    holder.join()
    Claim("device", "test/three", "next").release()


def test_only_what_was_observed_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("physai_ros.deployment.shared_memory.FOLDER", tmp_path)
    for name in ("fastdds_own", "fastdds_own_el", "sem.fastdds_own_mutex", "fastdds_foreign"):
        (tmp_path / name).touch()
    (tmp_path / "record").write_text("fastdds_own")
    assert SegmentRecord(tmp_path / "record").remove_litter()
    assert [path.name for path in tmp_path.glob("*fastdds*")] == ["fastdds_foreign"]
    assert SegmentRecord(tmp_path / "record").names == set()


def test_a_socket_path_fits_the_systems_limit(tmp_path):
    deep = tmp_path / ("d" * 120)
    path = socket_path(deep)
    assert len(str(path)) < 100
    path.parent.rmdir()


def test_what_the_user_chose_wins_over_what_a_graph_would_set():
    own = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "OMP_NUM_THREADS": "4"}
    result = graph_environment(own, domain=3, simulated=True)
    assert own.items() <= result.items()
    assert result["ROS_DOMAIN_ID"] == "3"
    theirs = graph_environment({"FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml"}, domain=3, simulated=True)
    assert theirs["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert WHEEL_GUARD not in foreign_environment({WHEEL_GUARD: "1", "LD_LIBRARY_PATH": "x", "HOME": "y"})


def bring_up(states, order, brought_up=False):
    """Carry out what is due until nothing is; return the order of it."""
    done = []
    while (due := next_transition(order, states, brought_up)) is not None:
        done.append(due)
        states[due[0]] = UP[states[due[0]]]
    return done


def test_all_are_configured_in_order_before_the_first_is_activated():
    states = dict.fromkeys("abc", NodeState.UNCONFIGURED)
    expected = [(name, Transition.CONFIGURE) for name in "abc"] + [(name, Transition.ACTIVATE) for name in "abc"]
    assert bring_up(states, "abc") == expected


def test_a_missing_node_holds_up_a_bring_up_but_no_recovery():
    states = {"a": NodeState.UNKNOWN, "b": NodeState.UNCONFIGURED}
    assert bring_up(dict(states), "ab") == []
    assert bring_up(states, "ab", brought_up=True) == [("b", Transition.CONFIGURE), ("b", Transition.ACTIVATE)]


def test_results_hold_the_contract_and_no_nan(tmp_path):
    figures = {"success": np.float64(0.5), "lower": float("nan")}
    written = write_json(tmp_path / "r" / "x.json", "demo", 0, figures, None, [{"a": np.arange(2)}])
    assert set(written) == {"command", "version", "seed", "machine", "figures", "verdict", "rows"}
    assert written["figures"] == {"success": 0.5, "lower": None}
    assert written["rows"] == [{"a": [0, 1]}]
    assert yaml.safe_load((tmp_path / "r" / "x.json").read_text()) == written
    with pytest.raises(TypeError, match="expected a number"):
        write_json(tmp_path / "y.json", "demo", 0, {"verdict": "better"})


def test_runs_that_start_in_the_same_second_have_a_folder_each(tmp_path):
    folders = [new_run_folder("sim", tmp_path) for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(folder.is_dir() and folder.name.startswith("sim-") for folder in folders)
