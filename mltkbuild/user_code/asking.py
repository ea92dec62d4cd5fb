"""Who asks: whether workspace code does something by itself or through a library's helper, or a library for itself."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from types import CodeType, FrameType

from mltkbuild.user_code.folders import is_library

# Libraries that ask the system for their own settings while they work. A variable of theirs counts when workspace code
# names it; what any other library asks for while workspace code waits for it counts, for it may be a helper that does
# nothing else, such as `decouple`.
_FOR_THEMSELVES = re.compile(
    r"absl|ai_edge_(?:litert|quantizer)|datasets|doit|filelock|fsspec|google|h5py|huggingface_hub|imageio|IPython|ipykernel"
    r"|jax|jaxlib|joblib|keras|librosa|llvmlite|matplotlib|ml_dtypes|mltk|mltkbuild|multiprocess|numba|numpy|optree|optuna"
    r"|pandas|PIL|pooch|psutil|pyarrow|pytest|requests|resampy|rich|scipy|seaborn|sklearn|skimage|soundfile|tensorboard"
    r"|tensorflow\w*|tf_keras|tflite_micro|threadpoolctl|torch\w*|tqdm|transformers|urllib3|wandb"
    # Python's own that look for folders, programs, proxies and terminals.
    r"|argparse|asyncio|concurrent|ctypes|gettext|http|importlib|logging|multiprocessing|pydoc|shutil|site|ssl|subprocess"
    r"|sysconfig|tempfile|unittest|urllib|warnings|webbrowser"
)
_LOADING = "<frozen importlib"
_RUNS_USER_CODE = ("mltkbuild.stages.", "mltkbuild.user_code.", "mltkbuild.workers.")


def asks(frame: FrameType | None, root: str, name: str) -> bool:
    """Say whether it is workspace code that asks for something by a name.

    Args:
        frame: Where it is asked.
        root: The workspace.
        name: What is asked for; empty for everything.
    """
    reader, outermost = "", None
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if frame.f_code.co_filename.startswith(_LOADING) or module.startswith(_RUNS_USER_CODE):
            # A library that is loaded asks for itself, and would not ask again; what runs a spec is not called by it.
            return False
        if is_workspace(frame, root):
            for_itself = outermost is not None and _FOR_THEMSELVES.fullmatch(reader)
            return not for_itself or _names(name, outermost, frame)
        top = module.partition(".")[0]
        if top not in sys.stdlib_module_names or _FOR_THEMSELVES.fullmatch(top):
            # What Python's own modules ask for, such as `pathlib` or `string`, they ask for whoever calls them.
            reader, outermost = reader or top, frame
        frame = frame.f_back
    return False


def says(frame: FrameType | None, root: str, name: str) -> bool:
    """Say whether the workspace code that asks has the name in its own text."""
    while frame is not None:
        if is_workspace(frame, root):
            return name in frame.f_code.co_consts
        frame = frame.f_back
    return False


def is_workspace(frame: FrameType, root: str) -> bool:
    """Say whether a frame runs code of the workspace, or code from a folder that is no library's."""
    filename = frame.f_code.co_filename
    if filename.startswith("<"):
        # Code that was made from a text belongs to the module that made it.
        filename = frame.f_globals.get("__file__") or ""
    return bool(filename) and not filename.startswith("<") and not is_library(filename, root)


def _names(name: str, called: FrameType | None, caller: FrameType) -> bool:
    """Say whether workspace code names what a library asks for: in its own text, or in what it hands over."""
    if not name or called is None:
        return False
    texts = [*_texts(called.f_locals[given] for given in _arguments(called.f_code) if given in called.f_locals)]
    texts += _texts(caller.f_code.co_consts)
    return any(name in text or (name in _HOME and text.startswith("~")) for text in texts)


_HOME = frozenset({"HOME", "USERPROFILE"})


def _arguments(code: CodeType) -> tuple[str, ...]:
    more = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)  # *args and **kwargs
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + more]


def _texts(values: Iterable[object]) -> Iterable[str]:
    """The texts among values, and among the items of those that hold some."""
    for value in values:
        if type(value) is str:
            yield value
        elif type(value) in (tuple, list, dict, set, frozenset):
            yield from (item for item in value if type(item) is str)  # type: ignore[attr-defined]  # told by its type
            if type(value) is dict:
                yield from (item for item in value.values() if type(item) is str)
