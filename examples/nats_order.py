"""nats-py publishes an order and waits for what becomes of it; every execution message of the command is printed.

    pip install nats-py==2.16.0
    python examples/nats_order.py nats://127.0.0.1:4222 BUY 0.5 45000
"""

import asyncio
import json
import sys

import nats
from nats.js.api import DeliverPolicy

url, side, quantity, price = sys.argv[1:]


async def main():
    connection = await nats.connect(url)
    stream = connection.jetstream()
    # Numbers may be text, so that no digit goes through a double.
    order = {"account": "demo", "symbol": "BTCUSDT", "side": side, "ordType": "LIMIT", "quantity": quantity, "price": price}
    # Before the order, so that the answer is new. By its name: the stream listens elsewhere than where it keeps.
    answers = await stream.subscribe(
        "executions.>", stream="EXECUTIONS", ordered_consumer=True, deliver_policy=DeliverPolicy.NEW
    )
    ack = await stream.publish("orders.new", json.dumps(order).encode())
    print(f"order o-{ack.seq}")
    # Src-Seq is the sequence of the command in ORDERS; its reports may come in parts, k/n.
    last_part = False
    while not last_part:
        message = await answers.next_msg(timeout=10)
        if message.headers.get("Src-Seq") != str(ack.seq):
            continue
        body = json.loads(message.data)
        for report in body["reports"]:
            print({key: report.get(key) for key in ("execType", "ordStatus", "lastQty", "lastPx", "leavesQty", "text")})
        number, count = body.get("part", "1/1").split("/")
        last_part = number == count
    await connection.close()


asyncio.run(main())
