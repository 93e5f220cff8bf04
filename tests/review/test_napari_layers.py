"""The layers of an item and of a run in napari's model of a viewer, which needs neither Qt nor a screen."""

from importlib.resources import files
from importlib.util import find_spec

import numpy as np
import pytest

from make_copies import half
from make_review import ALONE, BOX, ODD, PLAIN, place_of
from maskwright.decisions import settled
from maskwright.napari.reader import RUN, run_layers
from maskwright.napari.session import Session
from maskwright.pictures import category_colors

pytestmark = [
    pytest.mark.skipif(find_spec("napari") is None, reason="needs the extra napari"),
    pytest.mark.filterwarnings("ignore"),  # of napari's own packages, when they are imported
]


@pytest.fixture
def session(desk):
    found = Session(desk)
    found.by = "Anna"
    return found


@pytest.fixture
def board(session):
    from napari.components import ViewerModel

    from maskwright.napari.layers import Board

    return Board(ViewerModel(), session.categories)


def show(session, board, kind):
    session.show(place_of(session.desk, kind))
    board.show(session.panes, session.item.region)
    return {layer.name: layer for layer in board.viewer.layers}


def test_candidates_are_labels_beside_each_other(session, board):
    board.viewer.canvas.size = (600, 800)  # height, width: in two rows, pictures of 48 × 64 are largest
    found = show(session, board, "disagreement")
    plain, first, second = found[ALONE], found["A: round 1, fold 0"], found["B: round 1, fold 1"]
    assert np.array_equal(plain.data, session.desk.run.picture(ALONE))
    assert np.array_equal(first.data, half(10)) and np.array_equal(second.data, half(50))
    assert not first.editable
    boxes = [np.asarray(layer.extent.world) for layer in (plain, first, second)]
    for a, b in ((0, 1), (0, 2), (1, 2)):  # none over another
        assert (np.maximum(boxes[a][0], boxes[b][0]) > np.minimum(boxes[a][1], boxes[b][1])).any()
    assert boxes[1][0][0] == boxes[2][0][0]  # A and B at one height
    assert first.colormap.map(np.uint8([1]))[0][:3] == pytest.approx(np.array(category_colors(1)[0]) / 255, abs=0.01)
    assert first.colormap.map(np.uint8([0, 255]))[:, 3].tolist() == [0, 1]  # the background is clear, ignored gray


@pytest.mark.parametrize(
    ("canvas", "expected"),
    [
        ((200, 800), [(0, 0), (0, 1), (0, 2)]),
        ((800, 200), [(0, 0), (1, 0), (2, 0)]),
        ((600, 800), [(0, 0), (1, 0), (1, 1)]),  # the picture alone above A and B
    ],
)
def test_pictures_lie_as_they_are_largest(session, board, canvas, expected):
    board.viewer.canvas.size = canvas
    found = show(session, board, "disagreement")
    images = [found[name] for name in (ALONE, "A: round 1, fold 0 (image)", "B: round 1, fold 1 (image)")]
    corners = [layer.translate for layer in images]
    assert [(round(y / 50), round(x / 68)) for y, x in corners] == expected  # 48 × 64, and a gap of 3.84


def test_only_where_they_differ_and_nothing_at_all(session, board):
    found = show(session, board, "disagreement")
    first = found["A: round 1, fold 0"]
    board.differs = True
    board.look()
    expected = np.full((48, 64), 254, np.uint8)
    expected[:, 10:50] = 0  # A says background there, B rock
    assert np.array_equal(first.data, expected)
    assert (found["B: round 1, fold 1"].data[:, 10:50] == 1).all()
    board.hidden, board.opacity = True, 0.8
    board.look()
    assert (first.visible, first.opacity) == (False, 0.8)
    board.differs = board.hidden = False
    board.look()
    assert first.visible and np.array_equal(first.data, half(10))


def test_the_next_item_takes_the_place_of_the_one_before(session, board):
    before = show(session, board, "suspect")
    frame = before["the region"]
    left, top, right, bottom = BOX
    corners = np.asarray(frame.data[0]) - before["A: mask"].translate
    assert corners.min(0) == pytest.approx(np.array([top - 0.5, left - 0.5]), abs=1e-4)
    assert corners.max(0) == pytest.approx(np.array([bottom - 0.5, right - 0.5]), abs=1e-4)
    after = show(session, board, "disagreement")
    assert "the region" not in after and len(after) == len(before) - 1
    assert np.array_equal(after["B: round 1, fold 1"].data, half(50))
    assert len(show(session, board, "outlier")) == 2  # picture and caption
    board.show(())
    assert not board.viewer.layers


def test_a_drawing_with_naparis_brush_is_saved(session, board):
    found = show(session, board, "suspect")
    board.begin(session.begin(0), 0)
    assert board.drawing.mode == "paint" and board.viewer.layers.selection.active is board.drawing
    board.hidden = True
    board.look()
    assert not board.drawing.visible
    board.hidden = False
    board.look()
    assert board.drawing.visible and board.drawing.mode == "paint" and not found["A: mask"].visible
    board.drawing.brush_size = 1
    board.paint(1)
    board.drawing.paint((20, 50), board.drawing.selected_label)
    board.paint(255)
    board.drawing.paint((20, 5), board.drawing.selected_label)
    board.drawing.paint((30, 5), board.drawing.colormap.background_value)  # the eraser
    board.drawing.undo()
    expected = half(16)
    expected[20, 50], expected[20, 5] = 1, 255
    assert np.array_equal(board.drawn, expected)
    session.save(board.drawn)
    board.end()
    assert board.drawn is None and found["A: mask"].visible
    assert np.array_equal(session.desk.run.mask(PLAIN, settled(session.desk.log())), expected)


def test_the_eraser_takes_away_what_was_drawn_on_nothing(session, board):
    show(session, board, "uncertain")
    assert session.item.image == ODD
    board.begin(session.begin(-1), -1)
    board.drawing.paint((20, 50), 1)
    board.drawing.paint((20, 50), board.drawing.colormap.background_value)
    assert (board.drawn == 255).all()


def test_a_region_is_dragged(session, board):
    show(session, board, "conflict")
    board.begin_region()
    assert board.region is None
    board.rectangle.add_rectangles(np.array([[0, 0], [0, 1], [1, 1], [1, 0]]))
    board.rectangle.add_rectangles(np.array([[2, 3], [2, 8], [6, 8], [6, 3]]))
    assert board.region == (3, 2, 9, 7)  # the last one
    board.end()
    assert board.region is None


def test_a_run_as_layers(folder):
    data = {shown["name"]: (values, shown, kind) for values, shown, kind in run_layers(folder.root)}
    images, masks, predictions = (data[name][0] for name in ("images", "masks", "predictions"))
    names = list(data["names"][1]["features"]["title"])
    assert images.shape == (len(names), 48, 64, 3) and masks.shape == images.shape[:3]
    assert {PLAIN, ALONE, ODD} < set(names)
    assert np.array_equal(masks[names.index(PLAIN)], half(16))
    assert (masks[names.index(ALONE)] == 254).all()  # it has none
    assert np.array_equal(predictions[names.index(PLAIN)], half(24))
    pseudo = data["pseudo-labels of round 1, fold 1"][0]
    assert np.array_equal(pseudo[names.index(ALONE)], half(50))
    assert all(shown["metadata"] == {RUN: str(folder.root)} for _, shown, _ in data.values())
    from napari.components import ViewerModel
    from napari.layers import Layer

    viewer = ViewerModel()
    for values, shown, kind in data.values():
        viewer.add_layer(Layer.create(values, shown, kind))
    viewer.dims.set_current_step(0, names.index(PLAIN))
    assert np.array_equal(np.asarray(viewer.layers["masks"]._data_view), half(16))


def test_what_people_decided_shows_in_the_masks(desk, folder, session):
    masks = next(values for values, shown, _ in run_layers(folder.root) if shown["name"] == "masks")
    place = desk.run.index.images.index(PLAIN)
    assert np.array_equal(masks[place], half(16))
    session.show(place_of(desk, "suspect"))
    label = session.begin(0)
    label[0, 60] = 1
    session.save(label)
    assert masks[place][0, 60] == 1


def test_the_manifest_is_one():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(str(files("maskwright.napari").joinpath("napari.yaml")))
    assert manifest.name == "maskwright"
    manifest.validate_imports()
