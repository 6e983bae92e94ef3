/**
 * DatagramAnswers: from what comes to the machine's UDP sockets to packets for near, and the packets that errors quote.
 *
 * Path: datagram_relay → datagram_answers → relay_port, link_packet, context.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { DatagramIn, SocketEnd, SocketReport } from "../../kernel/host_sockets.ts";
import { IPV4_TTL_DEFAULT } from "../../kernel/wire/ipv4.ts";
import { UDP_HEADER_LEN } from "../../kernel/wire/udp.ts";
import type { UplinkContext } from "./context.ts";
import { datagramPacket } from "./link_packet.ts";
import { versionOf } from "./link_version.ts";
import type { RelayPort } from "./relay_port.ts";

/** Where the port that identifies a datagram's peer stands in its UDP header. */
const DST_PORT_AT = 2;

/** Makes the packets of answers. */
export class DatagramAnswers {
  readonly #context: UplinkContext;
  readonly #onAnswered: (port: RelayPort) => void;
  readonly #sink: (datagram: DatagramIn) => void;
  #port: RelayPort | null = null;
  #id = 0;

  /** `onAnswered` is called for a port that may close earlier than before. */
  constructor(context: UplinkContext, onAnswered: (port: RelayPort) => void) {
    this.#context = context;
    this.#onAnswered = onAnswered;
    this.#sink = (datagram) => this.#take(this.#port!, datagram);
  }

  /** Hands at most `max` datagrams that came to `port` to near: how many. */
  receive(port: RelayPort, max: number): number {
    this.#port = port;
    const count = port.socket.receive(this.#sink, max);
    this.#port = null;
    return count;
  }

  /** The packet of near that an error of `port` is about, with what the machine kept of its payload. */
  quote(port: RelayPort, { to, payload }: SocketReport): Block {
    const { blocks } = this.#context;
    const dst = port.callers?.at(port, to)?.shown ?? this.#shown(to);
    const link = versionOf(dst.address);
    const isTo = { dst: dst.address, offset: DST_PORT_AT, word: dst.port };
    const exact = port.sent.quote(link, blocks, payload, isTo);
    if (exact !== null) return exact;
    const fields = {
      src: link.ends(this.#context).near,
      dst: dst.address,
      srcPort: port.linkPort,
      dstPort: dst.port,
      ttl: port.sent.ttl || IPV4_TTL_DEFAULT,
      tos: 0,
      id: 0,
    };
    return datagramPacket({ link, blocks, fields, segmentSize: 0 }, payload);
  }

  #take(port: RelayPort, datagram: DatagramIn): void {
    const { counters, clock, blocks } = this.#context;
    const { from, to, payload, ttl, tos, segmentSize } = datagram;
    // A forward has near's version of IP, all other sockets their own.
    const { link } = port;
    const isShown = port.callers !== null || from.address.isV4 || !from.address.isLinkLocal;
    if (!isShown || payload.length > link.payloadMax - UDP_HEADER_LEN) {
      counters.udpStrays++;
      return;
    }
    port.usedMs = clock.now();
    if (port.answered(from.port)) this.#onAnswered(port);
    const src = port.callers?.called(port, from, to).shown ?? this.#shown(from);
    this.#id = (this.#id + 1) & 0xffff;
    const fields = {
      src: src.address,
      dst: link.ends(this.#context).near,
      srcPort: src.port,
      dstPort: port.linkPort,
      ttl: ttl || IPV4_TTL_DEFAULT,
      tos,
      id: this.#id,
    };
    counters.udpIn++;
    this.#context.toNear(datagramPacket({ link, blocks, fields, segmentSize }, payload));
  }

  /** The machine's loopback is the link's peer to near. */
  #shown(end: SocketEnd): SocketEnd {
    return end.address.isLoopback ? { address: versionOf(end.address).ends(this.#context).peer, port: end.port } : end;
  }
}
