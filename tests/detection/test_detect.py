"""Detection for a person: any size, files and arrays, results in pixels."""

import json

import numpy as np
import pytest
from models import make
from PIL import Image

from gcvit_keras.detection import DetectionReader
from gcvit_keras.detection.results import resize_image, resized_size


@pytest.mark.parametrize(
    "size, expected",
    [
        # mmdet: factor = min(1333 / long, 800 / short), sides int(x + 0.5).
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((427, 640), (800, 1199)),
        ((300, 900), (444, 1333)),
        ((1600, 1600), (800, 800)),
        ((1, 2000), (1, 1333)),
    ],
)
def test_sizes_are_mmdet_s(size, expected):
    assert resized_size(*size) == expected


def test_a_reader_of_numpy_s_integers_is_saved():
    reader = DetectionReader(np.int64(480), np.int32(640), np.int64(1000))
    assert DetectionReader.from_dict(json.loads(reader.to_json())) == reader


@pytest.mark.torch
def test_resizing_is_bilinear_without_antialiasing():
    """As OpenCV's, whose numbers PyTorch's are before rounding."""
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), "uint8")
    for size in ((80, 111), (20, 31)):
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(image.transpose(2, 0, 1)[None].astype("float32")),
            size=size,
            mode="bilinear",
            align_corners=False,
        )
        expected = expected[0].numpy().transpose(1, 2, 0)
        resized = resize_image(image, size)
        assert np.abs(resized - expected).max() <= 0.501
        assert (resized == np.round(resized)).all()


def test_detect_gives_what_predict_gives_in_pixels_of_the_image(tmp_path):
    model = make(score_threshold=0.2, max_detections=5)
    random = np.random.default_rng(0)
    big = random.integers(0, 256, (128, 192, 3), "uint8")
    grey = random.integers(0, 256, (64, 64), "uint8")
    path = tmp_path / "big.png"
    Image.fromarray(big).save(path)
    results = model.detect(
        [big, grey, path, big[:, ::-1]], short_side=64, long_side=128
    )
    assert [r["masks"].shape[1:] for r in results] == [
        (128, 192),
        (64, 64),
        (128, 192),
        (128, 192),
    ]
    resized = resize_image(big, (64, 96))
    expected = model.predict(resized[None], verbose=0)
    for result in (results[0], results[2]):
        n = expected["count"][0]
        assert n and len(result["boxes"]) == n
        np.testing.assert_allclose(
            result["boxes"], 2 * expected["boxes"][0, :n], atol=1e-3
        )
        np.testing.assert_allclose(
            result["scores"], expected["scores"][0, :n], atol=1e-5
        )
        assert result["masks"].dtype == bool


def test_images_that_are_none_are_named(tmp_path):
    model = make()
    with pytest.raises(ValueError, match="a list of images"):
        model.detect(np.zeros((64, 64, 3), "uint8"))
    with pytest.raises(ValueError, match=r"images\[1\]"):
        model.detect([np.zeros((9, 9, 3), "uint8"), np.zeros((9, 9, 4))])
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(ValueError, match="broken.jpg"):
        model.detect([path])
    with pytest.raises(ValueError, match="nowhere.png"):
        model.detect([tmp_path / "nowhere.png"])
