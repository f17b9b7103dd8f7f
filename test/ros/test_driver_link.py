"""The link to a driver whose services answer late, once, or never."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from physai_ros import srv
from physai_ros.ros.driver_link import DriverLink, DriverLinkError


class Driver:
    """A driver's service of claims, whose first answers are lost on their way."""

    def __init__(self, lost: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        namespace = f"/test_{uuid.uuid4().hex[:8]}"
        self.node = Node("driver", namespace=namespace, context=self.context)
        self.monitor = Node("monitor", namespace=namespace, context=self.context)
        self.claims, self._lost = 0, lost
        self._service = self.node.create_service(srv.ClaimDriver, "claim_driver", self._claim)
        self._send = self._service.send_response
        self._service.send_response = self._answer
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def _claim(self, _request: object, response: srv.ClaimDriver.Response) -> srv.ClaimDriver.Response:
        self.claims += 1
        response.granted, response.token = True, f"token {self.claims}"
        return response

    def _answer(self, response: object, header: object) -> None:
        if self.claims > self._lost:
            self._send(response, header)

    def close(self) -> None:
        """End all of it."""
        self._executor.shutdown()
        self._thread.join()
        self.context.shutdown()


@pytest.fixture
def driver() -> Iterator[Callable[[int], Driver]]:
    made: list[Driver] = []

    def make(lost: int) -> Driver:
        made.append(Driver(lost))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_lost_answer_is_asked_for_again_and_the_newest_claim_counts(driver):
    driver = driver(lost=1)
    link = DriverLink(driver.monitor, timeout=4.0)
    assert link.claim() == "token 2"
    assert driver.claims == 2
    link.close()


def test_a_driver_that_never_answers_is_named_with_what_to_do(driver):
    driver = driver(lost=9)
    link = DriverLink(driver.monitor, timeout=1.0)
    with pytest.raises(DriverLinkError, match=r"claim_driver did not answer within 1 s; restart the driver"):
        link.claim()
    link.close()


def test_without_a_driver_it_says_what_to_start(driver):
    driver = driver(lost=0)
    link = DriverLink(driver.monitor, timeout=0.2)
    with pytest.raises(DriverLinkError, match=r"nothing came on .*driver_state within 0.2 s; start the driver first"):
        link.state()
    with pytest.raises(DriverLinkError, match=r"no driver serves .*driver/resume within 0.2 s"):
        link.resume()
    link.close()
