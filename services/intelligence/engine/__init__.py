"""The engine: all relationships of one tenant as a graph in flat arrays, and what is computed on it. Pure."""

from services.intelligence.engine.answers import (
    Affinity,
    Answer,
    Connection,
    Edge,
    Neighbourhood,
    Node,
    Ranking,
    Via,
)
from services.intelligence.engine.campaign import Campaign, CampaignReport, TooLarge, campaign
from services.intelligence.engine.cells import Wide
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.neighbours import central, neighbours
from services.intelligence.engine.paths import connection
from services.intelligence.engine.question import Question, Side
from services.intelligence.engine.recommend import affinity, popular, recommend
from services.intelligence.engine.similar import similar
from services.intelligence.engine.snapshot import Community, NodeFigures, Snapshot, SnapshotFigures

__all__ = [
    "Affinity",
    "Answer",
    "Campaign",
    "CampaignReport",
    "Community",
    "Connection",
    "Edge",
    "Graph",
    "Neighbourhood",
    "Node",
    "NodeFigures",
    "Question",
    "Ranking",
    "Side",
    "Snapshot",
    "SnapshotFigures",
    "TooLarge",
    "Via",
    "Wide",
    "affinity",
    "campaign",
    "central",
    "connection",
    "neighbours",
    "popular",
    "recommend",
    "similar",
]
