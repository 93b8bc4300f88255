"""The page about the lake's tables: the data dictionary of the default dataset."""

from __future__ import annotations

from batch.dictionary import dictionary_text
from batch.gold import plans
from config.dataset import load_definition
from config.settings import DeploymentSettings
from tests.support.reference.markdown import GENERATED, page

INTRODUCTION = """\
The tables of the dataset `{dataset}`: what each column means, its type and where it comes from.
`millrace lake dictionary` writes the same for any dataset, next to its definition. [The lake](../concepts/lake.md) says
what the layers are for."""


def lake_page() -> str:
    """Return the page about all tables of the default dataset."""
    dataset = DeploymentSettings.read({}).dataset
    definition = load_definition(dataset)
    _title, _how_generated, tables = dictionary_text(definition, plans(definition)).rstrip().split("\n\n", 2)
    return page("# Tables of the lake", GENERATED, INTRODUCTION.format(dataset=dataset), tables)
