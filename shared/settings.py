"""Every setting of every Kith process: one class, environment variables with the prefix ``KITH_``."""

import json
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from shared.contracts.errors import ConfigurationError
from shared.contracts.limits import Most
from shared.secret_files import SecretFiles


def _ascending(scale: tuple[int, int]) -> tuple[int, int]:
    if scale[0] >= scale[1]:
        raise ValueError("the worst rating must be below the best")
    return scale


RatingScale = Annotated[tuple[int, int], AfterValidator(_ascending)]


def _shared_out(text: str) -> str:
    Most.parse(text)
    return text


#: ``credential/tenant/process``: see shared.contracts.limits.
Shared = Annotated[str, AfterValidator(_shared_out)]


def _json_or_nothing(value: object) -> object:
    """A setting in JSON, of which a blank is nothing."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else {}
    except ValueError:
        raise ValueError("is not JSON") from None


QueueName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,120}$")]


#: What may hold a password: a file can hold it instead, as Docker and Kubernetes give secrets. The file of the
#: master keys has a form of its own: several keys, the current one first.
SECRETS = ("kafka_password", "mongo", "cassandra", "audit_key", "postgres", "amqp")


class Settings(BaseSettings):
    """Settings of a Kith process. ``kith settings`` prints them with their description and current value."""

    model_config = SettingsConfigDict(
        env_prefix="KITH_",
        # As `KITH_THREADS=` in a file of compose, which passes it on: it is not set.
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls, SECRETS)

    kafka: str | None = Field(
        None, description="Kafka bootstrap addresses, host:port, comma-separated. Required by every service."
    )
    kafka_client: Literal["kafka-python", "librdkafka"] = Field(
        "kafka-python",
        description="Kafka client library. librdkafka is faster and needs the extra librdkafka.",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol of the brokers."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism, for a security protocol SASL_*."
    )
    kafka_username: str | None = Field(None, description="SASL user name.")
    kafka_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_password_file: str | None = Field(None, description="File with KITH_KAFKA_PASSWORD, instead of it.")
    kafka_ca_file: str | None = Field(
        None, description="PEM file of the authority that signed the brokers' certificates."
    )
    kafka_cert_file: str | None = Field(None, description="PEM file of this client's certificate (mTLS).")
    kafka_key_file: str | None = Field(None, description="PEM file of this client's private key (mTLS).")
    mongo: str | None = Field(
        None,
        repr=False,
        description="MongoDB URI of a replica set (transactions need one); credentials and TLS go in the URI.",
    )
    mongo_file: str | None = Field(
        None, description="File with KITH_MONGO, instead of it: it may have a password."
    )
    query_seconds: float = Field(
        25.0,
        ge=0.1,
        le=29,
        description="Seconds that MongoDB works on one read of a service before it ends it. A stream of an export"
        " has an hour.",
    )
    cassandra: SecretStr | None = Field(
        None,
        description="Address of the cluster that the Cassandra sink fills:"
        " cassandra://user:password@host1,host2:9042/keyspace?datacenter=name&replication=3&ca=file.",
    )
    cassandra_file: str | None = Field(None, description="File with KITH_CASSANDRA, instead of it.")
    reads: Literal["mongo", "cassandra"] = Field(
        "mongo",
        description="Where the relations API reads its lists of relationships. `cassandra` needs KITH_CASSANDRA.",
    )
    database: str = Field("kith", pattern=r"^[A-Za-z0-9_-]{1,38}$", description="MongoDB database.")

    topic_prefix: str = Field(
        "kith", pattern=r"^[A-Za-z0-9_-]{1,60}$", description="Topics are named <prefix>.relations and so on."
    )
    partitions: int = Field(
        4, ge=1, le=1000, description="Partitions of each topic; `kith topics create` creates or adds them."
    )
    replication: int = Field(1, ge=1, le=9, description="Replicas of a topic that Kith creates.")
    group: str = Field("kith", description="Kafka groups are named <group>.<service>.")

    encryption: Literal["on", "off"] = Field(
        "on", description="The door encrypts personal data. `off` stores it in plain text, permanently."
    )
    master_key_file: str | None = Field(
        None,
        description="File with the master keys, the current one first. `kith keys master new FILE` creates it.",
    )
    master_key: SecretStr | None = Field(
        None, description="The master keys, instead of a file: comma-separated, the current one first."
    )
    keys_topic: Literal["on", "off"] = Field(
        "off",
        description="Whether the wrapped keys of personal data are in a topic as well, from which `kith restore"
        " --keys-from-topic` takes them.",
    )
    plaintext: Literal["seal", "refuse"] = Field(
        "seal",
        description="What workers do with personal data that reached Kafka in plain text, bypassing the door.",
    )

    slice_events: int = Field(
        2000, ge=1, le=10000, description="Maximum number of events of one partition per transaction."
    )
    session_timeout_ms: int = Field(
        # Kafka's own default is 45 s, for members whose state is expensive to move. Here it is in MongoDB.
        10_000,
        ge=1000,
        description="Milliseconds without a heartbeat to Kafka after which a worker loses its partitions. "
        "Those of a worker that has died stand still until then.",
    )
    max_poll_interval_ms: int = Field(
        300_000,
        ge=1000,
        description="Milliseconds without a poll of Kafka after which a worker loses its partitions.",
    )
    stuck_seconds: float = Field(
        30.0, gt=0, description="Seconds without progress after which a worker is reported as not ready."
    )
    half_life_months: float = Field(
        6.0, ge=0.01, description="Half-life in months of a relation's weight in a relationship's strength."
    )
    kind_weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        {"subscribe": 8.0, "purchase": 5.0, "review": 3.0, "contact": 2.0, "view": 0.5},
        description="Weight of one relation of a kind in a relationship's strength (JSON). Other kinds: 1.",
    )

    rating_scales: dict[str, RatingScale] = Field(
        {},
        description="Worst and best rating by tenant, * for all others (JSON). Without it reports use the lowest"
        " and highest rating of the tenant's data.",
    )

    relations_facts_only: bool = Field(
        False, description="Store only facts, neither relationships nor changes. For benchmarks."
    )

    access: Literal["keys", "open"] = Field(
        "keys",
        description="`keys`: requests need an API key or token. `open`: no authentication, every tenant.",
    )
    metrics: Literal["keys", "open"] = Field(
        "keys", description="`keys`: /metrics needs a key with the scope metrics:read. `open`: no key."
    )
    rate_limit: str = Field(
        "500/second",
        description="Requests per credential and process, unless the key has its own limit. `none`: unlimited.",
    )
    tenant_rate_limit: str = Field(
        "2000/second", description="Requests per tenant and process, of all its credentials. `none`: unlimited."
    )
    event_limit: str = Field(
        "5000/second",
        description="Events per credential and process, unless the key has its own limit. `none`: unlimited.",
    )
    tenant_event_limit: str = Field(
        "7500/second",
        description="Events per tenant and process, of all its credentials. `none`: unlimited.",
    )
    most_behind_seconds: float = Field(
        0.15,
        ge=0,
        le=60,
        description="Seconds that the workers may be behind because of what several tenants send. "
        "0: they may be behind for ever.",
    )
    erasure_limit: str = Field(
        "5000/minute",
        description="Erasures per credential and process, unless the key has its own limit. `none`: unlimited.",
    )
    tenant_erasure_limit: str = Field(
        "10000/minute",
        description="Erasures per tenant and process, of all its credentials. `none`: unlimited.",
    )
    threads: int = Field(
        16,
        ge=2,
        le=256,
        description="Threads of a process that answer requests for single documents, and as many again for lists."
        " One tenant occupies at most a quarter of those for documents, and an eighth of those for lists.",
    )
    waiting: Shared = Field(
        "64/128/512",
        description="Requests that wait for such a thread: per credential/tenant/process.",
    )
    heavy_threads: int = Field(
        4,
        ge=2,
        le=64,
        description="Threads of a process for long queries (feed pages, rankings, exports that begin), and as many"
        " again for measures. One tenant occupies at most a quarter of them.",
    )
    measure_processes: int = Field(
        2,
        ge=0,
        le=64,
        description="Processes beside a process of relations or analytics that compute its measures. One tenant"
        " occupies at most half of them. 0: its own threads compute.",
    )
    measure_seconds: float = Field(
        120.0, gt=0, description="Seconds after which a process that computes one measure is ended."
    )
    measure_memory_mib: int = Field(2048, ge=256, description="MiB of memory of a process that computes measures.")
    heavy_waiting: Shared = Field(
        "32/64/256",
        description="Such queries, and again measures, that wait for a thread: per credential/tenant/process.",
    )
    bodies_mib: Shared = Field(
        "16/32/64", description="MiB of request bodies in memory: per credential/tenant/process."
    )
    publishing: Shared = Field(
        "128/192/256",
        description="Requests whose events the door is publishing: per credential/tenant/process.",
    )
    downloads: Shared = Field("2/4/8", description="Exports in progress: per credential/tenant/process.")
    streams: Shared = Field("32/48/64", description="Live streams: per credential/tenant/process.")
    connections: Shared = Field(
        "256/512/2000",
        description="Connections: per credential/tenant/process. Beyond it the oldest idle one of the largest"
        " holder is closed.",
    )
    address_connections: int = Field(
        256,
        ge=1,
        description="Connections of one address without a credential yet. Beyond it the oldest is closed.",
    )
    proxies: tuple[str, ...] = Field(
        (),
        description="Addresses or networks of proxies in front (JSON), whose connections are many clients'.",
    )
    head_seconds: float = Field(
        10.0, gt=0, description="Seconds for the request line and headers, from the connection or its last answer."
    )
    body_seconds: float = Field(30.0, gt=0, description="Seconds for a request's body.")
    send_seconds: float = Field(
        20.0, gt=0, description="Seconds without progress of an answer after which its connection is closed."
    )
    audit_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="Key of the audit's HMAC. Without it the audit is chained by plain SHA-256.",
    )
    audit_key_file: str | None = Field(None, description="File with KITH_AUDIT_KEY, instead of it.")
    oidc_issuer: str | None = Field(None, description="Issuer of accepted bearer tokens, as in their claim iss.")
    oidc_audience: str | None = Field(None, description="Audience that the tokens' claim aud must contain.")
    oidc_jwks_url: str | None = Field(None, description="URL of the issuer's keys (JWKS).")
    oidc_algorithms: tuple[str, ...] = Field(
        ("RS256", "ES256"), description="Accepted signature algorithms of tokens (JSON)."
    )
    oidc_tenant_claim: str = Field("tenant", description="The claim that contains the tenant; a.b is b within a.")
    oidc_scopes_claim: str = Field(
        "scope", description="The claim with the scopes: a list, or separated by spaces."
    )
    oidc_masks_claim: str = Field("masks", description="The claim with the fields that stay hidden, if any.")
    oidc_purpose_claim: str = Field(
        "purpose", description="The claim with the purpose that the caller is bound to, if any."
    )
    tls_cert_file: str | None = Field(
        None, description="PEM file with the services' certificate. With it their APIs use TLS."
    )
    tls_key_file: str | None = Field(None, description="PEM file with the certificate's private key.")
    tls_client_ca_file: str | None = Field(
        None,
        description="PEM file of the authority that signs client certificates. Clients without one are refused.",
    )

    host: str = Field("127.0.0.1", description="Address that a service's HTTP API listens on.")
    ingest_port: int = Field(8701, ge=0, le=65535, description="Port of the ingest API.")
    relations_port: int = Field(8702, ge=0, le=65535, description="Port of the relations API.")
    analytics_port: int = Field(8703, ge=0, le=65535, description="Port of the analytics API.")
    privacy_port: int = Field(8704, ge=0, le=65535, description="Port of the privacy API.")
    exports_port: int = Field(8705, ge=0, le=65535, description="Port of the exports API.")
    intelligence_port: int = Field(8706, ge=0, le=65535, description="Port of the intelligence API.")
    webhooks_port: int = Field(8707, ge=0, le=65535, description="Port of the webhooks API.")
    apps_port: int = Field(8708, ge=0, le=65535, description="Port of the apps API.")
    apps_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#]+/?$",
        description="Public address of the apps API, such as https://apps.kith.example: the issuer of access"
        " tokens. Default: KITH_APPS_PORT of KITH_HOST.",
    )
    cassandra_port: int = Field(8710, ge=0, le=65535, description="Port of the Cassandra sink.")
    webhook_allow: tuple[str, ...] = Field(
        (),
        description="Networks that webhooks may be sent to although they are not public, such as"
        ' ["10.1.0.0/16"] (JSON). Plain HTTP and any port are allowed there.',
    )
    postgres: SecretStr | None = Field(
        None, description="Postgres that `kith postgres` writes into: postgresql://USER:PASSWORD@HOST/DATABASE."
    )
    postgres_file: str | None = Field(None, description="File with KITH_POSTGRES, instead of it.")
    postgres_schema: str = Field(
        "kith", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="Schema of its tables in Postgres."
    )
    postgres_port: int = Field(
        8711, ge=0, le=65535, description="Port of the Postgres sink's API (health, metrics)."
    )
    rabbitmq_port: int = Field(8709, ge=0, le=65535, description="Port of the bridge to RabbitMQ.")
    amqp: SecretStr | None = Field(
        None, description="RabbitMQ's address, amqp:// or amqps://, with user, password and virtual host."
    )
    amqp_file: str | None = Field(None, description="File with KITH_AMQP, instead of it.")
    rabbitmq_queues: Annotated[
        dict[QueueName, Annotated[str, Field(pattern=r"^(\*|[a-z0-9][a-z0-9_-]{0,62})$")]],
        NoDecode,
        BeforeValidator(_json_or_nothing),
    ] = Field(
        {},
        description="Queues of events, and the tenant of each (JSON). Events of another tenant are rejected."
        " With * each event states its own.",
    )
    rabbitmq_prefetch: int = Field(
        2000, ge=1, le=65_535, description="Messages of a queue that the bridge holds without acknowledgement."
    )
    rabbitmq_out: Literal["on", "off"] = Field("on", description="Whether changes go out to RabbitMQ.")
    rabbitmq_exchange: QueueName = Field("kith", description="The topic exchange that gets the changes.")
    rabbitmq_declare: Literal["on", "off"] = Field(
        "on", description="`on`: the bridge creates queues and exchanges. `off`: it checks that they are there."
    )
    exports_url: str | None = Field(
        None,
        description="Public address of the exports API, such as https://kith.example. Links of the OData feed"
        " begin with it, and are relative without it.",
    )
    exports_analytics: str | None = Field(
        None,
        description="Address of the analytics API for measures in exports: host:port or URL. Default: this host.",
    )
    exports_relations: str | None = Field(
        None,
        description="Address of the relations API for measures in exports: host:port or URL. Default: this host.",
    )
    intelligence_purpose: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]] = Field(
        {},
        description="Purpose of consent by tenant, * for all others (JSON). The graph of such a tenant has only"
        " consumers who have granted it; by default it has all.",
    )
    intelligence_job_seconds: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="Seconds between two runs of the job that finds communities and PageRank of a tenant.",
    )
    intelligence_max_edges: int = Field(
        50_000_000,
        ge=1,
        description="Most relationships that a process of intelligence holds in memory, of 64 bytes each; what"
        " tenants have besides counts in the same unit. Beyond it, the largest tenant's are let go, and its"
        " questions are refused (503) until the process starts again.",
    )
    outcomes_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Part of the recommended lists whose outcome is recorded, from 0 (none) to 1 (all).",
    )
    outcomes_days: float = Field(
        30.0, gt=0, le=3_650, description="Days after a list was shown in which a relation counts as its outcome."
    )
    outcomes_keep_days: float = Field(
        180.0,
        ge=0,
        le=3_650,
        description="Days after that in which the list is kept: for so long, late events count.",
    )
    outcomes_purpose: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]] = Field(
        {},
        description="Purpose of consent that the recording of a list needs besides that of"
        " KITH_INTELLIGENCE_PURPOSE, by tenant, * for all others (JSON).",
    )
    dashboard_origins: tuple[str, ...] = Field(
        (),
        description="Origins of dashboards that may call the relations, intelligence and webhooks APIs from a"
        " browser (JSON).",
    )
    relations_url: str | None = Field(
        None,
        description="Public address of the relations API, where the dashboard asks it from a browser. Default:"
        " KITH_RELATIONS_PORT of KITH_HOST, or of 127.0.0.1 where that is every address.",
    )
    intelligence_url: str | None = Field(
        None,
        description="Public address of the intelligence API, as KITH_RELATIONS_URL. Default:"
        " KITH_INTELLIGENCE_PORT of KITH_HOST, or of 127.0.0.1 where that is every address.",
    )
    webhooks_url: str | None = Field(
        None,
        description="Public address of the webhooks API, where the dashboard and the developer portal ask it from"
        " a browser. Default as that of KITH_RELATIONS_URL, with KITH_WEBHOOKS_PORT.",
    )
    max_future_seconds: int = Field(
        86_400,
        ge=0,
        le=10**10,
        description="Events dated more than this many seconds after their arrival are rejected.",
    )
    publish_timeout_ms: int = Field(
        10_000,
        ge=100,
        description="Milliseconds after which a publication without the brokers' acknowledgement has failed.",
    )
    cache: Literal["lru", "lfu", "ttl", "off"] = Field("lru", description="Eviction policy of the query cache.")
    cache_entries: int = Field(10_000, ge=1, description="Size of the query cache, in documents.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level of log lines."
    )


Needed = Literal["kafka", "mongo", "master_key", "cassandra"]
_NEEDED: dict[Needed, tuple[str, str]] = {
    "kafka": ("KITH_KAFKA", "Kafka's address"),
    "mongo": ("KITH_MONGO", "MongoDB's address"),
    "cassandra": ("KITH_CASSANDRA", "Cassandra's address"),
    "master_key": ("KITH_MASTER_KEY_FILE", "the file of the master keys for personal data"),
}
#: What the user can do about missing settings. A command that has looked for a running stack is more specific.
ADVICE: ContextVar[str] = ContextVar("advice", default="Export what is missing, or start a stack with `kith up`.")


def require(settings: Settings, *needed: Needed) -> None:
    """Raise ConfigurationError that names all missing settings of ``needed``, and what to do about it."""
    there = {
        "kafka": settings.kafka is not None,
        "mongo": settings.mongo is not None,
        "cassandra": settings.cassandra is not None,
        "master_key": settings.encryption == "off"
        or settings.master_key_file is not None
        or settings.master_key is not None,
    }
    missing = [_NEEDED[name] for name in needed if not there[name]]
    if missing:
        *others, last = [variable for variable, _ in missing]
        names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        what = "; ".join(meaning for _, meaning in missing)
        raise ConfigurationError(f"{names} not set ({what}). {ADVICE.get()}")


def for_browsers(settings: Settings, url: str | None, port: int) -> str:
    """The address of an API for browsers: ``url``, if it is set, else ``port`` of the host. From the settings
    alone, because what a request says of the host can be forged."""
    if url is not None:
        return url
    host = "127.0.0.1" if settings.host in ("", "0.0.0.0", "::") else settings.host
    scheme = "http" if settings.tls_cert_file is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def urls_for_browsers(settings: Settings, services: Iterable[str]) -> dict[str, str]:
    """The addresses of the APIs of these services for browsers: KITH_NAME_URL, else KITH_NAME_PORT of the host."""
    return {
        name: for_browsers(settings, getattr(settings, f"{name}_url"), getattr(settings, f"{name}_port"))
        for name in services
    }


def portal_origins(settings: Settings) -> tuple[str, ...]:
    """The origins of the developer portal, which the apps service serves. Where that is known by a number of this
    machine, people call it localhost, too."""
    url = for_browsers(settings, settings.apps_url, settings.apps_port).rstrip("/")
    named = url.replace("//127.0.0.1", "//localhost").replace("//[::1]", "//localhost")
    return tuple(dict.fromkeys((url, named)))


def mongo_of(settings: Settings) -> str:
    """MongoDB's address, for a command. Raises ConfigurationError."""
    require(settings, "mongo")
    assert settings.mongo is not None
    return settings.mongo


def servers_of(settings: Settings) -> tuple[str, str]:
    """The addresses of Kafka and of MongoDB. Raises ConfigurationError."""
    require(settings, "kafka", "mongo")
    assert settings.kafka is not None
    assert settings.mongo is not None
    return settings.kafka, settings.mongo


def postgres_of(settings: Settings) -> str:
    """The address of Postgres. Raises ConfigurationError."""
    if settings.postgres is None:
        raise ConfigurationError("KITH_POSTGRES is not set; set it to postgresql://USER:PASSWORD@HOST/DATABASE")
    return settings.postgres.get_secret_value()


def cassandra_of(settings: Settings) -> str:
    """Cassandra's address. Raises ConfigurationError."""
    require(settings, "cassandra")
    assert settings.cassandra is not None
    return settings.cassandra.get_secret_value()
