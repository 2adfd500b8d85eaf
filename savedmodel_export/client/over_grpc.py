"""TensorFlow Serving's gRPC port."""

import json
from pathlib import Path

import grpc

from gcvit_export.client.answers import VersionStatus
from gcvit_export.client.errors import check_size, typed_error
from gcvit_export.client.messages import (
    STATES,
    array_of,
    model_spec,
    pb,
    predict_request,
)

BACKOFF = 0.1
"""Seconds before the first retry; doubled before each later one."""


class Grpc:
    """Speaks gRPC, with its own retry policy.

    Args:
        address: `"host:port"`.
        timeout: Seconds a request may take, its retries included.
        retries: Further attempts where the server is unavailable.
        tls: `None`, `True` for the system's root certificates, or the path
            of a PEM file of others.
        token: Bearer token, or `None`; needs `tls`.
        limit: Largest request and answer, in bytes.
    """

    def __init__(self, address, timeout, retries, tls, token, limit):
        """Opens the channel, which connects at the first request."""
        self._address = address
        self._timeout = timeout
        self._limit = limit
        options = [
            ("grpc.max_receive_message_length", limit),
            # gRPC does not retry what it does not keep, and keeps 256 KiB:
            # less than half of one image of 224 x 224.
            ("grpc.per_rpc_retry_buffer_size", limit),
            # Otherwise gRPC looks for a lost server again after 1 s, when only
            # the last retry is left.
            ("grpc.initial_reconnect_backoff_ms", int(1000 * BACKOFF)),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if retries:
            policy = {
                "maxAttempts": 1 + retries,
                "initialBackoff": f"{BACKOFF}s",
                "backoffMultiplier": 2,
                "maxBackoff": "2s",
                "retryableStatusCodes": ["UNAVAILABLE"],
            }
            methods = [{"name": [{}], "retryPolicy": policy}]
            config = json.dumps({"methodConfig": methods})
            options.append(("grpc.service_config", config))
        if tls is None:
            self._channel = grpc.insecure_channel(address, options)
            return
        roots = None if tls is True else Path(tls).read_bytes()
        credentials = grpc.ssl_channel_credentials(roots)
        if token is not None:
            credentials = grpc.composite_channel_credentials(
                credentials, grpc.access_token_call_credentials(token)
            )
        self._channel = grpc.secure_channel(address, credentials, options)

    def predict(self, model, signature, name, rows, wanted):
        """Runs one signature on one batch.

        Args:
            model: A `Model`.
            signature: Name of the signature.
            name: Name of its input.
            rows: Float32 array `(batch, ...)`, or a list of bytes.
            wanted: Names of the outputs to return; empty for all.

        Returns:
            Dict from the names of outputs to arrays `(batch, ...)`.

        Raises:
            ServingError: If the server does not answer with them.
        """
        request = predict_request(model, signature, name, rows, wanted)
        check_size(request.ByteSize(), self._limit)
        answer = self._call(
            "PredictionService/Predict", request, pb.PredictResponse
        )
        return {k: array_of(v) for k, v in answer.outputs.items()}

    def status(self, model):
        """Asks for the states of a model's versions, as `VersionStatus`."""
        request = pb.GetModelStatusRequest(model_spec=model_spec(model))
        answer = self._call(
            "ModelService/GetModelStatus", request, pb.GetModelStatusResponse
        )
        return [
            VersionStatus(
                entry.version,
                STATES.get(entry.state, "UNKNOWN"),
                entry.status.error_message,
            )
            for entry in answer.model_version_status
        ]

    def close(self):
        """Closes the connection."""
        self._channel.close()

    def _call(self, method, request, answer):
        call = self._channel.unary_unary(
            f"/tensorflow.serving.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return call(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code, message = error.code().name, error.details() or ""
            if code == "DEADLINE_EXCEEDED":
                message = f"no answer in {self._timeout} s from {self._address}"
            elif code == "UNAVAILABLE" and "connect" in message.lower():
                reason = message.rpartition(": ")[2]
                message = f"{self._address} cannot be reached: {reason}"
            raise typed_error(code, message) from error
