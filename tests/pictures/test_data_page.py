"""The page that shows a data set."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mltkbuild.pictures.data_page import Finding, Page, Picture, Shown, Sound, picture, write


class Reader(HTMLParser):
    """Collects the text of a page and its pictures and players, and complains of tags that don't match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the tag and its source."""
        self.sources += [str(value) for name, value in attrs if name == "src"]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Compare with the tag that is open."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Remember the text."""
        self.texts.append(data.strip())


def read(path: Path, page: Page) -> Reader:
    write(path, page)
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert [] == reader.open
    return reader


def pixels(found: Picture | None) -> Any:
    assert found is not None
    return np.asarray(Image.open(io.BytesIO(found.png)))


def test_page_holds_all_that_it_is_given(tmp_path: Path) -> None:
    """Counts, findings and samples stand on the page; names are escaped; it names no other file."""
    drawn = picture("as it is", np.arange(12.0).reshape(4, 3))
    assert drawn is not None
    page = Page(
        "kws",
        (4, 3),
        {"training": {"<yes>": 1200, "no": 3}, "validation": {"<yes>": 7, "no": 0}},
        [Finding("silent", [f"no/{number}.wav" for number in range(20)]), Finding("clipped", [])],
        [Shown("<yes>/ü&.wav", "<yes>", "training", [drawn, Sound("the recording", b"RIFF", "audio/wav")])],
    )
    reader = read(tmp_path / "view.html", page)
    text = " ".join(reader.texts)
    for part in (
        "kws",
        "1,210 samples of 4 x 3 values",
        "<yes>",
        "1,200",
        "<yes>/ü&.wav",
        "as it is",
        "the recording",
        "silent",
        "and 8 more",
    ):
        assert part in text
    assert "clipped" not in text
    assert ["data:image/png;base64,", "data:audio/wav;base64,"] == [
        source.split(",")[0] + "," for source in reader.sources
    ]


def test_equal_pages_have_equal_bytes(tmp_path: Path) -> None:
    """The page holds no clock."""
    page = Page("kws", (), {"training": {"all": 0}}, [], [])
    write(tmp_path / "a.html", page)
    write(tmp_path / "b.html", page)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert "No anomalies were found" in (tmp_path / "a.html").read_text()


def test_picture_spreads_values_from_dark_to_bright() -> None:
    """The least value is black and the greatest white, whatever their range; a constant image is black."""
    found = pixels(picture("", np.array([[-3.0, 0.0], [1.0, 5.0]])))
    assert (0, 255, (2, 2)) == (found[0, 0], found[1, 1], found.shape)
    assert 0 == pixels(picture("", np.full((2, 2), 7.0))).max()
    assert (2, 3, 3) == pixels(picture("", np.zeros((2, 3, 3)))).shape


def test_spectrogram_has_time_to_the_right_and_low_channels_below() -> None:
    """A spectrogram of (time, channel) is turned."""
    values = np.zeros((5, 3, 1))
    values[4, 0] = 1.0
    found = pixels(picture("", values, is_features=True))
    assert (3, 5, 3) == found.shape
    assert [2, 4] == list(np.argwhere(found.sum(axis=2) != found[0, 0].sum())[0])


@pytest.mark.parametrize("shape", [(50,), (50, 1), (1, 50)])
def test_series_is_drawn_as_a_line(shape: tuple[int, ...]) -> None:
    """A series goes from the lower left to the upper right when it grows."""
    found = pixels(picture("", np.arange(50.0).reshape(shape)))
    assert [True, True, False] == [bool(found[place] < 255) for place in ((-1, 0), (0, -1), (0, 0))]


@pytest.mark.parametrize("shape", [(1,), (2, 3, 2), (2, 2, 2, 2)])
def test_other_shapes_have_no_picture(shape: tuple[int, ...]) -> None:
    """What is no image, spectrogram or series isn't drawn."""
    assert picture("", np.zeros(shape)) is None
