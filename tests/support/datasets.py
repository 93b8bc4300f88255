"""Definitions of datasets that tests make up."""

from __future__ import annotations

from pathlib import Path

from config.dataset import DEFINITION_FILE, SHIPPED


def define_dataset(folder: Path, name: str) -> Path:
    """Define a dataset with the tables of `project_db` in a folder of definitions, and return the folder."""
    shipped = (SHIPPED / "project_db" / DEFINITION_FILE).read_text()
    (folder / name).mkdir(parents=True)
    (folder / name / DEFINITION_FILE).write_text(shipped.replace("name: project_db\n", f"name: {name}\n", 1))
    return folder
