"""What the soak test does to a system: one random fault after another, from a seed.

Two workers, the first of each service, are never ended, so that their memory tells of the whole time; they are
frozen, and lose their servers, like all others.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from shared.contracts.errors import Unavailable
from shared.contracts.topics import Topics
from shared.kafka.clients import open_publisher
from shared.kafka.topics_admin import ensure_topics
from shared.letters.letter import Selection
from shared.letters.store import Letters
from shared.local.processes import Process
from tests.fault.nodes import Node, freeze, leader, nodes_of, primary, thaw
from tests.fault.points import STEPS
from tests.fault.system import System, has_struck
from tests.fault.test_commit_answers import FAIL_POINTS, fail, failed

#: So many workers of each service there are when nothing is wrong.
CREW = {"relations": 3, "analytics": 2}
MAX_POLL_SECONDS = 8
_PATIENCE_SECONDS = 180.0
_GRACE_SECONDS = 15.0


class Nemesis:
    """Strikes a system. ``survived`` counts the faults by kind after each of which both services have got on;
    ``wrong`` are those after which they have not, and workers that ended by themselves."""

    def __init__(self, system: System, seed: int, log: Callable[[str], None]) -> None:
        self._system, self._random, self._log = system, Random(seed), log
        self._kinds: list[Callable[[], str]] = [
            self._kill,
            self._kill_at_a_step,
            self._freeze,
            self._starve,
            self._leave,
            self._join,
            self._end_server,
            self._end_server,
            self._step_down,
            self._fail_commands,
            self._lose_answers,
            self._replay,
        ]
        if len(nodes_of(system.kafka)) > 1:
            self._kinds += [self._end_server, self._cut_off, self._cut_off, self._cut_off]
        self._round: list[Callable[[], str]] = []
        self.survived: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.longest_recovery = 0.0

    def start(self) -> None:
        for service, count in CREW.items():
            for _ in range(count):
                self._system.start(service)

    def strike(self) -> None:
        """One fault, and the recovery from it. Every kind has its turn before one comes again."""
        if not self._round:
            self._round = self._random.sample(self._kinds, len(self._kinds))
        kind = self._round.pop()()
        self._log(kind)
        began = time.monotonic()
        if self._recovers():
            self.survived[kind] += 1
        else:
            self.wrong.append(f"after a fault ({kind}) there was no progress for {_PATIENCE_SECONDS:.0f} s")
        self.longest_recovery = max(self.longest_recovery, time.monotonic() - began)
        time.sleep(self._random.uniform(0.5, 4.0))

    def add_partitions(self) -> None:
        """Once, and late: from then on the order of a fact's changes is unknown, and less is checked."""
        count = self._system.settings.partitions + 2
        ensure_topics(self._system.settings.model_copy(update={"partitions": count}))
        self._system.grown = True
        self._log(f"{count} partitions")
        self.survived["partitions added"] += self._recovers()

    def muster(self) -> None:
        """Note who has ended without being asked to, and make the crew complete again."""
        for worker in list(self._system.workers):
            if not worker.running:
                self.wrong.append(
                    f"{worker.name} ended with {worker.ending}\n{self._system.tails_of(worker, lines=150)}"
                )
                self._system.forget(worker)
        for service, count in CREW.items():
            for _ in range(count - len(self._of(service))):
                self._system.start(service)

    def _of(self, service: str) -> list[Process]:
        return [worker for worker in self._system.workers if worker.name.startswith(service)]

    def _victim(self) -> Process:
        """Any but the first of each service."""
        return self._random.choice([w for service in CREW for w in self._of(service)[1:]])

    def _service(self) -> str:
        return self._random.choice(list(CREW))

    def _recovers(self) -> bool:
        """Whether both services store something more in time."""
        self.muster()
        system = self._system
        deadline = time.monotonic() + _PATIENCE_SECONDS
        before = {service: system.stored(service) for service in CREW}
        while any(system.stored(service) <= before[service] for service in CREW):
            self.muster()
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def _kill(self) -> str:
        victim = self._victim()
        victim.kill()
        self._system.forget(victim)
        return "kill -9 of a worker"

    def _kill_at_a_step(self) -> str:
        step = self._random.choice(STEPS)
        victim = self._system.start(self._service(), fault=f"{step}:kill:{self._random.randint(1, 4)}")
        self._await(lambda: has_struck(victim), 20)
        if victim.running:  # it never came to that step
            victim.kill()
        self._system.forget(victim)
        return f"kill -9 at the step {step}"

    def _freeze(self) -> str:
        sleeper = self._random.choice(self._system.workers)
        seconds = self._random.choice((1.0, 4.0, 10.0, 16.0))
        os.kill(sleeper.pid or 0, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(sleeper.pid or 0, signal.SIGCONT)
        past = seconds * 1000 > self._system.settings.session_timeout_ms
        return f"SIGSTOP {'past' if past else 'within'} the session"

    def _starve(self) -> str:
        slow = self._system.start(self._service(), fault=f"after-decode:sleep={MAX_POLL_SECONDS * 1.5}:2")
        self._await(lambda: has_struck(slow), 20)
        time.sleep(MAX_POLL_SECONDS * 1.7)
        self._ask_to_leave(slow)
        return "a slice slower than max_poll_interval"

    def _leave(self) -> str:
        self._ask_to_leave(self._victim())
        return "SIGTERM to a worker"

    def _join(self) -> str:
        newcomer = self._system.start(self._service())
        time.sleep(self._random.uniform(1, 5))
        self._ask_to_leave(newcomer)
        return "a worker joins and leaves"

    def _ask_to_leave(self, worker: Process) -> None:
        worker.ask_to_stop()
        self._await(lambda: not worker.running, _GRACE_SECONDS)
        if worker.running:
            self.wrong.append(f"{worker.name} did not end within {_GRACE_SECONDS:.0f} s of SIGTERM")
            worker.kill()
        elif worker.returncode and not (worker.returncode == -signal.SIGTERM and not worker.log.read_text()):
            # One that has only begun to start ends at once, by the signal itself.
            self.wrong.append(
                f"{worker.name} ended with {worker.ending}\n{self._system.tails_of(worker, lines=150)}"
            )
        self._system.forget(worker)

    def _end_server(self) -> str:
        server, name = self._server()
        how = self._random.choice((signal.SIGKILL, signal.SIGTERM))
        if how == signal.SIGKILL:
            server.kill()
        else:
            server.stop()
        away = self._random.choice((0.0, 2.0, 12.0))
        time.sleep(away)
        server.start()
        return f"{how.name} of {name}"

    def _cut_off(self) -> str:
        server, name = self._server()
        freeze(server)
        time.sleep(self._random.choice((1.0, 5.0, 12.0)))
        thaw(server)
        return f"SIGSTOP of {name}"

    def _server(self) -> tuple[Node, str]:
        """Mostly the one of several that leads, and what it is."""
        kafka, mongo = self._system.kafka, self._system.mongo
        is_kafka = self._random.random() < 0.5
        nodes: Sequence[Node] = nodes_of(kafka) if is_kafka else nodes_of(mongo)
        if len(nodes) == 1 or self._random.random() < 0.25:
            return self._random.choice(nodes), "a broker" if is_kafka else "a mongod"
        if is_kafka:
            topic = f"{self._system.settings.topic_prefix}.relations"
            return leader(kafka, topic, self._random.randrange(4)), "a partition's leader"
        return primary(mongo), "the primary"

    def _step_down(self) -> str:
        self._system.client.admin.command("replSetStepDown", 3, force=True)
        return "step-down of the primary"

    def _fail_commands(self) -> str:
        name = self._random.choice(list(FAIL_POINTS))
        times, data = FAIL_POINTS[name]
        enough = failed(self._system) + times
        fail(self._system, times, data)
        if name == "claims fail":
            self._ask_to_leave(self._victim())
        self._await(lambda: failed(self._system) >= enough, 20)
        self._system.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        return f"fail point: {name}"

    def _lose_answers(self) -> str:
        self._system.start(self._service(), fault="after-commit:lost:2,after-commit:lost:3")
        return "commits whose answer is lost"

    def _replay(self) -> str:
        """What is refused again is a dead letter again."""
        letters = Letters(self._system.database, Topics(self._system.settings.topic_prefix))
        publisher = open_publisher(self._system.settings)
        try:
            letters.replay(Selection(reason="invalid"), publisher)
        except Unavailable:
            return "dead letters replayed in part"
        finally:
            publisher.close()
        return "dead letters replayed"

    def _await(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.1)
