"""How audio becomes a spectrogram: the settings of MLTK's audio feature generator, as the firmware reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mltkbuild.errors import SpecError, did_you_mean, short
from mltkbuild.spec.properties import BOOL, Rule, is_int, is_number, place_of_caller

PREFIX = "fe."


def _whole(low: int, high: int) -> Rule:
    return Rule(f"a whole number from {low} to {high}", lambda value: _is_whole(value) and low <= value <= high, int)


def _is_whole(value: Any) -> bool:
    return is_int(value) or (isinstance(value, float) and value.is_integer())


def _real(low: float, high: float) -> Rule:
    return Rule(f"a number from {low:g} to {high:g}", lambda value: is_number(value) and low <= value <= high, float)


@dataclass(frozen=True)
class _Value:
    """One of the settings: its default, what it accepts, and what it is."""

    default: object
    rule: Rule
    doc: str


_UNIT = _real(0, 1)
_MILLISECONDS = _whole(1, 10_000_000)
VALUES: Mapping[str, _Value] = {
    "sample_rate_hz": _Value(16000, _whole(1, 1_000_000), "Samples a second"),
    "sample_length_ms": _Value(1000, _MILLISECONDS, "The length of a recording in milliseconds"),
    "window_size_ms": _Value(25, _MILLISECONDS, "The length of the piece that one row of the spectrogram shows"),
    "window_step_ms": _Value(10, _MILLISECONDS, "The time from one row to the next"),
    "filterbank_n_channels": _Value(32, _whole(1, 1024), "The number of frequency bands, a column each"),
    "filterbank_upper_band_limit": _Value(7500.0, _real(1, 500_000), "The highest frequency in Hz"),
    "filterbank_lower_band_limit": _Value(125.0, _real(0, 500_000), "The lowest frequency in Hz"),
    "noise_reduction_enable": _Value(False, BOOL, "Whether steady noise is reduced"),
    "noise_reduction_smoothing_bits": _Value(10, _whole(0, 24), "Bits by which the noise estimate is scaled up"),
    "noise_reduction_even_smoothing": _Value(0.025, _UNIT, "How fast the noise estimate of even channels follows"),
    "noise_reduction_odd_smoothing": _Value(0.06, _UNIT, "The same of odd channels"),
    "noise_reduction_min_signal_remaining": _Value(0.05, _UNIT, "The part of a signal that always remains"),
    "pcan_enable": _Value(False, BOOL, "Whether each channel's gain is controlled (PCAN)"),
    "pcan_strength": _Value(0.95, _real(0, 100), "The strength of gain control"),
    "pcan_offset": _Value(80.0, _real(0, 1_000_000), "Added to the noise estimate before it divides"),
    "pcan_gain_bits": _Value(21, _whole(0, 31), "Fractional bits of the gain"),
    "log_scale_enable": _Value(True, BOOL, "Whether the logarithm is taken"),
    "log_scale_shift": _Value(6, _whole(0, 16), "Bits by which the logarithm is scaled up"),
    "activity_detection_enable": _Value(False, BOOL, "Whether the device looks for sudden sounds"),
    "activity_detection_alpha_a": _Value(0.5, _UNIT, "The coefficient of the fast filter"),
    "activity_detection_alpha_b": _Value(0.8, _UNIT, "The coefficient of the slow filter"),
    "activity_detection_arm_threshold": _Value(0.75, _real(0, 7), "The ratio of both below which it is armed"),
    "activity_detection_trip_threshold": _Value(0.8, _real(0, 7), "The ratio of both above which it has found one"),
    "dc_notch_filter_enable": _Value(False, BOOL, "Whether constant voltage is filtered out"),
    "dc_notch_filter_coefficient": _Value(0.95, _UNIT, "The filter's coefficient"),
    "quantize_dynamic_scale_enable": _Value(False, BOOL, "Whether int8 spectrograms are scaled by their loudest value"),
    "quantize_dynamic_scale_range_db": _Value(40.0, _real(1, 400), "How far below that the least int8 value is, in dB"),
}
DERIVED = "fft_length"
"""The one further value that the firmware reads."""


class AudioFeatureGeneratorSettings(dict[str, Any]):
    """The settings of the audio front end, by MLTK's names; a dict with keys such as `fe.sample_rate_hz`.

    Args:
        settings: Values by name, without `fe.`; the others have their defaults.

    Raises:
        SpecError: There is no such setting, or it doesn't accept the value.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__({PREFIX + name: value.default for name, value in VALUES.items()})
        self._derive()
        for name, value in settings.items():
            self[PREFIX + name.removeprefix(PREFIX)] = value

    def __setitem__(self, key: str, value: object) -> None:
        """Check, then set."""
        name = key.removeprefix(PREFIX)
        if name == DERIVED:
            # What is read from a file has it; it follows from the others.
            return
        known = self._known(name)
        if not known.rule.accepts(value):
            given = " and is in milliseconds" if name.endswith("_ms") else ""
            raise SpecError(
                f"{name} must be {known.rule.text}{given}",
                where=place_of_caller(),
                found=short(value),
                fix=f"use {known.rule.text} ({known.doc[0].lower()}{known.doc[1:]})",
            )
        super().__setitem__(PREFIX + name, known.rule.plain(value))
        self._derive()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Check each value, then set it."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def _known(self, name: str) -> _Value:
        if name not in VALUES:
            raise SpecError(
                f"the audio front end has no setting {name!r}",
                where=place_of_caller(),
                fix=did_you_mean(name, VALUES, "its settings are"),
            )
        return VALUES[name]

    def __getattr__(self, name: str) -> Any:
        """A setting's value, by its name without `fe.`."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name != DERIVED:
            self._known(name)
        return self[PREFIX + name]

    def __setattr__(self, name: str, value: object) -> None:
        """Set a setting, by its name without `fe.`."""
        self[name] = value

    def __deepcopy__(self, memo: dict[int, Any]) -> AudioFeatureGeneratorSettings:
        """Another one with the same values."""
        return self.copy()

    def copy(self) -> AudioFeatureGeneratorSettings:
        """Another one with the same values."""
        return AudioFeatureGeneratorSettings(**{key.removeprefix(PREFIX): value for key, value in self.items()})

    def _derive(self) -> None:
        """The length of the Fourier transform: the next power of 2 that a window fits into."""
        super().__setitem__(PREFIX + DERIVED, 1 << max(self.window_length - 1, 1).bit_length())

    @property
    def sample_length(self) -> int:
        """The number of samples of a recording."""
        return int(self["fe.sample_length_ms"] * self["fe.sample_rate_hz"]) // 1000

    @property
    def window_length(self) -> int:
        """The number of samples of a window."""
        return int(self["fe.window_size_ms"] * self["fe.sample_rate_hz"]) // 1000

    @property
    def step_length(self) -> int:
        """The number of samples from one window to the next."""
        return int(self["fe.window_step_ms"] * self["fe.sample_rate_hz"]) // 1000

    @property
    def spectrogram_shape(self) -> tuple[int, int]:
        """The number of rows (time) and columns (frequency).

        Raises:
            SpecError: There would be none, or the bands don't fit the sample rate.
        """
        self.check()
        rows = (self.sample_length - self.window_length) // self.step_length + 1
        return rows, int(self["fe.filterbank_n_channels"])

    def check(self) -> None:
        """Raise a SpecError for settings that don't fit each other."""
        size, length = self["fe.window_size_ms"], self["fe.sample_length_ms"]
        if size > length:
            raise SpecError(
                "the spectrogram would be empty",
                where=place_of_caller(),
                found=f"window_size_ms = {size}, sample_length_ms = {length}",
                fix="make the window shorter than the recording",
            )
        low, high = self["fe.filterbank_lower_band_limit"], self["fe.filterbank_upper_band_limit"]
        limit = self["fe.sample_rate_hz"] / 2
        if not low < high <= limit:
            raise SpecError(
                "the frequency bands don't fit the sample rate",
                where=place_of_caller(),
                found=f"from {low:g} to {high:g} Hz at {self['fe.sample_rate_hz']} samples a second",
                fix=f"set filterbank_upper_band_limit to at most {limit:g}, and the lower limit below it",
            )
        widest = self["fe.fft_length"] // 2
        if self["fe.filterbank_n_channels"] > widest:
            raise SpecError(
                "there are more frequency bands than frequencies",
                where=place_of_caller(),
                found=f"filterbank_n_channels = {self['fe.filterbank_n_channels']}, a window has {widest} frequencies",
                fix="use fewer channels or a longer window",
            )
