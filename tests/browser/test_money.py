"""Money on the page: major units with the digits of ISO 4217, whatever the browser's locale data says of them."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.site import Site, rows
from tests.support.builders import event

#: Minor units: HUF has two digits in ISO 4217 (none in CLDR), JPY none, BHD three.
SALES = [
    ("u1", "HUF", 362_260),
    ("u1", "HUF", 100_050),
    ("u2", "JPY", 12_345),
    ("u3", "BHD", 1_234_567),
    ("u3", "BHD", -567),
]
SHOWN = {"HUF": "HUF 4,623.10", "JPY": "¥12,345", "BHD": "BHD 1,234.000"}
MINOR = {"HUF": 462_310, "JPY": 12_345, "BHD": 1_234_000}
#: What is beyond the left edge of a chart, of the texts beside its axis.
CUT = """svg => [...svg.querySelectorAll('text[text-anchor=end]')].filter(one =>
    one.getBoundingClientRect().left < svg.getBoundingClientRect().left).map(one => one.textContent)"""


@pytest.fixture(scope="module")
def tills(site: Site) -> Site:
    """The market, and the tenant ``tills`` with three other currencies, for both services."""
    site.add(
        *(
            event(
                "relation.recorded",
                f"till-{number}",
                f"2026-11-{10 + number}T10:00:00Z",
                {
                    "relation_id": f"till-{number}",
                    "consumer_id": consumer,
                    "provider_id": "p1",
                    "kind": "purchase" if amount > 0 else "refund",
                    "amount": amount,
                    "currency": currency,
                },
                tenant="tills",
            )
            for number, (consumer, currency, amount) in enumerate(SALES)
        )
    )
    database = site.world.database
    for name in site.scratch.list_collection_names():
        if found := list(site.scratch[name].find({"tenant": "tills"})):
            database[name].insert_many(found)
    return site


def plain(text: str | None) -> str:
    return (text or "").replace("\xa0", " ")


def test_each_currency_has_its_own_digits_everywhere(page: Page, tills: Site) -> None:
    page.goto(tills.page(tenant="tills"))
    for currency, text in SHOWN.items():
        tile = page.locator(f"#tile-amount-{currency}")
        expect(tile.locator("data")).to_have_attribute("value", str(MINOR[currency]))
        assert plain(tile.locator("data").text_content()) == text
        expect(tile.locator("dt")).to_have_text(f"Money, {currency}")
    texts = page.locator("#series-data tbody td").evaluate_all("all => all.map(one => one.textContent)")
    assert {"HUF 3,622.60", "HUF 1,000.50", "¥12,345", "BHD 1,234.567", "-BHD 0.567"} <= set(map(plain, texts))

    # Kinds of customers: one currency counts, the largest in major units first, and each can be chosen.
    expect(page.locator("#segments table")).to_contain_text("Money, JPY")
    for currency, text in SHOWN.items():
        page.locator("#rfm select").select_option(currency)
        expect(page.locator("#segments table")).to_contain_text(f"Money, {currency}")
        [row] = rows(page.locator("#segments"))
        assert row[5] == str(MINOR[currency])
        assert plain(page.locator("#segments tbody td").last.text_content()) == text

    page.goto(tills.page("map", tenant="tills"))
    expect(page.locator("#places table")).to_be_visible()
    heads = page.locator("#places thead th").all_inner_texts()
    cells = [plain(text) for text in page.locator("#places tbody tr").locator("th, td").all_inner_texts()]
    assert dict(zip(heads, cells, strict=True)) | {f"Money, {c}": t for c, t in SHOWN.items()} == dict(
        zip(heads, cells, strict=True)
    )

    page.goto(tills.page("relationships", tenant="tills", consumer="u3"))
    expect(page.locator("#why")).to_contain_text(re.compile(r"worth BHD.1,234\.000"))


@pytest.mark.parametrize("width", [380, 1280])
def test_the_texts_beside_an_axis_are_whole(page: Page, tills: Site, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for tenant, signs in (
        ("tills", {"HUF": "HUF", "JPY": "¥", "BHD": "BHD"}),
        ("default", {"EUR": "€", "USD": "$"}),
    ):
        page.goto(tills.page(tenant=tenant))
        page.locator("#series button[data-value=amount]").click()
        chart = page.locator("#series svg[tabindex]")
        for currency, sign in signs.items():
            page.locator("#series select").select_option(currency)
            expect(page.locator("#series .legend")).to_contain_text(f"money, {currency}")
            texts = chart.locator("text[text-anchor=end]").all_text_contents()
            assert len([text for text in texts if sign in text]) > 2
            assert chart.evaluate(CUT) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_sums_beyond_the_floats_keep_their_last_digit(page: Page, site: Site) -> None:
    """2^53 + 1 minor units are no number of JavaScript's; days that each have one add up beyond it, too."""
    big = 2**53 + 1
    days: list[dict[str, Any]] = [
        {"day": day, "count": 1, "consumers": 1, "amount": {"EUR": amount}, "rating_count": 0, "rating_sum": 0}
        for day, amount in (("2026-11-02", 2**53 - 1), ("2026-11-03", 2), ("2025-11-04", big), ("2025-11-05", -1))
    ]
    total: dict[str, Any] = {"count": 4, "amount": {"EUR": 2**54 + 1}, "rating_count": 0, "rating_sum": 0}
    figures: dict[str, Any] = {"first": "2025-11-01", "last": "2026-11-21", "total": total, "kinds": ["purchase"]}
    figures["days"] = sorted(days, key=lambda day: str(day["day"]))
    body = f"event: figures\ndata: {json.dumps(figures)}\n\n"
    page.route(
        re.compile("/v1/live"),
        lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body),
    )
    page.goto(f"{site.url}/dashboard/?view=overview&from=2025-11-01&to=2026-11-21")
    expect(page.locator("#tile-amount-EUR data")).to_have_attribute("value", str(2**54 + 1))
    expect(page.locator("#series-title")).to_have_text("Week by week")
    weeks = {row[0][:10]: row[5] for row in rows(page.locator("#series-data")) if row[5] != "0"}
    assert weeks == {"2025-11-03": str(2**53), "2026-11-02": str(2**53 + 1)}
    texts = page.locator("#series-data tbody td").evaluate_all("all => all.map(one => one.textContent)")
    assert {"€90,071,992,547,409.92", "€90,071,992,547,409.93"} <= set(texts)
    page.locator("#series button[data-value=amount]").click()
    expect(page.locator("#series path.s0")).to_have_count(1)
