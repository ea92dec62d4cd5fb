"""Code that is reached by other ways than names counts as a whole, down to its text, and the build says so."""

from __future__ import annotations

import collections
import io
import pickle

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.fingerprint.doors import reads_text
from mltkbuild.user_code.pickles import unpickled
from mltkbuild.workers.executor import Processes

from ..conftest import Files, Running, tiny_spec

PARTS = """\
class Part:
    '''A part.'''
    scale = 1.0

    def by(self):
        return self.scale  # as it is


class Other(Part):
    def by(self):
        return 3


def helper(x: int = 1):
    '''Help.'''
    return x
"""


@pytest.fixture
def files(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Files:
    """A workspace with a module beside the spec."""
    found = Files(tmp_path)  # type: ignore[arg-type]  # pytest's own path
    found.write("dodo.py", "")
    found.write("models/parts.py", PARTS)
    monkeypatch.chdir(found.root)
    return found


def built(files: Files, executor: Processes, target: str = "kws") -> tuple[list[str], list[str]]:
    """Build the data of a tiny model: the stages that ran, and what was told beside."""
    builder = Builder(files.workspace, Running(executor.run))
    done = [builder.build(target, stage) for stage in ("spec", "data")]
    builder.close()
    return [one.stage for one in done if one.reasons], [
        note for one in done if one.reasons for note in one.notes if " samples" not in note
    ]


COMMENT = ("# as it is", "# as it was")
DOCSTRING = ("'''Help.'''", "'''Help us.'''")
LINE = ("class Part:", "\n\nclass Part:")
ANNOTATION = ("x: int", "x: float")
CODE = ("return 3", "return 4")
# A loader, and edits that it notices.
WAYS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "source": ("import inspect, parts; inspect.getsource(parts.Part)", [COMMENT, CODE]),
    "lines": ("import inspect, parts; inspect.getsourcelines(parts.helper)", [LINE]),
    "docstring": ("import parts; parts.helper.__doc__", [DOCSTRING]),
    "line number": ("import parts; parts.helper.__code__.co_firstlineno", [LINE]),
    "annotations": ("import typing, parts; typing.get_type_hints(parts.helper)", [ANNOTATION]),
    "subclasses": ("from parts import Part; [kind().by() for kind in Part.__subclasses__()]", [CODE]),
    "frames": ("sys._getframe().f_lineno", [LINE]),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_loader_gets_at_counts(way: str, files: Files, executor: Processes) -> None:
    """Another text or another class runs the data stage again, once, and the build names the loader and its way."""
    action, edits = WAYS[way]
    files.spec("kws", "import parts\n" + tiny_spec(action))
    ran, notes = built(files, executor)
    assert ["spec", "data"] == ran
    assert any("load counts by the whole spec (" in note for note in notes)
    for edit in edits:
        files.edit("models/parts.py", *edit)
        assert ["spec", "data"] == built(files, executor)[0]
        assert [] == built(files, executor)[0]


@pytest.mark.parametrize("reading", ["open(__file__)", "open('models/kws.py')"])
def test_a_source_that_the_top_of_a_spec_opens_counts(reading: str, files: Files, executor: Processes) -> None:
    """A spec may open a module like any other file."""
    files.spec("kws", tiny_spec("LENGTH").replace("def load", f"LENGTH = len({reading}.read())\n\ndef load"))
    assert ["spec", "data"] == built(files, executor)[0]
    files.edit("models/kws.py", "my_model.epochs = 2", "my_model.epochs = 2  # two")
    assert ["spec", "data"] == built(files, executor)[0]


def test_a_text_that_the_top_of_a_spec_reads_counts(files: Files, executor: Processes) -> None:
    """What is made of a docstring while the spec is imported is a value, and the spec is run again for it."""
    text = tiny_spec("LENGTH").replace("def load", "import parts\nLENGTH = len(parts.helper.__doc__)\n\ndef load")
    files.spec("kws", text)
    assert ["spec", "data"] == built(files, executor)[0]
    files.edit("models/parts.py", *DOCSTRING)
    assert ["spec", "data"] == built(files, executor)[0]
    files.edit("models/parts.py", *COMMENT)
    assert ["spec"] == built(files, executor)[0]


@pytest.mark.parametrize(
    "reader", ["pickle.loads(Path('part.bin').read_bytes())", "pickle.load(open('part.bin', 'rb'))"]
)
def test_the_class_of_a_pickled_object_counts(reader: str, files: Files, executor: Processes) -> None:
    """A loader that reads an object of a workspace class from a file uses code that it doesn't name."""
    (files.root / "part.bin").write_bytes(b"cparts\nPart\n)\x81.")
    files.spec("kws", tiny_spec(f"import pickle; {reader}.by()"))
    ran, notes = built(files, executor)
    assert ["spec", "data"] == ran
    assert ["data reads pickled objects of models/parts.py: the whole spec counts"] == notes
    files.edit("models/parts.py", "self.scale  #", "self.scale * 2  #")
    assert ["data"] == [stage for stage in built(files, executor)[0] if stage == "data"]
    assert [] == built(files, executor)[0]


def test_a_pickle_of_plain_values_costs_nothing(files: Files, executor: Processes) -> None:
    """What libraries pickle counts by their versions."""
    (files.root / "part.bin").write_bytes(pickle.dumps({"a": collections.OrderedDict(b=1)}))
    files.spec("kws", "import parts\n" + tiny_spec("import pickle; pickle.load(open('part.bin', 'rb'))"))
    assert (["spec", "data"], []) == built(files, executor)
    files.edit("models/parts.py", *CODE)
    assert ["spec"] == built(files, executor)[0]


def test_modules_of_pickles_are_collected_inside_and_outside() -> None:
    """A block sees what blocks within it have seen, and nothing of what comes after it."""
    data = pickle.dumps(collections.Counter("a"))
    with unpickled() as outer:
        with unpickled() as inner:
            pickle.load(io.BytesIO(data))
        assert {"collections"} == inner
    pickle.loads(data)
    assert {"collections"} == outer


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import inspect\nX = inspect.getsource(f)", True),
        ("from inspect import getdoc as d", True),
        ("X = f.__doc__", True),
        ("X = getattr(f, '__doc__')", True),
        ("X = f.__code__.co_firstlineno", True),
        ("X = Base.__subclasses__()", False),
        ("'''Calls getsource.'''\nX = 1", False),
        ("X = signature", False),
        ("X = open(__file__).read()", True),
        ("X = Path(__file__).resolve().read_text()", True),
        ("X = Path(__file__).parent.joinpath('a.json').read_text()", False),
        ("X = open(os.path.join(os.path.dirname(__file__), 'a.json')).read()", False),
        ("X = (Path(__file__).parent / 'parts.py').read_text()", True),
        ("X = glob('*.py')", True),
        ("getsource(", False),
    ],
)
def test_a_module_that_may_look_at_text_is_told(source: str, expected: bool) -> None:
    """Words in texts and names of other things are none."""
    assert expected == reads_text(source)


READS = {
    "model_parameters": ("my_model.model_parameters", "my_model.model_parameters['k'] = {}"),
    "embedded_parameters": ("my_model.embedded_parameters", "my_model.model_parameters['k'] = {}"),
    "archive_files": ("my_model.archive_files", "my_model.add_archive_file('{}.txt')"),
    "summary": ("my_model.summary()", "my_model.batch_size = {}"),
    "get_attribute": ("my_model.get_attribute('train.batch_size')", "my_model.batch_size = {}"),
    "computed name": ("getattr(my_model, 'batch_' + 'size')", "my_model.batch_size = {}"),
    "order of arguments": (
        "[*my_model.train_kwargs]",
        "my_model.train_kwargs = dict([('b', 1), ('a', 2)][:: 3 - 2 * {}])",
    ),
}


@pytest.mark.parametrize("what", READS)
def test_what_a_loader_asks_the_model_counts(what: str, files: Files, executor: Processes) -> None:
    """Whatever a spec sets may be read by its loader, and as it was set."""
    action, line = READS[what]
    for number in (1, 2):
        files.spec("kws", tiny_spec(action) + line.format(number))
        assert ["spec", "data"] == built(files, executor)[0]
    assert [] == built(files, executor)[0]


def test_the_order_of_a_dict_that_a_loader_counts_through_is_loaded_anew(files: Files, executor: Processes) -> None:
    """The place of a group is its label: other samples, so the data stage runs."""
    text = tiny_spec("return np.arange(32.0).reshape(8, 4), np.arange(8) % (2 if [*GROUPS][0] == 'low' else 1)")
    files.spec("kws", text.replace("def load", "GROUPS = {'low': 1, 'high': 2}\n\ndef load"))
    assert ["spec", "data"] == built(files, executor)[0]
    before = (files.root / "build/kws/data/training.json").read_bytes()
    files.edit("models/kws.py", "'low': 1, 'high': 2", "'high': 2, 'low': 1")
    assert ["spec", "data"] == built(files, executor)[0]
    assert before != (files.root / "build/kws/data/training.json").read_bytes()


def test_annotations_of_a_loader_load_nothing(files: Files, executor: Processes) -> None:
    """The spec is run, for a name in an annotation may be none; its slices are the same."""
    files.spec("kws", tiny_spec())
    assert ["spec", "data"] == built(files, executor)[0]
    files.edit("models/kws.py", "def load(subset, test):", "def load(subset: str, test: bool) -> tuple:")
    assert ["spec"] == built(files, executor)[0]
