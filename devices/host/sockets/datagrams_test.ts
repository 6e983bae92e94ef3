/** UDP and ping sockets of Linux, on the loopback interface. */

import { assert, assertEquals } from "@std/assert";
import type { DatagramOut, HostDatagrams } from "../../../kernel/host_sockets.ts";
import { machineTest } from "../../../tests/kit/check/skip.ts";
import { addr, made, message, SocketLab } from "../../../tests/kit/host/sockets.ts";
import { pause } from "../pause.ts";

/** Options of a lab, and the loopback of each version that the machine has. */
function loopbackTest(name: string, work: (lab: SocketLab, address: string) => Promise<void>, gro = false): void {
  machineTest(name, ["ffi"], async () => {
    await using lab = new SocketLab({ gro });
    for (const address of lab.loopbacks) await work(lab, address);
  });
}

/** Sends all of them, which must be taken. */
function sendAll(socket: HostDatagrams, messages: readonly DatagramOut[]): void {
  assertEquals([socket.send(messages, messages.length), socket.refusal], [messages.length, null]);
}

loopbackTest("a datagram has its payload, ends, TTL and TOS, of 0 to 65507 bytes, in parts", async (lab, address) => {
  const [one, other] = [lab.datagrams(address), lab.datagrams(address)];
  const sizes = [0, 1, 1472, 9000, 65507];
  const parts = sizes.map((size) => [new Uint8Array(size >> 1).fill(size), new Uint8Array(size - (size >> 1)).fill(7)]);
  const messages = parts.map((pieces, i) => message(other.local, "", { parts: pieces, ttl: 3 + i, tos: 0xb9 + i }));
  sendAll(one, messages);
  const heard = await lab.hear(other, sizes.length);
  heard.forEach((datagram, i) => {
    const [head, tail] = parts[i]!;
    assertEquals(datagram.payload, new Uint8Array([...head!, ...tail!]));
    assertEquals(datagram.from, one.local);
    const { to, ttl, tos, segmentSize } = datagram;
    assertEquals([`${to}`, ttl, tos, segmentSize], [address, 3 + i, 0xb9 + i, 0]);
  });
  assertEquals(other.receive(() => {}, 1), 0);
});

loopbackTest("a full batch of datagrams of many parts", async (lab, address) => {
  const [one, other] = [lab.datagrams(address), lab.datagrams(address)];
  const parts = (i: number) => Array.from({ length: 20 }, (_, j) => new Uint8Array(j % 3).fill(i));
  sendAll(one, Array.from({ length: 64 }, (_, i) => message(other.local, "", { parts: parts(i) })));
  const heard = await lab.hear(other, 64);
  heard.forEach(({ payload }, i) => assertEquals(payload, new Uint8Array(19).fill(i)));
});

loopbackTest("onReady is called for a datagram, and not again before all were received", async (lab, address) => {
  const [one, other] = [lab.datagrams(address), lab.datagrams(address)];
  let told = 0;
  other.onReady = () => told++;
  // There is room to send.
  await lab.until("the first edge", () => told === 1);
  sendAll(one, [message(other.local, "a")]);
  await lab.until("a", () => told === 2);
  sendAll(one, [message(other.local, "b")]);
  for (let i = 0; i < 50; i++) await pause();
  assertEquals([told, other.receive(() => {}, 2)], [2, 2], "there may be more");
  sendAll(one, [message(other.local, "c")]);
  for (let i = 0; i < 50; i++) await pause();
  assertEquals([told, other.receive(() => {}, 2)], [2, 1]);
  sendAll(one, [message(other.local, "d")]);
  await lab.until("d", () => told === 3);
});

loopbackTest("200 datagrams in one call keep their order, and come in shares", (lab, address) => {
  const [one, other] = [lab.datagrams(address), lab.datagrams(address)];
  sendAll(one, Array.from({ length: 200 }, (_, i) => message(other.local, `${i}`)));
  const texts: string[] = [];
  const sink = ({ payload }: { payload: Uint8Array }) => void texts.push(new TextDecoder().decode(payload));
  assertEquals(other.receive(sink, 50), 50);
  assertEquals(other.receive(sink, 1000), 150);
  assertEquals(texts, Array.from({ length: 200 }, (_, i) => `${i}`));
  return Promise.resolve();
});

loopbackTest("a datagram's taker may send, receive from another socket, and close its own", async (lab, address) => {
  const [one, other, third] = [lab.datagrams(address), lab.datagrams(address), lab.datagrams(address)];
  sendAll(one, [message(other.local, "x"), message(other.local, "y"), message(third.local, "z")]);
  const texts: string[] = [];
  const text = ({ payload }: { payload: Uint8Array }) => new TextDecoder().decode(payload);
  const count = other.receive((datagram) => {
    third.receive((inner) => texts.push(text(inner)), 1);
    sendAll(other, [message(datagram.from, "back")]);
    texts.push(text(datagram));
    other.close();
  }, 8);
  assertEquals([count, texts], [2, ["z", "x"]]);
  assertEquals((await lab.hear(one)).map((datagram) => datagram.text), ["back"]);
  assertEquals([other.send([message(one.local, "")], 1), other.receive(() => {}, 1)], [0, 0]);
});

loopbackTest("an error of one peer does not eat datagrams to others", async (lab, address) => {
  const [one, other] = [lab.datagrams(address), lab.datagrams(address)];
  const dead = lab.datagrams(address);
  const { local } = dead;
  dead.close();
  let told = 0;
  one.onReady = () => told++;
  for (const round of ["alone", "in a batch"]) {
    const messages = [message(local, "dead"), message(other.local, round)];
    // Loopback answers within the call: the error is pending for the next message.
    if (round === "alone") { for (const each of messages) sendAll(one, [each]); }
    else sendAll(one, [...messages, ...messages]);
    const wanted = round === "alone" ? 1 : 2;
    assertEquals((await lab.hear(other, wanted)).map(({ text }) => text), new Array(wanted).fill(round));
    for (let i = 0; i < wanted; i++) {
      const { failure, origin, type, code, mtu, offender, to, payload } = await lab.report(one);
      assertEquals([failure, origin, mtu, `${offender}`, to], ["ECONNREFUSED", "icmp", 0, address, local]);
      assertEquals([type, code], to.address.isV4 ? [3, 3] : [1, 4]);
      assertEquals(new TextDecoder().decode(payload), "dead");
    }
    assertEquals(one.takeReport(), null);
  }
  assertEquals(one.failure, null);
  assert(told > 0);
});

loopbackTest("an error that is pending does not hide a datagram that came", async (lab, address) => {
  const [one, other] = [lab.datagrams(address), lab.datagrams(address)];
  const dead = lab.datagrams(address);
  const { local } = dead;
  dead.close();
  sendAll(other, [message(one.local, "first")]);
  sendAll(one, [message(local, "dead")]);
  const texts: string[] = [];
  assertEquals(one.receive(({ payload }) => texts.push(new TextDecoder().decode(payload)), 8), 1);
  assertEquals([texts, (await lab.report(one)).failure], [["first"], "ECONNREFUSED"]);
});

loopbackTest("onReady is called once for reports, which are kept until they are taken", async (lab, address) => {
  const [one, dead] = [lab.datagrams(address), lab.datagrams(address)];
  const { local } = dead;
  dead.close();
  let told = 0;
  one.onReady = () => told++;
  await lab.until("the first edge", () => told === 1);
  sendAll(one, [message(local, "a")]);
  await lab.until("a report", () => told === 2);
  sendAll(one, [message(local, "b")]);
  for (let i = 0; i < 50; i++) await pause();
  assertEquals(told, 2);
  const reports = [one.takeReport(), one.takeReport(), one.takeReport()];
  assertEquals(reports.map((report) => report && new TextDecoder().decode(report.payload)), ["a", "b", null]);
  sendAll(one, [message(local, "c")]);
  await lab.until("a new one", () => told === 3);
});

loopbackTest("what Linux refuses is refused alone, with its reason and its report", async (lab, address) => {
  const [one, other] = [lab.datagrams(address), lab.datagrams(address)];
  const messages = [message(other.local, "a"), message(other.local, new Uint8Array(65536)), message(other.local, "b")];
  assertEquals([one.send(messages, 3), one.refusal], [1, "EMSGSIZE"]);
  assertEquals([one.send(messages.slice(2), 1), one.refusal], [1, null]);
  assertEquals((await lab.hear(other, 2)).map(({ text }) => text), ["a", "b"]);
});

loopbackTest("a burst is cut into segments by Linux, however many there are", async (lab, address) => {
  const [one, other] = [lab.datagrams(address), lab.datagrams(address)];
  // 150 segments and a rest: three calls' worth.
  const payload = Uint8Array.from({ length: 150 * 100 + 33 }, (_, i) => i / 100);
  sendAll(one, [message(other.local, payload, { segmentSize: 100, ttl: 5 }), message(other.local, "end")]);
  const heard = await lab.hear(other, 152);
  assertEquals(heard.map(({ payload }) => payload.length), [...new Array(150).fill(100), 33, 3]);
  assert(heard.slice(0, 151).every(({ payload, ttl }, i) => payload[0] === (i & 255) && ttl === 5));
  // One of a size that is not reached is a datagram.
  sendAll(one, [message(other.local, "short", { segmentSize: 5 })]);
  assertEquals((await lab.hear(other))[0]!.text, "short");
});

loopbackTest("segments of one size come joined where that is asked for", async (lab, address) => {
  const [one, other] = [lab.datagrams(address), lab.datagrams(address)];
  const payload = new Uint8Array(20 * 1400 + 5).fill(9);
  sendAll(one, [message(other.local, payload, { segmentSize: 1400 })]);
  const heard = await lab.hear(other);
  assertEquals(heard.map(({ payload, segmentSize }) => [payload.length, segmentSize]), [[payload.length, 1400]]);
}, true);

machineTest("a datagram leaves from the address that it is to come from", ["ffi"], async () => {
  await using lab = new SocketLab();
  const one = made(lab.sockets.datagrams({ version: 4, address: null, port: 0 }));
  const other = lab.datagrams("127.0.0.1");
  const from = addr("127.0.0.9");
  sendAll(one, [message(other.local, "a", { from }), message(other.local, "b")]);
  const heard = await lab.hear(other, 2);
  assertEquals(heard.map((datagram) => `${datagram.from.address}`), ["127.0.0.9", "127.0.0.1"]);
  assertEquals(heard[0]!.from.port, one.local.port);
  // What comes to another address of the machine says so.
  sendAll(other, [message({ address: from, port: one.local.port }, "c")]);
  assertEquals(`${(await lab.hear(one))[0]!.to}`, "127.0.0.9");
});

machineTest("a UDP socket for both versions speaks each as it is", ["ffi"], async () => {
  await using lab = new SocketLab();
  const both = made(lab.sockets.datagrams({ version: 6, address: null, port: 0, dualStack: true }));
  for (const address of lab.loopbacks) {
    const other = lab.datagrams(address);
    const to = { address: addr(address), port: both.local.port };
    sendAll(other, [message(to, "call", { ttl: 7, tos: 5 })]);
    const [call] = await lab.hear(both);
    assertEquals([`${call!.from.address}`, `${call!.to}`, call!.ttl, call!.tos], [address, address, 7, 5]);
    sendAll(both, [message(call!.from, "answer", { from: call!.to, ttl: 8, tos: 6, dontFragment: true })]);
    const [answer] = await lab.hear(other);
    assertEquals([answer!.from, answer!.ttl, answer!.tos], [to, 8, 6]);
    other.close();
    sendAll(both, [message(call!.from, "no one")]);
    const { failure, offender, to: about } = await lab.report(both);
    assertEquals([failure, `${offender}`, about], ["ECONNREFUSED", address, call!.from]);
  }
});
