"""Problems that the sender of a request can mend: 4xx. Pure."""

from shared.http.problems.kind import ProblemType

BAD_REQUEST = ProblemType(
    "bad-request",
    400,
    "The request is not understood",
    "The body, a header or the combination of parameters is not one that this route takes. `detail` names the "
    "part, and `errors`, where it is there, each field. Nothing was done.",
    "Correct the part that `detail` names and send the request again. The same request gets the same answer.",
)
UNAUTHENTICATED = ProblemType(
    "unauthenticated",
    401,
    "The credential is missing or not valid",
    "The request has no header `Authorization: Bearer …`, or the API key or token in it is unknown, revoked, "
    "expired or not of a trusted issuer. The header `WWW-Authenticate` says which.",
    "Send `Authorization: Bearer` with a valid API key or token. `kith keys api list` shows the keys that "
    "exist; `kith keys api create` makes one. `make up` and `make demo` print theirs.",
)
FORBIDDEN = ProblemType(
    "forbidden",
    403,
    "The credential does not allow this request",
    "The credential is valid, but it does not allow this request. `detail` names the reason.",
    "Use a credential that allows it, or ask its issuer to change its claims.",
)
MISSING_SCOPE = ProblemType(
    "missing-scope",
    403,
    "The credential lacks a scope",
    "The route needs a scope that the credential does not have. `detail` and the header `WWW-Authenticate` "
    "name the scope.",
    "Use a credential with that scope: `kith keys api create --scope NAME` makes one. No scope contains another.",
)
WRONG_TENANT = ProblemType(
    "wrong-tenant",
    403,
    "The credential is for another tenant",
    "The header `Kith-Tenant` names a tenant that is not the credential's.",
    "Leave the header out, or use a credential of that tenant.",
)
HIDDEN_FIELD = ProblemType(
    "hidden-field",
    403,
    "The answer would reveal a hidden field",
    "A mask hides a field from this credential, and the request searches, filters or orders by that field, or "
    "its answer cannot be masked. The answer would reveal the value.",
    "Leave out the parameter that `detail` names, or use a credential without that mask.",
)
PURPOSE_NOT_GRANTED = ProblemType(
    "purpose-not-granted",
    403,
    "The consumer has not granted the purpose",
    "The request names a `purpose`, and the consumer has not consented to it.",
    "Do not use the consumer's data for that purpose. Consent is set by an event `consumer.upserted`.",
)
PURPOSE_BOUND = ProblemType(
    "purpose-bound",
    403,
    "The credential is bound to a purpose",
    "The credential is bound to a purpose: for it, only consumers who have granted that purpose exist. The "
    "request names another purpose, or its answer cannot leave out all others: a sum over all consumers cannot.",
    "Leave out the parameter `purpose`, and choose requests about consumers. What is about everybody needs "
    "a credential without a purpose.",
)
NOT_FOUND = ProblemType(
    "not-found",
    404,
    "Nothing is stored under this id",
    "The route exists, but nothing is stored under the id in its path, at least not for this tenant.",
    "Check the id (a slash in it is written `%2F`) and the tenant. An event that was accepted a moment ago is "
    "stored within milliseconds; `kith explain EVENT_ID` shows where it is.",
)
NO_SUCH_PATH = ProblemType(
    "no-such-path",
    404,
    "There is no such path",
    "The service has no route of this path. Another service may have it.",
    "Look at the paths in `/docs` or `/openapi.json` of the service.",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    405,
    "The path does not take this method",
    "The path exists, but not with this HTTP method. The header `Allow` lists those that it takes.",
    "Use a method of the header `Allow`; `/docs` of the service describes them.",
)
REQUEST_TIMEOUT = ProblemType(
    "request-timeout",
    408,
    "The request did not arrive in time",
    "The sender took too long to send the head or the body. Nothing was accepted.",
    "Send the request again, with fewer events if the connection is slow. Sending an event twice is safe.",
)
CONFLICT = ProblemType(
    "conflict",
    409,
    "The request contradicts what is stored",
    "What is stored does not allow this request. `detail` names the reason.",
    "Read what is stored, then decide. The same request gets the same answer until that changes.",
)
CONSUMER_ERASED = ProblemType(
    "consumer-erased",
    409,
    "The consumer is erased",
    "The consumer was erased. Nothing about them is stored or taken any more.",
    "There is nothing to correct. A person who comes back gets a new consumer id.",
)
PSEUDONYM = ProblemType(
    "pseudonym",
    409,
    "The id is a pseudonym",
    "The id stands for a consumer who was erased with `mode=anonymise`. A pseudonym is not erased by itself.",
    "Erase the consumer that the pseudonym stands for, with `mode=delete`.",
)
NOT_ENCRYPTED = ProblemType(
    "not-encrypted",
    409,
    "Personal data is not encrypted here",
    "The search by e-mail address or phone number uses a blind index, which exists only where personal data "
    "is encrypted. This installation runs with `KITH_ENCRYPTION=off`.",
    "Find the consumer by `consumer_id`, or run Kith with encryption.",
)
MOMENT_PASSED = ProblemType(
    "moment-passed",
    410,
    "The moment of the export is no longer available",
    "MongoDB keeps the past for a limited time (300 seconds by default), and the moment that the request or "
    "its cursor names is older.",
    "Start the export again. For exports that take longer, raise MongoDB's `minSnapshotHistoryWindowInSeconds`.",
)
TOO_LARGE = ProblemType(
    "too-large",
    413,
    "The request is too large",
    "The body has more bytes or more events than a request may have. `detail` states the limit. Nothing was "
    "accepted.",
    "Send smaller batches: at most 1 MiB and 2,500 events in a request, and 32 KiB in an event.",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type",
    415,
    "The content type is not accepted",
    "The content type, charset or content encoding of the body is not one that the route takes. `detail` and "
    "the headers `Accept-Post` or `Accept-Encoding` list those.",
    "Send `application/json`, `application/cloudevents+json` or `application/cloudevents-batch+json`, in "
    "UTF-8, plain or gzip.",
)
INVALID_PARAMETERS = ProblemType(
    "invalid-parameters",
    422,
    "A parameter is missing, unknown or not of its form",
    "A parameter of the path, query or header, or a member of the body, is missing, unknown, given twice, or "
    "has a value that is not of its form. `errors` names each (`field`) with its fault (`detail`).",
    "Correct the fields that `errors` names. `/docs` of the service lists every parameter with its form.",
)
RATE_LIMITED = ProblemType(
    "rate-limited",
    429,
    "The rate limit is used up",
    "The credential, or its tenant with all of its credentials, has sent as many requests, events or erasures as "
    "it may in this period. `detail` names which. The headers `RateLimit-Limit`, `RateLimit-Remaining` and "
    "`RateLimit-Reset` state the quota of requests. Nothing was done.",
    "Wait for the seconds of the header `Retry-After`. An operator sets the limits with `KITH_RATE_LIMIT`, "
    "`KITH_EVENT_LIMIT`, `KITH_ERASURE_LIMIT` and those of tenants, or of one key with "
    "`kith keys api create --limit`.",
)
SHARE_USED_UP = ProblemType(
    "share-used-up",
    429,
    "The credential or its tenant does too much at the same time",
    "What all tenants share in a process (threads, memory for bodies, exports, streams, connections) is bounded "
    "per credential and per tenant. This credential, or its tenant, has as much in progress as it may. `detail` "
    "names what. Other tenants are not affected. Nothing was done.",
    "Let some of the requests in progress end, and send this one again after the seconds of the header "
    "`Retry-After`. An operator finds the settings in the page on limits.",
)
HEAD_TOO_LARGE = ProblemType(
    "head-too-large",
    431,
    "The head of the request is too large",
    "The address and the headers have more bytes, lines or parameters than a service takes: `detail` says which.",
    "Send fewer or shorter headers and parameters. A long list belongs into several requests.",
)
