"""The pictures of a folder that is to be judged."""

from pathlib import Path

from synthdet.errors import UsageError

_NO_PICTURES = {".csv", ".json", ".txt", ".md", ".zip", ".npz"}


def list_pictures(folder: Path) -> list[Path]:
    """Every file that may be a picture, whatever its extension: a missing row loses the contest.

    Raises:
        UsageError: none, or two of the same name.
    """
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and path.suffix.lower() not in _NO_PICTURES
    ]
    if not files:
        raise UsageError(f"--test_dir: {folder} holds no files, expected the test pictures")
    seen: dict[str, Path] = {}
    for path in files:
        if path.name in seen:
            raise UsageError(
                f"--test_dir: {seen[path.name]} and {path} have the same name, but image_id is the "
                "name alone: give a folder with one of them"
            )
        seen[path.name] = path
    return files
