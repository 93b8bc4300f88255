"""Goal: small objects are found, read and described without Spark, on object storage as in a folder.

Method: the same story on a real MinIO and in a temporary folder; metadata is put as `streams.archive` puts it.
"""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import Minio
from minio.versioningconfig import VersioningConfig

from batch.storage.objects import ObjectFolder, object_folder
from config.settings import ObjectStoreSettings
from stack.local import Stack
from streams.model.archive_chain import LAST_OFFSET


@pytest.fixture
def store(lake_stack: Stack) -> ObjectStoreSettings:
    return ObjectStoreSettings.read(lake_stack.environment())


@pytest.fixture(params=["s3a://bronze", "file"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}/objects-{uuid.uuid4().hex}" if request.param != "file" else f"file://{tmp_path}"


def at(root: str, store: ObjectStoreSettings, folder: str = "") -> ObjectFolder:
    return object_folder(f"{root}/{folder}".rstrip("/"), store)


def test_names_and_folders_are_told_apart(root: str, store: ObjectStoreSettings) -> None:
    for folder, name in (("00000", "b.json"), ("00000", "a.json"), ("00001", "c.json")):
        at(root, store, folder).write(name, b"{}")
    assert at(root, store).folders() == ["00000", "00001"]
    assert at(root, store, "00000").names() == ["a.json", "b.json"]
    assert at(root, store, "00000").names(after="a.") == ["a.json", "b.json"]
    assert at(root, store, "00000").names(after="a.json") == ["b.json"]
    assert at(root, store, "00000").folders() == at(root, store, "nowhere").folders() == []
    at(root, store, "00000").remove("a.json")
    at(root, store, "00000").remove("a.json")
    assert at(root, store, "00000").names() == ["b.json"]
    assert not at(root, store).keeps_versions()


def test_what_was_noted_of_an_object_is_read_without_it(store: ObjectStoreSettings) -> None:
    client = Minio(
        urlsplit(store.endpoint).netloc, access_key=store.access_key, secret_key=store.secret_key, secure=False
    )
    folder = f"objects-{uuid.uuid4().hex}"
    client.put_object("bronze", f"{folder}/one", io.BytesIO(b"1"), 1, metadata={LAST_OFFSET: "41"})
    assert at("s3a://bronze", store, folder).metadata("one")[LAST_OFFSET] == "41"


def test_a_versioned_bucket_keeps_versions(store: ObjectStoreSettings) -> None:
    client = Minio(
        urlsplit(store.endpoint).netloc, access_key=store.access_key, secret_key=store.secret_key, secure=False
    )
    bucket = f"versioned-{uuid.uuid4().hex}"
    client.make_bucket(bucket)
    client.set_bucket_versioning(bucket, VersioningConfig("Enabled"))
    assert object_folder(f"s3a://{bucket}/lake", store).keeps_versions()
    client.remove_bucket(bucket)


def test_an_object_that_is_not_there_has_no_metadata(root: str, store: ObjectStoreSettings) -> None:
    with pytest.raises(FileNotFoundError):
        at(root, store).metadata("nothing")
