"""Every format of the table: what is written is read back as it was, and recognised as what it is."""

import shutil
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from maskwright.data.categories import recognise_categories
from maskwright.data.convert import convert, writable
from maskwright.data.formats import FORMATS, read_source, recognised
from maskwright.data.images import read_image, read_values
from maskwright.data.index import build_index
from maskwright.data.synthetic import make_playground
from maskwright.errors import DataError, UsageError
from maskwright.recipe.data import DataSpec, FormatName


@pytest.fixture(scope="module")
def playground(tmp_path_factory):
    root = tmp_path_factory.mktemp("formats") / "data"
    make_playground(root, labelled=6, unlabelled=2, size=(40, 56), planted=False)
    return root


def listing(root: Path, scratch: Path):
    """Return {image's last name: (pixels, label by category names, instance map)} and the categories."""
    index, _, _ = build_index(DataSpec(root=str(root)), scratch)
    found = {}
    for row, image in enumerate(index.images):
        sample, ids = index.read(row), index.table["instances"][row]
        instances = None if ids is None else read_values(index.path(ids))
        found[Path(sample.name).name] = (read_image(index.path(image)), sample.label, instances)
    return found, index.categories


def test_the_recipe_names_every_format():
    assert set(get_args(FormatName)) == {"auto", *FORMATS}


@pytest.fixture(scope="module")
def objects(playground, tmp_path_factory):
    """The playground as formats hold it that know one kind of object: its objects, and background."""
    root = tmp_path_factory.mktemp("objects") / "data"
    shutil.copytree(playground, root)
    for path in sorted((root / "masks").iterdir()):
        cv2.imwrite(str(path), (read_values(root / "instances" / path.name) > 0).astype(np.uint8))
    (root / "classes.json").write_text('{"0": "background", "1": "plant"}')
    return root


ONE_CLASS = {"dsb2018", "rle_csv"}
"""Formats that hold objects of one class alone; all others hold the whole playground."""

NO_OBJECTS = {"nnunet"}
"""Formats that hold masks alone."""

SUFFIX = {"nnunet": "_0000"}
"""What a format adds to the names of images."""


@pytest.mark.parametrize("name", writable())
def test_what_is_written_is_read_back(name, request, tmp_path):
    playground = request.getfixturevalue("objects" if name in ONE_CLASS else "playground")
    before, categories = listing(playground, tmp_path / "before")
    assert convert(DataSpec(root=str(playground)), tmp_path / "out", name).images == len(before)
    assert recognised(tmp_path / "out") == [name]
    after, again = listing(tmp_path / "out", tmp_path / "after")
    after = {image.removesuffix(SUFFIX.get(name, "")): found for image, found in after.items()}
    assert set(after) == set(before)
    assert again.names == categories.names
    for image, (pixels, label, instances) in before.items():
        assert np.array_equal(after[image][0], pixels)
        if label is None:
            assert after[image][1] is None
        else:
            assert np.array_equal(after[image][1], label)
        assert (after[image][2] is None) is (instances is None or name in NO_OBJECTS)
        if instances is not None and name not in NO_OBJECTS:
            assert np.array_equal(same_numbers(after[image][2]), same_numbers(instances))


def same_numbers(instances):
    """Return ids in the order of their first pixel: a format may number objects in its own way."""
    _, first, inverse = np.unique(instances, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return order[inverse].reshape(instances.shape)


@pytest.mark.parametrize("name", sorted(ONE_CLASS))
def test_what_a_format_does_not_hold_is_not_written(name, playground, tmp_path):
    with pytest.raises(UsageError, match="background and one category"):
        convert(DataSpec(root=str(playground)), tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_format_raises_on_folders_that_are_not_its_own(name, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "notes.json").write_text("{")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "page.xml").write_text("<html/>")
    assert FORMATS[name].recognise(tmp_path) is False


def test_categories_of_the_folder_are_mapped_by_name(playground):
    spec = DataSpec(root=str(playground))
    source = read_source(playground)
    names = [c.name for c in recognise_categories(source, playground, spec).items]
    joined = dict.fromkeys(names, "all") | {names[0]: None, names[1]: names[1]}
    found = recognise_categories(source, playground, spec.model_copy(update={"map": joined}))
    assert found.names == [names[1], "all"]
    assert set(found.ignore) >= {source.categories[0].values[0]}


def test_a_name_that_no_category_has_is_named(playground):
    spec = DataSpec(root=str(playground))
    source = read_source(playground)
    names = {c.name: c.name for c in recognise_categories(source, playground, spec).items}
    with pytest.raises(DataError, match="got watr"):
        recognise_categories(source, playground, spec.model_copy(update={"map": names | {"watr": "water"}}))
