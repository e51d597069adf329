"""How often somebody may ask: so many requests a minute for each token and each address, in bounded memory."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 10_000  # buckets; of more, the one that was used longest ago is forgotten, and with it what it had taken
_NETWORK = 64  # bits of an IPv6 address that one customer has as a rule


class Rates:
    """Token buckets: each holds `per_minute` requests and fills up again within a minute. `monotonic` gives seconds."""

    def __init__(self, per_minute: int, *, monotonic: Callable[[], float] = time.monotonic, most: int = _MOST) -> None:
        self._size = float(per_minute)
        self._per_second = per_minute / 60
        self._monotonic = monotonic
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str) -> float:
        """Takes one request from the bucket of `key`: 0.0 where there was one, else the seconds until there is."""
        now = self._monotonic()
        left, since = self._buckets.pop(key, (self._size, now))
        left = min(self._size, left + (now - since) * self._per_second)
        taken = left >= 1
        self._buckets[key] = (left - 1 if taken else left, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - left) / self._per_second

    def give_back(self, key: str) -> None:
        """Puts back one request that was taken."""
        if key in self._buckets:
            left, since = self._buckets[key]
            self._buckets[key] = (min(self._size, left + 1), since)


def network_of(address: str) -> str:
    """The key of an address: IPv4 as it is, IPv6 by its network, for one customer has all of that."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, _NETWORK), strict=False))
