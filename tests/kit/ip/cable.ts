/** A cable whose ends keep what arrives, with its time. */

import { Block } from "../../../kernel/block.ts";
import { type Random, SeededRandom } from "../../../kernel/random.ts";
import { VirtualClock } from "../../../kernel/time.ts";
import { frame, macBytes, OUR_MAC, PEER_MAC } from "./ether.ts";
import { Cable, type CableOptions } from "../../../devices/ether/cable.ts";
import type { CablePort } from "../../../devices/ether/cable_port.ts";

/** What reached an end, and when. */
interface Arrival {
  port: string;
  ms: number;
  bytes: Uint8Array;
}

/** A cable with two ends, `a` and `b`, and what reached them. */
export class Wire {
  readonly clock = new VirtualClock();
  readonly cable: Cable;
  readonly a: CablePort;
  readonly b: CablePort;
  readonly arrivals: Arrival[] = [];

  constructor(options: CableOptions = {}, random: Random = new SeededRandom(1)) {
    this.cable = new Cable(this.clock, random, options);
    this.a = this.attach("a", macBytes(OUR_MAC));
    this.b = this.attach("b", macBytes(PEER_MAC));
  }

  attach(name: string, mac: Uint8Array, mtu = 1500): CablePort {
    const port = this.cable.attach({ name, mac, mtu });
    port.receive = (block) => this.arrivals.push({ port: name, ms: this.clock.now(), bytes: block.bytes().slice() });
    return port;
  }

  /** Sends frames that are numbered by their first byte of payload. */
  sendNumbered(count: number, length = 100): void {
    for (let i = 0; i < count; i++) this.a.transmit(Block.from(frame({ length: length - 14, fill: i & 0xff })));
  }

  get numbers(): number[] {
    return this.arrivals.map(({ bytes }) => bytes[14]!);
  }
}
