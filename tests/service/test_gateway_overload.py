"""More than a gateway can do: who is refused, in which order, and that health and operators are not."""
import concurrent.futures
import pathlib
import sys
import urllib.request

import psycopg2
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack"), str(pathlib.Path(__file__).parent)]

import stack  # noqa: E402
from gateway_alone import Stores  # noqa: E402


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = Stores(tmp_path_factory.mktemp("overload"))
    yield stores
    stores.stop()


def shed(gateway, kind):
    text = urllib.request.urlopen(gateway.ops + "/metrics", timeout=20).read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f'weir_gateway_shed_total{{kind="{kind}"}}'))


def test_who_waited_too_long_without_a_key_is_refused_first(stores):
    gateway = stores.gateway({"postgres": {"pool_size": 1}, "gateway": {"shed_after": "500ms", "request_timeout": "60s"}})
    path = "/v1/chains/dev/blocks/0x" + "11" * 32 + "/entries" # a worker's, not the reader's
    keyed = {"Authorization": f"Bearer {stack.ADMIN_KEY}"}
    with psycopg2.connect(stores.postgres.url) as holder, concurrent.futures.ThreadPoolExecutor(80) as pool:
        with holder.cursor() as cursor:
            cursor.execute("lock table weir.blocks in access exclusive mode")
            # Each keeps a worker for the three seconds that it waits for a connection; the ones behind wait for a worker.
            nobody = [pool.submit(gateway.get, path) for _ in range(60)]
            somebody = [pool.submit(gateway.get, path, **keyed) for _ in range(10)]
            writers = [pool.submit(stack.http_json, f"{gateway.api}/v1/watchlists", "POST", {"chain": "dev", "name": f"list {i}"}, keyed, 60) for i in range(3)]
            stack.wait_until("refusals", 30, lambda: sum(f.done() and f.result()[1]["code"] == "overloaded" for f in nobody) >= 10)
            assert gateway.ready() and gateway.operate("GET", "session")[0] == 200, "health and operators have listeners of their own"
            codes = [f.result()[1].get("code") for f in somebody if f.done()]
            assert "overloaded" not in codes or [f.done() for f in nobody].count(True) >= 50, "those with a key come after those without"
        holder.rollback()
        refused = [f.result() for f in nobody if f.result()[0] == 503 and f.result()[1]["code"] == "overloaded"]
        assert len(refused) >= 10 and all(1 <= int(r[2]["retry-after"]) <= 5 for r in refused)
        assert sum(f.result()[1].get("code") == "overloaded" for f in somebody) < len(somebody)
        told = {kind: shed(gateway, kind) for kind in ("anonymous", "read", "write", "admin", "health")}
        assert told["anonymous"] == len(refused) and told["admin"] == told["health"] == 0
        for kind, answers in (("read", [f.result() for f in somebody]), ("write", [f.result() for f in writers])):
            assert told[kind] == sum(a[0] == 503 and a[1]["code"] == "overloaded" for a in answers)
    stack.wait_until("answers again", 20, lambda: gateway.get(path)[0] == 200)
    gateway.stop()


def test_or_nobody_is_refused(stores):
    gateway = stores.gateway({"postgres": {"pool_size": 1}, "gateway": {"shed_after": "0s", "request_timeout": "60s"}})
    path = "/v1/chains/dev/blocks/0x" + "11" * 32 + "/entries" # a worker's, not the reader's
    with psycopg2.connect(stores.postgres.url) as holder, concurrent.futures.ThreadPoolExecutor(30) as pool:
        with holder.cursor() as cursor:
            cursor.execute("lock table weir.blocks in access exclusive mode")
            asked = [pool.submit(gateway.get, path) for _ in range(20)]
            stack.wait_until("the first to give up", 30, lambda: any(f.done() for f in asked))
        holder.rollback()
        assert "overloaded" not in {f.result()[1].get("code") for f in asked}
    gateway.stop()
