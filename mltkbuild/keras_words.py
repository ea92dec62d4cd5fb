"""What Keras and TensorFlow say, in fewer words: the line that tells, and a hint for a name that Keras doesn't know."""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

from mltkbuild.errors import did_you_mean

_NODES = re.compile(r" for '\{\{node [^']*'|\{\{[^}]*\}\}|\[Op:\w+\]( name: *$)?|\x1b\[[0-9;]*m")
_AROUND = ("Graph execution error", "Detected at node", "File ", "Stack", "<stack", "[[")
_CALLING = re.compile(r"Exception encountered when calling (?P<what>.+?)\.?$")
_UNKNOWN = re.compile(r"Could not interpret (?P<kind>\w+)(?: function)? identifier: (?P<name>\S+)")
_MODULES = {"activation": "activations", "loss": "losses", "metric": "metrics", "optimizer": "optimizers"}
_MODULES |= {f"{kind}": f"{kind}s" for kind in ("initializer", "regularizer", "constraint")}


class Unknown(NamedTuple):
    """A name that Keras doesn't know, as an error tells it."""

    what: str
    found: str
    fix: str


def gist(message: str) -> str:
    """The line of a message that says what is wrong, without the names of graph nodes and what was called."""
    lines = [" ".join(_NODES.sub("", line).split()) for line in message.splitlines()]
    telling = [line for line in lines if line and not line.startswith(_AROUND)]
    if len(telling) > 1 and (calling := _CALLING.match(telling[0])):
        return f"{telling[1]} (in {calling['what']})"
    return telling[0] if telling else ""


def unknown_name(message: str) -> Unknown | None:
    """What to say of a message about a name that Keras doesn't know; None for another message."""
    found = _UNKNOWN.search(message)
    if found is None or (kind := found["kind"]) not in _MODULES:
        return None
    keras = sys.modules.get("keras")
    names = vars(getattr(keras, _MODULES[kind], None) or object).keys()
    known = {name for name in names if not name.startswith("_") and name not in ("get", "serialize", "deserialize")}
    # Keras takes an optimizer's class in small letters, and has a word for the accuracy that fits.
    known |= {name.lower() for name in known} if kind == "optimizer" else set()
    known |= {"accuracy"} if kind == "metric" else set()
    name = found["name"].strip("'\"")
    return Unknown(f"Keras has no {kind} of this name", name, did_you_mean(name, known))
