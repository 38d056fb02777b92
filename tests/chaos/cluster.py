"""Several real nodes: started, killed, paused, cut off; and what each of them says about partitions and leaders."""
import errno
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request

import facilities
from network import Plain, free_port

TAIL = 60  # lines of each node's log that a failure shows


class TimedOut(AssertionError):
    pass


def wait_for(what, condition, limit_s=30, every_s=0.05):
    """The first true value of `condition`; errors of sockets count as not yet."""
    until = time.monotonic() + limit_s
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except OSError as e:
            last = e
        if time.monotonic() > until:
            raise TimedOut(f'after {limit_s} s still not: {what}; last seen: {last!r}')
        time.sleep(every_s)


class Partition:
    def __init__(self, error, leader, replicas, isr):
        self.error, self.leader, self.replicas, self.isr = error, leader, replicas, isr

    def __repr__(self):
        return f'(leader {self.leader} of {self.replicas}, in sync {self.isr}, error {self.error})'


def metadata(address, topic):
    """What one node says: {number: Partition}. Kafka's Metadata, version 5: client libraries ask whom they like."""
    host, port = address.rsplit(':', 1)
    name = topic.encode()
    body = struct.pack('>hhih', 3, 5, 7, -1) + struct.pack('>ih', 1, len(name)) + name + b'\0'
    with socket.create_connection((host, int(port)), timeout=5) as s:
        s.sendall(struct.pack('>i', len(body)) + body)
        answer = _exactly(s, struct.unpack('>i', _exactly(s, 4))[0])
    at = 4

    def number(form):
        nonlocal at
        value, = struct.unpack_from('>' + form, answer, at)
        at += struct.calcsize(form)
        return value

    def text():
        nonlocal at
        size = max(number('h'), 0)
        at += size
        return answer[at - size:at].decode()

    def numbers():
        return [number('i') for _ in range(number('i'))]

    number('i')  # throttled
    for _ in range(number('i')):
        number('i'), text(), number('i'), text()
    text(), number('i')  # cluster, controller
    found = {}
    for _ in range(number('i')):
        if number('h') and name:
            return {}
        text(), number('b')
        for _ in range(number('i')):
            error, index, leader = number('h'), number('i'), number('i')
            replicas, isr = numbers(), numbers()
            numbers()  # offline
            found[index] = Partition(error, leader, replicas, isr)
    return found


def _exactly(s, size):
    data = b''
    while len(data) < size:
        more = s.recv(size - len(data))
        if not more:
            raise ConnectionError('closed by the node')
        data += more
    return data


class Node:
    def __init__(self, n, home, network, options, binary):
        self.id, self.network, self.binary, self.options = n, network, binary, options
        self.home = os.path.join(home, f'node-{n}')
        os.makedirs(self.home)
        host = network.host(n)
        self.kafka = f'{host}:{free_port() if host.startswith("127.") else 21001}'
        self.http = f'{host}:{free_port() if host.startswith("127.") else 21002}'
        self.process = None
        self.paused = False
        self.life = 0
        self.environment = {}
        self.asked_to_end = False
        self.bad_ends = []  # lives that ended by themselves, or not as asked

    @property
    def data(self):
        return os.path.join(self.home, 'data')

    def log_path(self, life):
        return os.path.join(self.home, f'log-{life}')

    def start(self, join, more=()):
        """Does not wait: `wait_ready` does."""
        assert not self.running()
        self.note_end()
        self.life += 1
        self.asked_to_end = False
        arguments = self.network.command(self.id) + [
            self.binary, f'--data-dir={self.data}', f'--node-id={self.id}', f'--kafka={self.kafka}',
            f'--http={self.http}', f'--cluster={self.network.listens(self.id)}',
            f'--cluster-advertised={self.network.reached(self.id)}', '--insecure=on']
        if join:
            arguments.append('--join=' + ','.join(join))
        with open(self.log_path(self.life), 'wb') as log:
            self.process = subprocess.Popen(arguments + self.options + list(more), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=facilities.die_with_parent,
                                            env={**os.environ, **self.environment})
        self.network.started(self.id, self.process.pid)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def note_end(self):
        code = self.process.poll() if self.process else None
        if code is None or (self.asked_to_end and code in (0, 1, -signal.SIGKILL, -signal.SIGTERM)):
            return
        if f'life {self.life} ended with {code}' not in self.bad_ends:
            self.bad_ends.append(f'life {self.life} ended with {code}')

    def ready(self):
        if not self.running():
            raise AssertionError(f'node {self.id} ended with {self.process.returncode}')
        with urllib.request.urlopen(f'http://{self.http}/readyz', timeout=2) as answer:
            return answer.status == 200

    def wait_ready(self, limit_s=60):
        wait_for(f'node {self.id} is ready', self.ready, limit_s)

    def kill(self):
        if self.running():
            self.asked_to_end = True
            self.process.kill()
            self.process.wait()
        self.paused = False

    def stop(self, limit_s=60):
        """SIGTERM and the exit code; None: it had to be killed."""
        self.terminate()
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def terminate(self):
        self.asked_to_end = True
        self.process.terminate()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        if self.paused:
            self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def metadata(self, topic):
        return metadata(self.kafka, topic)

    def set_clock(self, seconds):
        """So far from the machine's; before `start` for the first time."""
        path = os.path.join(self.home, 'clock')
        with open(path + '.new', 'w') as f:
            f.write(f'{seconds:+d}s\n')
        os.rename(path + '.new', path)
        self.environment = {'LD_PRELOAD': facilities.faketime_library(), 'FAKETIME_TIMESTAMP_FILE': path,
                            'FAKETIME_NO_CACHE': '1', 'FAKETIME_DONT_FAKE_MONOTONIC': '1'}

    def mount_small_disk(self):
        """Before `start`. Whoever mounts it unmounts it."""
        os.mkdir(self.data)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=256m', 'none', self.data], check=True)
        self.options += ['--disk-reserve=24MiB']
        return self.data

    def fill_disk(self):
        free = os.statvfs(self.data)
        size = free.f_bavail * free.f_frsize - (1 << 20)
        if size > 0 and not os.path.exists(os.path.join(self.data, 'ballast')):
            with open(os.path.join(self.data, 'ballast'), 'wb') as f:
                try:
                    os.posix_fallocate(f.fileno(), 0, size)
                except OSError as e:  # the node took some of it meanwhile: it is as full as it gets
                    if e.errno != errno.ENOSPC:
                        raise

    def free_disk(self):
        try:
            os.unlink(os.path.join(self.data, 'ballast'))
        except FileNotFoundError:
            pass

    def description(self, n):
        """What this node's /v1/cluster says of node `n`."""
        return next(x for x in self.ask('cluster')['nodes'] if x['id'] == n)

    def ask(self, path, what=None):
        """What its door for operators answers: to a GET, or to a POST of `what`."""
        request = urllib.request.Request(f'http://{self.http}/v1/{path}', None if what is None else json.dumps(what).encode(),
                                         {'Content-Type': 'application/json'})
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.loads(answer.read())

    def tail(self):
        out = []
        for life in range(max(1, self.life - 1), self.life + 1):
            with open(self.log_path(life), errors='replace') as log:
                lines = log.read().splitlines()
            out.append(f'--- node {self.id}, life {life}, the last {min(TAIL, len(lines))} of {len(lines)} lines')
            out += lines[-TAIL:]
        return '\n'.join(out)


class Cluster:
    """Nodes 1 to `nodes`; node 1 founds. A context: everything ends with it, and its folder goes unless `keep`."""

    def __init__(self, nodes=3, network=Plain, options=(), prepare=None, home=None):
        self.home = home or tempfile.mkdtemp(prefix='cluster-', dir=scratch())
        os.makedirs(self.home, exist_ok=True)
        self.keep = False
        ids = list(range(1, nodes + 1))
        self.network = network(ids)
        self._binary = os.environ['TROUPE_NODE']
        self.nodes = {n: Node(n, self.home, self.network, ['--log-level=debug', *options], self._binary) for n in ids}
        if prepare:
            prepare(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for node in self.nodes.values():
            node.kill()
        self.network.close()
        if not self.keep:
            shutil.rmtree(self.home, ignore_errors=True)

    def __getitem__(self, n):
        return self.nodes[n]

    def start(self, *ids, wait=True):
        for n in ids or self.nodes:
            self[n].start([] if n == 1 else [self.network.reached(m) for m in self.nodes if m != n])
        if wait:
            for n in ids or self.nodes:
                self[n].wait_ready()
        if wait and not ids and len(self.nodes) >= 3:
            # Until then it stands and falls with its first node.
            wait_for('three nodes vote', lambda: len(self[min(self.nodes)].ask('cluster')['quorum']['voters']) >= 3)

    @property
    def bootstrap(self):
        return ','.join(node.kafka for node in self.nodes.values())

    def alive(self):
        return [n for n in self.nodes.values() if n.running() and not n.paused]

    def partitions(self, topic):
        """As the first node sees it that answers."""
        for node in self.alive():
            try:
                found = node.metadata(topic)
                if found:
                    return found
            except OSError:
                pass
        return {}

    def leader(self, topic, partition=0):
        return wait_for(f'{topic}/{partition} has a leader that runs',
                        lambda: next((self[p.leader] for p in [self.partitions(topic).get(partition)]
                                      if p and p.leader in self.nodes and self[p.leader] in self.alive()), None))

    def wait_in_sync(self, topic, replicas=3, limit_s=60):
        """Every node that runs says that all partitions have so many replicas in sync, and a leader."""
        def there():
            views = {n.id: n.metadata(topic) for n in self.alive()}
            good = all(v and all(p.leader > 0 and len(p.isr) >= replicas for p in v.values()) for v in views.values())
            return bool(views) and good or (last.update(views) or False)
        last = {}
        try:
            wait_for('', there, limit_s, 0.2)
        except TimedOut:
            raise TimedOut(f'after {limit_s} s not {replicas} replicas of {topic} in sync, as the nodes see it: {last}')

    def tails(self):
        return '\n'.join(n.tail() for n in self.nodes.values() if n.life)


def scratch():
    at = os.environ.get('TROUPE_CHAOS_DIR') or os.path.join(tempfile.gettempdir(), 'troupe-chaos')
    os.makedirs(at, exist_ok=True)
    return at
