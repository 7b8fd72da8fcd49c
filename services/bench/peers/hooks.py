"""``python -m services.bench.peers.hooks PORT``: receives webhooks and counts them, as cheaply as it can.

A POST to a path with "dead" in it is never answered, others at once. A GET answers with the number of the answered
ones.
"""

import argparse
import asyncio

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Hooks:
    def __init__(self) -> None:
        self.answered = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    body = str(self.answered).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                    continue
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                await reader.readexactly(length)
                if b"dead" in head.partition(b"\r\n")[0]:
                    await asyncio.sleep(3600)
                self.answered += 1
                writer.write(_OK)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    server = await asyncio.start_server(Hooks().handle, "127.0.0.1", parser.parse_args().port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
