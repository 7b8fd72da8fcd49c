"""The projections that can be rebuilt. Pure."""

from typing import Literal

Name = Literal["relations", "analytics"]
