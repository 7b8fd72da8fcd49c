"""BG/NBD and Gamma-Gamma against published results, simulations and numerical integration.

tests/data/cdnow.csv is the 1/10 sample of CDNOW's first-quarter cohort (B. Hardie, brucehardie.com), one line per
customer: repeat orders, weeks until the last, weeks observed, mean repeat order in dollars. Copied from the
package lifetimes 0.11.3 (MIT).
"""

import csv

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import hyp2f1
from scipy.stats import beta, gamma

from services.relations.measures import gamma_gamma
from services.relations.measures.gamma_gamma import GammaGamma
from shared.measures import bgnbd
from shared.measures.bgnbd import BgNbd, History
from tests.support.paths import DATA

PUBLISHED = BgNbd(0.243, 4.414, 0.793, 2.426)


Array = NDArray[np.float64]


def array(*values: float) -> Array:
    return np.asarray(values, dtype=np.float64)


@pytest.fixture(scope="module")
def cdnow() -> dict[str, Array]:
    with (DATA / "cdnow.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2357
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def test_bg_nbd_gives_the_published_parameters(cdnow: dict[str, Array]) -> None:
    x, t_x, t = cdnow["x"], cdnow["t_x"], cdnow["T"]
    found = bgnbd.fit(History(x, t_x, t, np.ones_like(x)))
    assert found.settled
    assert [round(value, 3) for value in (found.r, found.a, found.b)] == [0.243, 0.793, 2.426]
    assert found.alpha == pytest.approx(4.414, abs=0.001)
    assert found.log_likelihood == pytest.approx(-9582.4, abs=0.05)


def test_equal_histories_may_be_given_once(cdnow: dict[str, Array]) -> None:
    x, t_x, t = cdnow["x"], cdnow["t_x"], cdnow["T"]
    rows, numbers = np.unique(np.stack([x, t_x, t], axis=1), axis=0, return_counts=True)
    together = bgnbd.fit(History(rows[:, 0], rows[:, 1], rows[:, 2], numbers.astype(np.float64)))
    apart = bgnbd.fit(History(x, t_x, t, np.ones_like(x)))
    assert (together.r, together.alpha, together.a, together.b) == pytest.approx(
        (apart.r, apart.alpha, apart.a, apart.b), rel=1e-3
    )
    assert together.log_likelihood == pytest.approx(apart.log_likelihood, abs=1e-3)


def test_the_unit_of_time_does_not_matter(cdnow: dict[str, Array]) -> None:
    x, t_x, t = cdnow["x"], cdnow["t_x"] * 7, cdnow["T"] * 7
    days = bgnbd.fit(History(x, t_x, t, np.ones_like(x)))
    assert days.alpha == pytest.approx(7 * 4.414, rel=1e-3)
    assert (days.r, days.a, days.b) == pytest.approx((0.243, 0.793, 2.426), abs=0.001)


def test_gamma_gamma_gives_the_published_parameters(cdnow: dict[str, Array]) -> None:
    again = cdnow["x"] > 0
    found = gamma_gamma.fit(cdnow["x"][again], cdnow["mean"][again])
    assert found.settled
    assert (found.p, found.q, found.v) == pytest.approx((6.25, 3.74, 15.44), rel=2e-3)
    cents = gamma_gamma.fit(cdnow["x"][again], cdnow["mean"][again] * 100)
    assert (cents.p, cents.q, cents.v) == pytest.approx((found.p, found.q, 100 * found.v), rel=1e-3)


def test_the_published_examples() -> None:
    # Fader, Hardie, Lee: "Creating a fit histogram …", customer 0001: 1.226 orders in the next 39 weeks.
    one = array(2), array(30.43), array(38.86)
    assert PUBLISHED.expected(39, *one)[0] == pytest.approx(1.226, abs=5e-4)
    assert PUBLISHED.alive(*one)[0] == pytest.approx(0.7266, abs=5e-4)
    # As the documentation of the package lifetimes shows them: customers 3, 1 and 2.
    spend = GammaGamma(6.25, 3.74, 15.44)
    assert spend.expected(array(0, 2, 1), array(0, 22.35, 11.77)) == pytest.approx([35.17, 24.66, 18.91], abs=0.06)


HISTORIES = [(0, 0, 30), (1, 2, 38), (5, 29.5, 30), (12, 10, 50)]


@pytest.mark.parametrize(("x", "t_x", "t"), HISTORIES)
def test_expectations_are_those_of_the_story(x: int, t_x: float, t: float) -> None:
    """By Bayes, summed over a grid of λ and p: no closed form of the model is used."""
    r, alpha, a, b, ahead = 1.2, 6.0, 1.7, 3.1, 20.0
    middles = (np.arange(1_000) + 0.5) / 1_000
    rate = gamma.ppf(middles, r, scale=1 / alpha)[:, None]
    p = beta.ppf(middles, a, b)[None, :]
    there = (1 - p) ** x * rate**x * np.exp(-rate * t)
    left = p * (1 - p) ** (x - 1) * rate**x * np.exp(-rate * t_x) if x else np.zeros_like(there)
    # One who is there orders (1 − e^(−λpt)) / p times.
    orders = there * -np.expm1(-rate * p * ahead) / p
    model = BgNbd(r, alpha, a, b)
    history = array(x), array(t_x), array(t)
    assert model.alive(*history)[0] == pytest.approx(there.sum() / (there + left).sum(), rel=5e-3)
    assert model.expected(ahead, *history)[0] == pytest.approx(orders.sum() / (there + left).sum(), rel=5e-3)


@pytest.mark.parametrize(("x", "t_x", "t"), [*HISTORIES, (0, 0, 0), (40, 38, 38.86)])
@pytest.mark.parametrize("ahead", [1, 39, 520])
def test_quadrature_agrees_with_the_published_formula(x: int, t_x: float, t: float, ahead: float) -> None:
    """Equation 10, where the hypergeometric function is precise."""
    r, alpha, a, b = PUBLISHED.r, PUBLISHED.alpha, PUBLISHED.a, PUBLISHED.b
    function = hyp2f1(r + x, b + x, a + b + x - 1, ahead / (alpha + t + ahead))
    orders = (a + b + x - 1) / (a - 1) * (1 - ((alpha + t) / (alpha + t + ahead)) ** (r + x) * function)
    gone = a / (b + x - 1) * ((alpha + t) / (alpha + t_x)) ** (r + x) if x else 0
    found = PUBLISHED.expected(ahead, array(x), array(t_x), array(t))[0]
    assert found == pytest.approx(orders / (1 + gone), rel=1e-6)


def test_large_and_critical_numbers_stay_finite() -> None:
    history = array(0, 3_000, 500), array(0, 999, 1), array(1_000, 1_000, 1_000)
    for model in (PUBLISHED, BgNbd(0.5, 0.1, 1.0, 2.0), BgNbd(30, 1e3, 8, 1e-3), BgNbd(0.5, 2.5, 3e3, 5e3)):
        expected = model.expected(52, *history)
        assert np.all(np.isfinite(expected))
        assert np.all(expected >= 0)
        assert np.all((model.alive(*history) >= 0) & (model.alive(*history) <= 1))
    # The published formula divides by a − 1.
    near, at = (BgNbd(0.5, 4, a, 2).expected(52, array(2), array(9), array(10))[0] for a in (1 + 1e-4, 1))
    assert at == pytest.approx(near, rel=1e-3)


def test_where_consumers_hardly_differ_it_is_the_plain_process() -> None:
    """Everybody leaves with p = 1/3 and orders once in five weeks: geometric, and exponential in time."""
    model = BgNbd(1e5, 5e5, 1e6, 2e6)
    x, t = array(4), array(10)
    expected = -np.expm1(-52 / 5 / 3) * 3
    assert model.expected(52, x, t, t)[0] == pytest.approx(expected * model.alive(x, t, t)[0], rel=1e-4)


def test_a_simulated_market_gives_back_its_parameters() -> None:
    chance, n = np.random.default_rng(3), 6_000
    r, alpha, a, b = 0.8, 5.0, 0.9, 2.5
    rates, leaving = chance.gamma(r, 1 / alpha, n), chance.beta(a, b, n)
    x, t_x, t = np.zeros(n), np.zeros(n), chance.uniform(40, 80, n)
    for at in range(n):
        now = chance.exponential(1 / rates[at])
        while now < t[at]:
            x[at] += 1
            t_x[at] = now
            if chance.random() < leaving[at]:
                break
            now += chance.exponential(1 / rates[at])
    found = bgnbd.fit(History(x, t_x, t, np.ones(n)))
    assert (found.r, found.alpha) == pytest.approx((r, alpha), rel=0.1)
    assert found.a / (found.a + found.b) == pytest.approx(a / (a + b), rel=0.1)
    truth = bgnbd.log_likelihood(np.log([r, alpha, a, b]), History(x, t_x, t, np.ones(n)))
    assert found.log_likelihood >= truth

    p, q, v = 4.0, 5.0, 30.0
    scale = chance.gamma(q, 1 / v, n)
    orders = chance.integers(1, 12, n).astype(float)
    means = chance.gamma(p * orders, 1 / scale) / orders
    spend = gamma_gamma.fit(orders, means)
    assert p * v / (q - 1) == pytest.approx(spend.expected(array(0), array(0))[0], rel=0.05)
    assert (spend.p, spend.q) == pytest.approx((p, q), rel=0.1)
