"""Contents by their digest: files of the data folder, or rows where runners share no disk."""

import hashlib
import shutil
from pathlib import Path
from typing import Protocol

from testops.runner.files import make_folder


class BlobStore(Protocol):
    """Contents by their digest."""

    def put(self, path: Path) -> str:
        """Keep the content of `path`; its sha256."""
        ...

    def fetch(self, sha256: str, target: Path) -> None:
        """Put the content at `target`."""
        ...


class FolderBlobs:
    """Contents as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, path: Path) -> str:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        target = self._folder / sha256[:2] / sha256
        if not target.is_file():
            make_folder(target.parent)
            aside = target.with_suffix(".tmp")
            shutil.copyfile(path, aside)
            aside.replace(target)
        return sha256

    def fetch(self, sha256: str, target: Path) -> None:
        shutil.copyfile(self._folder / sha256[:2] / sha256, target)
