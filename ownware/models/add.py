"""Writes a row into the user's models file, and keeps all that stands there. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path

from pipelines.catalog.models_file import CatalogError, load_catalog
from pipelines.models.weights_check import check_weights

Value = str | int | float | tuple[str, ...]

_HEADER = """# What this server can draw with. docs/reference/models-file.md lists every key.
"""


def add_row(models_file: Path, table: str, row: Mapping[str, Value]) -> None:
    """Append a row to a table. The file is made if it is not there, and stays as it is if the row is wrong.

    Raises `CatalogError` for a row that cannot be used, and `OSError` for a file that cannot be written.
    """
    target = models_file.resolve()
    former = target.read_bytes().decode() if target.exists() else _HEADER
    text = f"{former.rstrip()}\n\n[[{table}]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in row.items())
    draft = target.with_name(f".{target.name}.draft")
    try:
        draft.write_bytes(text.encode())
        check_weights(load_catalog(draft), draft)
        if target.exists():
            draft.chmod(target.stat().st_mode)
        draft.replace(target)
    except CatalogError as error:
        raise CatalogError(str(error).replace(str(draft), str(models_file))) from error
    finally:
        draft.unlink(missing_ok=True)


def path_in_row(name: str, models_file: Path) -> str:
    """What to write for weights that the user names: a path of the shell counts from the models file there."""
    path = Path(name).expanduser()
    if not path.exists():
        return name
    found, folder = path.resolve(), models_file.resolve().parent
    return found.relative_to(folder).as_posix() if found.is_relative_to(folder) else str(found)


def _toml(value: Value) -> str:
    """A value in TOML. Its strings are those of JSON."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
