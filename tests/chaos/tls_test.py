#!/usr/bin/python3
"""Nodes that trust the same authority form a cluster; others are turned away, and both sides say why."""
import os
import subprocess
import unittest

from cluster import wait_for
from scenario import Scenario


def openssl(*arguments):
    done = subprocess.run(['openssl', *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f'openssl {" ".join(arguments)}: {done.stdout}'


class Authority:
    def __init__(self, folder, name):
        os.makedirs(folder, exist_ok=True)
        self._at = os.path.join(folder, name)
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
                '-subj', f'/CN={name}', '-keyout', f'{self._at}.key', '-out', f'{self._at}.pem')

    def options(self, n):
        """Of node `n`, with a certificate of its own."""
        own = f'{self._at}-{n}'
        openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', f'/CN=node-{n}',
                '-keyout', f'{own}.key', '-out', f'{own}.csr')
        openssl('x509', '-req', '-in', f'{own}.csr', '-CA', f'{self._at}.pem', '-CAkey', f'{self._at}.key',
                '-CAcreateserial', '-days', '2', '-out', f'{own}.pem')
        return [f'--cluster-certificate={own}.pem', f'--cluster-key={own}.key',
                f'--cluster-authority={self._at}.pem']


class Tls(unittest.TestCase):
    def test_three_nodes_with_certificates_replicate_and_strangers_stay_outside(self):
        def prepare(cluster):
            ours = Authority(os.path.join(cluster.home, 'certificates'), 'ours')
            theirs = Authority(os.path.join(cluster.home, 'certificates'), 'theirs')
            for n in (1, 2, 3):
                cluster[n].options = cluster[n].options + ours.options(n)
            cluster[4].options = cluster[4].options + theirs.options(4)

        with Scenario(nodes=5, prepare=prepare) as s:  # 4: of another authority; 5: plain
            self.cluster = s.cluster
            s.cluster.start(1, 2, 3)
            s.serve()
            leader = s.cluster.leader(s.topic)
            leader.kill()
            self.assertNotEqual(s.cluster.leader(s.topic).id, leader.id)
            s.load.wait_progress(200)
            s.cluster.start(leader.id)
            s.cluster.wait_in_sync(s.topic)

            s.cluster.start(4, 5, wait=False)
            why = "do not accept each other's certificates"
            for n in (4, 5):
                wait_for(f'node {n} says why it is not let in', lambda: self.says(n, 'peer_unreachable', why) and
                         self.says(n, 'waiting_for_cluster', ''), 20)
            self.assertTrue(any(self.says(n, 'tls_handshake_failed', 'next_step') for n in (1, 2, 3)))
            # They are dialled by nobody, since nobody took them for a node.
            for n in (1, 2, 3):
                self.assertFalse(self.says(n, 'link_up', 'peer=4') or self.says(n, 'link_up', 'peer=5'))
            s.load.wait_progress(200)
            for n in (1, 2, 3):
                self.assertEqual({p.leader for p in s.cluster[n].metadata(s.topic).values()} - {1, 2, 3}, set())
            for n in (4, 5):
                self.assertTrue(s.cluster[n].running())
                s.cluster[n].kill()
            s.load.finish()
            s.judge()

    def says(self, n, event, why):
        node = self.cluster[n]
        with open(node.log_path(node.life), errors='replace') as log:
            return any(event in line and why in line for line in log)


if __name__ == '__main__':
    unittest.main(verbosity=2)
