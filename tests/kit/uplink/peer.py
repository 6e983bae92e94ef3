"""The ends of what tests send through a socket uplink: servers of the world and of the guest, and their clients.

    peer.py serve [ADDR]         serves until it is killed, at ADDR or at every address of both versions; "ready"
    peer.py echo PORT            sends each datagram back, at every address; "ready"
    peer.py play ADDR PORT       standard input: a list of plays; they are played at once, each on its own connection
    peer.py try                  standard input: a list of attempts, made at once
    peer.py many ADDR PORT N     N connections at once, one byte there and back over each
    peer.py scan ADDR N S        begins to connect to N ports, waits S seconds, and gives up
    peer.py load ADDR PORT N L   N downloads of L bytes at once, each with its digest
    peer.py again ADDR PORT N    N connections one after the other from one port, each closed by the server first
    peer.py ask                  standard input: a list of datagrams, sent in order from one socket
    peer.py ports ADDR PORT N    a datagram from each of N source ports
    peer.py burst ADDR PORT N    N datagrams of one size and a shorter one, in one call; how many came back as they were
    peer.py forge DEVICE ERRORS  answers what comes in for an address of ERRORS, JSON, with that ICMP error; "ready"

Answers are JSON, one line each. Servers:

    TCP 9      a play: the first line has the server's part; its result is printed
    TCP 8082   HTTP: /bytes/N, /whoami
    UDP 9      how the datagram came, in a datagram; {"tos", "ttl"} of the question are those of the answer
    UDP 8007   each datagram back

A part of a play is a list of steps: ["send", N], ["sent"] (all is acknowledged), ["half"] (FIN), ["drain"] (read to the
end), ["read", N], ["come", N] (N bytes have come and are not read), ["broken"] (a reset has come), ["sleep", S],
["buffer", N] (bytes that Linux keeps for a reader), ["close"], ["reset"] (RST).
"""

import array
import errno
import fcntl
import hashlib
import http.server
import json
import os
import select
import socket
import socketserver
import struct
import sys
import threading
import time

SIOCOUTQ, FIONREAD = 0x5411, 0x541B
IP_TTL, IP_TOS, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_RECVTOS, IP_PMTUDISC_DO = 2, 1, 10, 11, 12, 13, 2
IPV6_RECVERR, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT, IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_DONTFRAG = 25, 51, 52, 66, 67, 62
IPV6_MTU_DISCOVER = 23
ETH_P_ALL, UDP_SEGMENT = 3, 103
BURST_SIZE = 1000
LIMIT_S = 20

# Any part of it follows from where it begins: a prefix of what was sent can be told from anything else.
PATTERN = hashlib.shake_128(b"akarino").digest(1 << 16)


def bytes_of(length):
    """The first `length` bytes of what every sender sends."""
    return (PATTERN * (length // len(PATTERN) + 1))[:length]


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def name_of(error):
    return errno.errorcode.get(error.errno, "timeout" if isinstance(error, socket.timeout) else str(error))


def plain(address):
    return address[7:] if address.startswith("::ffff:") else address


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def number_of(sock, request):
    value = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), request, value)
    return value[0]


def is_broken(sock):
    poll = select.poll()
    poll.register(sock, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def wait_until(holds):
    end = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > end:
            raise socket.timeout
        time.sleep(0.005)


def receive(sock, limit, result):
    """Reads `limit` bytes, or to the end: `result` gets how many there are by now, and where they are not right."""
    got = result["got"]
    limit += got
    while got < limit:
        part = sock.recv(min(1 << 16, limit - got))
        if not part:
            result["end"] = "eof"
            break
        at = got % len(PATTERN)
        if (PATTERN + PATTERN)[at:at + len(part)] != part:
            result["wrong"] = got
        got += len(part)
        result["got"] = got


def play(sock, steps):
    """Plays a part; the answer says what came, and how it ended."""
    result = {"got": 0, "end": "none"}
    sock.settimeout(LIMIT_S)
    try:
        for step, *words in steps:
            if step == "send":
                sock.sendall(bytes_of(words[0]))
            elif step == "sent":
                wait_until(lambda: number_of(sock, SIOCOUTQ) == 0)
            elif step == "come":
                wait_until(lambda: number_of(sock, FIONREAD) >= words[0])
            elif step == "broken":
                wait_until(lambda: is_broken(sock))
            elif step == "half":
                sock.shutdown(socket.SHUT_WR)
            elif step == "read":
                receive(sock, words[0], result)
            elif step == "drain":
                receive(sock, 1 << 40, result)
            elif step == "sleep":
                time.sleep(words[0])
            elif step == "buffer":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, words[0])
            elif step == "close":
                sock.close()
            elif step == "reset":
                reset(sock)
            else:
                raise ValueError(f"No step {step}")
    except OSError as error:
        result["end"] = name_of(error)
    sock.close()
    return result


def serve_play(sock):
    line = b""
    # One byte at a time: what follows belongs to the play.
    while not line.endswith(b"\n"):
        part = sock.recv(1)
        if not part:
            return sock.close()
        line += part
    request = json.loads(line)
    caller = plain(sock.getpeername()[0])
    say({"id": request["id"], "from": caller, **play(sock, request["steps"])})


def listen(family, address, port):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(1024)
    return sock


def serve_plays(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve_play, args=(sock,), daemon=True).start()


class Http(http.server.BaseHTTPRequestHandler):
    """See above."""

    def do_GET(self):
        is_bytes = self.path.startswith("/bytes/")
        body = bytes_of(int(self.path[7:])) if is_bytes else plain(self.client_address[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class HttpServer(http.server.ThreadingHTTPServer):
    request_queue_size = 1024

    def server_bind(self):
        # The library asks a name server for our name, which takes ten seconds where there is none.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def datagrams(address, port):
    sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    hear(sock)
    sock.bind((address, port))
    return sock


def hear(sock):
    """Asks for errors, and for TTL and TOS of each message."""
    if sock.family == socket.AF_INET6:
        for option in (IPV6_RECVERR, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS):
            sock.setsockopt(socket.IPPROTO_IPV6, option, 1)
    for option in (IP_RECVERR, IP_RECVTTL, IP_RECVTOS):
        sock.setsockopt(socket.IPPROTO_IP, option, 1)


def fields_of(control):
    found = {"ttl": None, "tos": None}
    for level, kind, data in control:
        value = data[0]
        if (level, kind) in ((socket.IPPROTO_IP, IP_TTL), (socket.IPPROTO_IPV6, IPV6_HOPLIMIT)):
            found["ttl"] = value
        if (level, kind) in ((socket.IPPROTO_IP, IP_TOS), (socket.IPPROTO_IPV6, IPV6_TCLASS)):
            found["tos"] = value
    return found


def control_of(is_v6, ttl, tos):
    level = socket.IPPROTO_IPV6 if is_v6 else socket.IPPROTO_IP
    kinds = (IPV6_HOPLIMIT, IPV6_TCLASS) if is_v6 else (IP_TTL, IP_TOS)
    pairs = [(kind, value) for kind, value in zip(kinds, (ttl, tos)) if value is not None]
    return [(level, kind, struct.pack("i", value)) for kind, value in pairs]


def serve_udp_echo(sock):
    while True:
        try:
            data, client = sock.recvfrom(1 << 16)
            sock.sendto(data, client)
        except OSError:
            pass


def serve_udp_fields(sock):
    while True:
        try:
            data, control, _, client = sock.recvmsg(1 << 16, 512)
            asked = json.loads(data) if data.startswith(b"{") else {}
            said = {"from": plain(client[0]), "port": client[1], **fields_of(control)}
            is_v6 = ":" in client[0] and not client[0].startswith("::ffff:")
            sock.sendmsg([json.dumps(said).encode()], control_of(is_v6, asked.get("ttl"), asked.get("tos")), 0, client)
        except OSError:
            pass


def serve(address="::"):
    HttpServer.address_family = family_of(address)
    works = [
        (serve_plays, [listen(family_of(address), address, 9)]),
        (HttpServer((address, 8082), Http).serve_forever, []),
        (serve_udp_echo, [datagrams(address, 8007)]),
        (serve_udp_fields, [datagrams(address, 9)]),
    ]
    for work, words in works:
        threading.Thread(target=work, args=words, daemon=True).start()
    say("ready")
    threading.Event().wait()


def at_once(work, items):
    """Does `work` for every item, all at once; the results in order."""
    results = [None] * len(items)

    def one(i):
        results[i] = work(items[i])

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(len(items))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def play_client(address, port, request):
    sock = socket.create_connection((address, port), LIMIT_S)
    sock.sendall(json.dumps({"id": request["id"], "steps": request["server"]}).encode() + b"\n")
    say({"id": request["id"], **play(sock, request["client"])})


def report(sock):
    """An entry of the error queue; None: there is none."""
    timeout = sock.gettimeout()
    # With a timeout Python would wait for one.
    sock.setblocking(False)
    try:
        _, control, _, to = sock.recvmsg(1 << 16, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return None
    finally:
        sock.settimeout(timeout)
    for level, kind, data in control:
        if (level, kind) not in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
            continue
        number, origin, icmp, code, _, info = struct.unpack_from("IBBBBI", data)
        is_v6 = level == socket.IPPROTO_IPV6
        at = data[24:40] if is_v6 else data[20:24]
        offender = socket.inet_ntop(socket.AF_INET6 if is_v6 else socket.AF_INET, at) if origin > 1 else None
        said = {"error": errno.errorcode[number], "icmp": f"{icmp}/{code}", "by": offender}
        return {**said, "mtu": info, "to": to[0] if to else None, "port": to[1] if to else None}
    return None


def try_one(attempt):
    """One attempt, to connect or to send a datagram, and what came of it within `wait` seconds."""
    address, port, wait = attempt["to"], attempt.get("port", 9), attempt.get("wait", 2)
    kind = socket.SOCK_DGRAM if attempt.get("udp") else socket.SOCK_STREAM
    sock = socket.socket(family_of(address), kind)
    hear(sock)
    sock.settimeout(wait)
    began = time.monotonic()
    try:
        sock.connect((address, port))
        if attempt.get("udp"):
            sock.send(b"x")
            sock.recv(1 << 16)
        result = {"error": None}
    except socket.timeout:
        result = {"error": "timeout"}
    except OSError as error:
        result = {"error": name_of(error)}
    result["ms"] = round((time.monotonic() - began) * 1000)
    found = report(sock)
    sock.close()
    return {**result, "icmp": found and found["icmp"], "by": found and found["by"]}


def many(address, port, count):
    """`count` connections, begun at once by one loop."""
    play_line = json.dumps({"id": "many", "steps": []}).encode() + b"\n"
    poll = select.epoll()
    socks = {}
    for _ in range(count):
        sock = socket.socket(family_of(address), socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((address, port))
        socks[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLOUT)
    done, errors = 0, {}
    began = time.monotonic()
    while socks and time.monotonic() - began < LIMIT_S:
        for fd, events in poll.poll(1):
            sock = socks[fd]
            failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure == 0 and events & select.EPOLLOUT and not events & select.EPOLLIN:
                sock.send(play_line)
                poll.modify(fd, select.EPOLLIN)
                continue
            if failure == 0:
                failure = 0 if sock.recv(1) == b"" else errno.EPROTO
            if failure == 0:
                done += 1
            else:
                errors[errno.errorcode[failure]] = errors.get(errno.errorcode[failure], 0) + 1
            poll.unregister(fd)
            sock.close()
            del socks[fd]
    say({"done": done, "errors": errors, "open": len(socks)})


def scan(address, count, wait):
    poll = select.epoll()
    socks = []
    for i in range(count):
        sock = socket.socket(family_of(address), socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((address, 10000 + i))
        socks.append(sock)
        poll.register(sock.fileno(), select.EPOLLOUT)
    time.sleep(wait)
    say({"begun": len(socks), "answered": len(poll.poll(0))})


def load_one(words):
    address, port, length = words
    sock = socket.create_connection((address, port), LIMIT_S * 3)
    sock.settimeout(LIMIT_S * 3)
    sock.sendall(json.dumps({"id": "load", "steps": [["send", length], ["half"], ["drain"]]}).encode() + b"\n")
    digest = hashlib.sha256()
    for part in iter(lambda: sock.recv(1 << 16), b""):
        digest.update(part)
    sock.close()
    return digest.hexdigest() == hashlib.sha256(bytes_of(length)).hexdigest()


def again(address, port, count):
    source, done, began = 0, 0, time.monotonic()
    while done < count and time.monotonic() - began < LIMIT_S:
        sock = socket.socket(family_of(address), socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(LIMIT_S)
        sock.bind(("", source))
        source = sock.getsockname()[1]
        try:
            sock.connect((address, port))
        except OSError as error:
            # Our own FIN is not acknowledged yet.
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            sock.close()
            time.sleep(0.001)
            continue
        sock.sendall(json.dumps({"id": "again", "steps": [["send", 1000]]}).encode() + b"\n")
        got = b""
        for part in iter(lambda: sock.recv(1 << 16), b""):
            got += part
        # The server's FIN came first: its end has the TIME-WAIT, and this port is free.
        sock.close()
        if got != bytes_of(1000):
            break
        done += 1
    say({"done": done})


def ask(requests):
    """Sends datagrams in order; says for each what came, and at the end which errors."""
    socks = {}
    for request in requests:
        address, port = request["to"], request.get("port", 9)
        family = family_of(address)
        if family not in socks:
            socks[family] = sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            hear(sock)
            sock.bind(("", request.get("source", 0)))
            sock.settimeout(request.get("wait", 2))
        sock = socks[family]
        is_v6 = family == socket.AF_INET6
        if request.get("df"):
            level, option = (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER) if is_v6 else (socket.IPPROTO_IP, IP_MTU_DISCOVER)
            sock.setsockopt(level, option, IP_PMTUDISC_DO)
        text = json.dumps(request["say"]).encode() if "say" in request else bytes_of(request.get("length", 1))
        result = {}
        for _ in range(2):
            try:
                sock.sendmsg([text], control_of(is_v6, request.get("ttl"), request.get("tos")), 0, (address, port))
                if request.get("answer", True):
                    data, control, _, sender = sock.recvmsg(1 << 16, 512)
                    result = {"by": sender[0], "length": len(data), **fields_of(control)}
                    result["same"] = data == text
                    result["said"] = json.loads(data) if data.startswith(b"{") else None
                break
            except socket.timeout:
                result = {"error": "timeout"}
                break
            except OSError as error:
                result = {"error": name_of(error), "report": report(sock)}
                if not request.get("again"):
                    break
        if request.get("linger"):
            # An error may come later than the answer of somebody else.
            select.select([sock], [], [], request["linger"])
            result["report"] = report(sock)
        say({**result, "source": sock.getsockname()[1]})


def ports(address, port, count):
    sent = 0
    for i in range(count):
        sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
        sock.bind(("", 20000 + i))
        sock.sendto(b"x", (address, port))
        sock.close()
        sent += 1
        if i % 200 == 199:
            time.sleep(0.01)
    say({"sent": sent})


def burst(address, port, count):
    sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, BURST_SIZE)
    sock.settimeout(2)
    text = bytes_of(count * BURST_SIZE + BURST_SIZE // 2)
    left = {text[at:at + BURST_SIZE] for at in range(0, len(text), BURST_SIZE)}
    sock.sendto(text, (address, port))
    got = right = 0
    try:
        while got <= count:
            part = sock.recv(1 << 16)
            got += 1
            right += part in left
            left.discard(part)
    except socket.timeout:
        pass
    say({"right": right, "got": got})


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[:len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def forge(device, wanted):
    """Linux as a router sends only some errors; these have its address all the same."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    tap.bind((device, ETH_P_ALL))
    raw4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    say("ready")
    while True:
        packet, (_, _, kind, *_) = tap.recvfrom(1 << 16)
        if kind != socket.PACKET_HOST or packet[0] >> 4 not in (4, 6):
            continue
        is_v6 = packet[0] >> 4 == 6
        family, at, length = (socket.AF_INET6, 8, 16) if is_v6 else (socket.AF_INET, 12, 4)
        src, dst = (socket.inet_ntop(family, packet[i:i + length]) for i in (at, at + length))
        if dst not in wanted:
            continue
        error = bytearray(struct.pack("!BBHI", *wanted[dst], 0, 0) + packet[:520])
        if not is_v6:
            struct.pack_into("!H", error, 2, checksum(error))
        (raw6 if is_v6 else raw4).sendto(error, (src, 0))


def main(command, *words):
    if command == "serve":
        serve(*words)
    elif command == "echo":
        sock = datagrams("::", int(words[0]))
        say("ready")
        serve_udp_echo(sock)
    elif command == "play":
        for failed in at_once(lambda one: play_client(words[0], int(words[1]), one), json.load(sys.stdin)):
            assert failed is None
    elif command == "try":
        for result in at_once(try_one, json.load(sys.stdin)):
            say(result)
    elif command == "many":
        many(words[0], int(words[1]), int(words[2]))
    elif command == "scan":
        scan(words[0], int(words[1]), float(words[2]))
    elif command == "load":
        began = time.monotonic()
        results = at_once(load_one, [(words[0], int(words[1]), int(words[3]))] * int(words[2]))
        say({"right": results.count(True), "ms": round((time.monotonic() - began) * 1000)})
    elif command == "again":
        again(words[0], int(words[1]), int(words[2]))
    elif command == "ask":
        ask(json.load(sys.stdin))
    elif command == "ports":
        ports(words[0], int(words[1]), int(words[2]))
    elif command == "burst":
        burst(words[0], int(words[1]), int(words[2]))
    elif command == "forge":
        forge(words[0], json.loads(words[1]))


main(*sys.argv[1:])
