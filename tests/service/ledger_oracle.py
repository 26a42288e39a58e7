"""Compares the ledger's tables with what the node says: asks for each balance row, at one height. Shares no code with weir."""
import json
import urllib.request

NATIVE, ERC20, ERC721, ERC1155 = 1, 2, 3, 4
ZERO = "0x" + "0" * 40

SOUND = {
    "balances are not the sum of their entries": """
        select count(*) from (select account, asset, sum(delta) s from weir.entries where not superseded group by 1, 2) e
        full join weir.balances b using (account, asset) where coalesce(e.s, 0) is distinct from b.amount""",
    "reversals do not cancel": """
        select count(*) from (select account, asset, sum(delta) s, sum(delta) filter (where not superseded) c from weir.entries group by 1, 2) e
        where s is distinct from coalesce(c, 0)""",
    "running balances are wrong": """
        select count(*) from (select balance, sum(delta) over (partition by account, asset order by height, ordinal) s from weir.entries
        where not superseded) e where s <> balance""",
    "blocks are missing below the watermark": """
        select coalesce(sum(c.watermark_height - greatest(c.start_height, 0) + 1 - (select count(*) from weir.blocks b
        where b.chain = c.id and canonical)), 0) from weir.chains c where watermark_height >= 0""",
    "a block does not follow its parent": """
        select count(*) from weir.blocks b join weir.blocks p on p.chain = b.chain and p.height = b.height - 1 and p.canonical
        where b.canonical and b.parent_hash <> p.hash""",
    "the journal has holes": """
        select coalesce(sum(journal_sequence - (select count(*) from weir.journal j where j.chain = c.id)), 0) from weir.chains c""",
    "unproven blocks are in the ledger": """
        select count(*) from weir.blocks b left join weir.certificates c using (chain, height, branch) where c.proven is distinct from true""",
}


def unsound(postgres):
    """Names of the rules that the ledger breaks."""
    return {rule: int(rows[0][0]) for rule, sql in SOUND.items() if (rows := postgres.query(sql)) and int(float(rows[0][0])) != 0}


def batch(node, calls):
    """[(method, params)] -> results; errors become None."""
    out = []
    for at in range(0, len(calls), 200):
        body = json.dumps([{"jsonrpc": "2.0", "id": i, "method": m, "params": p} for i, (m, p) in enumerate(calls[at:at + 200])]).encode()
        request = urllib.request.Request(node.rpc, data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            replies = {r["id"]: r for r in json.loads(answer.read())}
        out += [replies[i].get("result") for i in range(len(calls[at:at + 200]))]
    return out


def question(account, standard, contract, token, block):
    word = account[2:].rjust(64, "0")
    number = f"{int(token):064x}" if token else ""
    data = {ERC20: "0x70a08231" + word, ERC721: "0x6352211e" + number, ERC1155: "0x00fdd58e" + word + number}.get(standard)
    return ("eth_getBalance", [account, block]) if standard == NATIVE else ("eth_call", [{"to": contract, "data": data}, block])


def meaning(answer, account, standard):
    if standard == ERC721:
        return int(answer is not None and len(answer) == 66 and answer[-40:] == account[2:])
    return int(answer, 16) if answer and answer != "0x" else None


def differences(postgres, node, height=None):
    """Balances at the height (default: the watermark) that differ from the node's, as text. Non-conserving assets are left out."""
    if height is None:
        height = int(postgres.query("select watermark_height from weir.chains")[0][0])
    rows = postgres.query(f"""
        select '0x' || encode(a.address, 'hex'), s.standard, '0x' || encode(s.contract, 'hex'), s.token_id,
               coalesce((select e.balance from weir.entries e where e.account = b.account and e.asset = b.asset and not superseded
                          and e.height <= {height} order by e.height desc, e.ordinal desc limit 1), 0)
          from weir.balances b join weir.accounts a on a.id = b.account join weir.assets s on s.id = b.asset
         where not s.non_conserving and b.opening_known""")
    block = hex(height)
    rows = [r for r in rows if not (r[0] == ZERO and int(r[1]) != NATIVE)]  # tokens' mint and burn side
    answers = batch(node, [question(r[0], int(r[1]), r[2], r[3], block) for r in rows])
    wrong = []
    for row, answer in zip(rows, answers):
        chain = meaning(answer, row[0], int(row[1]))
        if chain is not None and chain != int(row[4]):
            wrong.append(f"{row[0]} {row[2]} {row[3]} at {height}: ledger {row[4]}, chain {chain}")
    return wrong, len(rows)
