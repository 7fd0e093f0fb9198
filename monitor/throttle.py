"""Throttle: how often one client may do something, as a bucket of tokens that fills with time."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 10_000
"""Clients that are remembered; the one that was quiet the longest is forgotten first."""


class Throttle:
    """``rate`` times in a minute for each client, and as many at once."""

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic,
                 most: int = MOST) -> None:
        self._rate, self._clock, self._most = float(rate), clock, most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def wait(self, client: str) -> float:
        """Seconds until the client may again; 0 where it may now."""
        return max(0.0, 1.0 - self._level(client)) * 60.0 / self._rate

    def take(self, client: str) -> float:
        """The same, and counts this time where it may."""
        level = self._level(client)
        if level < 1.0:
            return (1.0 - level) * 60.0 / self._rate
        self._left[client] = (level - 1.0, self._clock())
        self._left.move_to_end(client)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0

    def _level(self, client: str) -> float:
        left, at = self._left.get(client, (self._rate, self._clock()))
        return min(self._rate, left + max(0.0, self._clock() - at) * self._rate / 60.0)


def client_of(address: str) -> str:
    """What a client is counted by: its address, of IPv6 the network of 64 bits."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
