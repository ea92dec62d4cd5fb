"""What a Keras model is made of beside what its config shows: workspace objects in it, attributes, states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import CodeType
from typing import Any

from mltkbuild import keras_private
from mltkbuild.fingerprint import kinds, parts
from mltkbuild.fingerprint.mentions import Mentions, mentions
from mltkbuild.fingerprint.origins import Origins, library_names, written_methods
from mltkbuild.fingerprint.reach import Sources
from mltkbuild.fingerprint.values import Unfingerprintable, digest_value, is_plain


def code_of(keras_model: Any, sources: Sources) -> dict[str, object]:
    """The workspace code inside a Keras model, and what of its objects that code may read or has set.

    Args:
        keras_model: A built model.
        sources: The workspace code.

    Returns:
        Roots for `reach`: the model's own class, custom layers, losses, metrics, optimizer, lambdas; instances of
        workspace classes anywhere inside them; attributes and configs that the model's own config doesn't show.

    Raises:
        parts.Inexact: There is more to look through than can be.
    """
    origins, mentioned = Origins(sources), mentions(sources)
    found: dict[str, object] = {}
    for name, part in {**_network(keras_model), **_compiled(keras_model)}.items():
        ours = is_workspace(type(part), sources)
        if ours:
            found[f"{name} class"] = type(part)
        state = keras_private.attributes(part)
        for attribute, value in sorted(state.items()):
            if is_workspace(value, sources):
                found[f"{name} {attribute}"] = value
        if not (kinds.is_keras(part) or is_code(part) or part is keras_model):
            # A callable object as a loss, a partial, a tf.function: no config tells of it.
            found[f"{name} itself"] = part
            continue
        found.update(_held(name, part, state, origins))
        found.update({f"{name} .{key}": _told(item) for key, item in _unshown(part, state, mentioned, origins)})
    for name, value in _compiled_functions(keras_model):
        if is_workspace(value, sources):
            found[name] = value
    found.update(_inner_configs(keras_model, sources))
    found.update(_of_weights(keras_model))
    return found


def _of_weights(keras_model: Any) -> dict[str, object]:
    """What weights are held to by themselves; what a layer has as an attribute, too, its config or its state tells."""
    layers = keras_private.layers(keras_model, include_self=True)
    known = {id(value) for layer in layers for value in keras_private.attributes(layer).values()}
    found: dict[str, object] = {}
    for weight in keras_model.weights:
        for name in ("constraint", "regularizer"):
            held = getattr(weight, name, None)
            if held is not None and id(held) not in known:
                found[f"weight {weight.path} .{name}"] = held
        if getattr(weight, "overwrite_with_gradient", False):
            found[f"weight {weight.path} .overwrite_with_gradient"] = True
    return found


def _network(keras_model: Any) -> dict[str, Any]:
    """The model, its optimizers, its layers at all depths, and the operations of its graph that are no layers."""
    found = {"model": keras_model, **dict(_optimizers(keras_model))}
    layers = keras_private.layers(keras_model)
    seen = {id(part) for part in (*found.values(), *layers)}
    for layer in layers:
        found[_fresh(f"layer {layer.name}", found)] = layer
    for graph in (keras_model, *layers):
        for step in getattr(graph, "operations", ()):
            if id(step) not in seen:
                seen.add(id(step))
                found[_fresh(f"operation {step.name}", found)] = step
    return found


def _fresh(name: str, taken: Mapping[str, object]) -> str:
    """A name with a number, if an earlier part has it: names of layers are unique in their model alone."""
    count = 1
    while (name if count == 1 else f"{name} #{count}") in taken:
        count += 1
    return name if count == 1 else f"{name} #{count}"


def _compiled(keras_model: Any) -> dict[str, object]:
    """What was given to `compile` as losses and metrics, one by one, but for what has a plain name."""
    return {name: value for name, value in _given(keras_model) if hasattr(value, "__dict__")}


def _compiled_functions(keras_model: Any) -> Iterator[tuple[str, object]]:
    for name, value in _given(keras_model):
        yield name, value
        yield f"{name} function", keras_private.wrapped_function(value)


def _given(keras_model: Any) -> Iterator[tuple[str, object]]:
    settings = keras_private.compile_settings(keras_model)
    for name in ("loss", "metrics", "weighted_metrics"):
        for number, value in enumerate(_leaves(settings.get(name))):
            yield f"{name} {number}", value


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def is_code(value: object) -> bool:
    """Tell a function, a method or a class."""
    return isinstance(value, type) or isinstance(getattr(getattr(value, "__func__", value), "__code__", None), CodeType)


def is_workspace(value: object, sources: Sources) -> bool:
    """Say whether a function or class comes from workspace code."""
    function = getattr(value, "__func__", value)
    code = getattr(function, "__code__", None)
    # The type of functions has such an attribute too, which is no code.
    if isinstance(code, CodeType):
        return sources.label(code.co_filename) is not None
    if not isinstance(value, type):
        return False
    # Also a library's class into which workspace code has put a function of its own.
    origins = Origins(sources)
    methods = (method for base in value.__mro__ for method in written_methods(base))
    return origins.of_class(value) is not None or any(origins.of_function(method) is not None for method in methods)


# -- what no config shows --------------------------------------------------------------------------------------------


def _held(name: str, part: object, state: dict[str, object], origins: Origins) -> dict[str, object]:
    """The workspace objects that a part holds, however deep: regularizers, constraints, schedules, helpers."""
    # A function that an attribute is itself is found as such, and the methods count by the class.
    known = {id(value) for value in state.values() if is_code(value)}
    known |= {id(value) for base in type(part).__mro__ for value in vars(base).values()}
    found = parts.inside(state, lambda item: origins.is_ours(item) or isinstance(item, partial), stop=kinds.is_network)
    return {f"{name} (holds){place}": value for place, value in found if id(value) not in known}


def _unshown(
    part: object, state: Mapping[str, object], mentioned: Mentions, origins: Origins
) -> Iterator[tuple[str, object]]:
    """The attributes of a part that workspace code may have set or reads, and that its config doesn't have."""
    known = library_names(type(part), origins)
    config: dict[str, object] | None = None
    for name, value in sorted(state.items()):
        if name in known:
            # The class knows this attribute: its config or its code says what it is, unless it was set from outside.
            touched = name in mentioned.read | mentioned.set or (_by_setter(part, name) in mentioned.set)
            touched = touched or (mentioned.sets_any and not name.startswith("_"))
            counts = touched and is_plain(value) and not kinds.is_network(value)
        else:
            # What is a variable is one of the weights.
            counts = (mentioned.reads_any or name in mentioned.read) and not kinds.is_variable(value)
        if not counts:
            continue
        config = _config(part) if config is None else config
        shown = [config[key] for key in (name, name.lstrip("_")) if key in config]
        if not any(_alike(item, value) for item in shown):
            yield name, value


def _by_setter(part: object, name: str) -> str | None:
    """The name by which `_name` is set from outside, where its class has a setter for it."""
    public = name.lstrip("_")
    setter = getattr(type(part), public, None)
    return public if isinstance(setter, property) and setter.fset is not None else None


def _config(part: Any) -> dict[str, object]:
    """All that a part tells about itself; nothing of one that can't."""
    found: dict[str, object] = {}
    for tell in ("get_compile_config", "get_config"):
        try:
            found |= getattr(part, tell, dict)() or {}
        except (NotImplementedError, TypeError, ValueError, AttributeError):
            # A model without a config counts by the whole spec, an object in it by all its attributes.
            continue
    return found


def _alike(shown: object, value: object) -> bool:
    try:
        return digest_value(_listed(shown)) == digest_value(_listed(value))
    except Unfingerprintable:
        return False


def _listed(value: object) -> object:
    """A value as a config has it, which knows no tuples."""
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _told(value: Any) -> object:
    """An attribute's value with the parts of the network in it by their names: each is described on its own."""
    kind = type(value)
    if kinds.is_keras_list(kind):
        kind = next(base for base in (list, dict, set) if issubclass(kind, base))
        value = kind(value)
    if kind in (list, tuple, set):
        return kind(_told(item) for item in value)
    if kind is dict:
        return {key: _told(item) for key, item in value.items()}
    if kinds.is_network(value):
        name = getattr(value, "path", None) or getattr(value, "name", "")
        return f"{kind.__name__} {name}"
    return value


def _inner_configs(keras_model: Any, sources: Sources) -> dict[str, object]:
    """The configs of layers in a model or layer of the workspace's own, whose config need not have them."""
    found: dict[str, object] = {}
    seen: set[int] = set()
    for layer in keras_private.layers(keras_model, include_self=True):
        if not is_workspace(type(layer), sources):
            continue
        for inner in keras_private.layers(layer):
            if id(inner) not in seen:
                seen.add(id(inner))
                found[_fresh(f"config of {inner.name}", found)] = kinds.steady(_config(inner))
    return found


# -- states ----------------------------------------------------------------------------------------------------------


def states_of(keras_model: Any) -> dict[str, object]:
    """What training begins with beside the weights, where that isn't what Keras itself begins with.

    Returns:
        By name: an optimizer's variables that aren't all zero and the weights that it doesn't decay, the states of
        layers' random generators, weights that aren't trained in a layer that is.
    """
    found: dict[str, object] = {}
    layers = keras_private.layers(keras_model, include_self=True)
    for name, optimizer in _optimizers(keras_model):
        found |= {f"{name} {key}": value for key, value in keras_private.optimizer_state(optimizer).items()}
        kept = keras_private.not_decayed(optimizer, keras_model.trainable_variables)
        if kept:
            found[f"{name} without weight decay"] = kept
    seeds = [state for layer in layers for state in keras_private.drawn_seeds(layer)]
    if seeds:
        found["random generators"] = seeds
    frozen = [path for layer in layers for path in keras_private.frozen(layer)]
    if frozen:
        found["not trained"] = sorted(set(frozen))
    return found


def _optimizers(keras_model: Any) -> Iterable[tuple[str, Any]]:
    outer = keras_model.optimizer
    inner = getattr(outer, "inner_optimizer", None)
    return [(name, item) for name, item in (("optimizer", outer), ("inner optimizer", inner)) if item is not None]
