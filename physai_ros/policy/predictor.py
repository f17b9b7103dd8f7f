"""When a network is asked, and when its answer is there: at once, late, or from a thread beside the control cycle."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np

from physai_ros.policy.network import Prediction


class Question(NamedTuple):
    """What a decision is to be made from: the policy `step`, the observation, and what is seen with it, if anything.

    `observation_stamp` is the instant of the oldest of what it is made from [s]; `state_sequence` of the state.
    """

    step: int
    observation: np.ndarray
    sight: tuple[Any, ...]
    observation_stamp: float
    state_sequence: int


class Answer(NamedTuple):
    """A decision, and what it was made from."""

    question: Question
    prediction: Prediction
    version: str


class Asked(Protocol):
    """A policy as a predictor needs it."""

    @property
    def version(self) -> str:
        """Its name."""

    @property
    def decision_time(self) -> float:
        """How long a decision takes [s], 0 where that is not known."""

    def predict(self, observation: np.ndarray, *sight: Any) -> Prediction:  # noqa: ANN401 image and what is seen
        """The decision."""


class Predictor(Protocol):
    """Gets decisions made; one at a time, and while one is being made the newest question waits, and no other."""

    def ask(self, policy: Asked, question: Question, now: float) -> None:
        """Have a decision made, asked for at `now` [s] on the clock of the states."""

    def answers(self, now: float) -> list[Answer]:
        """What was decided by `now` [s] and not given out before."""

    def forget(self) -> None:
        """Drop what is being decided: it will not be answered."""


class AtOnce:
    """Decides within the call: the control cycle waits for the network."""

    def __init__(self) -> None:
        self._answers: list[Answer] = []

    def ask(self, policy: Asked, question: Question, now: float) -> None:
        """Decide."""
        self._answers.append(Answer(question, policy.predict(question.observation, *question.sight), policy.version))

    def answers(self, now: float) -> list[Answer]:
        """The decision."""
        given, self._answers = self._answers, []
        return given

    def forget(self) -> None:
        """Nothing is under way."""
        self._answers = []


class Late:
    """Decides as a network would that takes `delay` [s], in the time of the states: for studies in simulation."""

    def __init__(self, delay: float) -> None:
        if not delay >= 0.0:
            raise ValueError(f"a delay of {delay} s: expected at least 0")
        self.delay = delay
        self.forget()

    def ask(self, policy: Asked, question: Question, now: float) -> None:
        """Begin to decide, or wait until what is under way is decided."""
        self._waiting = (policy, question)
        self._begin(now)

    def answers(self, now: float) -> list[Answer]:
        """What is decided by now."""
        if self._under_way is None or now < self._ready - 1e-9:
            return []
        policy, question = self._under_way
        self._under_way = None
        answer = Answer(question, policy.predict(question.observation, *question.sight), policy.version)
        self._begin(now)
        return [answer]

    def forget(self) -> None:
        """Drop what is under way."""
        self._under_way: tuple[Asked, Question] | None = None
        self._waiting: tuple[Asked, Question] | None = None
        self._ready = 0.0

    def _begin(self, now: float) -> None:
        if self._under_way is None and self._waiting is not None:
            self._under_way, self._waiting, self._ready = self._waiting, None, now + self.delay


class InThread:
    """Decides in a thread of its own: the control cycle never waits for the network."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "predictor")
        self._lock = threading.Lock()
        self._under_way: Future[Answer] | None = None
        self._waiting: tuple[Asked, Question] | None = None

    def ask(self, policy: Asked, question: Question, now: float) -> None:
        """Begin to decide, or wait until what is under way is decided."""
        self._waiting = (policy, question)
        self._begin()

    def answers(self, now: float) -> list[Answer]:
        """What is decided by now.

        Raises:
            ValueError: what a policy that does not fit its observation says.
        """
        if self._under_way is None or not self._under_way.done():
            return []
        future, self._under_way = self._under_way, None
        self._begin()
        return [] if future.cancelled() else [future.result()]

    def forget(self) -> None:
        """Drop what is under way; a decision that is being made is waited for, since a policy remembers."""
        self._waiting = None
        if self._under_way is not None:
            self._under_way.cancel()
            self._under_way = None
            with self._lock:
                pass

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        if self._under_way is None and self._waiting is not None:
            policy, question = self._waiting
            self._waiting = None
            self._under_way = self._thread.submit(self._decide, policy, question)

    def _decide(self, policy: Asked, question: Question) -> Answer:
        with self._lock:
            return Answer(question, policy.predict(question.observation, *question.sight), policy.version)


class AsQuick:
    """Decides at once where that is quick, and in a thread where it would keep the control cycle waiting."""

    def __init__(self, patience: float) -> None:
        """Wait at most about this long for a decision [s]."""
        self._patience = patience
        self._quick, self._slow = AtOnce(), InThread()

    def ask(self, policy: Asked, question: Question, now: float) -> None:
        """Decide, or begin to."""
        chosen = self._slow if policy.decision_time > self._patience else self._quick
        chosen.ask(policy, question, now)

    def answers(self, now: float) -> list[Answer]:
        """What is decided by now."""
        return [*self._quick.answers(now), *self._slow.answers(now)]

    def forget(self) -> None:
        """Drop what is under way."""
        self._quick.forget()
        self._slow.forget()

    def close(self) -> None:
        """Let go of the thread."""
        self._slow.close()
