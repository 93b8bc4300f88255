"""Every prerequisite that is missing or too old is named, all at once, with what to install."""

from __future__ import annotations

import pytest

from stack.errors import StackError
from stack.prerequisites import GO, JAVA, MAVEN, Prerequisite, check_prerequisites, fault_of, parse_version


def stub(output: str, *, lowest: tuple[int, ...] = (17,)) -> Prerequisite:
    return Prerequisite(
        title="Java", command=("echo", output), version=JAVA.version, lowest=lowest, remedy="apt-get install java"
    )


MISSING = Prerequisite(title="Go", command=("no-such-go",), version="", lowest=(1, 24), remedy="https://go.dev/dl/")


@pytest.mark.parametrize(
    ("item", "text", "version"),
    [
        (JAVA, 'openjdk version "17.0.15" 2025-04-15', (17, 0)),
        (JAVA, 'openjdk version "21" 2023-09-19', (21,)),
        (JAVA, 'java version "1.8.0_392"', (1, 8)),
        (MAVEN, "Apache Maven 3.8.7", (3, 8)),
        (GO, "go version go1.26.8 linux/amd64", (1, 26)),
        (GO, "go version devel", None),
    ],
)
def test_versions_are_read_from_each_programs_own_words(
    item: Prerequisite, text: str, version: tuple[int, ...] | None
) -> None:
    assert parse_version(item, text) == version


def test_a_new_enough_program_is_no_fault() -> None:
    assert fault_of(stub('openjdk version "17.0.1"')) is None
    assert fault_of(stub('openjdk version "21"')) is None


def test_an_old_program_is_named_with_its_version_and_the_remedy() -> None:
    fault = fault_of(stub('openjdk version "11.0.2"'))
    assert fault == "Java 11.0 is too old; Java 17 or later is needed: apt-get install java"


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(StackError) as refusal:
        check_prerequisites([MISSING, stub('openjdk version "11.0.2"'), MISSING])
    first, second = str(refusal.value).splitlines()
    assert first.startswith("no-such-go is not installed; Go 1.24")
    assert second.startswith("Java 11.0")
