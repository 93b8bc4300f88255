"""Lets the clients of the object storage that take no authority of their own trust one: S3A and delta-rs."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from pyspark.sql import SparkSession

from batch.spark.jvm import java_class
from config.settings import trust_for_this_process

_PASSWORD: Final = "changeit"  # noqa: S105 - Java's own for such files; authorities are no secret
_STORE: Final = "javax.net.ssl.trustStore"


def trust(spark: SparkSession, ca_file: Path) -> None:
    """Trust the authorities in a file, in Spark's driver beside those that Java trusts, and in delta-rs.

    S3A takes Java's default trust store when it makes its first connection with TLS, so this has to come before. On a
    cluster, the executors' Java has a trust store of its own, which is their administrator's.
    """
    trust_without_spark(ca_file)
    system, store = java_class(spark, "java.lang.System"), _folder() / "authorities.jks"
    if system.getProperty(_STORE) != str(store):
        _write_store(spark, ca_file, store)
        system.setProperty(_STORE, str(store))
        system.setProperty(f"{_STORE}Password", _PASSWORD)


def trust_without_spark(ca_file: Path) -> None:
    """Trust the authorities in a file in delta-rs; this has to come before its first connection."""
    trust_for_this_process(ca_file, _folder() / "authorities.pem")


def _write_store(spark: SparkSession, ca_file: Path, store: Path) -> None:
    authorities = java_class(spark, "java.security.KeyStore").getInstance("JKS")
    default = Path(java_class(spark, "java.lang.System").getProperty("java.home"), "lib/security/cacerts")
    # Without a password, Java reads the certificates and does not check the file's integrity.
    authorities.load(_stream(spark, default) if default.exists() else None, None)
    factory = java_class(spark, "java.security.cert.CertificateFactory").getInstance("X.509")
    for number, certificate in enumerate(factory.generateCertificates(_stream(spark, ca_file)).toArray()):
        authorities.setCertificateEntry(f"millrace-{number}", certificate)
    output = java_class(spark, "java.io.FileOutputStream")(str(store))
    authorities.store(output, _characters(spark, _PASSWORD))
    output.close()


def _stream(spark: SparkSession, path: Path) -> Any:
    return java_class(spark, "java.io.FileInputStream")(str(path.absolute()))


def _characters(spark: SparkSession, text: str) -> Any:
    """Return a Java array of characters; Py4J would make a text of Java's own back into a Python text."""
    gateway: Any = spark.sparkContext._gateway
    found = gateway.new_array(gateway.jvm.char, len(text))
    for number, character in enumerate(text):
        found[number] = character
    return found


@functools.cache
def _folder() -> Path:
    """Return a folder that is deleted when this process ends, because its files are read at each first connection."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-trust-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
