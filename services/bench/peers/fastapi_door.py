"""The door as in FastAPI's manual: a handler with a ``list[Event]`` body, with Kith's models and publisher.

Answers 202 after all acknowledgements. Settings as for Kith's services; the port is the ingest service's.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import FastAPI
from pydantic import AwareDatetime, Field

from shared.contracts.events import RelationData, RelationRecorded, RelationRetracted, RetractedData, event_key
from shared.contracts.topics import Topics
from shared.kafka.clients import open_publisher
from shared.runtime.protocols import Message, Publisher
from shared.settings import Settings


# FastAPI validates the body after Python's parser, which leaves times as strings: so not strictly.
class Data(RelationData, strict=False):
    occurred_at: AwareDatetime | None = None


class Recorded(RelationRecorded, strict=False):
    time: AwareDatetime
    data: Data


class VoidData(RetractedData, strict=False):
    pass


class Retracted(RelationRetracted, strict=False):
    time: AwareDatetime
    data: VoidData


Event = Annotated[Recorded | Retracted, Field(discriminator="type")]


def create_app(topics: Topics, publisher: Publisher) -> FastAPI:
    """The application, which closes ``publisher`` when it ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        publisher.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/events", status_code=202)
    async def post_events(events: list[Event]) -> dict[str, int]:
        messages = [
            Message(topics.of(event), event_key(event), event.model_dump_json(exclude_none=True).encode())
            for event in events
        ]
        await asyncio.wrap_future(publisher.send(messages))
        return {"accepted": len(events)}

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


def main() -> None:
    settings = Settings()
    app = create_app(Topics(settings.topic_prefix), open_publisher(settings))
    uvicorn.run(app, host=settings.host, port=settings.ingest_port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
