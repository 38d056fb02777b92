"""Three ways in which nodes reach each other: plainly; through a proxy that can hold, delay or reset what they say; or
from network namespaces, where the kernel drops what one node shall not hear from another."""
import os
import random
import selectors
import socket
import subprocess
import threading
import time

from facilities import quiet

# Outgoing connections get their ports from 32768 on: one of them could take a node's port while the node is down.
_ports = iter(random.Random(os.getpid()).sample(range(21000, 32000), 11000))


def free_port(host='127.0.0.1'):
    for port in _ports:
        with socket.socket() as s:
            try:
                s.bind((host, port))
                return port
            except OSError:
                pass
    raise RuntimeError('no free port')


class Plain:
    """Everything on loopback; nothing to break."""
    name = 'plain'
    can = ()

    def __init__(self, ids):
        self._listen = {n: free_port() for n in ids}

    def host(self, n):
        return '127.0.0.1'

    def listens(self, n):
        return f'127.0.0.1:{self._listen[n]}'

    def reached(self, n):
        return self.listens(n)

    def command(self, n):
        return []

    def started(self, n, pid):
        pass

    def heal(self):
        pass

    def close(self):
        pass


class Proxies(Plain):
    """Nodes advertise a port of the proxy. Who connects is found by the owner of the connection's other end."""
    name = 'proxy'
    can = ('cut', 'one_way', 'delay', 'reset')

    def __init__(self, ids):
        super().__init__(ids)
        self._pids = {}
        self._faults = {}  # (from, to) -> None: held; seconds: delayed
        self._lock = threading.Lock()
        self._pairs = []  # [from, to, near, far]
        self._selector = selectors.DefaultSelector()
        self._doors = {}
        for n in ids:
            door = socket.create_server(('127.0.0.1', free_port()))
            door.setblocking(False)
            self._doors[n] = door
            self._selector.register(door, selectors.EVENT_READ, ('door', n))
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def reached(self, n):
        return f'127.0.0.1:{self._doors[n].getsockname()[1]}'

    def started(self, n, pid):
        self._pids[n] = pid

    def cut(self, a, b):
        self.one_way(a, b)
        self.one_way(b, a)

    def one_way(self, a, b):
        """What a says does not reach b."""
        with self._lock:
            self._faults[a, b] = None

    def delay(self, a, b, delay_s):
        with self._lock:
            self._faults[a, b] = self._faults[b, a] = delay_s

    def reset(self, a, b):
        with self._lock:
            for stream in self._pairs:
                if {stream.source, stream.target} == {a, b}:
                    stream.broken = True

    def heal(self):
        with self._lock:
            self._faults.clear()

    def close(self):
        self._ended = True
        self._thread.join()

    def _who(self, peer_port):
        wanted = f'0100007F:{peer_port:04X}'
        with open('/proc/net/tcp') as table:
            inode = next((f[9] for f in map(str.split, table) if f[1] == wanted), None)
        for n, pid in list(self._pids.items()):  # nodes are started meanwhile
            try:
                descriptors = os.listdir(f'/proc/{pid}/fd')
            except OSError:  # it has ended
                continue
            for fd in descriptors:
                try:
                    if os.readlink(f'/proc/{pid}/fd/{fd}') == f'socket:[{inode}]':
                        return n
                except OSError:  # closed meanwhile, as many are while a node starts
                    pass
        return None

    def _accept(self, n):
        try:
            near, peer = self._doors[n].accept()
        except OSError:
            return
        source = self._who(peer[1])
        if source is None:  # nothing could be cut that is nobody's: it has to dial again
            return _reset(near)
        far = socket.socket()
        try:
            far.connect(('127.0.0.1', self._listen[n]))
        except OSError:  # refused there: a reset here is the nearest to it
            _reset(near)
            return
        there, back = Stream(source, n, near, far), Stream(n, source, far, near)
        there.other, back.other = back, there
        for stream in (there, back):
            stream.source_socket.setblocking(False)
            stream.source_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(stream.source_socket, selectors.EVENT_READ, ('stream', stream))
            self._pairs.append(stream)

    def _run(self):
        while not self._ended:
            events = self._selector.select(0.01 if any(s.waiting for s in self._pairs) else 0.1)
            now = time.monotonic()
            with self._lock:
                for key, _ in events:
                    what, subject = key.data
                    if what == 'door':
                        self._accept(subject)
                    elif subject in self._pairs:
                        self._read(subject, now)
                for stream in list(self._pairs):
                    if stream in self._pairs:
                        self._write(stream, now)
        for stream in self._pairs:
            stream.source_socket.close()
        for door in self._doors.values():
            door.close()

    def _read(self, stream, now):
        try:
            data = stream.source_socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            stream.broken = True
            return
        stream.waiting.append((now, data))
        if not data or len(stream.waiting) > 256:  # a held link fills up, as a real one does
            self._pause(stream)

    def _pause(self, stream):
        if stream.reading:
            self._selector.unregister(stream.source_socket)
            stream.reading = False

    def _write(self, stream, now):
        if stream.broken:
            for side in (stream, stream.other):
                self._pause(side)
                self._pairs.remove(side)
            _reset(stream.source_socket)
            _reset(stream.target_socket)
            return
        fault = self._faults.get((stream.source, stream.target), 0)
        while stream.waiting and fault is not None and stream.waiting[0][0] + fault <= now:
            at, data = stream.waiting[0]
            try:
                if not data:
                    stream.target_socket.shutdown(socket.SHUT_WR)
                    stream.ended = True
                sent = stream.target_socket.send(data) if data else 0
            except BlockingIOError:
                break
            except OSError:
                stream.broken = True
                break
            if sent < len(data):
                stream.waiting[0] = (at, data[sent:])
                break
            stream.waiting.pop(0)
        if not stream.reading and not stream.ended and len(stream.waiting) < 128 and \
                not any(not d for _, d in stream.waiting):
            self._selector.register(stream.source_socket, selectors.EVENT_READ, ('stream', stream))
            stream.reading = True
        if stream.ended and stream.other.ended:
            for side in (stream, stream.other):
                self._pause(side)
                self._pairs.remove(side)
                side.source_socket.close()


class Stream:
    """One direction of a connection."""

    def __init__(self, source, target, source_socket, target_socket):
        self.source, self.target = source, target
        self.source_socket, self.target_socket = source_socket, target_socket
        self.waiting, self.reading, self.ended, self.broken = [], True, False, False


def _reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    s.close()


class Namespaces:
    """Each node in a namespace of its own on one bridge; the clients outside reach them all, always. Silence is real:
    packets are dropped where they arrive, nobody is told."""
    name = 'namespaces'
    can = ('cut', 'one_way')

    def __init__(self, ids):
        self._tag = f'tc{os.getpid() % 100000}'
        # A part of 10/8 by the process, so that two of them do not meet.
        self._net = f'10.{128 + os.getpid() % 100}.{os.getpid() // 100 % 256}'
        self._ids = ids
        try:
            self._do(f'link add {self._tag} type bridge')
            self._do(f'addr add {self._net}.254/24 dev {self._tag}')
            self._do(f'link set {self._tag} up')
            for n in ids:
                ns, veth = self._space(n), f'{self._tag}v{n}'
                self._do(f'netns add {ns}')
                self._do(f'link add {veth} type veth peer name eth0 netns {ns}')
                self._do(f'link set {veth} master {self._tag} up')
                self._do(f'-n {ns} addr add {self.host(n)}/24 dev eth0')
                self._do(f'-n {ns} link set eth0 up')
                self._do(f'-n {ns} link set lo up')
                self._nft(n, 'add table ip troupe; add set ip troupe deaf { type ipv4_addr; }; '
                             'add chain ip troupe in { type filter hook input priority 0; }; '
                             'add rule ip troupe in ip saddr @deaf drop')
        except BaseException:
            self.close()
            raise

    def _space(self, n):
        return f'{self._tag}n{n}'

    def _do(self, command):
        subprocess.run(['ip'] + command.split(), check=True)

    def _nft(self, n, command):
        subprocess.run(['ip', 'netns', 'exec', self._space(n), 'nft', command], check=True)

    def host(self, n):
        return f'{self._net}.{n}'

    def listens(self, n):
        return f'{self.host(n)}:21000'

    def reached(self, n):
        return self.listens(n)

    def command(self, n):
        return ['ip', 'netns', 'exec', self._space(n)]

    def started(self, n, pid):
        pass

    def cut(self, a, b):
        self.one_way(a, b)
        self.one_way(b, a)

    def one_way(self, a, b):
        self._nft(b, f'add element ip troupe deaf {{ {self.host(a)} }}')

    def heal(self):
        for n in self._ids:
            self._nft(n, 'flush set ip troupe deaf')

    def close(self):
        for n in self._ids:
            quiet('ip', 'netns', 'del', self._space(n))
        quiet('ip', 'link', 'del', self._tag)
