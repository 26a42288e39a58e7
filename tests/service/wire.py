"""Just enough of weir's frame and of protobuf to read messages in tests, without generated code (a second reading of the formats)."""
import struct


def frame(raw):
    """(message type, key, body) of one frame."""
    magic, version = raw[:2], raw[2]
    kind, _schema, key_size = struct.unpack_from("<HHH", raw, 4)
    (body_size,) = struct.unpack_from("<I", raw, 12)
    more_size = int.from_bytes(raw[62:64], "little")
    body = 64 + key_size + more_size
    assert magic == b"WF" and version == 1 and len(raw) == body + body_size + 4
    return kind, raw[64:64 + key_size].decode(), raw[body:body + body_size]


def created_ms(raw):
    """When the frame was made."""
    return int.from_bytes(raw[56:62], "little")


def crc32c(data):
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ 0xffffffff


def framed(kind, body, key=b"", event_id=bytes(16), created_ms=0, version=1):
    """The other way round: a whole frame, its checksum right."""
    head = b"WF\x01\x00" + struct.pack("<HHHxxI", kind, version, len(key), len(body)) + event_id + bytes(24) + created_ms.to_bytes(6, "little") + bytes(2)
    raw = head + key + body
    return raw + struct.pack("<I", crc32c(raw))


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data):
    """{field number: [values]}; numbers as int, everything else as bytes."""
    out, at = {}, 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            width = {1: 8, 5: 4}[kind]
            value, at = data[at:at + width], at + width
        out.setdefault(number, []).append(value)
    return out


def one(message, number, default=0):
    return message.get(number, [default])[0]


def _encode_varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def encode(values):
    """A message from [(field number, int | str | bytes)]."""
    out = b""
    for number, value in values:
        if isinstance(value, int):
            out += _encode_varint(number << 3) + _encode_varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += _encode_varint(number << 3 | 2) + _encode_varint(len(data)) + data
    return out
