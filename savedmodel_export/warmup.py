"""Requests that TensorFlow Serving runs before a version is available."""

import io

import tensorflow as tf
from PIL import Image

from gcvit_export.samples import photographs

FILE = "tf_serving_warmup_requests"
"""In `assets.extra`, where TensorFlow Serving looks for it."""
GREY = 127.0


def write_warmup(directory, model_name, batch_sizes, size):
    """Writes a request for every signature and batch size.

    The first request of a shape is slow: graphs are optimised and memory is
    laid out for it. `serve_bytes` is given photographs as JPEG; of `images`
    only the shape matters, so they are grey, which takes no room.

    Args:
        directory: Folder of a version, with its `assets.extra`.
        model_name: What the server calls the model.
        batch_sizes: Integers.
        size: `(height, width)` of the images where the model takes any.
    """
    # Imports gRPC, which exporting a SavedModel alone does not need.
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    loaded = tf.saved_model.load(str(directory))
    files = []
    for photo in photographs(*size, count=max(batch_sizes)):
        content = io.BytesIO()
        Image.fromarray(photo.astype("uint8")).save(content, "JPEG")
        files.append(content.getvalue())
    path = directory / "assets.extra" / FILE
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in sorted(loaded.signatures.items()):
            ((argument, spec),) = signature.structured_input_signature[
                1
            ].items()
            for count in batch_sizes:
                if spec.dtype == tf.string:
                    given = tf.make_tensor_proto(files[:count])
                else:
                    sides = zip(spec.shape[1:], (*size, 3), strict=True)
                    shape = [count, *(a or b for a, b in sides)]
                    given = tf.make_tensor_proto(GREY, tf.float32, shape)
                request = predict_pb2.PredictRequest()
                request.model_spec.name = model_name
                request.model_spec.signature_name = name
                request.inputs[argument].CopyFrom(given)
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())
