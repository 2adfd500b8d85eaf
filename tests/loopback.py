"""A real HTTP server on the loopback, and files of torch.save for it."""

import hashlib
import http.server
import io
import pickle
import re
import time
import zipfile

import numpy as np


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, from path to bytes, with ranges, and logs requests.

    `hub` maps a path to the path it redirects to, with a hub's headers.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.hub, self.log = {}, {}, []
        self.cut_at = None  # bytes of a body after which to hang up, once
        self.pause = 0.0  # seconds between chunks
        self.url = f"http://127.0.0.1:{self.server_port}"

    def gets(self):
        return [entry for entry in self.log if entry[0] == "GET"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server = self.server
        wanted = self.headers.get("Range")
        server.log.append((self.command, self.path, wanted))
        if self.path in server.hub:
            target = server.hub[self.path]
            content = server.files[target]
            self.send_response(302)
            # Another host, as a hub's large files are on.
            host = server.url.replace("127.0.0.1", "localhost")
            self.send_header("Location", host + target)
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("X-Linked-Etag", f'"{sha256(content)}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path not in server.files:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = server.files[self.path]
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            end = f"{start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", f"bytes {end}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not body:
            return
        stop, server.cut_at = server.cut_at or len(content), None
        try:
            for at in range(start, stop, 2**16):
                self.wfile.write(content[at : min(at + 2**16, stop)])
                time.sleep(server.pause)
        except OSError:  # whoever asked was killed
            pass
        self.close_connection = stop < len(content)

    def log_message(self, *args):
        pass


def torch_file(tree, legacy=False):
    """The bytes that torch.save writes of float32 arrays in dicts.

    With `legacy` in the format before PyTorch 1.6.
    """
    storages = []

    def string(text):
        return b"X" + len(text).to_bytes(4, "little") + text.encode()

    def integers(numbers):
        return b"".join(b"J" + n.to_bytes(4, "little") for n in numbers)

    def pickled(value):
        if isinstance(value, dict):
            items = [string(k) + pickled(value[k]) + b"s" for k in value]
            return b"}" + b"".join(items)
        array = np.asarray(value, "float32", order="C")
        storages.append(array.tobytes())
        storage = (
            *(b"(", string("storage"), b"ctorch\nFloatStorage\n"),
            *(string(str(len(storages) - 1)), string("cpu")),
            *(integers([array.size]), b"N" * legacy, b"tQ"),
        )
        return b"".join(
            (
                *(b"ctorch._utils\n_rebuild_tensor_v2\n(", *storage),
                *(integers([0]), b"(", integers(array.shape), b"t("),
                *(integers(s // 4 for s in array.strides), b"t\x89"),
                b"ccollections\nOrderedDict\n)RtR",
            )
        )

    root = b"\x80\x02" + pickled(tree) + b"."
    content = io.BytesIO()
    if legacy:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            content.write(pickle.dumps(head, 2))
        content.write(root)
        content.write(pickle.dumps([str(i) for i in range(len(storages))], 2))
        for storage in storages:
            content.write((len(storage) // 4).to_bytes(8, "little") + storage)
        return content.getvalue()
    with zipfile.ZipFile(content, "w") as archive:
        for i, storage in enumerate(storages):
            archive.writestr(f"x/data/{i}", storage)
        archive.writestr("x/data.pkl", root)
        archive.writestr("x/version", "3\n")
    return content.getvalue()
