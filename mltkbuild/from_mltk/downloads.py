"""Downloads of other people's specs, by MLTK's signatures, into the folder of all data sets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mltkbuild.datasets.download import Source, fetch, public
from mltkbuild.datasets.places import folder_of
from mltkbuild.datasets.unpack import unpack, without_top
from mltkbuild.errors import DataError

_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}
"""By how many hexadecimal digits a digest has."""
_DATASETS = "datasets"


def as_it_is(name: str) -> str | None:
    """A member keeps its place."""
    return name


def download_verify_extract(  # noqa: PLR0913, PLR0917  # the arguments are MLTK's
    url: str,
    dest_dir: str | None = None,
    dest_subdir: str | None = None,
    download_dir: str | None = None,
    archive_fname: str | None = None,
    show_progress: bool = False,
    file_hash: str | None = None,
    file_hash_algorithm: str = "auto",
    logger: Any = None,
    extract_nested: bool = False,
    remove_root_dir: bool = False,
    clean_dest_dir: bool = True,
    update_onchange_only: bool = True,
    download_details_fname: str | None = None,
    extract: bool = True,
    return_uptodate: bool = False,
) -> Any:
    """Download an archive, check its digest, and unpack it; what was done before is not done again.

    Args:
        url: Where it is.
        dest_dir: Where its files go.
        dest_subdir: The same below the folder of all data sets; named like the archive when None.
        download_dir: Where the archive goes; `downloads` of the folder of all data sets when None.
        archive_fname: Its name there; that in the URL when None.
        show_progress: Progress is always shown.
        file_hash: Its MD5, SHA-1 or SHA-256 in hexadecimal digits; None for unchecked.
        file_hash_algorithm: Which of them; 'auto' for that of so many digits.
        logger: Not needed.
        extract_nested: Archives in the archive aren't unpacked: True is an error.
        remove_root_dir: Whether the one folder around the files is left out.
        clean_dest_dir: Whether the archive's files become all that is in the folder; else they are added.
        update_onchange_only: Downloading and unpacking again needs the file or the folder to be deleted.
        download_details_fname: MLTK's own file; there is none.
        extract: Whether the archive is unpacked.
        return_uptodate: Whether to say, too, whether nothing had to be done.

    Returns:
        The folder of its files, or the archive's path if it isn't unpacked.

    Raises:
        DataError: The archive can't be downloaded or unpacked, or isn't the one that its digest names.
    """
    name = archive_fname or urlsplit(url).path.rsplit("/", 1)[-1]
    if not name:
        raise DataError("a download needs a name", where=public(url), fix="give archive_fname")
    if extract_nested:
        fix = "unpack the inner archive in the function that downloads it"
        raise DataError("archives in archives aren't unpacked", where=url, found="extract_nested=True", fix=fix)
    source = Source(url, _digest(file_hash, file_hash_algorithm), name)
    downloads = Path(create_user_dir("downloads", download_dir) if not download_dir else fullpath(download_dir))
    was_there = (downloads / name).exists()
    archive = fetch(source, downloads)
    if not extract:
        return (str(archive), was_there) if return_uptodate else str(archive)
    folder = Path(fullpath(dest_dir) if dest_dir else create_user_dir(dest_subdir or name.partition(".")[0]))
    before = folder.stat().st_mtime_ns if folder.exists() else 0
    place = without_top if remove_root_dir else as_it_is
    unpack(archive, folder, source.digest, place, merge=not clean_dest_dir)
    done = was_there and folder.stat().st_mtime_ns == before
    return (str(folder), done) if return_uptodate else str(folder)


def _digest(value: str | None, algorithm: str) -> str:
    if not value:
        return ""
    name = algorithm if algorithm != "auto" else _ALGORITHMS.get(len(value), "")
    if name not in _ALGORITHMS.values() or not re.fullmatch("[0-9a-fA-F]+", value):
        fix = "give an MD5, SHA-1 or SHA-256 in hexadecimal digits"
        raise DataError("a digest isn't known", where="file_hash", found=f"{algorithm}:{value}"[:100], fix=fix)
    return f"{name}:{value.lower()}"


def download_url(url: str, dst_path: str, show_progress: bool = False, logger: Any = None) -> str:
    """Download a file unless it is there.

    Args:
        url: Where it is.
        dst_path: The file's path here.
        show_progress: Progress is always shown.
        logger: Not needed.

    Returns:
        The file's path.

    Raises:
        DataError: It can't be downloaded.
    """
    path = Path(fullpath(dst_path))
    # A function may have changed it on purpose, to another rate for example.
    return str(path if path.exists() else fetch(Source(url, name=path.name), path.parent))


def create_user_dir(suffix: str = "", base_dir: str | None = None) -> str:
    """Make a folder for data.

    Args:
        suffix: A name; `datasets/NAME` and `NAME` are both NAME of the folder of all data sets, and nothing is the
            folder that `datasets` is in.
        base_dir: Where it is made; None for `MLTK_CACHE_DIR` if that is set, else for the workspace.
    """
    parts = [part for part in suffix.replace("\\", "/").split("/") if part]
    base = base_dir or os.environ.get("MLTK_CACHE_DIR")
    if base:
        folder = Path(fullpath(base), *parts)
    elif parts:
        folder = folder_of(None, "/".join(parts[1:] if parts[0] == _DATASETS and parts[1:] else parts))
    else:
        folder = folder_of(None, "").parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder.as_posix()


def fullpath(path: str, cwd: str | None = None) -> str:
    """An absolute path with `~` and environment variables replaced, below `cwd` if it is relative."""
    return Path(os.path.abspath(os.path.join(cwd or "", os.path.expanduser(os.path.expandvars(path))))).as_posix()


def recursive_listdir(
    base_dir: str,
    followlinks: bool = True,
    regex: str | re.Pattern[str] | Callable[[str], Any] | None = None,
    return_relative_paths: bool = False,
) -> list[str]:
    """List all files below a folder, sorted.

    Args:
        base_dir: The folder.
        followlinks: Whether folders behind symbolic links are listed; each real folder is listed once.
        regex: What the beginning of a path must match, or a function that says whether the path is wanted.
        return_relative_paths: Whether paths begin below the folder.
    """
    base = fullpath(base_dir)
    wanted = regex if callable(regex) else re.compile(regex or "").match
    found: list[str] = []
    seen: set[str] = set()
    for root, folders, names in os.walk(base, followlinks=followlinks):
        real = os.path.realpath(root)
        if real in seen:  # a link that leads back would never end
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            path = Path(root, name).as_posix()
            path = os.path.relpath(path, base) if return_relative_paths else path
            if wanted(path):
                found.append(path)
    return sorted(found)
