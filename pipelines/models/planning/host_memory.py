"""The host memory that is free for weights: what the system has, within the limit of a container.

Reads Linux's own files; elsewhere the memory that is installed counts.
"""

import os
import re
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
# A container's limit of memory, "max" where there is none, and what it uses now.
_CGROUP_LIMIT, _CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_CGROUP_STAT = Path("/sys/fs/cgroup/memory.stat")


def free_host_memory() -> int:
    """The bytes that can be had without swapping. Cached files count as free, because the system drops them."""
    return max(0, min(_system(), _container()))


def _system() -> int:
    if _MEMINFO.exists() and (found := re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)):
        return int(found[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _container() -> int:
    limit = _number(_CGROUP_LIMIT)
    if limit is None:
        return 2**63
    cached = 0
    if _CGROUP_STAT.exists() and (found := re.search(r"^inactive_file (\d+)", _CGROUP_STAT.read_text(), re.MULTILINE)):
        cached = int(found[1])
    return limit - (_number(_CGROUP_USED) or 0) + cached


def _number(path: Path) -> int | None:
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text.isdecimal() else None
