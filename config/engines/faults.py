"""What can go wrong with a source database, and the words that messages have for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from config.tls import certificate_fault


class Fault(Enum):
    """Kind of a database error.

    AWAY: the server cannot be reached, or the connection was lost. UNTRUSTED: its certificate is refused, or it does
    not speak TLS. LOCKED: another transaction is in the way.
    DUPLICATE: the key exists. STATEMENT: the statement or the user's rights are wrong, not the values of a row.
    """

    AWAY = "away"
    UNTRUSTED = "untrusted"
    LOGIN = "login"
    NO_DATABASE = "no database"
    NO_TABLE = "no table"
    LOCKED = "locked"
    DUPLICATE = "duplicate"
    STATEMENT = "statement"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Words:
    """What messages say of an engine, and how the driver's errors are recognised in the text of a Java exception.

    Attributes:
        login: settings with the login.
        address: settings with the address.
        ca: setting with the file of the certificate authority.
        rights: rights that the lake needs.
        no_login, away: regular expressions that find a rejected login, and a server that does not answer, in the type
            names and messages of an exception.
    """

    login: str
    address: str
    ca: str
    rights: str
    no_login: str
    away: str

    def certificate_fault(self, error: Exception) -> str | None:
        """Return what is wrong with the server's certificate, or None if the error is about something else."""
        return certificate_fault(str(error), ca=self.ca, address=self.address)


class EngineError(Exception):
    """The database lacks something that the program needs; the message says what to do."""
