"""Goal: no rule of `tests/test_architecture.py` passes because its checker sees nothing.

Method: each checker is given one small snippet that breaks its rule, and one beside it that does not.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from config.settings import environment_with
from tests.support.architecture import (
    REPOSITORY,
    Module,
    circles,
    copies,
    defines,
    environment_uses,
    importers,
    impurities,
    modules,
    packages_without_docstring_file,
    poor_package_docstring,
    resolved_elsewhere,
    spelled,
    too_large,
    upward_imports,
    wrong_directions,
)


def snippet(text: str, name: str = "streams.model.bad") -> Module:
    return Module(name, textwrap.dedent(text))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import time", "imports time"),
        ("from os import path", "imports os.path"),
        ("from random import random", "imports random.random"),
        ("import faust", "imports faust"),
        (
            "from streams.runtime.partition.batch import RecordBatch",
            "imports streams.runtime.partition.batch.RecordBatch",
        ),
        ("from ..topics import ORDER_FINAL", "imports streams.topics.ORDER_FINAL"),
        ("import importlib\nimportlib.import_module('uuid')", "imports uuid"),
        ("def f():\n    import socket", "imports socket"),
        ("from datetime import datetime\nX = datetime.now()", "calls now"),
        ("import datetime\nX = datetime.datetime.utcnow()", "calls utcnow"),
        ("X = open('file')", "calls open"),
    ],
)
def test_what_is_impure_is_found(text: str, fault: str) -> None:
    assert [found.partition(" ")[2] for found in impurities(snippet(text), "streams.model")] == [fault]


def test_what_is_pure_is_not() -> None:
    text = """
        from datetime import UTC, datetime
        from functools import lru_cache
        from msgspec import Struct
        from streams.model.change import Change
        from .position import Position
        X = datetime.fromisoformat("2025-01-01").astimezone(UTC)
    """
    assert impurities(snippet(text), "streams.model") == []


def test_an_import_against_the_directions_is_found() -> None:
    allowed = {"tables": {"tables", "streams.model"}}
    text = "import msgspec\nfrom streams.model.order import OrderState\nfrom agents import completion"
    assert wrong_directions(snippet(text, "tables.bad"), allowed, ["agents", "streams", "tables"]) == [
        "tables.bad:3 imports agents.completion"
    ]


def test_an_import_of_a_room_above_is_found_and_one_of_a_room_below_is_not() -> None:
    text = "from batch.commands import run\nfrom batch.delta.table import LakeTable\nfrom batch.silver import rules"
    assert upward_imports(snippet(text, "batch.silver.refine"), "batch", ("commands", "silver", "delta")) == [
        "batch.silver.refine:1 imports batch.commands.run"
    ]


@pytest.mark.parametrize("back", ["from a.x import one", "if TYPE_CHECKING:\n    from a.x.one import Name"])
def test_a_circle_of_imports_is_found_also_one_for_type_checking(back: str) -> None:
    one, two = snippet("from a.y import two", "a.x.one"), snippet(back, "a.y.two")
    packages = [snippet("", name) for name in ("a", "a.x", "a.y")]
    assert circles([*packages, one, two]) in (["a: x → y → x"], ["a: y → x → y"])
    assert circles([*packages, one, snippet("from a.y import other", "a.y.two")]) == []


def test_importers_are_found_whatever_the_form_of_the_import() -> None:
    forms = ["import redis", "import redis.asyncio as r", "from redis import Redis", "import_module('redis')"]
    found = [snippet(text, f"agents.a{number}") for number, text in enumerate(forms)]
    assert importers([*found, snippet("import redistribute", "agents.other")], "redis") == [m.name for m in found]


@pytest.mark.parametrize("text", ["app = make()", "app: App = make()", "def app(): ...", "async def app(): ..."])
def test_what_defines_a_name_is_found(text: str) -> None:
    assert defines(snippet(text), "app")
    assert not defines(snippet(f"class Other:\n    {text}"), "app")


@pytest.mark.parametrize(
    "text",
    [
        "import os\nX = os.environ['A']",
        "import os\nX = os.getenv('A')",
        "import os as system\nX = system.environ",
        "from os import environ",
        "from os import getenv as read",
    ],
)
def test_a_use_of_the_environment_is_found(text: str) -> None:
    assert len(environment_uses(snippet(text))) == 1
    assert environment_uses(snippet("import os\nX = os.getpid()\nenviron = settings.environ")) == []


@pytest.mark.parametrize(
    "text",
    [
        'cursor.copy("COPY orders FROM STDIN")',
        "cursor.copy(f'COPY {name} FROM STDIN')",
        'cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name))',
        'run("""\n    COPY orders (id) FROM \'/tmp/orders.csv\'\n""")',
    ],
)
def test_a_statement_copy_is_found(text: str) -> None:
    assert copies(Module("ops.bulk", text)) != []


def test_a_copy_of_files_is_no_statement() -> None:
    assert copies(Module("ops.bulk", 'shutil.copy(a, b)\nprint("copy the file")\n')) == []


def test_a_spelled_name_is_found_and_a_docstring_is_not() -> None:
    text = '''
        """order_final"""
        X = "order_final"
        Y = f"mysql.{dataset}.orders"
        Z = "mysql.connector", "order_final is a topic"
    '''
    assert spelled(snippet(text), {"order_final"}, r"mysql\.(?!connector)") == [
        "streams.model.bad:3 spells 'order_final'",
        "streams.model.bad:4 spells 'mysql.'",
    ]


def test_what_is_too_large_is_found() -> None:
    body = """
        def long_and_deep(x):
            for a in x:
                while a:
                    with a:
                        if a:
                            pass
                        elif x:
                            pass
    """
    bad, limits = snippet(body), {"lines": 9, "function_lines": 8, "nesting": 4}
    assert too_large(bad, **limits) == []
    assert too_large(bad, **{**limits, "lines": 8}) == ["streams.model.bad has 9 lines"]
    assert too_large(bad, **{**limits, "function_lines": 7}) == ["streams.model.bad:2 long_and_deep has 8 lines"]
    assert too_large(bad, **{**limits, "nesting": 3}) == ["streams.model.bad:2 long_and_deep is nested 4 deep"]


@pytest.mark.parametrize("text", ["", '"""No full stop"""', '"""One. Two."""', '"""Broken\nin two lines."""'])
def test_a_poor_package_docstring_is_found(text: str) -> None:
    assert len(poor_package_docstring(Module("bad", text))) == 1
    assert poor_package_docstring(Module("good", '"""Version 1.2 of `x.y`: good.\n\nDetails. More."""')) == []


def test_a_folder_of_code_that_is_no_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "__init__.py").touch()
    (tmp_path / "inner" / "module.py").touch()
    assert packages_without_docstring_file(tmp_path) == [str(tmp_path / "inner")]


def test_a_name_that_resolves_outside_the_repository_is_found() -> None:
    assert [fault.split(" is")[0] for fault in resolved_elsewhere(["json", "no_such_name", "streams"])] == [
        "json",
        "no_such_name",
    ]


def test_every_file_is_looked_at() -> None:
    names = [module.name for module in modules("streams")]
    assert {"streams", "streams.model", "streams.model.order", "streams.runtime.faust.app"} <= set(names)
    assert len(names) == len(list((REPOSITORY / "streams").rglob("*.py")))


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("import socket\nsocket.create_connection(('127.0.0.1', 1))", "socket.getaddrinfo"),
        ("import socket\nsocket.socket().connect(('127.0.0.1', 1))", "socket.connect"),
        ("from pathlib import Path\nPath(__file__).with_name('x').touch()", "open"),
        ("import subprocess\nsubprocess.run(['true'])", "subprocess.Popen"),
        ("try:\n    open(__file__, 'a')\nexcept OSError:\n    pass", "open"),
    ],
)
def test_an_effect_of_an_import_is_found(text: str, event: str, tmp_path: Path) -> None:
    code, output = _import(text, tmp_path)
    assert code == 1
    assert output.startswith(f"bad: {event} ")


def test_reading_and_what_libraries_do_are_no_effects_of_an_import(tmp_path: Path) -> None:
    assert _import("import faust\nX = open(__file__).read()", tmp_path) == (0, "\n")


def _import(text: str, folder: Path) -> tuple[int, str]:
    """Import a module `bad` under watch, as if the repository were `folder`."""
    support = folder / "tests" / "support"
    support.mkdir(parents=True)
    for package in (support.parent, support):
        (package / "__init__.py").touch()
    (support / "import_effects.py").write_text((REPOSITORY / "tests" / "support" / "import_effects.py").read_text())
    (folder / "bad.py").write_text(text)
    command = [sys.executable, "-B", "-m", "tests.support.import_effects", "bad"]
    result = subprocess.run(command, cwd=folder, env=environment_with({}), capture_output=True, text=True)
    return result.returncode, result.stdout
