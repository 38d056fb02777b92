"""Requests of Kafka clients by hand, for what Debian's client libraries do not send. Only flexible versions."""
import socket
import struct


class Writer:
    def __init__(self):
        self.bytes = b''

    def number(self, form, value):
        self.bytes += struct.pack('>' + form, value)
        return self

    def count(self, n):
        """Of bytes or elements; None is null."""
        left = 0 if n is None else n + 1
        while left > 127:
            self.bytes += bytes([left & 127 | 128])
            left >>= 7
        self.bytes += bytes([left])
        return self

    def text(self, value):
        self.count(len(value.encode()))
        self.bytes += value.encode()
        return self

    def each(self, items, write):
        self.count(None if items is None else len(items))
        for item in items or ():
            write(item)
        return self

    def tags(self):
        self.bytes += b'\0'
        return self

    def numbers(self, form, items):
        return self.each(items, lambda n: self.number(form, n))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        value, = struct.unpack_from('>' + form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def count(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value - 1

    def text(self):
        size = self.count()
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def each(self, read):
        return [read() for _ in range(self.count())]

    def tags(self):
        assert self.number('b') == 0, 'no tagged field is expected'

    def numbers(self, form):
        return self.each(lambda: self.number(form))


def ask(address, api, version, body, flexible=True):
    """The answer behind its header."""
    header = Writer().number('h', api).number('h', version).number('i', 7).number('h', -1)
    if flexible:
        header.tags()
    frame = header.bytes + body
    host, port = address.rsplit(':', 1)
    with socket.create_connection((host, int(port)), timeout=60) as s:
        s.sendall(struct.pack('>i', len(frame)) + frame)
        with s.makefile('rb') as answers:
            answer = answers.read(struct.unpack('>i', answers.read(4))[0])
    reader = Reader(answer)
    assert reader.number('i') == 7
    if flexible:
        reader.tags()
    return reader


def describe_cluster(address):
    """(error, controller, {node: (rack, fenced)})"""
    r = ask(address, 60, 2, Writer().number('?', False).number('b', 1).number('?', True).tags().bytes)
    r.number('i')
    error, _, _, _, controller = r.number('h'), r.text(), r.number('b'), r.text(), r.number('i')
    nodes = {}

    def node():
        n, _, _, rack, fenced = r.number('i'), r.text(), r.number('i'), r.text(), r.number('?')
        r.tags()
        nodes[n] = (rack, fenced)
    r.each(node)
    return error, controller, nodes


def describe_log_dirs(address):
    """[(error, path, {(topic, partition): bytes}, total, usable)]"""
    r = ask(address, 35, 4, Writer().count(None).tags().bytes)
    r.number('i'), r.number('h')

    def directory():
        error, path, sizes = r.number('h'), r.text(), {}

        def topic():
            name = r.text()

            def partition():
                index = r.number('i')
                sizes[name, index] = r.number('q')
                r.number('q'), r.number('b'), r.tags()
            r.each(partition), r.tags()
        r.each(topic)
        out = error, path, sizes, r.number('q'), r.number('q')
        r.tags()
        return out
    return r.each(directory)


def elect_leaders(address, kind, partitions):
    """`partitions`: {topic: [number]}, or None for all. {(topic, partition): error}"""
    w = Writer().number('b', kind)
    w.each(None if partitions is None else list(partitions.items()), lambda t: w.text(t[0]).numbers('i', t[1]).tags())
    r = ask(address, 43, 2, w.number('i', 30000).tags().bytes)
    r.number('i')
    found = {None: r.number('h')}

    def topic():
        name = r.text()

        def partition():
            index = r.number('i')
            found[name, index] = r.number('h')
            r.text(), r.tags()
        r.each(partition), r.tags()
    r.each(topic)
    return found


def reassign(address, topic, targets):
    """`targets`: {partition: [node] or None}. {partition: error}; None: of the request."""
    w = Writer().number('i', 30000).count(1).text(topic)
    w.each(list(targets.items()), lambda t: w.number('i', t[0]).numbers('i', t[1]).tags()).tags().tags()
    r = ask(address, 45, 0, w.bytes)
    r.number('i')
    found = {None: r.number('h')}
    r.text()

    def partition():
        index = r.number('i')
        found[index] = r.number('h')
        r.text(), r.tags()
    r.each(lambda: (r.text(), r.each(partition), r.tags()))
    return found


def reassignments(address):
    """{(topic, partition): (replicas, adding, removing)}"""
    r = ask(address, 46, 0, Writer().number('i', 30000).count(None).tags().bytes)
    r.number('i'), r.number('h'), r.text()
    found = {}

    def topic():
        name = r.text()

        def partition():
            index = r.number('i')
            found[name, index] = r.numbers('i'), r.numbers('i'), r.numbers('i')
            r.tags()
        r.each(partition), r.tags()
    r.each(topic)
    return found


def fetch(address, topic, partition, offset, version=12, rack=''):
    """(error, watermark, preferred replica, bytes). Of versions 10 to 12; does not wait."""
    new = version >= 12
    w = Writer()
    text = w.text if new else lambda s: setattr(w, 'bytes', w.bytes + struct.pack('>h', len(s)) + s.encode())
    count = w.count if new else lambda n: w.number('i', n)
    w.number('i', -1).number('i', 0).number('i', 1).number('i', 1 << 20).number('b', 0).number('i', 0).number('i', -1)
    count(1), text(topic), count(1)
    w.number('i', partition).number('i', -1).number('q', offset)
    if new:
        w.number('i', -1)
    w.number('q', -1).number('i', 1 << 20)
    if new:
        w.tags().tags()
    count(0)
    if version >= 11:
        text(rack)
    if new:
        w.tags()
    r = ask(address, 1, version, w.bytes, flexible=new)
    r.number('i'), r.number('h'), r.number('i')
    length = r.count if new else lambda: r.number('i')
    assert length() == 1 and (r.text() if new else r.data[r.at + 2:r.at + 2 + r.number('h')].decode()) == topic
    if not new:
        r.at += len(topic)
    assert length() == 1 and r.number('i') == partition
    error, watermark = r.number('h'), r.number('q')
    r.number('q'), r.number('q')
    assert length() <= 0
    preferred = r.number('i') if version >= 11 else -1
    return error, watermark, preferred, max(length(), 0)
