"""A stand-in for vLLM where processes are tested: it starts, answers, hangs and dies as that does.

`installed_in` makes an environment whose package `vllm` is this file. It answers with tokens that its model's
name decides. FAKE_VLLM in its environment says how it fares: `waits` (to load until there is a file `go`),
`broken` (an error at the start), `dies` or `hangs` (after so many answers, once), `always` (each time),
`mixes` (up its models), `fails` (on a prompt that begins with a lower token).
"""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = "9.9.0+cpu"


def installed_in(folder: Path) -> Path:
    """The program `vllm` of a new environment in the folder."""
    import shutil
    import venv

    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    place = packages / "vllm" / "entrypoints" / "openai"
    place.mkdir(parents=True)
    shutil.copy(__file__, place / "api_server.py")
    told = packages / f"vllm-{VERSION}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}\n")
    program = folder / "bin" / "vllm"
    program.write_text(f"#!{folder}/bin/python\n")
    program.chmod(0o755)
    return program


def main() -> None:
    ways = json.loads(os.environ.get("FAKE_VLLM", "{}"))
    flags = sys.argv[1:]
    port, length = (int(flags[flags.index(name) + 1]) for name in ("--port", "--max-model-len"))
    names = ["base"]
    if "--lora-modules" in flags:
        rest = flags[flags.index("--lora-modules") + 1 :]
        names += [part.split("=")[0] for part in rest[: rest.index("--max-loras")]]
    folder = Path(ways["folder"])
    engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "EngineCore"])
    with (folder / "pids").open("a") as pids:
        pids.write(f"{os.getpid()} {engine.pid}\n")
    print("Loading weights\rLoading weights 100%", flush=True)
    while "waits" in ways and not (folder / "go").exists():
        time.sleep(0.01)
    if "broken" in ways:
        print(f"(EngineCore pid=1) ERROR [core.py:1] ValueError: {ways['broken']}", flush=True)
        print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
        sys.exit(1)
    first = not (folder / "failed").exists()
    lock, state = threading.Lock(), {"answers": 0, "under_way": 0}

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

        def allowed(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {os.environ['VLLM_API_KEY']}"

        def do_GET(self) -> None:
            if not self.allowed():
                return self.tell(401, {"error": "Unauthorized"})
            return self.tell(200, {"data": [{"id": name} for name in names]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.allowed() or body["model"] not in names:
                return self.tell(401, {"error": "Unauthorized"})
            if len(body["prompt"]) + body["max_tokens"] > length:
                return self.tell(400, {"error": f"the maximum context length is {length} tokens"})
            if "stop_token_ids" in body and body["prompt"][0] < ways.get("fails", 0):
                return self.tell(500, {"error": {"message": "nan is not JSON compliant"}})
            with lock:
                state["under_way"] += 1
                mixed = "mixes" in ways and state["under_way"] > 1
            time.sleep(0.01)
            told = answer("0" if mixed else body["model"], body)
            with lock:
                state["under_way"] -= 1
                state["answers"] += "stop_token_ids" in body
                enough = state["answers"] > ways.get("dies", ways.get("hangs", 10**9))
            if enough and (first or "always" in ways):
                (folder / "failed").touch()
                if "hangs" in ways:
                    time.sleep(600)
                with lock:
                    print("(Worker pid=1) torch.OutOfMemoryError: no memory left", flush=True)
                    print("EngineDeadError: EngineCore encountered an issue.", flush=True)
                    os._exit(1)
            return self.tell(200, told)

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def answer(model: str, body: dict) -> dict:
    shift = 0 if model == "base" else 1 + int(model)
    ids = body["prompt"]
    choice: dict = {"text": " text", "finish_reason": "length", "logprobs": None, "token_ids": None}
    if isinstance(ids, list) and "stop_token_ids" in body:
        choice["token_ids"] = [(sum(ids) + shift + place) % 250 + 10 for place in range(body["max_tokens"])]
    if body.get("logprobs") == -1:
        values = {f"token_id:{token}": -0.1 * ((token + shift) % 7) for token in range(300)}
        choice["logprobs"] = {"top_logprobs": [values]}
    if "prompt_logprobs" in body:
        found = [{str(token): {"logprob": -1.0 - shift, "rank": 1 + token % 2}} for token in ids[1:]]
        choice["prompt_logprobs"] = [None, *found]
    usage = {"prompt_tokens": len(ids), "completion_tokens": body["max_tokens"]}
    return {"choices": [choice], "model": model, "usage": usage}


if __name__ == "__main__":
    main()
