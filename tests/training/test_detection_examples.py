"""Images, boxes and masks of training move together, by the seed alone."""

import itertools

import composites
import numpy as np
import pytest
import tensorflow as tf
from recipe import IN_TURN

from gcvit_keras.detection.results import resize_image, resized_size
from gcvit_training import data as pipeline
from gcvit_training import read_config
from gcvit_training.tasks import open_task
from gcvit_training.tasks.detection.masks import decode

RECIPE = """
task: detection
seed: 3
epochs: 2
data: {{dataset: {folder}, train_split: train, evaluation_split: val,
  batch_size: 4, short_side: 96, long_side: 160, max_objects: 5,
  mask_cells: 56}}
augment: {{policy: paper, flip: 0.5, short_sides: [64, 80, 96], long_side: 160,
  crop_short_sides: [80, 100], crop_sides: [64, 90]}}
optimizer: {{learning_rate: 1.0e-3}}
model: {{embed_dim: 8, depths: [1, 1, 1, 1], num_heads: [1, 1, 1, 1],
  mlp_ratio: 1}}
"""
POLICIES = {
    "resize": ["augment.policy=resize"],
    "paper": [],
    "jitter": [
        "augment.policy=jitter",
        "augment.jitter=[0.5, 2.0]",
        "augment.jitter_side=128",
    ],
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("composites")
    composites.write(folder / "data", {"train": 22, "val": 6})
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(folder=folder / "data"))
    return path


@pytest.fixture(scope="module")
def whole(recipe):
    """All batches of two epochs, by several threads as by one."""
    batches = pipeline.training_batches(task_of(recipe))
    return list(batches.as_numpy_iterator())


def training_batches(task, **options):
    return pipeline.training_batches(task, **options).with_options(IN_TURN)


def evaluation_batches(task, **options):
    return pipeline.evaluation_batches(task, **options).with_options(IN_TURN)


def task_of(recipe, *overrides):
    return open_task(read_config(recipe, overrides))


def paint(source):
    """Has every image be its own objects: the k-th in red k * 50, no other."""
    pictures = {}
    for item in source.all_items:
        picture = np.zeros((*item.size, 3), "uint8")
        for k, mask in enumerate(item.masks):
            picture[..., k % 3] += 255 * decode(mask)
        pictures[item.path] = tf.io.encode_png(picture).numpy()
    names = tf.constant(list(pictures))
    contents = tf.constant(list(pictures.values()))
    load = source.load

    def painted(example):
        place = tf.where(names == example["name"])[0, 0]
        return {**load(example), "encoded": tf.gather(contents, place)}

    source.load = painted


@pytest.mark.parametrize("policy", POLICIES)
def test_masks_and_boxes_follow_the_image(recipe, policy):
    """The masks are drawn into the images, which then are moved with them."""
    task = task_of(recipe, *POLICIES[policy])
    paint(task.source)
    objects, flat = 0, 0
    for inputs, targets in training_batches(task).take(5):
        for image, size, boxes, classes, masks in zip(
            inputs["images"].numpy(),
            inputs["sizes"].numpy(),
            targets["boxes"].numpy(),
            targets["classes"].numpy(),
            targets["box_masks"].numpy(),
            strict=True,
        ):
            assert not image[size[0] :].any() and not image[:, size[1] :].any()
            real = classes >= 0
            assert not boxes[~real].any() and not masks[~real].any()
            drawn = np.zeros((*image.shape[:2],), "float32")
            inside = np.zeros(image.shape[:2], bool)
            for box, mask in zip(boxes[real], masks[real], strict=True):
                x1, y1, x2, y2 = box
                assert 0 <= x1 < x2 <= size[1] and 0 <= y1 < y2 <= size[0]
                objects += 1
                drawn += rendered(mask / 255, box, drawn.shape)
                rows, columns = (
                    slice(int(y1), int(y2) + 1),
                    slice(int(x1), int(x2) + 1),
                )
                inside[rows, columns] = True
            seen = image.max(-1) / 255
            # No object reaches out of its box, but for the pixel that is
            # blurred, and a sliver that a crop leaves is no object any more.
            assert (seen[~inside] > 0.6).sum() <= 3
            differs = np.abs(seen - np.minimum(drawn, 1)) > 0.5
            flat += differs.sum() / max((seen > 0.5).sum(), 1)
    assert objects > 20
    assert flat / 20 < 0.02, "share of pixels that are not where they should be"


def rendered(mask, box, shape):
    """Draws a mask over its box: every pixel has the cell of its middle."""
    picture = np.zeros(shape, "float32")
    x1, y1, x2, y2 = box
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = (x > x1) & (x < x2) & (y > y1) & (y < y2)
    cells = len(mask)
    rows = ((y - y1) / (y2 - y1) * cells).astype(int)[inside]
    columns = ((x - x1) / (x2 - x1) * cells).astype(int)[inside]
    picture[inside] = mask[rows, columns]
    return picture


def test_evaluation_resizes_as_detect_does(recipe):
    task = task_of(recipe, "data.short_side=80", "data.long_side=96")
    items = task.source.items["val"]
    (batch, *_) = evaluation_batches(task, batch_size=6)
    inputs, targets, weights = tf.nest.map_structure(np.asarray, batch)
    index = targets["index"] - task.source.first["val"]
    assert weights.all() and sorted(index) == list(range(6))
    for k, image, size in zip(
        index, inputs["images"], inputs["sizes"], strict=True
    ):
        item = items[k]
        expected = resized_size(*item.size, 80, 96)
        assert tuple(size) == expected
        decoded = tf.io.decode_jpeg(
            tf.io.read_file(item.path), dct_method="INTEGER_ACCURATE"
        ).numpy()
        resized = resize_image(decoded, expected)
        found = image[: size[0], : size[1]]
        assert np.abs(found - resized).max() <= 1
        assert np.abs(found - resized).mean() < 0.01


def test_batches_hold_one_orientation_and_are_in_few_sizes(recipe, whole):
    task = task_of(recipe)
    items = task.source.items["train"]
    wide = sum(item.size[1] >= item.size[0] for item in items)
    orders, mixed, shapes = [], [], set()
    for epoch in range(2):
        examples = list(
            task.source.examples("train", tf.constant(epoch, tf.int64))
        )
        index = [int(example["index"]) for example in examples]
        assert sorted(index) == list(range(22))
        orders.append(index)
        is_wide = [items[i].size[1] >= items[i].size[0] for i in index]
        batches = [is_wide[k : k + 4] for k in range(0, 20, 4)]
        mixed.append(sum(len(set(batch)) > 1 for batch in batches))
    assert mixed == [int(wide % 4 + (22 - wide) % 4 >= 4)] * 2
    assert orders[0] != orders[1]
    for inputs, _ in whole:
        _, height, width, _ = inputs["images"].shape
        shapes.add((height, width))
        most = inputs["sizes"].max(0)
        # The smallest bucket that holds the batch.
        assert (height, width) == next(
            b
            for b in task.config.buckets
            if b[0] >= most[0] and b[1] >= most[1]
        )
    assert 1 < len(shapes) <= len(task.config.buckets)


def test_a_batch_depends_on_its_place_alone(recipe, whole):
    task = task_of(recipe)
    rest = list(training_batches(task, first_step=3).as_numpy_iterator())
    assert len(whole) == 10 and len(rest) == 7
    for a, b in zip(whole[3:], rest, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, a, b)
    first, second = whole[0][1]["boxes"], whole[5][1]["boxes"]
    assert not np.array_equal(first, second)


def test_a_worker_has_its_part_of_the_very_batches(recipe, whole):
    context = tf.distribute.InputContext(2, 1, 2)
    part = training_batches(task_of(recipe), context=context)
    for batch, half in zip(whole, part.as_numpy_iterator(), strict=True):
        # In the bucket of the whole batch, too.
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_array_equal(a[2:], b), batch, half
        )


def test_an_image_of_another_size_than_annotated_is_left_out(recipe, tmp_path):
    task = task_of(recipe)
    items = task.source.items["train"]
    broken = [items[0].path, items[5].path]
    for k in (0, 5):
        size = (items[k].size[0] + 1, items[k].size[1])
        items[k].__dict__["size"] = size
    report = tmp_path / "broken.txt"
    for _ in training_batches(task, broken=str(report)):
        pass
    assert set(report.read_text().split()) <= set(broken)
    assert report.read_text()


def test_the_largest_objects_are_kept_of_too_many(recipe, whole):
    task = task_of(recipe, "data.max_objects=1")
    limited = training_batches(task).as_numpy_iterator()
    for (_, few), (_, full) in zip(limited, whole, strict=True):
        boxes = full["boxes"]
        areas = np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)
        largest = boxes[np.arange(4), areas.argmax(1)]
        np.testing.assert_array_equal(few["boxes"][:, 0], largest)


LAYERS = """
import keras

turned = [
    keras.layers.RandomFlip("vertical", bounding_box_format="xyxy", seed=1),
    keras.layers.RandomRotation(
        0.05, fill_mode="constant", bounding_box_format="xyxy", seed=2
    ),
]


def darker(inputs):
    return {**inputs, "images": inputs["images"] * 0.5}


def larger(inputs):
    images = keras.ops.pad(inputs["images"], ((0, 0), (0, 8), (0, 0), (0, 0)))
    return {**inputs, "images": images}
"""


OF_KERAS_CV = """
from keras_cv import layers

of = {"bounding_box_format": "xyxy"}
turned = [
    layers.RandomFlip("vertical", **of),
    layers.RandomShear(0.1, 0.1, fill_mode="constant", **of),
    # Far enough for objects to leave the image.
    layers.RandomTranslation(0.5, 0.5, fill_mode="constant", **of),
]
"""


@pytest.mark.parametrize("library", ["keras", "keras_cv"])
def test_layers_move_boxes_and_masks_with_the_image(
    recipe, whole, tmp_path, library
):
    pytest.importorskip(library)
    text = {"keras": LAYERS, "keras_cv": OF_KERAS_CV}[library]
    (tmp_path / "mine.py").write_text(text)
    task = task_of(recipe, f"augment.layers={tmp_path / 'mine.py'}:turned")
    paint(task.source)
    moved, differing = 0, []
    batches = zip(training_batches(task), whole, strict=True)
    for (inputs, targets), (_, before) in itertools.islice(batches, 4):
        for row in range(4):
            image = inputs["images"][row].numpy().max(-1) / 255
            classes = targets["classes"][row].numpy()
            drawn = np.zeros(image.shape)
            for k in np.flatnonzero(classes >= 0):
                box = targets["boxes"][row, k].numpy()
                mask = targets["box_masks"][row, k].numpy() / 255
                drawn = np.maximum(drawn, rendered(mask, box, image.shape))
                # Tight: something at each side of the box.
                assert mask[0].any() and mask[-1].any()
                assert mask[:, 0].any() and mask[:, -1].any()
            moved += not np.array_equal(
                targets["boxes"][row], before["boxes"][row]
            )
            wrong = np.abs(image - drawn) > 0.6
            differing.append(wrong.sum() / max((image > 0.5).sum(), 1))
    assert moved >= 15
    # Keras turns images bilinearly and masks to the next pixel.
    assert np.median(differing) < 0.08


def test_functions_of_ones_own_vary_images_and_must_keep_their_size(
    recipe, whole, tmp_path
):
    (tmp_path / "mine.py").write_text(LAYERS)
    override = f"augment.layers={tmp_path / 'mine.py'}:darker"
    task = task_of(recipe, override)
    darker, targets = next(iter(training_batches(task)))
    plain, others = whole[0]
    np.testing.assert_allclose(darker["images"], plain["images"] / 2, atol=0.51)
    np.testing.assert_array_equal(targets["classes"], others["classes"])
    np.testing.assert_allclose(targets["boxes"], others["boxes"], atol=2.5)
    task = task_of(recipe, override.replace("darker", "larger"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="unreadable"):
        next(iter(training_batches(task)))


def test_copies_that_fill_the_last_batch_do_not_change_it(recipe):
    task = task_of(recipe)
    context = tf.distribute.InputContext(1, 0, 1)
    (*_, plain), (*_, filled) = (
        list(evaluation_batches(task, batch_size=4, context=c))
        for c in (None, context)
    )
    assert (len(plain[2]), len(filled[2])) == (2, 4)
    assert filled[2].numpy().sum() == 2
    np.testing.assert_array_equal(filled[0]["images"][:2], plain[0]["images"])
