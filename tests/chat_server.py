"""A real server on this machine that speaks, and mis-speaks, OpenAI's chat completions."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from remanence.store.language import LanguageModel

KEY = "sk-very-secret-0123456789"


class Server:
    """Answers requests in the order given: a text, a status, or a function of the handler; the last one repeats."""

    def __init__(self):
        self.script, self.requests, self.headers = [], [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                server.requests.append(json.loads(self.rfile.read(length)))
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                step = server.script.pop(0) if len(server.script) > 1 else server.script[0]
                if callable(step):
                    step(self)
                elif isinstance(step, int):
                    self.answer(step, {"error": {"message": f"no, and your key is {KEY}"}})
                else:
                    self.answer(200, completion(step))

            def answer(self, status, document, headers=()):
                body = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def model(self, *script, **settings):
        self.script = list(script)
        return LanguageModel("tiny", base_url=self.url, api_key=KEY, **{"backoff": 0.0, "retries": 2, **settings})


def completion(text, usage=None):
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110} if usage is None else usage
    return {
        "id": "1",
        "object": "chat.completion",
        "model": "tiny",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": usage,
    }
