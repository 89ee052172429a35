"""The table of API keys in the server's database. The server reads it at each request, so changes hold at once.

A command changes it while the server runs: each has a connection of its own, and WAL lets both work. Knows no wire
format and no HTTP.
"""

import sqlite3
import time
from pathlib import Path

from server.keys.api_key import PREFIX_LENGTH, ApiKey, KeyLimits, hash_secret, new_owner, new_secret

DATABASE_NAME = "ownware.sqlite"  # in the data folder
# A command waits this long while the server writes. The server only reads, and waits for no writer.
BUSY_SECONDS = 10.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS api_keys (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    owner TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    weight REAL NOT NULL,
    rate INTEGER,
    concurrency INTEGER,
    created REAL NOT NULL,
    expires REAL,
    revoked REAL
);
"""


class KeyNameTaken(ValueError):
    """There is a key of that name."""


class NoSuchKey(LookupError):
    """There is no key of that name."""


class KeyTable:
    """The keys of one data folder, over a connection of its own. Raises `sqlite3.Error` and `OSError`.

    It may be made in one thread and used in another, but in one at a time.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / DATABASE_NAME
        self._connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(SCHEMA)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def add(self, name: str, limits: KeyLimits, expires: float | None = None) -> str:
        """Add a key. Returns its secret, which is kept nowhere. Raises `KeyNameTaken`."""
        secret = new_secret()
        key = ApiKey(name, new_owner(), secret[:PREFIX_LENGTH], limits, time.time(), expires)
        values = (
            key.name,
            key.owner,
            hash_secret(secret.encode()),
            key.prefix,
            limits.weight,
            limits.rate,
            limits.concurrency,
            key.created,
            key.expires,
        )
        query = (
            "INSERT INTO api_keys (name, owner, hash, prefix, weight, rate, concurrency, created, expires) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING"
        )
        if not self._connection.execute(query, values).rowcount:
            raise KeyNameTaken(name)
        return secret

    def rotate(self, name: str) -> str:
        """Replace the secret of a key, and lift a revocation. Its owner stays. Returns the secret.

        Raises `NoSuchKey`.
        """
        secret = new_secret()
        query = "UPDATE api_keys SET hash = ?, prefix = ?, revoked = NULL WHERE name = ?"
        values = (hash_secret(secret.encode()), secret[:PREFIX_LENGTH], name)
        if not self._connection.execute(query, values).rowcount:
            raise NoSuchKey(name)
        return secret

    def revoke(self, name: str) -> None:
        """Accept a key no longer. Its tasks go on. Raises `NoSuchKey`."""
        query = "UPDATE api_keys SET revoked = coalesce(revoked, ?) WHERE name = ?"
        if not self._connection.execute(query, (time.time(), name)).rowcount:
            raise NoSuchKey(name)

    def all(self) -> list[ApiKey]:
        """Every key, in the order of their names."""
        return [_key(row) for row in self._connection.execute("SELECT * FROM api_keys ORDER BY name")]

    def any(self) -> bool:
        """Whether there has ever been a key. A server whose last key was revoked does not become open again."""
        return self._connection.execute("SELECT EXISTS (SELECT 1 FROM api_keys)").fetchone()[0] == 1

    def find(self, secret: bytes) -> ApiKey | None:
        """The key of a secret, accepted or not. None for an unknown one."""
        return self._find("hash", hash_secret(secret))

    def of_owner(self, owner: str) -> ApiKey | None:
        """The key of an owner, or None."""
        return self._find("owner", owner)

    def _find(self, column: str, value: str) -> ApiKey | None:
        row = self._connection.execute(f"SELECT * FROM api_keys WHERE {column} = ?", (value,)).fetchone()
        return None if row is None else _key(row)


def _key(row: sqlite3.Row) -> ApiKey:
    return ApiKey(
        name=row["name"],
        owner=row["owner"],
        prefix=row["prefix"],
        limits=KeyLimits(row["weight"], row["rate"], row["concurrency"]),
        created=row["created"],
        expires=row["expires"],
        revoked=row["revoked"],
    )
