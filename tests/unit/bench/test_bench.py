"""The pure parts of the benchmark: what it generates, and how it counts."""

import json
from collections import Counter
from statistics import median

import pytest
from fastapi.testclient import TestClient
from kafka.partitioner import murmur2
from rich.console import Console
from rich.table import Table

from services.bench import capacity, connect, document, report
from services.bench.__main__ import available, parser
from services.bench.attacks import ATTACKS
from services.bench.contenders import CONTENDERS
from services.bench.door import door_ratios
from services.bench.events import AMENDED, FRESH, REDELIVERED, Mix, ending, generate
from services.bench.growth import Point, rate_between
from services.bench.http import parse_head, request
from services.bench.latency import READERS, percentile, summary
from services.bench.load import bodies
from services.bench.measure import Run
from services.bench.neighbours import PROBES, row_of
from services.bench.peers.fastapi_door import create_app
from services.bench.procfs import parse_stat
from services.bench.rabbitmq import rabbitmq_ratios
from services.bench.ratios import TARGETS, Target, ratio, ratios
from services.bench.topics import PARTITIONS, BenchTopic, ending_consumer
from shared.contracts.codec import decode
from shared.contracts.events import RelationRecorded, RelationRetracted, event_key
from shared.contracts.services import SERVICES
from shared.contracts.topics import Topics
from shared.testing.memory import MemoryLog, MemoryPublisher
from tests.support.builders import MemoryKith

COUNT = 20_000


def run(contender: str, rate: float, repetition: int = 1, scenario: str = "first") -> Run:
    return Run(contender, scenario, repetition, 1000, 0, 1.0, rate, 10.0, 20.0, 5.0, 64.0, 620)


# What a deployment needs


def test_the_sum_follows_from_the_figures() -> None:
    figures = capacity.Figures(*range(1, len(capacity.Figures._fields) + 1))._replace(
        door_rate=1_000.0,
        worker_rate=250.0,
        event_bytes=100.0,
        change_bytes=100.0,
        fact_bytes=300.0,
        relationship_bytes=400.0,
        key_bytes=100.0,
        intelligence_mb=0.0,
        intelligence_bytes=50.0,
    )
    lines = capacity.example(figures, consumers=1_000_000, met=50, rate=300).splitlines()
    last = [line.split("|")[-2].strip() for line in lines[2:]]
    # 2 × 300 ÷ 1,000 and 2 × 300 ÷ 250, rounded up, and one more.
    assert last[:2] == ["2", "4"]
    # A day has 25.92 million events, a year 9.4608 billion; there are 50 million relationships.
    assert last[3:] == ["15.6 GB", "8.5 TB", "60.0 GB", "300 MB", "2.5 GB"]
    assert capacity.table(figures).count("\n") == 1 + len(capacity.ROWS)
    assert {name for name, _, _ in capacity.ROWS} == set(capacity.Figures._fields)


def test_the_bridge_is_compared_with_each_peer_and_with_the_rate_that_it_is_to_reach() -> None:
    rates = {"aio-pika": 2_000, "aio-pika, 250 acknowledged at once": 6_000, "Kith, librdkafka": 4_500}
    rows = [
        {"contender": name, "repetition": repetition, "rate": rate * repetition}
        for name, rate in rates.items()
        for repetition in (1, 2)
    ]
    found = {each.name: (each.ratio, each.met) for each in rabbitmq_ratios(rows)}
    assert found == {
        "Kith, librdkafka / aio-pika": (2.25, True),
        "Kith, librdkafka / aio-pika, 250 acknowledged at once": (0.75, False),
        "Kith, librdkafka / 5,000 a second": (1.35, True),
    }


# The events


@pytest.mark.parametrize("mix", [REDELIVERED, AMENDED], ids=["redelivered", "amended"])
def test_the_same_seed_makes_the_same_events(mix: Mix) -> None:
    assert list(generate(2000, mix)) == list(generate(2000, mix))
    assert list(generate(2000, mix)) != list(generate(2000, mix, seed=2))


def test_the_first_topic_has_62_percent_facts_and_redeliveries_byte_for_byte() -> None:
    events = list(generate(COUNT, REDELIVERED))
    assert sum(event.fresh for event in events) / COUNT == pytest.approx(0.62, abs=0.01)
    assert len({event.relation_id for event in events}) == sum(event.fresh for event in events)
    fresh = {event.value for event in events if event.fresh}
    assert {event.value for event in events} == fresh
    assert 300 < median(len(event.value) for event in events) < 366


def test_the_amended_topic_has_30_percent_amendments_and_retractions() -> None:
    events = list(generate(COUNT, AMENDED))
    kinds = Counter("new" if e.fresh else "retracted" if e.live < 0 else "amended" for e in events)
    assert kinds["new"] / COUNT == pytest.approx(0.7, abs=0.01)
    assert kinds["amended"] / COUNT == pytest.approx(0.2, abs=0.01)
    assert kinds["retracted"] / COUNT == pytest.approx(0.1, abs=0.01)


def test_the_counts_are_those_of_the_real_projection() -> None:
    events = list(generate(1000, AMENDED))
    kith = MemoryKith(slice_events=100)
    kith.publish(decode(event.value) for event in events)
    kith.drain()
    state = kith.documents()
    assert len(state["relations"]) == sum(event.fresh for event in events)
    assert sum(r["count"] for r in state["relationships"].values()) == sum(event.live for event in events)
    # No event is without effect.
    assert len(kith.values("relation-changes")) == len(events)


def test_every_event_is_valid_and_keyed_as_the_door_does() -> None:
    types = set()
    for event in generate(3000, AMENDED):
        decoded = decode(event.value)
        assert event_key(decoded) == event.key
        assert isinstance(decoded, RelationRecorded | RelationRetracted)
        assert decoded.data.relation_id == event.relation_id
        types.add(decoded.type)
    assert len(types) == 2


def test_keys_follow_zipf_and_reach_all_partitions() -> None:
    counts = Counter(event.key for event in generate(COUNT, FRESH))
    (_, first), (_, second), (_, third) = counts.most_common(3)
    assert first / second == pytest.approx(2, rel=0.2)
    assert first / third == pytest.approx(3, rel=0.2)
    assert {(murmur2(key) & 0x7FFFFFFF) % PARTITIONS for key in counts} == set(range(PARTITIONS))


def test_one_consumer_or_provider_can_have_everything() -> None:
    assert len({event.key for event in generate(500, FRESH, consumers=1)}) == 1
    providers = {decode(event.value).data.provider_id for event in generate(500, FRESH, providers=1)}  # type: ignore[union-attr]
    assert len(providers) == 1


def test_an_ending_is_a_valid_event_of_its_partition() -> None:
    for number in range(PARTITIONS):
        consumer_id = ending_consumer("first", number)
        event = ending(7, consumer_id, f"end-first-{number}")
        assert event_key(decode(event.value)) == event.key
        assert (murmur2(event.key) & 0x7FFFFFFF) % PARTITIONS == number


def test_a_topic_knows_the_documents_that_end_it() -> None:
    topic = BenchTopic("first", 10, 6, 5, (("c1", "end-first-0"), ("c2", "end-first-1")))
    assert topic.name == "first.relations"
    assert topic.ending_relations == ["end-first-0", "end-first-1"]
    assert topic.ending_documents == ["default:c1:end-first-0", "default:c2:end-first-1"]


def test_requests_hold_their_batch_and_go_on_with_new_events() -> None:
    made = list(bodies(3, seed=1, count=4))
    assert [len(json.loads(body)) for body in made] == [3, 3, 3, 3]
    assert len(set(made)) == 4


# The ratios


def test_a_ratio_is_the_median_of_its_repetitions() -> None:
    target = Target("mine / theirs", "first", "mine", ("a", "b"), 1.5)
    runs = [
        *(run("mine", rate, n) for n, rate in enumerate((300.0, 100.0, 200.0))),
        *(run("a", 100.0, n) for n in range(3)),
        *(run("b", 50.0, n) for n in range(3)),
    ]
    (found,) = ratios(runs, [target])
    assert (found.ratio, found.low, found.high, found.met) == (2.0, 1.0, 3.0, True)


def test_a_ratio_takes_the_best_of_each_repetition_and_only_its_scenario() -> None:
    target = Target("mine / theirs", "replay", "mine", ("a", "b"), 1.0)
    runs = [run("mine", 100.0), run("a", 1.0)]
    runs += [run("mine", 100.0, 1, "replay"), run("a", 200.0, 1, "replay"), run("b", 400.0, 1, "replay")]
    (found,) = ratios(runs, [target])
    assert (found.ratio, found.met) == (0.25, False)


def test_what_was_not_measured_has_no_ratio() -> None:
    target = Target("mine / theirs", "first", "mine", ("a",), 1.0)
    assert ratios([run("mine", 1.0)], [target]) == []
    assert ratios([run("a", 1.0)], [target]) == []
    assert ratios([run("mine", 1.0, 1), run("a", 1.0, 2)], [target]) == []


def test_a_ratio_is_judged_as_it_is_shown() -> None:
    assert ratio("r", "first", [0.996], 1.0).met
    assert not ratio("r", "first", [0.994], 1.0).met


def test_the_targets_name_contenders_that_run_their_scenario() -> None:
    for target in TARGETS:
        for name in (target.of, *target.over):
            assert target.scenario in CONTENDERS[name].scenarios, target


def test_the_doors_are_compared_by_client() -> None:
    rows = [
        {"door": door, "kafka_client": client, "repetition": 1, "rate": rate}
        for client, rates in {"kafka-python": (300.0, 100.0, 400.0), "librdkafka": (80.0, 100.0, 900.0)}.items()
        for door, rate in zip(("Kith", "FastAPI", "raw"), rates, strict=True)
    ]
    found = {row.name: (row.ratio, row.met) for row in door_ratios(rows)}
    assert found == {
        "door / FastAPI's list[Event], kafka-python": (3.0, True),
        "door / FastAPI's list[Event], librdkafka": (0.8, False),
        "door / raw publish rate, kafka-python": (0.75, True),
    }


# Latency and growth


def test_percentiles_are_measured_values() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([7.0], 0.0) == 7.0


def test_latency_is_met_only_when_both_percentiles_are() -> None:
    relations = READERS[0]
    assert summary(relations, "librdkafka", 1000.0, [0.01] * 100)["met"]
    assert not summary(relations, "librdkafka", 1000.0, [0.06] * 100)["met"]
    assert not summary(relations, "librdkafka", 1000.0, [0.01] * 90 + [0.3] * 10)["met"]


def test_a_rate_is_taken_between_two_points() -> None:
    series = [Point(0.0, 0, 0), Point(1.0, 100, 60), Point(3.0, 500, 300), Point(4.0, 520, 310)]
    assert rate_between(series, "done", 100, 500) == 200.0
    assert rate_between(series, "facts", 60, 310) == 140.0
    assert rate_between(series, "done", 100, 521) is None
    assert rate_between(series, "done", 200, 300) is None


# Reading answers, /proc and options


def test_proc_stat_is_read_behind_the_name() -> None:
    line = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 100 0 0"
    assert parse_stat(line) == (7, 200)


def test_http_heads() -> None:
    assert parse_head(b"HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\nX: y") == (202, 12)
    with pytest.raises(ConnectionError):
        parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")
    whole = request(80, "/v1/events", "application/json", b"[]")
    assert whole.startswith(b"POST /v1/events HTTP/1.1\r\n")
    assert whole.endswith(b"Content-Length: 2\r\n\r\n[]")


def test_the_connector_upserts_by_the_relation() -> None:
    properties = connect.connector_properties("mongodb://h", "db", "t.relations", "group", 2)
    assert properties["tasks.max"] == "2"
    assert properties["topics"] == "t.relations"
    assert properties["document.id.strategy.partial.value.projection.list"] == "data.relation_id"


def test_what_is_missing_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.bench.contenders.find_spec", lambda _: None)
    assert available(["bulk", "faststream"]) == (
        ["bulk"],
        {"faststream": "faststream, confluent_kafka is not installed (uv run --group bench)"},
    )


def test_options() -> None:
    options = parser().parse_args(["--only", "bulk", "kith", "--events", "5000", "--reps", "2", "--json"])
    assert (options.only, options.events, options.reps, options.json) == (["bulk", "kith"], 5000, 2, True)
    with pytest.raises(SystemExit):
        parser().parse_args(["--only", "nobody"])


# The tables


def printed(table: Table) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_the_runs_table_fits_into_100_columns_and_shows_medians() -> None:
    runs = [run("kith", rate, n) for n, rate in enumerate((9000.0, 12345.0, 20000.0))] + [run("bulk", 5.0)]
    text = printed(report.runs_table("first", runs, {"kith": "Kith, whole job"}))
    (row,) = [line for line in text.splitlines() if "Kith" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("Kith, whole job", "12,345", "9.0–20.0k", "10", "20", "5", "64"),
    ]
    assert max(map(len, text.splitlines())) <= 100


def test_the_longest_titles_and_numbers_are_not_cut() -> None:
    titles = {name: contender.title for name, contender in CONTENDERS.items()}
    text = printed(report.runs_table("first", [run(name, 123_456.0) for name in CONTENDERS], titles))
    assert "…" not in text
    assert all(title in text for title in titles.values())


def test_the_ratios_table_says_what_is_met() -> None:
    found = [ratio(target.name, target.scenario, [target.least], target.least) for target in TARGETS]
    found.append(ratio("too slow", "first", [0.5], 1.0))
    text = printed(report.ratios_table(found))
    assert text.count(" met ") == len(TARGETS)
    assert text.count("missed") == 1
    assert max(map(len, text.splitlines())) <= 100


def test_plain_tables_show_each_column() -> None:
    text = printed(report.plain_table("Growth", [{"facts": 10_000, "rate": 1234.56, "met": True}]))
    assert "10,000" in text
    assert "1,234.6" in text
    assert "True" in text


# The page of speed


def test_the_table_of_speed_is_put_between_its_marks() -> None:
    runs = [
        run("kith", 12_345.0),
        run("kith", 14_345.0, 2),
        run("kith", 20_000.0, scenario="replay"),
        run("bulk", 9e3),
    ]
    table = document.speed(runs, [ratio("a / b", "first", [0.5], 1.0)], {"kith": "Kith, whole job"})
    assert "| Kith, whole job | 13,345 | 20,000 | – | 10, 20, 5 |" in table
    assert "| bulk | 9,000 | – | – |" in table
    assert "| a / b | new facts | 0.50 | 1.00, missed |" in table
    text = "before\n<!-- speed: make bench -->\nold\n<!-- end of speed -->\nafter"
    changed = document.put(text, "speed", table)
    assert changed == f"before\n<!-- speed: make bench -->\n{table}\n<!-- end of speed -->\nafter"
    assert document.put(changed, "speed", table) == changed
    with pytest.raises(ValueError, match="no markers of speed"):
        document.put("nothing", "speed", table)


# Tenants beside each other


def test_a_neighbour_is_held_to_three_times_its_idle_median_and_a_floor() -> None:
    idle = [0.010] * 100
    within = row_of("cohorts", {"429": 7, "200": 3}, "RFM", idle, [0.059] * 100)
    assert (within["idle_p50"], within["beside_p99"], within["met"]) == (10.0, 59.0, True)
    assert within["its answers"] == "200: 3, 429: 7"
    assert row_of("cohorts", {}, "RFM", idle, [0.061] * 100)["met"] is False


def test_every_attack_is_on_a_service_that_the_second_tenant_asks() -> None:
    assert {attack.service for attack in ATTACKS.values()} <= {probe.service for probe in PROBES} <= set(SERVICES)


def test_the_peers_door_takes_what_is_sent_to_both() -> None:
    topics = Topics("bench")
    log = MemoryLog({topics.name("relations"): 2})
    door = TestClient(create_app(topics, MemoryPublisher(log)))
    sent = json.loads(next(bodies(2_000, seed=1, count=1)))
    # With corrections and retractions, and with a time of its own, which the bench's events do not have.
    sent[0]["data"]["occurred_at"] = "2026-01-01T00:00:00Z"
    answer = door.post("/v1/events", json=sent)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2_000})
    kept = [decode(record.value) for records in log.records.values() for record in records if record.value]
    assert {(event.type, event.id) for event in kept} == {(event["type"], event["id"]) for event in sent}


def test_the_table_of_neighbours_says_which_row_was_missed() -> None:
    rows = [
        row_of("nothing but noise", {"429": 1_200, "202": 3}, "an event", [0.01], [0.0125]),
        row_of("silence", {}, "RFM", [0.01], [0.2]),
    ]
    assert document.neighbours(rows).splitlines()[2:] == [
        "| nothing but noise | 202: 3, 429: 1,200 | an event | 10, 10 | 12, 12 | yes |",
        "| silence | nothing | RFM | 10, 10 | 200, 200 | **no** |",
    ]
