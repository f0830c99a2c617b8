"""An engine on each node, asked as if they were one: who is asked what, and what of lost nodes.

One thread sends prompts to the nodes and hears what has ended. What a node had that is gone is
asked of the others; a node that comes or comes back gets an engine. A prompt that two engines did
not survive is given back as failed, and whoever asked it asks it alone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ovrecipe.errors import EngineFailed, OvrecipeError, RunError
from ovrecipe.run.engine import Deliver, Delta
from ovrecipe.wording import counted, one_line
from ovrecipe_ray.answering import Answerer, Ask, Ended, Opened, Opening, Taken

if TYPE_CHECKING:
    from ovrecipe.run.prepared import Prompt
    from ovrecipe.run.prompt import ChatTemplate

#: How long answers are waited for before new prompts are looked at, in seconds.
TICK = 0.05
#: How often it is looked which nodes there are, in seconds.
LOOK = 1.0
#: How long other nodes may take to load when one is ready, in seconds.
OTHERS = 20.0
#: After how long it is said that a node has no room yet, in seconds.
SILENCE = 15.0
#: How many prompts wait on a node at least, beside those that it answers.
SPARE = 8
#: How many engines a prompt may outlive, and how many a node may lose before it opened one.
MOST_LOST = 2


@dataclass(frozen=True)
class Node:
    """A machine that lives and has processors."""

    id: str
    name: str
    processors: int


def all_nodes() -> list[dict[str, Any]]:
    """Return what Ray knows of its nodes, dead ones too."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found


def living_nodes() -> list[Node]:
    """Return the machines that take work."""
    return [
        Node(node["NodeID"], node["NodeManagerHostname"], int(node["Resources"]["CPU"]))
        for node in all_nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]


@dataclass(eq=False)
class Question:
    """One prompt; `answering` is the name of the node that had begun it, None before."""

    ask: Ask
    deliver: Deliver
    answering: str | None = None
    lost: int = 0


@dataclass(eq=False)
class Place:
    """An engine on a node; `call` is what it is doing for us, opening or taking."""

    node: Node
    actor: Any
    call: Any
    since: float
    is_open: bool = False
    running: int = 0
    waiting: int = 0
    asked: dict[int, Question] = field(default_factory=dict)

    def room(self, at_once: int) -> int:
        """Return how many prompts more it should have now."""
        if not self.is_open:
            return 0
        if not self.waiting:
            return at_once + SPARE - len(self.asked)
        return self.running + max(SPARE, self.running // 4) - len(self.asked)


class Pool:
    """What a batch asks (`ovrecipe.run.batch.work.Asks`): an engine on each node of a cluster."""

    def __init__(
        self,
        opening: Callable[[Node], Opening],
        *,
        template: ChatTemplate,
        parameters: Mapping[str, Any],
        at_once: int,
        announce: Callable[[str], None],
        nodes: Callable[[], list[Node]] = living_nodes,
    ) -> None:
        self.template, self.parameters = template, parameters
        self.failure: EngineFailed | None = None
        self._opening, self._announce, self._nodes = opening, announce, nodes
        self._at_once = at_once
        self._places: dict[str, Place] = {}
        #: Why a node gets no engine any more, and how many it has lost in a row.
        self._refusals: dict[str, OvrecipeError] = {}
        self._losses: dict[str, int] = {}
        self._said_nothing = self._looked = 0.0
        self._numbers = count()
        self._inbox: SimpleQueue[Question] = SimpleQueue()
        self._waiting: deque[Question] = deque()
        self._closed = False
        self._settled = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, daemon=True, name="ovrecipe-ray")

    def open(self) -> Pool:
        """Wait until one node can answer, and for a while for the others.

        Raises:
            OvrecipeError: no node can; this is the first one's reason.
        """
        self._thread.start()
        try:
            self._settled.wait()
        except BaseException:
            self.close()
            raise
        if self.failure is not None:
            self.close()
            raise next(iter(self._refusals.values()), self.failure)
        return self

    def submit(
        self, prompt: Prompt, deliver: Deliver, *, logprobs: bool = False, **generation: Any
    ) -> Question:
        """Ask for an answer; what a node refuses is delivered too.

        Raises:
            EngineFailed: no node can answer any more.
        """
        ask = Ask(next(self._numbers), prompt, logprobs, generation)
        question = Question(ask, deliver)
        with self._lock:
            if self.failure is not None:
                raise EngineFailed(self.failure.message, remedy=self.failure.remedy)
            self._inbox.put(question)
        return question

    def cancel(self, request: Any) -> None:
        """Let it be answered for nobody: what refuses a prompt does so before it is begun."""

    def close(self) -> None:
        """End the engines; what is asked still ends with an error."""
        self._closed = True
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    # What follows runs on the pool's thread.

    def _work(self) -> None:
        failure = EngineFailed("the engines were closed")
        try:
            while not self._closed and self.failure is None:
                self._look()
                self._hear()
                self._send()
        except Exception as error:  # noqa: BLE001 - the cluster is gone, or a defect of ours
            failure = EngineFailed(f"the Ray cluster cannot be used any more: {one_line(error)}")
            failure.__cause__ = error
        with self._lock:
            self.failure = self.failure or failure
        for place in list(self._places.values()):
            self._waiting += place.asked.values()
            self._end(place)
        while not self._inbox.empty():
            self._waiting.append(self._inbox.get())
        for question in self._waiting:
            question.answering = None
            question.deliver(Delta(error=self.failure))
        self._settled.set()

    def _look(self) -> None:
        """Give each living node an engine; fail when none may have one."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        nodes = self._nodes()
        usable = [node for node in nodes if node.id not in self._refusals]
        if nodes and not usable and not self._places:
            first = next(iter(self._refusals.values()))
            self.failure = EngineFailed(first.message, remedy=first.remedy)
            return
        for node in usable:
            if node.id not in self._places:
                self._hire(node, now)
        if not nodes and now - self._said_nothing > SILENCE:
            self._said_nothing = now
            self._announce("no node is left; waiting for one to join the cluster")
        self._settle(now)

    def _hire(self, node: Node, now: float) -> None:
        place = NodeAffinitySchedulingStrategy(node.id, soft=False)
        options = {"num_cpus": node.processors, "max_concurrency": 2, "max_restarts": 0}
        answerer: Any = ray.remote(Answerer)
        actor = answerer.options(**options, scheduling_strategy=place).remote()
        call = actor.open.remote(self._opening(node))
        self._places[node.id] = Place(node, actor, call, now)

    def _settle(self, now: float) -> None:
        """Let `open` return when one engine is there, and the others had their time."""
        if self._settled.is_set():
            return
        late = [place for place in self._places.values() if not place.is_open]
        for place in late:
            if SILENCE < now - place.since < SILENCE + 2 * LOOK:
                self._announce(f"waiting for {place.node.name} to have room and load the model")
        is_ready = len(late) < len(self._places)
        if is_ready and (not late or min(now - place.since for place in late) > OTHERS):
            self._say_engines()
            self._settled.set()

    def _say_engines(self) -> None:
        there = sum(place.is_open for place in self._places.values())
        self._announce(f"{counted(there, 'engine')} on the Ray cluster")

    def _hear(self) -> None:
        """Take in what nodes have to say, and what is asked meanwhile."""
        calls = {place.call: place for place in self._places.values() if place.call is not None}
        if calls:
            done, _ = ray.wait([*calls], num_returns=len(calls), timeout=TICK)
            for call in done:
                self._answered(calls[call], call)
            self._take_in()
        else:
            self._take_in(patience=TICK)

    def _take_in(self, patience: float = 0.0) -> None:
        try:
            self._waiting.append(self._inbox.get(bool(patience), patience))
            while True:
                self._waiting.append(self._inbox.get_nowait())
        except Empty:
            return

    def _answered(self, place: Place, call: Any) -> None:
        place.call = None
        try:
            found = ray.get(call)
        except RayError as error:
            self._lost(place, one_line(error))
            return
        if isinstance(found, Opened):
            self._opened(place, found)
        else:
            self._took(place, found)

    def _opened(self, place: Place, found: Opened) -> None:
        for said in found.said:
            self._announce(f"{place.node.name}: {said}")
        if found.error is not None:
            self._announce(f"{place.node.name} has no engine: {found.error.message}")
            self._refusals[place.node.id] = found.error
            self._end(place)
            self._looked = 0.0
            return
        place.is_open = True
        self._looked = 0.0
        if self._settled.is_set():
            self._say_engines()

    def _took(self, place: Place, found: Taken) -> None:
        place.running, place.waiting = found.running, found.waiting
        for ended in found.ended:
            self._deliver(place, ended)
        if found.failed:
            self._lost(place, "its model failed")
        elif place.asked:
            place.call = place.actor.take.remote()

    def _deliver(self, place: Place, ended: Ended) -> None:
        self._losses.pop(place.node.id, None)
        question = place.asked.pop(ended.number, None)
        if question is None:
            return
        if isinstance(ended.delta.error, EngineFailed) and not ended.begun:
            self._waiting.appendleft(question)
            return
        question.answering = place.node.name
        question.deliver(ended.delta)

    def _lost(self, place: Place, why: str) -> None:
        """Ask others what a node had that is gone, or whose process is."""
        self._end(place)
        node, again = place.node, [*place.asked.values()]
        losses = self._losses[node.id] = self._losses.get(node.id, 0) + 1
        asked = f"; {counted(len(again), 'prompt')} asked again" if again else ""
        self._announce(f"lost an engine on {node.name}{asked}: {why}")
        for question in reversed(again):
            question.lost += 1
            if question.lost >= MOST_LOST:
                question.answering = node.name
                error = EngineFailed(f"{question.lost} engines ended while they answered")
                question.deliver(Delta(error=error))
            else:
                self._waiting.appendleft(question)
        if losses > MOST_LOST and not place.is_open and node in self._nodes():
            self._refusals[node.id] = RunError(
                f"{node.name}: its engine ends before it is loaded: {why}",
                remedy="ovrecipe-ray, the same version, must be installed on every node",
            )

    def _end(self, place: Place) -> None:
        self._places.pop(place.node.id, None)
        ray.kill(place.actor)

    def _send(self) -> None:
        """Give each node what it has room for, those with the least first."""
        sent: dict[str, list[Question]] = {key: [] for key in self._places}
        rooms = {key: place.room(self._at_once) for key, place in self._places.items()}

        def load(key: str) -> int:
            return len(self._places[key].asked) + len(sent[key])

        while self._waiting:
            free = [key for key, room in rooms.items() if room > len(sent[key])]
            if not free:
                break
            sent[min(free, key=load)].append(self._waiting.popleft())
        for key, questions in sent.items():
            place = self._places[key]
            if not questions:
                continue
            place.asked |= {question.ask.number: question for question in questions}
            place.actor.ask.remote([question.ask for question in questions])
            if place.call is None:
                place.call = place.actor.take.remote()
