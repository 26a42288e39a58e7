"""A Kafka for tests: librdkafka's mock cluster in a process of its own (tests/actors/kafka_mock.c), and what is in its topic, read by a consumer beside it."""
import collections
import json
import os
import pathlib
import subprocess
import threading

import stack

ACTOR = pathlib.Path(os.environ.get("WEIR_BIN", stack.ROOT / "build" / "bin")).parent / "tests" / "actors" / "kafka_mock"


class Kafka:
    def __init__(self):
        self.child = subprocess.Popen([ACTOR, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.guard.watch(self.child.pid)
        self.hosts = self.child.stdout.readline().strip()
        self.url = f"kafka://{self.hosts}"

    def tell(self, words):
        self.child.stdin.write(words + "\n")
        self.child.stdin.flush()
        assert self.child.stdout.readline() == "ok\n", words

    def close(self):
        self.child.stdin.close()
        self.child.wait(10)


class Record:
    def __init__(self, line):
        self.partition, self.place, self.key = line["partition"], line["offset"], line["key"]
        self.value = line["value"]
        self.event, self.offset = self.value["event"], self.value["offset"]
        self.order = (self.value["epoch"], self.value["sequence"], self.value["index"])


class Reader:
    """Reads all partitions from the beginning, as long as it lives."""

    def __init__(self, kafka, topic, partitions):
        self.records, self.lock = [], threading.Lock()
        self.child = subprocess.Popen([ACTOR, "read", kafka.hosts, topic, str(partitions)], stdout=subprocess.PIPE, text=True)
        stack.guard.watch(self.child.pid)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            with self.lock:
                self.records.append(Record(json.loads(line)))

    def all(self):
        with self.lock:
            return list(self.records)

    def once(self):
        """As docs/kafka.md says how to read: in each partition what is not above the highest so far is a repetition. By partition, in order."""
        highest, kept = collections.defaultdict(lambda: (0, 0, -1)), []
        for record in self.all():
            if record.order > highest[record.partition]:
                highest[record.partition] = record.order
                kept.append(record)
        return kept

    def close(self):
        self.child.kill()
        self.child.wait()
