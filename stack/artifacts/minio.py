"""Build the MinIO server from its Go module, once per version."""

from __future__ import annotations

from pathlib import Path

from stack.artifacts.cache import ensure
from stack.job import Job

# A pseudo-version, because the module's release tags are not valid Go versions. Go verifies its checksum.
_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"

# Without debug information and inlining, Go needs about 40 % less processor time to compile. A local MinIO can run
# slower: it mostly waits for the disk, and its checksums and erasure codes are written in assembly.
_QUICKLY = ("-gcflags=all=-l -dwarf=false", "-ldflags=-s -w")


def minio_folder(cache: Path) -> Path:
    """Return the cache folder of the MinIO program."""
    return cache / f"minio-{_VERSION}"


def fetch_minio(cache: Path, job: Job) -> Path:
    """Build MinIO into the cache if missing, which takes some minutes; return the program's path."""

    def fetch(folder: Path) -> None:
        job.report("building with Go (the first time takes some minutes)")
        command = ["go", "install", *_QUICKLY, f"github.com/minio/minio@{_VERSION}"]
        # Build for this machine: a cross-compiled program would go to another folder, or Go would reject GOBIN.
        target = {"GOBIN": str(folder), "GOOS": "", "GOARCH": "", "GOFLAGS": "", "CGO_ENABLED": "0"}
        job.run(command, environment=target, purpose="building MinIO")

    return ensure(cache, minio_folder(cache).name, fetch, job) / "minio"
