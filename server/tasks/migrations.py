"""Changes to databases that older versions wrote, in order. A database remembers how many of them it has had.

Knows the tables as they were; each change stays as it is once it is released.
"""

import sqlite3


def collect_task_ids(connection: sqlite3.Connection) -> None:
    """From version 0.1: the ids of jobs, uploads and preprocessing tasks each stood in a table of their own.

    An id that stood in several keeps the task that `getResponse` found: an upload, else a job.
    """
    connection.execute(
        "INSERT OR IGNORE INTO task_ids (owner, task_id, kind, released) "
        "SELECT owner, lower(task_uuid), 'lora', error IS NOT NULL FROM uploads"
    )
    connection.execute(
        "INSERT OR IGNORE INTO task_ids (owner, task_id, kind, released) "
        "SELECT owner, lower(task_uuid), 'job', state IN ('failed', 'cancelled') FROM jobs"
    )
    if not _has_table(connection, "guides"):
        return
    connection.execute(
        "INSERT OR IGNORE INTO task_ids (owner, task_id, kind, expires) "
        "SELECT owner, task_uuid, 'picture', expires FROM guides"
    )
    task = (
        "json_object('taskType', task_type, 'taskUUID', told_uuid, 'outputType', output_type, "
        "'includeCost', json(iif(include_cost, 'true', 'false')))"
    )
    connection.execute(
        "INSERT INTO picture_tasks (owner, task_id, task, picture_uuid, input_uuid, warnings) "
        f"SELECT guides.owner, task_uuid, {task}, guide_uuid, input_uuid, warnings "
        "FROM guides JOIN task_ids ON task_ids.owner = guides.owner AND task_id = task_uuid AND kind = 'picture'"
    )
    connection.execute("DROP TABLE guides")


def spell_job_ids(connection: sqlite3.Connection) -> None:
    """From version 0.1: a job's id was in lower case, and its sender's spelling in the task only."""
    connection.execute(
        "UPDATE jobs SET task_uuid = json_extract(task, '$.taskUUID') "
        "WHERE lower(json_extract(task, '$.taskUUID')) = lower(task_uuid)"
    )


def count_attempts(connection: sqlite3.Connection) -> None:
    """From version 0.1: a job that took the server down was tried again at each start, without an end."""
    _add_columns(connection, "jobs", attempts="INTEGER NOT NULL DEFAULT 0")


def name_dialects(connection: sqlite3.Connection) -> None:
    """From version 0.1: there was one dialect, and nothing was delivered."""
    _add_columns(
        connection,
        "jobs",
        dialect="TEXT NOT NULL DEFAULT 'runware'",
        webhook="TEXT NOT NULL DEFAULT 'null'",
        upload="TEXT NOT NULL DEFAULT 'null'",
    )


def forget_inputs_as_sent(connection: sqlite3.Connection) -> None:
    """From version 0.1: the file of an input was the sender's. Tasks that wait keep it, and no later one finds it."""
    connection.execute("UPDATE media SET sha256 = 'as sent: ' || sha256 WHERE kind = 'input'")


def estimate_jobs(connection: sqlite3.Connection) -> None:
    """From version 0.1: nobody knew how long a waiting job would take."""
    _add_columns(connection, "jobs", estimate="REAL NOT NULL DEFAULT 0")


def hold_ends(connection: sqlite3.Connection) -> None:
    """From version 0.1: nothing was uploaded, so no result could fail and no end had to wait."""
    _add_columns(connection, "jobs", held_end="TEXT")
    _add_columns(connection, "results", failure="TEXT")


def keep_content_checks(connection: sqlite3.Connection) -> None:
    """From version 0.1: no image was checked."""
    _add_columns(connection, "jobs", safety="TEXT")
    _add_columns(connection, "results", unsafe="INTEGER")


def count_images(connection: sqlite3.Connection) -> None:
    """From version 0.1: images were counted by the jobs that are kept."""
    connection.execute(
        "INSERT OR IGNORE INTO image_counts SELECT owner, CAST(created / 86400 AS INTEGER) AS day, count(*) "
        "FROM results JOIN jobs ON jobs.id = job_id GROUP BY owner, day"
    )


def keep_traces(connection: sqlite3.Connection) -> None:
    """From version 0.1: no task had a trace."""
    _add_columns(connection, "jobs", traceparent="TEXT")


def list_images(connection: sqlite3.Connection) -> None:
    """From version 0.1: nobody could ask for the images of a key. A request that cannot be read lists none."""
    readable = "iif(json_valid(request), json_extract(request, '$.{}'), NULL)"
    found = connection.execute(
        f"SELECT image_uuid, jobs.owner, task_uuid, {readable.format('model')}, {readable.format('prompt')} AS prompt, "
        "seed, unsafe FROM results JOIN jobs ON jobs.id = job_id JOIN media ON media.uuid = image_uuid "
        "WHERE prompt IS NOT NULL ORDER BY media.created"
    ).fetchall()
    connection.executemany(
        "INSERT OR IGNORE INTO gallery (image_uuid, owner, task_uuid, model, prompt, folded_prompt, seed, unsafe) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(*row[:5], row[4].casefold(), *row[5:]) for row in map(tuple, found)],
    )


def keep_priorities(connection: sqlite3.Connection) -> None:
    """From version 0.1: all tasks were of the same priority."""
    _add_columns(connection, "jobs", priority="TEXT NOT NULL DEFAULT 'normal'")


def deliver_pictures(connection: sqlite3.Connection) -> None:
    """Before version 0.2: only jobs were delivered, in a table of another name."""
    null = "TEXT NOT NULL DEFAULT 'null'"
    _add_columns(connection, "picture_tasks", webhook=null, failure=null)
    if not _has_table(connection, "deliveries"):
        return
    columns = "id, job_id, kind, position, message_id, url, host, delays, state, tries, due, error"
    connection.execute(f"INSERT INTO outbox ({columns}) SELECT {columns} FROM deliveries")
    connection.execute("DROP TABLE deliveries")


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (name,)).fetchone() is not None


def keep_busy_seconds(connection: sqlite3.Connection) -> None:
    """From version 0.1: no two images were under way at once."""
    _add_columns(connection, "results", busy="REAL")


def _add_columns(connection: sqlite3.Connection, table: str, **columns: str) -> None:
    """Add the columns that a table does not have: a new database has all of them before its first migration."""
    known = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
    for name, declaration in columns.items():
        if name not in known:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {declaration}")


MIGRATIONS = (
    collect_task_ids,
    spell_job_ids,
    count_attempts,
    name_dialects,
    forget_inputs_as_sent,
    estimate_jobs,
    hold_ends,
    keep_content_checks,
    count_images,
    keep_traces,
    list_images,
    keep_priorities,
    deliver_pictures,
    keep_busy_seconds,
)
