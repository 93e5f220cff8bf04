"""DICOM made by pydicom: windows, rescaling, inverted gray, frames, colours; compressed files and the missing extra."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from PIL import Image
from reading import read_all

from maskwright.data.formats import read_source, recognised
from maskwright.data.formats.dicom import read_frame
from maskwright.errors import DataError

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid  # noqa: E402

RAMP = np.array([[0, 1000, 1024, 1124, 2048, 4095]], np.uint16)


def make(path, array, *, bits=12, syntax=ExplicitVRLittleEndian, photometric="MONOCHROME2", signed=False, **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = fields.pop("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), syntax
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.PatientID, data.Modality = meta.MediaStorageSOPClassUID, "p1", "MR"
    color = array.ndim >= 3 and array.shape[-1] == 3
    frames, plane = (len(array), array[0]) if array.ndim == 3 + color else (1, array)
    data.Rows, data.Columns = plane.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 3 if color else 1, photometric
    if color:
        data.PlanarConfiguration = 0
    data.BitsAllocated = array.dtype.itemsize * 8
    data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits - 1, int(signed)
    if frames > 1:
        data.NumberOfFrames = frames
    for name, value in fields.items():
        setattr(data, name, value)
    data.PixelData = array.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def test_values_without_a_window_stay_as_they_are(tmp_path):
    found = read_frame(make(tmp_path / "a.dcm", RAMP))
    assert found.dtype == np.uint16 and np.array_equal(found, RAMP)


def test_rescaled_values_below_zero_are_float(tmp_path):
    found = read_frame(make(tmp_path / "a.dcm", RAMP, RescaleSlope=2, RescaleIntercept=-1024))
    assert found.dtype == np.float32
    assert found.tolist() == [[-1024, 976, 1024, 1224, 3072, 7166]]


def test_the_first_window_is_applied_to_rescaled_values(tmp_path):
    fields = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": [50, 9], "WindowWidth": [101, 3]}
    found = read_frame(make(tmp_path / "a.dcm", RAMP, **fields))
    # PS3.3 C.11.2.1.2: y = ((x - (c - .5)) / (w - 1) + .5) of the range: x 0 → .005, 100 → 1 (above 99.5), 0 below -0.5
    share = np.clip((np.array([-1024, -24, 0, 100, 1024, 3071]) - 49.5) / 100 + 0.5, 0, 1)
    assert found.dtype == np.uint16
    assert np.abs(found[0] - share * 65535).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 128, "WindowWidth": 256}])
def test_inverted_gray_is_turned_back(window, tmp_path):
    values = np.array([[0, 100, 255]], np.uint8)
    found = read_frame(make(tmp_path / "a.dcm", values, bits=8, photometric="MONOCHROME1", **window))
    assert found.dtype == np.uint8 and found.tolist() == [[255, 155, 0]]


def test_signed_values(tmp_path):
    found = read_frame(make(tmp_path / "a.dcm", np.array([[-5, 5]], np.int16), bits=16, signed=True))
    assert found.tolist() == [[-5, 5]]


def test_colours(tmp_path):
    rgb = np.array([[[255, 0, 1], [2, 3, 4]]], np.uint8)
    assert np.array_equal(read_frame(make(tmp_path / "a.dcm", rgb, bits=8, photometric="RGB")), rgb)


def test_an_image_a_frame_with_masks_of_the_same_names(tmp_path):
    frames = np.arange(2 * 2 * 4, dtype=np.uint16).reshape(2, 2, 4)
    make(tmp_path / "data/many.dcm", frames)
    make(tmp_path / "data/one.dcm", RAMP)
    for name in ("many/0002", "one", "other"):
        path = tmp_path / "data/masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(*((2, 4) if "many" in name else (1, 6)), dtype=np.uint8)).save(path)
    assert recognised(tmp_path / "data") == ["dicom"]
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert list(found) == ["many/0001", "many/0002", "one"]
    assert np.array_equal(found["many/0002"].image[..., 0], frames[1])
    assert found["many/0001"].names is None
    assert found["many/0002"].names == [
        ["foreground", "background", "background", "background"],
        ["background", "foreground", "background", "background"],
    ]
    assert found["one"].meta["patient"] == "p1"
    assert read_source(tmp_path / "data").leftovers == ["masks/other.png"]


def test_images_and_masks_in_folders_of_their_own(tmp_path):
    make(tmp_path / "images/train/a.dcm", RAMP)
    (tmp_path / "masks/train").mkdir(parents=True)
    Image.fromarray(np.zeros((1, 6), np.uint8)).save(tmp_path / "masks/train/a.png")
    assert recognised(tmp_path) == ["dicom"]
    assert [(row.mask, row.part) for row in read_source(tmp_path).rows] == [("masks/train/a.png", "train")]


def test_run_lengths_need_no_other_package(tmp_path):
    path = make(tmp_path / "a.dcm", RAMP)
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.save_as(path)
    assert np.array_equal(read_frame(path), RAMP)


def test_a_compression_that_needs_a_package_names_it(tmp_path):
    path = make(tmp_path / "a.dcm", RAMP)
    data = pydicom.dcmread(path)
    data.PixelData = pydicom.encaps.encapsulate([b"\0\0"])
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    with pytest.raises(DataError, match=r"JPEG-LS(.|\n)*pylibjpeg(.|\n)*install the package that is named"):
        read_frame(path)


def test_a_file_that_is_cut_off_is_named(tmp_path):
    path = make(tmp_path / "a.dcm", RAMP)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"a\.dcm"):
        read_frame(path)


def test_segmentation_objects_are_no_images(tmp_path):
    make(tmp_path / "a.dcm", RAMP, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    with pytest.raises(DataError, match="DICOM SEG"):
        read_source(tmp_path)


def test_without_pydicom_the_error_names_the_extra(tmp_path, monkeypatch):
    make(tmp_path / "a.dcm", RAMP)
    there = builtins.__import__

    def absent(name, *rest):
        if name.startswith("pydicom"):
            raise ImportError(name)
        return there(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DataError, match=r"pip install 'maskwright\[dicom\]'"):
        read_source(tmp_path)


def test_other_files_with_its_suffix_are_not_it(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"no DICOM")
    assert recognised(tmp_path) == []
