"""Load Keras models that no workspace made: `.keras` files, and `.h5` files of Keras 2 too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mltkbuild.errors import StageError, UsageError
from mltkbuild.tflite import keras_claims

# In what Keras says when safe mode refuses something.
_UNSAFE = ("safe_mode", "unsafe deserialization", "unsafe_deserialization", "Lambda", "outside of the model archive")
SUFFIXES = (".keras", ".h5", ".hdf5")


def load(path: Path, *, trust: bool = False, compiled: bool = False) -> Any:
    """Load a model.

    Args:
        path: A `.keras` or `.h5` file.
        trust: Whether code inside the file, such as that of a Lambda layer, may run.
        compiled: Whether its loss and metrics are wanted too.

    Raises:
        StageError: It can't be loaded, claims more than it holds, or leads to other files.
        UsageError: It holds code, and isn't trusted.
    """
    import keras

    if path.is_file():
        keras_claims.check(path)
    try:
        return keras.saving.load_model(path, custom_objects=_of_keras_2(), compile=compiled, safe_mode=not trust)
    except Exception as error:  # Keras and h5py may raise anything on a damaged or foreign file
        message = " ".join(str(error).split())
        if not trust and any(word in message for word in _UNSAFE):
            raise UsageError(
                "the model holds Python code, which would run when it is loaded",
                where=path,
                found=message[:200],
                fix="give --trust if you trust its maker",
            ) from error
        raise StageError(
            "the Keras model can't be loaded",
            where=path,
            found=message[:300] or type(error).__name__,
            fix="give a whole .keras or .h5 file of layers that Keras has; one with own layers is built from a spec",
        ) from error


def _of_keras_2() -> dict[str, Any]:
    """Layers whose saved settings Keras 3 no longer takes."""
    import keras

    class WithoutGroups:
        """Stands for the layer of Keras 2, which saves `groups` although it has only one way to group."""

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            """Make the layer of Keras 3."""
            config.pop("groups", None)
            return keras.layers.DepthwiseConv2D.from_config(config)

    return {"DepthwiseConv2D": WithoutGroups}
