"""The page at /docs: every service has it, it fetches from this service alone, and its files are there."""

import re

import pytest

from tests.support.builders import OPEN
from tests.support.routes import bare
from tests.unit.http.test_problems import get


@pytest.mark.parametrize("service", bare(OPEN))
def test_every_service_describes_its_api_without_internet(service: str) -> None:
    app = bare(OPEN)[service]
    [page] = get(app, "/docs")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "//" not in re.sub(r"<!doctype[^>]*>", "", page.text)
    needed = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert len(needed) == 4
    for answer in get(app, *needed):
        assert answer.status_code == 200
        assert len(answer.content) > 100
    [start] = get(app, "/docs/start.js")
    assert 'url: "/openapi.json"' in start.text
    assert start.headers["content-type"].startswith("text/javascript")


def test_what_the_browser_has_is_not_sent_again() -> None:
    app = bare(OPEN)["ingest"]
    [first] = get(app, "/docs/swagger-ui.css")
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["etag"]


def test_other_files_of_the_package_are_not_served() -> None:
    app = bare(OPEN)["ingest"]
    for answer in get(app, "/docs/main.py", "/docs/..%2fmain.py", "/docs/docs.html"):
        assert answer.status_code == 404
