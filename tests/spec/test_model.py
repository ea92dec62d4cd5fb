"""The root of every spec: what a spec sees of its model, and what the engine notices."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mltkbuild.errors import SpecError
from mltkbuild.spec.mixins import DatasetMixin, MltkModel, TrainMixin
from mltkbuild.spec.model import NOT_HERE, Home


class Model(MltkModel, TrainMixin, DatasetMixin):
    """A model with an attribute of its own."""

    window = 5


HOME = Home("kws", "/w/models/kws.py", "/w/build/kws", False)


def at(home: Home) -> Model:
    """A model as a spec makes it while it is loaded."""
    with MltkModel.at_home(home):
        return Model()


def test_model_knows_its_home_while_the_spec_still_runs() -> None:
    """Name, spec, build folder and MLTK's paths are known from the first line on."""
    model = at(HOME)
    assert ("kws", "/w/models/kws.py", "/w/build/kws") == (model.name, model.model_specification_path, model.log_dir)
    expected = ("/w/build/kws/kws.keras", "/w/build/kws/kws.tflite", "/w/build/kws/kws.float32.tflite")
    assert expected == (
        model.h5_log_dir_path,
        model.tflite_log_dir_path,
        model.unquantized_tflite_log_dir_path,
    )
    assert ("/w/models/kws.mltk.zip", False) == (model.archive_path, model.test_mode_enabled)


def test_dry_run_has_paths_of_its_own() -> None:
    """A dry run is told by test_mode_enabled, and its artifacts bear its name."""
    model = at(Home("kws", "/w/models/kws.py", "/w/build/kws-test", True))
    assert ("kws", True, "/w/models/kws-test.mltk.zip") == (model.name, model.test_mode_enabled, model.archive_path)
    assert "/w/build/kws-test/kws-test.tflite" == model.tflite_log_dir_path


def test_model_outside_of_a_build_takes_its_name_from_the_path() -> None:
    """A model that is made by hand knows what it is told."""
    assert ("kws", "x/kws.py") == (MltkModel("x/kws.py").name, MltkModel(Path("x/kws.py")).model_specification_path)
    assert "" == MltkModel().name


@pytest.mark.parametrize("name", ["name", "log_dir", "n_classes", "cli", "test_mode_enabled", "archive_path"])
def test_read_only_name_can_t_be_set(name: str) -> None:
    """What the build decides is no property to set."""
    with pytest.raises(SpecError, match=f"{name} can't be set"):
        setattr(Model(), name, "x")


def test_method_can_t_be_replaced() -> None:
    """A function that is set in place of a method would be seen by no fingerprint; the error says where it belongs."""
    model = Model()
    with pytest.raises(SpecError, match="load_dataset can't be set") as caught:
        model.load_dataset = print  # type: ignore[method-assign,assignment]  # what the test is about
    assert "set my_model.dataset to the function" == caught.value.fix


@pytest.mark.parametrize("name", NOT_HERE)
def test_name_of_mltk_that_is_not_here_says_what_to_do(name: str) -> None:
    """A member of MLTK's model that has no meaning here is an error with the way to go, and hasattr says no."""
    with pytest.raises(SpecError, match=f"mltkbuild has no {name} of MLTK's") as caught:
        getattr(Model(), name)
    assert NOT_HERE[name] == caught.value.fix
    assert not hasattr(Model(), name)


def test_misspelt_name_is_an_error_with_the_near_one() -> None:
    """Neither setting nor reading a name that doesn't exist goes unnoticed."""
    model = Model()
    with pytest.raises(SpecError, match="Model has no property epoch") as caught:
        model.epoch = 3
    assert "did you mean epochs?" == caught.value.fix
    with pytest.raises(AttributeError, match="has no property batchsize"):
        _ = model.batchsize
    with pytest.raises(AttributeError):
        _ = model._nothing


def test_attributes_of_the_spec_s_own_are_told_apart() -> None:
    """What a spec keeps in its model beside properties is known, so that it can be an input."""
    model = Model()
    assert {} == model.own_attributes()
    model.window = 7
    model._cache = 3
    model.epochs = 4
    assert {"window": 7, "_cache": 3} == model.own_attributes()


def test_reads_are_noticed() -> None:
    """Inside watch_reads every property that is read is told, by nested watchers too; peeking is not reading."""
    model = Model()
    with model.watch_reads() as outer:
        model.peek("seed")
        with model.watch_reads() as inner:
            _ = model.epochs
        _ = model.batch_size
    _ = model.loss
    assert ({"epochs"}, {"epochs", "batch_size"}) == (inner, outer)
    assert ("batch_size", "epochs") == model.beyond_slice({"quantize"}, outer)
    assert () == model.beyond_slice({"train"}, outer)


def test_unset_property_asks_the_loader_before_it_is_an_error() -> None:
    """A required property, and whatever the loader sets, triggers the hook while it is unset."""
    model = Model()
    asked: list[str] = []

    def load(name: str) -> None:
        asked.append(name)
        model.ask_when_unset(None)
        model.input_shape = (3,)

    model.ask_when_unset(load)
    assert (3,) == model.input_shape
    model.ask_when_unset(asked.append)
    assert (None, {}) == (model.x, model.class_counts["training"])
    _ = model.epochs
    assert ["input_shape", "x", "class_counts"] == asked
    model.ask_when_unset(None)
    with pytest.raises(SpecError, match="classes is read but not set"):
        _ = model.classes


def test_loaded_values_can_be_taken_back() -> None:
    """What one call of a loader leaves is not there for the next, but what the spec itself set is."""
    model = Model()
    model.x = 1
    given = model.loaded_values()
    model.x, model.y, model.validation_data, model.epochs = 2, 3, (4, 5), 6
    model.restore_loaded(given)
    assert (1, None, None, 6) == (model.x, model.y, model.validation_data, model.epochs)


def test_is_set_means_that_the_spec_gave_a_value() -> None:
    """A required property that was never set is not set, and its place is unknown."""
    model = Model()
    assert (False, None) == (model.is_set("classes"), model.place_of("classes"))
    model.classes = ["a"]
    assert model.is_set("classes")
    assert 1 == model.n_classes
    assert str(model.place_of("classes")).startswith(__file__)


def test_parameters_and_files_are_collected() -> None:
    """Parameters come one by one or as a whole dict, which is copied; archive files in their order."""
    model = Model()
    given = {"a": 1}
    model.model_parameters = given
    model.set_model_parameter("b", 2)
    model.model_parameters["c"] = 3
    assert ({"a": 1, "b": 2, "c": 3}, {"a": 1}) == (model.model_parameters, given)
    with pytest.raises(SpecError, match="model_parameters must be a dict"):
        model.model_parameters = [1]  # type: ignore[assignment]  # what the test is about
    model.add_archive_file("notes.txt")
    assert ("notes.txt",) == model.archive_files


def test_commands_and_loggers_of_mltk_s_style() -> None:
    """A spec may register commands and ask for a logger; both do no harm."""
    model = Model()

    @model.cli.command("visualize")
    def visualize() -> int:
        return 3

    assert {"visualize": visualize} == model.cli.commands
    assert isinstance(model.create_logger("x", parent=None), logging.Logger)
    model.epochs = 3
    assert 3 == model.get_attribute("train.epochs")
    assert "epochs: 3" in model.summary()
