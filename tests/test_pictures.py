"""Pictures: pixel values worked by hand, charts read back as XML."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest
from PIL import Image

from maskwright.errors import DataError
from maskwright.pictures import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    OKABE_ITO,
    bars,
    boxes,
    category_colors,
    confusion,
    curves,
    data_uri,
    encode,
    error_map,
    fit,
    histogram,
    overlay,
    points,
    points_png,
    quantiles,
    reliability,
    side_by_side,
    thumbnail_map,
    to_rgb8,
)
from maskwright.types import IGNORE

RED, BLUE = (200, 0, 0), (0, 0, 200)


def palette():
    table = np.zeros((256, 3), np.uint8)
    table[0], table[1] = RED, BLUE
    return table


class TestColors:
    def test_first_are_okabe_ito_and_all_are_distinct(self):
        colors = category_colors(254)
        assert tuple(colors[:7]) == OKABE_ITO
        assert len(set(colors)) == 254
        assert (0, 0, 0) not in colors  # what IGNORE looks like

    def test_longer_list_extends_shorter(self):
        assert category_colors(30)[:12] == category_colors(12)
        assert category_colors(0) == []

    @pytest.mark.parametrize("n", [-1, 255])
    def test_outside_the_range_is_an_error(self, n):
        with pytest.raises(DataError, match="0 to 254"):
            category_colors(n)

    def test_first_twenty_are_far_apart_in_lab(self):
        rgb = np.array([category_colors(20)], np.float32) / 255
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0]
        distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1e3 * np.eye(20)
        assert distance.min() > 20  # about ten just noticeable differences


class TestToRgb8:
    def test_uint8_is_unchanged_and_gray_repeated(self):
        gray = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
        assert np.array_equal(to_rgb8(gray), np.repeat(gray, 3, 2))
        rgba = np.random.default_rng(0).integers(0, 256, (3, 4, 4), np.uint8)
        assert np.array_equal(to_rgb8(rgba), rgba[..., :3])

    def test_deep_image_is_stretched_between_percentiles(self):
        # 0..100: the 1st percentile is 1, the 99th 99, so 50 lies in the middle: 255 / 2 = 127.5, rounded to even
        image = np.arange(101, dtype=np.uint16).reshape(1, 101, 1)
        out = to_rgb8(image)[0, :, 0]
        assert [out[0], out[1], out[50], out[99], out[100]] == [0, 0, 128, 255, 255]

    def test_rare_values_fall_back_to_the_extremes(self):
        image = np.zeros((100, 100, 1), np.float32)
        image[0, 0] = 7
        out = to_rgb8(image)
        assert (out[0, 0, 0], out[5, 5, 0]) == (255, 0)

    def test_constant_is_mid_gray_and_nan_black(self):
        image = np.full((2, 2, 1), 3.0)
        image[0, 0] = np.nan
        assert to_rgb8(image)[..., 0].tolist() == [[0, 128], [128, 128]]

    @pytest.mark.parametrize("dtype", [bool, np.int32, np.float16, np.uint16, np.float64, np.int64])
    @pytest.mark.parametrize("shape", [(3, 5, 1), (1, 1, 2), (3, 5, 7), (0, 4, 3)])
    def test_any_dtype_and_shape(self, dtype, shape):
        image = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
        out = to_rgb8(image)
        assert out.dtype == np.uint8
        assert out.shape == (*shape[:2], 3)
        if dtype is bool:
            assert set(np.unique(out)) <= {0, 255}

    @pytest.mark.parametrize("shape", [(3, 5), (3, 5, 0)])
    def test_no_channel_is_an_error(self, shape):
        with pytest.raises(DataError, match="H, W, C"):
            to_rgb8(np.zeros(shape, np.uint8))


class TestOverlay:
    def test_mixes_by_hand(self):
        image = np.full((1, 3, 3), 100, np.uint8)
        label = np.array([[0, 1, IGNORE]], np.uint8)
        out = overlay(image, label, palette(), 0.25, False)
        # 0.75 · 100 + 0.25 · 200 = 125, 0.75 · 100 = 75
        assert out[0].tolist() == [[125, 75, 75], [75, 75, 125], [100, 100, 100]]

    def test_outline_has_the_full_colour_on_both_sides(self):
        label = np.zeros((4, 6), np.uint8)
        label[:, 3:] = 1
        out = overlay(np.zeros((4, 6, 1), np.uint8), label, palette(), 0.5)
        assert out[1].tolist() == [[100, 0, 0], [100, 0, 0], [*RED], [*BLUE], [0, 0, 100], [0, 0, 100]]

    def test_skipped_positions_keep_the_image(self):
        label = np.array([[0, 0, 1]], np.uint8)
        out = overlay(np.full((1, 3, 3), 50, np.uint8), label, palette(), skip=[0])
        assert out[0, :2].tolist() == [[50] * 3] * 2
        assert tuple(out[0, 2]) == BLUE

    def test_input_is_not_written_to(self):
        image = np.zeros((2, 2, 3), np.uint8)
        overlay(image, np.array([[0, 1], [1, 0]], np.uint8), palette())
        assert not image.any()

    def test_sizes_must_agree(self):
        with pytest.raises(DataError, match="one height and width"):
            overlay(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2), np.uint8), palette())


class TestErrorMap:
    def test_wrong_pixels_have_the_true_colour_others_are_gray(self):
        truth = np.array([[0, 1, 1, IGNORE]], np.uint8)
        out = error_map(truth, np.array([[1, 1, 0, 0]], np.uint8), palette())
        assert out[0, 0].tolist() == [*RED]
        assert out[0, 1].tolist() == [70, 70, 70]
        assert out[0, 2].tolist() == [*BLUE]
        assert np.ptp(out[0, 3]) == 0

    def test_binary_scheme(self):
        truth, predicted = np.array([[0, 1, 1, 0]], np.uint8), np.array([[1, 0, 1, 0]], np.uint8)
        out = error_map(truth, predicted, palette(), binary=True)
        assert (tuple(out[0, 0]), tuple(out[0, 1])) == (FALSE_POSITIVE, FALSE_NEGATIVE)

    def test_gray_category_is_wrong_in_white_and_right_pixels_show_the_image(self):
        gray = np.zeros((256, 3), np.uint8)
        image = np.full((1, 2, 3), 100, np.uint8)
        out = error_map(np.array([[0, 1]], np.uint8), np.array([[1, 1]], np.uint8), gray, image=image)
        assert out[0].tolist() == [[255] * 3, [60] * 3]  # 20 + 0.4 · 100

    def test_ignored_area_is_hatched_in_two_grays(self):
        truth = np.full((16, 16), IGNORE, np.uint8)
        assert set(np.unique(error_map(truth, np.zeros_like(truth), palette()))) == {105, 150}


class TestSizes:
    def test_side_by_side(self):
        a, b = np.zeros((2, 3, 3), np.uint8), np.full((4, 1, 3), 9, np.uint8)
        row = side_by_side([a, b], gap=2)
        assert row.shape == (4, 6, 3)
        assert row[0, :, 0].tolist() == [0, 0, 0, 255, 255, 9]
        assert row[3, :, 0].tolist() == [255, 255, 255, 255, 255, 9]
        with pytest.raises(DataError):
            side_by_side([])

    def test_fit_averages_images_and_picks_labels(self):
        image = np.array([[0, 10], [20, 30]], np.uint8)[..., None].repeat(2, 0).repeat(2, 1)
        assert fit(image, 2)[..., 0].tolist() == [[0, 10], [20, 30]]
        label = np.arange(12, dtype=np.int64).reshape(2, 6)
        # thirds of six columns have their centres at 1, 3, 5; the one row at 1
        assert fit(label, 3).tolist() == [[7, 9, 11]]

    @pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int64, np.float32])
    @pytest.mark.parametrize("shape", [(1, 5000, 1), (40, 30, 7), (3, 5, 3)])
    def test_fit_keeps_axes_and_never_enlarges(self, dtype, shape):
        out = fit(np.ones(shape, dtype), 10)
        assert out.ndim == 3
        assert out.shape[2] == shape[2]
        assert max(out.shape[:2]) == min(10, max(shape[:2]))
        assert np.allclose(out, 1)

    def test_fit_takes_label_and_image_to_one_size(self):
        for shape in [(77, 31), (31, 77), (200, 3)]:
            assert fit(np.zeros(shape), 20).shape == fit(np.zeros((*shape, 3)), 20).shape[:2]


class TestEncode:
    @pytest.mark.parametrize(("form", "apart"), [("png", 0), ("webp", 12), ("jpeg", 12)])
    def test_colours_survive(self, form, apart):
        image = np.empty((16, 16, 3), np.uint8)
        image[:] = (200, 100, 50)
        with Image.open(io.BytesIO(encode(image, form))) as picture:
            assert picture.format.lower() == form
            assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - image).max() <= apart

    def test_gray_and_quality(self):
        gray = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
        assert len(encode(gray, "jpeg", 30)) < len(encode(gray, "jpeg", 95))

    def test_too_large_or_empty_is_an_error(self):
        for shape in [(0, 4, 3), (1, 17000, 3)]:
            with pytest.raises(DataError, match="webp can hold"):
                encode(np.zeros(shape, np.uint8))

    def test_data_uri(self):
        assert data_uri(b"hi", "text/plain") == "data:text/plain;base64,aGk="


def charts():
    nan = float("nan")
    names = ["sky", "$x$ <b>&", "nan"]
    return {
        "curves": curves(
            {n: (np.arange(1000), np.full(1000, 2.0)) for n in names}, x="step", y="loss", alt="Loss & <co>"
        ),
        "bars": bars(names, [0.9, 0.25, nan], [0.8, 0.2, nan], [1.0, 0.3, nan], x="IoU", alt="Loss & <co>"),
        "confusion": confusion(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]]), names, alt="Loss & <co>"),
        "histogram": histogram([0.1, nan, 0.4, 0.4], span=(0, 1), x="Dice", alt="Loss & <co>"),
        "points": points(
            {n: ([4, 8], [0.5, 0.6], [0.4, nan], [0.7, nan]) for n in names},
            {"sky": ([4, 16], [0.5, 0.7], [0.4, 0.4], [0.6, 0.8])},
            x="labels",
            y="Dice",
            alt="Loss & <co>",
        ),
        "reliability": reliability(np.array([nan, 0.8]), np.array([nan, 0.7]), np.array([0, 1.0]), alt="Loss & <co>"),
    }


def words(svg):
    return ["".join(e.itertext()) for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


class TestCharts:
    @pytest.mark.parametrize("kind", ["curves", "bars", "confusion", "histogram", "points", "reliability"])
    def test_is_small_well_formed_named_and_the_same_twice(self, kind):
        svg = charts()[kind]
        root = ET.fromstring(svg)
        assert root.attrib["aria-label"] == "Loss & <co>"
        assert root.attrib["role"] == "img"
        assert svg == charts()[kind]
        assert len(svg) < 60_000
        assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "#000000" not in svg
        assert "date" not in svg.lower()
        assert "DejaVu" not in svg

    def test_text_stays_text(self):
        assert {"sky", "$x$ <b>&", "step", "loss"} <= set(words(charts()["curves"]))
        assert {"sky", "$x$ <b>&", "labels", "Dice", "4", "8"} <= set(words(charts()["points"]))
        assert {"sky", "0.900", "0.250", "–", "IoU"} <= set(words(charts()["bars"]))

    def test_confusion_is_in_percent_of_the_row_and_an_empty_row_stays_empty(self):
        numbers = [w for w in words(charts()["confusion"]) if w.isdigit()]
        assert numbers == ["75", "25", "0", "50", "0", "50"]

    def test_long_series_are_averaged(self):
        x = np.arange(100_000)
        assert len(curves({"a": (x, np.sin(x))}, alt="a")) < 30_000

    def test_nothing_to_draw(self):
        for svg in (curves({}), bars([], []), histogram([]), curves({"a": ([1.0], [float("nan")])})):
            width, height = (float(n) for n in ET.fromstring(svg).attrib["viewBox"].split()[2:])
            assert width > 0 and height > 0
            assert "nan" not in svg.lower() and "inf" not in svg.lower()  # no mark without a place
            said = [word for word in words(svg) if word != "images"]  # what a histogram counts
            assert all(
                np.isfinite(float(word.replace("−", "-"))) for word in said
            )  # an axis, no legend, no bar's value

    def test_points_without_intervals_or_as_a_file(self):
        nan = float("nan")
        row = {"a": ([4.0, 8.0], [0.5, nan], [nan, nan], [nan, nan])}
        assert "nan" not in points(row, {}).lower()
        file = points_png(row, row, x="labels", y="Dice")
        assert file.startswith(b"\x89PNG") and file == points_png(row, row, x="labels", y="Dice")

    def test_many_categories(self):
        svg = confusion(np.eye(254), [str(i) for i in range(254)], alt="many")
        assert len(svg) < 400_000

    def test_glyphs_that_matplotlib_lacks_are_kept(self):
        assert "漢字" in words(bars(["漢字"], [0.5]))


def test_box_plots_name_their_rows_and_have_a_logarithmic_axis():
    rows = [{"low": 1, "q1": 10, "median": 50, "q3": 100, "high": 1000}] * 2
    svg = boxes(["rock", "<plant>"], rows, x="area", alt="areas & more")
    assert "rock" in svg and "&lt;plant&gt;" in svg and 'aria-label="areas &amp; more"' in svg
    assert "1\u202f000" in svg and "math" not in svg
    assert svg == boxes(["rock", "<plant>"], rows, x="area", alt="areas & more")


def test_a_quantile_plot_of_very_many_points_stays_small():
    values = np.sort(np.random.default_rng(0).chisquare(4, 100_000))
    svg = quantiles(values, values, cut=20.0, x="expected", y="observed", alt="distances")
    assert len(svg) < 150_000 and "expected" in svg
    assert "<svg" in quantiles([], [], cut=1.0, alt="nothing")


def test_images_lie_at_their_places_and_marked_ones_on_top():
    red, blue = (np.full((10, 10, 3), c, np.uint8) for c in ((255, 0, 0), (0, 0, 255)))
    places = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    picture = thumbnail_map(places, [red, red, blue], np.array([False, True, False]), size=(50, 60))
    assert picture.shape == (50, 60, 3)
    assert (picture[40:, :10] == red).all()  # lower left
    assert (picture[3:13, 47:57] == red).all()  # upper right, above the blue one, in a frame of 3 pixels
    assert tuple(picture[0, 59]) == OKABE_ITO[1]
    assert (picture[20:30, 20:30] == 255).all()


def test_one_far_image_does_not_squeeze_the_map():
    places = np.stack([np.append(np.arange(20.0), 1e9), np.zeros(21)], axis=1)
    dots = [np.zeros((1, 1, 3), np.uint8)] * 21
    picture = thumbnail_map(places, dots, np.zeros(21, bool), size=(1, 200))
    assert (picture == 0).all(axis=2).sum() == 21  # every image can be seen
    assert (thumbnail_map(np.empty((0, 2)), [], np.zeros(0, bool), size=(4, 4)) == 255).all()
