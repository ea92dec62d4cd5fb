"""Settings of the whole process that libraries let ask for and give back, such as the decimal context."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A setting of the whole process, or of this thread.

    Args:
        module: The library that has it; it isn't asked for one that isn't loaded.
        get: Asks for it: something that can be compared.
        put: Sets it to what was asked before; None for one that can't be set again.
        first: What it is when its library has just been loaded.
        counts: Whether a result may depend on it.
    """

    module: str
    get: Callable[[Any], Any]
    put: Callable[[Any, Any], object] | None
    first: Callable[[Any], Any] | None = None
    counts: bool = True


def _decimal_of(decimal: Any) -> Any:
    context = decimal.getcontext().copy()
    context.clear_flags()
    return repr(context), context


def _restore_decimal(decimal: Any, saved: Any) -> None:
    decimal.setcontext(saved[1])


def _rc_of(matplotlib: Any) -> dict[str, Any]:
    # Not by its own methods: to look at the backend would load one.
    return dict.copy(matplotlib.rcParams)


def _restore_rc(matplotlib: Any, saved: Mapping[str, Any]) -> None:
    dict.clear(matplotlib.rcParams)
    dict.update(matplotlib.rcParams, saved)


def _filters_of(warnings: Any) -> list[Any]:
    return list(warnings.filters)


def _restore_filters(warnings: Any, saved: list[Any]) -> None:
    warnings.filters[:] = saved
    warnings._filters_mutated()


def _argv_of(system: Any) -> tuple[Any, list[str]]:
    return system.argv, list(system.argv)


def _restore_argv(system: Any, saved: tuple[Any, list[str]]) -> None:
    system.argv = saved[0]
    system.argv[:] = saved[1]


def _restore_collector(gc: Any, saved: tuple[bool, tuple[int, int, int]]) -> None:
    (gc.enable if saved[0] else gc.disable)()
    gc.set_threshold(*saved[1])


def _tensorflow_of(tensorflow: Any) -> Any:
    config = tensorflow.config
    return (
        config.optimizer.get_experimental_options(),
        config.optimizer.get_jit(),
        config.get_soft_device_placement(),
        config.experimental.tensor_float_32_execution_enabled(),
        config.threading.get_inter_op_parallelism_threads(),
        config.threading.get_intra_op_parallelism_threads(),
    )


SETTINGS: Mapping[str, Setting] = {
    "the decimal context": Setting("decimal", _decimal_of, _restore_decimal),
    "numpy.geterr()": Setting("numpy", lambda numpy: numpy.geterr(), lambda numpy, saved: numpy.seterr(**saved)),
    "numpy.get_printoptions()": Setting(
        "numpy",
        lambda numpy: numpy.get_printoptions(),
        lambda numpy, saved: numpy.set_printoptions(**saved),
    ),
    "the locale": Setting(
        "locale",
        lambda locale: locale.setlocale(locale.LC_ALL),
        lambda locale, saved: locale.setlocale(locale.LC_ALL, saved),
    ),
    "matplotlib.rcParams": Setting(
        "matplotlib", _rc_of, _restore_rc, lambda matplotlib: dict.copy(matplotlib.rcParamsOrig)
    ),
    "sklearn.get_config()": Setting(
        "sklearn",
        lambda sklearn: sklearn.get_config(),
        lambda sklearn, saved: sklearn.set_config(**saved),
        lambda sklearn: dict(sklearn._config._global_config),
    ),
    "sys.argv": Setting("sys", _argv_of, _restore_argv),
    "sys.getrecursionlimit()": Setting(
        "sys", lambda system: system.getrecursionlimit(), lambda system, saved: system.setrecursionlimit(saved)
    ),
    "gc.isenabled()": Setting("gc", lambda gc: (gc.isenabled(), gc.get_threshold()), _restore_collector),
    "socket.getdefaulttimeout()": Setting(
        "socket", lambda socket: socket.getdefaulttimeout(), lambda socket, saved: socket.setdefaulttimeout(saved)
    ),
    "the options of tensorflow.config": Setting("tensorflow", _tensorflow_of, None),
    "warnings.filters": Setting("warnings", _filters_of, _restore_filters, counts=False),
}


def settings() -> dict[str, Any]:
    """All settings as they are."""
    loaded = {label: sys.modules.get(setting.module) for label, setting in SETTINGS.items()}
    return {label: SETTINGS[label].get(module) for label, module in loaded.items() if module is not None}


def setting(label: str) -> Any:
    """One setting as it is."""
    return SETTINGS[label].get(sys.modules[SETTINGS[label].module])


def restore(before: Mapping[str, Any]) -> Iterator[str]:
    """Give back the settings that have been changed, and name those that can't be given back."""
    for label, old in known(before).items():
        setting, module = SETTINGS[label], sys.modules[SETTINGS[label].module]
        if _comparable(setting.get(module)) == _comparable(old):
            continue
        if setting.put is not None:
            setting.put(module, old)
        if _comparable(setting.get(module)) != _comparable(old):
            yield label


def known(before: Mapping[str, Any]) -> dict[str, Any]:
    """The settings before, those of libraries that have been loaded since included."""
    fresh = {
        label: setting.first(sys.modules[setting.module])
        for label, setting in SETTINGS.items()
        if label not in before and setting.first is not None and setting.module in sys.modules
    }
    return {**before, **fresh}


def changed(before: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The settings that have been changed and that a result may depend on, as they are now."""
    for label, old in known(before).items():
        setting = SETTINGS[label]
        now = _comparable(setting.get(sys.modules[setting.module]))
        if setting.counts and now != _comparable(old):
            yield label, now


def _comparable(value: Any) -> Any:
    """What of a setting is compared: of a text with its object the text, for the object is a new one each time."""
    return value[0] if isinstance(value, tuple) and value and isinstance(value[0], str) else value
