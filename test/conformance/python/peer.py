"""A client of the simulator that says what Microsoft's Python clients say. Standard library only."""
import base64
import hashlib
import hmac
import json
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

import amqp
from amqp import binary, boolean, described, frame, mapping, null, sequence, string, symbol, ubyte, uint, ushort

SAS = 'servicebus.windows.net:sastoken'
SELECTOR = 'apache.org:selector-filter:string'


class Site:
    """What the file of --env-file says."""

    def __init__(self, path):
        with open(path) as lines:
            self.env = dict(line.rstrip('\n').split('=', 1) for line in lines if '=' in line)
        self.events = pairs(self.env['EVENTHUB_CONNECTION_STRING'])
        self.hub = pairs(self.env['HUB_CONNECTION_STRING'])
        self.namespace = self.events['Endpoint'][len('sb://'):].strip('/')
        self.name = self.events['EntityPath']
        self.tls = ssl.create_default_context(cafile=self.env['HUB_CA_FILE'])

    def signature(self, uri, key, policy):
        resource, expiry = urllib.parse.quote_plus(uri), int(time.time()) + 3600
        digest = hmac.new(key, f'{resource}\n{expiry}'.encode(), hashlib.sha256).digest()
        return 'SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s' % (
            resource, urllib.parse.quote_plus(base64.b64encode(digest)), expiry, policy)

    def events_token(self):
        """The key counts as text at the event hub."""
        return self.signature(f'sb://{self.namespace}/{self.name}', self.events['SharedAccessKey'].encode(), self.events['SharedAccessKeyName'])

    def hub_token(self):
        return self.signature(self.hub['HostName'], base64.b64decode(self.hub['SharedAccessKey']), self.hub['SharedAccessKeyName'])

    def url(self, partition=0, group='$default'):
        """How uamqp and _pyamqp address a partition."""
        return f'amqps://{self.namespace}/{self.name}/ConsumerGroups/{group}/Partitions/{partition}'

    def rest(self, method, path, body=None, **headers):
        """Returns status, headers and what the body decodes to."""
        request = urllib.request.Request(
            f"{self.env['HUB_ENDPOINT']}{path}{'&' if '?' in path else '?'}api-version=2021-04-12",
            None if body is None else json.dumps(body).encode(), method=method,
            headers={'Authorization': self.hub_token(), 'Content-Type': 'application/json; charset=utf-8', **headers})
        try:
            answer = urllib.request.urlopen(request, context=self.tls)
        except urllib.error.HTTPError as refusal:
            answer = refusal
        text = answer.read().decode()
        return answer.status, dict(answer.headers), json.loads(text) if text else None

    def debug(self, method, path, body=None):
        request = urllib.request.Request(self.env['SIMULATOR_DEBUG_URL'] + path, None if body is None else json.dumps(body).encode(), method=method)
        with urllib.request.urlopen(request) as answer:
            text = answer.read().decode()
        return json.loads(text) if text else None


def pairs(connection_string):
    return dict(part.split('=', 1) for part in connection_string.split(';'))


class Peer:
    """A connection with one session. frames are all that came, as descriptor, fields and payload."""

    def __init__(self, site, plain=None):
        host, port = site.env['EVENTHUB_ADDRESS'].rsplit(':', 1)
        host = host.strip('[]')
        self.site, self.frames, self.handle = site, [], 0
        self.socket = site.tls.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)
        self.socket.settimeout(5)
        self.login(plain)
        self.send(amqp.OPEN, string('peer'), string(site.namespace), uint(65536), ushort(65535))
        self.send(amqp.BEGIN, null(), uint(0), uint(65536), uint(65536))
        self.expect(amqp.OPEN)
        self.expect(amqp.BEGIN)

    def login(self, plain):
        self.socket.sendall(b'AMQP\x03\x01\x00\x00')
        self.read(8)
        self.frame()
        fields = [symbol('PLAIN'), binary(b'\0' + b'\0'.join(p.encode() for p in plain))] if plain else [symbol('ANONYMOUS')]
        self.socket.sendall(frame(described(0x41, sequence(*fields)), 1))
        self.frame()
        self.socket.sendall(b'AMQP\x00\x01\x00\x00')
        self.read(8)

    def read(self, n):
        got = b''
        while len(got) < n:
            more = self.socket.recv(n - len(got))
            if not more:
                raise EOFError('the connection ended')
            got += more
        return got

    def frame(self):
        return self.read(int.from_bytes(self.read(8)[:4], 'big') - 8)

    def send(self, code, *fields, payload=b''):
        self.socket.sendall(frame(described(code, sequence(*fields)) + payload))

    def next(self):
        while True:
            body = self.frame()
            if body:
                performative, i = amqp.decode(body)
                self.frames.append((performative.descriptor, performative.value, body))
                return performative.descriptor, performative.value, body[i:]

    def expect(self, code):
        """Skips what comes before."""
        while True:
            got, fields, payload = self.next()
            if got == code:
                return fields, payload
            if got == amqp.DETACH or got == amqp.CLOSE:
                raise AssertionError('%s instead of %s: %r' % (amqp.NAMES[got], amqp.NAMES[code], [getattr(f, 'value', f) for f in fields]))

    def attach(self, address, receive, selector=None, properties=None):
        self.handle += 1
        filters = mapping(symbol(SELECTOR), b'\x00' + symbol(SELECTOR) + string(selector)) if selector else null()
        source = described(amqp.SOURCE, sequence(string(address), *[null()] * 6, filters))
        self.send(amqp.ATTACH, string(f'link-{self.handle}'), uint(self.handle), boolean(receive), ubyte(0), ubyte(0), source,
                  described(amqp.TARGET, sequence(string(address))), null(), null(), null() if receive else uint(0), uint(0), null(), null(),
                  properties or null())
        if receive:
            self.send(amqp.FLOW, uint(0), uint(5000), uint(0), uint(5000), uint(self.handle), uint(0), uint(300))
        return self.handle

    def put_token(self, kind, token):
        """Returns the application properties of the answer."""
        self.attach('$cbs', True)
        self.expect(amqp.ATTACH)
        out = self.attach('$cbs', False)
        self.expect(amqp.FLOW)
        uri = f'sb://{self.site.namespace}/{self.site.name}'
        message = described(0x73, sequence(string('1')))
        message += described(0x74, mapping(string('name'), string(uri), string('operation'), string('put-token'), string('type'), string(kind)))
        message += described(0x77, string(token))
        self.send(amqp.TRANSFER, uint(out), uint(0), binary(b'\0\0\0\0'), uint(0), boolean(False), boolean(False), payload=message)
        _, payload = self.expect(amqp.TRANSFER)
        return amqp.sections(payload)[0x74]

    def refusal(self):
        """The fields of the error that a link ends with."""
        while True:
            code, fields, _ = self.next()
            if code == amqp.DETACH:
                return fields[2].value
