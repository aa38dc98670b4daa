"""A hub that fails whatever it is asked, and tells in every way what it was sent."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_canaryABCDEFGHIJKLMNOPQRSTUV"
PASSWORD = "pass%21word"
SECRETS = (TOKEN, PASSWORD, "pass!word", base64.b64encode(b"user:pass!word").decode())


@contextlib.contextmanager
def failing_hub(status: int) -> Iterator[dict[str, str]]:
    """Within this context, a hub answers with a status: variables with which it is asked, with a token."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            told = f"{self.headers.get('Authorization')} {SECRETS}"
            body = json.dumps({"error": told, "message": told}).encode()
            self.send_response(status)
            for name in ("X-Error-Message", "X-Error-Code", "X-Request-Id"):
                self.send_header(name, told)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield {
            "HF_ENDPOINT": f"http://user:{PASSWORD}@127.0.0.1:{server.server_port}", "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
        }  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
