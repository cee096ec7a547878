"""A stand-in for llama.cpp's server where processes are tested: it speaks that one's own API.

`program_in` makes the program. FAKE_LLAMA in its environment says how it fares: `version` (what it prints),
`broken` (an error at the start), `dies` (after so many answers, once), `ignores` (a setting that it leaves at
its default), `tokens` (how it cuts any text), `folder` (where it writes its process id and its questions).
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = "version: 0.6.1 (build 11434, commit 1d735c0)\nbuilt with GNU 12.2.0 for Linux x86_64\n"


def program_in(folder: Path) -> Path:
    program = folder / "llama-server"
    program.write_text(f"#!{sys.executable}\n{Path(__file__).read_text('utf-8')}")
    program.chmod(0o755)
    return program


def main() -> None:
    ways = json.loads(os.environ.get("FAKE_LLAMA", "{}"))
    flags = sys.argv[1:]
    if "--version" in flags:
        sys.stderr.write(ways.get("version", VERSION))
        return
    if "--list-devices" in flags:
        print("Available devices:\n  (none)")
        return
    folder, port = Path(ways["folder"]), int(flags[flags.index("--port") + 1])
    (folder / "pid").write_text(str(os.getpid()))
    print("0.00.042 I srv    load_model: loading model 'model.gguf'", flush=True)
    if "broken" in ways:
        print(f"0.00.050 E llama_model_load: error loading model: {ways['broken']}", flush=True)
        print("0.00.051 E main: exiting due to model loading error", flush=True)
        sys.exit(1)
    first, state = not (folder / "failed").exists(), {"answers": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def tell(self, status: int, value: object) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        @property
        def allowed(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {os.environ['LLAMA_API_KEY']}"

        def do_GET(self) -> None:
            self.tell(200, {"data": [{"id": "base"}]}) if self.allowed else self.tell(401, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.allowed:
                return self.tell(401, {"error": {"code": 401, "message": "Invalid API Key"}})
            if self.path == "/tokenize" and "tokens" in ways:
                return self.tell(200, {"tokens": ways["tokens"]})
            if self.path != "/completion":
                return self.tell(404, {"error": {"code": 404, "message": "File Not Found"}})
            with (folder / "asked").open("a") as asked:
                asked.write(json.dumps(body) + "\n")
            state["answers"] += 1
            if first and state["answers"] > ways.get("dies", 10**9):
                (folder / "failed").touch()
                print("ggml_cuda_error: CUDA error: out of memory", flush=True)
                os._exit(1)
            time.sleep(0.01)
            return self.tell(200, answer(body, ways.get("ignores")))

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def answer(body: dict, ignored: str | None = None) -> dict:
    ids, room = body["prompt"], body["n_predict"]
    settings = {**body, **({ignored: 40} if ignored else {})}
    return {
        "content": " text",
        "tokens": [(sum(ids) + place) % 250 + 10 for place in range(room)],
        "stop_type": "limit",
        "tokens_evaluated": len(ids),
        "tokens_predicted": room,
        "generation_settings": settings,
    }


if __name__ == "__main__":
    main()
