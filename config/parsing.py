"""Parsers of setting values; each raises a `ValueError` that says which texts are valid."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

Number = TypeVar("Number", int, float)

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_INTERVALS: Final = "10s, 5m, 1h or 7d"
_LONGEST_S: Final = 1e9
"""About 30 years; a longer interval is more likely a mistake, and `datetime` cannot subtract much longer ones."""


def text(raw: str) -> str:
    """Strip white space from a text, which must not be empty."""
    if not raw.strip():
        raise ValueError("must not be empty")
    return raw.strip()


def token(raw: str) -> str:
    """Parse a token, which must fit into the header of a request as it is."""
    found = raw.strip()
    if not re.fullmatch(r"[!-~]+", found):
        raise ValueError("must be visible ASCII characters, without spaces or line breaks")
    return found


def url(*schemes: str) -> Callable[[str], str]:
    """Make a parser for URLs with one of the given schemes; the parser removes trailing slashes."""

    def parse(raw: str) -> str:
        try:
            parts = urlsplit(raw.strip())
            is_good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:  # invalid host or port; the original error message could contain a password
            is_good = False
        if not is_good:
            raise ValueError(f"must be a URL that begins with {' or '.join(s + '://' for s in schemes)}")
        return raw.strip().rstrip("/")

    return parse


def numbers(raw: str) -> frozenset[int]:
    """Parse whole numbers of at least 1, separated by commas."""
    parts = [part.strip() for part in raw.split(",")]
    if not all(part.isascii() and part.isdecimal() and 0 < int(part) < 2**32 for part in parts):
        raise ValueError(f"must be whole numbers from 1 to {2**32 - 1}, separated by commas")
    return frozenset(int(part) for part in parts)


def retired_epoch(raw: str) -> int:
    """Accept only 0, as a higher epoch of an earlier version would have no effect, and new changes would look old."""
    if raw.strip() != "0":
        raise ValueError(
            "must be 0 or removed, as each record now has its epoch: begin a higher epoch than this with "
            "`millrace connector epoch begin --epoch N` (docs/operate/upgrade.md)"
        )
    return 0


def lake_root(raw: str) -> str:
    """Parse the URI of a folder in object storage or on this machine, and remove trailing slashes."""
    scheme, mark, place = raw.strip().partition("://")
    if not mark or scheme not in ("s3a", "abfss", "file") or not place.strip("/"):
        raise ValueError("must be a URI such as s3a://bucket, abfss://container@account or file:///folder")
    return raw.strip().rstrip("/")


def bucket_folder(raw: str) -> str:
    """Parse the URI of a folder in an S3 bucket, and remove trailing slashes."""
    if not raw.strip().startswith("s3a://"):
        raise ValueError("must be a URI such as s3a://bucket")
    return lake_root(raw)


def bootstrap(raw: str) -> str:
    """Parse a comma-separated list of Kafka servers, each as `host:port`."""
    servers = [s.strip() for s in raw.split(",")]
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError("must be host:port, or several of them separated by commas")
    return ",".join(servers)


def host_and_port(raw: str) -> tuple[str, int]:
    """Parse the address at which a program is to listen, such as 127.0.0.1:9404 or [::1]:9404."""
    host, _, port = raw.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"invalid address {raw!r}: use a host and a port, such as 127.0.0.1:9404")
    return host.strip("[]"), int(port)


def web_addresses(raw: str) -> tuple[str, ...]:
    """Parse the addresses of web servers, such as http://127.0.0.1:6070, separated by commas."""
    try:
        parts = [urlsplit(part.strip().rstrip("/")) for part in raw.split(",")]
        is_good = all(p.scheme == "http" and p.hostname and p.port and p.netloc.count("@") == 0 for p in parts)
    except ValueError:  # an invalid port
        is_good = False
    if not is_good or any(p.path or p.query or p.fragment for p in parts):
        raise ValueError("must be http://host:port, or several of them separated by commas")
    return tuple(f"http://{p.netloc}" for p in parts)


def advertised_host(raw: str) -> str:
    """Parse the host name or address by which others reach this worker, which a wildcard such as 0.0.0.0 is not."""
    host = raw.strip()
    if not re.fullmatch(r"[\w.:\[\]-]+", host, re.ASCII) or not re.search(r"[A-Za-z1-9]", host):
        raise ValueError(
            "must be the host name or address by which other workers reach this one, and not a wildcard "
            "(set WEB_ADVERTISED_HOST)"
        )
    return host


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """Make a parser for whole numbers from `lowest` to `highest`."""
    return _within(int, lowest, highest, f"must be a whole number from {lowest} to {highest}")


def number(lowest: float, highest: float) -> Callable[[str], float]:
    """Make a parser for numbers from `lowest` to `highest`."""
    return _within(float, lowest, highest, f"must be a number from {lowest:.12g} to {highest:.12g}")


def _within(convert: Callable[[str], Number], lowest: Number, highest: Number, fault: str) -> Callable[[str], Number]:
    def parse(raw: str) -> Number:
        try:
            value = convert(raw)
        except ValueError:
            raise ValueError(fault) from None
        if not lowest <= value <= highest:
            raise ValueError(fault)
        return value

    return parse


def flag(raw: str) -> bool:
    """Parse a boolean: 1, true, yes or on; 0, false, no or off."""
    known = {
        "1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False,
    }  # fmt: skip
    if raw.strip().lower() not in known:
        raise ValueError("must be true or false")
    return known[raw.strip().lower()]


def name(raw: str) -> str:
    """Parse a name of letters, digits, '.', '_' and '-'."""
    if not raw or not all(c.isascii() and (c.isalnum() or c in "._-") for c in raw):
        raise ValueError("may only contain letters, digits, '.', '_' and '-'")
    return raw


def one_of(*choices: str) -> Callable[[str], str]:
    """Make a parser that accepts only the given texts."""

    def parse(raw: str) -> str:
        if raw.strip() not in choices:
            raise ValueError(f"must be {' or '.join(choices)}")
        return raw.strip()

    return parse


def compression(raw: str) -> str | None:
    """Parse the name of a compression of Kafka's records; `none` is None."""
    name = one_of("none", "gzip", "snappy", "lz4", "zstd")(raw)
    return None if name == "none" else name


def memory(raw: str) -> str:
    """Parse an amount of memory in Java's notation, such as 512m or 2g."""
    if not re.fullmatch(r"[1-9]\d{0,5}[mg]", raw):
        raise ValueError("must be a number of megabytes or gigabytes, such as 512m or 2g")
    return raw


def folder(raw: str) -> Path:
    """Parse the path of a folder; a leading `~` is the home folder."""
    try:
        return Path(raw).expanduser()
    except RuntimeError:
        raise ValueError("must be a path; the home folder of `~` is not known") from None


def file(raw: str) -> Path:
    """Parse the path of a file; a leading `~` is the home folder."""
    return folder(raw)


def interval(raw: str) -> float:
    """Parse an interval above 0, such as `10s`, `5m`, `1h` or `7d`, into seconds; a plain number counts as seconds."""
    seconds = _seconds(raw)
    if not seconds:
        raise ValueError(f"invalid interval {raw!r}: use {_INTERVALS}")
    return seconds


def interval_or_zero(raw: str) -> float:
    """Parse an interval into seconds, as `interval` does; `0` is allowed."""
    seconds = _seconds(raw)
    if seconds is None:
        raise ValueError(f"invalid interval {raw!r}: use 0, {_INTERVALS}")
    return seconds


def _seconds(raw: str) -> float | None:
    """Return the length of an interval; None if the text is not an interval or the interval is too long."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", raw.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else None
    return seconds if seconds is not None and seconds <= _LONGEST_S else None


def absolute_time(raw: str) -> datetime:
    """Parse an ISO 8601 time and convert it to UTC; a time without a time zone is taken as UTC."""
    try:
        found = datetime.fromisoformat(raw.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"invalid time {raw!r}: use ISO 8601, such as 2025-01-31T12:00 (UTC)") from None


def point_in_time(raw: str) -> datetime:
    """Parse an interval before now, such as `2h`, or an ISO 8601 time; a plain number is not an interval."""
    seconds = None if raw.strip().isdecimal() else _seconds(raw)  # 20250131 is a date
    if seconds is not None:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    try:
        return absolute_time(raw)
    except ValueError:
        text = f"use an interval before now, such as {_INTERVALS}, or ISO 8601, such as 2025-01-31T12:00 (UTC)"
        raise ValueError(f"invalid time {raw!r}: {text}") from None
