"""The folder of the compiler's files during a run: empty at its start, and gone at its end.

So the first render of a kind measures its compilation. Knows a folder and a variable; knows no row.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.models.loading.compiling import FOLDER_VARIABLE


@contextmanager
def compiler_files(folder: Path, *, keep: bool = False) -> Iterator[None]:
    """Have the compiler's files in a folder inside the `with`, unless the environment names another one.

    `keep` leaves what is there: a run that goes on in a new process has compiled already.
    """
    if FOLDER_VARIABLE in os.environ and os.environ[FOLDER_VARIABLE] != str(folder):
        yield
        return
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(FOLDER_VARIABLE, None)
        shutil.rmtree(folder, ignore_errors=True)
