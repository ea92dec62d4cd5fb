"""Finding a workspace, reading its configuration, listing its specs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.disk import workspace as module
from mltkbuild.disk.workspace import (
    NAME,
    Spec,
    Workspace,
    configure,
    find_workspace,
    import_folders,
    list_specs,
    module_file,
)
from mltkbuild.errors import SpecError, UsageError, WorkspaceError

MARK = "# @mltk_model\n"


def fill(root: Path, **files: str) -> Workspace:
    """Write files, named `models__kws` for `models/kws.py`, and configure the workspace."""
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return configure(str(root))


def configured(root: Path, text: str) -> Workspace:
    """Write a `pyproject.toml` and read it."""
    (root / "pyproject.toml").write_text(text)
    return configure(str(root))


def names(root: Path) -> list[str]:
    """The models of a workspace."""
    return sorted(list_specs(configure(str(root))).specs)


def test_workspace_is_found_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest folder with a dodo.py is the workspace, from any depth, through links, and from a file too."""
    inner = tmp_path / "ws/models/audio"
    inner.mkdir(parents=True)
    (tmp_path / "dodo.py").touch()
    (tmp_path / "ws/dodo.py").touch()
    (tmp_path / "link").symlink_to(inner)
    expected = str(tmp_path / "ws")
    assert [expected] * 3 == [find_workspace(start).root for start in (inner, tmp_path / "link", inner / "kws.py")]
    monkeypatch.chdir(inner)
    assert expected == find_workspace().root


def test_no_workspace_is_an_error_that_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a dodo.py above, and in a folder that is gone, the error says what to do."""
    with pytest.raises(WorkspaceError, match="this is no workspace") as caught:
        find_workspace(tmp_path)
    assert "run `mltk init .`" == caught.value.fix
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(WorkspaceError, match="the working directory is gone"):
        find_workspace()


def test_configuration_is_optional(tmp_path: Path) -> None:
    """Without a pyproject.toml, and without the table, everything has its default."""
    expected = Workspace(str(tmp_path), "build", "models", "minor")
    assert expected == configure(str(tmp_path))
    assert expected == configured(tmp_path, "[project]\nname = 'x'\n")


def test_folders_are_kept_in_their_normal_form(tmp_path: Path) -> None:
    """However a folder is written, paths that are made of it are the same."""
    table = "[tool.mltkbuild]\nbuild_dir = './out//b/'\nmodels_dir = 'specs/./x'\ntoolchain = 'exact'\n"
    assert Workspace(str(tmp_path), "out/b", "specs/x", "exact") == configured(tmp_path, table)


WRONG: dict[str, tuple[str, str]] = {
    "no TOML": ("[tool.mltkbuild", "pyproject.toml is not valid TOML"),
    "unknown key": ("[tool.mltkbuild]\nbuild-dir = 'x'", "did you mean build_dir?"),
    "no string": ("[tool.mltkbuild]\nbuild_dir = 3", "found: 3"),
    "empty": ("[tool.mltkbuild]\nbuild_dir = ''", "build_dir must be a string"),
    "absolute": ("[tool.mltkbuild]\nbuild_dir = '/tmp'", "build_dir must be a folder inside the workspace"),
    "outside": ("[tool.mltkbuild]\nmodels_dir = 'a/../../b'", "models_dir must be a folder inside the workspace"),
    "the root": ("[tool.mltkbuild]\nmodels_dir = '.'", "models_dir must be a folder inside the workspace"),
    "toolchain": ("[tool.mltkbuild]\ntoolchain = 'strict'", "toolchain must be minor, exact or ignore"),
    "no table": ("[tool]\nmltkbuild = 3", "tool.mltkbuild must be a table"),
    "no tool table": ("tool = 3", "tool.mltkbuild must be a table"),
    "one folder for both": ("[tool.mltkbuild]\nbuild_dir = 'models'", "the specs can't be in the build folder"),
    "specs inside the build": ("[tool.mltkbuild]\nbuild_dir = 'a'\nmodels_dir = 'a/b'", "can't be in the build"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_configuration_is_an_error_with_a_fix(what: str, tmp_path: Path) -> None:
    """A wrong file, key or value names itself, and what would be right."""
    text, part = WRONG[what]
    with pytest.raises(WorkspaceError) as caught:
        configured(tmp_path, text)
    assert part in str(caught.value)
    assert "pyproject.toml" in str(caught.value.where)
    assert caught.value.fix is not None


def test_configuration_that_can_t_be_read_is_an_error(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and a folder in its place, are errors too; a near name of a folder is none."""
    (tmp_path / "pyproject.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(WorkspaceError, match="not valid TOML"):
        configure(str(tmp_path))
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(WorkspaceError, match=r"pyproject.toml can't be read"):
        configure(str(tmp_path))


def test_dotted_folder_is_inside(tmp_path: Path) -> None:
    """A folder whose name begins with two dots is not the folder above."""
    assert "..out" == configured(tmp_path, "[tool.mltkbuild]\nbuild_dir = '..out'\n").build_dir


def test_paths_of_the_workspace(tmp_path: Path) -> None:
    """Paths inside are told relative to the root, others are not."""
    workspace = Workspace(str(tmp_path))
    assert str(tmp_path / "a/b") == workspace.path("a/b")
    assert ("a/b", None, None) == (
        workspace.relative(str(tmp_path / "a/b")),
        workspace.relative(str(tmp_path) + "2/a"),
        workspace.relative("/"),
    )


MARKED: dict[str, tuple[str, bool]] = {
    "plain": (MARK, True),
    "indented": ("if 1:\n    # @mltk_model\n    a = 1\n", True),
    "tight": ("#@mltk_model", True),
    "with words behind": ("# @mltk_model  (keyword spotting)\n", True),
    "windows": ("import a\r\n# @mltk_model\r\n", True),
    "in a broken file": ("def f(:\n# @mltk_model\n", True),
    "after a docstring": ('"""A text."""\n# @mltk_model\n', True),
    "no marker": ("class Model: pass\n", False),
    "another word": ("# @mltk_models\n", False),
    "behind code": ("a = 1  # @mltk_model\n", False),
    "in a string": ('TEXT = """\n# @mltk_model\n"""\n', False),
    "in a string that is never closed": ('TEXT = """\n# @mltk_model\n', True),
    "in a string and as a comment": ('TEXT = """\n# @mltk_model\n"""\n# @mltk_model\n', True),
    "quoted word": ("print('@mltk_model')\n", False),
}


@pytest.mark.parametrize("form", MARKED)
def test_marker_is_a_comment_on_its_own_line(form: str, tmp_path: Path) -> None:
    """A file is a spec exactly if it has the marker as a comment."""
    text, expected = MARKED[form]
    fill(tmp_path, models__kws=text)
    assert (["kws"] if expected else []) == names(tmp_path)


def test_one_broken_file_never_hides_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes, bad names, unreadable files, dead links and folders that look like files leave the other specs listed."""
    workspace = fill(tmp_path, models__kws=MARK, models__sub__deep=MARK, models__locked=MARK)
    models = tmp_path / "models"
    (models / "bytes.py").write_bytes(b"\x00\xff\xfe# @mltk_model")
    (models / "marked_bytes.py").write_bytes(b"\xff\n# @mltk_model\n")
    (models / "my-model.py").write_text(MARK)
    (models / "my model.py").write_text(MARK)
    (models / "folder.py").mkdir()
    (models / ".hidden.py").write_text(MARK)
    (models / ".git").mkdir()
    (models / ".git/kws.py").write_text(MARK)
    (models / "v1.2").mkdir()
    (models / "v1.2/dotted.py").write_text(MARK)
    (models / ".#kws.py").symlink_to("nowhere")
    (models / "dead.py").symlink_to("nowhere")
    plain_open = open

    def guarded(path: str, *args: object, **kwargs: object) -> object:
        if str(path).endswith("locked.py"):
            raise PermissionError(13, "Permission denied", path)
        return plain_open(path, *args, **kwargs)  # type: ignore[call-overload]  # handed on as it came

    monkeypatch.setattr(module, "open", guarded, raising=False)
    listing = list_specs(workspace)
    assert ["deep", "dotted", "kws", "marked_bytes"] == sorted(listing.specs)
    assert ["locked", "my model", "my-model"] == sorted(listing.problems)
    assert "rename the file to my_model.py" == listing.problems["my-model"].fix
    assert "Permission denied" == listing.problems["locked"].found
    with pytest.raises(SpecError, match="this file can't be read"):
        listing["locked-test"]


def test_two_specs_of_one_name_are_a_problem_that_names_both(tmp_path: Path) -> None:
    """The same name in two folders would share a build folder; a third one changes nothing, others are listed."""
    workspace = fill(tmp_path, models__a__kws=MARK, models__b__kws=MARK, models__c__kws=MARK, models__ok=MARK)
    listing = list_specs(workspace)
    assert ["ok"] == list(listing.specs)
    assert "models/a/kws.py and models/b/kws.py" == listing.problems["kws"].found
    with pytest.raises(SpecError, match="two specs have the name kws"):
        listing["kws"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    """A link upwards or to a folder beside it gives no second spec; a link to a folder outside gives its specs."""
    fill(tmp_path, models__a__kws=MARK, elsewhere__far=MARK)
    (tmp_path / "models/0loop").symlink_to(tmp_path / "models")
    (tmp_path / "models/0beside").symlink_to(tmp_path / "models/a")
    (tmp_path / "models/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "models/other.py").symlink_to(tmp_path / "models/a/kws.py")
    listing = list_specs(configure(str(tmp_path)))
    assert {} == listing.problems
    expected = {"kws": "models/a/kws.py", "far": "models/out/far.py", "other": "models/other.py"}
    assert expected == {name: spec.path for name, spec in listing.specs.items()}


def test_listing_without_a_models_folder_is_empty(tmp_path: Path) -> None:
    """A workspace may begin with nothing, and then a name is answered with what to do."""
    listing = list_specs(configure(str(tmp_path)))
    assert ({}, {}) == (listing.specs, listing.problems)
    with pytest.raises(UsageError, match="there is no model kws") as caught:
        listing["kws"]
    assert "write one, or try `mltk init`" == caught.value.fix


def test_a_file_without_the_marker_is_named(tmp_path: Path) -> None:
    """Asked for by its name it is an error with the line that it lacks; one that makes a model is told unasked."""
    model = "class Mine(MltkModel): pass\nmy_model = Mine()\n"
    helper = "# my_model = 3\ndef change(my_model): my_model.epochs = 3\n"
    text = 'TEXT = """\n# @mltk_model\n"""\nmy_model: Mine = Mine()\n'
    listing = list_specs(fill(tmp_path, models__kws=MARK, models__a=model, models__b=helper, models__c=text))
    assert (["kws"], {}) == (list(listing.specs), listing.problems)
    for name in ("a", "b", "c", "a-test"):
        with pytest.raises(UsageError, match="no line `# @mltk_model`") as caught:
            listing[name]
        assert f"models/{name.removesuffix('-test')}.py" == caught.value.where
        assert "on a line of its own" in str(caught.value.fix)
    assert ("models/a.py", "models/c.py") == listing.forgotten
    assert "models/a.py makes a my_model and is no spec" in listing.notes()[0]


def test_unknown_model_is_answered_with_the_near_names(tmp_path: Path) -> None:
    """A misspelt name gets a hint, and a dry run is found under the model's name."""
    listing = list_specs(fill(tmp_path, models__kws_v2=MARK, models__digits=MARK))
    with pytest.raises(UsageError) as caught:
        listing["kws_v1"]
    assert ("kws_v1", "did you mean kws_v2?") == (caught.value.found, caught.value.fix)
    assert Spec("digits", "models/digits.py") == listing["digits-test"]


@given(st.text(min_size=1, max_size=8))
def test_names_are_letters_digits_and_underscores(name: str) -> None:
    """A name is valid exactly if it survives every shell, archive and firmware."""
    valid = all(letter.isascii() and (letter.isalnum() or letter == "_") for letter in name)
    assert valid == (NAME.fullmatch(name) is not None)


def test_modules_are_found_as_python_would(tmp_path: Path) -> None:
    """Beside the spec, in the models folder, at the root; packages before modules; never the dodo file."""
    workspace = fill(tmp_path, parts="", models__parts="", models__a__parts="", top="", dodo="", twin="", twin__x="")
    (tmp_path / "twin/__init__.py").touch()
    spec = "models/a/kws.py"
    assert ("models/a", "models", "") == import_folders(workspace, spec)
    assert ("models", "") == import_folders(workspace, "models/kws.py")
    found = {name: module_file(workspace, spec, name) for name in ("parts", "top", "twin", "twin.x", "dodo", "numpy")}
    expected = {
        "parts": "models/a/parts.py",
        "top": "top.py",
        "twin": "twin/__init__.py",
        "twin.x": "twin/x.py",
        "dodo": None,
        "numpy": None,
    }
    assert expected == found
    assert os.path.join("models", "parts.py") == module_file(workspace, "models/kws.py", "parts")
