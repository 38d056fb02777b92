"""Rate limits under load: what `POST /v1/limits/{name}` is asked at all nodes, and how often it may have said yes."""
import http.client
import json
import threading
import time
import urllib.error
import urllib.request

from cluster import wait_for

BURST = 5
HOUR = {'limit': BURST, 'period_ms': 3_600_000}  # none comes back within ten minutes


def call(node, name, rule, limit_s=12):
    """(status, body, headers) of one node's answer; OSError without one."""
    request = urllib.request.Request(f'http://{node.http}/v1/limits/{name}', json.dumps(rule).encode(),
                                     {'Content-Type': 'application/json'})
    try:
        with urllib.request.urlopen(request, timeout=limit_s) as answer:
            return answer.status, json.loads(answer.read()), answer.headers
    except urllib.error.HTTPError as e:
        return e.code, json.loads(e.read()), e.headers
    except http.client.HTTPException as e:
        raise OSError(f'{type(e).__name__}: {e}')


def decided(node, name, rule=HOUR):
    """Whether it is allowed; OSError where that was not decided."""
    status, body, _ = call(node, name, rule)
    if status not in (200, 429):
        raise OSError(f'{status} {body}')
    return body['allowed']


class Limits:
    """Asks every node for some names, over and over. A bucket begins anew only when its owner is lost."""
    NAMES = [f'limit-{i}' for i in range(12)]

    def __init__(self, cluster):
        self.cluster = cluster
        self.allowed, self.calls = dict.fromkeys(self.NAMES, 0), 0
        self._mutex, self._ends = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in cluster.nodes.values()]

    def start(self):
        for t in self._threads:
            t.start()
        return self

    def _ask(self, node):
        while not self._ends.is_set():
            for name in self.NAMES:
                try:
                    yes = decided(node, name)
                    with self._mutex:
                        self.calls += 1
                        self.allowed[name] += yes
                except (OSError, ValueError):
                    pass  # it is down, cut off, or looks for an owner
                if self._ends.wait(0.02):
                    return

    def finish(self):
        self._ends.set()
        for t in self._threads:
            t.join()

    def violations(self, losses):
        """After `losses` faults that may have cost an owner each, and when all is healed."""
        most = BURST * (1 + losses)
        found = [f'{name} was allowed {n} times, at most {most} with {losses} owners lost'
                 for name, n in self.allowed.items() if n > most]
        for node in self.cluster.alive():
            for name in self.NAMES:
                wait_for(f'node {node.id} has an answer about {name}', lambda: [decided(node, name)], 30)
        if self.calls == 0:
            found.append('no limit was ever decided')
        return found
