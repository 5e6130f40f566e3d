"""The plan of the house: who may import whom, read from the source and kept by force.

Two wings that never meet, and a roof that joins them: the mining wing (stratum over native) knows nothing
of money or law, the money wing (reporting over payouts over register) nothing of sockets or databases.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
MAY_IMPORT = {
    "native": set[str](),
    "stratum": {"native"},
    "register": set[str](),
    "payouts": {"register"},
    "reporting": {"payouts", "register"},
    "pool": {"native", "stratum", "register", "payouts", "reporting"},
}
INPUT_OUTPUT = {
    *("aiohttp", "asyncio", "asyncpg", "fastapi", "httpx", "selectors", "socket", "sqlalchemy", "sqlite3"),
    *("ssl", "subprocess", "threading", "time", "uvloop", "zmq"),
}
"""What the money wing and the session do not touch: I/O and the clock are at the edge."""
SESSION = HOUSE / "stratum" / "session.py"


def sources(package: str) -> list[Path]:
    return sorted(path for path in (HOUSE / package).rglob("*") if path.suffix in (".py", ".pyi"))


def imported(path: Path) -> set[str]:
    """The full names that a file of the house imports, wherever in it."""
    return set(imported_by(ast.parse(path.read_text("utf-8"), str(path)), path.relative_to(HOUSE).parts[0]))


def imported_by(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                yield f"{package}.{node.module or ''}" if node.level else node.module or ""
            case (
                ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=name), *_])
                | ast.Call(
                    func=ast.Name(id="import_module" | "__import__"), args=[ast.Constant(value=name), *_]
                )
            ):
                yield str(name)


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    files = sources(package)
    assert files, f"{package}/ holds no Python"
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{path.relative_to(HOUSE)} imports {name}"
        for path in files
        for name in imported(path)
        if name.split(".")[0] in MAY_IMPORT and name.split(".")[0] not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "path", [SESSION, *sources("register"), *sources("payouts"), *sources("reporting")], ids=str
)
def test_domain_logic_is_pure(path: Path) -> None:
    assert sorted({name.split(".")[0] for name in imported(path)} & INPUT_OUTPUT) == []


def test_every_way_to_import_is_seen() -> None:
    """The test of the tests."""
    source = """
import pool.cli as roof, json
from stratum.job import Template
def late():
    from . import sibling
    from .pplns import split
    importlib.import_module("sqlalchemy")
    __import__("socket")
"""
    assert list(imported_by(ast.parse(source), "payouts")) == [
        "pool.cli",
        "json",
        "stratum.job",
        "payouts.",
        "payouts.pplns",
        "sqlalchemy",
        "socket",
    ]
