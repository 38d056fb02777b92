#!/usr/bin/python3
"""Writes lines of standard input ("key,value") in lz4 batches with kafka-python (Debian's, 2.0), and prints
"partition offset key,value" of each as it was acknowledged. It is here because librdkafka sends lz4 only to brokers that
know consumer groups.
"""
import argparse
import sys

import kafka

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--bootstrap', required=True)
parser.add_argument('--topic', required=True)
args = parser.parse_args()

producer = kafka.KafkaProducer(bootstrap_servers=args.bootstrap, compression_type='lz4', acks='all', linger_ms=20,
                               batch_size=1 << 16, request_timeout_ms=60_000)
sent = []
for line in sys.stdin.buffer:
    line = line.rstrip(b'\n')
    key, value = line.split(b',', 1)
    sent.append((line, producer.send(args.topic, value, key)))
producer.flush(100)
for line, future in sent:
    at = future.get(0)  # raises what went wrong
    sys.stdout.buffer.write(b'%d %d %s\n' % (at.partition, at.offset, line))
producer.close()
