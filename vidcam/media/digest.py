"""A fingerprint of a source, so that a picture can be traced to what it was made from."""

import hashlib
from pathlib import Path


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names in sorted order."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    parts = [f"{file.name} {digest(file)}" for file in sorted(path.iterdir()) if file.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
