"""Every setting of every Kith process: one class, environment variables with the prefix ``KITH_``."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of a Kith process. ``kith settings`` prints them with their meaning and present value."""

    model_config = SettingsConfigDict(env_prefix="KITH_", frozen=True, extra="ignore")

    kafka: str | None = Field(
        None, description="Kafka bootstrap addresses, host:port, comma-separated. Required by every service."
    )
    kafka_client: Literal["kafka-python", "librdkafka"] = Field(
        "kafka-python",
        description="Library that reads and publishes; librdkafka is faster and needs kith[librdkafka].",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism, when the security protocol is SASL_*."
    )
    kafka_username: str | None = Field(None, description="SASL user name.")
    kafka_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_ca_file: str | None = Field(None, description="PEM file of the authority that signed the brokers.")
    kafka_cert_file: str | None = Field(None, description="PEM file of this client's certificate (mTLS).")
    kafka_key_file: str | None = Field(None, description="PEM file of this client's private key (mTLS).")
    mongo: str | None = Field(
        None,
        description="MongoDB URI of a replica set (transactions need one); credentials and TLS go in the URI.",
    )
    database: str = Field("kith", pattern=r"^[A-Za-z0-9_-]{1,38}$", description="MongoDB database.")

    topic_prefix: str = Field(
        "kith", pattern=r"^[A-Za-z0-9_-]{1,60}$", description="Topics are named <prefix>.relations and so on."
    )
    partitions: int = Field(
        4, ge=1, le=1000, description="Partitions of a topic that `kith topics create` makes or grows."
    )
    replication: int = Field(1, ge=1, le=9, description="Replicas of a topic that Kith creates.")
    group: str = Field("kith", description="Kafka groups are named <group>.<service>.")

    slice_events: int = Field(
        2000, ge=1, le=10000, description="Most events of one partition that share a transaction."
    )
    session_timeout_ms: int = Field(
        45_000, ge=1000, description="A worker silent for so long loses its partitions."
    )
    max_poll_interval_ms: int = Field(
        300_000, ge=1000, description="A worker stuck in one step for so long loses its partitions."
    )
    stuck_seconds: float = Field(
        30.0, gt=0, description="A worker whose work gets no further for so long is not ready."
    )
    half_life_months: float = Field(
        6.0, ge=0.01, description="After so many months a relation weighs half in a relationship's strength."
    )
    kind_weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {"subscribe": 8.0, "purchase": 5.0, "review": 3.0, "contact": 2.0, "view": 0.5},
        description="Weight of one relation of a kind in a relationship's strength (JSON). Other kinds: 1.",
    )

    relations_facts_only: bool = Field(
        False, description="Store facts and nothing else, neither relationships nor changes: for measuring."
    )

    host: str = Field("127.0.0.1", description="Address that a service's HTTP API listens on.")
    ingest_port: int = Field(8701, ge=0, le=65535, description="Port of the ingest API.")
    relations_port: int = Field(8702, ge=0, le=65535, description="Port of the relations API.")
    analytics_port: int = Field(8703, ge=0, le=65535, description="Port of the analytics API.")
    max_future_seconds: int = Field(
        86_400, ge=0, description="An event dated further ahead of its arrival is refused."
    )
    publish_timeout_ms: int = Field(
        10_000, ge=100, description="Without the brokers' acknowledgement by then, a publication has failed."
    )
    cache: Literal["lru", "lfu", "ttl", "off"] = Field(
        "lru", description="Which documents the query cache keeps when it is full."
    )
    cache_entries: int = Field(10_000, ge=1, description="Size of the query cache, in documents.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log line.")
