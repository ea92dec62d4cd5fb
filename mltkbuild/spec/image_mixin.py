"""Image data sets: a folder by class, or arrays."""

from __future__ import annotations

from typing import Any

from mltkbuild.spec.data_mixin import DataGeneratorDatasetMixin
from mltkbuild.spec.properties import POSITIVE, Property, Rule, one_of

SIZE = Rule(
    "a pair (height, width) of positive integers",
    lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(POSITIVE.accepts, value)),
    lambda value: tuple(map(int, value)),
)


RESIZING = one_of("none", "nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
INTERPOLATION = Rule(
    RESIZING.text,
    lambda value: value is None or RESIZING.accepts(value),
    lambda value: "none" if value is None else value,  # MLTK's word for it
)


class ImageDatasetMixin(DataGeneratorDatasetMixin):
    """A data set of images: a folder with a folder for each class, or arrays `((x, y), (x_test, y_test))`."""

    target_size = Property[tuple[int, int] | None](
        None, SIZE.or_none(), "The size that images are brought to; None for that of input_shape", reads=("data",)
    )
    color_mode = Property[str](
        "auto",
        one_of("auto", "grayscale", "rgb", "rgba"),
        "The images' channels; 'auto' for those of input_shape",
        reads=("data",),
    )
    interpolation = Property[str](
        "bilinear",
        INTERPOLATION,
        "How images are resized; 'none' leaves them as they are",
        reads=("data",),
    )

    @property
    def image_classes(self: Any) -> Any:
        """MLTK's other name for `classes`."""
        return self.classes

    @image_classes.setter
    def image_classes(self: Any, value: Any) -> None:
        self.classes = value

    @property
    def image_input_shape(self: Any) -> Any:
        """MLTK's other name for `input_shape`."""
        return self.input_shape

    @image_input_shape.setter
    def image_input_shape(self: Any, value: Any) -> None:
        self.input_shape = value

    def firmware_parameters(self: Any) -> dict[str, object]:
        """What the firmware must know to see as the model was trained: the normalization."""
        generator = self.datagen
        if generator is None:
            return {}
        return {
            "samplewise_norm.rescale": float(generator.rescale or 0.0),
            "samplewise_norm.mean_and_std": generator.samplewise_center and generator.samplewise_std_normalization,
        }
