"""A TAP in a namespace as the end of a socket that carries frames, each after its length (4 bytes, big-endian), as QEMU's
stream sockets do:

    frames.py DEVICE SOCKET      until the socket's other end closes it; "ready" once both are there
"""

import fcntl
import os
import socket
import struct
import sys
import threading
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
LIMIT_S = 10


def connect(path):
    end = time.monotonic() + LIMIT_S
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
            return sock
        except OSError:
            sock.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def to_socket(tap, sock):
    while True:
        frame = os.read(tap, 1 << 17)
        sock.sendall(struct.pack("!I", len(frame)) + frame)


def exactly(sock, length):
    data = b""
    while len(data) < length:
        part = sock.recv(length - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


def main(device, path):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP | IFF_NO_PI))
    sock = connect(path)
    threading.Thread(target=to_socket, args=(tap, sock), daemon=True).start()
    print("ready", flush=True)
    while True:
        (length,) = struct.unpack("!I", exactly(sock, 4))
        try:
            os.write(tap, exactly(sock, length))
        except OSError:
            # The device is down.
            pass


main(*sys.argv[1:])
