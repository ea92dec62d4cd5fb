"""What MLTK adds to Keras: a callback, a loss, a model that teaches another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras


class SteppedLearnRateScheduler(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Sets the learning rate by how many batches the training has seen; after the last step the training ends.

    The optimizer counts the batches, so a training that goes on from a checkpoint goes on in the schedule.

    Args:
        learning_rate: For each stretch how many batches it has and their learning rate.
    """

    def __init__(self, learning_rate: Sequence[tuple[int, float]]) -> None:
        super().__init__()
        self.lr_schedule: list[tuple[int, float]] = []
        end = 0
        for batches, rate in learning_rate:
            end += batches
            self.lr_schedule.append((end, rate))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the rate of the batch that is next, or end the training."""
        number = int(self.model.optimizer.iterations.numpy()) + 1
        for end, rate in self.lr_schedule:
            if number <= end:
                self.model.optimizer.learning_rate = rate
                return
        self.model.stop_training = True


@keras.saving.register_keras_serializable("mltkbuild")
class ContrastiveLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
    """The mean of `(1 - y) d^2 + y max(margin - d, 0)^2` for distances d of pairs, y being 1 for different ones.

    R. Hadsell, S. Chopra, Y. LeCun, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006.

    Args:
        margin: Different ones that are farther apart than this cost nothing.
        reduction: As for every loss of Keras; Keras 2's 'auto' is its own default.
        name: The loss's name.
    """

    def __init__(self, margin: float = 1, reduction: str = "auto", name: str = "contrastive_loss") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size" if reduction == "auto" else reduction)
        self.margin = margin

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over all pairs."""
        y_true = keras.ops.cast(y_true, y_pred.dtype)
        near, far = keras.ops.square(y_pred), keras.ops.square(keras.ops.maximum(self.margin - y_pred, 0))
        return keras.ops.mean((1 - y_true) * near + y_true * far)

    def get_config(self) -> dict[str, Any]:
        """What the loss was made with."""
        return {**super().get_config(), "margin": self.margin}


class KnowledgeDistillationModel(keras.Model):  # type: ignore[misc]  # Keras has no types
    """Trains a student to give what a teacher gives, and what is true.

    G. Hinton, O. Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, arXiv:1503.02531.

    Args:
        student: The model to train; it gives logits.
        teacher: A trained model of the same inputs and outputs; it is not changed.
    """

    def __init__(self, student: Any, teacher: Any) -> None:
        super().__init__()
        teacher.trainable = False
        self.teacher, self.student = teacher, student
        self.build(student.input_shape)

    def compile(  # noqa: PLR0913, PLR0917  # the arguments are MLTK's
        self,
        optimizer: Any,
        metrics: Any,
        student_loss_fn: Callable[..., Any],
        distillation_loss_fn: Callable[..., Any],
        alpha: float = 0.1,
        temperature: float = 3,
        **more: Any,
    ) -> None:
        """Choose what is minimized.

        Args:
            optimizer: Of the student's weights.
            metrics: Of the student's answers.
            student_loss_fn: Of the truth and the student's answers.
            distillation_loss_fn: Of both models' answers as probabilities.
            alpha: The weight of the first, from 0 to 1; the second has what is left.
            temperature: What both models' logits are divided by before they become probabilities.
            more: Further arguments of `keras.Model.compile`.
        """
        super().compile(optimizer=optimizer, metrics=metrics, **more)
        self.student_loss_fn, self.distillation_loss_fn = student_loss_fn, distillation_loss_fn
        self.alpha, self.temperature = alpha, temperature

    def build(self, input_shape: Any) -> None:
        """Both models are built already."""
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """What the student gives."""
        return self.student(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Both losses as weighted, in training; else the student's alone."""
        of_student = self.student_loss_fn(y, y_pred, sample_weight)
        if not training:
            return of_student
        soft = [
            keras.ops.softmax(each / self.temperature, axis=1) for each in (self.teacher(x, training=False), y_pred)
        ]
        # The gradients of soft targets shrink with the square of the temperature.
        of_teacher = self.distillation_loss_fn(*soft) * self.temperature**2
        return self.alpha * of_student + (1 - self.alpha) * of_teacher
