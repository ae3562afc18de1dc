import pytest
import typer

from service.cli import parameters


def test_names_come_from_the_line_or_from_a_file(tmp_path):
    """One name a line, blank lines do not count."""
    (tmp_path / "classes.txt").write_text("grey cat\n\ndog, wet\n")
    assert parameters.names("cat, dog") == ["cat", "dog"]
    assert parameters.names(f"@{tmp_path / 'classes.txt'}") == ["grey cat", "dog, wet"]


@pytest.mark.parametrize(("text", "size"), [("224x192", [224, 192]), ("32", [32, 32])])
def test_a_size_is_height_and_width(text, size):
    """In this order, as everywhere."""
    assert parameters.size(text) == size


@pytest.mark.parametrize("text", ["", "8x", "x8", "8x8x3", "-8"])
def test_a_size_that_is_none_is_refused(text):
    """With an example of one that is."""
    with pytest.raises(typer.BadParameter, match="224x224"):
        parameters.size(text)


def test_a_label_is_sent_as_it_is_written(tmp_path):
    """A class may be called "3": whether it is, the service knows. JSON tells texts from numbers."""
    assert parameters.labels("3, cat") == ["3", "cat"]
    (tmp_path / "labels.json").write_text('["3", 3]')
    assert parameters.labels(f"@{tmp_path / 'labels.json'}") == ["3", 3]


def test_a_file_of_labels_must_be_a_list(tmp_path):
    """In the order of the images, so nothing else will do."""
    (tmp_path / "labels.json").write_text('{"a.png": 3}')
    with pytest.raises(typer.BadParameter, match="JSON list"):
        parameters.labels(f"@{tmp_path / 'labels.json'}")


def test_a_version_is_named_with_its_model():
    """As certificates do it."""
    assert parameters.versions("pets/2, birds/1") == [{"model": "pets", "version": 2}, {"model": "birds", "version": 1}]
    for text in ("pets", "pets/", "pets/x", "pets/1/2", "pets/1,birds"):
        with pytest.raises(typer.BadParameter, match="pets/2,birds/1"):
            parameters.versions(text)


def test_numbers_are_numbers():
    """Mean and standard deviation."""
    assert parameters.numbers("0.5,1") == [0.5, 1.0]
    with pytest.raises(typer.BadParameter):
        parameters.numbers("0.5;1")
