"""Small helpers of MLTK's that its specs call."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from typing import Any

from mltkbuild.errors import SpecError
from mltkbuild.spec.properties import place_of_caller


class DictObject(dict[str, Any]):
    """A dictionary whose entries are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def load_tflite_or_keras_model(*args: Any, **options: Any) -> None:
    """Say how a model is loaded here.

    Raises:
        SpecError: Always; which file a spec would get is the build's to know.
    """
    raise SpecError(
        "load_tflite_or_keras_model isn't provided",
        where=place_of_caller(),
        fix="`mltk build NAME` makes the files; then keras.models.load_model('build/NAME/NAME.keras') loads one",
    )


def install_pip_package(package: str, module_name: str | None = None, *more: Any, **options: Any) -> None:
    """Say which package is missing: a build changes nobody's environment.

    Args:
        package: The package, with or without a version.
        module_name: What it is imported as; the package's name when None.
        more: MLTK's further arguments.
        options: The same.

    Raises:
        SpecError: It isn't installed.
    """
    name = module_name or re.split(r"[\s=<>~!\[;]", package, maxsplit=1)[0]
    if importlib.util.find_spec(name.partition(".")[0]) is not None:
        return
    raise SpecError(
        f"the spec needs the package {package}",
        where=place_of_caller(),
        found=f"no module {name}",
        fix=f"pip install '{package}'; a build installs nothing by itself",
    )


def prepend_exception_msg(e: Exception, msg: str) -> Exception:
    """Put words before an exception's own, and give it back."""
    e.args = (", ".join(str(part) for part in (msg, *e.args)),)
    return e


def append_exception_msg(e: Exception, msg: str) -> Exception:
    """Put words behind an exception's own, and give it back."""
    e.args = (", ".join(str(part) for part in (*e.args, msg)),)
    return e


def generate_hash(*args: Any) -> str:
    """The MD5 of some values in hexadecimal digits: of bytes, of UTF-8, and of what other values look like as text."""
    digest = hashlib.md5(usedforsecurity=False)
    waiting = list(reversed(args))
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(part for item in reversed(value.items()) for part in reversed(item))
        elif isinstance(value, list | tuple):
            waiting.extend(reversed(value))
        else:
            digest.update(value if isinstance(value, bytes | bytearray) else str(value).encode())
    return digest.hexdigest()
