/**
 * A virtual machine of QEMU whose card is wired to a host kernel, for tests of what lies between:
 *
 *     await using lab = await openQemuLab("dgram");
 *     const { text } = await lab.guest.machine.run("ping -c 1 10.77.0.1");
 *
 * On the host run programs that the guest's busybox can talk UDP with: a name server that knows one name, and a TFTP
 * server that keeps the files it receives (RFC 1350).
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { UnixDatagram, UnixListener } from "../../../devices/host/unix_socket.ts";
import { Block } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { Proc } from "../../../kernel/proc.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import { setupGuest } from "../../../tools/setup_guest/guest_files.ts";
import { QemuDgramPort } from "../../../tools/vmm/guests/qemu/dgram.ts";
import { type QemuGuest, qemuGuest } from "../../../tools/vmm/guests/qemu/guest.ts";
import type { QemuMachineOptions } from "../../../tools/vmm/guests/qemu/arguments.ts";
import type { QemuMachine } from "../../../tools/vmm/guests/qemu/machine.ts";
import type { QemuPort } from "../../../tools/vmm/guests/qemu/port.ts";
import { QemuStreamPort } from "../../../tools/vmm/guests/qemu/stream.ts";
import type { Need } from "../check/skip.ts";

/** Needs of a test with a virtual machine: QEMU, and Debian's tools, which make the guest. */
export const QEMU_NEEDS: readonly Need[] = ["ffi", "tool:qemu-system-x86_64", "tool:apt-get", "tool:dpkg-deb"];

/** Addresses of the host and the guest. */
export const QEMU_HOST = "10.77.0.1";
export const QEMU_GUEST = "10.77.0.15";
/** The name that the host's name server knows, and its address. */
export const KNOWN_NAME = "lab.akarino.test";
export const KNOWN_ADDRESS = [192, 0, 2, 77] as const;

/** Bytes of the record before each datagram in `headers` mode (Akaros). */
const UDP_HEADERS_LEN = 52;
const DNS_HEADER_LEN = 12;
const TFTP_BLOCK = 512;
const Tftp = { Read: 1, Write: 2, Data: 3, Ack: 4, Error: 5 } as const;

/** A socket for QEMU in a folder of its own. */
export async function openQemuPort(kind: "stream" | "dgram"): Promise<{ port: QemuPort; folder: string }> {
  const folder = await Deno.makeTempDir({ prefix: "akarino-qemu-" });
  const ours = `${folder}/net, ours.sock`;
  if (kind === "stream") return { port: new QemuStreamPort(new UnixListener(ours)), folder };
  const theirs = `${folder}/net, theirs.sock`;
  return { port: new QemuDgramPort(new UnixDatagram(ours, theirs), theirs), folder };
}

/** A host, and a guest on its wire. */
export class QemuLab implements AsyncDisposable {
  readonly machine: QemuMachine;
  /** Files that the TFTP server has, by name. */
  readonly files = new Map<string, Uint8Array>();
  readonly #errors: string[] = [];

  constructor(readonly host: Host, readonly guest: QemuGuest, readonly folder: string) {
    this.machine = guest.machine!;
    this.#start(serve(host.spawn("dns"), 53, answerName));
    this.#start(serve(host.spawn("tftp"), 69, tftpServer(this.files)));
  }

  #start(program: Promise<void>): void {
    program.catch((error) => {
      // The end of the host ends its programs.
      const isEnd = error instanceof KernelError && (error.code === "EINTR" || error.code === "EBADF");
      if (!isEnd) this.#errors.push(String(error));
    });
  }

  /** Runs a line of shell in the guest that must succeed; returns its output. */
  async mustRun(command: string): Promise<string> {
    const { code, text } = await this.machine.run(command);
    assertEquals(code, 0, `${command}: ${text}`);
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.guest.close();
    await this.host.close();
    await Deno.remove(this.folder, { recursive: true });
    assertEquals(this.#errors, []);
  }
}

/** Boots the guest, with the host's kernel alone at the other end of its wire, and waits until it is ready. */
export async function openQemuLab(
  kind: "stream" | "dgram",
  options: Partial<QemuMachineOptions> = {},
): Promise<QemuLab> {
  const files = await setupGuest();
  const { port, folder } = await openQemuPort(kind);
  // A wire of its own with a clock that is real: what boot makes for a TAP, with the port in its place.
  const host = await boot({ wire: "tap", port, address: `${QEMU_HOST}/24` });
  const words = [`akarino.ip=${QEMU_GUEST}/24`, `akarino.gateway=${QEMU_HOST}`, `akarino.dns=${QEMU_HOST}`];
  const { kernel, initrd } = files;
  const guest = qemuGuest(port, host.reactor!, { kernel, initrd, words, limitS: 120, ...options });
  const lab = new QemuLab(host, guest, folder);
  try {
    await lab.machine.console.ready;
    return lab;
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}

/** Answers datagrams to `port` with the result of `reply`; null: no answer. */
async function serve(proc: Proc, port: number, reply: (request: Uint8Array) => Uint8Array | null): Promise<void> {
  const conv = await proc.announce(`udp!*!${port}`, { ctl: ["headers"] });
  for await (const datagram of proc.blocks(conv.data)) {
    const bytes = datagram.bytes();
    const answer = reply(bytes.subarray(UDP_HEADERS_LEN));
    if (answer === null) continue;
    // The record names both ends, seen from here; sent back as it is it names the peer as the destination.
    await proc.blockwrite(conv.data, Block.from(bytes.subarray(0, UDP_HEADERS_LEN)).append(answer));
  }
}

/** The answer of a name server that knows one name (RFC 1035); for any other the answer is NXDOMAIN. */
function answerName(query: Uint8Array): Uint8Array | null {
  if (query.length < DNS_HEADER_LEN + 5) return null;
  const wanted = [...KNOWN_NAME.split(".").map((label) => String.fromCharCode(label.length) + label), "\0"].join("");
  const asked = new TextDecoder().decode(query.subarray(DNS_HEADER_LEN, query.length - 4));
  const isKnown = asked === wanted;
  const hasAddress = isKnown && get16(query, query.length - 4) === 1;
  const address = hasAddress ? [0xc0, DNS_HEADER_LEN, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...KNOWN_ADDRESS] : [];
  const answer = new Uint8Array([...query, ...address]);
  put16(answer, 2, isKnown ? 0x8580 : 0x8583);
  put16(answer, 6, hasAddress ? 1 : 0);
  return answer;
}

/** A stateless TFTP server: each message determines the next. One transfer at a time. */
function tftpServer(files: Map<string, Uint8Array>): (request: Uint8Array) => Uint8Array | null {
  let name = "";
  return (request) => {
    const kind = get16(request, 0);
    if (kind === Tftp.Read || kind === Tftp.Write) {
      name = new TextDecoder().decode(request.subarray(2, request.indexOf(0, 2)));
      if (kind === Tftp.Read) return dataBlock(files.get(name), 1);
      files.set(name, new Uint8Array());
      return new Uint8Array([0, Tftp.Ack, 0, 0]);
    }
    const number = get16(request, 2);
    if (kind === Tftp.Ack) {
      const file = files.get(name);
      return file !== undefined && number * TFTP_BLOCK > file.length ? null : dataBlock(file, number + 1);
    }
    if (kind !== Tftp.Data) return null;
    const old = files.get(name) ?? new Uint8Array();
    // A repeated block was acknowledged, and the acknowledgement lost.
    if (old.length === (number - 1) * TFTP_BLOCK) files.set(name, new Uint8Array([...old, ...request.subarray(4)]));
    return new Uint8Array([0, Tftp.Ack, number >> 8, number]);
  };
}

function dataBlock(file: Uint8Array | undefined, number: number): Uint8Array {
  if (file === undefined) return new Uint8Array([0, Tftp.Error, 0, 1, 0]);
  const data = file.subarray((number - 1) * TFTP_BLOCK, number * TFTP_BLOCK);
  return new Uint8Array([0, Tftp.Data, number >> 8, number, ...data]);
}
