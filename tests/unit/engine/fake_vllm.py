"""Stands in for `vllm.entrypoints.openai.api_server`: starts, talks and ends as it does.

FAKE_VLLM says how: "serve", "crash", "hang" (never ready), "stubborn" (ignores SIGTERM).
"""

import http.server
import os
import signal
import subprocess
import sys
import time

behaviour = os.environ.get("FAKE_VLLM", "serve")
arguments = sys.argv[1:]
port = int(arguments[arguments.index("--port") + 1])
print("INFO non-default args: {'api_key': 'secret'}", arguments, flush=True)
print("OMP", os.environ.get("VLLM_CPU_OMP_THREADS_BIND"), flush=True)

if behaviour == "crash":
    print("api_server.py: error: unrecognized arguments: --nonsense", file=sys.stderr)
    sys.exit(2)
if behaviour == "riddle":
    print("something \x1b[31mred\x1b[0m happened", file=sys.stderr)
    sys.exit(3)

# vLLM's engine: a process of the same group, which the first one ends
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:

    def end(*_: object) -> None:
        child.terminate()
        child.wait()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
if behaviour == "hang":
    print("Starting to load model", flush=True)
    time.sleep(600)

METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
vllm:num_requests_running{engine="0",model_name="a b"} 3.0
vllm:num_requests_waiting{engine="0",model_name="a b"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 7.0
vllm:prefix_cache_queries_total{engine="0",model_name="a b"} 400.0
vllm:prefix_cache_hits_total{engine="0",model_name="a b"} 300.0
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = METRICS.encode() if self.path == "/metrics" else b""
        self.send_response(200 if self.path in ("/health", "/metrics") else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
