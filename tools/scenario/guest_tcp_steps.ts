/**
 * The guest's steps over TCP, and those of a service that others reach; for both versions of IP.
 *
 * Path: scenario → guest_tcp_steps → guest_steps, endpoint, report, environment.
 *
 * @module
 */

import { equals } from "@std/bytes";
import { SeededRandom } from "../../kernel/random.ts";
import { startUtcpEcho } from "../utcp/echo.ts";
import type { GuestScene } from "./guest_steps.ts";
import { type ByteConn, type Endpoint, Refused } from "./endpoint.ts";
import { expect, type Skipped, type Step } from "./report.ts";
import { NO_CALLS } from "./steps.ts";
import { within } from "./environment.ts";

const MOVES = "remote: a service moves and comes back";
const USER_TCP = "remote: user-level TCP on a bypassed port";
const SMALL_BYTES = 256 << 10;
const HALF_BYTES = 100_000;
/** A transfer is one random piece, repeated; its first word differs each time. */
const PIECE_BYTES = 1 << 20;
const CHUNK = 65536;

const DOWN_PORT = 8001;
const UP_PORT = 8002;
const ECHO_PORT = 8003;
const HOST_PORT = 8004;
const FORWARD_PORT = 8022;
const FORWARD_GUEST_PORT = 22;
const MOVED_PORT = 8080;
const UTCP_PORT = 7071;
const CLOSED_PORT = 4999;
const SMALL_MTU = 1280;
const SMALL_PATH = `guest: a path with MTU ${SMALL_MTU}`;
const IP_PROTO_TCP = 6;
const ERRORS_SHOWN = 3;
/** How long a call may take to end: a few retransmissions. */
const END_MS = 60_000;

/** The steps. */
export function guestTcpSteps(scene: GuestScene): Step[] {
  const { suffix, transferBytes, version } = scene.family;
  const content = new Content(scene.random.u32() >>> 0);
  const mib = transferBytes >> 20;
  const step = (name: string, run: () => Promise<string>) => ({ name: `${name}${suffix}`, run });
  const steps = [
    step(`guest: TCP download, ${mib} MiB`, () => download(scene, content)),
    step(`guest: TCP upload, ${mib} MiB`, () => upload(scene, content, transferBytes)),
    step("guest: half-close", () => halfClose(scene, content)),
    step("guest: a refused port is refused", () => refused(scene)),
    step("guest: a host service by the router", () => hostService(scene)),
    step("remote: a forward shows the client", () => forward(scene)),
  ];
  if (scene.env.sockets === null) {
    steps.push(step(MOVES, () => move(scene)));
    // The program's TCP answers a closed port in IPv4 only (utcp(1)).
    if (version === 4) steps.push(step(USER_TCP, () => userTcp(scene, content)));
    steps.push(step(SMALL_PATH, () => smallPath(scene, content)));
  }
  return steps;
}

/** Steps that this wire cannot have, and why. */
export function tcpNotApplicable({ env, family: { version, suffix } }: GuestScene): Skipped[] {
  if (env.sockets === null) return [];
  const skipped = [MOVES, ...version === 4 ? [USER_TCP] : []].map((name) => ({ name, why: NO_CALLS }));
  skipped.push({ name: SMALL_PATH, why: "segments go to the sockets uncut" });
  return skipped.map(({ name, why }) => ({ name: `${name}${suffix}`, why }));
}

/** The last step of all. */
export function lastStep(scene: GuestScene): Step {
  return { name: "no service failed", run: () => noErrors(scene) };
}

/** Bytes that both the sender and the receiver know. */
class Content {
  readonly #piece: Uint8Array<ArrayBuffer>;
  readonly #stamp: DataView;

  constructor(seed: number) {
    this.#piece = new Uint8Array(PIECE_BYTES);
    this.#stamp = new DataView(this.#piece.buffer);
    new SeededRandom(seed).fill(this.#piece);
  }

  /** Up to a chunk of the bytes from `at`, valid until the next call. */
  at(at: number, length: number): Uint8Array {
    this.#stamp.setUint32(0, Math.floor(at / PIECE_BYTES));
    const start = at % PIECE_BYTES;
    return this.#piece.subarray(start, Math.min(start + length, PIECE_BYTES));
  }

  /** Sends the first `length` bytes and ends our half. */
  async send(conn: ByteConn, length: number): Promise<void> {
    for (let at = 0; at < length;) {
      const chunk = this.at(at, Math.min(CHUNK, length - at));
      // A copy: the connection may read the bytes after we have changed the stamp.
      await conn.write(at % PIECE_BYTES === 0 ? chunk.slice() : chunk);
      at += chunk.length;
    }
    await conn.closeWrite();
  }

  /** Reads to the end and compares; returns how many bytes came. */
  async check(conn: ByteConn): Promise<number> {
    let at = 0;
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
      for (let from = 0; from < bytes.length;) {
        const wanted = this.at(at, bytes.length - from);
        expect(equals(bytes.subarray(from, from + wanted.length), wanted), `Other bytes came at ${at}`);
        from += wanted.length;
        at += wanted.length;
      }
    }
    return at;
  }
}

async function withConn<T>(
  endpoint: Endpoint,
  addr: string,
  port: number,
  use: (conn: ByteConn) => Promise<T>,
): Promise<T> {
  const conn = await endpoint.dial(addr, port);
  try {
    return await use(conn);
  } finally {
    conn.close();
  }
}

/** Reads to the end, as text. */
async function readText(conn: ByteConn): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    text += decoder.decode(bytes, { stream: true });
  }
  return text;
}

/**
 * Has `endpoint` send a word to each caller of `port`, calls it by `ask`, and returns the word that came. The call has
 * ended at both ends then: a forward that went earlier would leave the service with a reset for the caller's FIN.
 */
async function askService(
  scene: GuestScene,
  service: { readonly endpoint: Endpoint; readonly port: number; readonly word: (conn: ByteConn) => string },
  ask: () => Promise<string>,
): Promise<string> {
  const ended = Promise.withResolvers<void>();
  const talk = async (conn: ByteConn) => {
    try {
      await conn.write(new TextEncoder().encode(service.word(conn)));
      await conn.closeWrite();
      while (await conn.read() !== null);
    } finally {
      ended.resolve();
    }
  };
  const { version } = scene.family;
  const listener = await service.endpoint.serveTcp({ port: service.port, version, talk });
  try {
    const text = await ask();
    await within(scene.env.host.clock, END_MS, "end of the call", ended.promise);
    return text;
  } finally {
    listener.close();
  }
}

async function download(scene: GuestScene, content: Content): Promise<string> {
  const { guest, remote, remoteAddr, family: { version, transferBytes } } = scene;
  const talk = async (conn: ByteConn) => {
    await content.send(conn, transferBytes);
    while (await conn.read() !== null);
  };
  const service = await remote.serveTcp({ port: DOWN_PORT, version, talk });
  const receive = async (conn: ByteConn) => {
    const got = await content.check(conn);
    await conn.closeWrite();
    return got;
  };
  const count = await withConn(guest, remoteAddr, DOWN_PORT, receive).finally(() => service.close());
  expect(count === transferBytes, `${count} bytes came, not ${transferBytes}`);
  return `${count} bytes came, each as it was sent`;
}

async function upload(scene: GuestScene, content: Content, length: number): Promise<string> {
  const { guest, remote, remoteAddr, family: { version } } = scene;
  const done = Promise.withResolvers<number>();
  done.promise.catch(() => {});
  const talk = (conn: ByteConn) => content.check(conn).then(done.resolve, done.reject);
  const service = await remote.serveTcp({ port: UP_PORT, version, talk });
  const send = async (conn: ByteConn) => {
    await content.send(conn, length);
    expect(await conn.read() === null, "The remote sent something");
    return await done.promise;
  };
  const count = await withConn(guest, remoteAddr, UP_PORT, send).finally(() => service.close());
  expect(count === length, `${count} bytes arrived, not ${length}`);
  return `${count} bytes arrived, each as it was sent`;
}

/** The remote replies only after the guest has ended its half. */
async function halfClose(scene: GuestScene, content: Content): Promise<string> {
  const { guest, remote, remoteAddr, family: { version } } = scene;
  const talk = async (conn: ByteConn) => {
    const count = await content.check(conn);
    await content.send(conn, count);
  };
  const service = await remote.serveTcp({ port: ECHO_PORT, version, talk });
  const exchange = async (conn: ByteConn) => {
    await content.send(conn, HALF_BYTES);
    return await content.check(conn);
  };
  const count = await withConn(guest, remoteAddr, ECHO_PORT, exchange).finally(() => service.close());
  expect(count === HALF_BYTES, `${count} bytes came back, not ${HALF_BYTES}`);
  return `${count} bytes came back after the guest had closed its half`;
}

async function refused(scene: GuestScene): Promise<string> {
  const { guest, remoteAddr } = scene;
  const why = await guest.dial(remoteAddr, CLOSED_PORT).then(
    () => null,
    (error) => error instanceof Refused ? error.message : Promise.reject(error),
  );
  expect(why !== null, "The connection was made");
  return why;
}

async function hostService(scene: GuestScene): Promise<string> {
  const { guest, host, names: { router }, family } = scene;
  const service = { endpoint: host, port: HOST_PORT, word: (conn: ByteConn) => `hello ${addrOf(conn)}` };
  const text = await askService(scene, service, () => withConn(guest, router, HOST_PORT, readText));
  expect(text === `hello ${family.loopback}`, `The host's service said "${text}"`);
  return `${router}!${HOST_PORT} is the host's: "${text}"`;
}

function addrOf(conn: ByteConn): string {
  return conn.remote.split("!")[0]!;
}

async function forward(scene: GuestScene): Promise<string> {
  const { guest, remote, remoteAddr, hostAddr, env: { sockets }, family: { version } } = scene;
  const spec = forwardSpec(scene, FORWARD_PORT, FORWARD_GUEST_PORT);
  const door = sockets?.doorAddresses[version] ?? hostAddr;
  control(scene, `add ${spec}`);
  const service = { endpoint: guest, port: FORWARD_GUEST_PORT, word: (conn: ByteConn) => `you are ${addrOf(conn)}` };
  const ask = () => withConn(remote, door, FORWARD_PORT, readText);
  const text = await askService(scene, service, ask);
  control(scene, `remove ${spec}`);
  expect(text === `you are ${remoteAddr}`, `The guest's service said "${text}"`);
  return `the guest's service to ${remoteAddr}: "${text}"`;
}

/** A forward of the host's `port` to the guest's, as nat(4) has it. */
function forwardSpec({ family, names }: GuestScene, port: number, guestPort: number): string {
  return family.version === 4 ? `tcp:${port}:${guestPort}` : `tcp::${port}-[${names.guest}]:${guestPort}`;
}

/** The remote keeps calling one address and port: the service behind it changes. */
async function move(scene: GuestScene): Promise<string> {
  const { guest, host, remote, hostAddr } = scene;
  const spec = forwardSpec(scene, MOVED_PORT, MOVED_PORT);
  const words: string[] = [];
  for (const where of ["host", "guest", "host again"]) {
    const isGuest = where === "guest";
    if (isGuest) control(scene, `add ${spec}`);
    const service = { endpoint: isGuest ? guest : host, port: MOVED_PORT, word: () => where };
    const ask = () => withConn(remote, hostAddr, MOVED_PORT, readText);
    words.push(await askService(scene, service, ask));
    if (isGuest) control(scene, `remove ${spec}`);
  }
  const said = words.join(", ");
  expect(said === "host, guest, host again", `${MOVED_PORT} was answered by: ${said}`);
  return `${hostAddr}!${MOVED_PORT} was answered by: ${said}`;
}

async function userTcp(scene: GuestScene, content: Content): Promise<string> {
  const { remote, env, hostAddr } = scene;
  const echo = await startUtcpEcho(env.host.spawn("utcp"), UTCP_PORT);
  try {
    const count = await withConn(remote, hostAddr, UTCP_PORT, async (conn) => {
      const [, got] = await Promise.all([content.send(conn, HALF_BYTES), content.check(conn)]);
      return got;
    });
    expect(count === HALF_BYTES, `${count} bytes came back, not ${HALF_BYTES}`);
    return `${count} bytes came back from a TCP in a program, ${echo.stack.counters.packetsIn} packets in`;
  } finally {
    await echo.stop();
  }
}

/** The host's link carries less than the guest's: the guest learns it by ICMP and makes smaller packets. */
async function smallPath(scene: GuestScene, content: Content): Promise<string> {
  const { env, host } = scene;
  const link = env.host.port!.kind === "frame" ? 14 : 0;
  const setMtu = (mtu: number) => host.proc.writeText("/net/ipifc/1/ctl", `mtu ${mtu + link}`);
  const { mtu } = env.host.port!;
  await setMtu(SMALL_MTU);
  try {
    const { seen } = await env.log.during(() => scene.retries.insist(() => upload(scene, content, SMALL_BYTES)));
    const sizes = seen.filter((one) => one.direction === "out" && one.protocol === IP_PROTO_TCP).map((one) =>
      one.length
    );
    const largest = Math.max(...sizes);
    expect(largest <= SMALL_MTU && largest > SMALL_MTU / 2, `The largest packet on the wire has ${largest} bytes`);
    return `${SMALL_BYTES} bytes arrived, in packets of at most ${largest}`;
  } finally {
    await setMtu(mtu);
  }
}

function noErrors({ guest, remote, host }: GuestScene): Promise<string> {
  const errors = [guest, remote, host].flatMap((endpoint) => endpoint.errors);
  expect(errors.length === 0, errors.slice(0, ERRORS_SHOWN).join("; "));
  return Promise.resolve("none of guest, remote and host");
}

/** A command for the NAT. */
function control(scene: GuestScene, command: string): void {
  const answer = scene.side.network.program.command(command);
  expect(answer.startsWith("ok"), `The NAT answered "${command}" with "${answer.trim()}"`);
}
