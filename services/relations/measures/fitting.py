"""Maximum likelihood for a few positive parameters. Pure; needs scipy."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


def fitted(
    cost: Callable[[Array], float], starts: Sequence[Sequence[float]], bound: float
) -> tuple[list[float], float, bool]:
    """The parameters for which ``cost`` of their logarithms is least, that cost, and whether it is a clear
    optimum: not at the bound, beyond which logarithms are not looked for. Same cost, same answer."""
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
