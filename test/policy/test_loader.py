"""Versions are loaded beside the loop; one that fails says why and is tried again."""

import threading
import time
from collections.abc import Callable

from physai_ros.policy.loader import PolicyLoader


class Named:
    """A policy that is nothing but its name."""

    def __init__(self, version: str) -> None:
        self.version = version


def wait(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_nothing_waits_for_a_version_and_a_failure_is_kept_until_the_next_wish() -> None:
    gate, bad = threading.Event(), {"000002"}

    def load(version: str) -> Named:
        gate.wait(5.0)
        if version in bad:
            raise ValueError(f"{version} is corrupted")
        return Named(version)

    loader = PolicyLoader(load)
    loader.request("000001")
    loader.request("000002")
    assert loader.policy("000001") is None
    assert loader.problem("000001") == ""
    gate.set()
    wait(lambda: loader.policy("000001"))
    assert loader.policy("000001").version == "000001"
    wait(lambda: loader.problem("000002"))
    assert loader.problem("000002") == "000002 is corrupted"
    bad.clear()
    loader.request("000002")
    wait(lambda: loader.policy("000002"))
    loader.close()


def test_only_the_last_few_are_kept() -> None:
    loader = PolicyLoader(Named)
    for number in range(8):
        loader.request(f"{number:06d}")
    wait(lambda: loader.policy("000007"))
    assert loader.policy("000000") is None
    loader.close()
