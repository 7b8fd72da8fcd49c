"""What the privacy API answers, for its documentation."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class Accepted(BaseModel):
    erasure: str = Field(description="The erasure's name: GET /v1/erasures/{erasure} tells how far it is.")
    mode: Literal["anonymise", "delete"]
    asked: datetime = Field(description="When it was first asked for.")


class Step(BaseModel):
    name: str
    done: bool
    means: str


class Erasure(BaseModel):
    erasure: str
    consumer_id: str
    mode: Literal["anonymise", "delete"] = Field(description="The most thorough that has been asked for.")
    asked: datetime
    done: bool
    steps: list[Step]
    receipt: str | None = Field(description="A JWS (compact) once all steps are done; else null.")


class Keys(BaseModel):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[dict[str, Any]]


class Correction(BaseModel):
    """The event that corrects the consumer. It is stored a moment later."""

    source: str
    id: str


class Export(BaseModel):
    """All that is stored of one consumer."""

    consumer: dict[str, Any] = Field(description="The profile, as GET /v1/consumers/{consumer_id} has it.")
    erasure: dict[str, Any] | None = Field(description="Set once the consumer is erased.")
    relationships: list[dict[str, Any]] = Field(description="By id.")
    relations: list[dict[str, Any]] = Field(description="By id, without retracted ones.")
    masked: list[str] = Field(description="The personal fields that the credential may not see, shown as `mask`.")
    mask: str
