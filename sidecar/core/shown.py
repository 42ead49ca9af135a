"""What the configuration says as people read it; a secret stays one."""

import re

from sidecar.core.configuration import PAYOUT, Value
from sidecar.core.secret import Secret

SECRET = "(secret)"

_PROXY = re.compile(r"(?:([a-z0-9]+)://)?(.*@)?(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d+)/?", re.DOTALL)


def host_of(proxy: Secret) -> str:
    """Host and port of a proxy, never its login; one that is a secret as a whole stays one."""
    match = _PROXY.fullmatch(proxy.reveal())
    return f"{match[3]}:{match[4]}" if match else SECRET


def way_of(proxy: Secret) -> str:
    """A proxy as it is shown alone: its login is a secret, if it has one."""
    match = _PROXY.fullmatch(proxy.reveal())
    return f"{match[1] or 'http'}://{f'{SECRET}@' * bool(match[2])}{match[3]}:{match[4]}" if match else SECRET


def worth_of(value: Value) -> str:
    """What a rule says an event is worth, in the YAML's words."""
    if value == PAYOUT:
        return "payout"
    if value.share is not None:
        return f"{(value.share * 100).normalize():f}%"
    return "none" if value.amount is None else f"{value.amount:f}"
