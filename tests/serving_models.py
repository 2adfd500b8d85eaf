"""Models of the server of serving.py: versions, sessions and warm-up."""

import contextlib
import threading

import grpc
import tensorflow as tf
from serving_rest import Refused
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2

MOST_WARM_UP = 1000
"""Records of a warm-up file, as TensorFlow Serving has it."""


def code_of(error):
    """The gRPC code of an error of TensorFlow's."""
    return next(
        code.name
        for code in grpc.StatusCode
        if code.value[0] == error.error_code
    )


class Servable:
    """One version of a model, loaded."""

    def __init__(self, path):
        self.users = 0
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(
                self._session, ["serve"], str(path)
            )
        self.signatures = loaded.signature_def
        self._callables, self._lock = {}, threading.Lock()
        try:
            self._warm_up(path / "assets.extra" / "tf_serving_warmup_requests")
        except BaseException:
            self.close()
            raise

    def _warm_up(self, path):
        if not path.is_file():
            return
        for i, record in enumerate(tf.data.TFRecordDataset([str(path)])):
            log = prediction_log_pb2.PredictionLog()
            try:
                log.ParseFromString(record.numpy())
            except Exception:
                raise Refused(
                    "INVALID_ARGUMENT", f"Failed to parse warmup record: {path}"
                ) from None
            if log.WhichOneof("log_type") != "predict_log":
                raise Refused(
                    "UNIMPLEMENTED", "Unsupported log_type for warmup"
                )
            if i >= MOST_WARM_UP:
                raise Refused(
                    "INVALID_ARGUMENT",
                    "Number of warmup records exceeds the maximum "
                    f"({MOST_WARM_UP}) at {path}",
                )
            self.predict(log.predict_log.request)

    def predict(self, request):
        """Dict of the arrays that a PredictRequest asks for."""
        name = request.model_spec.signature_name or "serving_default"
        if name not in self.signatures:
            raise Refused(
                "FAILED_PRECONDITION",
                f'Serving signature key "{name}" not found.',
            )
        signature = self.signatures[name]
        sent, known = set(request.inputs), set(signature.inputs)
        if sent != known:
            extra, missing = ",".join(sent - known), ",".join(known - sent)
            raise Refused(
                "INVALID_ARGUMENT",
                f"input size does not match signature: {len(sent)}!="
                f"{len(known)} len({{{','.join(sent)}}}) != "
                f"len({{{','.join(known)}}}). Sent extra: {{{extra}}}. "
                f"Missing but required: {{{missing}}}.",
            )
        wanted = sorted(request.output_filter or signature.outputs)
        for output in wanted:
            if output not in signature.outputs:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"output tensor alias not found in signature: {output}",
                )
        arrays = []
        for key in sorted(request.inputs):
            try:
                arrays.append(tf.make_ndarray(request.inputs[key]))
            except (TypeError, ValueError):
                raise Refused(
                    "INVALID_ARGUMENT", f"tensor parsing error: {key}"
                ) from None
        run = self._callable(name, tuple(wanted))
        try:
            return dict(zip(wanted, run(*arrays), strict=True))
        except tf.errors.OpError as error:
            raise Refused(code_of(error), error.message) from None

    def _callable(self, name, wanted):
        with self._lock:
            if (name, wanted) not in self._callables:
                signature = self.signatures[name]
                options = config_pb2.CallableOptions()
                options.feed.extend(
                    signature.inputs[key].name
                    for key in sorted(signature.inputs)
                )
                options.fetch.extend(
                    signature.outputs[key].name for key in wanted
                )
                # Session.run would check the shapes, which C++ does not.
                self._callables[name, wanted] = (
                    self._session._make_callable_from_options(options)
                )
            return self._callables[name, wanted]

    def close(self):
        self._callables.clear()
        self._session.close()


class Versions:
    """Serves the newest version in a folder, and drops the one before after.

    The old one goes when the new one has taken its place and the last request
    it was given has ended.
    """

    def __init__(self, base, labels):
        self.base, self.labels = base, labels
        self.states = {}  # version: [state, code, message]
        self.served = {}  # version: Servable
        self.changed = threading.Condition()

    def look(self):
        numbers = [int(p.name) for p in self.base.iterdir() if p.name.isdigit()]
        newest = max(numbers, default=None)
        if newest is None or newest in self.served:
            return
        if newest in self.states and self.states[newest][1] != "OK":
            return  # failed: TensorFlow Serving tries five times, then gives up
        self._set(newest, "LOADING")
        try:
            servable = Servable(self.base / str(newest))
        except Exception as error:
            code = "UNKNOWN"
            if isinstance(error, Refused):
                code = error.code
            elif isinstance(error, tf.errors.OpError):
                code = code_of(error)
            self._set(newest, "END", code, str(error))
            return
        with self.changed:
            old = list(self.served)
            self.served[newest] = servable
        self._set(newest, "AVAILABLE")
        for version in old:
            self._set(version, "UNLOADING")
            with self.changed:
                gone = self.served.pop(version)
                self.changed.wait_for(lambda gone=gone: not gone.users)
            gone.close()
            self._set(version, "END")

    def _set(self, version, state, code="OK", message=""):
        with self.changed:
            self.states[version] = [state, code, message]

    @contextlib.contextmanager
    def use(self, spec):
        """Gives the version and the servable of a ModelSpec."""
        with self.changed:
            which, version = f"Latest({spec.name})", max(self.served, default=0)
            if spec.version_label:
                version = self.labels.get(spec.version_label)
                if version is None:
                    raise Refused(
                        "INVALID_ARGUMENT",
                        "Unrecognized servable version label: "
                        f"{spec.version_label}",
                    )
            elif spec.HasField("version"):
                version = spec.version.value
                which = f"Specific({spec.name}, {version})"
            if version not in self.served:
                raise Refused(
                    "NOT_FOUND", f"Servable not found for request: {which}"
                )
            servable = self.served[version]
            servable.users += 1
        try:
            yield version, servable
        finally:
            with self.changed:
                servable.users -= 1
                self.changed.notify_all()
