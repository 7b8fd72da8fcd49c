"""The scale of ratings: requested, set for the tenant, or taken from the tenant's data. Pure."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.access.lineage import DerivedFrom


class Scale(BaseModel):
    """From the worst rating to the best."""

    lowest: Annotated[int, DerivedFrom("rating")]
    highest: Annotated[int, DerivedFrom("rating")]
    source: Annotated[Literal["asked", "setting", "data"], DerivedFrom()] = Field(
        description="asked: parameters. setting: KITH_RATING_SCALES. data: the lowest and highest rating of the"
        " tenant's relations, whatever the period and filter."
    )

    @property
    def good(self) -> int | None:
        """The lowest good rating: from there on is the uppermost quarter of the scale. 4 of 1 to 5, 8 of 0 to 10,
        2 of 0 to 2. None for a scale of one rating."""
        if self.lowest == self.highest:
            return None
        return math.ceil(self.lowest + 3 * (self.highest - self.lowest) / 4)
