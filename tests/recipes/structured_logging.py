"""
Log records of the library, and of the program, as lines of JSON: structlog on top of the standard logging.

    SERVICE=db python structured_logging.py

A watch logs each change of its state to the logger `aioconsulconnect.watch`: INFO, and WARNING where trouble begins or
ends. The fields `query`, `state`, `address` and `error` (the class of the error) are members of the line.
"""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress

import structlog

from aioconsulconnect import Consul


def configure() -> None:
    """Write all log records as JSON to the standard output."""
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*common, structlog.stdlib.ExtraAdder()],  # records of libraries: `extra` becomes members
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,  # as text: a traceback with local variables would show secrets
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    for name in ("aioconsulconnect", "app"):
        logging.getLogger(name).setLevel(logging.INFO)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


async def main(service: str) -> None:
    """Watch the intentions of a service until the program is stopped, and log each batch."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger("app", service=service)
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Consul() as consul, consul.intentions.match(destination=service).watch() as watch:
        async for batch in watch.changes():
            log.info("intentions changed", changes=len(batch), first=batch.first, filtered=batch.filtered)


if __name__ == "__main__":
    configure()
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(main(os.environ["SERVICE"]))
