"""What may be done with an application, and what is refused with the reason."""

from datetime import timedelta

import pytest

from services.apps.registry import MOST_APPS, MOST_REVOKED, SECRET_DAYS, Changed, NotPossible
from shared.access.apps.model import Limits, app_of_registration_token, is_app_id, is_registration_token, secret_of
from tests.support.apps import Platform, new_app


@pytest.fixture
def platform() -> Platform:
    return Platform()


def test_a_new_application_waits_and_has_a_secret_that_is_shown_once(platform: Platform) -> None:
    made = platform.registered("relations:read")
    assert is_app_id(made.app.id)
    assert (made.app.state, made.app.scopes) == ("pending", ())
    assert made.app.purpose == made.app.id
    assert platform.registry.client(made.app.id, made.secret_text) == (made.app, made.secret)
    assert app_of_registration_token(made.registration_token) == made.app.id
    assert is_registration_token(made.app, made.registration_token)
    assert made.secret_text.rpartition("_")[2] not in repr(made)
    assert made.registration_token not in repr(made)


@pytest.mark.parametrize("cut", [slice(0, -1), slice(1, None), slice(0, 6)])
def test_a_part_of_a_secret_opens_nothing(platform: Platform, cut: slice) -> None:
    made = platform.registered()
    assert platform.registry.client(made.app.id, made.secret_text[cut]) is None
    assert platform.registry.client(made.app.id, made.secret_text + "A") is None
    assert platform.registry.client("app_" + "a" * 16, made.secret_text) is None


def test_one_tenant_does_not_find_the_applications_of_another(platform: Platform) -> None:
    made = platform.registered(tenant="other")
    assert platform.registry.find("acme", made.app.id) is None
    assert platform.registry.find("other", made.app.id) == made.app


def test_a_tenant_grants_no_more_than_was_requested(platform: Platform) -> None:
    app = platform.registered("consumers:read", "relations:read").app
    with pytest.raises(NotPossible, match="does not request events:write"):
        platform.registry.approve(app, ["events:write"])
    with pytest.raises(NotPossible, match="without a scope"):
        platform.registry.approve(app, [])
    with pytest.raises(NotPossible, match="cannot have admin"):
        platform.registry.approve(app, ["admin"])
    with pytest.raises(NotPossible, match="not a rate"):
        platform.registry.approve(app, limits=Limits("often"))
    with pytest.raises(NotPossible, match="not a field"):
        platform.registry.approve(app, masks=["shoe_size"])
    granted = platform.registry.approve(app, ["relations:read"], Limits("3/second", 5, 2), ["amount"])
    assert (granted.state, granted.scopes, granted.masks) == ("approved", ("relations:read",), ("amount",))
    again = platform.registry.approve(granted, None)
    assert again.scopes == ("relations:read",), "what else is requested is not granted by the way"
    assert (again.limits, again.masks) == (granted.limits, ("amount",))


def test_what_is_not_requested_any_more_is_not_granted_either(platform: Platform) -> None:
    app = platform.approved("consumers:read", "relations:read").app
    after = platform.registry.change(app, app.next(requested=("analytics:read", "relations:read")))
    assert after.scopes == ("relations:read",)
    assert after.state == "approved"


def test_the_name_that_was_agreed_to_is_changed_by_the_tenant_only(platform: Platform) -> None:
    pending = platform.registered().app
    renamed = platform.registry.change(pending, pending.next(name="Bonus 2"))
    app = platform.registry.approve(renamed)
    with pytest.raises(NotPossible, match="only the tenant"):
        platform.registry.change(app, app.next(name="Your bank"))
    assert platform.registry.approve(app, name="Bonus 3").name == "Bonus 3"


def test_two_secrets_are_valid_at_once_each_until_its_end(platform: Platform) -> None:
    registry, made = platform.registry, platform.approved()
    app, second, text = registry.add_secret(made.app, days=30, others_end=timedelta(hours=1))
    with pytest.raises(NotPossible, match="2 valid secrets"):
        registry.add_secret(app)
    for valid in (made.secret_text, text):
        assert registry.client(app.id, valid) is not None
    platform.clock.turn(hours=1)
    assert registry.client(app.id, made.secret_text) is None
    assert registry.client(app.id, text) == (app, second)
    third, _, _ = registry.add_secret(app)
    assert len(third.valid_secrets(platform.clock.now)) == 2
    platform.clock.turn(days=SECRET_DAYS)
    assert third.valid_secrets(platform.clock.now) == ()


def test_a_removed_secret_is_none_at_once(platform: Platform) -> None:
    made = platform.approved()
    after = platform.registry.remove_secret(made.app, made.secret.id)
    assert secret_of(after, made.secret_text, platform.clock.now) is None
    with pytest.raises(NotPossible, match="no valid secret"):
        platform.registry.remove_secret(after, made.secret.id)


def test_revoked_tokens_are_kept_until_they_end_and_no_longer(platform: Platform) -> None:
    registry, app = platform.registry, platform.approved().app
    ends = platform.clock.now + timedelta(minutes=10)
    app = registry.revoke_token(app, "j1", ends)
    assert registry.revoke_token(app, "j1", ends) == app
    platform.clock.turn(minutes=10)
    assert registry.revoke_token(app, "j2", ends) == app, "it has ended"
    app = registry.revoke_token(app, "j3", ends + timedelta(minutes=10))
    assert [each.jti for each in app.revoked] == ["j3"]
    for n in range(1, MOST_REVOKED):
        app = registry.revoke_token(app, f"k{n}", ends + timedelta(minutes=10))
    with pytest.raises(NotPossible, match="1000 tokens"):
        registry.revoke_token(app, "one more", ends + timedelta(minutes=10))


def test_whoever_changes_an_older_state_is_told(platform: Platform) -> None:
    app = platform.registered().app
    platform.registry.approve(app)
    for act in (lambda: platform.registry.suspend(app, None), lambda: platform.registry.delete(app)):
        with pytest.raises(Changed):
            act()


def test_a_tenant_has_a_bounded_number_of_applications(platform: Platform) -> None:
    for _ in range(MOST_APPS):
        platform.registry.register(new_app())
    with pytest.raises(NotPossible, match=f"{MOST_APPS} applications"):
        platform.registry.register(new_app())
    platform.registered(tenant="other")
