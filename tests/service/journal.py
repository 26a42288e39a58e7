"""A ledger written by hand, in place of a reconciler: blocks and their journal, taken back and restored as a test says."""
import time


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def number(tag, value):
    return varint(tag << 3) + varint(value) if value else b""


def text(tag, value):
    return varint(tag << 3 | 2) + varint(len(value)) + value


APPLIED, RETRACTED = 4, 5 # of LedgerEvent's oneof
SEEN = 1


class Journal:
    """Of chain dev in gateway_alone's stores, which have block 0."""

    def __init__(self, stores):
        self.stores, self.sequence, self.at = stores, 0, int(time.time() * 1000)
        self.tip = [(0, b"\x11" * 32)] # heights and hashes that are canonical
        self.branches = {}

    def _event(self, kind, height, hash, branch, more=b""):
        self.sequence += 1
        self.at += 1
        body = text(1, b"dev") + number(2, self.sequence) + number(3, self.at) + text(kind, text(1, number(1, height) + text(2, hash)) + more)
        return ("insert into weir.journal (chain, sequence, kind, height, branch, body) select id, %s, %s, %s, %s, %s from weir.chains",
                (self.sequence, kind, height, branch, body))

    def apply(self, hash):
        """One more block; its statements, to be run together with others."""
        height, parent = self.tip[-1][0] + 1, self.tip[-1][1]
        branch = self.branches[height] = self.branches.get(height, -1) + 1
        self.tip.append((height, hash))
        return [("insert into weir.blocks (chain, height, branch, hash, parent_hash, timestamp, canonical, transaction_count, entry_count, gas_used, endpoints) "
                 "select id, %s, %s, %s, %s, 0, true, 0, 0, 0, '{}' from weir.chains", (height, branch, hash, parent)),
                self._event(APPLIED, height, hash, branch, text(2, parent) + number(4, branch) + number(5, SEEN))]

    def retract(self):
        height, hash = self.tip.pop()
        branch = self.branches[height]
        return [("update weir.blocks set canonical = false, superseded_at = now() where height = %s and branch = %s", (height, branch)),
                self._event(RETRACTED, height, hash, branch, number(2, branch))]

    def write(self, *steps):
        """In one transaction, as the reconciler does."""
        height, hash = self.tip[-1]
        self.stores.together([statement for step in steps for statement in step] +
                             [("update weir.chains set journal_sequence = %s, watermark_height = %s, watermark_hash = %s", (self.sequence, height, hash))])

    def restored(self, sequence, height):
        """As it was after that event and block; the statements."""
        self.sequence, self.tip = sequence, [t for t in self.tip if t[0] <= height]
        self.branches = {h: b for h, b in self.branches.items() if h <= height}
        return [("delete from weir.journal where sequence > %s", (sequence,)), ("delete from weir.blocks where height > %s", (height,))]
