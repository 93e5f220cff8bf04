"""Sizes of pixels as files state them; nothing where they don't."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.data.spacing import parse_spacing, read_spacing
from maskwright.errors import DataError

IMAGE = np.zeros((4, 6), np.uint8)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resolution": (254, 127), "resolutionunit": "INCH"}, (0.2, 0.1)),  # x, y: 25.4 / 254 = .1 wide, .2 high
        ({"resolution": (20, 40), "resolutionunit": "CENTIMETER"}, (0.25, 0.5)),
        ({"resolution": (20, 40), "resolutionunit": "NONE"}, None),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),  # what programs write that know nothing
        ({"resolution": (96, 96), "resolutionunit": "INCH"}, None),
        ({"resolution": (1, 1), "resolutionunit": "INCH"}, None),
        ({"resolution": (72, 72), "resolutionunit": "CENTIMETER"}, (10 / 72, 10 / 72)),
        ({"resolution": (0, 0), "resolutionunit": "CENTIMETER"}, None),
        ({}, None),
        ({"imagej": True, "resolution": (4, 2), "metadata": {"unit": "um"}}, (0.0005, 0.00025)),
        ({"imagej": True, "resolution": (4, 2), "metadata": {"unit": "mm"}}, (0.5, 0.25)),
    ],
)
def test_tags_of_a_tiff(options, expected, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, **options)
    found = read_spacing(tmp_path / "a.tif")
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}, (0.0005, 0.00025)),  # µm, where OME states no unit
        (
            {"PhysicalSizeX": 2, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 3, "PhysicalSizeYUnit": "mm"},
            (3, 2e-6),
        ),
        ({"PhysicalSizeX": 2, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 3, "PhysicalSizeYUnit": "pixel"}, None),
        ({"PhysicalSizeX": 2}, None),
        ({}, None),
    ],
)
def test_ome(metadata, expected, tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", IMAGE, metadata={"axes": "YX", **metadata})
    found = read_spacing(tmp_path / "a.ome.tif")
    assert found == (None if expected is None else pytest.approx(expected))


def test_other_files_state_nothing(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png", dpi=(300, 300))
    assert read_spacing(tmp_path / "a.png") is None


def test_a_broken_tiff_is_an_error(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(DataError, match="a readable TIFF"):
        read_spacing(tmp_path / "a.tif")


def test_dicom(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset

    def written(name, **fields):
        data = Dataset()
        data.update({})
        for key, value in fields.items():
            setattr(data, key, value)
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        data.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name

    assert read_spacing(written("a.dcm", PixelSpacing=[0.3, 0.2])) == (0.3, 0.2)  # between rows, then columns
    assert read_spacing(written("b.dcm", PatientID="x")) is None
    # of a detector, not of what is in the image
    assert read_spacing(written("c.dcm", ImagerPixelSpacing=[0.3, 0.2])) is None
    shared, measures = Dataset(), Dataset()
    measures.PixelSpacing = [0.5, 0.4]
    shared.PixelMeasuresSequence = [measures]
    assert read_spacing(written("d.dcm", SharedFunctionalGroupsSequence=[shared])) == (0.5, 0.4)
    with pytest.raises(DataError, match="the size of a pixel, got 0 × 0"):
        read_spacing(written("e.dcm", PixelSpacing=[0, 0]))


@pytest.mark.parametrize("text", ["", "a", "1,2,3", "0", "-1", "nan", "1,inf"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(DataError, match=r"--spacing 0\.5"):
        parse_spacing(text)
