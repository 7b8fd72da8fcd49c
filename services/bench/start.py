"""The command lines and environments of each contender's processes."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.bench import connect, quix
from shared.local.processes import Process, free_ports

PEERS = Path(__file__).with_name("peers")


@dataclass(frozen=True)
class Job:
    """The task of a contender: read ``topic`` as ``group``, store into ``database``."""

    kafka: str
    mongo: str
    database: str
    topic_prefix: str
    topic: str
    group: str
    folder: Path


def _environment(job: Job) -> dict[str, str]:
    return {
        **os.environ,
        "BENCH_KAFKA": job.kafka,
        "BENCH_MONGO": job.mongo,
        "BENCH_DATABASE": job.database,
        "BENCH_TOPIC": job.topic,
        "BENCH_GROUP": job.group,
    }


def peer(module: str, *arguments: str) -> Callable[[Job], list[Process]]:
    def start(job: Job) -> list[Process]:
        argv = [sys.executable, "-m", f"services.bench.peers.{module}", *arguments]
        return [Process(module, argv, job.folder / f"{job.group}.log", _environment(job), grace=2.0)]

    return start


def quix_streams(job: Job) -> list[Process]:
    argv = [str(quix.interpreter()), str(PEERS / "quix_sink.py")]
    # It may create a state folder, which belongs to this run.
    return [Process("Quix Streams", argv, job.folder / f"{job.group}.log", _environment(job), grace=2.0)]


def connector(tasks: int) -> Callable[[Job], list[Process]]:
    def start(job: Job) -> list[Process]:
        argv = connect.command(
            job.folder / job.group,
            free_ports(1)[0],
            job.kafka,
            job.mongo,
            job.database,
            job.topic,
            job.group,
            tasks,
        )
        return [Process("Kafka Connect", argv, job.folder / f"{job.group}.log", grace=2.0)]

    return start


def kith(workers: int = 1, **settings: str) -> Callable[[Job], list[Process]]:
    def start(job: Job) -> list[Process]:
        processes = []
        for number, port in enumerate(free_ports(workers), 1):
            environment = {
                "KITH_LOG_LEVEL": "warning",
                **os.environ,
                "KITH_KAFKA": job.kafka,
                "KITH_MONGO": job.mongo,
                "KITH_DATABASE": job.database,
                "KITH_TOPIC_PREFIX": job.topic_prefix,
                "KITH_GROUP": job.group,
                "KITH_RELATIONS_PORT": str(port),
                # Set explicitly, so that the caller's environment cannot change the contender.
                "KITH_KAFKA_CLIENT": "kafka-python",
                "KITH_ACCESS": "open",
                "KITH_ENCRYPTION": "off",
                "KITH_RELATIONS_FACTS_ONLY": "false",
                **{f"KITH_{name.upper()}": value for name, value in settings.items()},
            }
            argv = [sys.executable, "-m", "services.relations"]
            log = job.folder / f"{job.group}-{number}.log"
            processes.append(Process(f"relations {number}", argv, log, environment, grace=20.0))
        return processes

    return start
