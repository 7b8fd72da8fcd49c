"""The tables in Postgres, as migrations. Pure.

`{schema}` is the setting's name of the schema. A released migration is never changed: a new one is added.
"""

from collections.abc import Mapping, Sequence

from shared.contracts.collections import Collections
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.dead_letters import SPEC

#: What the worker uses in MongoDB, beside what it reads of relations.
COLLECTIONS: Collections = {DEAD_LETTERS: SPEC}

#: Types of the columns that are not text: of their values in parameters.
TYPES: Mapping[str, str] = {
    "time": "timestamptz",
    "first": "timestamptz",
    "last": "timestamptz",
    "amount": "bigint",
    "rating": "bigint",
    "count": "bigint",
    "rating_count": "bigint",
    "rating_sum": "bigint",
    "score": "double precision",
    "lat": "double precision",
    "lon": "double precision",
    "closed": "boolean",
    "traits": "jsonb",
    "consent": "jsonb",
    "categories": "jsonb",
    "amounts": "jsonb",
    "kinds": "jsonb",
}

_FIRST = """
CREATE TABLE {schema}.positions (
    position text PRIMARY KEY,
    claim text NOT NULL,
    next bigint,
    seen jsonb NOT NULL DEFAULT '{{}}',
    moved timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE {schema}.relations (
    tenant text NOT NULL,
    consumer_id text NOT NULL,
    relation_id text NOT NULL,
    provider_id text NOT NULL,
    kind text NOT NULL,
    time timestamptz NOT NULL,
    amount bigint,
    currency text,
    rating bigint,
    traits jsonb,
    PRIMARY KEY (tenant, consumer_id, relation_id)
);
CREATE INDEX ON {schema}.relations (tenant, provider_id, time);
CREATE INDEX ON {schema}.relations (tenant, time);
CREATE TABLE {schema}.relationships (
    tenant text NOT NULL,
    consumer_id text NOT NULL,
    provider_id text NOT NULL,
    count bigint NOT NULL,
    first timestamptz NOT NULL,
    last timestamptz NOT NULL,
    score double precision NOT NULL,
    rating_count bigint NOT NULL,
    rating_sum bigint NOT NULL,
    amounts jsonb NOT NULL,
    kinds jsonb,
    PRIMARY KEY (tenant, consumer_id, provider_id)
);
CREATE INDEX ON {schema}.relationships (tenant, provider_id, score DESC);
CREATE TABLE {schema}.consumers (
    tenant text NOT NULL,
    consumer_id text NOT NULL,
    country text,
    region text,
    traits jsonb,
    consent jsonb,
    PRIMARY KEY (tenant, consumer_id)
);
CREATE TABLE {schema}.providers (
    tenant text NOT NULL,
    provider_id text NOT NULL,
    name text,
    categories jsonb,
    closed boolean NOT NULL,
    country text,
    region text,
    city text,
    lat double precision,
    lon double precision,
    traits jsonb,
    PRIMARY KEY (tenant, provider_id)
);
CREATE VIEW {schema}.daily AS
    SELECT tenant, provider_id, kind, (time AT TIME ZONE 'UTC')::date AS day, currency,
           count(*) AS count, sum(amount) AS amount, count(rating) AS rating_count, sum(rating) AS rating_sum,
           count(DISTINCT consumer_id) AS consumers
    FROM {schema}.relations
    GROUP BY tenant, provider_id, kind, day, currency;
"""

#: In order; the version of a schema is how many have run.
MIGRATIONS: Sequence[str] = (_FIRST,)
