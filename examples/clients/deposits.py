#!/usr/bin/env python3
"""Credits the deposits to an exchange's addresses, each once, whatever happens to the chain, to weir or to this program.

    deposits.py --api http://127.0.0.1:8080 --key FILE --chain dev --book book.sqlite --from-height 0 0xADDRESS…

Every answer's events and the offset to go on from are written into the book in one transaction. So it may be killed at any moment: it goes on with
the offset that it has, and is given the rest, each event once. How it works, and why so, is in docs/clients.md. Only Python's own library is used.

A deposit is `seen` when its block is in the ledger, `retracted` if a reorg took it back, `credited` when its block is final and the balance of the
account was compared with the chain at it or later, and `held` when a person should look at it: its asset's logs do not tell its balances, or weir
found the movement by a comparison and not in the chain's logs. One that was credited and is taken back nevertheless becomes `disputed`.

Exit codes: 0 told to stop, 1 weir refused something for good (the message says what).
"""
import argparse
import json
import pathlib
import signal
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

BOOK = """
create table if not exists deposits (id text primary key, account text not null, asset text not null, amount text not null, height integer not null,
                                     block_hash text not null, transaction_hash text, state text not null, reason text);
create table if not exists place (name text primary key, value text not null);
"""
NOT_DEPOSITS = ("opening", "genesis", "reversal") # what an account had before weir looked, and weir's own corrections
PATIENCE_S = 30 # between tries when weir is away


class Refused(Exception):
    """A problem (RFC 9457) that asking again does not solve."""

    def __init__(self, problem):
        super().__init__(f"{problem['code']}: {problem['detail']} (request {problem['request_id']})")
        self.code = problem["code"]


class Weir:
    def __init__(self, api, key):
        self.api, self.key = api, key

    def ask(self, path, body=None, once=None, **query):
        """The answer; what may succeed later is asked again until it does. once: names a POST, so that its second try does nothing twice."""
        url = self.api + path + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = {"X-Api-Key": self.key, "Content-Type": "application/json"} | ({"Idempotency-Key": once} if once else {})
        pause = 0.5
        while True:
            request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, headers)
            try:
                with urllib.request.urlopen(request, timeout=90) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                problem = json.loads(error.read())
                if not problem["retryable"]:
                    raise Refused(problem) from None
                pause = float(error.headers.get("Retry-After", pause))
                say("weir is busy", problem["code"])
            except (OSError, ValueError) as error: # not there, or went away in the middle of an answer
                say("weir is away", str(error))
            time.sleep(pause)
            pause = min(2 * pause, PATIENCE_S)


class Book:
    def __init__(self, path, weir, chain):
        self.weir, self.chain = weir, chain
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript("pragma journal_mode = wal; pragma synchronous = full;" + BOOK)

    def place(self, name):
        row = self.db.execute("select value from place where name = ?", (name,)).fetchone()
        return row and row[0]

    def put(self, name, value):
        self.db.execute("insert or replace into place values (?, ?)", (name, value))

    def apply(self, events, offset):
        """All of an answer or nothing of it. What a transaction that was rolled back has said, it says again."""
        self.db.execute("begin immediate")
        try:
            for event in events:
                getattr(self, "on_" + event["type"], lambda event: None)(event) # new types of events may come: not for us
            self.put("offset", offset)
            self.db.execute("commit")
        except BaseException:
            self.db.execute("rollback")
            raise

    def on_entry(self, entry):
        if int(entry["delta"]) <= 0 or entry["kind"] in NOT_DEPOSITS:
            return
        self.db.execute("insert into deposits values (?, ?, ?, ?, ?, ?, ?, 'seen', null) on conflict (id) do update set state = 'seen', reason = null "
                        "where state in ('retracted', 'doubtful')", (entry["id"], entry["account"], entry["asset"], entry["delta"], entry["height"],
                                                                     entry["block_hash"], entry["transaction_hash"]))
        if entry["kind"] == "unknown":
            self.turn(entry["id"], "held", "found by comparing the balance with the chain, in no log", "seen")
        say("seen", entry["id"], entry["delta"], entry["asset"], "to", entry["account"], "at", entry["height"])

    def on_retracted(self, event):
        for entry in event["ids"]:
            self.turn(entry, "retracted", f"a reorg took block {event['block_hash']} back", "seen", "held")
            self.turn(entry, "disputed", f"credited, and block {event['block_hash']} was taken back", "credited")

    def on_finality(self, event):
        if event["finality"] == "finalized" and event["up_to"]:
            self.put("final", str(event["up_to"]["height"]))

    def on_ended(self, event):
        raise Refused({"code": "watchlist_unknown", "detail": f"the subscription was ended: {event['reason']}", "request_id": "-"})

    def turn(self, deposit, state, reason, *states):
        marks = ", ".join("?" * len(states))
        if self.db.execute(f"update deposits set state = ?, reason = ? where id = ? and state in ({marks})", (state, reason, deposit, *states)).rowcount:
            say(state, deposit, reason or "")

    def settle(self):
        """Credits what is final and compared with the chain. What was not compared yet is looked at again after the next answer."""
        due = self.db.execute("select id, account, asset, height from deposits where state = 'seen' and height <= ? order by account, height limit 1000",
                              (int(self.place("final") or -1),)).fetchall()
        balances = {account: {b["asset"]: b for b in self.weir.ask(f"/v1/chains/{self.chain}/accounts/{account}/balances")["items"]}
                    for account in {account for _, account, _, _ in due}}
        for deposit, account, asset, height in due:
            balance = balances[account].get(asset)
            if balance and balance["non_conserving"]:
                self.turn(deposit, "held", "this token's logs do not tell its balances", "seen")
            elif balance and (balance["reconciled_at_height"] or -1) >= height:
                self.turn(deposit, "credited", None, "seen")

    def begin_again(self):
        """The journal is another one, so what is not final must be told anew; ids stay the same. What nobody tells again stays doubtful."""
        self.db.execute("begin immediate")
        self.db.execute("update deposits set state = 'doubtful' where state in ('seen', 'held')")
        self.db.execute("delete from place where name = 'offset'")
        self.db.execute("commit")
        say("begins again", "the ledger was restored or made anew")


def say(*words):
    print(*words, flush=True)


def watchlist(weir, book, chain, name, addresses):
    """The list's id; it is made once, also by a program that was killed before it could write the answer down."""
    if not book.place("watchlist"):
        book.put("watchlist", weir.ask("/v1/watchlists", {"chain": chain, "name": name}, f"make-{name}")["id"])
    for at in range(0, len(addresses), 10000):
        weir.ask(f"/v1/watchlists/{book.place('watchlist')}/addresses", {"addresses": addresses[at:at + 10000], "always": True})
    return book.place("watchlist")


def follow(weir, book, chain, watchlist_id, from_height):
    query = {"topic": "watchlist", "chain": chain, "watchlist": watchlist_id, "finality": "true", "limit": 1000, "wait": 5}
    while True:
        offset = book.place("offset")
        begin = {"offset": offset} if offset else {"height": from_height}
        try:
            answer = weir.ask("/v1/poll", **query, **begin)
        except Refused as refused:
            if refused.code != "offset_unknown":
                raise
            book.begin_again()
            continue
        book.apply([push["event"] for push in answer["items"]], answer["offset"])
        book.settle()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--api", default="http://127.0.0.1:8080")
    parser.add_argument("--key", required=True, type=pathlib.Path, help="file with an API key that has the scope stream")
    parser.add_argument("--chain", required=True)
    parser.add_argument("--book", required=True, type=pathlib.Path)
    parser.add_argument("--name", default="deposits", help="of the watch-list, when it is made")
    parser.add_argument("--from-height", type=int, default=0)
    parser.add_argument("addresses", nargs="+")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    weir = Weir(options.api, options.key.read_text().strip())
    book = Book(options.book, weir, options.chain)
    try:
        follow(weir, book, options.chain, watchlist(weir, book, options.chain, options.name, options.addresses), options.from_height)
    except Refused as refused:
        print(f"deposits: {refused}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
