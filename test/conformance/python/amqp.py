"""AMQP 1.0 as far as these checks say and read it ("OASIS AMQP Version 1.0", parts 1 and 2). Standard library only."""
import struct

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
ERROR, SOURCE, TARGET = 0x1D, 0x28, 0x29
# How many fields the performatives have, and an error. azure-eventhub for Python reads them by the index of their last field.
FIELDS = {OPEN: 10, BEGIN: 8, ATTACH: 14, FLOW: 11, TRANSFER: 11, DISPOSITION: 6, DETACH: 3, END: 1, CLOSE: 1, ERROR: 3}
NAMES = {OPEN: 'open', BEGIN: 'begin', ATTACH: 'attach', FLOW: 'flow', TRANSFER: 'transfer', DISPOSITION: 'disposition',
         DETACH: 'detach', END: 'end', CLOSE: 'close'}


class Symbol(str):
    """An AMQP symbol."""


class Described:
    """A value with a descriptor."""

    def __init__(self, descriptor, value):
        self.descriptor, self.value = descriptor, value


def null():
    return b'\x40'


def boolean(v):
    return b'\x41' if v else b'\x42'


def ubyte(v):
    return b'\x50' + bytes([v])


def ushort(v):
    return b'\x60' + struct.pack('>H', v)


def uint(v):
    return b'\x70' + struct.pack('>I', v)


def ulong(v):
    return b'\x80' + struct.pack('>Q', v)


def long(v):
    return b'\x81' + struct.pack('>q', v)


def variable(code, v):
    return bytes([code]) + struct.pack('>I', len(v)) + v


def binary(v):
    return variable(0xB0, v)


def string(v):
    return variable(0xB1, v.encode())


def symbol(v):
    return variable(0xB3, v.encode())


def compound(code, parts):
    body = b''.join(parts)
    return bytes([code]) + struct.pack('>II', len(body) + 4, len(parts)) + body


def sequence(*parts):
    return compound(0xD0, parts)


def mapping(*parts):
    return compound(0xD1, parts)


def described(code, value):
    return b'\x00\x53' + bytes([code]) + value


def frame(body, kind=0, channel=0):
    return struct.pack('>IBBH', len(body) + 8, 2, kind, channel) + body


FIXED = {5: 1, 6: 2, 7: 4, 8: 8, 9: 16}
SIGNED = (0x51, 0x54, 0x55, 0x61, 0x71, 0x81, 0x83)
SIMPLE = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}


def decode(b, i=0):
    """Reads a value at an index, and returns it and the index behind it."""
    code = b[i]
    if code == 0:
        descriptor, i = decode(b, i + 1)
        value, i = decode(b, i)
        return Described(descriptor, value), i
    return decode_as(code, b, i + 1)


def decode_as(code, b, i):
    if code in SIMPLE:
        return SIMPLE[code], i
    if code == 0x45:
        return [], i
    width = code >> 4
    if width in FIXED:
        raw = b[i:i + FIXED[width]]
        if width == 9:
            return raw, i + 16
        if code in (0x72, 0x82):
            return struct.unpack('>f' if code == 0x72 else '>d', raw)[0], i + len(raw)
        return int.from_bytes(raw, 'big', signed=code in SIGNED), i + len(raw)
    long_form = width in (0xB, 0xD, 0xF)
    size, i = (int.from_bytes(b[i:i + 4], 'big'), i + 4) if long_form else (b[i], i + 1)
    if width in (0xA, 0xB):
        return plain(code, b[i:i + size]), i + size
    end = i + size
    count, i = (int.from_bytes(b[i:i + 4], 'big'), i + 4) if long_form else (b[i], i + 1)
    if width >= 0xE:
        return decode_array(b, i, count), end
    values = []
    for _ in range(count):
        value, i = decode(b, i)
        values.append(value)
    return (dict(zip(values[::2], values[1::2])) if code in (0xC1, 0xD1) else values), end


def decode_array(b, i, count):
    code, i, values = b[i], i + 1, []
    for _ in range(count):
        value, i = decode_as(code, b, i)
        values.append(value)
    return values


def plain(code, raw):
    if code in (0xA0, 0xB0):
        return bytes(raw)
    text = raw.decode()
    return Symbol(text) if code in (0xA3, 0xB3) else text


def sections(payload):
    """Returns the sections of a message by their descriptors."""
    found, i = {}, 0
    while i < len(payload):
        section, i = decode(payload, i)
        found[section.descriptor] = section.value
    return found
