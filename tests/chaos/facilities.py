"""What this machine lets a test do to nodes: each facility is tried once, for real, before anything relies on it."""
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile

FAKETIME = ['/usr/lib/%s-linux-gnu/faketime/libfaketimeMT.so.1' % os.uname().machine]


def quiet(*command, **how):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)


def die_with_parent():
    """For preexec_fn: a child does not outlive a test that was killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _namespaces():
    if os.geteuid() != 0:
        return 'needs root'
    for tool in ('ip', 'nft'):
        if not shutil.which(tool):
            return f'there is no {tool}'
    name = f'troupe-probe-{os.getpid()}'
    steps = [('ip', 'netns', 'add', name),
             ('ip', '-n', name, 'link', 'add', 'b0', 'type', 'bridge'),
             ('ip', '-n', name, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1'),
             ('ip', 'netns', 'exec', name, 'nft', 'add table ip troupe; add set ip troupe deaf { type ipv4_addr; }; '
              'add chain ip troupe in { type filter hook input priority 0; }; '
              'add rule ip troupe in ip saddr @deaf drop')]
    try:
        for step in steps:
            done = quiet(*step)
            if done.returncode:
                return f'`{" ".join(step)}`: {done.stdout.strip().splitlines()[-1:]}'
    finally:
        quiet('ip', 'netns', 'del', name)


def _mount():
    if os.geteuid() != 0:
        return 'needs root'
    with tempfile.TemporaryDirectory() as at:
        done = quiet('mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', at)
        if done.returncode:
            return done.stdout.strip()
        quiet('umount', at)


def faketime_library():
    return next((path for path in FAKETIME if os.path.exists(path)), None)


def _faketime():
    library = faketime_library()
    if not library:
        return 'libfaketime is not installed'
    year = quiet('/usr/bin/date', '+%Y', env={'LD_PRELOAD': library, 'FAKETIME': '+3700d'}).stdout.strip()
    real = quiet('/usr/bin/date', '+%Y').stdout.strip()
    if not year.isdigit() or int(year) < int(real) + 9:
        return f'libfaketime does not move the clock: {year}'


def probe():
    """name -> None, or why it is not there. Signals and the proxy need nothing."""
    return {'signals': None, 'proxy': None, 'namespaces': _namespaces(), 'small mount': _mount(),
            'wall clock': _faketime()}
