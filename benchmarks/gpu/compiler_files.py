"""The folder of the compiler's files during a run: empty at its start, and gone at its end.

So the first render of a kind measures its compilation. Knows a folder and a variable; knows no row.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@contextmanager
def compiler_files(folder: Path, *, keep: bool = False) -> Iterator[None]:
    """Have the compiler's files in a folder inside the `with`, unless the environment names another one.

    `keep` leaves what is there: a run that goes on in a new process has compiled already.
    """
    if VARIABLE in os.environ and os.environ[VARIABLE] != str(folder):
        yield
        return
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        shutil.rmtree(folder, ignore_errors=True)
