"""A certificate authority of a test's own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from stack.ports import HOST

_CURVE: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority, with a certificate for a server and one that has expired.

    The names `server` and `expired` each have `<name>.key`, `<name>.crt`, and both together in `<name>.pem`.

    Args:
        host_name: name of the servers' host that the certificates have besides its address.
    """

    def __init__(self, folder: Path, host_name: str | None = None) -> None:
        self.folder = folder
        self._hosts = f"IP:{HOST}" + (f",DNS:{host_name}" if host_name else "")
        authority_file(folder / "ca.pem", "test")
        authority_file(folder / "other.pem", "other")
        for name, days in {"server": "2", "expired": "-1"}.items():
            self._issue(name, days)

    @property
    def ca_file(self) -> str:
        """The authority's certificate."""
        return self._path("ca.pem")

    @property
    def other_ca_file(self) -> str:
        """The certificate of an authority that has signed nothing."""
        return self._path("other.pem")

    def _path(self, name: str) -> str:
        return str(self.folder / name)

    def _issue(self, name: str, days: str) -> None:
        key, request, certificate = (self._path(f"{name}.{kind}") for kind in ("key", "csr", "crt"))
        _openssl("req", "-new", *_CURVE, "-subj", f"/CN={HOST}", "-keyout", key, "-out", request)
        extensions = self.folder / "extensions"
        extensions.write_text(f"subjectAltName={self._hosts}\n")
        signed = ("-CA", self.ca_file, "-CAkey", self._path("ca.key"), "-CAcreateserial", "-days", days)
        _openssl("x509", "-req", "-in", request, *signed, "-extfile", str(extensions), "-out", certificate)
        (self.folder / f"{name}.pem").write_text(Path(key).read_text() + Path(certificate).read_text())


def authority_file(path: Path, subject: str = "test authority") -> Path:
    """Make an authority's certificate, with its key in a file beside it, and return the path of the certificate."""
    files = ("-keyout", str(path.with_suffix(".key")), "-out", str(path))
    _openssl("req", "-x509", *_CURVE, "-subj", f"/CN={subject}", *files)
    return path


def _openssl(*arguments: str) -> None:
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
