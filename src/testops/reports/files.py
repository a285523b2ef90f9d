"""How a report reaches the disk: whole or not at all; half a page reads like a short one."""

import os
from collections.abc import Mapping
from pathlib import Path

from testops.domain.errors import OutputNotWritable


def write_reports(folder: Path, pages: Mapping[str, str]) -> list[Path]:
    """Write each page under its name in `folder`, replacing the former; their paths, in order."""
    return [_write(folder / name, text) for name, text in pages.items()]


def _write(target: Path, text: str) -> Path:
    # One name a process: the remains of a killed one are replaced by the next with its id, and
    # `reports/` is emptied by `make clean`; two at once each rename a whole page.
    temporary = target.with_name(f".{target.name}.{os.getpid()}.testops-tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(text.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputNotWritable(
            f"cannot be written ({error.strerror or error})", where=str(target)
        ) from error
    return target
