"""Requests that TensorFlow Serving runs before a version is available."""

import numpy as np
import tensorflow as tf

from gcvit_export.client.answers import Model
from gcvit_export.client.messages import pb, predict_request
from gcvit_export.samples import encoded, photographs

FILE = "tf_serving_warmup_requests"
"""In `assets.extra`, where TensorFlow Serving looks for it."""
GREY = 127.0


def write_warmup(path, name, batch_sizes, arguments, model, reader):
    """Writes a request per signature and batch size.

    The first request of a shape is slow: graphs are optimised and memory is
    laid out for it. `serve_bytes` is given photographs as JPEG; of `images`
    only the shape matters, so they are grey.

    Args:
        path: Path of the file to write.
        name: Name of the model on the server.
        batch_sizes: List of integers.
        arguments: As `write_signatures` returns.
        model: A `Served`.
        reader: As `Served.reader` returns, or `None`.
    """
    contents = []
    if reader is not None:
        size, most = model.usual_size(reader), max(batch_sizes)
        pixels = photographs(*size, reader.channels, count=most)
        contents = [encoded(each, "JPEG") for each in pixels]
    usual = (*model.usual_size(reader), model.channels)
    shape = tuple(a or b for a, b in zip(model.shape, usual, strict=True))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, argument in sorted(arguments.items()):
            for size in batch_sizes:
                values = contents[:size]
                if argument == "images":
                    values = np.full((size, *shape), GREY, "float32")
                request = predict_request(
                    Model(name), signature, argument, values
                )
                log = pb.PredictionLog(predict_log={"request": request})
                writer.write(log.SerializeToString())
