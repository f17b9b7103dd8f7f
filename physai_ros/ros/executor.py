"""An executor for one node a process, cheaper than rclpy's where the work is: subscriptions and timers."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rclpy.context import Context
from rclpy.event_handler import EventHandler
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.subscription import Subscription
from rclpy.timer import Timer

_NANOSECONDS = 1_000_000_000
_EVENTS = 2.0  # [s] between looks at the middleware's events, such as a warning that two ends do not match


class ControlExecutor(SingleThreadedExecutor):
    """A single-threaded executor that calls subscriptions and timers straight from one wait set that it keeps.

    rclpy's own makes a wait set, a task and a coroutine for every callback and wakes itself after each, which costs
    several times what the callbacks of a control cycle do (rclpy issues 1223 and 1389). Services, clients, events and
    coroutines are left to it: they are rare. One thread, so callback groups exclude each other by themselves.

    Two kinds of entity are not waited for, because each costs every cycle: events of the middleware, which are looked
    at every two seconds, and patient subscriptions (`ManagedNode.subscribe`), which the node empties itself.
    """

    def __init__(self, *, context: Context | None = None) -> None:
        super().__init__(context=context)
        self._wait_set: _rclpy.WaitSet | None = None
        self._holds = contextlib.ExitStack()
        self._look = 0.0

    def can_execute(self, entity: Any) -> bool:  # noqa: ANN401 - any entity of rclpy
        """Whether rclpy's own way may take the entity; from a patient subscription, messages come all at once."""
        return not is_patient(entity) and super().can_execute(entity)

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for something to do, for at most `timeout_sec` [s] or, where that is None, for a while, and do it.

        Raises:
            ExternalShutdownException: the context was shut down.
        """
        timeout = int((_EVENTS if timeout_sec is None else timeout_sec) * _NANOSECONDS)
        if self._tasks or time.monotonic() > self._look or not self._wait_and_call(timeout):
            super().spin_once(0.0)
            self._look = time.monotonic() + _EVENTS
            self._wait_set = None  # it may have taken the wake-up that told of new entities

    def _wait_and_call(self, timeout: int) -> bool:
        """Wait for up to `timeout` [ns] and call what is ready; False where rclpy's own way has to look."""
        wait_set = self._filled()
        wait_set.wait(timeout)
        if self._is_shutdown:
            return True
        if not self._context.ok():
            raise ExternalShutdownException
        guards = wait_set.get_ready_entities("guard_condition")
        if guards:
            self._wait_set = None  # woken because entities came or went, or to look at a flag
            for guard in self._guards:
                # The wait has taken the trigger; rclpy's own way triggers it again.
                guard._executor_triggered = guard.handle.pointer in guards  # noqa: SLF001
        # What came is heard before it is acted on that something has not come in time.
        ready = [self._subscriptions[pointer] for pointer in wait_set.get_ready_entities("subscription")]
        ready += [self._timers[pointer] for pointer in wait_set.get_ready_entities("timer")]
        rare = bool(wait_set.get_ready_entities("service") or wait_set.get_ready_entities("client"))
        woken = self._guard is not None and guards == [self._guard.handle.pointer]
        # Time ran out, or a timer was reset; but waitables such as action servers are not listed among the ready.
        idle = not (ready or guards or self._waitables)
        for call in ready:
            if call is None:
                rare = True
            else:
                call()
        return (bool(ready) or woken or idle) and not rare

    def _filled(self) -> _rclpy.WaitSet:
        if self._wait_set is None:
            self._gather()
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add, handle in self._additions:
            add(handle)
        for waitable in self._waitables:
            waitable.add_to_wait_set(wait_set)
        return wait_set

    def _gather(self) -> None:
        """Collect what the nodes have into a fresh wait set; `None` stands for what is left to rclpy's own way."""
        self._release()
        nodes = self.get_nodes()
        subscriptions = self._held(each for node in nodes for each in node.subscriptions if not is_patient(each))
        timers = self._held(each for node in nodes for each in node.timers)
        clients = self._held(each for node in nodes for each in node.clients)
        services = self._held(each for node in nodes for each in node.services)
        self._guards = self._held(each for node in nodes for each in node.guards)
        own = self._held(guard for guard in (self._guard, self._sigint_gc) if guard is not None)
        waitables = (each for node in nodes for each in node.waitables)
        self._waitables = self._held(each for each in waitables if not isinstance(each, EventHandler))
        counts = [len(subscriptions), len(self._guards) + len(own), len(timers), len(clients), len(services), 0]
        for waitable in self._waitables:
            more = waitable.get_num_entities()
            names = ("subscriptions", "guard_conditions", "timers", "clients", "services", "events")
            counts = [count + getattr(more, f"num_{name}") for count, name in zip(counts, names, strict=True)]
        self._wait_set = wait_set = _rclpy.WaitSet(*counts, self._context.handle)
        self._additions = [
            *((wait_set.add_subscription, each.handle) for each in subscriptions),
            *((wait_set.add_timer, each.handle) for each in timers),
            *((wait_set.add_client, each.handle) for each in clients),
            *((wait_set.add_service, each.handle) for each in services),
            *((wait_set.add_guard_condition, each.handle) for each in (*self._guards, *own)),
        ]
        self._subscriptions = {each.handle.pointer: _subscription_call(each) for each in subscriptions}
        self._timers = {each.handle.pointer: _timer_call(each) for each in timers}

    def _held(self, entities: Iterable[Any]) -> list[Any]:
        """Those that are not destroyed; a later destruction, by any thread, is put off until they are released."""
        held = []
        for entity in entities:
            with contextlib.suppress(_rclpy.InvalidHandle):
                # A waitable is its own context, the others' handles are theirs.
                self._holds.enter_context(getattr(entity, "handle", entity))
                held.append(entity)
        return held

    def _release(self) -> None:
        self._holds.close()
        self._holds = contextlib.ExitStack()
        self._wait_set = None

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop, and let go of every entity; returns whether outstanding callbacks ended in time."""
        done = super().shutdown(timeout_sec)
        self._release()
        return done


def make_patient(subscription: Subscription) -> None:
    """Let messages wait in the subscription until `take_all` fetches them: to be woken for each costs more than it."""
    subscription.patient = True


def is_patient(entity: Any) -> bool:  # noqa: ANN401 - any entity of rclpy
    """Whether it is a subscription that `make_patient` was called on."""
    return getattr(entity, "patient", False)


def take_all(subscription: Subscription, instant: str = "received_timestamp") -> Iterator[tuple[int, Any]]:
    """Every message that waits in the subscription, with the instant at which it arrived [ns, system clock].

    With `instant="source_timestamp"` it is the one at which it was published.
    """
    handle = subscription.handle
    while True:
        with handle:
            taken = handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        message, information = taken
        yield information[instant], message


def _subscription_call(subscription: Subscription) -> Callable[[], None] | None:
    """A function that takes one message and hands it on; None where the callback wants more than the message."""
    callback, handle = subscription.callback, subscription.handle
    message_type, raw = subscription.msg_type, subscription.raw
    if inspect.iscoroutinefunction(callback) or subscription._callback_type.name != "MessageOnly":  # noqa: SLF001
        return None

    def call() -> None:
        try:
            with handle:
                taken = handle.take_message(message_type, raw)
        except _rclpy.InvalidHandle:
            return  # destroyed by a callback before this one
        if taken is not None:
            callback(taken[0])

    return call


def _timer_call(timer: Timer) -> Callable[[], None] | None:
    """A function that fires the timer; None where the callback wants to know more about it."""
    callback, handle = timer.callback, timer.handle
    if callback is None or inspect.iscoroutinefunction(callback) or inspect.signature(callback).parameters:
        return None
    fire = getattr(handle, "call_timer_with_info", None) or handle.call_timer

    def call() -> None:
        try:
            with handle:
                if not handle.is_timer_ready():
                    return
                fire()
        except _rclpy.InvalidHandle:
            return
        callback()

    return call
