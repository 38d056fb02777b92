#!/usr/bin/python3
"""Creates, describes or deletes one topic, for tests that need it as a step."""
import argparse

from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('command', choices=['create', 'delete', 'describe'])
parser.add_argument('--bootstrap', required=True)
parser.add_argument('--topic', required=True)
parser.add_argument('--partitions', type=int, default=1)
parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE')
args = parser.parse_args()
admin = AdminClient({'bootstrap.servers': args.bootstrap, 'broker.address.family': 'v4'})

if args.command == 'create':
    config = dict(pair.split('=', 1) for pair in args.set)
    admin.create_topics([NewTopic(args.topic, args.partitions, 1, config=config)])[args.topic].result(30)
elif args.command == 'delete':
    admin.delete_topics([args.topic])[args.topic].result(30)
else:
    print(f'partitions={len(admin.list_topics(args.topic, timeout=30).topics[args.topic].partitions)}')
    resource = ConfigResource(ConfigResource.Type.TOPIC, args.topic)
    for name, entry in sorted(admin.describe_configs([resource])[resource].result(30).items()):
        if entry.source == 1:  # set for this topic
            print(f'{name}={entry.value}')
