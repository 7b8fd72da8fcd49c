"""The learned models that answer, on the graphs of this process."""

import logging
import time
from collections.abc import Callable

from services.intelligence.learning.model import Model, Recommender
from services.intelligence.learning.profiles import Place, Profiles
from services.intelligence.models import Models
from services.intelligence.state import Tenant
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

_SECONDS = 2.0


class Advisers:
    """The live model of each tenant, looked up every two seconds."""

    def __init__(self, models: Models, clock: Callable[[], float] = time.monotonic) -> None:
        self._models, self._clock = models, clock
        self._known: dict[str, tuple[float, Document | None]] = {}

    def live(self, tenant: str) -> Document | None:
        """The model that answers for a tenant; None: the walk does. Raises Unavailable."""
        known, now = self._known.get(tenant), self._clock()
        if known is None or now - known[0] >= _SECONDS:
            known = self._known[tenant] = (now, self._models.live(tenant))
        return known[1]

    def recommender(self, tenant: Tenant, model: Document) -> Recommender | None:
        """The model on a tenant's graph; None where this version of Kith cannot read it. Call it while the graph
        does not change."""
        key = (model["_id"], tenant.described)
        if tenant.made is None or tenant.made[0] != key:
            try:
                learned = Model.of(model["parameters"])
            except (KeyError, ValueError) as error:
                log.warning("the model %s:%d cannot be used: %s", model["name"], model["version"], error)
                return None
            tenant.made = key, Recommender(learned, tenant.graph, _profiles(tenant))
        made: Recommender = tenant.made[1]
        return made


def _profiles(tenant: Tenant) -> Profiles:
    """The profiles of providers only: where consumers live is encrypted, and they are taken to live amid what they
    know."""
    places = {id: Place(*each.place) for id, each in tenant.providers.items() if each.place is not None}
    categories = {id: frozenset(each.categories) for id, each in tenant.providers.items() if each.categories}
    return Profiles({}, places, categories)
