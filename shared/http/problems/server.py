"""Problems that an operator mends, or that are temporary: 5xx. Pure."""

from shared.http.problems.kind import ProblemType

INTERNAL_ERROR = ProblemType(
    "internal-error",
    500,
    "The service has a fault",
    "An unexpected error occurred in the service. Its log contains the traceback.",
    "Report it with the traceback from the log. Sending events again is safe.",
)
NOT_AVAILABLE_HERE = ProblemType(
    "not-available-here",
    501,
    "This installation cannot do that",
    "The request is right, but this process lacks a library or a key that it needs. `detail` names it.",
    "Install the extra that `detail` names, or give the service the key; or do it with the command `kith` "
    "where both exist.",
)
UNAVAILABLE = ProblemType(
    "unavailable",
    503,
    "A server that the request needs is unavailable",
    "Kafka, MongoDB, or Cassandra with `KITH_READS=cassandra`, does not answer, answers too slowly, or lacks "
    "tables, which `detail` then says. What was stored before stays as it is.",
    "Send the request again after the seconds of the header `Retry-After`. An operator finds the reason in "
    "`/health/ready` and `kith status`.",
)
QUERY_TOO_SLOW = ProblemType(
    "query-too-slow",
    503,
    "The query took too long",
    "MongoDB has ended the query at its time limit, so that one request does not take the server from all others.",
    "Ask for less at a time: a shorter period, one kind, category or provider, a filter on an id or a time, a "
    "smaller page; or export a file. If small queries end like this, the server is overloaded: retry after the "
    "seconds of the header `Retry-After`.",
)
COMPUTATION_ENDED = ProblemType(
    "computation-ended",
    503,
    "The computation was ended",
    "Measures are computed in processes of their own, with limits of time and memory. The one that computed this "
    "answer has reached a limit, or was ended by something else. `detail` states which.",
    "Ask for less at a time: a shorter period, one kind, category or provider. If small requests end like this, "
    "the machine is overloaded: retry after the seconds of the header `Retry-After`. An operator can raise "
    "`KITH_MEASURE_SECONDS` and `KITH_MEASURE_MEMORY_MIB`.",
)
NOT_READY = ProblemType(
    "not-ready",
    503,
    "The service is not ready",
    "The health check lists in `detail` why the service is not able to work: a server that does not answer, a "
    "missing topic, or a partition that makes no progress.",
    "Wait if the service has just started. Otherwise see the runbook: `KithRelationsNotReady` and "
    "`KithRelationsStuck`.",
)
CATCHING_UP = ProblemType(
    "catching-up",
    503,
    "The service is still checking erasures",
    "The service has started and compares its database with the ledger of erasures. Until that is done it "
    "does not answer requests for data, because a database that was restored may show consumers who are erased.",
    "Send the request again after the seconds of the header `Retry-After`. `detail` states what is left.",
)
NO_PROCESS = ProblemType(
    "no-process",
    503,
    "No process of the service can be reached",
    "The gateway answers this for the service: every process of it is stopped, or is just starting.",
    "Send the request again after the seconds of the header `Retry-After`. If it lasts, an operator looks which "
    "processes of the service run.",
)
TOO_BUSY = ProblemType(
    "too-busy",
    503,
    "The process is at its limit of concurrent work",
    "The process already handles as many requests, streams or exports as it accepts at the same time.",
    "Send the request again after the seconds of the header `Retry-After`. If it lasts, an operator starts "
    "more processes of the service.",
)
WORKERS_OUTDATED = ProblemType(
    "workers-outdated",
    503,
    "A running worker does not understand the event yet",
    "The request contains an event that uses a part of the event schema that a running relations worker does not "
    "know, because the worker is of an older version. Nothing was published.",
    "Upgrade the relations workers, then send the same request again. The page on upgrades gives the order.",
)
NOT_ACKNOWLEDGED = ProblemType(
    "not-acknowledged",
    503,
    "Kafka has not acknowledged every event",
    "Kafka cannot be reached, or has not acknowledged every event in time. `detail` states whether nothing was "
    "published or some events may be.",
    "Send all of the events again after the seconds of the header `Retry-After`. An event counts once, "
    "however often it is sent.",
)
KEYS_UNAVAILABLE = ProblemType(
    "keys-unavailable",
    503,
    "The encryption keys are unavailable",
    "The keys that personal data is encrypted under cannot be reached, and nothing is published in plain text.",
    "Send the events again after the seconds of the header `Retry-After`. Events without personal data are "
    "still taken.",
)
WRONG_MASTER_KEY = ProblemType(
    "wrong-master-key",
    503,
    "This service does not have the master key",
    "Personal data is encrypted under keys that are wrapped with a master key, and the service was started with "
    "another one. Nothing is lost. Waiting does not help, so there is no header `Retry-After`.",
    "Give the service the master key that `detail` names (`KITH_MASTER_KEY_FILE`, `KITH_MASTER_KEY`). "
    "A changed file is read without a restart. Then send the request again.",
)
NO_ROOM = ProblemType(
    "no-room",
    503,
    "The process has no room for the tenant's relationships",
    "The intelligence service holds relationships in memory, up to a number that its operator sets; providers, "
    "consents and kinds count with what they take. Beyond it, "
    "those of the largest tenant are let go. They stay stored, and other services answer. Waiting does not help, "
    "so there is no header `Retry-After`.",
    "An operator raises `KITH_INTELLIGENCE_MAX_EDGES` with the memory of the process, or gives the tenant a "
    "process of its own, and starts the process again.",
)
OTHER = ProblemType(
    "other",
    0,
    "Another server has refused the request",
    "A server behind this service, or a proxy between them, has answered with a status that Kith itself does "
    "not use. `status` and `detail` are that server's.",
    "Look at the log of the service that you asked, and of the proxy, if there is one.",
)
