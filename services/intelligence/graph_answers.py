"""The models of answers about the graph: paths, neighbours, centrality. Pure."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from services.intelligence.answers import LEFT_OUT, MASKED, AsOf, Few, Strength
from shared.access.lineage import STRENGTH, Count, DerivedFrom, Label, OrderedBy

SideName = Annotated[Literal["consumer", "provider"], DerivedFrom()]
NodeId = Annotated[str, DerivedFrom("consumer_id", "provider_id")]


class Node(BaseModel):
    side: SideName
    id: NodeId
    name: str | None = Field(None, description="Of a provider.")
    steps: Count = Field(description="From the node that was asked about.")
    relationships: Few = Field(
        description="How many it has. Of a provider it is a number of consumers, `few` below five."
    )


class Edge(BaseModel):
    consumer_id: str
    provider_id: str
    strength: Strength
    relationship: Annotated[str, DerivedFrom("consumer_id", "provider_id")] = Field(
        description="The path of the relationship in the relations API."
    )


class Paths(BaseModel):
    """The strongest connection of two nodes."""

    found: Annotated[bool, DerivedFrom()]
    steps: Count = Field(description="The number of relationships on the path.")
    nodes: list[Node]
    edges: list[Edge]
    reason: Label | None = Field(None, description="Why there is no path.")
    left_out: Annotated[bool | None, DerivedFrom("consent")] = Field(None, description=LEFT_OUT)
    as_of: AsOf
    masked: list[Label] | None = Field(None, description=MASKED)


class Neighbours(BaseModel):
    """The nodes around one, the strongest relationships first."""

    nodes: Annotated[list[Node], OrderedBy(*STRENGTH)]
    edges: list[Edge]
    omitted: Count = Field(
        description="Relationships of these nodes that are not shown, because of the limit or the purpose."
    )
    reason: Label | None = Field(None, description="Why there are none.")
    left_out: Annotated[bool | None, DerivedFrom("consent")] = Field(None, description=LEFT_OUT)
    as_of: AsOf
    masked: list[Label] | None = Field(None, description=MASKED)


class Central(BaseModel):
    side: SideName
    id: NodeId
    name: str | None = None
    rank: Count
    relationships: Few = Field(description="Of a provider it is a number of consumers, `few` below five.")
    pagerank: Annotated[float | None, DerivedFrom()] = Field(
        None, description="Its part of the PageRank of all nodes, which adds up to 1."
    )
    community: Label | None = Field(None, description="The community that it belongs to.")


class JobAsOf(BaseModel):
    """What the figures of the last job follow from."""

    at: Annotated[str, DerivedFrom()] = Field(description="When the snapshot was taken.")
    positions: Annotated[dict[str, int], DerivedFrom()] = Field(
        description="By partition, the number of the last change that it contains."
    )


class CentralList(BaseModel):
    items: list[Central] = Field(description="The most central ones first.")
    reason: Label | None = Field(None, description="Why there are none.")
    left_out: Annotated[bool | None, DerivedFrom("consent")] = Field(None, description=LEFT_OUT)
    as_of: AsOf | JobAsOf | None = Field(description="By PageRank that of the last job, which may be minutes old.")
    masked: list[Label] | None = Field(None, description=MASKED)


class Share(BaseModel):
    name: Annotated[str, DerivedFrom("categories", "location")]
    providers: Count


class Member(BaseModel):
    side: SideName
    id: NodeId
    name: str | None = None
    inside: Few = Field(description="Its consumers within the community; `few` below five.")


class Community(BaseModel):
    """Consumers and providers who have more to do with each other than with the rest."""

    id: Label
    consumers: Few
    providers: Count
    inside: Few = Field(
        description="Relationships within it. `few` where it would tell a number of consumers below five."
    )
    outside: Few = Field(description="Relationships that leave it; below five `few` where `inside` is.")
    # How many there are, and of how many providers each is, tells of names that are masked, too.
    categories: Annotated[list[Share], DerivedFrom("categories")] = Field(
        description="The most frequent categories of its providers."
    )
    places: Annotated[list[Share], DerivedFrom("location")] = Field(
        description="The most frequent towns of its providers."
    )
    strongest: list[Member] = Field(description="The providers with the most relationships within it.")


class Communities(BaseModel):
    items: list[Community] = Field(description="Largest first.")
    modularity: Annotated[float | None, DerivedFrom()] = Field(
        description="How much the communities keep to themselves: 0 as by chance, towards 1 the more."
    )
    reason: Label | None = Field(None, description="Why there are none.")
    as_of: JobAsOf | None
    masked: list[Label] | None = Field(None, description=MASKED)


class OneCommunity(BaseModel):
    community: Community
    members: list[Central] = Field(description="Members by PageRank, providers and (with the scope) consumers.")
    as_of: JobAsOf | None
    masked: list[Label] | None = Field(None, description=MASKED)
