"""What is recorded, by the settings."""

from datetime import timedelta

from services.intelligence.outcomes.shown import Recording
from shared.settings import Settings


def recording_of(settings: Settings) -> Recording:
    return Recording(
        settings.outcomes_share,
        timedelta(days=settings.outcomes_days),
        timedelta(days=settings.outcomes_keep_days),
        (settings.intelligence_purpose, settings.outcomes_purpose),
    )
