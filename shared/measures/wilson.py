"""The Wilson score interval. Pure."""

import math

#: z, the two-sided normal quantile of 95 % confidence.
_Z = 1.959963984540054


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """The bounds of a proportion, from 0 to 1; (0, 1) of no trials.

        (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n),  p = successes / n

    ``successes`` may be a fraction of a trial: for the mean of bounded values it is wider than needed, because
    no values between 0 and 1 vary more than p(1 − p). Source: E. B. Wilson, "Probable inference, the law of
    succession, and statistical inference", JASA 22 (1927).
    """
    if trials <= 0:
        return 0.0, 1.0
    p, z = successes / trials, _Z
    spread = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    centre, scale = p + z * z / (2 * trials), 1 + z * z / trials
    # At 0 and 1 a bound is p itself; rounding must not move it beyond.
    return max(0.0, min(p, (centre - spread) / scale)), min(1.0, max(p, (centre + spread) / scale))
