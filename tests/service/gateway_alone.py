"""Gateways over stores alone: Redis, and a PostgreSQL with the ledger's schema and one block in it. Starts within a second or two."""
import os
import pathlib
import sys
import urllib.request

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "stack")]

import stack  # noqa: E402

KEYS = [{"name": "local", "key": stack.ADMIN_KEY, "role": "admin"}, {"name": "eyes", "key": "viewer-key-0123456789", "role": "viewer"}]


class Stores:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.redis = stack.Redis(self.folder / "redis").start()
        self.postgres = stack.Postgres(self.folder / "pg", ["fsync=off"]).start()
        self.gateways, self.count = [], 0
        self.sql("create schema weir; create table weir.migrations (number integer primary key)")
        for migration in sorted((ROOT / "services" / "reconciler" / "migrations").glob("*.sql")):
            self.sql(migration.read_text())
        self.sql("insert into weir.chains (name, family, profile, chain_id, start_height, watermark_height, watermark_hash, watermark_at, finalized_height, "
                 "safe_height) values ('dev', 'evm', 'dev', 31337, 0, 0, %s, now(), 0, 0)", b"\x11" * 32)
        self.sql("insert into weir.blocks (chain, height, branch, hash, parent_hash, timestamp, canonical, transaction_count, entry_count, gas_used, endpoints) "
                 "select id, 0, 0, %s, %s, 0, true, 0, 0, 0, '{}' from weir.chains", b"\x11" * 32, b"\x00" * 32)

    def sql(self, text, *values):
        with psycopg2.connect(self.postgres.url) as connection, connection.cursor() as cursor:
            cursor.execute(text, values or None)
            return cursor.fetchall() if cursor.description else None

    def together(self, statements):
        """Texts with their values, in one transaction."""
        with psycopg2.connect(self.postgres.url) as connection, connection.cursor() as cursor:
            for text, values in statements:
                cursor.execute(text, values)

    def gateway(self, settings=None, environment=None, seconds=60, ready=True):
        self.count += 1
        self.gateways.append(Gateway(self, f"gateway{self.count}", settings or {}, environment, seconds, ready))
        return self.gateways[-1]

    def stop(self):
        for gateway in self.gateways:
            gateway.stop()
        self.postgres.stop()
        self.redis.stop()


class Gateway:
    def __init__(self, stores, name, settings, environment=None, seconds=60, ready=True):
        api, admin, ops = (f"127.0.0.1:{stack.free_port()}" for _ in range(3))
        chain = {"name": "dev", "family": "evm", "profile": "dev", "chain_id": 31337, "endpoints": [{"url": "http://127.0.0.1:9"}]}
        config = {"log": {"level": "debug"}, "ops": {"listen": {"gateway": ops}}, "bus": {"redis_url": stores.redis.url}, "postgres": {"url": stores.postgres.url},
                  "gateway": {"drain": "1s", "listen": api, "admin_listen": admin, "keys": KEYS, "shed_after": "0s"}, "chains": [chain]}
        self.api, self.admin, self.ops = (f"http://{address}" for address in (api, admin, ops))
        self.config = stores.folder / f"{name}.yaml"
        self.config.write_text(stack.yaml_of(stack.merge(config, settings)))
        self.log = stores.folder / f"{name}.log"
        binary = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "bin")) / "weir-gateway"
        self.process = stack.Process(name, [binary, "--config", self.config], self.log, env=environment).start()
        if ready:
            stack.wait_until(f"{name} ready ({self.log})", seconds, self.ready)

    def ready(self):
        if not self.process.alive():
            raise RuntimeError(self.process.tail())
        return stack.http_json(self.ops + "/readyz", timeout=3)[0] == 200

    def get(self, path="/openapi.json", **headers):
        """A read by a client: (status, body, headers in lower case). Underscores in names stand for dashes."""
        status, body, got = stack.http_json(self.api + path, "GET", None, {k.replace("_", "-"): v for k, v in headers.items()})
        return status, body, {k.lower(): v for k, v in got.items()}

    def operate(self, method, path, body=None, key=stack.ADMIN_KEY, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()} | ({"Authorization": f"Bearer {key}"} if key else {})
        status, answer, got = stack.http_json(self.admin + "/admin/v1/" + path, method, body, headers)
        return status, answer, {k.lower(): v for k, v in got.items()}

    def metric(self, name):
        """A metric's value, by its name with its labels as they are printed; 0 when it is not there."""
        lines = urllib.request.urlopen(self.ops + "/metrics", timeout=60).read().decode().splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")), 0)

    def stop(self):
        if self.process.alive():
            assert self.process.stop() == 0, self.process.tail()
