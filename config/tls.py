"""Certificates of servers: whom clients trust, and what is wrong with a certificate that they refuse."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from config.settings_group import SettingsError

MYSQL: Final = ("off", "verify-ca", "verify-full")
POSTGRES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

# The words of OpenSSL, Java, rustls (delta-rs) and libpq, the most particular fault first.
_EXPIRED: Final = re.compile(r"certificate has expired|CertificateExpiredException|peer certificate\W[\s\S]*Expired")
_OTHER_NAME: Final = re.compile(
    r"[Hh]ostname mismatch|IP address mismatch|match any of the subject alternative|No subject alternative"
    r"|correspond to certificate|NotValidForName|not valid for name|does not match host name"
)
_UNKNOWN: Final = re.compile(r"certificate verify failed|PKIX path|invalid peer certificate|SSLHandshakeException")
_NO_TLS: Final = re.compile(
    r"WRONG_VERSION_NUMBER|wrong version number|record layer failure|SSL is required|does not support SSL"
    r"|doesn't support it|ssl not enabled in the server"
)


def trusting(ca_file: Path | None, setting: str, *, error: type[SettingsError] = SettingsError) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a file, or without a file those that the system trusts.

    Args:
        setting: name of the setting with the path, for messages.
        error: type of the error to raise.

    Raises:
        SettingsError: the file cannot be read, or has no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise error(
            f"{setting}: {ca_file} has no valid certificate: name a file of certificates in PEM format"
        ) from None
    except OSError as fault:
        raise error(f"{setting}: cannot read {ca_file}: {fault.strerror}") from None


def check_mysql(mode: str, ca_file: Path | None) -> None:
    """Refuse settings that cannot encrypt connections to MySQL or MariaDB, or that would not be used."""
    if mode != "off":
        trusting(ca_file, "MYSQL_CA_FILE")
    elif ca_file is not None:
        raise SettingsError("MYSQL_CA_FILE: is not used as MYSQL_TLS is off: remove it, or set MYSQL_TLS=verify-full")


def check_postgres(mode: str, ca_file: Path | None, begin: str = "PG") -> None:
    """Refuse settings that cannot encrypt connections to PostgreSQL; `begin` is how the settings' names begin."""
    if mode.startswith("verify-"):
        file = f"{begin}SSLROOTCERT"
        if ca_file is None:
            raise SettingsError(f"{begin}SSLMODE: {mode} needs {file}, the authority's certificates in PEM format")
        trusting(ca_file, file)


def libpq_options(mode: str, ca_file: Path | None) -> dict[str, str]:
    """Return the parameters of an encrypted connection, which libpq and PostgreSQL's JDBC driver name alike."""
    return {"sslmode": mode} | ({} if ca_file is None else {"sslrootcert": str(ca_file)})


def redis_url(url: str, ca_file: Path | None) -> str:
    """Return a URL of Redis that has the authority's file as an option, which redis-py reads."""
    if not url.startswith("rediss:"):
        if ca_file is not None:
            raise SettingsError("REDIS_CA_FILE: redis:// is not encrypted: remove it, or set REDIS_URL to rediss://…")
        return url
    trusting(ca_file, "REDIS_CA_FILE")
    parts = urlsplit(url)
    options = [parts.query] if ca_file is None else [parts.query, urlencode({"ssl_ca_certs": ca_file})]
    return urlunsplit(parts._replace(query="&".join(filter(None, options))))


def storage_context(endpoint: str, ca_file: Path | None) -> ssl.SSLContext | None:
    """Return a context that trusts the storage's authority, or None for connections without TLS."""
    if endpoint.startswith("https:"):
        return trusting(ca_file, "MINIO_CA_FILE")
    if ca_file is not None:
        raise SettingsError("MINIO_CA_FILE: http:// is not encrypted: remove it, or set MINIO_ENDPOINT to https://…")
    return None


def certificate_fault(text: str, *, ca: str, address: str) -> str | None:
    """Return what is wrong with a server's certificate and what to do, or None if an error is about something else.

    Args:
        text: the error's text, from any of the client libraries.
        ca: name of the setting with the authorities' file.
        address: name of the setting with the server's address.
    """
    if _EXPIRED.search(text):
        return "its certificate has expired: renew it on the server"
    if _OTHER_NAME.search(text):
        return f"its certificate is for another host name: check {address}, or the names in the certificate"
    if _UNKNOWN.search(text):
        return f"its certificate is not signed by a trusted authority: check {ca}"
    if _NO_TLS.search(text):
        return f"it does not speak TLS: check {address}"
    return None
