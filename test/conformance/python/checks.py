"""Says to a simulator what Microsoft's Python clients and the Azure CLI say, byte for byte, and checks the answers.

usage: checks.py ENV_FILE     (the file of iothub-simulator --env-file)

Prints a line for each check; ends with 1 if one fails. Standard library only. What is said is taken from the AMQP specification and
from what azure-eventhub 5.11 (_pyamqp and uamqp 1.5.3) and the extension azure-iot 0.23 of the Azure CLI were seen to send.
"""
import sys
import time
import traceback

import amqp
from peer import SAS, Peer, Site

CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


def equal(got, want, what):
    assert got == want, f'{what}: got {got!r}, expected {want!r}'


def reader(site, selector="amqp.annotation.x-opt-offset > '-1'", address=None, properties=None):
    peer = Peer(site)
    equal(peer.put_token(SAS, site.events_token())['status-code'], 202, 'put-token')
    peer.attach(address or site.url(), True, selector, properties)
    return peer


@check
def performatives_are_whole(site):
    """_pyamqp reads frame[11] of a transfer, frame[13] of an attach, error[2] of a detach."""
    send_event(site)
    peer = reader(site, "amqp.annotation.x-opt-offset > '-1'", address=site.url(partition_of(site)))
    peer.expect(amqp.ATTACH)
    peer.expect(amqp.TRANSFER)
    peer.send(amqp.FLOW, amqp.uint(0), amqp.uint(5000), amqp.uint(0), amqp.uint(5000), *[amqp.null()] * 5, amqp.boolean(True))
    peer.expect(amqp.FLOW)
    peer.attach('nothing/like/this', True)
    equal(len(peer.refusal()), amqp.FIELDS[amqp.ERROR], 'fields of an error')
    peer.send(amqp.END)
    peer.expect(amqp.END)
    peer.send(amqp.CLOSE)
    peer.expect(amqp.CLOSE)
    for code, fields, body in peer.frames:
        equal(len(fields), amqp.FIELDS[code], 'fields of ' + amqp.NAMES[code])
        equal(body[:3], bytes([0x00, 0x53, code]), 'descriptor of ' + amqp.NAMES[code])
        assert body[3] in (0xC0, 0xD0), f'{amqp.NAMES[code]} is a list of the form {body[3]:#x}, which _pyamqp does not read'
    missing = set(amqp.NAMES) - {code for code, _, _ in peer.frames}
    assert not missing, f'performatives that were not seen: {missing}'


@check
def an_attach_has_properties(site):
    """azure-eventhub 5.11: self.properties.update(frame[13])."""
    peer = reader(site)
    fields, _ = peer.expect(amqp.ATTACH)
    assert isinstance(fields[13], dict), f'properties {fields[13]!r}'
    assert fields[5] is not None and fields[6] is not None, 'source or target is null, which means refused'


@check
def partitions_are_addressed_by_url(site):
    for address in (site.url(), site.url().replace('amqps', 'sb'), site.url()[len('amqps://' + site.namespace):], site.url() + '/'):
        fields, _ = reader(site, address=address).expect(amqp.ATTACH)
        assert fields[5] is not None, address


@check
def a_url_of_nothing_is_not_found(site):
    equal(str(reader(site, address=site.url(group='nobody')).refusal()[0]), 'amqp:not-found', 'condition')


@check
def a_signature_may_be_put_as_jwt(site):
    for kind in (SAS, 'jwt'):
        equal(Peer(site).put_token(kind, site.events_token())['status-code'], 202, kind)
    equal(Peer(site).put_token('jwt', site.events_token() + 'x')['status-code'], 401, 'a wrong signature')


@check
def the_enqueued_time_has_two_spellings(site):
    for selector in ("amqp.annotation.x-opt-enqueued-time > '1700000000000'", 'amqp.annotation.x-opt-enqueuedtimeutc > 1700000000000'):
        fields, _ = reader(site, selector).expect(amqp.ATTACH)
        assert fields[5] is not None, selector


@check
def a_lower_owner_level_is_told_so(site):
    first = reader(site, properties=amqp.mapping(amqp.symbol('com.microsoft:epoch'), amqp.long(2)))
    first.expect(amqp.ATTACH)
    second = reader(site, properties=amqp.mapping(amqp.symbol('com.microsoft:epoch'), amqp.long(1)))
    equal(str(second.refusal()[0]), 'amqp:link:stolen', 'condition')


@check
def the_hub_redirects(site):
    """az iot hub monitor-events begins at the hub's own endpoint."""
    policy, host = site.hub['SharedAccessKeyName'], site.hub['HostName']
    user = f"{policy}@sas.root.{host.split('.')[0]}"
    peer = Peer(site, plain=(user, site.hub_token()))
    peer.attach(f'amqps://{host}/messages/events/$management', True)
    condition, _, info = peer.refusal()
    equal(str(condition), 'amqp:link:redirect', 'condition')
    equal(info['hostname'], site.namespace, 'hostname')
    equal(info['address'], f'amqps://{site.namespace}/{site.name}', 'address')
    peer = Peer(site, plain=(user, site.hub_token() + 'x'))
    peer.attach(f'amqps://{host}/messages/events/$management', True)
    equal(str(peer.refusal()[0]), 'amqp:unauthorized-access', 'condition without a token')


@check
def times_of_methods_may_be_texts(site):
    """az sends its default, "responseTimeoutInSeconds":"30"."""
    body = {'methodName': 'getMaxMinReport', 'payload': '2020-01-01T00:00:00Z', 'responseTimeoutInSeconds': '30', 'connectTimeoutInSeconds': '30'}
    status, _, answer = site.rest('POST', '/twins/python-1/methods', body)
    equal((status, answer and answer.get('status')), (200, 200), 'status')
    status, _, answer = site.rest('POST', '/twins/python-1/methods', {**body, 'responseTimeoutInSeconds': '301'})
    equal(status, 400, 'status of a time that is too long')
    assert 'responseTimeoutInSeconds is 301' in answer['Message'], answer


@check
def a_change_has_one_time(site):
    """operationTimestamp of an event is the $lastUpdated in its body."""
    peer = reader(site, "amqp.annotation.x-opt-offset > '@latest'", address=site.url(partition_of(site)))
    peer.expect(amqp.ATTACH)
    site.rest('PATCH', '/twins/python-1', {'properties': {'desired': {'interval': 7}}})
    while True:
        _, payload = peer.expect(amqp.TRANSFER)
        message = amqp.sections(payload)
        if message[0x74].get('iothub-message-schema') == 'twinChangeNotification' and b'"desired"' in message[0x75]:
            break
    stamp = message[0x74]['operationTimestamp'].replace('+00:00', '')
    shown = stamp.rstrip('0').rstrip('.').encode()
    assert b'"$lastUpdated":"' + shown + b'Z"' in message[0x75], (stamp, message[0x75])


@check
def children_of_edge_devices(site):
    """az iot hub device-identity children list."""
    status, _, edge = site.rest('PUT', '/devices/python-edge', {'deviceId': 'python-edge', 'capabilities': {'iotEdge': True}})
    equal(status, 200, 'status')
    site.rest('PUT', '/devices/python-leaf', {'deviceId': 'python-leaf', 'deviceScope': edge['deviceScope']})
    query = "select deviceId from devices where array_contains(parentScopes, '%s')" % edge['deviceScope']
    equal(site.rest('POST', '/devices/query', {'query': query})[2], [{'deviceId': 'python-leaf'}], 'children')


@check
def activity_is_noted(site):
    status, _, device = site.rest('GET', '/devices/python-1')
    assert not device['lastActivityTime'].startswith('0001'), device


@check
def modules(site):
    """az iot hub module-identity and module-twin."""
    path = '/devices/python-1/modules/m1'
    status, headers, made = site.rest('PUT', path, {'moduleId': 'm1', 'deviceId': 'python-1', 'authentication': {'type': 'sas'}})
    equal((status, made['moduleId'], headers['ETag']), (200, 'm1', '"%s"' % made['etag']), 'made')
    equal(site.rest('PUT', path, {'moduleId': 'm1', 'deviceId': 'python-1'})[0], 409, 'made again')
    equal([m['moduleId'] for m in site.rest('GET', '/devices/python-1/modules')[2]], ['m1'], 'list')
    status, _, twin = site.rest('PATCH', '/twins/python-1/modules/m1', {'properties': {'desired': {'x': 1}}}, **{'If-Match': '"*"'})
    equal((status, twin['properties']['desired']['x']), (200, 1), 'twin')
    found = site.rest('POST', '/devices/query', {'query': "select * from devices.modules where moduleId = 'm1'"})[2]
    equal([row['deviceId'] for row in found], ['python-1'], 'query')
    equal(site.rest('DELETE', path, **{'If-Match': '"*"'})[0], 204, 'deleted')
    equal(site.rest('GET', path)[2].get('errorCode'), 404010, 'gone')


@check
def configurations(site):
    """az iot hub configuration create, show, show-metric, update, delete."""
    body = {'id': 'python', 'schemaVersion': '2.0', 'content': {'deviceContent': {'properties.desired.chosen': {'a': 1}}}, 'metrics': {},
            'targetCondition': "deviceId = 'python-1'", 'etag': '*', 'priority': 3}
    status, _, made = site.rest('PUT', '/configurations/python', body)
    equal((status, made['etag'], made['priority']), (200, 'MQ==', 3), 'made')
    until('the configuration is applied', lambda: site.rest('GET', '/twins/python-1')[2]['properties']['desired'].get('chosen') == {'a': 1})
    twin = site.rest('GET', '/twins/python-1')[2]
    equal(twin['properties']['desired']['$metadata']['chosen']['a']['$lastUpdatedBy'], 'python', 'writer')
    until('it is counted', lambda: site.rest('GET', '/configurations/python')[2]['systemMetrics']['results'] == {'targetedCount': 1, 'appliedCount': 1})
    query = site.rest('GET', '/configurations/python')[2]['systemMetrics']['queries']['appliedCount']
    equal(site.rest('POST', '/devices/query', {'query': query})[2], [{'deviceId': 'python-1'}], 'metric')
    equal(site.rest('PUT', '/configurations/python', {**body, 'priority': '4'}, **{'If-Match': '"MQ=="'})[2]['priority'], 4, 'updated')
    equal(site.rest('DELETE', '/configurations/python', **{'If-Match': '"*"'})[0], 204, 'deleted')
    equal(site.rest('GET', '/configurations')[2], [], 'list')


@check
def jobs(site):
    """az iot hub job create, list, show."""
    name = 'python-%d' % time.time()
    status, _, made = site.rest('PUT', '/jobs/v2/' + name, {
        'jobId': name, 'type': 'scheduleUpdateTwin', 'queryCondition': "deviceId = 'python-1'", 'maxExecutionTimeInSeconds': 3600,
        'updateTwin': {'etag': '*', 'tags': {'job': name}}})
    equal((status, made['status']), (200, 'queued'), 'made')
    until('the job is completed', lambda: site.rest('GET', '/jobs/v2/' + name)[2]['status'] == 'completed')
    equal(site.rest('GET', '/twins/python-1')[2]['tags']['job'], name, 'tag')
    assert name in [j['jobId'] for j in site.rest('GET', '/jobs/v2/query?jobType=scheduleUpdateTwin')[2]]
    rows = site.rest('POST', '/devices/query', {'query': "select * from devices.jobs where devices.jobs.jobId = '%s'" % name})[2]
    equal([(r['deviceId'], r['status']) for r in rows], [('python-1', 'completed')], 'rows')
    equal(site.rest('GET', '/jobs')[2], [], 'import and export jobs')


def until(what, ok):
    deadline = time.monotonic() + 20
    while not ok():
        assert time.monotonic() < deadline, f'waited 20 s until {what}'
        time.sleep(0.05)


def send_event(site):
    site.debug('POST', '/devices/python-1/telemetry', {'body': {'temperature': 12}})


def partition_of(site):
    """The partition of the events of the device."""
    until('there is an event', lambda: site.debug('GET', '/events?device=python-1&limit=1'))
    return site.debug('GET', '/events?device=python-1&limit=1')[0]['partition']


def main(path):
    site, failed = Site(path), 0
    if site.rest('GET', '/devices/python-1')[0] == 404:
        site.debug('POST', '/devices', {'id': 'python-1', 'model': 'dtmi:com:example:Thermostat;1'})
    for f in CHECKS:
        try:
            f(site)
            print('PASS', f.__name__)
        except Exception:
            failed += 1
            print('FAIL', f.__name__)
            traceback.print_exc(file=sys.stdout)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
