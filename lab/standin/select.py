"""The one kind of statement that is answered: a plain SELECT on one of the tables."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from lab.standin.frames import INVALID, SYNTAX_ERROR, cell, error, rows
from lab.standin.tables import TABLES

if TYPE_CHECKING:
    from lab.standin.node import Node

_SELECT = re.compile(
    r"\s*SELECT\s+(?P<columns>\*|[\w\s,]+?)\s+FROM\s+(?P<table>\w+\.\w+)"
    r"(?:\s+WHERE\s+(?P<where>\w+)\s*=\s*'(?P<value>[^']*)')?"
    r"(?:\s+LIMIT\s+(?P<limit>\d+))?(?:\s+ALLOW FILTERING)?\s*;?\s*",
    re.IGNORECASE,
)


class Unanswerable(Exception):
    """The answer is an ERROR."""

    def __init__(self, code: int, message: str, more: bytes = b"") -> None:
        super().__init__(message)
        self.body = error(code, message, more)


@dataclass(frozen=True)
class Select:
    """A statement that was understood: a table, columns by number, at most one cell that must be so."""

    table: str
    columns: tuple[int, ...]
    where: tuple[int, bytes] | None
    limit: int | None


@lru_cache(256)
def select(statement: str) -> Select:
    """Understand a statement.

    Raises:
        Unanswerable: it is not a plain SELECT, or there is no such table or column.
    """
    found = _SELECT.fullmatch(statement)
    if found is None:
        raise Unanswerable(SYNTAX_ERROR, "The stand-in answers SELECTs on system tables only")
    name = found["table"].lower()
    if name not in TABLES:
        keyspace, _, table = name.partition(".")
        known = any(other.startswith(f"{keyspace}.") for other in TABLES)
        raise Unanswerable(INVALID, f"table {table} does not exist" if known else f"keyspace {keyspace} does not exist")
    columns = TABLES[name].columns
    names = [column for column, _ in columns]

    def number(word: str) -> int:
        if word not in names:
            raise Unanswerable(INVALID, f"Undefined column name {word} in table {name}")
        return names.index(word)

    words = names if found["columns"] == "*" else [w.strip().lower() for w in found["columns"].split(",")]
    where = None
    if found["where"]:
        at = number(found["where"].lower())
        where = at, cell(columns[at][1], found["value"])
    return Select(name, tuple(map(number, words)), where, int(found["limit"]) if found["limit"] else None)


def answer(node: "Node", chosen: Select) -> bytes:
    """The body of the RESULT."""
    table = TABLES[chosen.table]
    keyspace, _, name = chosen.table.partition(".")
    found = table.rows(node)
    if chosen.where:
        at, wanted = chosen.where
        found = (row for row in found if row[at] == wanted)
    content = [b"".join([row[i] for i in chosen.columns]) for row in found]
    return rows(keyspace, name, [table.columns[i] for i in chosen.columns], content[: chosen.limit])
