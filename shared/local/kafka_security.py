"""The properties of a broker that asks its clients who they are. Without TLS: it listens on this machine only."""

SCRAM, PLAIN = "SCRAM-SHA-512", "PLAIN"
Login = tuple[str, str]


def with_acls(broker: str, controller: str, login: Login) -> dict[str, str]:
    """Users are in Kafka (SCRAM), and may do what ACLs allow, which is nothing at first. ``login`` is the
    administrator."""
    return {
        **_broker(broker, controller, SCRAM),
        "listener.security.protocol.map": "SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        f"listener.name.sasl.{SCRAM.lower()}.sasl.jaas.config": _jaas("scram.Scram", login),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # The controller talks to itself, on a listener that no client is told of.
        "super.users": f"User:{login[0]};User:ANONYMOUS",
    }


def with_one_user(broker: str, controller: str, login: Login) -> dict[str, str]:
    """One user may do everything, and nobody else anything, on the controller's listener neither. The password is
    in these properties alone (PLAIN), so that each start can have its own, on any data."""
    name, password = login
    jaas = _jaas("plain.Plain", login, f'user_{name}="{password}"')
    return {
        **_broker(broker, controller, PLAIN),
        "listener.security.protocol.map": "SASL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "sasl.mechanism.controller.protocol": PLAIN,
        "listener.name.controller.sasl.enabled.mechanisms": PLAIN,
        "listener.name.sasl.plain.sasl.jaas.config": jaas,
        "listener.name.controller.plain.sasl.jaas.config": jaas,
    }


def client(mechanism: str, login: Login | None) -> dict[str, str]:
    """A client's options (kafka-python's) to come as a user; nobody in particular where there is none."""
    if login is None:
        return {}
    name, password = login
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": name,
        "sasl_plain_password": password,
    }


def _broker(broker: str, controller: str, mechanism: str) -> dict[str, str]:
    return {
        "listeners": f"SASL://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"SASL://{broker}",
        "inter.broker.listener.name": "SASL",
        "sasl.enabled.mechanisms": mechanism,
        "sasl.mechanism.inter.broker.protocol": mechanism,
    }


def _jaas(module: str, login: Login, more: str = "") -> str:
    name, password = login
    line = f'org.apache.kafka.common.security.{module}LoginModule required username="{name}" password="{password}"'
    return " ".join(part for part in (line, more) if part) + ";"
