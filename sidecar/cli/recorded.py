"""The tracker's own log of conversions, by its Admin API."""

import asyncio
import sys
import time
from typing import Any

from sidecar.core.configuration import Configuration
from sidecar.keitaro import Unanswered
from sidecar.keitaro.admin_api import AdminApi


def conversions_of_the_tracker(configuration: Configuration, since: float) -> list[dict[str, Any]]:
    """Every conversion since a moment, as the intake could have got it; none where the Admin API does not answer,
    which is said."""
    try:
        return asyncio.run(_read(configuration, since))
    except Unanswered as fault:
        print(f"reconcile: the tracker's own log is not compared: {fault.words}", file=sys.stderr)
        return []


async def _read(configuration: Configuration, since: float) -> list[dict[str, Any]]:
    admin_api = configuration.tracker.admin_api
    assert admin_api is not None
    source = AdminApi(admin_api.url, admin_api.key, admin_api.proxy, time.time, time.monotonic)
    try:
        return [
            {
                "subid": each.subid,
                "tid": each.tid,
                "status": each.status,
                "payout": None if each.revenue is None else str(each.revenue),
                "received_at": each.postback_at,
            }
            async for each in source.conversions(since, time.time())
            if each.postback_at is not None
        ]
    finally:
        await source.close()
