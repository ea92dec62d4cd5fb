"""A SavedModel of TensorFlow as a Keras model: one layer that calls its serving signature.

A SavedModel holds a graph and no Python. Yet operators of a graph may read and write files, or call Python that the
process has registered, and some run as it is loaded. So its operators are looked through before that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mltkbuild.errors import StageError, UsageError

FILE = "saved_model.pb"
"""What a folder holds that is a SavedModel."""
_SIGNATURE = "serving_default"
_LARGEST = 1 << 31
# Operators that reach beyond their graph, by their names: files, the network, the terminal, Python.
_OUTSIDE = re.compile(
    r"PyFunc|File|Summary|Debug|Print|Snapshot|CacheDataset|DataService|Rpc|Socket|LMDB|Reader|RecordInput|RecordDataset"
    r"|^(Save|Restore|MergeV2|TextLine|FixedLength|Sql|Bigtable|Experimental|Checkpoint|Infeed|Outfeed|Xla|TPU|Collective)"
)


def load(path: Path, *, trust: bool = False) -> Any:
    """Load a SavedModel as a Keras model with its inputs' names and shapes.

    Args:
        path: The folder.
        trust: Whether operators that reach beyond the graph may run.

    Raises:
        StageError: It can't be loaded, or has no serving signature.
        UsageError: It has such operators and isn't trusted.
    """
    import tensorflow as tf

    if not trust and (found := sorted(set(_reaching_out(path)))):
        raise UsageError(
            "the SavedModel has operators that reach files, the network or Python, which may run when it is loaded",
            where=path,
            found=", ".join(found[:5]),
            fix="give --trust if you trust its maker",
        )
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow may raise anything on a damaged or foreign folder
        raise _unusable(path, " ".join(str(error).split())[:300] or type(error).__name__) from error
    signatures: Mapping[str, Any] = loaded.signatures
    if _SIGNATURE not in signatures:
        raise _unusable(path, f"no signature {_SIGNATURE}; it has {', '.join(signatures) or 'none'}")
    return _as_keras(path, loaded, signatures[_SIGNATURE])


def _unusable(path: Path, found: str) -> StageError:
    fix = "give a whole SavedModel with a serving signature, as `model.export(folder)` of Keras writes it"
    return StageError("the SavedModel can't be loaded", where=path, found=found, fix=fix)


def _as_keras(path: Path, loaded: Any, signature: Any) -> Any:
    """A functional model around a signature; its inputs in the alphabet's order, as TensorFlow has them."""
    import keras

    specs: Mapping[str, Any] = signature.structured_input_signature[1]
    if unknown := [name for name, spec in specs.items() if not spec.shape.rank]:
        raise _unusable(path, f"an input without a shape: {', '.join(unknown)}")
    outputs = sorted(signature.structured_outputs)

    class SavedModel(keras.layers.Layer):  # type: ignore[misc]
        """Calls the signature."""

        def __init__(self) -> None:
            super().__init__(name="saved_model")
            # The variables live as long as what was loaded.
            self.loaded, self.signature = loaded, signature

        def call(self, inputs: Any) -> Any:
            """Run the graph on one tensor an input."""
            found = self.signature(**dict(zip(specs, inputs, strict=True)))
            return [found[name] for name in outputs]

    inputs = [
        keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name, name=name) for name, spec in specs.items()
    ]
    answers = SavedModel()(inputs)
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        dict(zip(outputs, answers, strict=True)) if len(outputs) > 1 else answers[0],
    )


def _reaching_out(path: Path) -> Iterator[str]:
    """The operators that reach beyond the graph, of all that can run when the model is loaded or called.

    Raises:
        StageError: The file is no SavedModel's.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    file = path / FILE
    try:
        if file.stat().st_size > _LARGEST:
            raise _unusable(path, f"{FILE} of {file.stat().st_size} bytes")
        document = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except OSError as error:
        raise _unusable(path, f"{FILE}: {error.strerror}") from error
    except Exception as error:  # protobuf has an error of its own for each of its implementations
        raise _unusable(path, f"{FILE} is damaged: {error}") from error
    for meta in document.meta_graphs:
        functions = {function.signature.name: function for function in meta.graph_def.library.function}
        if len(document.meta_graphs) == 1 and meta.HasField("object_graph_def"):
            # So TensorFlow 2 knows its own; then nodes outside of functions, such as those that save, are not run.
            waiting = [name for name in meta.object_graph_def.concrete_functions if name in functions]
        else:
            waiting = list(functions)
            yield from _outside(meta.graph_def.node)
        seen = set(waiting)
        while waiting:
            nodes = functions[waiting.pop()].node_def
            yield from _outside(nodes)
            called = {name for node in nodes for name in _called(node, functions)} - seen
            seen |= called
            waiting += called


def _outside(nodes: Any) -> Iterator[str]:
    return (node.op for node in nodes if _OUTSIDE.search(node.op))


def _called(node: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    """The functions that a node may call: by its operator's name, or in an attribute."""
    if node.op in functions:
        yield node.op
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name in functions:
                yield function.name
