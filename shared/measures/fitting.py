"""Maximum likelihood for a few positive parameters. Pure; needs scipy."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


def fitted(
    cost: Callable[[Array], float], starts: Sequence[Sequence[float]], bound: float
) -> tuple[list[float], float, bool]:
    """The parameters whose logarithms minimise ``cost``, the minimum, and whether it is a clear optimum, which
    does not lie at the bound of the search. Deterministic."""
    found = (
        minimize(
            cost,
            np.log(np.asarray(start)),
            method="L-BFGS-B",
            bounds=[(-bound, bound)] * len(start),
            options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
        )
        for start in starts
    )
    best = min(found, key=lambda one: float(one.fun))
    inside = bool(np.all(np.abs(best.x) < bound - 0.01))
    return np.exp(best.x).tolist(), float(best.fun), inside and bool(best.success)
