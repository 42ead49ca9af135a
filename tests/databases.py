"""Databases in MaxMind's format, written for a test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

#: A record of GeoLite2-City, and where its addresses are.
SAN_FRANCISCO: dict[str, Any] = {
    "city": {"geoname_id": 5391959, "names": {"de": "San Francisco (de)", "en": "San Francisco"}},
    "continent": {"code": "NA", "names": {"en": "North America"}},
    "country": {"iso_code": "US", "names": {"en": "United States"}},
    "location": {"latitude": 37.7697, "longitude": -122.3933, "time_zone": "America/Los_Angeles"},
    "registered_country": {"iso_code": "CA", "names": {"en": "Canada"}},
    "subdivisions": [{"iso_code": "CA", "names": {"en": "California"}}, {"iso_code": "X", "names": {"en": "Second"}}],
}


def write_database(path: Path, records: Mapping[str, Any], type: str = "GeoLite2-City", ip_version: int = 6) -> Path:
    """A database with a record for each network."""
    writer = MMDBWriter(ip_version, type, ipv4_compatible=ip_version == 6)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path
