"""Where a visitor was, by the click's address: from a database in MaxMind's format.

Source: MaxMind, "GeoIP City and Country Databases". DB-IP and others publish the same schema. A record that is not of
it is no place.
"""

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sidecar import log
from sidecar.core.click import Click
from sidecar.core.customer import country_code, public_address

if TYPE_CHECKING:
    from maxminddb.reader import Reader

#: Addresses whose place is remembered: a visitor's postbacks come in a row.
REMEMBERED = 4096

#: Device, inode, time of the last change in nanoseconds, and bytes.
Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """ISO 3166-1 alpha-2 code of the country, English names of region and city; empty where nothing is known."""

    country: str = ""
    region: str = ""
    city: str = ""


NOWHERE = Place()


class Places:
    """The places of clicks; None where no database is configured. `error` says why the file cannot be used, in words.

    A file that cannot be used costs nothing but its places: the last good one stays in use.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._place_of: Callable[[str], Place] = _nowhere
        self._signature: Signature | None = None
        self.error = ""
        self.reload_if_changed()

    def placed(self, click: Click) -> Click:
        """The click with its gaps of country, region and city filled by its address, if that is a public one.

        What tracker or CDN said stays. Where they name another country than the database does, it fills nothing:
        its region and city would contradict. A country that is none (Cloudflare's XX) is a gap.
        """
        if self._place_of is _nowhere or not (address := public_address(click.ip)):
            return click
        place = self._place_of(address)
        country = country_code(click.country)
        if not place.country or country not in ("", country_code(place.country)):
            return click
        return replace(
            click,
            country=click.country if country else place.country,
            region=click.region or place.region,
            city=click.city or place.city,
        )

    def reload_if_changed(self) -> None:
        """Looks whether the file is another one, or has another content, and reads it then: 60 ms for 100 MB.

        May be called from another thread than `placed`.
        """
        if self._path is None:
            return
        try:
            with _opened(self._path) as file:
                signature = _signature(file)
                if signature != self._signature:
                    self._read(file, signature)
        except (OSError, ValueError) as error:
            self._signature = None  # the same file may come back
            self._fail(getattr(error, "strerror", None) or "no file can have this name")

    def _read(self, file: IO[bytes], signature: Signature) -> None:
        try:
            reader = _reader(file)
            about = _about(reader)
        except OSError:
            raise
        except Exception:  # InvalidDatabaseError, and what else strange bytes make of a parser
            reader = None
        if signature != _signature(file):
            return  # somebody is writing: the next look sees the whole
        self._signature = signature
        if reader is None:
            self._fail("no MaxMind database (.mmdb)")
            return
        self._place_of = lru_cache(REMEMBERED)(partial(_place, reader))
        self.error = ""
        log.info("geoip.loaded", file=self._path, **about)

    def _fail(self, why: str) -> None:
        if why != self.error:
            kept = "clicks get no place from it" if self._place_of is _nowhere else "the one that was read stays in use"
            log.warning("geoip.failing", file=self._path, why=why, next=f"mend tracker.geoip or the file; {kept}")
        self.error = why


def _nowhere(_: str) -> Place:
    return NOWHERE


def _opened(path: Path) -> IO[bytes]:
    """Never waits, as for a pipe that nobody writes."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def _signature(file: IO[bytes]) -> Signature:
    """Raises OSError for what is no regular file."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "Not a regular file")
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _reader(file: IO[bytes]) -> "Reader":
    """A reader of a private copy in memory.

    A map of the file itself would kill the daemon (SIGBUS) when somebody overwrites the file in place, and MODE_MEMORY
    knows only the reader in Python, which takes twenty times as long for a lookup.
    """
    import maxminddb  # only for those who have a database

    with open(os.memfd_create("geoip"), "w+b") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        return maxminddb.open_database(f"/proc/self/fd/{copy.fileno()}")


def _about(reader: "Reader") -> dict[str, str]:
    """Its type, and the day on which it was made."""
    metadata = reader.metadata()
    return {
        "type": metadata.database_type,
        "built": datetime.fromtimestamp(metadata.build_epoch, UTC).date().isoformat(),
    }


def _place(reader: "Reader", address: str) -> Place:
    """NOWHERE, too, for a record that cannot be read, and for an IPv6 address in a database of IPv4."""
    with suppress(Exception):
        return _place_in(reader.get(address))
    return NOWHERE


def _place_in(record: Any) -> Place:
    country = _text(record, "country", "iso_code") or _text(record, "registered_country", "iso_code")
    region = _text(record, "subdivisions", 0, "names", "en")
    # DB-IP adds the district: "Frankfurt am Main (Innenstadt I)".
    city = _text(record, "city", "names", "en").partition(" (")[0]
    return Place(country.upper(), region, city)


def _text(record: Any, *path: str | int) -> str:
    """The text at the end of a path of names and indexes; empty when the record has none there."""
    for step in path:
        try:
            record = record[step]
        except (LookupError, TypeError):
            return ""
    return record if isinstance(record, str) else ""
