"""Runs Microsoft's own Python clients against a simulator, where they are installed: Debian's python3-azure (azure-eventhub) and
python3-uamqp, which is what the Azure CLI uses.

usage: real.py ENV_FILE [require]

Prints a line for each check; ends with 1 if one fails, or if a client is missing and "require" is given.
"""
import socket
import sys
import threading
import traceback

from checks import equal, partition_of, until
from peer import Site

GROUP = '$default'
CHECKS = []


class Missing(Exception):
    """A client is not installed."""


def check(f):
    CHECKS.append(f)
    return f


def eventhub():
    try:
        import azure.eventhub
    except ImportError as e:
        raise Missing(f'azure-eventhub: {e}') from e
    return azure.eventhub


def uamqp():
    try:
        import uamqp as module
        import uamqp.authentication
    except ImportError as e:
        raise Missing(f'uamqp: {e}') from e
    return module


def reach(site):
    """Address and port of the simulator."""
    address, port = site.env['EVENTHUB_ADDRESS'].rsplit(':', 1)
    return address.strip('[]'), int(port)


def dial_the_simulator(site):
    """Whoever looks up the event hub's host, which does not exist, finds the simulator. The option for that means WebSocket."""
    address, port = reach(site)
    look_up = socket.getaddrinfo

    def found(host, *rest, **more):
        if host == site.namespace:
            return look_up(address, port, *rest[1:], **more)
        return look_up(host, *rest, **more)

    socket.getaddrinfo = found


def consumer(site, group=GROUP):
    return eventhub().EventHubConsumerClient.from_connection_string(
        site.env['EVENTHUB_CONNECTION_STRING'], consumer_group=group, retry_total=0, connection_verify=site.env['HUB_CA_FILE'])


def receive(site):
    """Receives until telemetry of the device has come, and returns it."""
    client, found, failures, done = consumer(site), [], [], threading.Event()

    def on_event(_, event):
        if event and event.system_properties.get(b'iothub-message-source') == b'Telemetry':
            found.append(event)
            done.set()

    def on_error(_, error):
        failures.append(error)
        done.set()

    partition = str(partition_of(site))
    thread = threading.Thread(target=client.receive, daemon=True, kwargs=dict(
        on_event=on_event, on_error=on_error, partition_id=partition, starting_position='-1'))
    thread.start()
    done.wait(30)
    client.close()
    thread.join(10)
    assert not failures, f'{type(failures[0]).__name__}: {failures[0]}'
    assert found, 'no event within 30 s'
    return found[0]


def telemetry(event):
    equal(event.body_as_json(), {'temperature': 12}, 'body')
    equal(event.system_properties[b'iothub-connection-device-id'], b'python-1', 'device')
    equal(event.system_properties[b'dt-dataschema'], b'dtmi:com:example:Thermostat;1', 'model')


@check
def pyamqp_reads(site):
    telemetry(receive(site))


@check
def pyamqp_reads_properties(site):
    with consumer(site) as client:
        equal(client.get_partition_ids(), ['0', '1', '2', '3'], 'partitions')
        equal(client.get_partition_properties('0')['eventhub_name'], site.name, 'event hub')


@check
def pyamqp_is_told_what_is_wrong(site):
    client, failures, done = consumer(site, 'nobody'), [], threading.Event()

    def on_error(_, error):
        failures.append(error)
        done.set()

    thread = threading.Thread(target=client.receive, daemon=True, kwargs=dict(
        on_event=lambda *_: None, on_error=on_error, partition_id='0', starting_position='-1'))
    thread.start()
    done.wait(30)
    client.close()
    assert failures and 'nobody' in str(failures[0]), failures


@check
def pyamqp_sends(site):
    with eventhub().EventHubProducerClient.from_connection_string(
            site.env['EVENTHUB_CONNECTION_STRING'], retry_total=0, connection_verify=site.env['HUB_CA_FILE']) as client:
        batch = client.create_batch()
        batch.add(eventhub().EventData('x' * 200_000))
        client.send_batch(batch)


@check
def uamqp_reads(site):
    """As the CLI does after it was redirected, with its filter."""
    module = uamqp()
    address, port = reach(site)
    login = module.authentication.SASTokenAuth.from_shared_access_key(
        f'sb://{site.namespace}/{site.name}', site.events['SharedAccessKeyName'], site.events['SharedAccessKey'],
        port=port, verify=site.env['HUB_CA_FILE'], custom_endpoint_hostname=address)
    source = module.address.Source(site.url(partition_of(site)))
    source.set_filter(b'amqp.annotation.x-opt-enqueuedtimeutc > 1700000000000')
    client = module.ReceiveClient(source, auth=login, timeout=30000, prefetch=10)
    try:
        messages = client.receive_message_batch(max_batch_size=1)
        assert messages and messages[0].annotations[b'iothub-connection-device-id'] == b'python-1', messages
    finally:
        client.close()


@check
def the_cli_is_redirected(site):
    """What az iot hub monitor-events does first."""
    module = uamqp()
    host, policy = site.hub['HostName'], site.hub['SharedAccessKeyName']
    address, port = reach(site)
    login = module.authentication.SASLPlain(
        address, f"{policy}@sas.root.{host.split('.')[0]}", site.hub_token(), port=port, verify=site.env['HUB_CA_FILE'])
    client = module.ReceiveClient(module.address.Source(f'amqps://{host}/messages/events/$management'), auth=login, timeout=30000, prefetch=1)
    try:
        client.receive_message_batch(max_batch_size=1)
        raise AssertionError('not redirected')
    except module.errors.LinkRedirect as redirect:
        equal(redirect.hostname, site.namespace.encode(), 'hostname')
        equal(redirect.address, f'amqps://{site.namespace}/{site.name}'.encode(), 'address')
    finally:
        client.close()


def main(path, require):
    site, failed = Site(path), 0
    if site.rest('GET', '/devices/python-1')[0] == 404:
        site.debug('POST', '/devices', {'id': 'python-1', 'model': 'dtmi:com:example:Thermostat;1'})
    site.debug('POST', '/devices/python-1/telemetry', {'body': {'temperature': 12}})
    until('there is an event', lambda: site.debug('GET', '/events/counts').get('Telemetry'))
    dial_the_simulator(site)
    for f in CHECKS:
        try:
            f(site)
            print('PASS', f.__name__)
        except Missing as e:
            failed += require
            print('SKIP', f.__name__, e)
        except Exception:
            failed += 1
            print('FAIL', f.__name__)
            traceback.print_exc(file=sys.stdout)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], len(sys.argv) > 2))
