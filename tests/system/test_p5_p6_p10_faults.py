"""P5, P6, P10: services, Redis and PostgreSQL are killed, stopped, flushed and restarted at random during a workload with reorgs. A
supervisor's only act is to start again what ended. Then the same oracle passes: nothing missing, nothing twice, nothing wrong."""
import random
import signal
import time

from conftest import caught_up
from stack import SERVICES, dev_chain

FAULTS = ["kill"] * 4 + ["stop", "redis", "flush", "postgres", "crash"]


def inflict(fault, world, suite, rng):
    victim = suite.processes[rng.choice(SERVICES)]
    if fault == "kill":
        victim.kill()
        victim.start()
    elif fault == "stop":
        victim.send(signal.SIGSTOP)
        time.sleep(5)  # the fault itself, not a wait for something
        victim.send(signal.SIGCONT)
    elif fault == "redis":
        world.redis.kill()
        world.redis.start()
    elif fault == "flush":
        world.redis.command("FLUSHALL")
    elif fault == "postgres":
        world.postgres.restart()
    elif fault == "crash":
        world.postgres.restart(signal.SIGQUIT)
    return f"{fault} {victim.name}" if fault in ("kill", "stop") else fault


def test_survives(world, size):
    rounds, rng = size(14, 100), random.Random(7)
    plan = FAULTS + [rng.choice(FAULTS) for _ in range(rounds - len(FAULTS))]
    rng.shuffle(plan)
    node = world.anvil("--slots", "8")
    suite = world.suite([dev_chain(node)]).start()
    workload = world.workload(node, **{"seed": 7, "blocks": rounds * 12, "reorgs": rounds // 2, "pace-ms": 150})
    done = []
    for fault in plan:
        done.append(inflict(fault, world, suite, rng))
        for process in suite.processes.values():  # what a supervisor does
            if not process.alive():
                process.start()
        time.sleep(rng.random())  # the moment of the next fault
    assert workload.wait(600) == 0, workload.tail()
    caught_up(suite, node, 120)
    assert all(process.alive() for process in suite.processes.values()), done
    report = world.oracle(node, suite, count=8)
    assert report["equal"] and report["missing"] == 0 and report["duplicate"] == 0, (done, report)
