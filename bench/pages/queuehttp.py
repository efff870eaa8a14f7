"""Messages over HTTP: an Express queue in memory against ours, which is durable, behind the same routes."""

from bench import load, sides
from bench.field import Field
from bench.pages.accept import table
from bench.pages.queue import flushes_of
from bench.report import Page

PLACE = 11


def measure(field: Field) -> Page:
    """Run both in turn."""
    everybody = [load.express(field.kit, "express_queue.mjs"), load.inboxd(dialect="wq")]
    found = load.in_turn(field, everybody, "queue.lua", '{"order": 17, "status": "accepted"}')
    with field.scratch() as folder:
        flushes = flushes_of(folder)
    return Page(
        "queuehttp",
        "Messages over HTTP",
        f"{load.CONNECTIONS} clients that keep their connections publish a message, receive one and confirm it, three "
        "requests for each. Express keeps them in memory, in some thirty lines; ours, on the same routes (the dialect "
        f"`wq`), are durable. The disk flushed {flushes:,.0f} small appends a second beside it.",
        [table(everybody, found, "messages/s")],
        sides.faster(found, "inboxd", "Express", 0.7, "publish, receive, confirm over HTTP"),
        [sides.plot("queuehttp", "Messages per second over HTTP", found)],
    )
