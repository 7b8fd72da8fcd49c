"""aio-pika alone: takes a queue's messages and acknowledges them, as its guide does. It does nothing with them.

The first argument is the prefetch, the second how many messages one acknowledgement is for.
"""

import asyncio
import os
import sys

import aio_pika


async def main() -> None:
    prefetch, lot = int(sys.argv[1]), int(sys.argv[2])
    connection = await aio_pika.connect(os.environ["BENCH_AMQP"])
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch)
        queue = await channel.get_queue(os.environ["BENCH_QUEUE"])
        async with queue.iterator() as messages:
            count = 0
            async for message in messages:
                count += 1
                if count % lot == 0:
                    await message.ack(multiple=lot > 1)


if __name__ == "__main__":
    asyncio.run(main())
